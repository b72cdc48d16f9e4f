"""Artifact files: uploads that resume, digests, layouts that are an index over an upload.

Who runs it: the coordinator.  A file is `<job>/<artifact id>`; `.part` while it arrives.
A virtual artifact has no file: it is a head and the rows of another artifact's body in the
order of an index (rule 9).  The folder of a job goes when the job has ended.

Learns: the coordinator's disk: what the parties uploaded, sealed or encrypted by them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from protocol.errors import Failed
from protocol.frames import MAGIC, MAX_HEADER
from protocol.transport.disk import disk_errors, make_durable
from protocol.transport.port import COORDINATOR

_READ = 4 << 20


def disk_words(stage: str) -> AbstractContextManager[None]:
    """Turns the coordinator's disk errors into words."""
    advice = "its operator makes room in the data folder, then run the job again"
    return disk_errors("coordinator", advice, party=COORDINATOR, stage=stage)


@dataclass
class _Partial:
    """Running digest of what has arrived; rebuilt from the file after a restart."""

    hasher: hashlib._Hash
    received: int


class ArtifactFiles:
    """Synchronous; callers choose the thread.  `write` is a parameter so that a test fills
    the disk."""

    def __init__(self, folder: Path, write: Callable[[int, bytes], int] = os.write) -> None:
        self.folder = folder
        self._write = write
        self._partials: dict[Path, _Partial] = {}
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    def path(self, job: str, artifact: str) -> Path:
        return self.folder / job / artifact

    def received(self, job: str, artifact: str) -> int:
        """Bytes that have arrived; of a complete file its size."""
        path = self.path(job, artifact)
        if path.exists():
            return path.stat().st_size
        return self._partial(path).received

    def append(self, job: str, artifact: str, offset: int, data: bytes, stage: str) -> int:
        """Writes `data` at `offset`, which must be the end; returns the new end."""
        path = self.path(job, artifact)
        partial = self._partial(path)
        if offset != partial.received:
            raise Failed("upload_interrupted", f"expected byte {partial.received}, got {offset}")
        with disk_words(stage):
            path.parent.mkdir(exist_ok=True, mode=0o700)
            descriptor = os.open(_part(path), os.O_WRONLY | os.O_CREAT, 0o600)
            try:
                os.lseek(descriptor, offset, os.SEEK_SET)
                view, done = bytes(data), 0
                while done < len(view):
                    done += self._write(descriptor, view[done:] if done else view)
            finally:
                os.close(descriptor)
        partial.hasher.update(data)
        partial.received += len(data)
        return partial.received

    def finish(self, job: str, artifact: str, sha256: bytes, size: int, stage: str) -> None:
        """Makes the upload final and durable.

        Raises Failed('upload_interrupted') when bytes are missing or differ; a differing
        upload is dropped, so that it starts over.
        """
        path = self.path(job, artifact)
        if path.exists():
            return
        partial = self._partial(path)
        if partial.received == 0 and size == 0:
            self.append(job, artifact, 0, b"", stage)
        if partial.received < size:
            raise Failed("upload_interrupted", f"{partial.received} of {size} bytes have arrived")
        if partial.received > size or partial.hasher.digest() != sha256:
            self.drop(job, artifact)
            raise Failed("upload_interrupted", "the bytes that arrived are not those announced")
        with disk_words(stage):
            make_durable(_part(path), path)
        self._partials.pop(path, None)

    def put(self, job: str, artifact: str, make: Callable[[Path], None], stage: str) -> bytes:
        """A local output: `make` writes the given path.  Returns its digest."""
        path = self.path(job, artifact)
        with disk_words(stage):
            path.parent.mkdir(exist_ok=True, mode=0o700)
            make(_part(path))
            make_durable(_part(path), path)
            return file_digest(path)

    def drop(self, job: str, artifact: str) -> None:
        path = self.path(job, artifact)
        self._partials.pop(path, None)
        _part(path).unlink(missing_ok=True)

    def delete_job(self, job: str) -> None:
        """A reader in the middle keeps its open file; the name is gone."""
        folder = self.folder / job
        for path in [path for path in self._partials if path.parent == folder]:
            self._partials.pop(path, None)
        shutil.rmtree(folder, ignore_errors=True)

    def stored_jobs(self) -> list[str]:
        return [path.name for path in self.folder.iterdir()]

    def _partial(self, path: Path) -> _Partial:
        if path not in self._partials:
            hasher, received = hashlib.sha256(), 0
            if _part(path).exists():
                with _part(path).open("rb") as file:
                    while block := file.read(_READ):
                        hasher.update(block)
                        received += len(block)
            self._partials[path] = _Partial(hasher, received)
        return self._partials[path]


def _part(path: Path) -> Path:
    return path.with_name(path.name + ".part")


def file_digest(path: Path) -> bytes:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


class FileReader:
    """Reads a plain artifact; the file may be deleted meanwhile."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self.size = os.fstat(self._file.fileno()).st_size

    def read(self, offset: int, length: int) -> bytes:
        return os.pread(self._file.fileno(), length, offset)

    def close(self) -> None:
        self._file.close()


class VirtualReader:
    """Reads `head` + rows of `base`'s body in the order of `index`; nothing is copied whole."""

    def __init__(self, base: Path, index: Path, row_width: int, head: bytes) -> None:
        start = _body_start(base)
        body = np.memmap(base, dtype=np.uint8, mode="r", offset=0)[start:]
        if row_width < 1 or len(body) % row_width:
            raise Failed("bad_artifact", f"a body of {len(body)} bytes has no rows of {row_width}")
        self._rows: npt.NDArray[np.uint8] = body.reshape(-1, row_width)
        size = index.stat().st_size
        if size % 8:
            raise Failed("bad_artifact", "an index is not an array of int64")
        self._index: npt.NDArray[np.int64] = (
            np.memmap(index, dtype="<i8", mode="r") if size else np.empty(0, dtype=np.int64)
        )
        if len(self._index) and not (
            self._index.min() >= 0 and self._index.max() < len(self._rows)
        ):
            raise Failed("bad_artifact", "an index points outside its base")
        self._head, self._width = head, row_width
        self.size = len(head) + len(self._index) * row_width

    def read(self, offset: int, length: int) -> bytes:
        """At most `length` bytes from `offset`."""
        end = min(offset + length, self.size)
        if offset >= end:
            return b""
        head = self._head[offset:end]
        first = max(0, offset - len(self._head))
        last = max(0, end - len(self._head))
        top = -(-last // self._width)
        rows = self._rows[self._index[first // self._width : top]].tobytes()
        skip = first % self._width
        return head + rows[skip : skip + last - first]

    def close(self) -> None:
        """The maps close with their last reference."""

    def digest(self) -> bytes:
        hasher, offset = hashlib.sha256(), 0
        while block := self.read(offset, _READ):
            hasher.update(block)
            offset += len(block)
        return hasher.digest()


def _body_start(path: Path) -> int:
    with path.open("rb") as file:
        prefix = file.read(8)
    if len(prefix) < 8 or prefix[:4] != MAGIC:
        raise Failed("bad_artifact", "the base of a layout is not a framed artifact")
    length = int(struct.unpack("<I", prefix[4:])[0])
    if length > MAX_HEADER:
        raise Failed("bad_artifact", "the base of a layout has an oversized header")
    return 8 + length


Reader = FileReader | VirtualReader
