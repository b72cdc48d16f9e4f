"""A seeded exact discrete Gaussian (Canonne, Kamath, Steinke 2020, algorithms 1 to 3).

For tests only: noise that can be repeated is no protection.  Slow and plain on purpose; all
arithmetic is in integers and fractions.
"""

from __future__ import annotations

import math
import random
import threading
from collections import Counter
from fractions import Fraction

import numpy as np
import numpy.typing as npt

from protocol.release.noise import NoiseScale


class SeededNoise:
    """A `NoiseSource` whose samples follow from `seed`.

    Parties of a test share one source and ask in any order, from several threads.  Each question
    draws from a stream of its own, named by the scale, the length and how often they were asked
    before: whoever comes first, the samples of a round are the same set, so their sum is too.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._asked: Counter[tuple[int, int]] = Counter()
        self._lock = threading.Lock()

    def sample(self, scale: NoiseScale, n: int) -> npt.NDArray[np.int64]:
        question = (scale.sigma_micro, n)
        with self._lock:
            time = self._asked[question]
            self._asked[question] += 1
        stream = _Stream(random.Random(f"{self._seed}/{question}/{time}"))
        variance = Fraction(scale.sigma_micro, 10**6) ** 2
        return np.array([stream.gaussian(variance) for _ in range(n)], dtype=np.int64)


class _Stream:
    def __init__(self, source: random.Random) -> None:
        self._random = source

    def _bernoulli_exp(self, gamma: Fraction) -> bool:
        """True with probability exp(-gamma)."""
        while gamma > 1:
            if not self._bernoulli_exp(Fraction(1)):
                return False
            gamma -= 1
        count = 1
        while self._random.randrange(gamma.denominator * count) < gamma.numerator:
            count += 1
        return count % 2 == 1

    def _laplace(self, scale: int) -> int:
        while True:
            unit = self._random.randrange(scale)
            if not self._bernoulli_exp(Fraction(unit, scale)):
                continue
            wholes = 0
            while self._bernoulli_exp(Fraction(1)):
                wholes += 1
            magnitude = unit + scale * wholes
            negative = self._random.random() < 0.5
            if not (negative and magnitude == 0):
                return -magnitude if negative else magnitude

    def gaussian(self, variance: Fraction) -> int:
        scale = math.isqrt(int(variance)) + 1
        while True:
            candidate = self._laplace(scale)
            gap = abs(candidate) - variance / scale
            if self._bernoulli_exp(gap * gap / (2 * variance)):
                return candidate
