"""Models that die, hang, work for long, or do not load, in a real Triton."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from feedback_service.triton.client import TritonClient, TritonError, TritonReason
from feedback_service.triton.embedded import EmbeddedTriton
from feedback_service.triton.probe import probe
from feedback_service.triton.stubs import stubs_of
from feedback_service.triton.watchdog import Health, ModelWatchdog, WatchdogTimes
from tests.feedback_service.triton.embedded import (
    CONFIG,
    HALF_WRITTEN,
    NUMPY,
    ROWS,
    SLOW_TO_LOAD,
    ask,
    put_model,
    real_environment,
)

TIMES = WatchdogTimes(silence_s=4.0, load_s=60.0, pauses_s=(0.0, 0.1))


@pytest.fixture(scope="module")
def runner():
    with asyncio.Runner() as runner:
        yield runner


@pytest.fixture(scope="module")
def triton(runner, tmp_path_factory):
    triton = EmbeddedTriton(tmp_path_factory.mktemp("state"), real_environment())
    runner.run(triton.start())
    yield triton
    runner.run(triton.stop())


@pytest.fixture(scope="module")
def client(runner, triton):
    async def make():
        return TritonClient(triton.grpc_address)

    client = runner.run(make())
    yield client
    runner.run(client.close())


@pytest.fixture
def load(runner, triton, client):
    """Puts a model into the repository and loads it; it is gone after the test."""
    loaded = []

    def load(name, source=NUMPY, config=CONFIG):
        put_model(triton.repository, name, source, config)
        loaded.append(name)
        runner.run(client.load(name, 60))

    yield load
    for name in loaded:
        triton.end_stubs(name)
        runner.run(client.unload(name, 30))


@pytest.fixture
def said():
    return []


@pytest.fixture
def watchdog(triton, client, said, runner):
    watchdog = ModelWatchdog(client, end_stubs=triton.end_stubs, say=said.append, times=TIMES)
    yield watchdog
    runner.run(watchdog.close())


def test_rows_answer_or_fail_on_their_own(runner, client, load):
    load("model")
    probabilities, errors = runner.run(ask(client, "model", *[b"p"] * 31, b""))
    assert probabilities.shape == (32, 30) and probabilities.dtype == np.float32
    assert probabilities[:31, 7].tolist() == list(range(31)) and np.isnan(probabilities[31]).all()
    assert errors == [b""] * 31 + [b"no picture"]


def test_rows_of_many_requests_are_one_call(runner, client, load):
    load("rows", ROWS)

    async def crowd():
        return await asyncio.gather(*(ask(client, "rows", b"p", b"", contexts=[n, n]) for n in range(24)))

    answers = runner.run(crowd())
    assert max(probabilities[0, 1] for probabilities, _ in answers) > 2
    for n, (probabilities, errors) in enumerate(answers):
        assert (
            probabilities[0, 0] == n and np.isnan(probabilities[1]).all() and errors == [b"", b"no picture"]
        )


def test_a_call_that_raises_fails_and_the_next_is_answered(runner, client, triton, load):
    load("rows", ROWS)
    with pytest.raises(TritonError, match="KeyError: 'what a model may raise'"):
        runner.run(ask(client, "rows", b"raise"))
    runner.run(ask(client, "rows", b"p"))
    assert "Traceback" in triton.log.read_text()
    with pytest.raises(TritonError):
        runner.run(client.infer("rows", {"picture": [b"p"]}, ["error"], 30))


def test_a_half_written_model_says_why_and_leaves_the_others(runner, client, triton, load):
    load("good")
    put_model(triton.repository, "half", HALF_WRITTEN)
    with pytest.raises(TritonError, match=r"SyntaxError|IndentationError|was never closed"):
        runner.run(client.load("half", 60))
    (triton.repository / "half" / "config.pbtxt").write_text(CONFIG[: len(CONFIG) // 2])
    with pytest.raises(TritonError, match="half"):
        runner.run(client.load("half", 60))
    runner.run(ask(client, "good", b"p"))


def test_a_model_that_dies_is_noticed_and_recovered(runner, client, triton, load, watchdog, said):
    load("model")
    load("other")
    (other,) = stubs_of(triton.repository, "other")
    for picture in (b"die", b"p"):
        with pytest.raises(TritonError, match="not healthy"):
            runner.run(ask(client, "model", picture))
    assert runner.run(client.model_ready("model", 5))
    assert runner.run(watchdog.check("model")) is Health.RECOVERED
    runner.run(ask(client, "model", b"p"))
    assert len(said) == 1 and "model did not answer" in said[0] and "loaded anew in" in said[0]
    assert stubs_of(triton.repository, "other") == [other]
    assert runner.run(watchdog.check("model")) is Health.FINE and len(said) == 1


def test_a_hanging_model_is_recovered(runner, client, load, watchdog, said):
    load("model")
    with pytest.raises(TritonError) as error:
        runner.run(ask(client, "model", b"hang", timeout_s=0.5))
    assert error.value.reason is TritonReason.TIMED_OUT

    async def check():
        watchdog.report("model")
        watchdog.report("model")
        return await watchdog.check("model")

    assert runner.run(check()) is Health.RECOVERED and len(said) == 1
    runner.run(ask(client, "model", b"p"))
    assert "silent for 4 s" in said[0]


def test_a_busy_model_is_left_alone(runner, client, triton, load, watchdog, said):
    load("model", config=CONFIG.replace("dynamic_batching { }", ""))
    before = stubs_of(triton.repository, "model")

    async def crowd():
        calls = [asyncio.create_task(ask(client, "model", b"work", timeout_s=60)) for _ in range(12)]
        await asyncio.sleep(0.2)
        health = await watchdog.check("model")
        await asyncio.gather(*calls)
        return health

    assert runner.run(crowd()) is Health.BUSY
    assert stubs_of(triton.repository, "model") == before and not said


def test_a_load_that_hangs_is_given_up(runner, client, triton, load, said):
    load("model")
    load("other")
    put_model(triton.repository, "model", SLOW_TO_LOAD)
    triton.end_stubs("model")
    times = WatchdogTimes(silence_s=4.0, load_s=1.0, pauses_s=(0.0, 0.1))
    watchdog = ModelWatchdog(client, end_stubs=triton.end_stubs, say=said.append, times=times)
    assert runner.run(watchdog.check("model")) is Health.LOST
    assert "2 loads did not help: a load took more than 1 s" in said[-1]
    runner.run(ask(client, "other", b"p"))
    put_model(triton.repository, "model")
    watchdog = ModelWatchdog(client, end_stubs=triton.end_stubs, say=said.append, times=TIMES)
    assert runner.run(watchdog.check("model")) is Health.RECOVERED


def test_a_model_that_nobody_wants_any_more_stays_away(runner, client, triton, load):
    load("model")
    triton.end_stubs("model")
    watchdog = ModelWatchdog(client, wanted=lambda model: False, times=TIMES)
    assert runner.run(watchdog.check("model")) is Health.UNWANTED


def test_without_a_server_there_is_nothing_to_load(runner, said):
    async def check():
        client = TritonClient("127.0.0.1:1")
        with pytest.raises(TritonError):
            await probe(client, "model", 1)
        health = await ModelWatchdog(client, say=said.append, times=TIMES).check("model")
        await client.close()
        return health

    assert runner.run(check()) is Health.SERVER_AWAY
    assert "Triton does not answer" in said[0]
