"""A vision-language model suggests an action: picture and prompt in, text out (docs/coach_models.md)."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from codriver.v1 import feedback_pb2, observation_pb2
from feedback_service.coaches.kind import Outcome, Seen, row_error, text_column, unavailable
from feedback_service.coaches.parse import Unparseable, parse_action
from feedback_service.coaches.prompt import vlm_prompt
from feedback_service.triton.tensors import Tensor

RAW_TEXT_CHARACTERS = 1024
"""So much of an answer's text is handed on."""
_DETAIL_CHARACTERS = 200


class VlmActionKind:
    """FEEDBACK_KIND_VLM_ACTION."""

    outputs: tuple[str, ...] = ("text", "error")

    def told(self, context: observation_pb2.FeedbackContext) -> Hashable:
        """The prompt."""
        return vlm_prompt(context)

    def inputs(self, rows: Sequence[Seen]) -> dict[str, Tensor]:
        """``picture`` and ``prompt``, BYTES (B, 1)."""
        return {
            "picture": [row.picture for row in rows],
            "prompt": [row.told.encode() for row in rows],
        }

    def outcomes(self, rows: Sequence[Seen], outputs: Mapping[str, Tensor]) -> list[Outcome]:
        """A VlmAction for each text that holds a control, else why there is none.

        Raises:
            TritonError: BAD_ANSWER: the outputs as a whole are not what the contract says.
        """
        texts = text_column(outputs, "text", len(rows))
        errors = text_column(outputs, "error", len(rows))
        return [row_error(error) if error else _read(text) for text, error in zip(texts, errors)]


def _read(answer: bytes) -> Outcome:
    text = answer.decode("utf-8", "replace")
    control = parse_action(text)
    if isinstance(control, Unparseable):
        said = repr(text[:_DETAIL_CHARACTERS])
        return unavailable(feedback_pb2.UNAVAILABLE_REASON_UNPARSEABLE, f"{control.reason}: {said}")
    return feedback_pb2.VlmAction(
        throttle=control.throttle,
        steer=control.steer,
        brake=control.brake,
        raw_text=text[:RAW_TEXT_CHARACTERS],
    )
