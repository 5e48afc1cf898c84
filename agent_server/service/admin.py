"""PolicyAdminService: loads, swaps and retires policies, on a listener of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from agent_server.policy_store import LoadedPolicy, PolicyStore
from codriver.errors import InvalidArgumentError
from codriver.serving.status import Context, Handler, unary_handlers
from codriver.v1 import policy_admin_service_pb2 as pb

Drain: TypeAlias = "Callable[[float | None, str], int]"

SERVICE_NAME = "codriver.v1.PolicyAdminService"


class PolicyAdminService:
    """The servicer. Belongs to the event loop."""

    def __init__(
        self, load: Callable[[str, str], Awaitable[LoadedPolicy]], store: PolicyStore, drain: Drain
    ) -> None:
        """A service over a store.

        Args:
            load: Loads a directory as an id (empty: the card's) and makes it current.
            store: The server's policies.
            drain: Begins to stop the server: grace in seconds (None: the default) and reason; answers the
                number of attached streams.
        """
        self._load, self._store, self._drain = load, store, drain

    def handler(self) -> Handler:
        """The service for a gRPC server."""
        return unary_handlers(
            SERVICE_NAME,
            {
                "ListPolicies": (self.list_policies, pb.ListPoliciesRequest),
                "LoadPolicy": (self.load_policy, pb.LoadPolicyRequest),
                "RollBackPolicy": (self.roll_back_policy, pb.RollBackPolicyRequest),
                "DrainServer": (self.drain_server, pb.DrainServerRequest),
            },
        )

    async def list_policies(
        self, request: pb.ListPoliciesRequest, context: Context
    ) -> pb.ListPoliciesResponse:
        """Current and loaded versions."""
        return pb.ListPoliciesResponse(
            policies=[policy.info() for policy in self._store.current()],
            loaded=[policy.version_message() for policy in self._store.loaded()],
        )

    async def load_policy(self, request: pb.LoadPolicyRequest, context: Context) -> pb.LoadPolicyResponse:
        """Loads and warms up a policy while the old one serves, then swaps between two passes."""
        if not request.path:
            raise InvalidArgumentError("path is empty; name a policy directory", field="path")
        loaded = await self._load(request.path, request.policy_id)
        return pb.LoadPolicyResponse(policy=loaded.version_message())

    async def roll_back_policy(
        self, request: pb.RollBackPolicyRequest, context: Context
    ) -> pb.RollBackPolicyResponse:
        """Makes a loaded version current again."""
        if not request.policy.policy_id or not request.policy.version:
            raise InvalidArgumentError("policy needs an id and a version to go back to", field="policy")
        found = self._store.roll_back(request.policy.policy_id, request.policy.version)
        return pb.RollBackPolicyResponse(policy=found.version_message())

    async def drain_server(self, request: pb.DrainServerRequest, context: Context) -> pb.DrainServerResponse:
        """Announces the end, and lets the server stop."""
        grace_s = request.grace_ms / 1e3 if request.grace_ms else None
        return pb.DrainServerResponse(
            attached_streams=self._drain(grace_s, request.reason or "an admin drains it")
        )
