"""The coordinator's gRPC shell: who calls, decode, call, encode; errors in one place.

Who runs it: the coordinator.  The caller is the party whose pinned certificate the connection
proved; nothing in a message can change that.

Learns: the coordinator: what proto/coordinator.proto says.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Any, TypeAlias, TypeVar

import grpc
import grpc.aio
import sqlalchemy as sa

from coordinator.jobs import Coordinator
from protocol.defects import defect
from protocol.errors import AssentError, Failed, ProtocolViolation
from protocol.transport import codec, tls
from protocol.transport.port import COORDINATOR
from protocol.wire import coordinator_pb2 as pb
from protocol.wire.coordinator_pb2_grpc import CoordinatorServicer

log = logging.getLogger(__name__)
Context: TypeAlias = grpc.aio.ServicerContext
MAX_NAMED = 1_000  # steps and jobs that one lease names
T = TypeVar("T")


class CoordinatorService(CoordinatorServicer):
    """peers: certificate fingerprint → party."""

    def __init__(self, core: Coordinator, peers: Mapping[str, str]) -> None:
        self._core, self._peers = core, peers

    async def Hello(self, request: pb.HelloRequest, context: Context) -> pb.HelloReply:
        async def call(peer: str) -> pb.HelloReply:
            return codec.hello_out(self._core.hello(peer, codec.instance_in(request.instance)))

        return await self._answer(context, call)

    async def Submit(self, request: pb.SubmitRequest, context: Context) -> pb.JobView:
        async def call(peer: str) -> pb.JobView:
            return codec.status_out(self._core.submit(peer, codec.request_in(request)))

        return await self._answer(context, call)

    async def Lease(self, request: pb.LeaseRequest, context: Context) -> pb.LeaseReply:
        async def call(peer: str) -> pb.LeaseReply:
            # Each is looked up while everybody waits; what is beyond them waits for these to end.
            holding = tuple(codec.key_in(key) for key in request.holding[:MAX_NAMED])
            jobs = tuple(request.open_jobs[:MAX_NAMED])
            instance = codec.instance_in(request.instance)
            wait = codec.seconds_in(request.wait_seconds)
            return codec.answer_out(await self._core.lease(peer, instance, holding, jobs, wait))

        return await self._answer(context, call)

    async def Heartbeat(self, request: pb.HeartbeatRequest, context: Context) -> pb.HeartbeatReply:
        async def call(peer: str) -> pb.HeartbeatReply:
            instance, key = codec.instance_in(request.instance), codec.key_in(request.key)
            progress = codec.beat_in(request.progress)
            return pb.HeartbeatReply(cancelled=self._core.heartbeat(peer, instance, key, progress))

        return await self._answer(context, call)

    async def UploadStatus(self, request: pb.UploadHead, context: Context) -> pb.UploadReply:
        async def call(peer: str) -> pb.UploadReply:
            key = codec.key_in(request.key)
            state = await self._core.board.upload_state(peer, key, request.sha256, request.size)
            return codec.upload_out(state)

        return await self._answer(context, call)

    async def Upload(
        self, messages: AsyncIterator[pb.UploadChunk], context: Context
    ) -> pb.UploadReply:
        async def call(peer: str) -> pb.UploadReply:
            head = await _head(messages)
            state = await self._core.board.upload(
                peer, codec.key_in(head.key), head.sha256, head.size, head.offset, _data(messages)
            )
            return codec.upload_out(state)

        return await self._answer(context, call)

    async def Download(
        self, request: pb.DownloadRequest, context: Context
    ) -> AsyncIterator[pb.DownloadChunk]:
        try:
            peer, key = self._peer(context), codec.key_in(request.key)
            async for block in self._core.board.download(
                peer, key, request.artifact, request.offset
            ):
                yield pb.DownloadChunk(data=block)
        except Exception as error:
            await _abort(context, _known(error))

    async def Complete(self, request: pb.CompleteRequest, context: Context) -> pb.CompleteReply:
        async def call(peer: str) -> pb.CompleteReply:
            key, digest = codec.key_in(request.key), request.sha256
            await self._core.board.complete(peer, key, digest, request.size, request.signature)
            return pb.CompleteReply()

        return await self._answer(context, call)

    async def Fail(self, request: pb.FailRequest, context: Context) -> pb.FailReply:
        async def call(peer: str) -> pb.FailReply:
            key, error = codec.key_in(request.key), codec.reported_in(request.error)
            self._core.board.fail(peer, key, error, request.error.status)
            return pb.FailReply()

        return await self._answer(context, call)

    async def Watch(self, request: pb.WatchRequest, context: Context) -> pb.JobView:
        async def call(peer: str) -> pb.JobView:
            since, wait = request.since_version, codec.seconds_in(request.wait_seconds)
            return codec.status_out(await self._core.watch(peer, request.job, since, wait))

        return await self._answer(context, call)

    async def List(self, request: pb.ListRequest, context: Context) -> pb.ListReply:
        async def call(peer: str) -> pb.ListReply:
            jobs = self._core.list_jobs(peer, request.limit)
            return pb.ListReply(jobs=[codec.status_out(status) for status in jobs])

        return await self._answer(context, call)

    async def Cancel(self, request: pb.CancelRequest, context: Context) -> pb.JobView:
        async def call(peer: str) -> pb.JobView:
            return codec.status_out(self._core.cancel(peer, request.job, request.reason))

        return await self._answer(context, call)

    # -- who calls, and what went wrong ------------------------------------------------------

    def _peer(self, context: Context) -> str:
        """The party of the proven certificate; the handshake let only pinned ones through, but
        the consent service's card is pinned too and is no party."""
        peer = self._peers.get(tls.peer_fingerprint(context))
        if peer is None:
            raise Failed(
                "unknown_certificate",
                "the coordinator does not know this certificate as a party",
                next_step="exchange cards with the coordinator's operator",
            )
        return peer

    async def _answer(self, context: Context, call: Callable[[str], Awaitable[T]]) -> T:
        try:
            return await call(self._peer(context))
        except Exception as error:
            await _abort(context, _known(error))
        raise AssertionError("abort raises")


def _known(error: Exception) -> AssentError:
    if isinstance(error, AssentError):
        return error
    log.error("a call broke: %s", defect(error))
    if isinstance(error, sa.exc.OperationalError):
        words = f"the coordinator's database cannot be written ({error.orig})"
        return Failed("disk_error", words, party=COORDINATOR)
    # A status of gRPC's own would read as a lost answer, and the call would come again.
    return Failed("internal", "the coordinator met an error in its code", party=COORDINATOR)


async def _abort(context: Context, error: AssentError) -> None:
    code, details, metadata = codec.to_status(error)
    if error.info.code == "unknown_certificate":
        code = grpc.StatusCode.UNAUTHENTICATED
    await context.abort(code, details, metadata)


async def _head(messages: AsyncIterator[pb.UploadChunk]) -> pb.UploadHead:
    async for message in messages:
        if message.WhichOneof("part") == "head":
            return message.head
        break
    raise ProtocolViolation("bad_message", "an upload starts with its head")


async def _data(messages: AsyncIterator[pb.UploadChunk]) -> AsyncIterator[bytes]:
    async for message in messages:
        if message.WhichOneof("part") != "data":
            raise ProtocolViolation("bad_message", "an upload has one head")
        if not message.data:  # a stream of nothing would go on for ever
            raise ProtocolViolation("bad_message", "a piece of an upload is empty")
        yield message.data


def add_to(server: Any, service: CoordinatorService) -> None:
    """Mounts the service on a gRPC server."""
    from protocol.wire.coordinator_pb2_grpc import add_CoordinatorServicer_to_server

    add_CoordinatorServicer_to_server(service, server)  # type: ignore[no-untyped-call]
