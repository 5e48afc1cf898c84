"""A remote policy is a policy: observations in, actions out, and a reset."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Any, Mapping, Sequence, Type

import numpy as np

from codriver.batch import Answers, BatchEncoder, decode_actions
from codriver.client import AgentClient
from codriver.errors import CodriverError, FrameFailedError, InternalError, TensorError
from codriver.keys import KeyCounter

if TYPE_CHECKING:
    from types import TracebackType

    from numpy.typing import NDArray

    from codriver.v1 import agent_service_pb2


class RemotePolicy:
    """Drives environments with the policy of an agent server; a context manager.

    Keys, episodes and the stream are kept here; the caller sees ``infer`` and ``reset``::

        with RemotePolicy("127.0.0.1:50051", num_envs=8) as policy:
            actions = policy.infer({"bev_masks": masks, "state": state})  # (8, 15, 96, 96), (8, 10) -> (8, 2)

    Args:
        server: Address of an agent server, or a client to use (which stays open).
        num_envs: Environments to drive.
        timeout_s: Longest wait of every call.
        **fields: Further fields of ``OpenSessionRequest``. Defaults: the standard driving specs and the server's
            default policy; ``policy`` may be an id.

    Attributes:
        session: The open session; ``session.info`` says what was agreed.
        last: The last :class:`codriver.batch.Answers`: values, statuses, keys.
        last_message: The ``ActionBatch`` that it came in: policy version, queue and inference times.

    Raises:
        CodriverError: The server cannot be reached, or refuses the session.
    """

    def __init__(
        self, server: str | AgentClient, num_envs: int = 1, *, timeout_s: float = 10.0, **fields: Any
    ) -> None:
        self._own_client = not isinstance(server, AgentClient)
        self.client = AgentClient(server, timeout_s=timeout_s) if isinstance(server, str) else server
        self._timeout_s = timeout_s
        try:
            self.session = self.client.open_session(timeout_s=timeout_s, num_envs=num_envs, **fields)
            self._stream = self.session.drive(timeout_s)
        except BaseException:
            if self._own_client:
                self.client.close()
            raise
        request = self.session.request
        self._ranks = {tensor.name: len(tensor.shape) for tensor in request.observation_spec.tensors}
        self._dimensions = len(request.action_spec.names)
        self._encoder = BatchEncoder(request.observation_spec, request.action_spec)
        self._keys = KeyCounter(num_envs)
        self.last: Answers | None = None
        self.last_message: Any = None

    @property
    def num_envs(self) -> int:
        """Environments of the session."""
        return len(self._keys)

    def infer(
        self,
        observations: Mapping[str, NDArray[Any]],
        *,
        envs: Sequence[int] | None = None,
        rewards: Sequence[float] | NDArray[Any] | None = None,
        terminated: Sequence[bool] | NDArray[np.bool_] | None = None,
        truncated: Sequence[bool] | NDArray[np.bool_] | None = None,
        applied_actions: NDArray[Any] | None = None,
    ) -> NDArray[np.float32]:
        """Actions for one observation of each environment.

        The observation that ends an episode is sent as well, with ``terminated`` or ``truncated`` set; its action
        is 0, and the next observation of that environment begins a new episode.

        Args:
            observations: (N, *shape) by tensor name; or, with one environment, *shape without the batch dimension.
            envs: The N environments. None: all in order.
            rewards: (N,) reward for the transition into each observation.
            terminated: (N,) which ended in a terminal state.
            truncated: (N,) which were cut.
            applied_actions: (N, A) what was really applied on the transition, where it was not the answer.

        Returns:
            (N, A) float32; (A,) for observations without the batch dimension.

        Raises:
            FrameFailedError: A row got no action; ``last`` has the others.
            CodriverError: The values do not fit, or the server is gone.
        """
        single = self._is_single(observations)
        if single:
            observations = {name: np.asarray(value)[None] for name, value in observations.items()}
            applied_actions = None if applied_actions is None else np.asarray(applied_actions).reshape(1, -1)
        for name, values in observations.items():
            count = self.num_envs if envs is None else len(envs)
            if len(values) != count:
                raise TensorError(
                    f"tensors[{name}] has {len(values)} rows for {count} environments",
                    field=f"tensors[{name}]",
                )
        # The keys are only counted once the values are known to fit: a refused batch can be sent again.
        trial = self._keys.copy()
        keys = trial.take(envs, terminated, truncated)  # type: ignore[arg-type]
        batch = self._encoder.encode(
            observations, reward=rewards, applied_action=applied_actions, **keys._asdict()
        )
        message = self._stream.step(batch, self._timeout_s)
        self._keys = trial
        answers = decode_actions(message, self._dimensions)
        if answers.env.tolist() != keys.env or answers.step.tolist() != keys.step:
            raise InternalError("the answer's keys are not those of the observations", reason="PROTOCOL")
        self.last, self.last_message = answers, message
        try:
            answers.raise_errors()
        except FrameFailedError as error:
            self._keys.begin_episode(keys.env[row] for row in error.rows)
            raise
        return answers.action[0] if single else answers.action

    def reset(self, envs: Sequence[int] | None = None) -> None:
        """Makes the next observation of these environments (None: all) the first of an episode.

        Needed only to cut an episode short; after ``terminated`` or ``truncated`` it happens by itself.
        """
        self._keys.begin_episode(envs)

    def close(self) -> None:
        """Ends the session."""
        try:
            self.session.close()
        finally:
            if self._own_client:
                self.client.close()

    def server_info(self) -> agent_service_pb2.GetServerInfoResponse:
        """What the server is."""
        return self.client.server_info(self._timeout_s)

    def __enter__(self) -> RemotePolicy:
        return self

    def __exit__(
        self, kind: Type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
            return
        with suppress(CodriverError):  # the first error is the one to see
            self.close()

    def _is_single(self, observations: Mapping[str, NDArray[Any]]) -> bool:
        ranks = {
            np.ndim(value) - self._ranks[name] for name, value in observations.items() if name in self._ranks
        }
        return ranks == {0} and self.num_envs == 1
