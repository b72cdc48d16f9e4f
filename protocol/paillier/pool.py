"""The gmpy2 kernel: cuts arrays into chunks for all cores and puts the answers together.

Who runs it: every node, started explicitly before grpc; `PoolKernel.start(processes=1)` and
`PoolKernel.inline()` compute in the calling thread.
Learns: what its node holds.
Source: `protocol.paillier.kernel` for the interface, `chunks` for the arithmetic.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import Self

import gmpy2
import numpy as np
import numpy.typing as npt

from protocol.encoding import chunk_ranges, sha256
from protocol.errors import ProtocolViolation
from protocol.paillier.chunks import DIGEST, draw_unit
from protocol.paillier.kernel import Bytes, Progress, RandomBytes
from protocol.paillier.keys import PrivateKey, PublicKey
from protocol.paillier.workers import Executor, Inline, KeyMaterial, ProcessPool, Task
from protocol.secret import Secret

# Rows per chunk: about 0.1 to 0.5 s of work, under 1 MiB of ciphertexts.
ENCRYPT_ROWS, DECRYPT_ROWS, SUM_ROWS, DOT_ROWS, POWER_ROWS = 1024, 64, 2048, 4096, 16
Groups = npt.NDArray[np.int32]


class PoolKernel:
    """`Kernel` over gmpy2.  A context manager: leaving it ends the processes."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._seen: dict[str, int] = {}

    @classmethod
    def start(cls, processes: int | None = None, random: RandomBytes = os.urandom) -> Self:
        """Starts one process per core (or `processes`) now; 1 computes in the calling thread.

        random: where the workers draw from; a module-level function.
        """
        if processes == 1:
            return cls.inline(random)
        return cls(ProcessPool(processes or len(os.sched_getaffinity(0)), random))

    @classmethod
    def inline(cls, random: RandomBytes = os.urandom) -> Self:
        return cls(Inline(random))

    def describe(self) -> str:
        return f"gmpy2 {gmpy2.version()}, {self._executor.workers} workers"

    def close(self) -> None:
        self._executor.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- the owner's operations ----------------------------------------------------------

    def prepare(self, key: PrivateKey, rows: int) -> None:
        material = _private(key)
        self._seen[material.label] = max(rows, self._seen.get(material.label, 0))
        task = Task("prepare", (self._share(rows),), ())
        self._executor.everywhere(material, task)

    def encrypt(
        self, key: PrivateKey, plaintexts: Bytes, progress: Progress | None = None
    ) -> Bytes:
        public = key.public
        _require(plaintexts, public.plaintext_width)
        return self._encrypt(
            key, len(plaintexts), lambda start, end: plaintexts[start:end].tobytes(), progress
        )

    def encrypt_zero(self, key: PrivateKey, n: int, progress: Progress | None = None) -> Bytes:
        width = key.public.plaintext_width
        return self._encrypt(key, n, lambda start, end: bytes((end - start) * width), progress)

    def _encrypt(
        self,
        key: PrivateKey,
        n: int,
        plain: Callable[[int, int], bytes],
        progress: Progress | None,
    ) -> Bytes:
        material = _private(key)
        # A stream comes in several calls: tables are sized for all rows so far, or as prepared.
        seen = self._seen[material.label] = max(n, self._seen.get(material.label, 0))
        size = self._rows(n, ENCRYPT_ROWS)
        tasks = (
            Task("encrypt", (self._share(seen),), (plain(start, end),))
            for start, end in chunk_ranges(n, size)
        )
        return self._collect(material, tasks, n, size, key.public.width, progress)

    def decrypt(self, key: PrivateKey, cts: Bytes, progress: Progress | None = None) -> Bytes:
        public = key.public
        _require(cts, public.width)
        size = self._rows(len(cts), DECRYPT_ROWS)
        tasks = (
            Task("decrypt", (), (cts[start:end].tobytes(),))
            for start, end in chunk_ranges(len(cts), size)
        )
        width = public.plaintext_width
        return self._collect(_private(key), tasks, len(cts), size, width, progress)

    # -- operations under a public key ---------------------------------------------------

    def check(self, public: PublicKey, cts: Bytes, progress: Progress | None = None) -> None:
        _require(cts, public.width)
        size = self._rows(len(cts), SUM_ROWS)
        tasks = (
            Task("check", (), (cts[start:end].tobytes(),))
            for start, end in chunk_ranges(len(cts), size)
        )
        digests = self._collect(_public(public), tasks, len(cts), size, DIGEST, progress)
        halves = digests.view("<u8")
        order = np.lexsort((halves[:, 0], halves[:, 1]))
        ordered = halves[order]
        if bool(np.any(np.all(ordered[1:] == ordered[:-1], axis=1))):
            # Two equal rows: A's plaintexts would cancel or count twice, unseen by A.
            raise ProtocolViolation("bad_ciphertext", "the same ciphertext was sent twice")

    def sum_by_group(
        self,
        public: PublicKey,
        cts: Bytes,
        groups: Groups,
        n_groups: int,
        progress: Progress | None = None,
    ) -> Bytes:
        return self._grouped(public, cts, groups, n_groups, None, 0, progress)

    def dot_by_group(
        self,
        public: PublicKey,
        cts: Bytes,
        groups: Groups,
        n_groups: int,
        weights: npt.NDArray[np.uint64],
        weight_bits: int,
        progress: Progress | None = None,
    ) -> Bytes:
        if weights.shape != groups.shape or weights.dtype != np.uint64:
            raise ValueError("one uint64 weight per row is needed")
        if not 1 <= weight_bits <= 64:
            raise ValueError("weights have 1 to 64 bits")
        if len(weights) and int(weights[groups >= 0].max(initial=0)) >> weight_bits:
            raise ValueError(f"a weight has more than {weight_bits} bits")
        return self._grouped(public, cts, groups, n_groups, weights, weight_bits, progress)

    def _grouped(
        self,
        public: PublicKey,
        cts: Bytes,
        groups: Groups,
        n_groups: int,
        weights: npt.NDArray[np.uint64] | None,
        weight_bits: int,
        progress: Progress | None,
    ) -> Bytes:
        """Rows sorted by group, cut into chunks; a group cut in two is multiplied here."""
        _require(cts, public.width)
        if groups.shape != (len(cts),):
            raise ValueError("one group per row is needed")
        if len(groups) and not -1 <= int(groups.min()) <= int(groups.max()) < n_groups:
            raise ValueError("a group lies outside the declared ones")
        rows = np.flatnonzero(groups >= 0)
        rows = rows[np.argsort(groups[rows], kind="stable")]
        limit = SUM_ROWS if weights is None else DOT_ROWS
        cuts = list(chunk_ranges(len(rows), self._rows(len(rows), limit)))
        members: list[npt.NDArray[np.int32]] = []  # of each task drawn: its groups, in order

        def tasks() -> Iterator[Task]:
            for start, end in cuts:
                here = rows[start:end]
                found, lengths = np.unique(groups[here], return_counts=True)
                members.append(found)
                runs = tuple(lengths.tolist())
                data = cts[here].tobytes()
                if weights is None:
                    yield Task("multiply", runs, (data,))
                else:
                    yield Task("dot", (weight_bits, *runs), (data, weights[here].tobytes()))

        square = gmpy2.mpz(public.n) ** 2
        width = public.width
        totals: list[bytes | None] = [None] * n_groups
        answers = self._executor.run(_public(public), tasks())
        for at, (answer, (_, end)) in enumerate(zip(answers, cuts, strict=True)):
            for place, group in enumerate(members[at].tolist()):
                part = answer[0][place * width : (place + 1) * width]
                totals[group] = _times(totals[group], part, square, width)
            if progress is not None:
                progress(end, len(rows))
        one = (1).to_bytes(width, "little")
        joined = b"".join(one if total is None else total for total in totals)
        return np.frombuffer(joined, dtype=np.uint8).reshape(n_groups, width)

    def linear(
        self, public: PublicKey, terms: list[tuple[Bytes, int]], plaintext: list[int]
    ) -> Bytes:
        m, width = len(plaintext), public.plaintext_width
        for cts, _ in terms:
            _require(cts, public.width)
            if len(cts) != m:
                raise ValueError("every term has one row per plaintext")
        factors = tuple(factor for _, factor in terms)
        size = self._rows(m, POWER_ROWS)

        def tasks() -> Iterator[Task]:
            for start, end in chunk_ranges(m, size):
                plain = b"".join(
                    (value % public.n).to_bytes(width, "little") for value in plaintext[start:end]
                )
                yield Task("linear", factors, (plain, *(c[start:end].tobytes() for c, _ in terms)))

        return self._collect(_public(public), tasks(), m, size, public.width, None)

    def rerandomise(
        self,
        public: PublicKey,
        cts: Bytes,
        random: RandomBytes,
        progress: Progress | None = None,
        later: int = 0,  # every row takes its time here
    ) -> Bytes:
        _require(cts, public.width)
        n, width = gmpy2.mpz(public.n), public.plaintext_width
        size = self._rows(len(cts), POWER_ROWS)

        def tasks() -> Iterator[Task]:
            for start, end in chunk_ranges(len(cts), size):
                units = [draw_unit(n, random) for _ in range(end - start)]
                drawn = b"".join(unit.to_bytes(width, "little") for unit in units)
                yield Task("rerandomise", (), (cts[start:end].tobytes(), drawn))

        return self._collect(_public(public), tasks(), len(cts), size, public.width, progress)

    def forget(self, public: PublicKey) -> None:
        for kind in ("private", "public"):
            self._seen.pop(_label(kind, public), None)
            self._executor.forget(_label(kind, public))

    # -- cutting and joining -------------------------------------------------------------

    def _rows(self, total: int, limit: int) -> int:
        """Rows per chunk: at most `limit`, and few enough that every worker gets some."""
        return max(1, min(limit, -(-total // (4 * self._executor.workers))))

    def _share(self, rows: int) -> int:
        return -(-rows // self._executor.workers)

    def _collect(
        self,
        key: KeyMaterial,
        tasks: Iterable[Task],
        n: int,
        size: int,
        width: int,
        progress: Progress | None,
    ) -> Bytes:
        """uint8[n, width] from answers of `size` rows each."""
        out = np.empty((n, width), dtype=np.uint8)
        answers = self._executor.run(key, tasks)
        for (start, end), answer in zip(chunk_ranges(n, size), answers, strict=True):
            out[start:end] = np.frombuffer(answer[0], dtype=np.uint8).reshape(end - start, width)
            if progress is not None:
                progress(end, n)
        return out


def _label(kind: str, public: PublicKey) -> str:
    return f"{kind}:{sha256(public.to_bytes()).hex()}"


def _private(key: PrivateKey) -> KeyMaterial:
    return KeyMaterial(_label("private", key.public), True, key.to_secret())


def _public(public: PublicKey) -> KeyMaterial:
    return KeyMaterial(_label("public", public), False, Secret(public.to_bytes()))


def _require(array: Bytes, width: int) -> None:
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"an array has shape {array.shape}, not uint8[n, {width}]")


def _times(held: bytes | None, part: bytes, square: object, width: int) -> bytes:
    if held is None:
        return part
    number = gmpy2.mpz.from_bytes
    product = number(held, "little") * number(part, "little") % square
    result: bytes = product.to_bytes(width, "little")
    return result
