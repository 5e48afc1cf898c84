"""The way in: a message is checked, its keys are judged, and what needs the model is handed to the batcher."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from agent_server.limits import Limits
from agent_server.model.batcher import BatcherClosed
from agent_server.model.engine import Engine
from agent_server.model.jobs import ActJob, Column
from agent_server.policy_store import LoadedPolicy, PolicyStore
from agent_server.sessions import checks, replies
from agent_server.sessions.exchange import Exchange
from agent_server.sessions.keys import FINAL, EnvRecord, Order, judge
from agent_server.sessions.outcomes import Outcome, Refusal
from agent_server.sessions.session import Session
from codriver.errors import NotFoundError, UnavailableError
from codriver.v1 import action_pb2, observation_pb2

_ALREADY = action_pb2.FRAME_ERROR_REASON_ALREADY_EXISTS
_UNSPECIFIED = action_pb2.SAMPLING_MODE_UNSPECIFIED
_STOCHASTIC = action_pb2.SAMPLING_MODE_STOCHASTIC


class Intake:
    """Receives messages for sessions. Belongs to the event loop."""

    def __init__(
        self, store: PolicyStore, engine: Engine, limits: Limits, loop: asyncio.AbstractEventLoop
    ) -> None:
        """An intake in front of an engine."""
        self._store, self._engine, self._limits, self._loop = store, engine, limits, loop

    def receive(self, session: Session, request: observation_pb2.ObservationBatch) -> Exchange:
        """Receives a message.

        Returns:
            The exchange; its answer may be there already.

        Raises:
            InvalidArgumentError: The columns do not make rows.
            FailedPreconditionError: A row wants a sample of a policy that has no exploration noise.
            UnavailableError: The server is stopping.
        """
        session.touch()
        layout = session.agreement.layout
        rows = checks.check_columns(request, layout, self._limits.max_rows_per_message)
        exchange = Exchange(session, request)
        try:
            policy = session.policy(self._store)
        except NotFoundError as error:
            refused = Refusal(action_pb2.FRAME_ERROR_REASON_POLICY_FAILED, "", str(error))
            return self._refuse_all(exchange, rows, refused)
        if _STOCHASTIC in request.sampling_mode:
            policy.check_stochastic()
        data = [column.data for column in request.tensors]
        wrong = checks.check_sizes(request, data, layout, rows) or self._no_room(rows)
        if wrong is not None:
            return self._refuse_all(exchange, rows, wrong)
        refused_rows = checks.check_finite(request, layout)
        asked = self._judge_rows(exchange, rows, refused_rows)
        if asked:
            exchange.job = _job(exchange, policy, data, asked if len(asked) < rows else None)
            try:
                self._engine.submit(exchange.job)
            except BatcherClosed as error:
                raise UnavailableError(str(error), reason="STOPPING", retry_after_s=1.0) from error
        exchange.start(self._loop, self._engine.cancel)
        return exchange

    def _refuse_all(self, exchange: Exchange, rows: int, refusal: Refusal) -> Exchange:
        exchange.outcomes = [refusal] * rows
        exchange.start(self._loop, self._engine.cancel)
        return exchange

    def _no_room(self, rows: int) -> Refusal | None:
        waiting = self._engine.waiting_rows
        if waiting + rows <= self._limits.max_waiting_rows:
            return None
        detail = f"{waiting} rows wait for the model, at most {self._limits.max_waiting_rows} may; send it again later"
        return Refusal(action_pb2.FRAME_ERROR_REASON_NO_CREDIT, "", detail)

    def _judge_rows(self, exchange: Exchange, rows: int, refused: dict[int, Refusal]) -> list[int]:
        """Advances the keys of good rows and notes the outcome of all others; the rows for the model."""
        session, request = exchange.session, exchange.request
        records, num_envs = session.records, session.agreement.num_envs
        credit = session.agreement.frames_in_flight - session.rows_in_flight
        seen: set[int] = set()
        asked: list[int] = []
        others: dict[int, Outcome] = {}
        keys = zip(request.env, request.episode, request.step, request.step_kind)
        for row, (env, episode, step, kind) in enumerate(keys):
            if row in refused:
                others[row] = refused[row]
                continue
            if env in seen:
                others[row] = _duplicate(env)
                continue
            seen.add(env)
            record = records.get(env)
            if record is None:
                if env >= num_envs:
                    others[row] = _unknown_env(env, num_envs)
                    continue
                record = EnvRecord()
            order: Order | Refusal = judge(record, episode, step, kind)
            if order is Order.REPEATED:
                order = self._repeat(exchange, row, record, others)
            if order is Order.NEXT and kind not in FINAL and len(asked) >= credit:
                order = _no_credit(session)
            if order is Order.NEXT:
                record.advance(episode, step, kind, exchange, row)
                records[env] = record
                if kind in FINAL:
                    others[row] = None
                else:
                    asked.append(row)
            elif isinstance(order, Refusal):
                others[row] = order
        if others or len(asked) < rows:
            exchange.outcomes = [others.get(row) for row in range(rows)]
            exchange.asked = asked
        return asked

    def _repeat(
        self, exchange: Exchange, row: int, record: EnvRecord, others: dict[int, Outcome]
    ) -> Order | Refusal:
        """A key that was sent before: NEXT when it ended in an error (an error is no answer), else REPEATED."""
        earlier = record.exchange
        assert earlier is not None
        stored = earlier.row(record.row)
        if stored is not None and stored.status == replies.ERROR:
            return Order.NEXT
        layout = exchange.session.agreement.layout
        if not checks.same_row(exchange.request, row, earlier.request, record.row, layout):
            detail = (
                f"episode {record.episode}, step {record.step} was sent before with another payload; "
                f"send step {record.step + 1}"
            )
            return Refusal(_ALREADY, "step", detail)
        if stored is not None:
            others[row] = stored
        else:
            exchange.repeats[row] = (earlier, record.row)
        return Order.REPEATED


def _job(
    exchange: Exchange, policy: LoadedPolicy, data: Sequence[bytes], only: Sequence[int] | None
) -> ActJob:
    """The model's share of a message: all of it, or some rows."""
    request, agreement = exchange.request, exchange.session.agreement
    columns = []
    layout = agreement.layout
    for spec, size, column, content in zip(layout.tensors, layout.row_sizes, request.tensors, data):
        if spec.optional:
            continue
        if only is None:
            columns.append(Column(content, None if size is not None else list(column.row_sizes_bytes)))
        else:
            cells = checks.cells(column, content, size, only)
            columns.append(
                Column(b"".join(cells), None if size is not None else [len(cell) for cell in cells])
            )
    env, episode, step = request.env, request.episode, request.step
    sampled = _sampled(exchange, range(len(env)) if only is None else only)
    return ActJob(
        model=policy.handle,
        policy=policy.key,
        rows=len(env) if only is None else len(only),
        env=env if only is None else [env[row] for row in only],
        episode=episode if only is None else [episode[row] for row in only],
        step=step if only is None else [step[row] for row in only],
        columns=columns,
        received=exchange.received,
        deadline=exchange.deadline,
        seed=agreement.seed if any(sampled) else None,
        sampled=sampled,
        owner=exchange,
    )


def _sampled(exchange: Exchange, rows: Sequence[int]) -> list[bool]:
    """Which rows get a sample of the policy's distribution, by their own mode or else the session's."""
    modes, default = exchange.request.sampling_mode, exchange.session.agreement.stochastic
    if not modes:
        return [default] * len(rows)
    return [default if modes[row] == _UNSPECIFIED else modes[row] == _STOCHASTIC for row in rows]


def _duplicate(env: int) -> Refusal:
    reason = action_pb2.FRAME_ERROR_REASON_DUPLICATE_ENV
    return Refusal(reason, "env", f"environment {env} stands twice in the message; its first row counts")


def _unknown_env(env: int, num_envs: int) -> Refusal:
    reason = action_pb2.FRAME_ERROR_REASON_UNKNOWN_ENV
    return Refusal(
        reason, "env", f"environment {env} is not one of the session's {num_envs} (0 to {num_envs - 1})"
    )


def _no_credit(session: Session) -> Refusal:
    granted = session.agreement.frames_in_flight
    detail = f"{session.rows_in_flight} rows are in flight, {granted} are granted; wait for answers"
    return Refusal(action_pb2.FRAME_ERROR_REASON_NO_CREDIT, "", detail)
