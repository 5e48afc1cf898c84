"""The policies that a server has loaded: versions by id, which one is current, and what is kept for going back."""

from __future__ import annotations

from dataclasses import dataclass

from agent_server.model.jobs import PolicyKey
from agent_server.policies import PolicyCard
from agent_server.policies.card import ID_PATTERN
from codriver.errors import (
    FailedPreconditionError,
    InvalidArgumentError,
    NotFoundError,
    SpecMismatchError,
)
from codriver.spec import compare_specs
from codriver.v1 import action_pb2, agent_service_pb2, observation_pb2


@dataclass(frozen=True, eq=False)
class LoadedPolicy:
    """A policy that is ready to drive.

    Attributes:
        key: Id and version on this server.
        card: What it is.
        handle: Its name in the engine that runs it.
    """

    key: PolicyKey
    card: PolicyCard
    handle: int

    def check_stochastic(self) -> None:
        """Refuses to sample from a policy without a distribution.

        Raises:
            FailedPreconditionError: The policy has no exploration noise.
        """
        if not self.card.stochastic:
            raise FailedPreconditionError(
                f"policy {self.key.policy_id!r} has no exploration noise, "
                "so SAMPLING_MODE_STOCHASTIC is not possible",
                reason="NOT_STOCHASTIC",
                field="sampling_mode",
                hint="Use SAMPLING_MODE_DETERMINISTIC.",
            )

    @property
    def observation_spec(self) -> observation_pb2.ObservationSpec:
        """The tensors that it reads."""
        return self.card.observation_spec

    @property
    def action_spec(self) -> action_pb2.ActionSpec:
        """The actions that it answers."""
        return self.card.action_spec

    def version_message(self) -> action_pb2.PolicyVersion:
        """Id and version as a message."""
        return action_pb2.PolicyVersion(policy_id=self.key.policy_id, version=self.key.version)

    def info(self) -> agent_service_pb2.PolicyInfo:
        """What clients are told of it."""
        card = self.card
        return agent_service_pb2.PolicyInfo(
            policy=self.version_message(),
            spec_hash=card.spec_hash,
            observation_spec=card.observation_spec,
            action_spec=card.action_spec,
            stochastic=card.stochastic,
            has_value=card.has_value,
            card_json=card.to_json(),
        )


class PolicyStore:
    """Loaded policies. The first id added is the default. Not thread-safe: belongs to the event loop."""

    def __init__(self, keep_versions: int = 4) -> None:
        """An empty store.

        Args:
            keep_versions: Versions of an id that stay loaded; the oldest go first, the current one never.
        """
        self._keep = keep_versions
        self._versions: dict[str, dict[int, LoadedPolicy]] = {}
        self._current: dict[str, int] = {}
        self._newest: dict[str, int] = {}

    def add(
        self, card: PolicyCard, handle: int, policy_id: str = ""
    ) -> tuple[LoadedPolicy, list[LoadedPolicy]]:
        """Makes a warm policy the current version of its id.

        Args:
            card: What it is.
            handle: Its name in the engine.
            policy_id: Id to serve it as. Empty: the id in its card.

        Returns:
            The new version, and old versions that are not kept any longer.

        Raises:
            InvalidArgumentError: The id is not one.
            SpecMismatchError: The id is served already, with another spec; sessions that follow it could not go on.
        """
        policy_id = policy_id or card.id
        if not ID_PATTERN.match(policy_id):
            raise InvalidArgumentError(
                f"{policy_id!r} is not 1 to 64 of a-z, 0-9, '.', '_' and '-'", field="policy_id"
            )
        if policy_id in self._current:
            _check_same_spec(card, self.find(policy_id))
        key = PolicyKey(policy_id, self._newest.get(policy_id, 0) + 1)
        loaded = LoadedPolicy(key, card, handle)
        versions = self._versions.setdefault(policy_id, {})
        versions[key.version] = loaded
        self._newest[policy_id] = self._current[policy_id] = key.version
        return loaded, [versions.pop(old) for old in sorted(versions)[: -self._keep]]

    def find(self, policy_id: str = "", version: int = 0) -> LoadedPolicy:
        """A loaded policy.

        Args:
            policy_id: Its id. Empty: the default.
            version: Its version. 0: the current one.

        Raises:
            NotFoundError: Lists those that there are.
        """
        if not policy_id:
            policy_id = next(iter(self._versions), "")
        versions = self._versions.get(policy_id)
        if versions is None:
            there = ", ".join(self._versions) or "none"
            raise NotFoundError(
                f"no policy {policy_id!r} on this server; it has: {there}",
                reason="UNKNOWN_POLICY",
                field="policy.policy_id",
            )
        found = versions.get(version or self._current[policy_id])
        if found is None:
            there = ", ".join(str(v) for v in sorted(versions))
            raise NotFoundError(
                f"version {version} of policy {policy_id!r} is not loaded; loaded: {there}",
                reason="UNKNOWN_POLICY_VERSION",
                field="policy.version",
            )
        return found

    def roll_back(self, policy_id: str, version: int) -> LoadedPolicy:
        """Makes a loaded version current again.

        Raises:
            NotFoundError: It is not loaded.
        """
        found = self.find(policy_id, version)
        self._current[found.key.policy_id] = found.key.version
        return found

    def current(self) -> list[LoadedPolicy]:
        """The current version of each id, the default first."""
        return [self._versions[policy_id][version] for policy_id, version in self._current.items()]

    def loaded(self) -> list[LoadedPolicy]:
        """Every loaded version."""
        return [policy for versions in self._versions.values() for policy in versions.values()]


def _check_same_spec(card: PolicyCard, old: LoadedPolicy) -> None:
    found = compare_specs(card.observation_spec, card.action_spec, old.observation_spec, old.action_spec)
    if found:
        raise SpecMismatchError(
            f"policy {old.key.policy_id!r} is served with another spec: {found[0].field} {found[0].description}",
            violations=found,
            hint="Load it under another policy_id.",
        )
    if old.card.stochastic and not card.stochastic:
        raise SpecMismatchError(
            f"policy {old.key.policy_id!r} is served with exploration noise, the new version has none",
            hint="Load it under another policy_id.",
        )
