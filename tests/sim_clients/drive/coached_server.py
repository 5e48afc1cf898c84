"""An agent server that grants coaches and answers for them by a script; real gRPC on a unix socket."""

from __future__ import annotations

import queue
import threading
from collections import Counter

from codriver.v1 import agent_service_pb2, feedback_pb2
from tests.codriver.loopback import Loopback

NEVER = None


def value(coach, key):
    """An answer with a value of the coach's kind."""
    feedback = feedback_pb2.Feedback(coach=coach, key=key, model_id="scripted", model_version="1")
    if coach == "clip":
        feedback.clip_reward.anchor_probabilities.extend([1 / 30] * 30)
    else:
        feedback.vlm_action.throttle = 0.4
    return feedback


def timed_out(coach, key):
    """An answer without a value."""
    reason = feedback_pb2.UNAVAILABLE_REASON_TIMED_OUT
    return feedback_pb2.Feedback(coach=coach, key=key, unavailable=feedback_pb2.Unavailable(reason=reason))


class CoachedServer(Loopback):
    """Grants every coach of ``coaches`` that is asked for.

    Args:
        path: Of its socket.
        coaches: Names that it grants.
        delay_of: Function of a key: seconds from the actions to the answer, or NEVER.
        answer: Function of coach and key: the answer.

    Attributes:
        marked: Rows that wanted feedback: (env, episode, step).
        pictures: Rows that carried a picture.
        most_owed: Most unanswered requests that each environment ever had.
    """

    def __init__(self, path, coaches=("vlm", "clip"), delay_of=lambda key: 0.0, answer=value, **options):
        super().__init__(path, **options)
        self.coaches, self.delay_of, self.answer = coaches, delay_of, answer
        self.marked, self.pictures, self.most_owed = [], [], Counter()
        self._owed, self._lock, self._timers = Counter(), threading.Lock(), []
        self.ended = threading.Event()

    def __exit__(self, *_):
        for timer in self._timers:
            timer.cancel()
        super().__exit__()

    def OpenSession(self, request, context):
        response = super().OpenSession(request, context)
        response.coaches.extend(c for c in request.coaches if c.coach in self.coaches)
        if response.coaches:
            response.feedback_rule.CopyFrom(request.feedback_rule)
            response.feedback_credits_per_env = request.feedback_credits_per_env
        return response

    def Drive(self, request_iterator, context):
        attach = next(request_iterator).attach
        out = queue.Queue()
        out.put(agent_service_pb2.DriveResponse(attached=agent_service_pb2.Attached()))
        threading.Thread(target=self._read, args=(request_iterator, attach, out), daemon=True).start()
        while (response := out.get()) is not None:
            yield response

    def _read(self, requests, attach, out):
        try:
            for request in requests:
                batch = request.observations
                actions = self._answer(attach.session_id, batch)
                self.pictures += [
                    (batch.env[row], batch.episode[row], batch.step[row]) for row in batch.tensors[2].rows
                ]
                out.put(agent_service_pb2.DriveResponse(actions=actions))
                for row, wanted in enumerate(batch.wants_feedback):
                    if wanted:
                        self._ask(attach.session_id, batch, row, out)
        except Exception:  # noqa: BLE001  (the stream's end, however it came)
            pass
        out.put(None)

    def _ask(self, session_id, batch, row, out):
        key = feedback_pb2.FeedbackKey(
            session_id=session_id, env=batch.env[row], episode=batch.episode[row], step=batch.step[row]
        )
        self.marked.append((key.env, key.episode, key.step))
        for selection in self.requests[session_id].coaches:
            if selection.coach not in self.coaches:
                continue
            with self._lock:
                self._owed[key.env] += 1
                self.most_owed[key.env] = max(self.most_owed[key.env], self._owed[key.env])
            delay_s = self.delay_of(key)
            if delay_s is not NEVER:
                timer = threading.Timer(delay_s, self._tell, (selection.coach, key, out))
                timer.daemon = True
                self._timers.append(timer)
                timer.start()

    def _tell(self, coach, key, out):
        with self._lock:
            self._owed[key.env] -= 1
        entry = self.answer(coach, key)
        out.put(agent_service_pb2.DriveResponse(feedback=agent_service_pb2.FeedbackBatch(feedback=[entry])))
