"""A Paillier kernel by the book, row by row: slow, small keys, insecure; for tests only.

The protocol's own kernel is fast because of tables, CRT and buckets; this one has none, so a
fault that both share is a fault of the protocol.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from dataclasses import dataclass

import gmpy2
import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation
from tests.protocol.paillier.rows import array, numbers

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class TextbookPublic:
    n: int

    @property
    def bits(self) -> int:
        return self.n.bit_length()

    @property
    def width(self) -> int:
        return 2 * self.bits // 8


@dataclass(frozen=True)
class InsecureTextbookKey:
    p: int
    q: int

    @property
    def public(self) -> TextbookPublic:
        return TextbookPublic(self.p * self.q)


def insecure_key(bits: int) -> InsecureTextbookKey:
    while True:
        p, q = (_prime(bits // 2) for _ in range(2))
        if p != q and math.gcd(p * q, (p - 1) * (q - 1)) == 1:
            return InsecureTextbookKey(p, q)


def _prime(bits: int) -> int:
    top = 3 << (bits - 2)
    while True:
        start = int.from_bytes(os.urandom(bits // 8), "little") | top
        found = int(gmpy2.next_prime(start))
        if found.bit_length() == bits:
            return found


class TextbookKernel:
    def prepare(self, key, rows):  # type: ignore[no-untyped-def]
        pass

    def encrypt(self, key: InsecureTextbookKey, plaintexts: Bytes) -> Bytes:
        return self.insecure_encrypt_ints(key.public, numbers(plaintexts))

    def insecure_encrypt_ints(self, public: TextbookPublic, plain: list[int]) -> Bytes:
        n = public.n
        found = []
        for m in plain:
            r = int.from_bytes(os.urandom(public.bits // 8 + 8), "little") % n
            found.append((1 + m * n) * int(gmpy2.powmod(r, n, n * n)) % (n * n))
        return array(found, public.width)

    def decrypt(self, key: InsecureTextbookKey, cts: Bytes) -> Bytes:
        n, phi = key.p * key.q, (key.p - 1) * (key.q - 1)
        inverse = pow(phi, -1, n)
        plain = [(int(gmpy2.powmod(c, phi, n * n)) - 1) // n * inverse % n for c in numbers(cts)]
        return array(plain, key.public.bits // 8)

    def check(self, public: TextbookPublic, cts: Bytes, progress: object = None) -> None:
        values = numbers(cts)
        good = all(0 < c < public.n**2 and math.gcd(c, public.n) == 1 for c in values)
        if not good or len(set(values)) != len(values):
            raise ProtocolViolation("bad_ciphertext", "a ciphertext is invalid or repeated")

    def sum_by_group(
        self,
        public: TextbookPublic,
        cts: Bytes,
        groups: npt.NDArray[np.int32],
        n_groups: int,
        progress: object = None,
    ) -> Bytes:
        ones = np.ones(len(groups), dtype=np.uint64)
        return self.dot_by_group(public, cts, groups, n_groups, ones, 1)

    def dot_by_group(
        self,
        public: TextbookPublic,
        cts: Bytes,
        groups: npt.NDArray[np.int32],
        n_groups: int,
        weights: npt.NDArray[np.uint64],
        weight_bits: int,
        progress: object = None,
    ) -> Bytes:
        assert weights.dtype == np.uint64
        square = public.n**2
        found = [1] * n_groups
        for c, group, weight in zip(numbers(cts), groups.tolist(), weights.tolist(), strict=True):
            if group >= 0:
                assert weight < 1 << weight_bits
                found[group] = found[group] * int(gmpy2.powmod(c, weight, square)) % square
        return array(found, public.width)

    def linear(
        self, public: TextbookPublic, terms: list[tuple[Bytes, int]], plaintext: list[int]
    ) -> Bytes:
        square = public.n**2
        found = [(1 + m * public.n) % square for m in plaintext]
        for cts, factor in terms:
            for at, c in enumerate(numbers(cts)):
                found[at] = found[at] * int(gmpy2.powmod(c, factor, square)) % square
        return array(found, public.width)

    def rerandomise(
        self, public: TextbookPublic, cts: Bytes, random: Callable[[int], bytes]
    ) -> Bytes:
        n, found = public.n, []
        for c in numbers(cts):
            while True:
                r = int.from_bytes(random(public.bits // 8), "little")
                if 0 < r < n and math.gcd(r, n) == 1:
                    break
            found.append(c * int(gmpy2.powmod(r, n, n * n)) % (n * n))
        return array(found, public.width)
