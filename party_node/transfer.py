"""Moving artifacts between a node and the coordinator: resume, verify, never lose a byte.

Who runs it: the node's runner.  A transfer goes on where it stopped; it gives up when the
job is over or its retries are used up.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import TypeVar

from party_node.store import StoredOutput
from protocol.defects import defect
from protocol.errors import AssentError, Failed
from protocol.transport.disk import disk_errors, make_durable
from protocol.transport.port import CHUNK, ArtifactRef, CoordinatorPort, StepKey

log = logging.getLogger("assent.runner")
T = TypeVar("T")
# The coordinator did not answer, or the stream broke: the call may be made again.
AGAIN = frozenset({"unavailable", "upload_interrupted", "download_interrupted"})


async def patiently(call: Callable[[], Awaitable[T]], *, pause: float, longest: float = 5.0) -> T:
    """Repeats `call` while the coordinator cannot be reached.  The caller's task is cancelled
    when the job is over, so there is no limit of its own here."""
    said = False
    while True:
        try:
            return await call()
        except AssentError as error:
            if error.info.code not in AGAIN:
                raise
            if not said:
                log.warning("%s; trying again", error.info.sentence())
                said = True
        await asyncio.sleep(pause)
        pause = min(2 * pause, longest)


async def obtain(
    port: CoordinatorPort,
    key: StepKey,
    ref: ArtifactRef,
    own: Path | None,
    path: Path,
    pause: float,
) -> Path:
    """Where the bytes of `ref` are, size and digest checked: at `own` if they still are, else
    downloaded to `path`."""
    if own is not None and await asyncio.to_thread(_holds, own, ref):
        return own
    await fetch(port, key, ref, path, pause)
    return path


async def fetch(
    port: CoordinatorPort, key: StepKey, ref: ArtifactRef, path: Path, pause: float
) -> None:
    """Downloads `ref` to `path`; returns when size and digest are right.

    Raises Failed('corrupt_artifact') when all bytes have come and are not the signed ones.
    """
    hasher = hashlib.sha256()
    received = 0
    with disk_words(), path.open("wb") as file:

        async def stream() -> None:
            nonlocal received
            async for block in port.download(key, ref.id, received):
                if received + len(block) > ref.size:
                    raise _corrupt(ref)
                file.write(block)
                hasher.update(block)
                received += len(block)
            if received < ref.size:
                raise Failed("download_interrupted", f"{received} of {ref.size} bytes came")

        await patiently(stream, pause=pause)
    if hasher.digest() != ref.sha256:
        raise _corrupt(ref)


async def send(port: CoordinatorPort, key: StepKey, output: StoredOutput, pause: float) -> None:
    """Uploads a committed output and completes the step."""

    async def once() -> None:
        state = await port.upload_state(key, output.sha256, output.size)
        if not state.finished and state.received < output.size:
            blocks = _blocks(output.path, state.received)
            await port.upload(key, output.sha256, output.size, state.received, blocks)
        await port.complete(key, output.sha256, output.size, output.signature)

    await patiently(once, pause=pause)


class Early:
    """Sends an output while it is still being made; engine rule 4 as amended by ADR 0013.

    Whatever goes wrong here costs only time: `send` looks at what has arrived, goes on from
    there, and starts over when it is not the committed output's beginning.
    """

    def __init__(self, port: CoordinatorPort, key: StepKey) -> None:
        self._port, self._key = port, key
        self._loop = asyncio.get_running_loop()
        self._grown = asyncio.Event()
        self._size, self._made, self._closed = 0, False, False
        self._task: asyncio.Task[None] | None = None

    def grew(self, path: Path, size: int) -> None:
        """The first `size` bytes of `path` are final.  From the handler's thread, which a node
        that stops leaves behind."""
        with suppress(RuntimeError):  # the loop is closed
            self._loop.call_soon_threadsafe(self._note, path, size)

    async def __aenter__(self) -> Early:
        return self

    def made(self) -> None:
        """The output has all its bytes; its file may be moved."""
        self._made = True
        self._grown.set()

    async def __aexit__(self, kind: object, *_: object) -> None:
        self._closed = True
        if self._task is None:
            return
        if kind is not None:
            self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    def _note(self, path: Path, size: int) -> None:
        if self._closed:
            return
        if self._task is None:
            # Opened here: a file that is moved later stays readable.
            descriptor = os.open(path, os.O_RDONLY)
            self._task = asyncio.create_task(self._upload(descriptor))
            # Not in the task: one that is cancelled before it began closes nothing.
            self._task.add_done_callback(lambda _: os.close(descriptor))
        self._size = size
        self._grown.set()

    async def _upload(self, descriptor: int) -> None:
        try:
            await self._port.upload(self._key, b"", 0, 0, self._blocks(descriptor))
        except AssentError as error:
            log.info("%s: early upload: %s", self._key, error.info.code)
        except Exception as error:  # a defect of ours; `send` makes up for it, the log tells of it
            log.error("%s: early upload broke: %s", self._key, defect(error))

    async def _blocks(self, descriptor: int) -> AsyncIterator[bytes]:
        offset = 0
        while offset < self._size or not self._made:
            ready = self._size - offset
            if ready >= CHUNK or (self._made and ready):
                block = await asyncio.to_thread(os.pread, descriptor, min(ready, CHUNK), offset)
                if not block:
                    return  # the file got shorter; `send` sees what it is now
                yield block
                offset += len(block)
            else:
                self._grown.clear()
                await self._grown.wait()


async def _blocks(path: Path, offset: int) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while block := await asyncio.to_thread(os.pread, file.fileno(), CHUNK, offset):
            yield block
            offset += len(block)


def _corrupt(ref: ArtifactRef) -> Failed:
    return Failed(
        "corrupt_artifact",
        f"the output of {ref.step} arrived with other bytes than {ref.author} signed",
        stage=ref.step,
        next_step="the coordinator's operator checks its disk, then run the job again",
    )


def _holds(path: Path, ref: ArtifactRef) -> bool:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").digest() == ref.sha256
    except OSError:
        return False


def disk_words() -> AbstractContextManager[None]:
    """Turns a node's disk errors into words."""
    return disk_errors("node", "make room in the node's data folder, then run the job again")


def keep(source: Path, target: Path) -> tuple[bytes, int]:
    """Moves a handler's output to where it stays, durably; its digest and size."""
    with disk_words():
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with source.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").digest()
            size = os.fstat(file.fileno()).st_size
        make_durable(source, target)
    return digest, size
