"""Client, agent server, feedback service and a scripted Triton: every marked row ends once, whatever restarts."""

from __future__ import annotations

import asyncio
import threading

import numpy as np
import pytest

from codriver.coaching.source import FeedbackSource
from codriver.codecs import png
from codriver.serving.protection import Protection
from feedback_service.config import Options, coach_choice
from feedback_service.server import FeedbackServer
from tests.agent_server import conftest as base
from tests.agent_server.conftest import start  # noqa: F401 - a fixture
from tests.agent_server.feedback import conftest as coached
from tests.codriver.serving.conftest import certificates  # noqa: F401 - a fixture
from tests.feedback_service.fake_triton import FakeModel, FakeTriton


class Loop:
    """An event loop on a thread."""

    def __init__(self):
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(60)

    def end(self):
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(20)


class Service:
    """A feedback service before a scripted Triton; either may be stopped and started again."""

    def __init__(self, folder, **options):
        self._loop = Loop()
        self.triton = FakeTriton(
            f"unix:{folder}/triton", vlm_action=FakeModel(), clip_score=FakeModel(kind="clip")
        )
        self.address = f"unix:{folder}/feedback"
        settings = {
            "triton": self.triton.address,
            "coaches": (coach_choice("vlm=vlm"), coach_choice("clip=clip")),
            "listen": (self.address,),
            "admin_listen": None,
            "store": folder / "store",
        }
        self.options = Options(**{**settings, **options})
        self.start_triton()
        self.start()

    def start_triton(self):
        self._loop.run(self.triton.start())

    def kill_triton(self):
        self._loop.run(self.triton.kill())

    def start(self):
        async def begin():
            self.server = FeedbackServer(self.options)
            await self.server.start()
            await self.server.settled(30)
            self.address = self.server.addresses[0]

        self._loop.run(begin())

    def stop(self):
        async def end():
            self.server.stop()
            await self.server.wait()

        self._loop.run(end())

    def end(self):
        self.stop()
        self.kill_triton()
        self._loop.end()


@pytest.fixture
def service(tmp_path):
    service = Service(tmp_path)
    yield service
    service.end()


@pytest.fixture
def begin(start, service):  # noqa: F811
    def begin(**changes):
        server = start(feedback=FeedbackSource(service.address))
        base.wait_until(lambda: server.server.coaching.link.connected, 60)
        coaches = [coached.VLM_COACH, coached.CLIP_COACH]
        return server, coached.CoachedDriver(start.connect(server), coaches=coaches, **changes)

    return begin


@pytest.fixture
def pictures(monkeypatch):
    """A real picture for each key, different from all others."""

    def picture_of(env, episode, step):
        picture = np.zeros((192, 192, 3), np.uint8)
        picture[0, 0] = env, episode, step
        return png.encode(picture)

    monkeypatch.setattr(coached, "picture_of", picture_of)
    return picture_of


def drive(driver, steps, first=0):
    for step in range(first, first + steps):
        answer = driver.ask(coached.marked((0, 0, step), (1, 0, step)))
        assert list(answer.status) == [coached.OK] * 2


def every(steps):
    return {(coach, env, 0, step) for coach in ("vlm", "clip") for env in (0, 1) for step in range(steps)}


def test_the_whole_walk(begin, service, pictures):
    _, driver = begin()
    assert [coach.coach for coach in driver.session.coaches] == ["vlm", "clip"]
    drive(driver, 5)
    endings = driver.hear(20)
    assert endings.keys() == every(5) and set(endings.values()) == {""}
    seen = {row.picture for row in service.triton.models["vlm_action"].rows}
    # byte for byte; the service has asked about one of its own before
    assert seen >= {pictures(env, 0, step) for env in (0, 1) for step in range(5)} and len(seen) <= 11
    for feedback in driver.feedback:
        assert feedback.model_id and feedback.inference_us > 0
        if feedback.coach == "vlm":
            assert feedback.vlm_action.throttle == 0.5
        else:
            facts = coached.context_of(feedback.key.env, 0, feedback.key.step)
            assert feedback.clip_reward.command_index == 0
            assert len(feedback.clip_reward.anchor_probabilities) == 30 and facts.command == 1


def test_triton_dies_and_comes_back(begin, service, pictures):
    _, driver = begin()
    drive(driver, 2)
    driver.hear(8)
    service.kill_triton()
    drive(driver, 2, first=2)
    endings = driver.hear(16)
    assert "" not in {endings[name] for name in every(4) - every(2)}
    service.start_triton()
    step = 4
    while driver.endings().get(("clip", 0, 0, step - 1)) != "":  # the breaker probes now and then
        drive(driver, 1, first=step)
        step += 1
        assert driver.hear(4 * step).keys() == every(step)
        assert step < 200
        threading.Event().wait(0.1)


def test_the_service_restarts_in_mid_drive(begin, service, pictures):
    server, driver = begin()
    service.triton.models["vlm_action"].hang = True
    drive(driver, 3)
    base.wait_until(lambda: len(service.triton.models["vlm_action"].rows) >= 1, 30)
    service.stop()
    drive(driver, 2, first=3)
    service.triton.models["vlm_action"].hang = False
    service.start()
    base.wait_until(lambda: server.server.coaching.link.connected, 60)
    drive(driver, 2, first=5)
    endings = driver.hear(28)
    assert endings.keys() == every(7)
    assert {endings[name] for name in every(7) - every(5)} == {""}
    assert {endings["vlm", env, 0, step] for env in (0, 1) for step in range(3)} <= {"", "RESTARTED"}
    assert set(endings.values()) <= {"", "RESTARTED", "MODEL_NOT_LOADED"}


def test_a_slow_triton_is_no_matter_to_actions(begin, service, pictures):
    service.triton.models["vlm_action"].hang = service.triton.models["clip_score"].hang = True
    _, driver = begin(feedback_credits_per_env=0)
    drive(driver, 20)
    assert driver.log == ["actions"] * 20
    driver.close()
    endings = driver.endings()
    assert endings.keys() == every(20) and set(endings.values()) == {"CANCELLED"}


def test_encrypted_and_with_a_token(start, certificates, pictures, tmp_path):  # noqa: F811
    certificate, key = certificates.make("server")
    tokens, mine = tmp_path / "tokens", tmp_path / "mine"
    tokens.write_text("drive driver-0123456789\n")
    mine.write_text("driver-0123456789\n")
    protection = Protection(certificate, key, certificates.ca, tokens)
    ours = certificates.make("asker")
    service = Service(tmp_path, listen=("localhost:0",), protection=protection)
    try:
        server = start(feedback=FeedbackSource(service.address, certificates.ca, mine, *ours))
        base.wait_until(lambda: server.server.coaching.link.connected, 60)
        driver = coached.CoachedDriver(start.connect(server))
        drive(driver, 1)
        assert set(driver.hear(2).values()) == {""}
        stranger = start(feedback=FeedbackSource(service.address, certificates.ca, mine))
        driver = coached.CoachedDriver(start.connect(stranger))
        drive(driver, 1)
        assert set(driver.hear(2).values()) == {"MODEL_NOT_LOADED"}
    finally:
        service.end()
