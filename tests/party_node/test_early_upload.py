"""What may leave while it is being made: it does, and whatever breaks costs only time."""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import AsyncIterator
from pathlib import Path

from party_node.runner import StepOutput, StepTask
from protocol.errors import Failed
from protocol.transport.port import CHUNK, StepKey, UploadState
from tests.party_node.test_runner import Script, lease, play


def _slowly(path: Path, task: StepTask, first: bytes, go_on: threading.Event) -> StepOutput:
    """Writes `first`, lets it go, and waits for the world before it writes the rest."""
    with path.open("wb") as file:
        file.write(first)
        file.flush()
        task.grew(path, file.tell())
        assert go_on.wait(4), "nothing left while the output was being made"
        file.write(b"end")
        file.flush()
        task.grew(path, file.tell())
    return StepOutput(path)


def test_what_may_leave_early_leaves_while_the_rest_is_made(tmp_path: Path) -> None:
    arrived = threading.Event()

    class Watching(Script):
        async def upload_state(self, key: StepKey, sha256: bytes, size: int) -> UploadState:
            return UploadState(len(self.uploaded[key]), finished=False)

        async def upload(
            self, key: StepKey, sha256: bytes, size: int, offset: int, chunks: AsyncIterator[bytes]
        ) -> UploadState:
            assert (sha256, size, offset) == (b"", 0, 0)
            self.uploaded[key] = b""
            async for chunk in chunks:
                self.uploaded[key] += chunk
                arrived.set()
            return UploadState(len(self.uploaded[key]), finished=False)

    first = bytes(CHUNK) + b"part of a chunk"
    script = Watching(lease())
    play(
        tmp_path, script, handlers={"work": lambda t: _slowly(t.workdir / "out", t, first, arrived)}
    ).close()
    ((key, digest),) = script.completed
    assert script.uploaded[key] == first + b"end"
    assert digest == hashlib.sha256(first + b"end").digest()


def test_an_early_upload_that_breaks_is_made_up(tmp_path: Path) -> None:
    broken = threading.Event()

    class Breaking(Script):
        async def upload(
            self, key: StepKey, sha256: bytes, size: int, offset: int, chunks: AsyncIterator[bytes]
        ) -> UploadState:
            if not sha256:
                await anext(chunks)
                broken.set()
                raise Failed("unavailable", "the line went dead")
            return await super().upload(key, sha256, size, offset, chunks)

    script = Breaking(lease())
    first = bytes(CHUNK)
    play(
        tmp_path, script, handlers={"work": lambda t: _slowly(t.workdir / "out", t, first, broken)}
    ).close()
    assert list(script.uploaded.values()) == [first + b"end"]


def test_a_file_that_got_shorter_is_sent_as_it_is(tmp_path: Path) -> None:
    class Slow(Script):
        async def upload(
            self, key: StepKey, sha256: bytes, size: int, offset: int, chunks: AsyncIterator[bytes]
        ) -> UploadState:
            if not sha256:
                await asyncio.sleep(0.05)  # by now the file is the short one
            return await super().upload(key, sha256, size, offset, chunks)

    def handler(task: StepTask) -> StepOutput:
        path = task.workdir / "out"
        path.write_bytes(bytes(3 * CHUNK))
        task.grew(path, 3 * CHUNK)
        os.truncate(path, 5)
        return StepOutput(path)

    script = Slow(lease())
    play(tmp_path, script, handlers={"work": handler}).close()
    assert [(key.step, script.uploaded[key]) for key, _ in script.completed] == [
        ("work/x", bytes(5))
    ]


def test_a_handler_that_fails_ends_its_early_upload(tmp_path: Path) -> None:
    ended: list[str] = []

    class Watching(Script):
        async def upload(
            self, key: StepKey, sha256: bytes, size: int, offset: int, chunks: AsyncIterator[bytes]
        ) -> UploadState:
            try:
                async for _ in chunks:
                    pass
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise
            ended.append("as if it were whole")
            return UploadState(0, finished=False)

    def handler(task: StepTask) -> StepOutput:
        path = task.workdir / "out"
        path.write_bytes(b"beginning")
        task.grew(path, 9)
        raise Failed("budget_exhausted", "nothing left")

    script = Watching(lease())
    play(tmp_path, script, handlers={"work": handler}).close()
    assert (ended, script.completed) == (["cancelled"], [])
