"""Sums of int64 arrays that come out exact, as Python integers, whatever their size.

Who runs it: every party, over its own rows.  Learns: nobody, anything.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
_BLOCK = 512  # numbers below 2^53 in a block sum to less than 2^62
_HALF = 27


def exact_sum(values: Integers) -> int:
    """Σ values, each below 2^53."""
    if len(values) == 0:
        return 0
    return sum(np.add.reduceat(values, np.arange(0, len(values), _BLOCK)).tolist())


def exact_squares(values: Integers) -> int:
    """Σ values², each below 2^53, by halves of 27 bits."""
    high, low = values >> _HALF, values & ((1 << _HALF) - 1)
    squares = exact_sum(high * high) << (2 * _HALF)
    # The mixed term is up to 2^54 in size, so its halves are summed apart.
    mixed = high * low
    upper, lower = mixed >> _HALF, mixed & ((1 << _HALF) - 1)
    crossed = (exact_sum(upper) << _HALF) + exact_sum(lower)
    return squares + (crossed << (_HALF + 1)) + _large_squares(low)


def _large_squares(low: Integers) -> int:
    """Σ low² of numbers below 2^27: squares below 2^54, in two halves."""
    squares = low * low
    return (exact_sum(squares >> _HALF) << _HALF) + exact_sum(squares & ((1 << _HALF) - 1))
