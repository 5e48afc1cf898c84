"""Live swaps in a real Triton, of models that need no more than numpy: many of them, under load, in seconds."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

import numpy as np
import pytest
from safetensors.numpy import save_file

from codriver.errors import FailedPreconditionError
from feedback_service.desk.desk import Desk
from feedback_service.desk.settings import CoachSettings, Limits
from feedback_service.registry.loading import Patience
from feedback_service.registry.store import ModelStore
from feedback_service.registry.swap import ModelSwitch
from feedback_service.service.place import RepositoryPlace
from feedback_service.triton.client import TritonClient
from feedback_service.triton.embedded import EmbeddedTriton
from feedback_service.triton.repository import ModelOptions
from feedback_service.triton.stubs import stubs_of
from tests.feedback_service.desk_bench import CLIP, QUICK, Stream
from tests.feedback_service.triton.embedded import CONFIG, HALF_WRITTEN, put_model, real_environment

UNIFORM = """
import time
import numpy as np
import triton_python_backend_utils as pb_utils

class TritonPythonModel:
    def execute(self, requests):
        time.sleep(DELAY_S)
        responses = []
        for request in requests:
            rows = len(pb_utils.get_input_tensor_by_name(request, "picture").as_numpy())
            probabilities = np.full((rows, 30), 1 / 30, np.float32)
            errors = np.full((rows, 1), b"", dtype=np.object_)
            tensors = [pb_utils.Tensor("probabilities", probabilities), pb_utils.Tensor("error", errors)]
            responses.append(pb_utils.InferenceResponse(tensors))
        return responses
"""
PATIENCE = Patience(load_s=120, warm_up_s=60, unload_s=60, drain_s=60)

pytestmark = pytest.mark.timeout(600)


class NumpyPlace(RepositoryPlace):
    """Installs the program that stands in a model's directory instead of the one that needs its weights."""

    def install(self, triton_model, kind, directory):
        put_model(self._folder(), triton_model, (directory / "model.py").read_text(), CONFIG)


def add(store, folder, name, source):
    directory = folder / name
    directory.mkdir()
    (directory / "model.py").write_text(source)
    weights = {
        "visual.proj": np.full((2, 2), len(source), np.float32),
        "logit_scale": np.ones((), np.float32),
    }
    save_file(weights, directory / "weights.safetensors")
    card = {"format": "codriver-clip/1", "name": name, "open_clip": "ViT-B-16", "image_size_px": 192}
    (directory / "card.json").write_text(json.dumps(card))
    return store.add(CLIP, directory, name)


def test_swaps_in_a_real_triton(tmp_path):
    environment = real_environment()

    async def work():
        triton = EmbeddedTriton(tmp_path / "state", environment)
        await triton.start()
        client = TritonClient(triton.grpc_address)
        desk = Desk([CoachSettings("clip", CLIP)], client, Limits(**QUICK))
        store = ModelStore(tmp_path / "store")
        place = NumpyPlace(lambda: triton.repository, ModelOptions(), triton.end_stubs)
        switch = ModelSwitch(store, desk, client, place, patience=PATIENCE)
        try:
            versions = {
                name: add(store, tmp_path, name, UNIFORM.replace("DELAY_S", delay_s)).version
                for name, delay_s in (("quick", "0"), ("slow", "0.5"))
            }
            add(store, tmp_path, "broken", HALF_WRITTEN)
            store.set_in_use("clip", "quick")
            await switch.start_all()
            await switch.settled()
            assert desk.coach("clip").route.model_id == "quick"
            stream, stop = Stream(desk), asyncio.Event()
            asking = asyncio.create_task(ask(stream, stop))
            for name in ("slow", "quick", "broken", "slow", "quick"):
                begin = len(stream.answers)
                if name == "broken":
                    with pytest.raises(FailedPreconditionError, match="quick goes on answering for clip"):
                        await switch.use("clip", name)
                    assert store.get("broken").problem
                else:
                    assert (await switch.use("clip", name)).model.version == versions[name]
                await more(stream, begin + 40)
            stop.set()
            await asking
            await stream.wait()
            await switch.settled()
            stream.check_all_answered_once()
            assert set(stream.outcomes()) == {"value"}, "not one request failed"
            assert {a.model_id: a.model_version for a in stream.answers} == versions
            serving = desk.coach("clip").route.model
            installed = [path.name for path in triton.repository.iterdir()]
            assert installed == [serving], "nothing else is left in the repository"
            assert len(stubs_of(triton.repository, serving)) == 1
        finally:
            await switch.close()
            await desk.close()
            await client.close()
            await triton.stop()

    asyncio.run(work())


async def ask(stream, stop):
    for step in itertools.count():
        if stop.is_set():
            return
        stream.ask(step, coach="clip")
        await asyncio.sleep(0.005)
        while stream.asker.pending >= 16:
            await asyncio.sleep(0.005)


async def more(stream, count):
    give_up = time.monotonic() + 120
    while len(stream.answers) < count:
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)
