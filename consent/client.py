"""The consent service over gRPC with pinned mutual TLS: the node's end.

Who runs it: every node; it dials out.  Learns: see proto/consent.proto.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import grpc
import grpc.aio

from consent import codec
from consent.errors import error_of_details
from consent.port import Head, ReplicaPage
from consent.records import RecordBatch
from protocol.errors import AssentError, Failed
from protocol.identity import Card, Keys
from protocol.transport import tls
from protocol.wire import consent_pb2 as pb
from protocol.wire.consent_pb2_grpc import ConsentStub

# How long a call waits for the service to come up (both start at the same time in a sandbox).
CONNECT_SECONDS = 30.0
# Nothing heard of a stream for so long: the connection is dead, whatever TCP thinks.
PAGE_SECONDS = 60.0
T = TypeVar("T")


class ConsentClient:
    """`ConsentPort` of the party whose `keys` these are."""

    def __init__(self, service: Card, keys: Keys, timeout: float = CONNECT_SECONDS) -> None:
        """service: the consent service's card, with its address."""
        self._service = service
        self._timeout = timeout
        self._channel = tls.channel(
            service.address, keys.tls_key, keys.card.tls_certificate, service.tls_certificate
        )
        self._stub: Any = ConsentStub(self._channel)  # type: ignore[no-untyped-call]  # generated

    async def close(self) -> None:
        await self._channel.close()

    async def hello(self) -> Head:
        return codec.head_from_pb(await self._ask(self._stub.Hello, pb.ConsentHelloRequest()))

    async def append(self, batch: RecordBatch) -> Head:
        request = pb.ConsentAppendRequest(batch=codec.batch_to_pb(batch))
        return codec.head_from_pb(await self._ask(self._stub.Append, request))

    async def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        # The first answer proves the connection; the stream itself has no total limit, because
        # a first replica of ten million people takes as long as it takes.
        await self.hello()
        call = self._stub.Replicate(pb.ConsentReplicateRequest(since=since))
        try:
            while True:
                message = await self._heard(call.read())
                if message is grpc.aio.EOF:
                    return
                yield codec.page_from_pb(message)
        finally:
            call.cancel()

    async def _ask(self, method: Any, request: Any) -> Any:
        return await self._translated(method(request, timeout=self._timeout, wait_for_ready=True))

    async def _heard(self, answer: Awaitable[T]) -> T:
        try:
            return await asyncio.wait_for(self._translated(answer), PAGE_SECONDS)
        except TimeoutError as error:
            raise self._unavailable("it stopped answering") from error

    async def _translated(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from error

    def _error(self, error: grpc.aio.AioRpcError) -> AssentError:
        """One switch: what the service said in our words, or what kept it from speaking."""
        told = error_of_details(error.details() or "")
        if told is not None:
            return told
        code = error.code()
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
            return self._unavailable("it does not answer")
        return Failed(
            "consent_failed",
            f"the consent service answered {code.name}",
            stage="consent",
            next_step="read the log of the consent service",
        )

    def _unavailable(self, cause: str) -> Failed:
        return Failed(
            "unavailable",
            f"the consent service at {self._service.address}: {cause}",
            stage="consent",
            next_step="start it, or run `assent doctor`, which says what is wrong on the way to it",
        )
