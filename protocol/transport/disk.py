"""Files that are there after a power cut, and a full disk said in words.

Who runs it: whoever keeps artifacts, the coordinator and every node.

Learns: nobody; bytes stay where they are.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from protocol.errors import Failed

_NO_SPACE = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_errors(whose: str, next_step: str, *, party: str = "", stage: str = "") -> Iterator[None]:
    """Turns "no space left" on the disk of `whose` into Failed('disk_full'), and any other
    disk error into 'disk_error'."""
    try:
        yield
    except OSError as error:
        full = error.errno in _NO_SPACE
        raise Failed(
            "disk_full" if full else "disk_error",
            f"the {whose}'s disk is full" if full else f"disk error: {error.strerror}",
            party=party,
            stage=stage,
            next_step=next_step,
        ) from error


def make_durable(source: Path, target: Path) -> None:
    """Renames after the bytes are on disk, and puts the name on disk too."""
    _sync(source)
    source.replace(target)
    _sync(target.parent)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
