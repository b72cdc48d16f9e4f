"""What a step handler is given and gives back; who reads its output.

Who runs it: every node.  Handlers are synchronous functions of a `Session` and an
`Incoming`; the runner stores their output, signs it and only then sends it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from party_node.session import Session
from protocol.frames import M, Message, parse_head

Chunks = Iterable[npt.NDArray[np.uint8]]
Commit = Callable[[Any], None]


@dataclass(frozen=True)
class Incoming:
    """step: its full id; sealed: the proposal to this party; inputs: verified local files."""

    step: str
    requester: str
    sealed: bytes
    inputs: Mapping[str, Path]
    progress: Callable[[int, int], None]

    def head(self, name: str, kind: type[M]) -> M:
        """The header of input `name`."""
        return self.framed(name, kind)[0]

    def framed(self, name: str, kind: type[M]) -> tuple[M, npt.NDArray[np.uint8]]:
        """Header and body of input `name`; the body is a read-only map of the file."""
        path = self.inputs[name]
        with path.open("rb") as file:
            head, offset = parse_head(file.read(8 + (4 << 20)), kind)
        size = path.stat().st_size - offset
        if size == 0:
            return head, np.zeros(0, dtype=np.uint8)
        return head, np.memmap(path, dtype=np.uint8, mode="r", offset=offset, shape=(size,))

    def matching(self, prefix: str) -> dict[str, Path]:
        """Inputs named `prefix/…`, by what follows."""
        start = prefix + "/"
        return {k.removeprefix(start): v for k, v in self.inputs.items() if k.startswith(start)}


@dataclass(frozen=True)
class Outgoing:
    """header, then the body's chunks in order; `commit` joins the transaction that stores it.

    early: the bytes may leave while later ones are made.  Only for ciphertexts under an own key
    without noise in them: made again after a crash, they are other ciphertexts of the same
    values, and whoever holds both learns nothing (ADR 0013).
    """

    header: Message
    chunks: Chunks = ()
    commit: Commit | None = None
    early: bool = False


Handler = Callable[[Session, Incoming], Outgoing]
