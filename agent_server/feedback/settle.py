"""OpenSession's part about feedback: what the client wants, checked, and what it is granted."""

from __future__ import annotations

import math
from dataclasses import dataclass

from codriver import driving
from codriver.coaching.link import FeedbackLink
from codriver.errors import CodriverError, Violation
from codriver.v1 import agent_service_pb2, feedback_pb2, tensor_pb2

PICTURE = driving.observation_spec(picture=True).tensors[-1]
"""What coaches read."""
MAX_COACHES = 8
MAX_NAME = 64
DEFAULT_TIMEOUT_MS = 60_000
MIN_TIMEOUT_MS = 10
MAX_TIMEOUT_MS = 600_000
MAX_AGE_STEPS = 1_000_000
LIST_TIMEOUT_S = 2.0
"""OpenSession waits this long for the feedback service's list of coaches."""


@dataclass(frozen=True)
class FeedbackAgreement:
    """What a session with coaches agreed on.

    Attributes:
        coaches: Granted coaches, at least one; every timeout is set.
        rule: Which rows the client marks.
        credits_per_env: Most unanswered requests of one environment and coach; 0: no limit.
        column: Index of the picture among the session's tensors.
    """

    coaches: tuple[feedback_pb2.CoachSelection, ...]
    rule: feedback_pb2.FeedbackRule
    credits_per_env: int
    column: int


def violations(request: agent_service_pb2.OpenSessionRequest, linked: bool) -> list[Violation]:
    """What is wrong with the wishes for feedback in themselves.

    Args:
        request: The request; its observation spec is valid.
        linked: True: coaches may be granted, so there must be pictures and a rule. False: none will be.
    """
    found = _rule_violations(request.feedback_rule) if request.HasField("feedback_rule") else []
    if not request.coaches:
        return found
    if len(request.coaches) > MAX_COACHES:
        found.append(
            Violation("coaches", f"has {len(request.coaches)} entries; at most {MAX_COACHES} are allowed")
        )
    names: set[str] = set()
    for index, selection in enumerate(request.coaches):
        if not 0 < len(selection.coach) <= MAX_NAME:
            found.append(
                Violation(f"coaches[{index}].coach", f"has 1 to {MAX_NAME} characters: the coach's name")
            )
        elif selection.coach in names:
            found.append(Violation(f"coaches[{index}].coach", f"names {selection.coach!r} a second time"))
        names.add(selection.coach)
        if not selection.kind or selection.kind not in feedback_pb2.FeedbackKind.values():
            found.append(
                Violation(f"coaches[{index}].kind", f"is {selection.kind}, which is no FeedbackKind")
            )
    if not linked:
        return found
    if not request.HasField("feedback_rule"):
        found.append(
            Violation("feedback_rule", "is missing: coaches need a rule that says which rows to mark")
        )
    return found + _picture_violations(request)


async def settle(
    request: agent_service_pb2.OpenSessionRequest, link: FeedbackLink | None
) -> FeedbackAgreement | None:
    """Grants coaches: those that the service lists with the wanted kind; while it is away, all that are wanted.

    Args:
        request: A request without :func:`violations`.
        link: The link to the feedback service; None: there is none, and no coach is granted.

    Returns:
        What is agreed; None: no coach is granted.
    """
    if link is None or not request.coaches:
        return None
    wanted = list(request.coaches)
    try:
        there = {info.coach: info.kind for info in (await link.list_coaches(LIST_TIMEOUT_S)).coaches}
    except CodriverError:
        pass  # it may join a running drive; until then each request is answered so
    else:
        wanted = [selection for selection in wanted if there.get(selection.coach) == selection.kind]
    if not wanted:
        return None
    column = _picture_column(request)
    assert column is not None
    coaches = tuple(_clamped(selection) for selection in wanted)
    return FeedbackAgreement(coaches, request.feedback_rule, request.feedback_credits_per_env, column)


def _picture_column(request: agent_service_pb2.OpenSessionRequest) -> int | None:
    """Index of the picture among the tensors: the one of that name, or else the first RGB picture. None: none is."""
    found = [
        index
        for index, spec in enumerate(request.observation_spec.tensors)
        if spec.encoding == tensor_pb2.ENCODING_PNG and len(spec.shape) == 3
    ]
    named = [index for index in found if request.observation_spec.tensors[index].name == PICTURE.name]
    return next(iter(named + found), None)


def _picture_violations(request: agent_service_pb2.OpenSessionRequest) -> list[Violation]:
    size = " x ".join(map(str, PICTURE.shape))
    column = _picture_column(request)
    if column is None:
        detail = f"have no RGB picture for coaches: add an optional one, {size} uint8 as PNG"
        return [Violation("observation_spec.tensors", detail)]
    spec = request.observation_spec.tensors[column]
    if list(spec.shape) != list(PICTURE.shape):
        shape = " x ".join(map(str, spec.shape))
        return [
            Violation(f"observation_spec.tensors[{column}].shape", f"is {shape}; coaches here read {size}")
        ]
    return []


def _rule_violations(rule: feedback_pb2.FeedbackRule) -> list[Violation]:
    found = []
    if not (math.isfinite(rule.risky_ttc_s) and rule.risky_ttc_s >= 0):
        found.append(
            Violation("feedback_rule.risky_ttc_s", f"is {rule.risky_ttc_s}; seconds, 0 or more, are allowed")
        )
    if not 0 <= rule.changed_share <= 1:
        found.append(Violation("feedback_rule.changed_share", f"is {rule.changed_share}; 0 to 1 are allowed"))
    return found


def _clamped(selection: feedback_pb2.CoachSelection) -> feedback_pb2.CoachSelection:
    wanted_ms = selection.timeout_ms or DEFAULT_TIMEOUT_MS
    return feedback_pb2.CoachSelection(
        coach=selection.coach,
        kind=selection.kind,
        timeout_ms=min(max(wanted_ms, MIN_TIMEOUT_MS), MAX_TIMEOUT_MS),
        max_age_steps=min(selection.max_age_steps, MAX_AGE_STEPS),
    )
