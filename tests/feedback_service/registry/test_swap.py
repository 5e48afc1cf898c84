"""The live swap against a scripted Triton: under load, with broken models, with slow requests, after restarts."""

import asyncio
import itertools
import json
import shutil
import time

import pytest

from codriver.errors import CodriverError, FailedPreconditionError, InvalidArgumentError, NotFoundError
from feedback_service.desk.desk import Desk
from feedback_service.desk.settings import CoachSettings, Limits
from feedback_service.registry.inspect import CLIP, VLM
from feedback_service.registry.loading import Patience
from feedback_service.registry.store import ModelStore
from feedback_service.registry.swap import ModelSwitch
from feedback_service.registry.warm_up import warm_up
from feedback_service.service.place import RepositoryPlace
from feedback_service.triton.client import TritonClient
from feedback_service.triton.repository import ModelOptions
from tests.feedback_service.desk_bench import QUICK, Stream

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


class Load:
    """Asks a coach without end, some requests at a time, each with a picture of its own."""

    def __init__(self, bench, coach, at_once=4):
        self._bench, self._coach, self._at_once = bench, coach, at_once
        self.stream, self._asking = Stream(bench.desk), True

    async def __aenter__(self):
        self._task = asyncio.create_task(self._ask())
        return self

    async def __aexit__(self, *_):
        self._asking = False
        await self._task
        await self.stream.wait()
        self.stream.check_all_answered_once()

    async def _ask(self):
        for step in itertools.count():
            if not self._asking:
                return
            self.stream.ask(step, coach=self._coach)
            await asyncio.sleep(0.001)
            while self.stream.asker.pending >= self._at_once:
                await asyncio.sleep(0.001)

    async def answered(self, more):
        mark = len(self.stream.answers)
        await until(lambda: len(self.stream.answers) >= mark + more)

    @property
    def models(self):
        return [answer.model_id for answer in self.stream.answers]


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
        coaches = [CoachSettings("vlm", VLM), CoachSettings("clip", CLIP)]
        self.desk = Desk(coaches, self.client, Limits(**QUICK))
        self.coaches = self.desk.coaches
        folder = RepositoryPlace(lambda: self.repository, ModelOptions()) if place == "own" else None
        self.switch = ModelSwitch(self.store, self.desk, self.client, folder, fixed, patience)

    def detail(self, coach):
        return self.coaches[coach].info().detail

    async def __aexit__(self, *_):
        await self.switch.close()
        await self.desk.close()
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
            async with Load(bench, "vlm") as load:
                await load.answered(20)
                done = await bench.switch.use("", "new")
                assert (done.coach, done.model.name, done.before.name) == ("vlm", "new", "vlm-small")
                assert done.load_ms >= 200 and done.model.version == new.version
                await load.answered(20)
                await bench.switch.use("vlm", "vlm-small")
                await load.answered(20)
                await bench.switch.use("vlm", "new")
                await load.answered(20)
            await bench.switch.settled()
            answers = load.stream.answers
            assert set(load.stream.outcomes()) == {"value"}
            changes = [name for name, _ in itertools.groupby(load.models)]
            assert changes[0] == "vlm-small" and changes[-1] == "new" and set(changes) == {"vlm-small", "new"}
            assert {a.model_version for a in answers if a.model_id == "new"} == {new.version}
            assert len(bench.loaded) == 2 and bench.loaded == bench.installed, "the old ones are gone"
            assert bench.triton.most_loaded == 3, "one coach's two, and the other coach's one"

    run(work())


@pytest.mark.parametrize(
    ("behaviour", "words"),
    [
        ({"load_error": "failed to load 'x', no\nsuch file"}, "no such file"),
        (
            {
                "load_error": "load failed for model 'm': version 1 is at UNAVAILABLE state: Internal: KeyError: 'x'"
                "\n\nAt:\n  /a/b.py(12): load\n;\n"
            },
            "bad: KeyError: 'x'; clip-small goes on",
        ),
        ({"never_ready": True}, "loaded, but not ready within 0.5 s"),
        ({"answer": "error"}, "stub process is not healthy"),
        ({"answer": "row_error"}, "picture is no PNG"),
        ({"answer": "nan"}, "not finite"),
        ({"answer": "rows"}, "shape"),
        ({"load_hangs": True}, "not loaded within 1 s"),
    ],
)
def test_broken_model_leaves_the_old_one_and_says_why(bench, behaviour, words):
    async def work():
        async with bench:
            bench.connect(patience=Patience(load_s=1, ready_s=0.5, warm_up_s=5, unload_s=2))
            await bench.started()
            bench.add("bad", CLIP, **behaviour)
            before = bench.loaded
            async with Load(bench, "clip", 1) as load:
                with pytest.raises(FailedPreconditionError) as error:
                    await bench.switch.use("clip", "bad")
            assert words in str(error.value) and "\n" not in str(error.value)
            assert "clip-small goes on answering for clip" in str(error.value)
            await bench.switch.settled()
            assert set(load.stream.outcomes()) == {"value"} and set(load.models) == {"clip-small"}
            assert bench.loaded == bench.installed == before, "nothing of it is left"
            assert bench.store.in_use("clip") == "clip-small"
            noted = words.removeprefix("bad: ").removesuffix("; clip-small goes on")
            assert noted in bench.store.get("bad").problem
            (problem,) = [model.problem for model in bench.switch.models() if model.name == "bad"]
            assert noted in problem

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
            stream = Stream(bench.desk)
            for step in range(3):
                stream.ask(step)
            await asyncio.sleep(0.1)
            begin = time.monotonic()
            await bench.switch.use("vlm", "quick")
            assert time.monotonic() - begin < 1.2, "the switch does not wait for them"
            assert coach.route.model_id == "quick" and slow in bench.triton.loaded
            answers = await stream.wait()
            await bench.switch.settled()
            assert [(a.model_id, a.WhichOneof("outcome")) for a in answers] == [("slow", "vlm_action")] * 3
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
            desk = Desk([CoachSettings("vlm", VLM), CoachSettings("vlm2", VLM)], bench.client)
            two = ModelSwitch(bench.store, desk, bench.client, None)
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
            await bench.desk.close()
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
            assert bench.coaches["vlm"].route is None and "it is broken" in bench.detail("vlm")
            assert bench.coaches["clip"].route.model_id == "clip-small"
            await bench.switch.use("vlm", "vlm-small")
            assert bench.coaches["vlm"].route.model_id == "vlm-small"

    run(work())


def test_start_without_the_files(bench):
    async def work():
        async with bench:
            shutil.rmtree(bench.shipped / "vlm-small")
            await bench.started()
            assert "there is no directory" in bench.detail("vlm")
            assert bench.coaches["clip"].route is not None

    run(work())


def test_start_before_triton_is_there(bench):
    async def work():
        async with bench:
            await bench.triton.stop()
            await bench.switch.start_all()
            await until(lambda: "connect" in bench.detail("vlm").lower())
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
            coach.on_unhealthy = lambda detail: [bench.switch.unhealthy("vlm") for _ in range(3)]
            async with Load(bench, "vlm") as load:
                await until(lambda: coach.route is not None and coach.route.model != first)
                await bench.switch.settled()
                await until(lambda: load.stream.answers[-1].HasField("vlm_action"))
            outcomes = load.stream.outcomes()
            assert outcomes["value"] and set(outcomes) <= {"model_error", "model_not_loaded", "value"}
            assert coach.route.model != first and coach.route.model_id == "vlm-small"
            assert first not in bench.loaded and len(bench.loaded) == 2
            assert [word for word, model in bench.triton.log if model == first] == ["load", "unload"]

    run(work())


def test_model_that_answered_once_is_not_given_up(bench):
    async def work():
        async with bench:
            path = bench.add("mine").path
            await bench.started()
            await bench.switch.use("vlm", "mine")
            (path / "behaviour.json").write_text(json.dumps({"load_error": "out of memory"}))
            await bench.triton.stop()
            await bench.triton.start(bench.triton.address)
            await bench.switch.triton_restarted()
            await until(lambda: "out of memory" in bench.detail("vlm"))
            assert bench.store.get("mine").problem == "out of memory"
            (path / "behaviour.json").write_text("{}")
            await bench.switch.settled()
            assert bench.coaches["vlm"].route.model_id == "mine" and bench.store.get("mine").problem == ""

    run(work())


def test_model_that_is_busy_is_not_loaded_again(bench):
    async def work():
        async with bench:
            bench.connect(patience=Patience(probe_s=0.5))
            await bench.started()
            coach = bench.coaches["vlm"]
            bench.triton.loaded[coach.route.model]["infer_s"] = 2
            asked = asyncio.create_task(warm_up(bench.client, coach.route.model, VLM, 30))
            await asyncio.sleep(1.8)
            await bench.switch.reload("vlm")  # no answer in time, but the earlier call is answered meanwhile
            await asked
            assert [word for word, _ in bench.triton.log] == ["load", "load"]

    run(work())


def test_restarted_triton_gets_its_models_back(bench):
    async def work():
        async with bench:
            await bench.started()
            await bench.triton.stop()
            await bench.triton.start(bench.triton.address)
            await bench.switch.triton_restarted()
            await bench.switch.settled()
            for name in bench.coaches:
                stream = Stream(bench.desk)
                stream.ask(coach=name)
                (answer,) = await stream.wait()
                assert answer.WhichOneof("outcome") != "unavailable"
            assert len(bench.loaded) == 2 and bench.loaded == bench.installed

    run(work())


def test_import_that_fails_once_is_tried_again(bench):
    async def work():
        async with bench:
            bench.add("torn", load_error="ImportError: cannot import name 'x'", failing_loads=1)
            assert (await bench.switch.use("vlm", "torn")).model.name == "torn"
            assert [word for word, _ in bench.triton.log] == ["load", "unload", "load"]

    run(work())


def test_models_that_triton_has_already(bench):
    async def work():
        async with bench:
            bench.connect(fixed={"vlm": "vlm_action", "clip": "clip_score"}, place=None)
            await bench.switch.start_all()
            await until(lambda: "no model 'vlm_action'" in bench.detail("vlm"))
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
            await until(lambda: bench.coaches["vlm"].route is None and "stub" in bench.detail("vlm"))
            bench.triton.loaded["vlm_action"]["answer"] = "ok"
            await bench.switch.settled()
            assert bench.coaches["vlm"].route is not None

    run(work())
