"""One Lloyd step over a party's own rows: nearest centres, exact sums, inertia.

Who runs it: every party.  Learns: nobody, anything.
Source: protocols.md section 4 (k-means, horizontal); Lloyd 1982.

Rows are integers in the common fixed-point unit, read around the middle of the bounds; distances
are in the units of the table (times a weight per feature), so that labels are those of a plain
k-means on the pooled table.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int32]
# People at once: they stay in the cache, and are too few for the linear algebra's own threads,
# which wait for each other.  Threads over chunks are slower than one: each call is so short that
# they wait for the interpreter (a third of a million people: 35 ms with one, 46 ms with two).
CHUNK = 1 << 12


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

    def chunks(self) -> Iterator[Floats]:
        """float64[d, people] of integers whose sums over the chunk are exact in float64."""
        size = max(1, min(CHUNK, (1 << 52) // max(1, self.reach)))
        for start in range(0, len(self), size):
            end = min(start + size, len(self))
            rows = np.empty((len(self.features), end - start))
            for j, (feature, middle) in enumerate(zip(self.features, self.middle, strict=True)):
                np.subtract(feature[start:end], middle, out=rows[j])
            yield rows


def nearest(rows: Floats, centres: Floats, scale: Floats) -> Labels:
    """int32[people]: the nearest centre of each; a tie goes to the first.

    centres: float64[k, d] in the rows' integer units, not rounded.
    """
    scaled = centres * scale
    # What all centres share, the length of the row, is left out.
    gaps = (scaled * (-2.0 * scale)) @ rows
    gaps += np.einsum("kd,kd->k", scaled, scaled)[:, None]
    found, best = np.zeros(rows.shape[1], dtype=np.int32), gaps[0]
    # Over centres, not people: numpy's argmin along the short axis is several times slower.
    for c in range(1, len(gaps)):
        np.copyto(found, c, where=gaps[c] < best)
        np.minimum(best, gaps[c], out=best)
    return found


def labels(points: Points, centres: Floats) -> Labels:
    """int32[n]."""
    found = [nearest(rows, centres, points.scale) for rows in points.chunks()]
    return np.concatenate([*found, np.zeros(0, np.int32)])


@dataclass(frozen=True)
class Step:
    """counts: k integers; sums: k·d integers, row by row."""

    counts: list[int]
    sums: list[int]


def step(points: Points, centres: Floats) -> Step:
    """Exact counts and sums of the rows nearest to each centre."""
    k, d = centres.shape
    numbers = np.arange(k, dtype=np.int32)[:, None]
    counts, sums = np.zeros(k, dtype=np.int64), [0] * (k * d)
    for rows in points.chunks():
        belongs = (numbers == nearest(rows, centres, points.scale)).astype(np.float64)
        counts += belongs.sum(axis=1).astype(np.int64)
        part = (belongs @ rows.T).ravel().tolist()
        sums = [total + int(value) for total, value in zip(sums, part, strict=True)]
    return Step(counts.tolist(), sums)


def closest(points: Points, centres: Floats) -> tuple[list[int], Floats]:
    """People per centre, and each row's weighted squared distance to its own."""
    k = len(centres)
    counts, found = np.zeros(k, dtype=np.int64), [np.zeros(0)]
    for rows in points.chunks():
        near = nearest(rows, centres, points.scale)
        counts += np.bincount(near, minlength=k)
        gap = (rows - centres.T[:, near]) * points.scale[:, None]
        found.append(np.einsum("dn,dn->n", gap, gap))
    return counts.tolist(), np.concatenate(found)
