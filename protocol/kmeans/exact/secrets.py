"""What hides distances from the coordinator: all of it drawn alike by every party from one seed.

Who runs it: every party.  Learns: nobody, anything; the coordinator lacks the seed.
Source: protocols.md section 4 (k-means, vertical, exact).

Per iteration and attempt anew: an order of the rows (a row's position in it is its pseudonym),
and per row an order of the clusters, a factor r, noises e, a shift s and masks.  They come from
SHAKE-256, block by block, so that no array of all masks is ever held.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, localcontext
from functools import cache

import numpy as np
import numpy.typing as npt

from protocol.encoding import length_prefixed
from protocol.kmeans.exact.scale import FACTOR_BITS, LEAST_FACTOR_BITS
from protocol.secret import Secret

Words = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
BLOCK = 1 << 12  # rows at once: a block's distances and masks stay in the cache
_POWER_BITS = 30  # of a table's numbers
_DIGIT = 8  # bits of x that one table reads


@dataclass(frozen=True)
class Secrets:
    """Those of one iteration.  about: binds them to job hash, iteration and attempt."""

    seed: Secret
    about: bytes
    rows: int
    k: int

    def order(self) -> Places:
        """int64[rows]: which row stands at each position, for this iteration only."""
        return np.argsort(self._words("order", 0, self.rows), kind="stable")

    def blocks(self) -> Iterator[tuple[int, int, int]]:
        """(number, first position, end) of each block."""
        for block, start in enumerate(range(0, self.rows, BLOCK)):
            yield block, start, min(start + BLOCK, self.rows)

    def columns(self, block: int, rows: int) -> npt.NDArray[np.int64]:
        """int64[rows, k]: the cluster that stands in each column of each row."""
        draws = self._words("columns", block, rows * self.k).reshape(rows, self.k)
        return np.argsort(draws, axis=1, kind="stable")

    def factors(self, block: int, rows: int) -> Words:
        """uint64[rows]: r = ⌊2^x⌋, x uniform in [8, 22)."""
        return powers_of_two(self._words("factors", block, rows))

    def noises(self, block: int, factors: Words) -> Words:
        """uint64[rows, k]: e, uniform in [0, r); without it the differences of a row would have
        r as a common divisor.  (The remainder's bias is 2^-42.)"""
        draws = self._words("noises", block, len(factors) * self.k).reshape(-1, self.k)
        return np.asarray(draws % factors[:, None])

    def shifts(self, block: int, rows: int) -> Words:
        """uint64[rows]: s, uniform: no column alone says anything."""
        return self._words("shifts", block, rows)

    def mask(self, block: int, rows: int, party: int, parties: int) -> Words:
        """uint64[rows, k] of the party at place `party`; over all parties they sum to 0."""
        if party < parties - 1:
            return self._mask(block, rows, party)
        total = np.zeros((rows, self.k), dtype=np.uint64)
        for other in range(parties - 1):
            total -= self._mask(block, rows, other)
        return total

    def _mask(self, block: int, rows: int, party: int) -> Words:
        return self._words(f"mask {party}", block, rows * self.k).reshape(rows, self.k)

    def _words(self, name: str, block: int, count: int) -> Words:
        start = length_prefixed(
            "assent/kmeans-exact/v1", self.seed.reveal(), self.about, name, block.to_bytes(8, "big")
        )
        return np.frombuffer(hashlib.shake_256(start).digest(8 * count), dtype="<u8")


def powers_of_two(draws: Words) -> Words:
    """⌊2^x⌋ for x uniform in [8, 22), from uniform 64-bit words; in integers throughout, because
    the floats of two machines differ in their last digit and then the factors would."""
    tables = _tables()
    mask = np.uint64((1 << _DIGIT) - 1)
    power = tables[0][(draws >> np.uint64(2 * _DIGIT)) & mask]
    for table, shift in ((tables[1], _DIGIT), (tables[2], 0)):
        power = (power * table[(draws >> np.uint64(shift)) & mask]) >> np.uint64(_POWER_BITS)
    span = np.uint64(FACTOR_BITS - LEAST_FACTOR_BITS)
    whole = np.uint64(LEAST_FACTOR_BITS) + (draws >> np.uint64(3 * _DIGIT)) % span
    return np.asarray(power >> (np.uint64(_POWER_BITS) - whole))


@cache
def _tables() -> tuple[Words, ...]:
    """2^(digit/256), 2^(digit/256²) and 2^(digit/256³) as integers of 31 bits, rounded down."""
    found = []
    with localcontext() as context:
        context.prec = 40
        for place in (1, 2, 3):
            step = Decimal(1) / (1 << (_DIGIT * place))
            powers = [Decimal(2) ** (digit * step) for digit in range(1 << _DIGIT)]
            found.append(np.array([int(p * (1 << _POWER_BITS)) for p in powers], dtype=np.uint64))
    return tuple(found)
