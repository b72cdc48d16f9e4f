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
CHUNK = 1 << 15


@dataclass(frozen=True)
class Points:
    """features: per feature int64[n], centred on the middle of its bounds; unit: what one step of
    each is in the table's unit; weight: of each squared difference; reach: the largest |value|."""

    features: Sequence[npt.NDArray[np.int64]]
    unit: Floats
    weight: Floats
    reach: int

    def __len__(self) -> int:
        return len(self.features[0])

    def chunks(self) -> Iterator[Floats]:
        """float64[rows, d] of integers whose sums over the chunk are exact in float64."""
        size = max(1, min(CHUNK, (1 << 52) // max(1, self.reach)))
        for start in range(0, len(self), size):
            yield np.stack([f[start : start + size] for f in self.features], axis=1).astype(float)


def distances(rows: Floats, centres: Floats, points: Points) -> Floats:
    """float64[rows, k]: weighted squared distance, less what all centres share.

    centres: in the rows' integer units, not rounded.
    """
    scale = points.unit * np.sqrt(points.weight)
    scaled = centres * scale
    own = np.einsum("kd,kd->k", scaled, scaled)
    return np.asarray(own - 2.0 * (rows @ (scaled * scale).T))


def labels(points: Points, centres: Floats) -> npt.NDArray[np.int32]:
    """int32[n]: the nearest centre of each row; a tie goes to the first."""
    found = [distances(rows, centres, points).argmin(axis=1) for rows in points.chunks()]
    return np.concatenate([*found, np.zeros(0, np.int64)]).astype(np.int32)


@dataclass(frozen=True)
class Step:
    """counts: k integers; sums: k·d integers, row by row."""

    counts: list[int]
    sums: list[int]


def step(points: Points, centres: Floats) -> Step:
    """Exact counts and sums of the rows nearest to each centre."""
    k, d = centres.shape
    counts = np.zeros(k, dtype=np.int64)
    sums = [0] * (k * d)
    for rows in points.chunks():
        near = distances(rows, centres, points).argmin(axis=1)
        hot = np.zeros((len(rows), k))
        hot[np.arange(len(rows)), near] = 1.0
        counts += np.bincount(near, minlength=k)
        part = (hot.T @ rows).ravel().tolist()
        sums = [total + int(value) for total, value in zip(sums, part, strict=True)]
    return Step([int(count) for count in counts], sums)


def closest(points: Points, centres: Floats) -> tuple[list[int], Floats]:
    """People per centre, and each row's weighted squared distance to its own."""
    k = len(centres)
    scale = points.unit * np.sqrt(points.weight)
    counts = np.zeros(k, dtype=np.int64)
    found = []
    for rows in points.chunks():
        near = distances(rows, centres, points).argmin(axis=1)
        counts += np.bincount(near, minlength=k)
        gap = (rows - centres[near]) * scale
        found.append(np.einsum("nd,nd->n", gap, gap))
    return [int(count) for count in counts], np.concatenate([*found, np.zeros(0)])
