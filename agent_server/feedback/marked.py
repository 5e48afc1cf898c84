"""The marked rows of an answered message: their keys, pictures and contexts, and whether they got an action."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple

from agent_server.sessions import replies
from agent_server.sessions.keys import FINAL
from agent_server.sessions.outcomes import GivenAction, StoredRow
from codriver.v1 import observation_pb2, tensor_pb2

if TYPE_CHECKING:
    from agent_server.sessions.exchange import Exchange

_WITH_ACTION = (replies.OK, replies.HOLD, replies.BRAKE)


class MarkedRow(NamedTuple):
    """A row that wants feedback and was not refused.

    Attributes:
        env: Environment.
        episode: Episode.
        step: Step.
        picture: Its picture as received; empty: it brought none.
        context: Its facts for coaches; None: it brought none.
        fault: Why it cannot be asked about. Empty: it can.
    """

    env: int
    episode: int
    step: int
    picture: bytes
    context: observation_pb2.FeedbackContext | None
    fault: str


def marked_rows(exchange: Exchange, column: int) -> Iterator[MarkedRow]:
    """The marked rows of a message, at the moment when it is answered.

    Rows that ended in an error are left out, since their key may come again, and so are rows that repeat a key, since
    it was asked about the first time. What is asked is this message's own picture and context: those of the
    observation that the action was chosen on.

    Args:
        exchange: The message with its answer.
        column: Index of the picture among the session's tensors.
    """
    request = exchange.request
    marks = request.wants_feedback
    pictures: _Pictures | None = None
    contexts = request.feedback_context
    place = -1
    for row, wanted in enumerate(marks):
        if not wanted:
            continue
        place += 1
        ended = request.step_kind[row] in FINAL
        if not _is_new(exchange, row, ended):
            continue
        if pictures is None:
            size = exchange.session.agreement.layout.row_sizes[column]
            optional = exchange.session.agreement.layout.tensors[column].optional
            pictures = _Pictures(request.tensors[column], size, optional)
        picture = b"" if ended else pictures.row(row)
        context = contexts[place] if contexts else None
        if ended:
            fault = "step_kind: the final observation of an episode has no action, and is not asked about"
        elif not picture:
            fault = "tensors: a row that wants feedback brings its picture; this one has none"
        elif context is None:
            fault = "feedback_context: a row that wants feedback brings its context; this one has none"
        else:
            fault = ""
        yield MarkedRow(request.env[row], request.episode[row], request.step[row], picture, context, fault)


def _is_new(exchange: Exchange, row: int, ended: bool) -> bool:
    """Whether a row was answered here for the first time, and not by an error."""
    if exchange.outcomes is None:
        stored = exchange.row(row)
        return stored is not None and stored.status in _WITH_ACTION
    outcome = exchange.outcomes[row]
    if ended:
        return outcome is None
    if row not in exchange.asked:
        return False
    if isinstance(outcome, StoredRow):
        return outcome.status in _WITH_ACTION
    return isinstance(outcome, GivenAction)


class _Pictures:
    """A checked column of pictures, cut once."""

    def __init__(self, column: tensor_pb2.TensorColumn, size: int | None, optional: bool) -> None:
        self._data = column.data  # a copy at each access
        held = list(column.rows) if optional else None
        sizes = column.row_sizes_bytes
        count = len(sizes) if size is None else len(self._data) // size
        self._index = {row: index for index, row in enumerate(range(count) if held is None else held)}
        self._ends = list(accumulate(sizes if size is None else [size] * count, initial=0))

    def row(self, row: int) -> bytes:
        """The picture of a row as received; empty where there is none."""
        index = self._index.get(row)
        return b"" if index is None else self._data[self._ends[index] : self._ends[index + 1]]
