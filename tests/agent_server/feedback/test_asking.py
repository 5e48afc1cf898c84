"""What is asked, when, and with whose picture."""

import pytest

from codriver.v1 import feedback_pb2


def keys(requests):
    return [(r.coach, r.key.env, r.key.episode, r.key.step) for r in requests]


def test_each_request_has_the_picture_and_facts_that_the_action_was_chosen_on(begin, start, coached, peer):
    """The published code asked about the observation *after* the step, and stored the answer with the one before."""
    driver = coached.CoachedDriver(start.connect(begin()), coaches=[coached.VLM_COACH, coached.CLIP_COACH])
    for step in range(4):
        rows = [(0, 0, step), (1, 7, step), (5, 2, step)]
        driver.ask(coached.marked(*rows, unmarked=[step % 3]))
        driver.hear(4 * (step + 1))
        asked = [r for r in peer.asked if r.key.step == step]
        wanted = [row for place, row in enumerate(rows) if place != step % 3]
        assert keys(asked) == [(coach, *row) for row in wanted for coach in ("vlm", "clip")]
        for request in asked:
            key = (request.key.env, request.key.episode, request.key.step)
            assert request.key.session_id == driver.session.session_id
            assert request.picture == coached.picture_of(*key)  # to the byte, of this very step
            assert request.context == coached.context_of(*key)
            assert request.kind == (coached.VLM if request.coach == "vlm" else coached.CLIP)
            assert request.timeout_ms == 60_000
    assert set(driver.endings().values()) == {""} and len(peer.asked) == 16
    vlm = next(f for f in driver.feedback if f.coach == "vlm")
    assert (vlm.vlm_action.steer, vlm.model_id) == (-0.25, "peer")


def test_nothing_is_asked_before_the_action_is_chosen(begin, start, coached, peer, kit):
    server = begin()
    driver = coached.CoachedDriver(start.connect(server))
    server.echo.gate.clear()
    driver.send(coached.marked((0, 0, 0)))
    kit.wait_until(lambda: server.echo.rows)
    assert not peer.asked
    server.echo.gate.set()
    driver.hear(1)
    assert driver.log == ["actions", ("vlm", 0, 0, 0)]


def test_unmarked_rows_are_not_asked_about(begin, start, coached, peer):
    driver = coached.CoachedDriver(start.connect(begin()))
    for step in range(3):
        driver.ask(coached.marked((0, 0, step), (1, 0, step), unmarked=[0, 1]))
    driver.ask(coached.marked((0, 0, 3), (1, 0, 3), unmarked=[1]))
    assert driver.hear(1) == {("vlm", 0, 0, 3): ""} and len(peer.asked) == 1


def test_marks_without_coaches_mean_nothing(begin, start, coached, peer, kit):
    driver = kit.Driver(start.connect(begin()), observation_spec=coached.SPEC, feedback_rule=coached.RULE)
    assert driver.ask(coached.marked((0, 0, 0))).status == [coached.OK]
    assert driver.done() == [] and not peer.asked


@pytest.mark.parametrize(
    ("changes", "field"), [({"pictures": []}, "tensors"), ({"contexts": False}, "feedback_context")]
)
def test_a_mark_without_picture_or_facts_is_named_and_costs_no_action(
    begin, start, coached, peer, changes, field
):
    driver = coached.CoachedDriver(start.connect(begin()))
    assert list(driver.ask(coached.marked((0, 0, 0), (1, 0, 0), **changes)).status) == [coached.OK] * 2
    endings = driver.hear(2)
    assert endings == {("vlm", env, 0, 0): "INVALID_REQUEST" for env in (0, 1)}
    assert driver.feedback[0].unavailable.detail.startswith(field) and not peer.asked


def test_one_of_two_pictures_is_missing(begin, start, coached, peer):
    driver = coached.CoachedDriver(start.connect(begin()))
    driver.ask(coached.marked((0, 0, 0), (1, 0, 0), (2, 0, 0), pictures=[0, 2]))
    assert driver.hear(3) == {
        ("vlm", 0, 0, 0): "",
        ("vlm", 1, 0, 0): "INVALID_REQUEST",
        ("vlm", 2, 0, 0): "",
    }
    assert [r.picture for r in peer.asked] == [coached.picture_of(0, 0, 0), coached.picture_of(2, 0, 0)]


def test_final_observations_have_no_action_and_are_not_asked_about(begin, start, coached, peer, kit):
    driver = coached.CoachedDriver(start.connect(begin()))
    driver.ask(coached.marked((0, 0, 0), (1, 0, 0)))
    driver.ask(coached.marked((0, 0, 1, kit.TERMINATED), (1, 0, 1)))
    endings = driver.hear(4)
    assert endings.pop(("vlm", 0, 0, 1)) == "INVALID_REQUEST"
    assert set(endings.values()) == {""} and len(peer.asked) == 3


def test_rows_that_fail_are_asked_about_when_they_come_again(begin, start, coached, peer):
    driver = coached.CoachedDriver(start.connect(begin()))
    bad = coached.marked((0, 0, 0), (1, 0, 0), (1, 0, 0), (99, 0, 0), state=(0.5, 2000.0, 0))
    assert coached.OK not in driver.ask(bad).status
    assert list(driver.ask(coached.marked((0, 0, 0), (1, 0, 0))).status) == [coached.OK] * 2
    assert driver.hear(2) == {("vlm", 0, 0, 0): "", ("vlm", 1, 0, 0): ""}
    assert len(peer.asked) == 2


def test_errors_beside_good_rows(begin, start, coached, peer):
    driver = coached.CoachedDriver(start.connect(begin()))
    driver.ask(coached.marked((99, 0, 0), (0, 0, 0), (3, 1, 5), (1, 0, 0)))
    assert driver.hear(2) == {("vlm", 0, 0, 0): "", ("vlm", 1, 0, 0): ""}
    assert {r.picture for r in peer.asked} == {coached.picture_of(0, 0, 0), coached.picture_of(1, 0, 0)}


def test_repeated_keys_are_asked_about_once(begin, start, coached, peer, kit):
    peer.script = coached.silent
    server = begin()
    driver = coached.CoachedDriver(start.connect(server))
    server.echo.gate.clear()
    driver.send(coached.marked((0, 0, 0), (1, 0, 0)))
    driver.send(coached.marked((0, 0, 0), (1, 0, 0)))  # while it waits for the model
    kit.wait_until(lambda: server.echo.rows)
    server.echo.gate.set()
    for _ in range(2):
        driver.take(driver.read())
    driver.ask(coached.marked((0, 0, 0), (1, 0, 0), (2, 0, 0)))  # after its answer, beside a new one
    kit.wait_until(lambda: len(peer.asked) == 3, 30)
    assert keys(peer.asked) == [("vlm", env, 0, 0) for env in range(3)]


def test_fallback_actions_are_asked_about_too(begin, start, coached, peer, kit):
    server = begin()
    brake = kit.action_pb2.FALLBACK_BRAKE
    driver = coached.CoachedDriver(start.connect(server), act_deadline_ms=100, fallback=brake)
    server.echo.gate.clear()
    answer = driver.ask(coached.marked((0, 0, 0)))
    assert list(answer.status) == [kit.action_pb2.ACTION_STATUS_FALLBACK_BRAKE]
    server.echo.gate.set()
    assert driver.hear(1) == {("vlm", 0, 0, 0): ""} and len(peer.asked) == 1


def test_more_than_credits_allow_is_backlog(begin, start, coached, peer, kit):
    peer.script = coached.silent
    driver = coached.CoachedDriver(
        start.connect(begin()), feedback_credits_per_env=2, frames_in_flight=3, num_envs=2
    )
    for step in range(7):
        driver.ask(coached.marked((0, 0, step), (1, 0, step), unmarked=[1] if step else []))
    assert driver.hear(2) == {("vlm", 0, 0, step): "BACKLOG" for step in (5, 6)}
    peer.send(*(coached.answer_to(request) for request in peer.asked))
    assert len(driver.hear(8)) == 8


def test_without_credits_nothing_is_limited_but_by_the_link(begin, start, coached, peer, kit):
    peer.script = coached.silent
    driver = coached.CoachedDriver(start.connect(begin()), feedback_credits_per_env=0, frames_in_flight=1)
    for step in range(20):
        driver.ask(coached.marked((0, 0, step)))
    kit.wait_until(lambda: len(peer.asked) == 20, 30)


def test_progress_reaches_the_service_where_ages_matter(begin, start, coached, peer, kit):
    peer.script = coached.silent
    aging = feedback_pb2.CoachSelection(coach="vlm", kind=coached.VLM, max_age_steps=50)
    driver = coached.CoachedDriver(start.connect(begin()), coaches=[aging])
    driver.ask(coached.marked((0, 0, 0), (1, 0, 0), unmarked=[1]))
    for step in range(1, 6):
        driver.ask(coached.marked((0, 0, step), (1, 0, step), unmarked=[0, 1]))
    kit.wait_until(lambda: any(m.HasField("progress") for m in peer.received), 30)
    told = [m.progress.latest for m in peer.received if m.HasField("progress")]
    assert [(key.env, key.step) for key in told] == [(0, 5)]


def test_sinks_hear_everything(begin, start, coached, peer):
    server = begin()
    heard = []
    server.on_loop(server.server.coaching.add_sink, lambda session_id, f: heard.append((session_id, f)))
    driver = coached.CoachedDriver(start.connect(server))
    driver.ask(coached.marked((0, 0, 0), (1, 0, 0), pictures=[0]))
    driver.hear(2)
    assert sorted((s, f.key.env, coached.reason(f)) for s, f in heard) == [
        (driver.session.session_id, 0, ""),
        (driver.session.session_id, 1, "INVALID_REQUEST"),
    ]
