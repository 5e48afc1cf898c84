"""The live swap against a scripted Triton: under load, with broken models, with slow requests, after restarts."""

import asyncio
import json
import shutil
import time

import pytest

from codriver.errors import CodriverError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from feedback_service.desk.settings import CoachSettings
from feedback_service.registry.inspect import CLIP, VLM
from feedback_service.registry.loading import Patience
from feedback_service.registry.model_place import RepositoryFolder
from feedback_service.registry.store import ModelStore
from feedback_service.registry.swap import ModelSwitch
from feedback_service.registry.warm_up import warm_up
from feedback_service.triton.client import TritonClient

from .conftest import write_clip, write_vlm
from .fake_triton import FakeTriton

HURRIED = Patience(
    load_s=5,
    ready_s=1,
    warm_up_s=5,
    probe_s=2,
    unload_s=5,
    drain_s=20,
    first_retry_s=0.05,
    longest_retry_s=0.2,
)


class AskedCoach:
    """A coach that is asked without end: ``answers`` has the version that answered, ``failed`` what went wrong."""

    def __init__(self, name, kind, client):
        self.settings = CoachSettings(name, kind)
        self.route, self.detail, self.client = None, "", client
        self.in_flight, self.answers, self.failed, self.switches = {}, [], [], []

    async def switch(self, route, detail=""):
        old, self.route, self.detail = self.route, route, detail
        self.switches.append(None if route is None else route.model_id)
        while old is not None and self.in_flight.get(old.model):
            await asyncio.sleep(0.005)

    async def ask(self):
        route = self.route
        self.in_flight[route.model] = self.in_flight.get(route.model, 0) + 1
        try:
            await warm_up(self.client, route.model, self.settings.kind, 30)
            self.answers.append((route.model_id, route.model_version))
        except Exception as error:  # noqa: BLE001 - whatever it was, it counts as failed
            self.failed.append(error)
        finally:
            self.in_flight[route.model] -= 1

    async def load(self, until, at_once=4):
        async def asker():
            while not until.is_set():
                await self.ask()

        await asyncio.gather(*(asker() for _ in range(at_once)))


class Bench:
    """A store, a scripted Triton, two coaches and the switch between them."""

    def __init__(self, folder, shipped):
        self.folder, self.shipped, self.repository = folder, shipped, folder / "repository"
        self.repository.mkdir(exist_ok=True)
        self.store = ModelStore(folder / "store", shipped)

    async def __aenter__(self):
        self.triton = await FakeTriton(self.repository).start()
        self.connect()
        return self

    def connect(self, fixed=None, place="own", patience=HURRIED):
        self.client = TritonClient(self.triton.address)
        self.coaches = {
            "vlm": AskedCoach("vlm", VLM, self.client),
            "clip": AskedCoach("clip", CLIP, self.client),
        }
        folder = RepositoryFolder(self.repository) if place == "own" else None
        self.switch = ModelSwitch(self.store, self, self.client, folder, fixed, patience)

    async def __aexit__(self, *_):
        await self.switch.close()
        await self.client.close()
        await self.triton.stop()

    async def started(self):
        await self.switch.start_all()
        await self.switch.settled()
        return self

    def add(self, name, kind=VLM, fill=1.0, **behaviour):
        directory = self.folder / "checkpoints" / name
        (write_vlm if kind == VLM else write_clip)(directory, fill=fill)
        (directory / "behaviour.json").write_text(json.dumps(behaviour))
        return self.store.add(kind, directory, name)

    @property
    def loaded(self):
        return sorted(self.triton.loaded)

    @property
    def installed(self):
        return sorted(path.name for path in self.repository.iterdir())


@pytest.fixture
def bench(tmp_path, shipped):
    return Bench(tmp_path, shipped)


def run(work):
    asyncio.run(asyncio.wait_for(work, 120))


async def until(condition):
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up
        await asyncio.sleep(0.01)


def test_start_loads_what_each_coach_uses(bench):
    async def work():
        async with bench:
            await bench.started()
            assert bench.coaches["vlm"].route.model_id == "vlm-small"
            assert bench.coaches["clip"].route.model_id == "clip-small"
            assert len(bench.loaded) == 2 and bench.loaded == bench.installed
            assert bench.switch.answering() == {"vlm": "vlm-small", "clip": "clip-small"}

    run(work())


def test_swap_under_load_fails_no_request(bench):
    async def work():
        async with bench:
            await bench.started()
            new = bench.add("new", infer_s=0.002, load_s=0.2)
            coach, stop = bench.coaches["vlm"], asyncio.Event()
            load = asyncio.create_task(coach.load(stop))
            await until(lambda: len(coach.answers) > 20)
            done = await bench.switch.use("", "new")
            assert (done.coach, done.model.name, done.before.name) == ("vlm", "new", "vlm-small")
            assert done.load_ms >= 200 and done.model.version == new.version
            mark = len(coach.answers)
            await until(lambda: len(coach.answers) > mark + 20)
            await bench.switch.use("vlm", "vlm-small")
            await bench.switch.use("vlm", "new")
            stop.set()
            await load
            await bench.switch.settled()
            assert coach.failed == []
            assert {name for name, _ in coach.answers} == {"vlm-small", "new"}
            assert {version for name, version in coach.answers if name == "new"} == {new.version}
            assert len(bench.loaded) == 2 and bench.loaded == bench.installed, "the old ones are gone"
            assert bench.triton.most_loaded == 3, "one coach's two, and the other coach's one"

    run(work())


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"load_error": "failed to load 'x', no\nsuch file"}, "no such file"),
        ({"never_ready": True}, "not ready"),
        ({"answer": "error"}, "stub process is not healthy"),
        ({"answer": "row_error"}, "picture is no PNG"),
        ({"answer": "nan"}, "not finite"),
        ({"answer": "rows"}, "shape"),
        ({"load_hangs": True}, ""),
    ],
)
def test_broken_model_leaves_the_old_one_and_says_why(bench, behaviour, words):
    async def work():
        async with bench:
            bench.connect(patience=Patience(load_s=1, ready_s=0.5, warm_up_s=5, unload_s=2))
            await bench.started()
            bench.add("bad", CLIP, **behaviour)
            coach, stop = bench.coaches["clip"], asyncio.Event()
            load = asyncio.create_task(coach.load(stop, 1))
            before = bench.loaded
            with pytest.raises(FailedPreconditionError) as error:
                await bench.switch.use("clip", "bad")
            assert words in str(error.value) and "\n" not in str(error.value)
            assert "clip-small goes on answering for clip" in str(error.value)
            stop.set()
            await load
            await bench.switch.settled()
            assert coach.failed == [] and coach.route.model_id == "clip-small"
            assert bench.loaded == bench.installed == before, "nothing of it is left"
            assert bench.store.in_use("clip") == "clip-small"
            assert words in bench.store.get("bad").problem
            (problem,) = [model.problem for model in bench.switch.models() if model.name == "bad"]
            assert words in problem

    run(work())


def test_checkpoint_that_broke_after_it_was_added(bench):
    async def work():
        async with bench:
            await bench.started()
            path = bench.add("new").path
            whole = (path / "model.safetensors").read_bytes()
            (path / "model.safetensors").write_bytes(whole[:-1])
            with pytest.raises(CodriverError, match=r"model\.safetensors is cut short.*vlm-small goes on"):
                await bench.switch.use("vlm", "new")
            assert "cut short" in bench.store.get("new").problem
            (path / "model.safetensors").write_bytes(whole)
            await bench.switch.use("vlm", "new")
            assert bench.store.get("new").problem == ""

    run(work())


def test_text_that_is_no_action_is_no_fault(bench):
    async def work():
        async with bench:
            await bench.started()
            bench.add("talker", answer="nonsense")
            assert (await bench.switch.use("vlm", "talker")).model.name == "talker"

    run(work())


def test_old_model_stays_until_its_slow_requests_are_done(bench):
    async def work():
        async with bench:
            await bench.started()
            bench.add("slow", infer_s=1.5)
            bench.add("quick")
            await bench.switch.use("vlm", "slow")
            await bench.switch.settled()
            coach = bench.coaches["vlm"]
            slow = coach.route.model
            asked = [asyncio.create_task(coach.ask()) for _ in range(3)]
            await asyncio.sleep(0.1)
            begin = time.monotonic()
            await bench.switch.use("vlm", "quick")
            assert time.monotonic() - begin < 1.2, "the switch does not wait for them"
            assert coach.route.model_id == "quick" and slow in bench.triton.loaded
            await asyncio.gather(*asked)
            await bench.switch.settled()
            assert coach.failed == [] and [name for name, _ in coach.answers] == ["slow"] * 3
            assert slow not in bench.triton.loaded and slow not in bench.installed

    run(work())


def test_swaps_at_the_same_time_happen_one_after_the_other(bench):
    async def work():
        async with bench:
            await bench.started()
            for name in ("a", "b", "c"):
                bench.add(name, load_s=0.05)
            bench.add("bad", load_error="no")
            bench.add("other", CLIP)
            uses = [bench.switch.use("vlm", name) for name in ("a", "b", "bad", "c")]
            results = await asyncio.gather(*uses, bench.switch.use("clip", "other"), return_exceptions=True)
            await bench.switch.settled()
            assert [type(result).__name__ for result in results].count("FailedPreconditionError") == 1
            assert bench.coaches["vlm"].route.model_id == bench.store.in_use("vlm")
            assert bench.coaches["clip"].route.model_id == "other"
            assert len(bench.loaded) == 2 and bench.loaded == bench.installed
            befores = {result.before.name for result in (results[0], results[1], results[3])}
            assert befores == {"vlm-small", "a", "b", "c"} - {bench.store.in_use("vlm")}, "a chain"

    run(work())


def test_cancelled_before_the_switch_nothing_changes(bench):
    async def work():
        async with bench:
            await bench.started()
            bench.add("late", load_s=3)
            using = asyncio.create_task(bench.switch.use("vlm", "late"))
            await until(lambda: len(bench.triton.log) == 3)
            using.cancel()
            with pytest.raises(asyncio.CancelledError):
                await using
            await bench.switch.settled()
            assert bench.coaches["vlm"].route.model_id == bench.store.in_use("vlm") == "vlm-small"
            assert len(bench.installed) == 2

    run(work())


def test_same_model_again_is_not_loaded_again(bench):
    async def work():
        async with bench:
            await bench.started()
            loads = len(bench.triton.log)
            done = await bench.switch.use("vlm", "vlm-small")
            assert done.before == done.model and len(bench.triton.log) == loads
            (bench.shipped / "vlm-small" / "tokenizer.json").write_text('{"changed": 1}')
            done = await bench.switch.use("vlm", "vlm-small")
            assert done.before.version != done.model.version == bench.coaches["vlm"].route.model_version

    run(work())


def test_wrong_names(bench):
    async def work():
        async with bench:
            with pytest.raises(NotFoundError, match="it has: clip-small, vlm-small"):
                await bench.switch.use("vlm", "nobody")
            with pytest.raises(NotFoundError, match="there are: vlm, clip"):
                await bench.switch.use("third", "vlm-small")
            with pytest.raises(
                InvalidArgumentError, match="clip-small is a clip model, and coach vlm wants vlm"
            ):
                await bench.switch.use("vlm", "clip-small")
            bench.coaches["vlm2"] = AskedCoach("vlm2", VLM, bench.client)
            two = ModelSwitch(bench.store, bench, bench.client, RepositoryFolder(bench.repository))
            with pytest.raises(InvalidArgumentError, match="2 coaches take vlm models: vlm, vlm2"):
                await two.use("", "vlm-small")

    run(work())


def test_restart_uses_what_was_in_use_and_clears_what_was_left(bench):
    async def work():
        async with bench:
            await bench.started()
            bench.add("new")
            await bench.switch.use("vlm", "new")
            await bench.switch.close()  # as a killed service: nothing is unloaded
            (bench.repository / "somebody-elses").mkdir()
            left = set(bench.loaded)
            await bench.client.close()
            bench.connect()
            await bench.started()
            assert bench.coaches["vlm"].route.model_id == "new"
            assert len(bench.loaded) == 2 and not left & set(bench.loaded)
            assert bench.installed == sorted([*bench.loaded, "somebody-elses"])
            await bench.switch.close(unload=True)
            assert bench.loaded == [] and bench.installed == ["somebody-elses"]

    run(work())


def test_start_with_a_broken_model_names_it_and_the_other_coach_answers(bench):
    async def work():
        async with bench:
            bench.add("bad", load_error="it is broken")
            bench.store.set_in_use("vlm", "bad")
            await bench.started()
            assert bench.coaches["vlm"].route is None and "it is broken" in bench.coaches["vlm"].detail
            assert bench.coaches["clip"].route.model_id == "clip-small"
            await bench.switch.use("vlm", "vlm-small")
            assert bench.coaches["vlm"].route.model_id == "vlm-small"

    run(work())


def test_start_without_the_files(bench):
    async def work():
        async with bench:
            shutil.rmtree(bench.shipped / "vlm-small")
            await bench.started()
            assert "there is no directory" in bench.coaches["vlm"].detail
            assert bench.coaches["clip"].route is not None

    run(work())


def test_start_before_triton_is_there(bench):
    async def work():
        async with bench:
            await bench.triton.stop()
            await bench.switch.start_all()
            await until(lambda: "connect" in bench.coaches["vlm"].detail.lower())
            await bench.triton.start(bench.triton.address)
            await bench.switch.settled()
            assert bench.coaches["vlm"].route is not None and bench.coaches["clip"].route is not None
            assert bench.store.get("vlm-small").problem == "", "no fault of the model"

    run(work())


def test_dead_model_is_loaded_again_and_one_that_answers_is_not(bench):
    async def work():
        async with bench:
            await bench.started()
            coach = bench.coaches["vlm"]
            first = coach.route.model
            await bench.switch.reload("vlm")
            assert coach.route.model == first
            bench.triton.dead.add(first)
            for _ in range(3):
                bench.switch.unhealthy("vlm")  # a breaker may say so more than once
            await bench.switch.settled()
            assert coach.route.model != first and coach.route.model_id == "vlm-small"
            assert first not in bench.loaded and len(bench.loaded) == 2
            assert coach.switches == [None, "vlm-small", None, "vlm-small"]

    run(work())


def test_restarted_triton_gets_its_models_back(bench):
    async def work():
        async with bench:
            await bench.started()
            await bench.triton.stop()
            await bench.triton.start(bench.triton.address)
            await bench.switch.triton_restarted()
            await bench.switch.settled()
            for coach in bench.coaches.values():
                await coach.ask()
                assert coach.failed == [] and len(coach.answers) == 1
            assert len(bench.loaded) == 2 and bench.loaded == bench.installed

    run(work())


def test_import_that_fails_once_is_tried_again(bench):
    async def work():
        async with bench:
            path = bench.add("torn", load_error="ImportError: cannot import name 'x'").path
            using = asyncio.create_task(bench.switch.use("vlm", "torn"))
            await until(lambda: bench.triton.log)
            (path / "behaviour.json").write_text("{}")
            assert (await using).model.name == "torn"
            assert [word for word, _ in bench.triton.log] == ["load", "unload", "load"]

    run(work())


def test_models_that_triton_has_already(bench):
    async def work():
        async with bench:
            bench.connect(fixed={"vlm": "vlm_action", "clip": "clip_score"}, place=None)
            await bench.switch.start_all()
            await until(lambda: "no model 'vlm_action'" in bench.coaches["vlm"].detail)
            bench.triton.loaded.update(vlm_action={}, clip_score={})
            await bench.switch.settled()
            route = bench.coaches["vlm"].route
            assert (route.model, route.model_id, route.model_version) == ("vlm_action", "vlm_action", "3")
            assert [list(model.coaches) for model in bench.switch.models() if model.name == "clip_score"] == [
                ["clip"]
            ]
            with pytest.raises(FailedPreconditionError, match="--repository DIR"):
                await bench.switch.use("vlm", "vlm-small")
            bench.triton.loaded["vlm_action"]["answer"] = "error"
            bench.switch.unhealthy("vlm")
            await until(lambda: bench.coaches["vlm"].route is None and "stub" in bench.coaches["vlm"].detail)
            bench.triton.loaded["vlm_action"]["answer"] = "ok"
            await bench.switch.settled()
            assert bench.coaches["vlm"].route is not None

    run(work())
