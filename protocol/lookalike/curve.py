"""The reach-lift curve: what share of the seeds the best-scored part of B's people holds.

Who runs it: B ranks its own people into bands of equal size; A turns the opened counts of its
seeds per band into the curve, after the release rules.
Learns: A the curve, under B's noise; B nothing more.
Source: protocols.md section 4 (lookalike: the curve is another cross-tab and pays), section 5.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Point:
    """reach: share of B's people, best scores first.  seeds: among them; share: of all seeds.

    lift = share ÷ reach: how many times as many seeds as among as many people taken blindly.
    """

    reach: float
    seeds: float
    share: float

    @property
    def lift(self) -> float:
        return self.share / self.reach


def bands_of(scores: npt.NDArray[np.float64], bands: int) -> npt.NDArray[np.int32]:
    """int32[people]: 0 for the best-scored band; sizes differ by one at most, equal scores are
    told apart by the row."""
    found = np.empty(len(scores), dtype=np.int32)
    order = np.argsort(-scores, kind="stable")
    found[order] = np.arange(len(scores), dtype=np.int64) * bands // max(1, len(scores))
    return found


def curve(counts: Sequence[float], min_cohort: int) -> tuple[Point, ...]:
    """The points of the curve, the last one at reach 1; empty where nothing may leave.

    counts: seeds per band, noisy, best band first.  A band under min_cohort is put together with
    the next ones, so that every part reaches it and so does the rest of all seeds (section 5: a
    function of noisy counts, so it says nothing more than they do).  min_cohort 1 withholds
    nothing.
    """
    parts = _parts(counts, min_cohort)
    total = sum(count for _, count in parts)
    if total <= 0 or total < min_cohort or (len(parts) < 2 and min_cohort > 1):
        return ()
    points, so_far = [], 0.0
    for end, count in parts:
        so_far += count
        points.append(Point(end / len(counts), so_far, so_far / total))
    return tuple(points)


def _parts(counts: Sequence[float], min_cohort: int) -> list[tuple[int, float]]:
    """(bands up to its end, seeds in it) of every part of the curve."""
    if min_cohort == 1:
        return list(enumerate(counts, start=1))
    parts: list[tuple[int, float]] = []
    held = 0.0
    for end, count in enumerate(counts, start=1):
        held += count
        if held >= min_cohort or end == len(counts):
            parts.append((end, held))
            held = 0.0
    while len(parts) > 1 and parts[-1][1] < min_cohort:  # what is left over goes with the last
        (end, left), (_, before) = parts.pop(), parts.pop()
        parts.append((end, before + left))
    return parts


def area(points: Sequence[Point]) -> float | None:
    """Under the curve: the chance that a seed scores better than one of B's people (AUC).

    Trapezoids between the points, so a little low for few bands.  None without a curve.
    """
    if not points:
        return None
    x = [0.0, *(point.reach for point in points)]
    y = [0.0, *(point.share for point in points)]
    return float(np.trapezoid(y, x))


def shown(points: Sequence[Point]) -> list[dict[str, float]]:
    """As result.json has it."""
    return [
        {"reach": round(p.reach, 6), "seeds": p.seeds, "share": p.share, "lift": p.lift}
        for p in points
    ]
