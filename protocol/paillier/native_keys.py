"""Keys as the native kernel holds them: constants made here once per key, rows done in C.

Who runs it: `protocol.paillier.native`.
Learns: what its node holds.  C wipes its copies when a key is forgotten; Python's integers of
the same key cannot be wiped (docs/adr/0005-native-kernel.md).
Source: protocols.md section 0; the constants are named in `native/native.h`.
"""

from __future__ import annotations

import importlib
import threading
from dataclasses import dataclass
from typing import Any, Self

import gmpy2
import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation
from protocol.paillier.fixed_base import FixedBase, windows
from protocol.paillier.kernel import Bytes, RandomBytes
from protocol.paillier.keys import PrivateKey, PublicKey

LANES = 8
# Measured at 2048 and 3072 bits, in products of one window: making one table entry in Python,
# and reading a whole table of 16 entries.  ifma reads 128 entries out of the second-level cache.
BUILD_COST = {"ifma": 35.0, "portable": 4.5}
READ_COST = {"ifma": 0.05, "portable": 0.19}
WIDEST = {"ifma": 7, "portable": 6}


@dataclass(frozen=True)
class Engine:
    """One of the extension's ways to multiply, and how it cuts numbers into limbs."""

    name: str
    native: Any  # the extension module, for which there are no types
    radix: int
    step: int
    fewest: int

    @classmethod
    def load(cls, name: str | None = None) -> Self:
        """The named engine or the fastest.  Raises ImportError, ValueError."""
        native = importlib.import_module("protocol.paillier._native")
        chosen = name or native.engines()[0]
        return cls(chosen, native, *native.radix(chosen))

    def limbs(self, number: int, free: int) -> int:
        """Limbs for `number` and `free` bytes above it."""
        limbs = self.fewest
        while limbs * self.radix // 8 < -(-number.bit_length() // 8) + free:
            limbs += self.step
        return limbs

    def window(self, exponent_bits: int, rows: int) -> int:
        """The width of a table with the least work for `rows` encryptions."""

        def work(window: int) -> float:
            entries = 1 << window
            reading = READ_COST[self.name] * max(1, entries // 16)
            each = rows * (1 + reading) + entries * BUILD_COST[self.name]
            return windows(exponent_bits, window) * each

        return min(range(1, WIDEST[self.name] + 1), key=work)


class SharedKey:
    """A public key's constants, and the operations that it is enough for."""

    def __init__(self, engine: Engine, public: PublicKey) -> None:
        self._native = engine.native
        self.public = public
        n, width = public.n, public.width
        self.square = n * n
        n_limbs = engine.limbs(n, 1)
        limbs = engine.limbs((1 << 8 * width) - 1, 1)
        self.montgomery = (1 << engine.radix * limbs) % self.square
        constants = (n, self.square, self.montgomery, self.montgomery**2 % self.square)
        self._key = self._native.public(
            engine.name, n_limbs, limbs, *(c.to_bytes(width, "little") for c in constants)
        )

    def products(
        self, cts: Bytes, order: npt.NDArray[np.int64], runs: npt.NDArray[np.int64], out: Bytes
    ) -> None:
        """Row i of out: the product of cts[order[j]] for runs[i, 0] ≤ j < runs[i, 1]."""
        self._native.products(self._key, cts, order, runs.reshape(-1), out)

    def multiply(self, a: Bytes, b: Bytes, out: Bytes) -> None:
        self._native.multiply(self._key, a, b, out)

    def power(self, rows: Bytes, exponent: int, out: Bytes) -> None:
        """`exponent` is public and not negative; rows may be narrower than ciphertexts."""
        bits = exponent.bit_length()
        data = exponent.to_bytes(-(-bits // 8), "little")
        self._native.power(self._key, rows, data, bits, out)

    def weighted(self, buckets: Bytes, count: int, out: Bytes) -> None:
        """Row i of out: Π of buckets[i·count + d - 1]^d for d = 1 … count."""
        fix = int(gmpy2.powmod(self.montgomery, count * (count + 1) // 2, self.square))
        data = fix.to_bytes(self.public.width, "little")
        self._native.weighted(self._key, buckets, count, data, out)

    def check(
        self, cts: Bytes, keys: npt.NDArray[np.uint64], prints: Bytes, product: Bytes
    ) -> bool:
        """Whether all are in range.  product: LANES numbers, units exactly if all rows are."""
        return bool(self._native.check(self._key, cts, keys, prints, product))

    def combine(self, terms: list[tuple[Bytes, int]], found: Bytes) -> None:
        """found · Π c^factor, in place."""
        positive = [(c if f > 0 else self.inverse(c), abs(f)) for c, f in terms if f]
        spare = np.empty_like(found)
        for c, factor in positive:
            if factor & (factor - 1):
                self.power(c, factor, spare)
                self.multiply(found, spare, found)
        # Powers of two by Horner: the squarings of the widest shift serve all terms.
        shifts = [(f.bit_length() - 1, c) for c, f in positive if not f & (f - 1)]
        shifts.sort(key=lambda term: -term[0])
        if not shifts:
            return
        held = np.array(shifts[0][1])
        for (shift, _), (following, rows) in zip(shifts, [*shifts[1:], (0, None)], strict=True):
            if shift > following:
                self.power(held, 1 << (shift - following), held)
            if rows is not None:
                self.multiply(held, rows, held)
        self.multiply(found, held, found)

    def inverse(self, rows: Bytes) -> Bytes:
        """Inverses mod n² with a single inversion (Montgomery's trick, by halves).

        Raises ZeroDivisionError if a row shares a factor with n.
        """
        half = len(rows) // 2
        out = np.empty(rows.shape, dtype=np.uint8)
        if not half:
            for at, row in enumerate(rows):  # at most one
                value = gmpy2.mpz.from_bytes(row.tobytes(), "little")
                inverse = gmpy2.invert(value, self.square)
                data = inverse.to_bytes(self.public.width, "little")
                out[at] = np.frombuffer(data, dtype=np.uint8)
            return out
        first, second = rows[:half], rows[half : 2 * half]
        pairs = np.empty((len(rows) - half, rows.shape[1]), dtype=np.uint8)
        self.multiply(first, second, pairs[:half])
        pairs[half:] = rows[2 * half :]
        inverses = self.inverse(pairs)
        self.multiply(inverses[:half], second, out[:half])
        self.multiply(inverses[:half], first, out[half : 2 * half])
        out[2 * half :] = inverses[half:]
        return out

    def units(self, rows: int, random: RandomBytes) -> Bytes:
        """uint8[rows, bits/8], uniform in Z_n*, by rejection."""
        n = self.public.n
        found = uniform(self._native, n, rows, random)
        while rows:
            padded = np.zeros((rows, self.public.width), dtype=np.uint8)
            padded[:, : found.shape[1]] = found
            prints = np.empty((rows, 16), dtype=np.uint8)
            lanes = np.empty((LANES, found.shape[1]), dtype=np.uint8)
            keys = np.zeros(4 * -(-self.public.width // 8), dtype=np.uint64)
            self.check(padded, keys, prints, lanes)
            padded[:] = 0
            if all(gmpy2.gcd(gmpy2.mpz.from_bytes(x.tobytes(), "little"), n) == 1 for x in lanes):
                break
            # Only tiny test keys get here; whoever draws a factor of a real n has broken it.
            for at in range(rows):
                while gmpy2.gcd(gmpy2.mpz.from_bytes(found[at].tobytes(), "little"), n) != 1:
                    found[at] = uniform(self._native, n, 1, random)[0]
        return found


class OwnerKey:
    """A private key's constants and tables.

    random: the operating system's generator; draws the tables' generators.
    """

    def __init__(self, engine: Engine, key: PrivateKey, random: RandomBytes) -> None:
        self._engine, self._native = engine, engine.native
        self._private, self._random = key, random
        self._lock = threading.Lock()  # tables are built by the first call, not by two
        self._seen, self._window = 0, 0
        self._tables: tuple[Any, Any] | None = None
        self._half = engine.limbs(max(key.p, key.q), 2)
        width = 2 * self._half * engine.radix // 8
        rows = [*self._side(key.p, key.q, cross=False), *self._side(key.q, key.p, cross=True)]
        data = b"".join(number.to_bytes(width, "little") for number in rows)
        constants = np.frombuffer(data, dtype=np.uint8).reshape(len(rows), width)
        self._key = self._native.owner(engine.name, self._half, constants)
        self._shared = SharedKey(engine, key.public)

    def _side(self, p: int, q: int, *, cross: bool) -> list[int]:
        """The constants of p in native.h's order; `cross`: the inverses of q and q² too."""
        r1 = 1 << self._engine.radix * self._half
        square, r2 = p * p, r1 * r1
        return [
            p,
            square,
            pow(r2, 3, square),
            r2 % square,
            p - 1,
            pow(p, -1, r1),
            # L((n+1)^(p-1) mod p²) = (p-1)·q = -q mod p.
            pow(-q, -1, p) * r1 % p,
            q * r1 * r1 % p,
            r1 % p,
            pow(q, -1, p) * r1 % p if cross else 0,
            pow(q * q, -1, square) * r2 % square if cross else 0,
        ]

    def expect(self, rows: int) -> None:
        """Room in the tables for `rows` encryptions in all, or as many as were expected before."""
        if not self._private.factored:
            return
        with self._lock:
            self._seen = max(rows, self._seen)
            p, q = self._private.p, self._private.q
            bits = max(p, q).bit_length()
            window = self._engine.window(bits, self._seen)
            if self._tables is not None and window <= self._window:
                return
            factors_p, factors_q = self._private.p_factors, self._private.q_factors
            assert factors_p is not None
            assert factors_q is not None
            self._window = window
            self._tables = (self._table(p, factors_p), self._table(q, factors_q))

    prepare = expect

    def _table(self, prime: int, factors: tuple[int, ...]) -> Any:
        base = FixedBase(prime, factors, self._window, self._random)
        size = -(-prime.bit_length() // 8)
        parts = (np.frombuffer(data, dtype=np.uint8) for data in base.entries(size))
        residues, slopes = (part.reshape(-1, size) for part in parts)
        count = len(residues) >> self._window
        # Each window's product divides by R1, and joining the halves divides by R2 = R1².
        r1 = 1 << self._engine.radix * self._half
        start = pow(r1, count + 2, prime * prime).to_bytes(2 * size, "little")
        return self._native.tables(
            self._engine.name, self._half, self._window, count, residues, slopes, start
        )

    def encrypt(self, plain: Bytes, out: Bytes, random: RandomBytes) -> None:
        """Raises ValueError for a plaintext that is not below the modulus."""
        key, public = self._private, self._private.public
        if not self._native.all_below(plain, public.to_bytes()):
            raise ValueError("a plaintext is not below the modulus")
        if self._tables is None:
            units = self._shared.units(len(plain), random)
            width = public.plaintext_width + 1
            exponents = (
                (public.n % (p * (p - 1))).to_bytes(width, "little") for p in (key.p, key.q)
            )
            self._native.textbook(self._key, *exponents, units, plain, out)
            units[:] = 0
            return
        base_p, base_q = self._tables
        drawn = [uniform(self._native, p - 1, len(plain), random) for p in (key.p, key.q)]
        self._native.encrypt(self._key, base_p, base_q, *drawn, plain, out)
        for exponents_of_one in drawn:
            exponents_of_one[:] = 0

    def decrypt(self, cts: Bytes, out: Bytes) -> None:
        """Raises ProtocolViolation('bad_ciphertext')."""
        if not self._native.decrypt(self._key, cts, out):
            out[:] = 0
            raise ProtocolViolation(
                "bad_ciphertext",
                "a ciphertext shares a factor with the modulus",
                next_step="a party or the coordinator did not keep the protocol; compare versions",
            )


def uniform(native: Any, bound: int, rows: int, random: RandomBytes) -> Bytes:
    """uint8[rows, size] uniform in [0, bound), by rejection."""
    bits = (bound - 1).bit_length()
    size = -(-bound.bit_length() // 8)
    out = np.empty((rows, size), dtype=np.uint8)
    top = 0xFF >> (8 * size - bits) if 8 * size - bits < 8 else 0
    limit, found = bound.to_bytes(size, "little"), 0
    while found < rows:
        # Primes have their top bits set: about one in five is rejected.
        count = (rows - found) * 3 // 2 + 8
        drawn = np.frombuffer(bytearray(random(count * size)), dtype=np.uint8)
        found += native.below(drawn.reshape(count, size), top, limit, out[found:])
    return out
