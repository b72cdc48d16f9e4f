"""A party's rows as k-means sees them, and what makes a centre near.

Who runs it: every party.  Learns: nobody, anything.
Source: protocols.md section 4 (k-means).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Points:
    """A party's rows as columns.

    features: per feature int64[n].  middle: what is subtracted from each, so that numbers are
    small.  unit: what one step of each is in the table's unit.  weight: of each squared
    difference.  reach: the largest |feature - middle|.
    """

    features: Sequence[npt.NDArray[np.int64]]
    middle: Sequence[int]
    unit: Floats
    weight: Floats
    reach: int

    def __len__(self) -> int:
        return len(self.features[0])

    @property
    def scale(self) -> Floats:
        """What a step of each feature adds to a weighted distance."""
        return np.asarray(self.unit * np.sqrt(self.weight))

    def floats(self, start: int, end: int) -> Floats:
        """float64[d, end - start]: the rows around the middle, exactly."""
        rows = np.empty((len(self.features), end - start))
        for j, (feature, middle) in enumerate(zip(self.features, self.middle, strict=True)):
            np.subtract(feature[start:end], middle, out=rows[j])
        return rows


@dataclass(frozen=True)
class Scores:
    """A row's score at a centre is starts[c] + Σ slopes[c, j]·row[j], the smallest the nearest:
    the squared distance without the length of the row, which all centres share.

    slopes: float64[k, d]; starts: float64[k].
    """

    slopes: Floats
    starts: Floats

    @classmethod
    def of(cls, centres: Floats, scale: Floats) -> Scores:
        """centres: float64[k, d] in the rows' integer steps, not rounded."""
        scaled = centres * scale
        slopes = np.ascontiguousarray(scaled * (-2.0 * scale))
        return cls(slopes, np.einsum("kd,kd->k", scaled, scaled))

    def rounding(self, reach: int) -> float:
        """If one score of a row is smaller than another by more than this, then it is however
        products are summed and rounded.

        (d + 1)·eps/2·largest bounds the rounding of a score (Higham 2002, section 3.1); there
        are four of them, two in each way to sum; and twice that to be safe.
        """
        largest = np.abs(self.starts) + np.abs(self.slopes).sum(axis=1) * reach
        eps = float(np.finfo(np.float64).eps)
        return float(4 * (self.slopes.shape[1] + 2) * eps * largest.max())
