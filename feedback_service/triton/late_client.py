"""A client of a Triton whose address is not known yet: until then, nothing answers."""

from __future__ import annotations

import grpc

from feedback_service.triton.client import TritonClient

_NOWHERE = "unix:/dev/null/nowhere"


class LateTritonClient(TritonClient):
    """As :class:`TritonClient`; :meth:`connect` says where Triton is."""

    def __init__(self) -> None:
        super().__init__(_NOWHERE)

    async def connect(self, address: str, credentials: grpc.ChannelCredentials | None = None) -> None:
        """From now on, calls go there; those under way end as UNREACHABLE."""
        before = self._channel
        super().__init__(address, credentials)
        await before.close(None)
