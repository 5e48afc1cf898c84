"""The policies that a server has loaded: versions by id, which one is current, and what is kept for going back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from agent_server.policies import Policy
from codriver.errors import NotFoundError
from codriver.v1 import action_pb2, agent_service_pb2, observation_pb2


class PolicyKey(NamedTuple):
    """Names one loaded version."""

    policy_id: str
    version: int

    def __str__(self) -> str:
        return f"{self.policy_id}:{self.version}"


@dataclass(frozen=True, eq=False)
class LoadedPolicy:
    """A policy that is ready to drive.

    Attributes:
        key: Id and version on this server.
        policy: Computes actions.
    """

    key: PolicyKey
    policy: Policy

    @property
    def observation_spec(self) -> observation_pb2.ObservationSpec:
        """The tensors that it reads."""
        return self.policy.card.observation_spec

    @property
    def action_spec(self) -> action_pb2.ActionSpec:
        """The actions that it answers."""
        return self.policy.card.action_spec

    def version_message(self) -> action_pb2.PolicyVersion:
        """Id and version as a message."""
        return action_pb2.PolicyVersion(policy_id=self.key.policy_id, version=self.key.version)

    def info(self) -> agent_service_pb2.PolicyInfo:
        """What clients are told of it."""
        card = self.policy.card
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

    def next_key(self, policy_id: str) -> PolicyKey:
        """The key that the next version of an id gets."""
        return PolicyKey(policy_id, self._newest.get(policy_id, 0) + 1)

    def add(self, policy: LoadedPolicy) -> None:
        """Makes a new version current."""
        policy_id, version = policy.key
        versions = self._versions.setdefault(policy_id, {})
        versions[version] = policy
        self._newest[policy_id] = max(version, self._newest.get(policy_id, 0))
        self._current[policy_id] = version
        for old in sorted(versions)[: -self._keep]:
            del versions[old]

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
