"""Any interleaving of requests, duplicates, withdrawals, progress, closed streams, switches and faults: each request
gets exactly one answer, and nothing is left behind."""

from __future__ import annotations

import asyncio
import tempfile

import grpc
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from feedback_service.desk.settings import Route
from tests.feedback_service.desk_bench import Stream, bench, key
from tests.feedback_service.fake_triton import FakeModel

ROUTES = {
    "one": Route("vlm_action", "one", "1"),
    "two": Route("two", "two", "2"),
    "missing": Route("missing", "missing", "3"),
    "none": None,
}
FAULTS = {
    "fine": {},
    "slow": {"delay_s": 0.03},
    "hung": {"hang": True},
    "refuses": {"fail": (grpc.StatusCode.INTERNAL, "CUDA out of memory")},
    "lost": {"fail": (grpc.StatusCode.UNAVAILABLE, "Socket closed"), "fail_next": 2},
    "poison": {"poison": lambda row: row.picture[-1] % 2 == 1},
    "garbage": {"broken": "other_rows"},
    "mumbles": {"answer": lambda row: "throttle throttle throttle"},
    "not_ready": {"ready": False, "fail": (grpc.StatusCode.UNAVAILABLE, "model is not ready")},
}

streams = st.integers(0, 2)
numbers = st.one_of(st.integers(0, 6), st.integers(0, 6), st.just(2**64 - 1))
ask = st.tuples(
    st.just("ask"),
    streams,
    st.fixed_dictionaries(
        {
            "step": st.integers(0, 5),
            "env": st.integers(0, 1),
            "episode": st.integers(0, 1),
            "session": st.sampled_from(["s", "t"]),
            "coach": st.sampled_from(["vlm", "vlm", "clip", "nobody"]),
            "number": st.sampled_from([0, 0, 1, 2]),
            "timeout_ms": st.sampled_from([1, 40, 200]),
            "max_age_steps": st.sampled_from([0, 0, 1, 3]),
        }
    ),
)
action = st.one_of(
    ask,
    ask,
    ask,
    st.tuples(st.just("cancel"), streams, st.integers(0, 5)),
    st.tuples(st.just("progress"), streams, st.tuples(numbers, numbers)),
    st.tuples(st.just("close"), streams, st.none()),
    st.tuples(st.just("switch"), st.none(), st.sampled_from(sorted(ROUTES))),
    st.tuples(st.just("fault"), st.none(), st.sampled_from(sorted(FAULTS))),
    st.tuples(st.just("wait"), st.none(), st.sampled_from([0.0, 0.001, 0.02, 0.06])),
    st.tuples(st.just("kill"), st.none(), st.none()),
    st.tuples(st.just("start"), st.none(), st.none()),
)


class Schedule:
    """Plays actions; a closed stream is followed by a new one."""

    def __init__(self, b):
        self.b = b
        self.streams = [b.stream() for _ in range(3)]
        self.all_streams: list[Stream] = list(self.streams)
        self.switches: list[asyncio.Task[None]] = []
        self.up = True

    async def play(self, what, which, how):
        stream = None if which is None else self.streams[which]
        if what == "ask":
            stream.ask(**how)
        elif what == "cancel":
            stream.asker.cancel(
                [key(how, env, episode, s) for s in "st" for env in (0, 1) for episode in (0, 1)]
            )
        elif what == "progress":
            stream.asker.progress(key(how[0], 0, how[1]))
        elif what == "close":
            stream.asker.close()
            self.streams[which] = self.b.stream()
            self.all_streams.append(self.streams[which])
        elif what == "switch":
            switch = self.b.desk.coach("vlm").switch(ROUTES[how])
            self.switches.append(asyncio.create_task(switch))
        elif what == "fault":
            for name, model in self.b.triton.models.items():
                self.b.triton.models[name] = FakeModel(model.kind, **FAULTS[how])
        elif what == "wait":
            await asyncio.sleep(how)
        elif what == "kill" and self.up:
            self.up = False
            await self.b.triton.kill()
        elif what == "start" and not self.up:
            self.up = True
            await self.b.triton.start()


async def play(actions, close):
    limits = {
        "max_pending_per_session": 6,
        "max_pending_per_stream": 9,
        "breaker_failures": 2,
        "answers_kept": 4,
    }
    with tempfile.TemporaryDirectory() as path:
        async with bench(
            path, limits=limits, max_calls_in_flight=2, max_rows_per_call=3, max_queued=5, cache_entries=2
        ) as b:
            b.triton.models["two"] = FakeModel("vlm")
            schedule = Schedule(b)
            for one in actions:
                await schedule.play(*one)
            if close:
                await b.desk.close()
            for stream in schedule.all_streams:
                await stream.wait()
                stream.check_all_answered_once()
            for switch in schedule.switches:
                await switch
            coaches = b.desk.coaches.values()
            await b.until(
                lambda: not any(coach.unanswered for coach in coaches)
            )  # of streams that were closed
            for coach in coaches:
                assert coach.queued == 0 and not coach._session_pending
            for kind in ("asked", "answered"):
                total = sum(count for (name, *_), count in b.metrics.counts.items() if name == kind)
                assert total == sum(stream.asked.total() for stream in schedule.all_streams)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(action, min_size=1, max_size=60), st.booleans())
def test_each_request_gets_exactly_one_answer(actions, close):
    asyncio.run(play(actions, close))
