"""ristretto255 by libsodium, a point at a time: what serves where the processor has no IFMA.

Who runs it: every party of an ecdh job whose node has no native curve.  Learns: nothing.
Source: RFC 9496, through rbcl's libsodium; docs/adr/0002-ristretto-libsodium.md says why that
libsodium, and why by address instead of through rbcl's wrappers.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

POINT = 32
WIDE = 64
Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class _Group:
    """Two functions of libsodium on raw addresses.  They return 0, or -1 for a refusal."""

    from_hash: Callable[[int, int], int]  # out: 32 bytes, in: 64 bytes
    multiply: Callable[[int, int, int], int]  # out: 32 bytes, scalar: 32 bytes, point: 32 bytes


@cache
def _group() -> _Group:
    """Loads libsodium on first use: a keyed job never needs it."""
    from rbcl import _sodium as sodium

    # rbcl unpacks its library into a temporary file at every import and forgets it.  Mapped
    # code outlives its name, so the name goes; where it cannot go (Windows) it stays.
    with suppress(OSError):
        Path(sodium._name).unlink(missing_ok=True)
    from_hash, multiply = (
        sodium.crypto_core_ristretto255_from_hash,
        sodium.crypto_scalarmult_ristretto255,
    )
    from_hash.argtypes = [ctypes.c_void_p] * 2
    multiply.argtypes = [ctypes.c_void_p] * 3
    from_hash.restype = multiply.restype = ctypes.c_int
    return _Group(from_hash, multiply)


@dataclass(frozen=True)
class Sodium:
    """`protocol.psi.ecdh.Arithmetic` by libsodium."""

    name: str = "sodium"

    def derive(self, wide: Bytes, out: Bytes) -> None:
        from_hash = _group().from_hash
        source, target = wide.ctypes.data, out.ctypes.data
        for _ in range(len(wide)):
            from_hash(target, source)
            source += WIDE
            target += POINT

    def blind(self, scalar: bytes, points: Bytes, out: Bytes) -> int | None:
        good = _canonical(points)
        secret = ctypes.create_string_buffer(scalar, POINT)
        multiply, factor = _group().multiply, ctypes.addressof(secret)
        source, target = points.ctypes.data, out.ctypes.data
        try:
            for i in range(good):
                if multiply(target, factor, source):
                    return i  # does not decode, or the product is the identity
                source += POINT
                target += POINT
        finally:
            ctypes.memset(secret, 0, POINT)
        return good if good < len(points) else None

    def derive_blinded(self, scalar: bytes, wide: Bytes, out: Bytes) -> int | None:
        points = np.empty_like(out)
        self.derive(wide, points)
        return self.blind(scalar, points, out)


def _canonical(points: Bytes) -> int:
    """How many points from the first are even, below p = 2^255 - 19, top bit clear.

    libsodium 1.0.18 ignores the top bit, so without this one point could come twice in a batch
    that has no equal bytes.
    """
    bad = ((points[:, 31] & 0x80) | (points[:, 0] & 1)).astype(bool)
    top = (points[:, 31] == 0x7F) & (points[:, 1:31] == 0xFF).all(axis=1)
    bad |= top & (points[:, 0] >= 0xED)
    return int(bad.argmax()) if bad.any() else len(points)
