"""Blinded ristretto255 points: matching that holds even when H works with a party.

Who runs it: every party.  Points are hashed identifiers times a fresh scalar of the party
and job; each other party multiplies them by its own scalar once, in the same order, and the
last one hands them to H, which compares points that all parties have blinded.
Learns: a party that blinds another's points, their number and nothing else (decisional
Diffie-Hellman); H as in keyed mode, but no party can help it to test a guess.
Source: protocols.md section 1, "ecdh"; group: RFC 9496, by our own kernel where the processor
has AVX-512 IFMA (docs/adr/0006-native-ristretto.md), else by libsodium
(docs/adr/0002-ristretto-libsodium.md says why that libsodium and why threads).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from protocol.encoding import chunk_ranges, length_prefixed
from protocol.errors import BadInput, ProtocolViolation
from protocol.psi.join import refuse_duplicates
from protocol.psi.native_curve import Ifma, digests
from protocol.psi.sodium import POINT as POINT
from protocol.psi.sodium import WIDE, Sodium
from protocol.psi.tokens import HandleTable, Random, agreed_tokens, fill
from protocol.rows import EligibleRows

ORDER = 2**252 + 27742317777372353535851937790883648493
_CHUNK = 1024  # points per task: about 5 ms, 40 by libsodium
Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Progress = Callable[[int, int], None]


def random_scalar(random: Random) -> bytes:
    """A scalar in 1…ℓ-1, 32 bytes little-endian; 512 random bits, so the bias is below 2^-259."""
    while True:
        scalar = int.from_bytes(random(64), "little") % ORDER
        if scalar:
            return scalar.to_bytes(POINT, "little")


class Arithmetic(Protocol):
    """The group over contiguous rows: uint8[n, 32] points, uint8[n, 64] uniform strings.

    Results go into `out`, uint8[n, 32].  The blinding ones return the first row that is not
    the canonical encoding of an element other than the identity, and None when all are good.
    """

    @property
    def name(self) -> str: ...
    def derive(self, wide: Bytes, out: Bytes) -> None: ...
    def blind(self, scalar: bytes, points: Bytes, out: Bytes) -> int | None: ...
    def derive_blinded(self, scalar: bytes, wide: Bytes, out: Bytes) -> int | None: ...


def arithmetic(wanted: str | None = None) -> Arithmetic:
    """The fastest that this machine has; `wanted` or ASSENT_CURVE = sodium | ifma forces one.

    Raises BadInput('no_curve') for an unknown word, or ifma where there is none.
    """
    wanted = wanted or os.environ.get("ASSENT_CURVE", "")
    if wanted not in ("", "ifma", "sodium"):
        raise BadInput(f'ASSENT_CURVE="{wanted}" is not known', code="no_curve",
                       next_step="say ifma or sodium, or nothing")  # fmt: skip
    native = None if wanted == "sodium" else Ifma.load()
    if native is None and wanted == "ifma":
        raise BadInput("this processor or installation has no native curve", code="no_curve",
                       next_step="unset ASSENT_CURVE: libsodium serves")  # fmt: skip
    return native or Sodium()


@dataclass(frozen=True)
class Curve:
    """The four group operations of the protocol over all cores.

    workers: threads.  Calls into C let go of the interpreter, which is where nearly all the
    time goes, so threads fill the cores and no scalar crosses a process boundary.
    """

    workers: int
    arithmetic: Arithmetic = field(default_factory=arithmetic)

    def hash_to_group(
        self, kind: str, ids: pa.StringArray, progress: Progress | None = None
    ) -> Bytes:
        """uint8[n, 32]: SHA-512(type | id) mapped to the group; zeros where null."""

        def some(a: int, b: int, out: Bytes) -> None:
            self.arithmetic.derive(wide(a, b), out)

        wide, have = _wide(kind, ids)
        return _placed(self._spread(int(have.sum()), some, progress), have)

    def hash_blinded(
        self, kind: str, ids: pa.StringArray, scalar: bytes, progress: Progress | None = None
    ) -> Bytes:
        """`blind` of `hash_to_group`, zeros where null; the points between are never encoded."""
        _check_scalar(scalar)

        def some(a: int, b: int, out: Bytes) -> None:
            _refuse(self.arithmetic.derive_blinded(scalar, wide(a, b), out), a)

        wide, have = _wide(kind, ids)
        return _placed(self._spread(int(have.sum()), some, progress), have)

    def random_points(self, n: int, random: Random) -> Bytes:
        """uint8[n, 32]: uniform group elements whose logarithm nobody knows."""
        wide = np.frombuffer(random(n * WIDE), dtype=np.uint8).reshape(n, WIDE)
        return self._spread(n, lambda a, b, out: self.arithmetic.derive(wide[a:b], out), None)

    def blind(self, scalar: bytes, points: Bytes, progress: Progress | None = None) -> Bytes:
        """uint8[n, 32]: scalar times each point.

        Raises ProtocolViolation('bad_point') for an encoding that is not canonical, not of the
        group, or the identity.
        """
        _check_scalar(scalar)

        def some(a: int, b: int, out: Bytes) -> None:
            rows = np.ascontiguousarray(points[a:b])
            _refuse(self.arithmetic.blind(scalar, rows, out), a)

        return self._spread(len(points), some, progress)

    def reblind(self, scalar: bytes, batch: Bytes, progress: Progress | None = None) -> Bytes:
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
        missing = sum(rows.identifiers[kind].null_count for kind in types)
        seen = _Steps(progress, len(types) * len(rows) - missing)
        found = (
            self.hash_blinded(kind, rows.identifiers[kind], scalar, seen.part()) for kind in types
        )

        def agreed(kind: str, names: list[bytes]) -> Bytes:
            # K makes them: H, which could hash labels alone, cannot tell a dummy from a person.
            secret = [token.tobytes().hex() for token in agreed_tokens(k, kind, names)]
            return self.hash_blinded(f"dummy/{kind}", pa.array(secret, pa.string()), scalar)

        def fresh(n: int) -> Bytes:
            # Not multiplied: a uniform point times a scalar is a uniform point.
            return self.random_points(n, random)

        return fill(rows, types, POINT, found, k, handles, random, agreed, fresh)

    def _spread(
        self, n: int, some: Callable[[int, int, Bytes], None],
        progress: Progress | None,
    ) -> Bytes:  # fmt: skip
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


def _wide(kind: str, ids: pa.StringArray) -> tuple[Callable[[int, int], Bytes], Mask]:
    """The 64 bytes to map of present ids a…b, and which ids are present."""
    prefix = length_prefixed("assent/psi/point/v1", kind)
    have = ids.is_valid().to_numpy(zero_copy_only=False)
    present = ids.drop_null() if ids.null_count else ids
    return lambda a, b: digests(prefix, present.slice(a, b - a)), have


def _placed(points: Bytes, have: Mask) -> Bytes:
    """Rows of `points` where `have`, zeros elsewhere."""
    if have.all():
        return points
    out = np.zeros((len(have), POINT), dtype=np.uint8)
    out[have] = points
    return out


def _check_scalar(scalar: bytes) -> None:
    if len(scalar) != POINT or not 0 < int.from_bytes(scalar, "little") < ORDER:
        raise ValueError("a scalar lies in 1…ℓ-1")


def _refuse(bad: int | None, start: int) -> None:
    """bad: the first bad row of the chunk that begins at `start`."""
    if bad is not None:
        raise ProtocolViolation(
            "bad_point",
            f"point {start + bad} is the identity or not a canonical encoding of a group element",
            next_step="the peer's node is modified or broken; do not run with it",
        )
