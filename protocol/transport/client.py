"""`CoordinatorPort` over gRPC with pinned mutual TLS.

Who runs it: every node.  Each method is one call: encode, send, decode, errors in words.

Learns: the network: addresses, sizes and times; the coordinator: what `port.py` says.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any, TypeVar

import grpc
import grpc.aio

from protocol.errors import ErrorInfo
from protocol.identity import Card, Keys
from protocol.transport import codec, tls
from protocol.transport.port import (
    HelloAnswer,
    Instance,
    JobRequest,
    JobStatus,
    LeaseAnswer,
    Progress,
    StepKey,
    UploadState,
)
from protocol.transport.probe import explain
from protocol.wire import coordinator_pb2 as pb
from protocol.wire.coordinator_pb2_grpc import CoordinatorStub

T = TypeVar("T")
_QUICK = 20.0  # seconds for a call that has nothing to wait for
_SLACK = 15.0  # seconds beyond a long poll's own wait


class CoordinatorClient:
    """coordinator: its pinned card with an address.  Make it inside a running event loop."""

    def __init__(self, coordinator: Card, keys: Keys) -> None:
        self._card, self._keys = coordinator, keys
        self._channel = tls.channel(
            coordinator.address,
            keys.tls_key,
            keys.card.tls_certificate,
            coordinator.tls_certificate,
        )
        self._stub: Any = CoordinatorStub(self._channel)  # type: ignore[no-untyped-call]

    async def close(self) -> None:
        await self._channel.close()

    async def hello(self, instance: Instance) -> HelloAnswer:
        request = pb.HelloRequest(instance=codec.instance_out(instance))
        # The first call explains an unreachable coordinator; later ones just try again.
        call = self._stub.Hello(request, timeout=_QUICK)
        return codec.hello_in(await self._answer(call, probing=True))

    async def submit(self, request: JobRequest) -> JobStatus:
        call = self._stub.Submit(codec.request_out(request), timeout=_QUICK)
        return codec.status_in(await self._answer(call))

    async def lease(
        self,
        instance: Instance,
        holding: tuple[StepKey, ...],
        open_jobs: tuple[str, ...],
        wait_seconds: float,
    ) -> LeaseAnswer:
        request = pb.LeaseRequest(
            instance=codec.instance_out(instance),
            holding=[codec.key_out(key) for key in holding],
            open_jobs=open_jobs,
            wait_seconds=wait_seconds,
        )
        call = self._stub.Lease(request, timeout=wait_seconds + _SLACK)
        return codec.answer_in(await self._answer(call))

    async def heartbeat(self, instance: Instance, key: StepKey, progress: Progress) -> bool:
        request = pb.HeartbeatRequest(
            instance=codec.instance_out(instance),
            key=codec.key_out(key),
            progress=codec.progress_out(progress),
        )
        reply = await self._answer(self._stub.Heartbeat(request, timeout=_QUICK))
        return bool(reply.cancelled)

    async def upload_state(self, key: StepKey, sha256: bytes, size: int) -> UploadState:
        request = pb.UploadHead(key=codec.key_out(key), sha256=sha256, size=size)
        # After a restart the coordinator reads what it has again: no quick call.
        call = self._stub.UploadStatus(request, timeout=120.0)
        return codec.upload_in(await self._answer(call))

    async def upload(
        self, key: StepKey, sha256: bytes, size: int, offset: int, chunks: AsyncIterator[bytes]
    ) -> UploadState:
        async def messages() -> AsyncIterator[pb.UploadChunk]:
            yield pb.UploadChunk(
                head=pb.UploadHead(key=codec.key_out(key), sha256=sha256, size=size, offset=offset)
            )
            async for chunk in chunks:
                yield pb.UploadChunk(data=chunk)

        # No deadline: keepalive notices a dead peer, and a large upload may take its time.
        return codec.upload_in(await self._answer(self._stub.Upload(messages())))

    async def download(self, key: StepKey, artifact: str, offset: int) -> AsyncIterator[bytes]:
        request = pb.DownloadRequest(key=codec.key_out(key), artifact=artifact, offset=offset)
        try:
            async for chunk in self._stub.Download(request):
                yield chunk.data
        except grpc.aio.AioRpcError as error:
            raise codec.from_rpc_error(error, self._where) from error

    async def complete(self, key: StepKey, sha256: bytes, size: int, signature: bytes) -> None:
        request = pb.CompleteRequest(
            key=codec.key_out(key), sha256=sha256, size=size, signature=signature
        )
        await self._answer(self._stub.Complete(request, timeout=120.0))

    async def fail(self, key: StepKey, error: ErrorInfo, status: str) -> None:
        request = pb.FailRequest(key=codec.key_out(key), error=codec.error_out(error, status))
        await self._answer(self._stub.Fail(request, timeout=_QUICK))

    async def watch(self, job: str, since_version: int, wait_seconds: float) -> JobStatus:
        request = pb.WatchRequest(job=job, since_version=since_version, wait_seconds=wait_seconds)
        call = self._stub.Watch(request, timeout=wait_seconds + _SLACK)
        return codec.status_in(await self._answer(call))

    async def list_jobs(self, limit: int) -> tuple[JobStatus, ...]:
        reply = await self._answer(self._stub.List(pb.ListRequest(limit=limit), timeout=_QUICK))
        return tuple(codec.status_in(view) for view in reply.jobs)

    async def cancel(self, job: str, reason: str) -> JobStatus:
        call = self._stub.Cancel(pb.CancelRequest(job=job, reason=reason), timeout=_QUICK)
        return codec.status_in(await self._answer(call))

    @property
    def _where(self) -> str:
        return f"the coordinator at {self._card.address}"

    async def _answer(self, call: Awaitable[T], *, probing: bool = False) -> T:
        try:
            return await call
        except grpc.aio.AioRpcError as error:
            found = codec.from_rpc_error(error, self._where)
            if probing and found.info.code == "unavailable":
                found = await explain(self._card, self._keys) or found
            raise found from error
