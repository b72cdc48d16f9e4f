"""Zeros made ahead: each is given out once, whoever raises them."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from protocol.paillier.zeros import Zeros


@dataclass
class Counting:
    """Stands in for a key: row i of all that it ever drew is i, and raising changes nothing."""

    public: Any = field(default_factory=lambda: SimpleNamespace(width=2, n=0))
    drawn: int = 0

    def units(self, n: int, random: object) -> np.ndarray:
        rows = np.arange(self.drawn, self.drawn + n)
        self.drawn += n
        return np.stack([rows % 256, rows // 256], axis=1).astype(np.uint8)

    def power(self, rows: np.ndarray, exponent: int, out: np.ndarray) -> None:
        out[:] = rows


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_no_zero_is_given_out_twice(threads: int) -> None:
    key = Counting()
    zeros = Zeros(key, threads, lambda n, work, progress: work(0, n))  # type: ignore[arg-type]
    given = np.concatenate(
        [zeros.take(n, later, bytes) for n, later in [(3, 20), (3, 17), (0, 9), (9, 40), (1, 0)]]
    ).astype(int)
    numbers = (given[:, 0] + 256 * given[:, 1]).tolist()
    assert numbers == list(range(16))
    assert key.drawn >= 16


def test_another_source_of_randomness_gets_none_that_an_earlier_one_drew() -> None:
    key = Counting()
    zeros = Zeros(key, 1, lambda n, work, progress: work(0, n))  # type: ignore[arg-type]
    zeros.take(1, 7, bytes)
    before = key.drawn
    (first,) = zeros.take(1, 0, bytearray)
    assert first[0] == before == 8
