"""Everything at once, in an order that only the seed knows: still exactly one answer each."""

from __future__ import annotations

import asyncio
import random
from collections import Counter

import pytest

from codriver.coaching.link import FeedbackLink
from codriver.coaching.outcomes import Asked
from tests.codriver.coaching.feedback_peer import CLIP, VLM, FeedbackPeer, answer_to
from tests.codriver.coaching.test_link import linked, request

pytestmark = pytest.mark.compat


class Moody:
    """Answers, holds back, repeats itself, says what nobody asked; by chance."""

    def __init__(self, seed):
        self._random, self.held = random.Random(seed), []

    def __call__(self, peer, request):
        mood = self._random.random()
        if mood < 0.5:
            return [answer_to(request)]
        if mood < 0.6:
            return [answer_to(request)] * 3
        if mood < 0.7:
            return [answer_to(request, coach="nobody"), answer_to(request, vlm_action=None, clip_reward=None)]
        self.held.append(request)
        return [answer_to(self.held.pop(0))] if mood < 0.9 and len(self.held) > 3 else []


@pytest.mark.parametrize("seed", range(4))
def test_exactly_one_answer_each(tmp_path, seed):
    chance = random.Random(seed)
    answers = Counter()
    asked = []

    async def main(peer):
        link = FeedbackLink(
            peer.address,
            lambda feedback: answers.update([Asked.of(feedback.coach, feedback.key)]),
            max_pending=60,
            grace_s=0.2,
            connect_timeout_s=1.0,
            backoff_s=(0.01, 0.05),
        )
        await link.start()
        up, step = True, 0
        for _ in range(150):
            deed = chance.random()
            if deed < 0.7:
                for _ in range(chance.randrange(1, 8)):
                    coach, kind = chance.choice((("vlm", VLM), ("clip", CLIP)))
                    asked.append(
                        request(
                            step,
                            coach=coach,
                            kind=kind,
                            timeout_ms=chance.choice((50, 300, 3000)),
                            max_age_steps=chance.choice((0, 5)),
                        )
                    )
                    link.ask([asked[-1]] * chance.choice((1, 1, 2)))
                    step += 1
            elif deed < 0.8:
                link.cancel(r.key for r in chance.sample(asked[-20:], min(3, len(asked))))
            elif deed < 0.9:
                link.progress(request(step).key)
            elif deed < 0.93:
                loop = asyncio.get_event_loop()
                await loop.run_in_executor(None, peer.stop if up else peer.start)
                up = not up
            await asyncio.sleep(chance.choice((0, 0, 0.002, 0.02)))
        if not up:
            peer.start()
        await asyncio.sleep(0.5)
        await link.close()
        assert link.pending == 0
        assert link.counts.answered + link.counts.ended_here == link.counts.asked == len(asked)

    peer = FeedbackPeer(tmp_path / "f", script=Moody(seed))
    with peer:
        asyncio.run(main(peer))
    assert answers == Counter(Asked.of(r.coach, r.key) for r in asked) and set(answers.values()) == {1}


def test_a_service_that_does_not_read_holds_nobody_up(tmp_path):
    count = 120

    async def work(link, heard):
        loop = asyncio.get_event_loop()
        begin = loop.time()
        link.ask([request(step, picture=bytes(100_000), timeout_ms=200) for step in range(count)])
        assert loop.time() - begin < 0.5
        await heard.wait(count)

    with FeedbackPeer(tmp_path / "f") as peer:
        peer.deaf = True
        heard, _ = linked(peer.address, work, grace_s=0.2)
    ended = heard.check(*(request(step) for step in range(count)))
    assert set(ended.values()) <= {"TIMED_OUT", "RESTARTED", "MODEL_NOT_LOADED"}
