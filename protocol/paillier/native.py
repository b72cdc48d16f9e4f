"""The native kernel: the C extension's arithmetic behind the `Kernel` interface.

Who runs it: every node whose processor and installation have it (`protocol.paillier.choose`).
Learns: what its node holds; keys stay in this process.
Source: `protocol.paillier.kernel` for the interface, `native/*.c` for the arithmetic.

Arrays cross to C by the buffer protocol, and C releases the interpreter: a thread per core
works on chunks of rows.  No Python integer is made per row.
"""

from __future__ import annotations

import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar

import gmpy2
import numpy as np
import numpy.typing as npt

from protocol.encoding import chunk_ranges
from protocol.errors import ProtocolViolation
from protocol.paillier import native_groups
from protocol.paillier.kernel import Bytes, Progress, RandomBytes
from protocol.paillier.keys import PrivateKey, PublicKey
from protocol.paillier.native_keys import Engine, OwnerKey, SharedKey
from protocol.paillier.zeros import Zeros

KEPT_KEYS = 4  # tables are large, and a job has one key
# Rows per call into C: a few hundredths of a second, so that progress and cancelling are prompt.
ENCRYPT_ROWS, DECRYPT_ROWS, CHECK_ROWS, POWER_ROWS = 1024, 64, 8192, 64
LANES = 8  # rows that C computes at once
PRINT = 16
Groups = npt.NDArray[np.int32]
K = TypeVar("K")


class NativeKernel:
    """`Kernel` over the C extension.  A context manager: leaving it ends the threads.

    random: the operating system's generator.  Raises ImportError where the extension is not
    built, ValueError where the processor lacks the engine.
    """

    def __init__(
        self,
        engine: str | None = None,
        threads: int | None = None,
        random: RandomBytes = os.urandom,
    ) -> None:
        self.engine = Engine.load(engine)
        self.threads = threads or len(os.sched_getaffinity(0))
        self._random = random
        self._pool = (
            ThreadPoolExecutor(self.threads, "assent-paillier") if self.threads > 1 else None
        )
        self._lock = threading.Lock()
        self._owners: OrderedDict[tuple[int, bool], OwnerKey] = OrderedDict()
        self._shared: OrderedDict[tuple[int, bool], SharedKey] = OrderedDict()
        self._zeros: OrderedDict[tuple[int, bool], Zeros] = OrderedDict()

    def describe(self) -> str:
        return f"native, {self.engine.name} engine, {self.threads} threads"

    def close(self) -> None:
        if self._pool is not None:
            self._pool.shutdown(wait=True, cancel_futures=True)
        with self._lock:
            self._owners.clear()
            self._shared.clear()
            self._zeros.clear()

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
        self._owner(key).prepare(rows)

    def encrypt(
        self, key: PrivateKey, plaintexts: Bytes, progress: Progress | None = None
    ) -> Bytes:
        _require(plaintexts, key.public.plaintext_width)
        return self._encrypt(key, len(plaintexts), lambda a, b: plaintexts[a:b], progress)

    def encrypt_zero(self, key: PrivateKey, n: int, progress: Progress | None = None) -> Bytes:
        width = key.public.plaintext_width
        return self._encrypt(
            key, n, lambda a, b: np.zeros((b - a, width), dtype=np.uint8), progress
        )

    def _encrypt(
        self,
        key: PrivateKey,
        n: int,
        plain: Callable[[int, int], Bytes],
        progress: Progress | None,
    ) -> Bytes:
        owner = self._owner(key)
        out = np.empty((n, key.public.width), dtype=np.uint8)
        if n:
            # A stream comes in several calls: tables are sized for all rows so far.
            owner.expect(n)
            self._each(
                n,
                ENCRYPT_ROWS,
                lambda a, b: owner.encrypt(plain(a, b), out[a:b], self._random),
                progress,
            )
        return out

    def decrypt(self, key: PrivateKey, cts: Bytes, progress: Progress | None = None) -> Bytes:
        _require(cts, key.public.width)
        owner = self._owner(key)
        out = np.empty((len(cts), key.public.plaintext_width), dtype=np.uint8)
        self._each(len(cts), DECRYPT_ROWS, lambda a, b: owner.decrypt(cts[a:b], out[a:b]), progress)
        return out

    # -- operations under a public key ---------------------------------------------------

    def check(self, public: PublicKey, cts: Bytes, progress: Progress | None = None) -> None:
        _require(cts, public.width)
        shared = self._public(public)
        words = -(-public.width // 8)
        keys = np.frombuffer(self._random(32 * words), dtype=np.uint64)
        prints = np.empty((len(cts), PRINT), dtype=np.uint8)
        product = gmpy2.mpz(1)

        def part(start: int, end: int) -> None:
            nonlocal product
            lanes = np.empty((LANES, public.plaintext_width), dtype=np.uint8)
            if not shared.check(cts[start:end], keys, prints[start:end], lanes):
                raise _bad_ciphertext("a ciphertext is not between 0 and n²")
            factor = gmpy2.mpz(1)
            for lane in lanes:
                factor = factor * gmpy2.mpz.from_bytes(lane.tobytes(), "little") % public.n
            with self._lock:
                product = product * factor % public.n

        self._each(len(cts), CHECK_ROWS, part, progress)
        # The product of all rows is coprime to n exactly if each is.
        if gmpy2.gcd(product, public.n) != 1:
            raise _bad_ciphertext("a ciphertext shares a factor with the modulus")
        halves = prints.view("<u8")
        ordered = halves[np.lexsort((halves[:, 0], halves[:, 1]))]
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
        _require(cts, public.width)
        _require_groups(groups, len(cts), n_groups)
        shared = self._public(public)
        return native_groups.sums(shared, cts, groups, n_groups, self._each, progress)

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
        _require(cts, public.width)
        if weights.shape != groups.shape or weights.dtype != np.uint64:
            raise ValueError("one uint64 weight per row is needed")
        if not 1 <= weight_bits <= 64:
            raise ValueError("weights have 1 to 64 bits")
        if len(weights) and int(weights[groups >= 0].max(initial=0)) >> weight_bits:
            raise ValueError(f"a weight has more than {weight_bits} bits")
        _require_groups(groups, len(cts), n_groups)
        shared = self._public(public)
        return native_groups.dots(
            shared, cts, groups, n_groups, weights, weight_bits, self._each, progress
        )

    def linear(
        self, public: PublicKey, terms: list[tuple[Bytes, int]], plaintext: list[int]
    ) -> Bytes:
        m, n = len(plaintext), public.n
        for cts, _ in terms:
            _require(cts, public.width)
            if len(cts) != m:
                raise ValueError("every term has one row per plaintext")
        shared = self._public(public)
        joined = b"".join(
            (1 + (value % n) * n).to_bytes(public.width, "little") for value in plaintext
        )
        found = np.frombuffer(joined, dtype=np.uint8).reshape(m, public.width).copy()
        if terms:
            self._each(
                m,
                POWER_ROWS,
                lambda a, b: shared.combine([(c[a:b], f) for c, f in terms], found[a:b]),
                None,
            )
        return found

    def rerandomise(
        self,
        public: PublicKey,
        cts: Bytes,
        random: RandomBytes,
        progress: Progress | None = None,
        later: int = 0,
    ) -> Bytes:
        _require(cts, public.width)
        shared = self._public(public)
        zeros = self._kept(self._zeros, (public.n, False), lambda: self._new_zeros(shared))
        # The product is written over the zeros: each leaves in one ciphertext only.
        out = zeros.take(len(cts), later, random, progress)
        self._each(
            len(cts),
            POWER_ROWS,
            lambda a, b: shared.multiply(cts[a:b], out[a:b], out[a:b]),
            None,
        )
        return out

    def _new_zeros(self, shared: SharedKey) -> Zeros:
        def each(n: int, work: Callable[[int, int], None], progress: Progress | None) -> None:
            self._each(n, POWER_ROWS, work, progress)

        return Zeros(shared, self.threads, each)

    def forget(self, public: PublicKey) -> None:
        with self._lock:
            for ring in (self._owners, self._shared, self._zeros):
                for factored in (False, True):
                    ring.pop((public.n, factored), None)

    # -- keys and threads ----------------------------------------------------------------

    def _owner(self, key: PrivateKey) -> OwnerKey:
        return self._kept(
            self._owners,
            (key.public.n, key.factored),
            lambda: OwnerKey(self.engine, key, self._random),
        )

    def _public(self, public: PublicKey) -> SharedKey:
        return self._kept(self._shared, (public.n, False), lambda: SharedKey(self.engine, public))

    def _kept(
        self, ring: OrderedDict[tuple[int, bool], K], label: tuple[int, bool], make: Callable[[], K]
    ) -> K:
        with self._lock:
            if label not in ring:
                ring[label] = make()
                if len(ring) > KEPT_KEYS:
                    ring.popitem(last=False)
            ring.move_to_end(label)
            return ring[label]

    def _each(
        self,
        n: int,
        limit: int,
        work: Callable[[int, int], None],
        progress: Progress | None,
    ) -> None:
        """work(start, end) for chunks of at most `limit` rows, on all threads."""
        size = _rows(n, limit, self.threads)
        cuts = list(chunk_ranges(n, size))
        if self._pool is None or len(cuts) < 2:
            for start, end in cuts:
                work(start, end)
                if progress is not None:
                    progress(end, n)
            return
        futures = [self._pool.submit(work, start, end) for start, end in cuts]
        try:
            for (_, end), future in zip(cuts, futures, strict=True):
                future.result()
                if progress is not None:
                    progress(end, n)
        finally:
            for future in futures:
                future.cancel()


def _rows(total: int, limit: int, threads: int) -> int:
    """Rows per chunk: whole groups of lanes, at most `limit`, some for every thread."""
    share = -(-total // (4 * threads)) if threads > 1 else limit
    return max(LANES, min(limit, -(-share // LANES) * LANES))


def _require(array: Bytes, width: int) -> None:
    if array.dtype != np.uint8 or array.ndim != 2 or array.shape[1] != width:
        raise ValueError(f"an array has shape {array.shape}, not uint8[n, {width}]")


def _require_groups(groups: Groups, rows: int, n_groups: int) -> None:
    if groups.shape != (rows,):
        raise ValueError("one group per row is needed")
    if rows and not -1 <= int(groups.min()) <= int(groups.max()) < n_groups:
        raise ValueError("a group lies outside the declared ones")


def _bad_ciphertext(cause: str) -> ProtocolViolation:
    return ProtocolViolation(
        "bad_ciphertext",
        cause,
        next_step="a party or the coordinator did not keep the protocol; compare versions",
    )
