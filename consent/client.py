"""The consent service over gRPC with pinned mutual TLS: the callers' end.

Who runs it: every node, the portal and the auditor; they dial out.
Learns: see proto/consent.proto.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import Any, TypeVar

import grpc
import grpc.aio

from consent import codec
from consent.errors import error_of_details
from consent.log_writer import Cosigner
from consent.port import Head, JobEvent, Recorded, ReplicaPage, SubjectEvent
from consent.records import RecordBatch
from consent.witnessing import answer_request
from protocol.errors import AssentError, Failed
from protocol.identity import Card, Keys
from protocol.transport import tls
from protocol.wire import consent_pb2 as pb
from protocol.wire.consent_pb2_grpc import ConsentStub

# How long a call waits for the service to come up (both start at the same time in a sandbox).
CONNECT_SECONDS = 30.0
# Nothing heard of a stream for so long: the connection is dead, whatever TCP thinks.
PAGE_SECONDS = 60.0
# A followed log is heard of at every heartbeat, each 60 s.
QUIET_SECONDS = 150.0
T = TypeVar("T")


class _Client:
    """A channel to the service, and its errors in our words."""

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

    async def file(self, origin: str, path: str) -> bytes | None:
        """A static file of any log (C2SP tlog-tiles); None when there is none at `path`."""
        request = pb.ConsentFileRequest(origin=origin, path=path)
        reply = await self._ask(self._stub.File, request)
        return bytes(reply.body) if reply.found else None

    async def bundle(self) -> AsyncIterator[bytes]:
        async for part in self._stream(self._stub.Bundle(pb.ConsentBundleRequest())):
            for line in part.lines:
                yield line

    async def witness(self, witness: Cosigner) -> None:
        """Cosigns what the service sends, until the stream ends (Failed) or this is cancelled."""
        call = self._stub.Cosign()
        try:
            await self._translated(call.write(pb.ConsentCosignature()))
            while (request := await self._translated(call.read())) is not grpc.aio.EOF:
                answer = await asyncio.to_thread(answer_request, witness, request.request)
                await self._translated(call.write(codec.answer_to_pb(request.number, answer)))
        finally:
            call.cancel()
        raise self._unavailable("it ended the stream for witnesses")

    async def _ask(self, method: Any, request: Any, *, wait: bool = True) -> Any:
        """wait: for a service that is not there yet; else that is an error at once."""
        return await self._translated(method(request, timeout=self._timeout, wait_for_ready=wait))

    async def _stream(self, call: Any, quiet: float = PAGE_SECONDS) -> AsyncIterator[Any]:
        try:
            while True:
                try:
                    # Not wait_for: of a cancellation and a message that come together it keeps
                    # the message, and a node that was to stop goes on for ever.
                    async with asyncio.timeout(quiet):
                        message = await self._translated(call.read())
                except TimeoutError as error:
                    raise self._unavailable("it stopped answering") from error
                if message is grpc.aio.EOF:
                    return
                yield message
        finally:
            call.cancel()

    async def _translated(self, answer: Awaitable[T]) -> T:
        try:
            return await answer
        except grpc.aio.AioRpcError as error:
            raise self._error(error) from error
        except asyncio.InvalidStateError as error:  # a write after the stream has ended
            raise self._unavailable("it ended the stream") from error

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


class ConsentClient(_Client):
    """`ConsentPort` of the party whose `keys` these are."""

    async def hello(self) -> Head:
        return codec.head_from_pb(await self._ask(self._stub.Hello, pb.ConsentHelloRequest()))

    async def append(self, batch: RecordBatch) -> Recorded:
        request = pb.ConsentAppendRequest(batch=codec.batch_to_pb(batch))
        return codec.recorded_from_pb(await self._ask(self._stub.Append, request))

    async def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        # The first answer proves the connection; the stream itself has no total limit, because
        # a first replica of ten million people takes as long as it takes.
        await self.hello()
        call = self._stub.Replicate(pb.ConsentReplicateRequest(since=since))
        async for page in self._stream(call):
            yield codec.page_from_pb(page)

    async def follow(self) -> AsyncGenerator[Head, None]:
        call = self._stub.Follow(pb.ConsentFollowRequest())
        async for head in self._stream(call, QUIET_SECONDS):
            yield codec.head_from_pb(head)

    async def log_job(self, event: JobEvent) -> Recorded:
        # Statements are kept by the node and follow: a job need not wait for a service that is
        # down, while its consents grow old.
        reply = await self._ask(self._stub.LogJob, codec.job_event_to_pb(event), wait=False)
        return codec.recorded_from_pb(reply)

    async def proof(self, origin: str, index: int) -> str:
        request = pb.ConsentProofRequest(origin=origin, index=index)
        return str((await self._ask(self._stub.Proof, request)).proof)

    async def erase(self, subject: bytes) -> Recorded:
        reply = await self._ask(self._stub.Erase, pb.ConsentEraseRequest(subject=subject))
        return codec.recorded_from_pb(reply)


class AuditorClient(_Client):
    """The auditor's access: bundles and files of every log, and its own cosignatures."""


class PortalClient(_Client):
    """`PortalPort` of the portal whose `keys` these are."""

    async def subject(self, party: str, subject: bytes) -> tuple[SubjectEvent, ...]:
        request = pb.ConsentSubjectRequest(party=party, subject=subject)
        return codec.subject_from_pb(await self._ask(self._stub.Subject, request))

    async def append_for(self, party: str, batch: RecordBatch) -> Recorded:
        request = pb.ConsentSubjectAppendRequest(party=party, batch=codec.batch_to_pb(batch))
        return codec.recorded_from_pb(await self._ask(self._stub.SubjectAppend, request))

    async def erase_for(self, party: str, subject: bytes) -> Recorded:
        request = pb.ConsentSubjectRequest(party=party, subject=subject)
        return codec.recorded_from_pb(await self._ask(self._stub.SubjectErase, request))
