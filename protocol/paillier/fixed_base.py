"""Uniform n-th residues modulo p² from tables: what owner encryption is made of.

Who runs it: the key's owner, for one of its two primes at a time.
Learns: nobody anything; the tables are key material and stay in the worker that built them.
Source: protocols.md section 0, "Owner encryption"; Brickell, Gordon, McCurley, Wilson 1992
for the tables.

The residues r^n mod p² are the (p-1)-th roots of one, a cyclic group; ω = g^e with a
generator g = x^p mod p² and e uniform in [0, p-1) is uniform in it, which is what r uniform
gives (r → r^q is a bijection mod p, because gcd(n, φ(n)) = 1).

Half-size tables.  Write a root as ω = b·(1 + p·λ) mod p² with b = ω mod p.  Then

    ω₁·ω₂·… = (b₁·b₂·… mod p²) · (1 + p·(λ₁ + λ₂ + …))

so one multiplication by a number of |p| bits, not |p²|, and one addition per window are
enough: half the time of a table of ω's.  Table lookups depend on the secret exponents; who
can watch this process's cache can watch its memory too.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import gmpy2
import numpy as np

RandomBytes = Callable[[int], bytes]
Big = Any  # gmpy2.mpz, for which there are no types

# Measured at 2048 and 3072 bits: from 9 bits on the tables of one pass leave the second-level
# cache, and waiting for memory costs what the saved multiplications win.
MAX_WINDOW = 8
BUILD_COST = 2.1  # building an entry takes this many times a lookup's multiplication
_ABREAST = 4  # windows per pass over the rows: fewer lists, and rows stay in cache


def windows(exponent_bits: int, window: int) -> int:
    return -(-exponent_bits // window)


def work(exponent_bits: int, window: int, rows: float) -> float:
    """Multiplications for `rows` encryptions, building the table included."""
    return windows(exponent_bits, window) * (rows + BUILD_COST * (1 << window))


def best_window(exponent_bits: int, rows: float) -> int:
    """The width with the least work for `rows` encryptions in this worker."""
    return min(range(1, MAX_WINDOW + 1), key=lambda window: work(exponent_bits, window, rows))


@dataclass(frozen=True)
class Root:
    """ω mod p² as (b, λ), and 1/b mod p to step on without an inversion."""

    b: Big
    slope: Big
    inverse: Big


def generator(prime: Big, factors: tuple[int, ...], random: RandomBytes) -> Root:
    """x^p mod p² for a random x that generates the group mod p."""
    p = gmpy2.mpz(prime)
    size = -(-p.bit_length() // 8)
    while True:
        x = gmpy2.mpz.from_bytes(random(size), "little") & ((1 << p.bit_length()) - 1)
        if 1 < x < p and all(gmpy2.powmod(x, (p - 1) // f, p) != 1 for f in factors):
            break
    omega = gmpy2.powmod(x, p, p * p)
    b = omega % p
    inverse = gmpy2.invert(b, p)
    return Root(b, (omega - b) // p * inverse % p, inverse)


class FixedBase:
    """Tables of one prime: entry d of window j is g^(d·2^(window·j)).

    random: the operating system's generator; draws the generator and every exponent.
    """

    def __init__(
        self, prime: Big, factors: tuple[int, ...], window: int, random: RandomBytes
    ) -> None:
        self._p = p = gmpy2.mpz(prime)
        self._square = p * p
        self._random = random
        self.window = window
        self._order_bits = (p - 2).bit_length()
        self._residues: list[list[Big]] = []
        self._slopes: list[list[Big]] = []
        base = generator(p, factors, random)
        count = windows(self._order_bits, window)
        for _ in range(count):
            base = self._add_window(base)
        # The last pass is filled up with windows whose digits are all zero.
        for _ in range(-count % _ABREAST):
            self._residues.append([gmpy2.mpz(1)])
            self._slopes.append([gmpy2.mpz(0)])

    def _add_window(self, base: Root) -> Root:
        """Fill one window with the powers of `base`; the next one is the next window's base."""
        p, step, slope, back = self._p, base.b, base.slope, base.inverse
        divide = gmpy2.f_divmod
        b, lam, inverse = gmpy2.mpz(1), gmpy2.mpz(0), gmpy2.mpz(1)
        residues, slopes = [b], [lam]
        for _ in range(1 << self.window):
            # b·step = b' + p·carry, and b' + p·carry = b'·(1 + p·carry/b') mod p².
            carry, b = divide(b * step, p)
            inverse = inverse * back % p
            lam = (lam + slope + carry * inverse) % p
            residues.append(b)
            slopes.append(lam)
        residues.pop()
        slopes.pop()
        self._residues.append(residues)
        self._slopes.append(slopes)
        return Root(b, lam, inverse)

    def entries(self, width: int) -> tuple[bytes, bytes]:
        """Residues and slopes of every window in turn, `width` little-endian bytes each."""
        count = windows(self._order_bits, self.window)
        residues, slopes = (
            b"".join(
                entry.to_bytes(width, "little") for window in table[:count] for entry in window
            )
            for table in (self._residues, self._slopes)
        )
        return residues, slopes

    def draw(self, rows: int) -> tuple[list[Big], list[Big]]:
        """(S, Λ) of `rows` fresh uniform roots: each root is S·(1 + p·Λ) mod p²."""
        return self.power(self.exponents(rows), rows)

    def exponents(self, rows: int) -> bytes:
        """`rows` exponents uniform in [0, p-1) by rejection, little-endian, fixed width."""
        size = -(-self._order_bits // 8)
        spare = 8 * size - self._order_bits
        order, read = self._p - 1, gmpy2.mpz.from_bytes
        found: list[bytes] = []
        while len(found) < rows:
            # p has its top bits set: about one in five is rejected.
            count = (rows - len(found)) * 3 // 2 + 8
            drawn = np.frombuffer(self._random(count * size), dtype=np.uint8).reshape(count, size)
            masked = drawn.copy()
            masked[:, -1] &= 0xFF >> spare
            data = masked.tobytes()
            pieces = [data[at : at + size] for at in range(0, len(data), size)]
            found += [piece for piece in pieces if read(piece, "little") < order]
        return b"".join(found[:rows])

    def power(self, exponents: bytes, rows: int) -> tuple[list[Big], list[Big]]:
        """(S, Λ) of g^e for each exponent, a few windows at a time so that tables stay in cache."""
        digits = self._digits(exponents, rows)
        m = self._square
        products: list[Big] = [gmpy2.mpz(1)] * rows
        sums: list[Big] = [gmpy2.mpz(0)] * rows
        for at in range(0, len(digits), _ABREAST):
            r0, r1, r2, r3 = self._residues[at : at + _ABREAST]
            l0, l1, l2, l3 = self._slopes[at : at + _ABREAST]
            columns = digits[at : at + _ABREAST]
            products = [
                s * r0[a] % m * r1[b] % m * r2[c] % m * r3[d] % m
                for s, a, b, c, d in zip(products, *columns, strict=True)
            ]
            sums = [
                s + (l0[a] + l1[b] + l2[c] + l3[d])
                for s, a, b, c, d in zip(sums, *columns, strict=True)
            ]
        return products, sums

    def _digits(self, exponents: bytes, rows: int) -> list[list[int]]:
        """Per window the digit of every row."""
        count = len(self._residues)
        raw = np.frombuffer(exponents, dtype=np.uint8).reshape(rows, -1)
        bits = np.unpackbits(raw, axis=1, bitorder="little")[:, : count * self.window]
        padded = np.zeros((rows, count * self.window), dtype=np.int32)
        padded[:, : bits.shape[1]] = bits
        weights = np.int32(1) << np.arange(self.window, dtype=np.int32)
        values = padded.reshape(rows, count, self.window) @ weights
        columns: list[list[int]] = values.T.tolist()
        return columns
