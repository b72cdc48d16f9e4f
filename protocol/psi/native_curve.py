"""The C extension of this package: ristretto255 eight points at a time, SHA-512 over a batch.

Who runs it: every party of an ecdh job whose installation and processor have it.
Learns: nothing; a scalar is read by C for the length of a call and its digits are wiped.
Source: RFC 9496; `native/*.h` and docs/adr/0006-native-ristretto.md for how and why.

Arrays cross by the buffer protocol and C releases the interpreter, so the threads of
`protocol.psi.ecdh.Curve` fill the cores.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from protocol.encoding import length_prefixed
from protocol.psi.sodium import WIDE

Bytes = npt.NDArray[np.uint8]


class _Module(Protocol):
    """`protocol.psi._native`, as native/module.c defines it."""

    def available(self) -> bool: ...
    def blind(self, scalar: bytes, rows: Bytes, derived: bool, out: Bytes) -> int: ...
    def derive(self, wide: Bytes, out: Bytes) -> None: ...
    def digests(
        self, prefix: bytes, offsets: npt.NDArray[np.int32], data: pa.Buffer | bytes, out: Bytes
    ) -> None: ...


def extension() -> _Module | None:
    """The built extension, None where the installation had no compiler."""
    try:
        return cast(_Module, import_module("protocol.psi._native"))
    except ImportError:
        return None


@dataclass(frozen=True)
class Ifma:
    """`protocol.psi.ecdh.Arithmetic` with AVX-512 IFMA.  `load` says whether there is one."""

    native: _Module
    name: str = "ifma"

    @staticmethod
    def load() -> Ifma | None:
        native = extension()
        return Ifma(native) if native is not None and native.available() else None

    def derive(self, wide: Bytes, out: Bytes) -> None:
        self.native.derive(wide, out)

    def blind(self, scalar: bytes, points: Bytes, out: Bytes) -> int | None:
        return self._first_bad(self.native.blind(scalar, points, False, out))

    def derive_blinded(self, scalar: bytes, wide: Bytes, out: Bytes) -> int | None:
        return self._first_bad(self.native.blind(scalar, wide, True, out))

    @staticmethod
    def _first_bad(answer: int) -> int | None:
        # -2 is a derived identity somewhere in the batch: it needs a preimage under SHA-512.
        return None if answer == -1 else max(answer, 0)


def digests(prefix: bytes, ids: pa.StringArray) -> Bytes:
    """uint8[n, 64]: SHA-512(prefix | length | id) of each id without nulls, Arrow to numpy."""
    native = extension()
    if native is None:
        return hashlib_digests(prefix, ids)
    out = np.empty((len(ids), WIDE), np.uint8)
    if not len(ids):
        return out  # Arrow may give an empty column no buffers
    _, offsets, data = ids.cast(pa.string()).buffers()
    ends = np.frombuffer(offsets, np.int32)[ids.offset : ids.offset + len(ids) + 1]
    native.digests(prefix, ends, b"" if data is None else data, out)
    return out


def hashlib_digests(prefix: bytes, ids: pa.StringArray) -> Bytes:
    """The same, a person at a time."""
    start = hashlib.sha512(prefix)

    def digest(value: bytes) -> bytes:
        state = start.copy()
        state.update(length_prefixed(value))
        return state.digest()

    wide = b"".join(digest(value) for value in ids.cast(pa.binary()).to_pylist())
    return np.frombuffer(wide, np.uint8).reshape(-1, WIDE)
