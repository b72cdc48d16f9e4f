"""`CoordinatorPort` straight onto the coordinator's core, with faults: the in-memory transport.

Who runs it: tests (`tests/world.py`), in one process with nodes and coordinator.  It does
what the gRPC client and service do together, minus bytes on a wire.  `Faults` sits between
and loses answers, repeats calls, or breaks streams, on the author's word.

Learns: nobody; a double.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Protocol, TypeVar

from coordinator.jobs import Coordinator
from protocol.errors import ErrorInfo, Failed
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

T = TypeVar("T")
PASS, LOSE_CALL, LOSE_ANSWER, TWICE = "pass", "lose_call", "lose_answer", "twice"


class Faults(Protocol):
    """Asked before every call; for streams also before every chunk, as `<call>.chunk`."""

    def __call__(self, party: str, call: str) -> str:
        """`PASS`, `LOSE_CALL` (it never arrives), `LOSE_ANSWER` (it happens, nobody hears), or
        `TWICE`."""
        ...


def no_faults(party: str, call: str) -> str:
    return PASS


class LocalCoordinator:
    """core: a function, so that a test may restart the coordinator; it returns None while the
    coordinator is down."""

    def __init__(
        self, core: Callable[[], Coordinator | None], party: str, faults: Faults = no_faults
    ) -> None:
        self._find, self._party, self._faults = core, party, faults

    async def close(self) -> None:
        """As the gRPC client has it; nothing to close."""

    async def hello(self, instance: Instance) -> HelloAnswer:
        return await self._call("hello", lambda core: _now(core.hello(self._party, instance)))

    async def submit(self, request: JobRequest) -> JobStatus:
        return await self._call("submit", lambda core: _now(core.submit(self._party, request)))

    async def lease(
        self,
        instance: Instance,
        holding: tuple[StepKey, ...],
        open_jobs: tuple[str, ...],
        wait_seconds: float,
    ) -> LeaseAnswer:
        return await self._call(
            "lease",
            lambda core: core.lease(self._party, instance, holding, open_jobs, wait_seconds),
        )

    async def heartbeat(self, instance: Instance, key: StepKey, progress: Progress) -> bool:
        return await self._call(
            "heartbeat",
            lambda core: _now(core.heartbeat(self._party, instance, key, progress)),
        )

    async def upload_state(self, key: StepKey, sha256: bytes, size: int) -> UploadState:
        return await self._call(
            "upload_state",
            lambda core: core.board.upload_state(self._party, key, sha256, size),
        )

    async def upload(
        self, key: StepKey, sha256: bytes, size: int, offset: int, chunks: AsyncIterator[bytes]
    ) -> UploadState:
        broken = self._broken("upload", chunks)
        return await self._call(
            "upload",
            lambda core: core.board.upload(self._party, key, sha256, size, offset, broken),
        )

    async def download(self, key: StepKey, artifact: str, offset: int) -> AsyncIterator[bytes]:
        core = self._core()
        if self._faults(self._party, "download") != PASS:
            raise _lost("download")
        blocks = core.board.download(self._party, key, artifact, offset)
        async for block in self._broken("download", blocks):
            yield block

    async def complete(self, key: StepKey, sha256: bytes, size: int, signature: bytes) -> None:
        await self._call(
            "complete",
            lambda core: core.board.complete(self._party, key, sha256, size, signature),
        )

    async def fail(self, key: StepKey, error: ErrorInfo, status: str) -> None:
        async def call(core: Coordinator) -> None:
            core.board.fail(self._party, key, error, status)

        await self._call("fail", call)

    async def watch(self, job: str, since_version: int, wait_seconds: float) -> JobStatus:
        return await self._call(
            "watch", lambda core: core.watch(self._party, job, since_version, wait_seconds)
        )

    async def list_jobs(self, limit: int) -> tuple[JobStatus, ...]:
        return await self._call("list", lambda core: _now(core.list_jobs(self._party, limit)))

    async def cancel(self, job: str, reason: str) -> JobStatus:
        return await self._call("cancel", lambda core: _now(core.cancel(self._party, job, reason)))

    def _core(self) -> Coordinator:
        core = self._find()
        if core is None:
            raise Failed("unavailable", "the coordinator does not answer")
        return core

    async def _call(self, name: str, make: Callable[[Coordinator], Awaitable[T]]) -> T:
        core = self._core()
        fault = self._faults(self._party, name)
        if fault == LOSE_CALL:
            raise _lost(name)
        answer = await make(core)
        if fault == TWICE and name != "upload":  # a stream is read once
            answer = await make(self._core())
        if fault == LOSE_ANSWER or self._find() is not core:
            raise _lost(name)
        return answer

    async def _broken(self, name: str, blocks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        async for block in blocks:
            if self._faults(self._party, f"{name}.chunk") != PASS:
                raise _lost(name)
            yield block


async def _now(value: T) -> T:
    """A synchronous core call in an asynchronous port."""
    return value


def _lost(name: str) -> Failed:
    return Failed("unavailable", f"{name} got lost")
