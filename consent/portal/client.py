"""The node's end of the portal: leases questions, hands in answers; it dials out.

Who runs it: every node of a collaboration with a portal.  The channel goes to the one server
that holds the pinned certificate's key; any other is refused in the handshake.
Learns: see proto/portal.proto.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

import grpc
import grpc.aio

from consent.errors import error_of_details
from consent.portal import codec
from consent.portal.port import Answer, Question
from consent.portal.questions import LEASE_SECONDS
from protocol.errors import AssentError, Failed
from protocol.identity import Card, Keys
from protocol.transport import tls
from protocol.wire import portal_pb2 as pb
from protocol.wire.portal_pb2_grpc import PortalStub

_ANSWER_SECONDS = 10.0


class PortalLease:
    """The questions for the party whose `keys` these are."""

    def __init__(self, portal: Card, keys: Keys) -> None:
        """portal: its card, with the address for nodes."""
        self._portal = portal
        self._channel = tls.channel(
            portal.address, keys.tls_key, keys.card.tls_certificate, portal.tls_certificate
        )
        self._stub: Any = PortalStub(self._channel)  # type: ignore[no-untyped-call]  # generated
        self._version = version("assent")

    async def close(self) -> None:
        await self._channel.close()

    async def lease(self, wait: float = LEASE_SECONDS) -> tuple[bytes, Question] | None:
        request = pb.PortalLeaseRequest(version=self._version, wait_seconds=wait)
        return codec.question_from_pb(await self._ask(self._stub.Lease, request, wait + 10.0))

    async def answer(self, id: bytes, answer: Answer) -> None:
        await self._ask(self._stub.Answer, codec.answer_to_pb(id, answer), _ANSWER_SECONDS)

    async def _ask(self, method: Any, request: Any, timeout: float) -> Any:
        try:
            return await method(request, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from error

    def _error(self, error: grpc.aio.AioRpcError) -> AssentError:
        told = error_of_details(error.details() or "")
        return told or Failed(
            "unavailable", f"the portal at {self._portal.address} answered {error.code().name}",
            stage="portal", next_step="see that `assent portal run` runs and that its card is "
            "the one in collaboration.yaml",
        )  # fmt: skip
