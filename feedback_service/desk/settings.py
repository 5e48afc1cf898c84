"""What a desk is told: its coaches, the models behind them, its limits."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from codriver.driving import PICTURE_SIZE_PX
from codriver.v1 import feedback_pb2, tensor_pb2


@dataclass(frozen=True)
class Route:
    """The model that answers for a coach.

    Attributes:
        model: Its name at Triton.
        model_id: Its name for people, on every answer.
        model_version: Its version, on every answer.
        versioned_by_triton: The version is Triton's, and another one may stand behind the name at any time. Otherwise
            it is the store's, whose models all are Triton's version 1.
    """

    model: str
    model_id: str
    model_version: str
    versioned_by_triton: bool = False

    def answered_by(self, triton_version: str) -> Route:
        """The route with the version that has answered."""
        if not self.versioned_by_triton or triton_version in ("", self.model_version):
            return self
        return replace(self, model_version=triton_version)


@dataclass(frozen=True)
class CoachSettings:
    """One coach.

    Attributes:
        name: Name to ask it by.
        kind: What it answers.
        max_calls_in_flight: Calls of its model at once.
        max_rows_per_call: Most rows that one call takes; not more than the model's largest batch.
        max_queued: Rows that may wait for a call, of all sessions together.
        timeout_ms: Longest wait for an answer where the request names none.
        cache_entries: Answers to equal pictures and contexts that are kept. 0: none.
        picture_size_px: Width and height of the pictures that it reads.
    """

    name: str
    kind: feedback_pb2.FeedbackKind
    max_calls_in_flight: int = 4
    max_rows_per_call: int = 8
    max_queued: int = 1024
    timeout_ms: int = 60_000
    cache_entries: int = 4096
    picture_size_px: int = PICTURE_SIZE_PX

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: One is out of range.
        """
        if not 1 <= len(self.name) <= 64:
            raise ValueError("a coach's name has 1 to 64 characters")
        _positive(self, but=("name", "kind", "cache_entries"))
        if self.cache_entries < 0:
            raise ValueError("cache_entries must be at least 0")

    @property
    def picture_spec(self) -> tensor_pb2.TensorSpec:
        """The pictures that it reads."""
        return tensor_pb2.TensorSpec(
            name="picture",
            dtype=tensor_pb2.DTYPE_UINT8,
            shape=[self.picture_size_px, self.picture_size_px, 3],
            encoding=tensor_pb2.ENCODING_PNG,
            optional=True,
        )


@dataclass(frozen=True)
class Limits:
    """Limits of one desk; each refusal names the one that it met.

    Attributes:
        max_pending_per_session: Unanswered requests of a session, at all coaches together.
        max_pending_per_stream: Unanswered requests of a stream, at all coaches together.
        max_streams: Streams that may be open at once.
        handshake_s: Time in which a stream's first message comes.
        max_picture_bytes: Largest picture.
        max_timeout_ms: Longest wait that a request may ask for; longer ones are cut to it.
        answers_kept: Answers per coach that are kept for requests that are sent again.
        reconnect_grace_s: What only a stream that broke has asked for goes on so long, so that its asker can come back
            and ask again without a loss.
        environments_kept: Environments whose progress is remembered.
        breaker_failures: Calls that fail one after the other until a model counts as down.
        breaker_pause_s: Shortest time until a model that is down is probed; doubles with each probe that fails.
        breaker_longest_pause_s: Longest such time.
        max_attempts: Calls that one row may be part of because the ones before could not reach the model.
        retry_pause_s: Pause before the second attempt; doubles with each further one.
        retry_share: Share of the calls that may be such repetitions, in the long run.
    """

    max_pending_per_session: int = 256
    max_pending_per_stream: int = 8192
    max_streams: int = 256
    handshake_s: float = 10.0
    max_picture_bytes: int = 1024 * 1024
    max_timeout_ms: int = 600_000
    answers_kept: int = 8192
    reconnect_grace_s: float = 2.0
    environments_kept: int = 65_536
    breaker_failures: int = 5
    breaker_pause_s: float = 0.5
    breaker_longest_pause_s: float = 10.0
    max_attempts: int = 3
    retry_pause_s: float = 0.1
    retry_share: float = 0.1

    def __post_init__(self) -> None:
        """Checks the values.

        Raises:
            ValueError: One is not more than 0.
        """
        _positive(self, but=())


def _positive(settings: CoachSettings | Limits, but: tuple[str, ...]) -> None:
    for field in fields(settings):
        if field.name not in but and getattr(settings, field.name) <= 0:
            raise ValueError(f"{field.name} must be more than 0")
