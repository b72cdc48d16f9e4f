"""A public grid over a number's bounds, and quantiles of a histogram on it.

Who runs it: the requester chooses the next grid from totals, every party counts on it.
Learns: nobody, anything, from the first grid, which follows from bounds alone.
Source: protocols.md section 4 (histograms on a public grid).

The first grid has cells of one unit where the range is small; over a wide one their width
doubles as they go away from the lower bound, so that it stays a small share of the value (the
idea of a high dynamic range histogram).  Without noise a quantile is found to the last unit by
asking again with the cells cut that hold one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]


def first_breaks(lo: int, hi: int, cells: int) -> list[int]:
    """Ascending lower ends of at most about `cells` cells over [lo, hi], and hi + 1 at the end."""
    span = hi - lo + 1
    if span <= cells:
        return list(range(lo, hi + 2))
    # 2^(s-1) cells for each doubling above 2^s, and 2^s unit cells below it.
    s = 1
    while (1 << (s + 1)) + (span.bit_length() - s) * (1 << s) <= cells:
        s += 1
    found = list(range(0, min(span, 1 << s)))
    start = 1 << s
    while start < span:
        step = max(1, start >> (s - 1))
        found += range(start, min(2 * start, span), step)
        start *= 2
    return [lo + offset for offset in found] + [hi + 1]


def cut(breaks: Sequence[int], chosen: Iterable[int], cells: int) -> list[int]:
    """The next grid: each chosen cell (by position) in up to `cells` parts, the rest joined."""
    points = {breaks[0], breaks[-1]}
    for cell in set(chosen):
        low, high = breaks[cell], breaks[cell + 1]
        step = max(1, -(-(high - low) // cells))
        points |= set(range(low, high, step)) | {high}
    return sorted(points)


def count(breaks: Sequence[int], values: Integers) -> list[int]:
    """Values per cell."""
    at = np.searchsorted(np.array(breaks, dtype=np.int64), values, side="right") - 1
    return [int(n) for n in np.bincount(at, minlength=len(breaks) - 1)]


def quantile_cells(counts: Sequence[int], shares: Sequence[tuple[int, int]]) -> list[int]:
    """Per share (numerator, denominator) the first cell up to which that share of people lies.

    Noisy counts may be negative: the running total only ever rises.
    """
    running = np.maximum.accumulate(np.cumsum(np.array(counts, dtype=object)))
    total = running[-1]
    found = []
    for top, bottom in shares:
        reached = np.array([value * bottom >= top * total for value in running], dtype=np.bool_)
        found.append(int(np.argmax(reached)))
    return found
