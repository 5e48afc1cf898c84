"""Every marked key ends in exactly one feedback at the client, whatever breaks; actions never wait for any of it."""

import pytest

from codriver.v1 import feedback_pb2


def drive(driver, coached, steps, start=0, envs=(0, 1)):
    """Drives marked steps; every action must come."""
    for step in range(start, start + steps):
        answer = driver.ask(coached.marked(*((env, 0, step) for env in envs)))
        assert list(answer.status) == [coached.OK] * len(envs)


def every(steps, envs=(0, 1), coach="vlm"):
    return {(coach, env, 0, step) for step in range(steps) for env in envs}


@pytest.mark.parametrize("script", ["slow", "backwards", "twice"])
def test_odd_orders(begin, start, coached, peer, kit, script):
    held = []

    def hold(peer, request):
        held.append(request)
        return []

    def twice(peer, request):
        return [coached.answer_to(request)] * 2

    peer.script = twice if script == "twice" else hold
    driver = coached.CoachedDriver(start.connect(begin()))
    drive(driver, coached, 10)
    if script != "twice":
        assert "actions" in driver.log and driver.log.count("actions") == 10 == len(driver.log)
        kit.wait_until(lambda: len(held) == 20, 30)
        peer.send(*(coached.answer_to(r) for r in (reversed(held) if script == "backwards" else held)))
    endings = driver.hear(20)
    assert endings.keys() == every(10) and set(endings.values()) == {""}


def test_no_answer_ever(begin, start, coached, peer):
    peer.script = coached.silent
    impatient = feedback_pb2.CoachSelection(coach="vlm", kind=coached.VLM, timeout_ms=100)
    driver = coached.CoachedDriver(start.connect(begin()), coaches=[impatient])
    drive(driver, coached, 5)
    assert driver.log == ["actions"] * 5
    endings = driver.hear(10)
    assert endings.keys() == every(5) and set(endings.values()) <= {"TIMED_OUT", "RESTARTED"}


def test_garbage(begin, start, coached, peer):
    peer.script = lambda peer, request: [
        feedback_pb2.Feedback(),
        coached.answer_to(request, vlm_action=feedback_pb2.VlmAction(throttle=float("inf"))),
    ]
    driver = coached.CoachedDriver(start.connect(begin()))
    drive(driver, coached, 5)
    endings = driver.hear(10)
    assert endings.keys() == every(5) and set(endings.values()) == {"MODEL_ERROR"}


def test_nobody_there_and_the_coach_joins_the_running_drive(begin, start, coached, tmp_path, kit):
    late = coached.FeedbackPeer(tmp_path / "late")
    server = begin(late.address, wait=False)
    driver = coached.CoachedDriver(start.connect(server))
    drive(driver, coached, 3)
    driver.hear(6)
    late.start()
    kit.wait_until(lambda: server.server.coaching.link.connected, 60)
    drive(driver, coached, 3, start=3)
    endings = driver.hear(12)
    late.stop()
    assert {endings["vlm", env, 0, step] for env in (0, 1) for step in (0, 1, 2)} == {"MODEL_NOT_LOADED"}
    assert {endings["vlm", env, 0, step] for env in (0, 1) for step in (3, 4, 5)} == {""}


def test_service_restarts_in_mid_stream(begin, start, coached, peer, kit):
    peer.script = coached.silent
    server = begin()
    driver = coached.CoachedDriver(start.connect(server))
    drive(driver, coached, 4)
    kit.wait_until(lambda: len(peer.asked) == 8, 30)
    peer.stop()
    kit.wait_until(lambda: server.server.coaching.link.trouble, 30)
    drive(driver, coached, 4, start=4)
    peer.script = coached.good
    peer.start()
    kit.wait_until(lambda: server.server.coaching.link.connected, 60)
    drive(driver, coached, 4, start=8)
    endings = driver.hear(24)
    assert endings.keys() == every(12)
    by_step = {step: {endings["vlm", env, 0, step] for env in (0, 1)} for step in range(12)}
    assert all(by_step[step] == {""} for step in (0, 1, 2, 3, 8, 9, 10, 11))  # the first four were resumed
    assert all(by_step[step] == {"MODEL_NOT_LOADED"} for step in (4, 5, 6, 7))


def test_agent_server_stops(begin, start, coached, peer, kit):
    peer.script = coached.silent
    server = begin()
    driver = coached.CoachedDriver(start.connect(server))
    drive(driver, coached, 3)
    kit.wait_until(lambda: len(peer.asked) == 6, 30)
    server.on_loop(server.server.drain, 0.0, "the test says so")
    endings = driver.hear(6)
    assert endings.keys() == every(3) and set(endings.values()) == {"RESTARTED"}
    assert driver.drain.reason == "the test says so"
    assert kit.failure(driver.read)[:2] == ("UNAVAILABLE", "DRAINED")


def test_during_the_grace_of_a_drain_feedback_still_comes(begin, start, coached, peer, kit):
    server = begin()
    driver = coached.CoachedDriver(start.connect(server))
    server.on_loop(server.server.drain, 30.0, "soon")
    drive(driver, coached, 2)
    assert set(driver.hear(4).values()) == {""}
    assert driver.done() == []


def test_closing_a_session_withdraws_what_is_open(begin, start, coached, peer, kit):
    peer.script = coached.silent
    server = begin()
    driver = coached.CoachedDriver(start.connect(server), coaches=[coached.VLM_COACH, coached.CLIP_COACH])
    drive(driver, coached, 2)
    kit.wait_until(lambda: len(peer.asked) == 8, 30)
    driver.close()
    endings = driver.endings()
    assert endings.keys() == every(2) | every(2, coach="clip") and set(endings.values()) == {"CANCELLED"}
    kit.wait_until(lambda: any(m.HasField("cancel") for m in peer.received), 30)
    withdrawn = {(key.env, key.step) for m in peer.received for key in m.cancel.keys}
    assert withdrawn == {(env, step) for env in (0, 1) for step in (0, 1)}
    assert not server.server.coaching._sessions and server.server.coaching.link.pending == 0


def test_rows_in_flight_at_the_close_end_too(begin, start, coached, peer, kit):
    server = begin()
    driver = coached.CoachedDriver(start.connect(server))
    server.echo.gate.clear()
    driver.send(coached.marked((0, 0, 0), (1, 0, 0)))
    kit.wait_until(lambda: server.echo.rows)
    names = {"session_id": driver.session.session_id, "resume_token": driver.session.resume_token}
    closing = driver.stub.CloseSession.future(kit.pb.CloseSessionRequest(**names), timeout=60)
    kit.wait_until(lambda: not server.server._registry._sessions)
    server.echo.gate.set()
    for response in driver.call:
        driver.take(response)
    assert closing.result().frames_ok == 2
    assert driver.endings() == {("vlm", env, 0, 0): "CANCELLED" for env in (0, 1)} and not peer.asked


def test_a_stream_that_breaks_gets_it_after_attaching_again(begin, start, coached, peer, kit):
    server = begin()
    stub = start.connect(server)
    driver = coached.CoachedDriver(stub)
    drive(driver, coached, 3)
    driver.hear(6)
    peer.script = coached.silent
    drive(driver, coached, 1, start=3)
    kit.wait_until(lambda: len(peer.asked) == 8, 30)
    driver.vanish()
    kit.wait_until(lambda: not server.server._agent.streams)
    peer.send(*(coached.answer_to(request) for request in peer.asked[6:]))
    again = coached.CoachedDriver(stub, driver.session)
    endings = again.hear(8)  # what the broken stream was given last comes again, in case it was lost
    assert endings.keys() == every(4) and set(endings.values()) == {""}


def test_a_stream_that_ended_well_is_not_given_anything_twice(begin, start, coached, peer, kit):
    stub = start.connect(begin())
    driver = coached.CoachedDriver(stub)
    drive(driver, coached, 2)
    driver.hear(4)
    assert driver.done() == []
    again = coached.CoachedDriver(stub, driver.session)
    drive(again, coached, 1, start=2)
    assert again.hear(2) == {("vlm", env, 0, 2): "" for env in (0, 1)}


def test_act_may_ask_and_the_next_stream_hears(begin, start, coached, peer, kit):
    server = begin()
    stub = start.connect(server)
    session = stub.OpenSession(coached.open_request(), timeout=20)
    names = {"session_id": session.session_id, "resume_token": session.resume_token}
    for step in range(3):
        batch = coached.marked((0, 0, step), (1, 0, step))
        answer = stub.Act(kit.pb.ActRequest(**names, observations=batch), timeout=20).actions
        assert list(answer.status) == [coached.OK] * 2
    kit.wait_until(lambda: server.server.coaching.link.counts.answered == 6, 30)
    endings = coached.CoachedDriver(stub, session).hear(6)
    assert endings.keys() == every(3) and set(endings.values()) == {""}


def test_what_nobody_comes_for_is_bounded(begin, start, coached, peer, kit, monkeypatch, caplog):
    from agent_server.feedback import session_feedback

    monkeypatch.setattr(session_feedback, "MAX_KEPT", 5)
    server = begin()
    stub = start.connect(server)
    session = stub.OpenSession(coached.open_request(), timeout=20)
    names = {"session_id": session.session_id, "resume_token": session.resume_token}
    for step in range(8):
        stub.Act(kit.pb.ActRequest(**names, observations=coached.marked((0, 0, step))), timeout=20)
    kit.wait_until(lambda: server.server.coaching.link.counts.answered == 8, 30)
    coaching = server.server.coaching._sessions[session.session_id]
    kit.wait_until(lambda: coaching.undeliverable == 3)
    driver = coached.CoachedDriver(stub, session)
    assert driver.hear(5).keys() == {("vlm", 0, 0, step) for step in range(3, 8)}
    driver.close()
    kit.wait_until(lambda: session.session_id not in server.server.coaching._sessions)
    said = [record.getMessage() for record in caplog.records if session.session_id in record.getMessage()]
    assert len(said) == 2 and "the oldest is dropped" in said[0], said
    assert said[1].endswith("closed; 3 pieces of its feedback were not delivered"), said


def test_what_a_closed_session_still_kept_is_counted(begin, start, coached, peer, kit, caplog):
    caplog.set_level("INFO", logger="agent_server.feedback.session_feedback")
    server = begin()
    stub = start.connect(server)
    session = stub.OpenSession(coached.open_request(), timeout=20)
    names = {"session_id": session.session_id, "resume_token": session.resume_token}
    for step in range(2):
        stub.Act(kit.pb.ActRequest(**names, observations=coached.marked((0, 0, step))), timeout=20)
    kit.wait_until(lambda: server.server.coaching.link.counts.answered == 2, 30)
    stub.CloseSession(kit.pb.CloseSessionRequest(**names), timeout=20)
    kit.wait_until(lambda: session.session_id not in server.server.coaching._sessions)
    assert [(r.levelname, r.getMessage()) for r in caplog.records if "pieces" in r.getMessage()] == [
        ("INFO", f"session {session.session_id}: closed; 2 pieces of its feedback were not delivered")
    ]


def test_sessions_do_not_hear_each_other(begin, start, coached, peer):
    stub = start.connect(begin())
    drivers = [coached.CoachedDriver(stub) for _ in range(3)]
    for driver in drivers:
        drive(driver, coached, 2)
    for driver in drivers:
        assert driver.hear(4).keys() == every(2)


def test_a_restarted_agent_server_does_not_know_the_session(begin, start, coached, peer, kit):
    server = begin()
    driver = coached.CoachedDriver(start.connect(server))
    drive(driver, coached, 1)
    server.stop()
    again = coached.CoachedDriver
    status, reason, _ = kit.failure(again, start.connect(begin()), driver.session)
    assert (status, reason) == ("NOT_FOUND", "SESSION_LOST")
