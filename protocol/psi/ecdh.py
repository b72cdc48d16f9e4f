"""Blinded ristretto255 points: matching that holds even when H works with a party.

Who runs it: every party.  Points are hashed identifiers times a fresh scalar of the party
and job; each other party multiplies them by its own scalar once, in the same order, and the
last one hands them to H, which compares points that all parties have blinded.
Learns: a party that blinds another's points, their number and nothing else (decisional
Diffie-Hellman); H as in keyed mode, but no party can help it to test a guess.
Source: protocols.md section 1, "ecdh"; group: RFC 9496, by libsodium through rbcl
(docs/adr/0002-ristretto-libsodium.md says why that libsodium and why threads).
"""

from __future__ import annotations

import ctypes
import hashlib
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from protocol.encoding import chunk_ranges, length_prefixed
from protocol.errors import ProtocolViolation
from protocol.psi.join import refuse_duplicates
from protocol.psi.tokens import HandleTable, Random, agreed_tokens, fill
from protocol.rows import EligibleRows

POINT = 32
ORDER = 2**252 + 27742317777372353535851937790883648493
_CHUNK = 1024  # points per task: about 40 ms
Progress = Callable[[int, int], None]


def random_scalar(random: Random) -> bytes:
    """A scalar in 1…ℓ-1, 32 bytes little-endian; 512 random bits, so the bias is below 2^-259."""
    while True:
        scalar = int.from_bytes(random(64), "little") % ORDER
        if scalar:
            return scalar.to_bytes(POINT, "little")


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
class Curve:
    """The four group operations of the protocol over all cores.

    workers: threads.  ctypes lets go of the interpreter during a call, which is where nearly
    all the time goes, so threads fill the cores and no scalar crosses a process boundary.
    """

    workers: int

    def hash_to_group(
        self, kind: str, ids: pa.StringArray, progress: Progress | None = None
    ) -> npt.NDArray[np.uint8]:
        """uint8[n, 32]: SHA-512(type | id) mapped to the group; zeros where null."""
        prefix = hashlib.sha512(length_prefixed("assent/psi/point/v1", kind))

        def digest(value: bytes | None) -> bytes:
            if value is None:
                return bytes(64)
            state = prefix.copy()
            state.update(length_prefixed(value))
            return state.digest()

        def some(a: int, b: int, out: npt.NDArray[np.uint8]) -> None:
            values = ids.slice(a, b - a).cast(pa.binary()).to_pylist()
            wide = b"".join(digest(value) for value in values)
            _map(np.frombuffer(wide, dtype=np.uint8).reshape(b - a, 64), out)

        points = self._spread(len(ids), some, progress)
        if ids.null_count:
            points[ids.is_null().to_numpy(zero_copy_only=False)] = 0
        return points

    def random_points(self, n: int, random: Random) -> npt.NDArray[np.uint8]:
        """uint8[n, 32]: uniform group elements whose logarithm nobody knows."""
        wide = np.frombuffer(random(n * 64), dtype=np.uint8).reshape(n, 64)
        return self._spread(n, lambda a, b, out: _map(wide[a:b], out), None)

    def blind(
        self, scalar: bytes, points: npt.NDArray[np.uint8], progress: Progress | None = None
    ) -> npt.NDArray[np.uint8]:
        """uint8[n, 32]: scalar times each point.

        Raises ProtocolViolation('bad_point') for an encoding that is not canonical, not of the
        group, or the identity.
        """
        _check_canonical(points)
        if len(scalar) != POINT or not 0 < int.from_bytes(scalar, "little") < ORDER:
            raise ValueError("a scalar lies in 1…ℓ-1")
        secret = ctypes.create_string_buffer(scalar, POINT)

        def some(a: int, b: int, out: npt.NDArray[np.uint8]) -> None:
            rows = np.ascontiguousarray(points[a:b])
            _multiply(ctypes.addressof(secret), rows, out)

        blinded = self._spread(len(points), some, progress)
        ctypes.memset(secret, 0, POINT)
        return blinded

    def reblind(
        self, scalar: bytes, batch: npt.NDArray[np.uint8], progress: Progress | None = None
    ) -> npt.NDArray[np.uint8]:
        """A peer's batch uint8[handles, types·32], each point times our scalar, order kept.

        The caller has checked the batch's size against what the peer signed, and blinds one
        batch per peer and job (a second one would be an oracle for our scalar).
        Raises ProtocolViolation('duplicate_point') when two points are equal, ('bad_point')
        as `blind`.
        """
        handles, row = batch.shape
        if row % POINT:
            raise ProtocolViolation("bad_artifact", "a row of points is not whole points")
        types = row // POINT
        refuse_duplicates(batch, types, POINT, "duplicate_point")
        points = batch.reshape(handles * types, POINT)
        return self.blind(scalar, points, progress).reshape(handles, row)

    def assemble(
        self, rows: EligibleRows, types: Sequence[str], k: bytes, handles: int, scalar: bytes,
        random: Random, progress: Progress | None = None,
    ) -> HandleTable:  # fmt: skip
        """The ecdh upload: as `tokens.assemble`, with blinded points in the place of tokens."""
        seen = _Steps(progress, len(types) * 2 * len(rows))
        found = []
        for kind in types:
            ids = rows.identifiers[kind]
            points = self.hash_to_group(kind, ids, seen.part())
            if ids.null_count:
                have = ids.is_valid().to_numpy(zero_copy_only=False)
                points[have] = self.blind(scalar, points[have], seen.part())
            else:
                points = self.blind(scalar, points, seen.part())
            found.append(points)

        def agreed(kind: str, names: list[bytes]) -> npt.NDArray[np.uint8]:
            # K makes them: H, which could hash labels alone, cannot tell a dummy from a person.
            secret = [token.tobytes().hex() for token in agreed_tokens(k, kind, names)]
            points = self.hash_to_group(f"dummy/{kind}", pa.array(secret, pa.string()))
            return self.blind(scalar, points)

        def fresh(n: int) -> npt.NDArray[np.uint8]:
            # Not multiplied: a uniform point times a scalar is a uniform point.
            return self.random_points(n, random)

        return fill(rows, types, found, k, handles, random, agreed, fresh)

    def _spread(
        self, n: int, some: Callable[[int, int, npt.NDArray[np.uint8]], None],
        progress: Progress | None,
    ) -> npt.NDArray[np.uint8]:  # fmt: skip
        """Runs `some(start, end, rows to fill)` over 0…n in chunks, on all workers."""
        out = np.empty((n, POINT), dtype=np.uint8)
        with ThreadPoolExecutor(self.workers) as pool:
            tasks = [(b, pool.submit(some, a, b, out[a:b])) for a, b in chunk_ranges(n, _CHUNK)]
            try:
                for done, task in tasks:
                    task.result()
                    if progress is not None:
                        progress(done, n)
            finally:
                # After a bad point, or a progress call that cancels, the rest is not worth doing.
                pool.shutdown(wait=True, cancel_futures=True)
        return out


@dataclass
class _Steps:
    """Joins the progress of several passes of one length into one count."""

    progress: Progress | None
    total: int
    before: int = 0

    def part(self) -> Progress | None:
        if self.progress is None:
            return None
        report, base = self.progress, self.before

        def told(done: int, total: int) -> None:
            self.before = base + done
            report(self.before, self.total)

        return told


def _check_canonical(points: npt.NDArray[np.uint8]) -> None:
    """Even, below p = 2^255 - 19, top bit clear.  libsodium 1.0.18 ignores the top bit, so
    without this one point could come twice in a batch that has no equal bytes."""
    bad = (points[:, 31] & 0x80) | (points[:, 0] & 1)
    top = (points[:, 31] == 0x7F) & (points[:, 1:31] == 0xFF).all(axis=1)
    if bool(bad.any()) or bool((top & (points[:, 0] >= 0xED)).any()):
        raise _bad_point()


def _bad_point() -> ProtocolViolation:
    return ProtocolViolation(
        "bad_point",
        "a point is the identity or not a canonical encoding of a group element",
        next_step="the peer's node is modified or broken; do not run with it",
    )


def _map(wide: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
    """Each 64 bytes of `wide` to a point in `out`, both contiguous."""
    from_hash = _group().from_hash
    source, target = wide.ctypes.data, out.ctypes.data
    for _ in range(len(wide)):
        from_hash(target, source)
        source += 64
        target += POINT


def _multiply(scalar: int, points: npt.NDArray[np.uint8], out: npt.NDArray[np.uint8]) -> None:
    """Each point times the scalar at address `scalar`, both arrays contiguous."""
    multiply = _group().multiply
    source, target = points.ctypes.data, out.ctypes.data
    for _ in range(len(points)):
        if multiply(target, scalar, source):
            raise _bad_point()  # does not decode, or the product is the identity
        source += POINT
        target += POINT
