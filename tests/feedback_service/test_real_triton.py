"""The whole service with the real Triton and the shipped models: answers, swaps, kills, and nothing left behind."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from codriver.rpc_status import from_rpc_error
from codriver.v1 import feedback_admin_service_pb2 as admin_pb
from codriver.v1 import feedback_admin_service_pb2_grpc, feedback_pb2
from feedback_service import coach_environment
from feedback_service.registry.store import SHIPPED_DIRECTORY

pytestmark = pytest.mark.timeout(900)
PATIENCE_S = 300
"""Importing torch and transformers takes 10 s on two idle cores, and minutes on busy ones."""


class Service:
    """``codriver feedback`` as a process."""

    def __init__(self, folder):
        if coach_environment.find() is None:
            pytest.skip("the models' environment is not there: make coach")
        self.folder = folder
        command = [
            sys.executable,
            "-m",
            "feedback_service.command",
            "--verbose",
            "--listen",
            f"unix:{folder}/f",
        ]
        command += ["--admin-listen", f"unix:{folder}/a", "--store", f"{folder}/store"]
        self.log = (folder / "log").open("w+")
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.ready = self.line("READY")
        self.coaches = {facts["coach"]: facts for facts in self.line("COACHES")["coaches"]}
        self.address, self.admin_address = self.ready["addresses"][0], self.ready["admin_address"]

    def line(self, word):
        text = self.process.stdout.readline()
        assert text.startswith(f"{word} "), text + (self.folder / "log").read_text()
        return json.loads(text.partition(" ")[2])

    def processes(self, words=""):
        """Processes of this service's Triton and of its models."""
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit() and int(entry.name) not in (os.getpid(), self.process.pid):
                try:
                    line = (entry / "cmdline").read_bytes().decode(errors="replace")
                except OSError:
                    continue
                if f"{self.folder}/store/triton" in line and words in line:
                    found.append(int(entry.name))
        return found

    def triton(self):
        """The server itself; its guard has the same words in its command line."""
        (pid,) = (
            pid
            for pid in self.processes("--model-control-mode")
            if Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0].endswith(b"/tritonserver")
        )
        return pid

    def shared_memory(self):
        runs = [path.stem for path in (self.folder / "store" / "triton").glob("*.log")]
        return [name for name in os.listdir("/dev/shm") if any(run in name for run in runs)]


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    service = Service(tmp_path_factory.mktemp("s"))
    yield service
    service.process.terminate()
    status = service.process.wait(60)
    assert status == 0, (service.folder / "log").read_text()
    assert service.processes() == [] and service.shared_memory() == []
    assert "Traceback" not in (service.folder / "log").read_text()


def run(work):
    return asyncio.run(asyncio.wait_for(work, 2 * PATIENCE_S))


@asynccontextmanager
async def admin(service):
    async with grpc.aio.insecure_channel(service.admin_address) as channel:
        yield feedback_admin_service_pb2_grpc.FeedbackAdminServiceStub(channel)


class Load:
    """Asks one coach, a few requests at a time, until told to stop; keeps every answer by key."""

    def __init__(self, kit, service, session, coach="clip"):
        self.kit, self.service, self.session, self.coach = kit, service, session, coach
        self.timeout_ms = 60_000
        self.asked, self.answers, self.latest = 0, Counter(), None
        self.outcomes, self.versions = Counter(), set()
        self.stopping = False

    async def run(self):
        async with self.kit.stream(self.service.address) as peer:
            while not self.stopping:
                steps = range(self.asked, self.asked + 8)
                asked = [self.request(step) for step in steps]
                await peer.send(self.kit.requests(*asked))
                self.asked += 8
                for feedback in await peer.read(8, PATIENCE_S):
                    self.answers[feedback.key.step] += 1
                    self.latest = self.kit.outcome(feedback)
                    self.outcomes[self.latest] += 1
                    if self.latest == "clip_reward":
                        self.versions.add(feedback.model_version)
                await asyncio.sleep(0.02)
        assert self.answers == dict.fromkeys(range(self.asked), 1)

    def request(self, step):
        picture = self.kit.picture(step)
        return self.kit.request(step, self.coach, self.session, picture=picture, timeout_ms=self.timeout_ms)

    async def until(self, condition):
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, (self.outcomes, (self.service.folder / "log").read_text())
            await asyncio.sleep(0.05)


@asynccontextmanager
async def load(kit, service, session):
    job = Load(kit, service, session)
    task = asyncio.create_task(job.run())
    yield job
    job.stopping = True
    await task


def test_the_shipped_models_answer(service, kit):
    assert {name: facts["ready"] for name, facts in service.coaches.items()} == {"clip": True, "vlm": True}

    async def work():
        async with kit.stream(service.address) as peer:
            steps = range(40)
            await peer.send(kit.requests(*[kit.request(s, "clip", "answers") for s in steps]))
            await peer.send(kit.requests(*[kit.request(s, "vlm", "answers") for s in steps]))
            return await peer.read(80, PATIENCE_S)

    found = run(work())
    assert len({(f.coach, f.key.step) for f in found}) == 80
    for feedback in found:
        assert feedback.model_id == f"{feedback.coach}-small"
        assert feedback.model_version == service.coaches[feedback.coach]["model_version"]
        if feedback.coach == "clip":
            assert abs(sum(feedback.clip_reward.anchor_probabilities) - 1) < 1e-3
    # what it says of made-up pictures is its own; that it said something is what counts here
    vlm = [f for f in found if f.coach == "vlm"]
    assert {kit.outcome(f) for f in vlm} <= {"vlm_action", "UNPARSEABLE"}, vlm[0]
    assert all(f.inference_us for f in vlm)


def test_another_model_takes_over_without_a_failed_request(service, kit, tmp_path):
    other = shutil.copytree(SHIPPED_DIRECTORY / "clip-small", tmp_path / "other")
    card = json.loads((other / "card.json").read_text())
    (other / "card.json").write_text(json.dumps({**card, "note": "another one"}))

    async def work():
        async with admin(service) as stub, load(kit, service, "swap") as job:
            request = admin_pb.AddModelRequest(kind=2, path=str(other), name="other")
            added = (await stub.AddModel(request, timeout=PATIENCE_S)).model
            await job.until(lambda: job.outcomes["clip_reward"] >= 24)
            used = await stub.UseModel(admin_pb.UseModelRequest(name="other"), timeout=PATIENCE_S)
            assert (used.coach, used.model.version, used.before.name) == ("clip", added.version, "clip-small")
            await job.until(lambda: added.version in job.versions)
            with pytest.raises(grpc.RpcError) as caught:
                await stub.RemoveModel(admin_pb.RemoveModelRequest(name="other"))
            assert from_rpc_error(caught.value).reason == "MODEL_IN_USE"
        assert set(job.outcomes) == {"clip_reward"}  # of all that was asked meanwhile
        assert job.versions == {service.coaches["clip"]["model_version"], added.version}

    run(work())


def test_a_broken_model_leaves_the_old_one_answering(service, kit, tmp_path):
    """Its weights fit its card and not its architecture: only loading it can tell."""
    broken = shutil.copytree(SHIPPED_DIRECTORY / "clip-small", tmp_path / "broken")
    card = json.loads((broken / "card.json").read_text())
    card["open_clip"]["embed_dim"] *= 2
    (broken / "card.json").write_text(json.dumps(card))

    async def add_and_use(stub):
        request = admin_pb.AddModelRequest(kind=2, path=str(broken), name="broken")
        await stub.AddModel(request, timeout=PATIENCE_S)
        await stub.UseModel(admin_pb.UseModelRequest(name="broken"), timeout=PATIENCE_S)

    async def work():
        async with admin(service) as stub, load(kit, service, "broken") as job:
            with pytest.raises(grpc.RpcError) as caught:
                await add_and_use(stub)
            assert caught.value.code().name in ("INVALID_ARGUMENT", "FAILED_PRECONDITION")
            answered = job.outcomes["clip_reward"]
            await job.until(lambda: job.outcomes["clip_reward"] > answered + 8)
        assert set(job.outcomes) == {"clip_reward"}

    run(work())


def named(outcomes):
    names = {name.removeprefix("UNAVAILABLE_REASON_") for name in feedback_pb2.UnavailableReason.keys()}  # noqa: SIM118
    assert set(outcomes) <= names | {"clip_reward"}, outcomes


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
def test_a_model_whose_process_dies_or_hangs_is_loaded_again(service, kit, number):
    async def work():
        async with load(kit, service, number.name) as job:
            job.timeout_ms = 2000  # much less than it takes to find out
            await job.until(lambda: job.outcomes["clip_reward"] >= 8)
            stubs = service.processes("clip_score.py")
            assert stubs
            for pid in stubs:
                os.kill(pid, number)
            await job.until(lambda: len(job.outcomes) > 1 and job.latest != "clip_reward")
            await job.until(lambda: job.latest == "clip_reward")
        named(job.outcomes)

    run(work())


def test_a_triton_that_dies_is_started_again_and_every_key_is_answered_once(service, kit):
    async def work():
        async with load(kit, service, "triton") as job:
            await job.until(lambda: job.outcomes["clip_reward"] >= 8)
            os.kill(service.triton(), signal.SIGKILL)
            await job.until(lambda: len(job.outcomes) > 1 and job.latest != "clip_reward")
            await job.until(lambda: job.latest == "clip_reward")
        named(job.outcomes)

    run(work())
