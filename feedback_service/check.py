"""``codriver feedback --check``: what a Triton is, and which of its models can stand behind coaches."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

import grpc
import numpy as np

from codriver.codecs import png
from codriver.driving import PICTURE_SIZE_PX
from codriver.errors import UnavailableError
from codriver.v1 import feedback_pb2, observation_pb2
from feedback_service.coaches.clip_reward import ClipRewardKind
from feedback_service.coaches.kind import CoachKind
from feedback_service.coaches.vlm_action import VlmActionKind
from feedback_service.config import EMBEDDED, Options, Settings
from feedback_service.contract import USUAL_MODELS, likely_kind, misfits
from feedback_service.triton.client import TritonClient
from feedback_service.triton.errors import TritonError

_KINDS: dict[str, CoachKind] = {"vlm": VlmActionKind(), "clip": ClipRewardKind()}
_QUICK_S = 5.0
_TRIAL_S = 120.0
_NO_MODEL = "codriver-no-such-model"


@dataclass
class ModelReport:
    """One model of a Triton.

    Attributes:
        name: Its name.
        version: Its version.
        state: As the repository's index says: ``READY``, ``UNAVAILABLE`` or empty.
        kind: Kind of coach that it looks made for: ``vlm``, ``clip``, or empty.
        misfits: Why it does not fit. Empty: it fits.
        max_batch_rows: Most rows in a call. 0: not known.
        trial_ms: Time of a call with one row, the second one. None: there was none.
        answer: What it answered, in one line.
    """

    name: str
    version: str = ""
    state: str = ""
    kind: str = ""
    misfits: list[str] = field(default_factory=list)
    max_batch_rows: int = 0
    trial_ms: float | None = None
    answer: str = ""

    @property
    def usable(self) -> bool:
        """Whether a coach can ask it now."""
        return bool(self.kind) and not self.misfits and self.trial_ms is not None


@dataclass
class TritonReport:
    """A Triton and its models.

    Attributes:
        address: Where it was looked for.
        reachable: It answers.
        server: Name and version.
        extensions: Of the protocol.
        swap: Models can be loaded and unloaded by a client (explicit model control).
        models: Its models, by name.
    """

    address: str
    reachable: bool = False
    server: str = ""
    extensions: list[str] = field(default_factory=list)
    swap: bool = False
    models: list[ModelReport] = field(default_factory=list)

    def usable_kinds(self) -> set[str]:
        """Kinds of coaches that have a model to ask."""
        return {model.kind for model in self.models if model.usable}


async def check_command(chosen: Settings) -> int:
    """Looks, and reports; 0 when every coach of the settings has a model that can be asked, else 1."""
    options = chosen.options
    others = [choice.model or USUAL_MODELS[_kind(choice.settings.kind)] for choice in options.coaches]
    async with _triton(options) as address:
        names = () if options.triton == EMBEDDED else others
        report = await look_at(address, names, options.triton_credentials())
    wanted = {kind for kind in _KINDS if any(_kind(c.settings.kind) == kind for c in options.coaches)}
    good = wanted <= report.usable_kinds()
    if chosen.json:
        form = asdict(report)
        for model, form_of_model in zip(report.models, form["models"]):
            form_of_model["usable"] = model.usable
        print(json.dumps({**form, "every_coach_has_a_model": good}))
    else:
        print("\n".join(in_words(report)))
    return 0 if good else 1


async def look_at(
    address: str, names: Sequence[str] = (), credentials: grpc.ChannelCredentials | None = None
) -> TritonReport:
    """Looks at a Triton: changes nothing there, asks each fitting model twice about one made-up observation.

    Args:
        address: ``HOST:PORT`` or ``unix:PATH`` of its gRPC endpoint.
        names: Models to look at where it does not list any.
        credentials: TLS; None: plain.
    """
    report = TritonReport(address)
    client = TritonClient(address, credentials)
    try:
        try:
            server = await client.server_metadata(_QUICK_S)
            report.server, report.extensions = f"{server.name} {server.version}", list(server.extensions)
        except TritonError as error:
            report.server = error.detail
            if not await client.live(_QUICK_S):
                return report
            report.server = "a server that does not say what it is"
        report.reachable = True
        report.swap = await _can_swap(client)
        for name, version, state, reason in await _models(client, names):
            report.models.append(await _look_at_model(client, ModelReport(name, version, state), reason))
    finally:
        await client.close()
    return report


async def _models(client: TritonClient, names: Sequence[str]) -> list[tuple[str, str, str, str]]:
    """Name, version, state and the reason of it, of each model."""
    try:
        listed = (await client.index(_QUICK_S)).models
    except TritonError:
        listed = []
    found = [(model.name, model.version, model.state, model.reason) for model in listed]
    return sorted(found) or [(name, "", "", "") for name in names]


def in_words(report: TritonReport) -> list[str]:
    """A report as lines for people."""
    if not report.reachable:
        return [f"No Triton answers at {report.address}: {report.server}"]
    swap = "yes" if report.swap else "no (it was not started with --model-control-mode=explicit)"
    lines = [
        f"Triton at {report.address}: {report.server}",
        f"  extensions: {', '.join(report.extensions) or 'none'}",
        f"  models can be loaded and swapped: {swap}",
        f"  models: {len(report.models) or 'none is listed'}",
    ]
    for model in report.models:
        lines.append(f"  {model.name}{f', version {model.version}' if model.version else ''}")
        lines += [f"    {line}" for line in _model_in_words(model)]
    return lines


def _model_in_words(model: ModelReport) -> list[str]:
    if not model.kind:
        return [f"{model.state.lower() or 'no answer'}: {model.answer}" if model.answer else "no coach model"]
    if model.misfits:
        return [f"does not fit {model.kind} coaches:", *(f"  {line}" for line in model.misfits)]
    rows = f", up to {model.max_batch_rows} rows a call" if model.max_batch_rows else ""
    if model.trial_ms is None:
        return [f"has the tensors of a {model.kind} coach{rows}", f"does not answer: {model.answer}"]
    return [f"fits {model.kind} coaches{rows}", f"one row took {model.trial_ms:.1f} ms: {model.answer}"]


async def _can_swap(client: TritonClient) -> bool:
    try:
        await client.load(_NO_MODEL, _QUICK_S)
    except TritonError as error:
        return "not allowed" not in error.detail.lower() and "unimplemented" not in error.detail.lower()
    return True


async def _look_at_model(client: TritonClient, report: ModelReport, reason: str) -> ModelReport:
    if report.state not in ("READY", ""):
        report.answer = reason or "not loaded"
        return report
    try:
        metadata = await client.metadata(report.name, _QUICK_S)
        optional: list[str] = []
        try:
            config = (await client.config(report.name, _QUICK_S)).config
            report.max_batch_rows = config.max_batch_size
            optional = [tensor.name for tensor in config.input if tensor.optional]
        except TritonError:
            pass  # another server than Triton may not tell
        report.kind = likely_kind((t.name for t in metadata.inputs), (t.name for t in metadata.outputs))
        if report.kind:
            report.misfits = misfits(report.kind, metadata, optional)
            if not report.misfits:
                await _try(client, report)
    except TritonError as error:
        report.answer = error.detail
    return report


async def _try(client: TritonClient, report: ModelReport) -> None:
    """One made-up observation, twice: the first call may pay for warming up."""
    kind = _KINDS[report.kind]
    rows = [_made_up(kind)]
    for _ in range(2):
        begin = time.perf_counter()
        result = await client.infer(report.name, kind.inputs(rows), kind.outputs, _TRIAL_S)
        took_ms = (time.perf_counter() - begin) * 1e3
        (outcome,) = kind.outcomes(rows, result.outputs)
    report.answer = _in_a_line(outcome)
    if getattr(outcome, "reason", None) != feedback_pb2.UNAVAILABLE_REASON_MODEL_ERROR:
        report.trial_ms = round(took_ms, 2)


@dataclass(frozen=True)
class _Row:
    picture: bytes
    told: Any


def _made_up(kind: CoachKind) -> _Row:
    """A straight grey road, 5 m/s, following the lane."""
    picture = np.full((PICTURE_SIZE_PX, PICTURE_SIZE_PX, 3), 40, np.uint8)
    picture[:, PICTURE_SIZE_PX * 3 // 8 : PICTURE_SIZE_PX * 5 // 8] = 110
    context = observation_pb2.FeedbackContext(
        command=observation_pb2.ROUTE_COMMAND_LANE_FOLLOW, forward_speed_mps=5.0, target_x_m=20.0
    )
    return _Row(png.encode(picture), kind.told(context))


def _in_a_line(outcome: Any) -> str:
    if isinstance(outcome, feedback_pb2.VlmAction):
        return f"throttle {outcome.throttle:.2f}, steer {outcome.steer:.2f}, brake {outcome.brake:.2f}"
    if isinstance(outcome, feedback_pb2.ClipReward):
        best = int(np.argmax(outcome.anchor_probabilities))
        return f"caption {best} is likeliest, {outcome.anchor_probabilities[best]:.2f}"
    return str(outcome.detail)


def _kind(value: int) -> str:
    return "vlm" if value == feedback_pb2.FEEDBACK_KIND_VLM_ACTION else "clip"


@asynccontextmanager
async def _triton(options: Options) -> AsyncIterator[str]:
    """Address of the Triton to look at; an embedded one is started with the coaches' models, and ended."""
    if options.triton != EMBEDDED:
        yield options.triton
        return
    from feedback_service.backing import Backing
    from feedback_service.desk.desk import Desk
    from feedback_service.metrics import PrometheusMetrics
    from feedback_service.triton.late_client import LateTritonClient

    client = LateTritonClient()
    desk = Desk([c.settings for c in options.coaches], client, options.limits, PrometheusMetrics())
    backing = Backing(options, desk, client)
    print("codriver feedback: starting Triton and loading the coaches' models", file=sys.stderr)
    try:
        await backing.run()
        if not backing.triton_address:
            raise UnavailableError("; ".join({coach.info().detail for coach in desk.coaches.values()}))
        yield backing.triton_address
    finally:
        await desk.close()
        await backing.close()
