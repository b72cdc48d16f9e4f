"""The public grids of noisy histograms for LTV, and what stands for a cell.

Who runs it: every party counts on them, the requester fits over them.
Learns: nobody, anything: they follow from bounds.
Source: protocols.md section 4 (noise on: the fit is post-processing).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from protocol.ltv.bg_nbd import History
from protocol.ltv.gamma_gamma import Spending

Floats = npt.NDArray[np.float64]
# Lower ends of the bins of x >= 1; people are few in the last ones, and so are the bins.
PURCHASES = (1, 2, 3, 4, 6, 9, 14, 24)
# Lower ends of the bins of t/T: the fit hangs on them more than on T itself.
RECENCIES = (0.0, 0.1, 0.25, 0.4, 0.55, 0.7, 0.8, 0.88, 0.95)
AGES, AMOUNTS = 4, 12
_STANDS_AT = 0.35  # of a bin of purchases: most people are near its lower end


def _purchases(last: float) -> Floats:
    ends = [*PURCHASES[1:], max(last, PURCHASES[-1] + 1)]
    return np.array(
        [low + _STANDS_AT * (end - 1 - low) for low, end in zip(PURCHASES, ends, strict=True)]
    )


def _bin(x: Floats) -> npt.NDArray[np.int64]:
    """Of x >= 1, by its lower end."""
    return np.searchsorted(np.array(PURCHASES), x, side="right") - 1


@dataclass(frozen=True)
class HistoryGrid:
    """(frequency × recency × T): for each T, first the people with x = 0, then bins of x × t/T.

    lowest, longest: public bounds of T in the model's unit; most: of x.
    """

    lowest: float
    longest: float
    most: float

    @property
    def _per_age(self) -> int:
        return 1 + len(PURCHASES) * len(RECENCIES)

    @property
    def cells(self) -> int:
        return AGES * self._per_age

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """int64[cells]: 0 for nobody who came back, else 1 + the bin of purchases."""
        bins = 1 + np.repeat(np.arange(len(PURCHASES)), len(RECENCIES))
        return np.tile(np.concatenate([[0], bins]), AGES)

    def count(self, data: History) -> list[int]:
        span = max(self.longest - self.lowest, 1e-12)
        age = np.clip(((data.age - self.lowest) / span * AGES).astype(np.int64), 0, AGES - 1)
        share = np.divide(data.t, data.age, out=np.zeros_like(data.t), where=data.age > 0)
        recency = np.searchsorted(np.array(RECENCIES), share, side="right") - 1
        again = 1 + _bin(np.maximum(data.x, 1)) * len(RECENCIES) + recency
        code = age * self._per_age + np.where(data.x > 0, again, 0)
        return [int(n) for n in np.bincount(code, minlength=self.cells)]

    @cached_property
    def _stand_ins(self) -> tuple[Floats, Floats, Floats]:
        ages = self.lowest + (np.arange(AGES) + 0.5) / AGES * (self.longest - self.lowest)
        middles = (np.array(RECENCIES) + np.array([*RECENCIES[1:], 1.0])) / 2
        shares = np.tile(middles, len(PURCHASES))
        x = np.concatenate([[0.0], np.repeat(_purchases(self.most), len(RECENCIES))])
        share = np.concatenate([[0.0], shares])
        age = np.repeat(ages, self._per_age)
        return np.tile(x, AGES), np.tile(share, AGES) * age, age

    def history(self, weight: Floats) -> History:
        """The histogram as people: one for each cell, as many times as was counted."""
        x, t, age = self._stand_ins
        return History(x, t, age, weight)


@dataclass(frozen=True)
class SpendingGrid:
    """(frequency × mean value), the value in steps of equal ratio.

    least, largest: the ends of the steps; what lies outside counts at the nearest.
    """

    least: float
    largest: float
    most: float

    @property
    def cells(self) -> int:
        return len(PURCHASES) * AMOUNTS

    @property
    def groups(self) -> npt.NDArray[np.int64]:
        """int64[cells]: the bin of purchases."""
        return np.repeat(np.arange(len(PURCHASES)), AMOUNTS)

    def count(self, data: Spending) -> list[int]:
        ratio = np.log(self.largest / self.least)
        step = (np.log(np.maximum(data.m, self.least) / self.least) / ratio * AMOUNTS).astype(int)
        code = _bin(data.x) * AMOUNTS + np.clip(step, 0, AMOUNTS - 1)
        return [int(n) for n in np.bincount(code, minlength=self.cells)]

    def spending(self, weight: Floats) -> Spending:
        steps = (np.arange(AMOUNTS) + 0.5) / AMOUNTS
        value = self.least * (self.largest / self.least) ** steps
        x = np.repeat(_purchases(self.most), AMOUNTS)
        return Spending(x, np.tile(value, len(PURCHASES)), weight)


def denoised(counts: list[int], groups: npt.NDArray[np.int64], sigma: float) -> Floats:
    """Counts without what is likely noise only, as weights that are not negative.

    groups: per cell the bin of purchases that it belongs to.  A cell under 2σ is empty; the rest
    of its group keep the group's total, which is known better than any cell: else the few people
    with many purchases, each alone in a cell, would be lost, and with them what the fit hangs on.
    """
    noisy = np.array(counts, dtype=float)
    if sigma == 0:
        return noisy
    kept = np.where(noisy >= 2 * sigma, noisy, 0.0)
    for group in np.unique(groups):
        here = groups == group
        total = float(noisy[here].sum())
        if total < 2 * sigma * np.sqrt(here.sum()):
            total = float(kept[here].sum())  # not more than noise: what stands out stays
        elif not kept[here].any():
            kept[here] = 1.0
        if (mass := kept[here].sum()) > 0:
            kept[here] *= total / mass
    return kept
