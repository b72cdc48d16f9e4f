"""One Lloyd step over a party's own rows: nearest centres, exact sums, inertia.

Who runs it: every party.  Learns: nobody, anything.
Source: protocols.md section 4 (k-means, horizontal); Lloyd 1982; docs/adr/0014-native-lloyd.md.

Rows are integers in the common fixed-point unit, read around the middle of the bounds; distances
are in the units of the table (times a weight per feature), so that labels are those of a plain
k-means on the pooled table.  Two arithmetics do the same: C where it is built, numpy otherwise.
A score is defined with its rounding, of every product and every sum in the order of the features,
so they give the same labels, also where two centres are nearly equally far.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np

from protocol.encoding import chunk_ranges
from protocol.errors import BadInput
from protocol.kmeans.native_step import Native
from protocol.kmeans.points import Floats, Labels, Points, Scores

VARIABLE = "ASSENT_LLOYD"
NAMES = ("avx512", "avx2", "portable", "numpy")  # fastest first
# People at once in numpy: they stay in the cache, and are too few for the linear algebra's own
# threads, which wait for each other.
CHUNK = 1 << 12
LEAST = 1 << 14  # people per thread: with fewer, starting it takes longer than it saves
T = TypeVar("T")


class Arithmetic(Protocol):
    """Rows start to end of the points; what `takes` does not take goes to numpy.

    sums: per centre of k, row by row, the number of its rows and the d sums of them.
    gaps: each row's weighted squared distance to its own centre.
    """

    @property
    def name(self) -> str: ...
    @property
    def threads(self) -> int: ...
    def takes(self, points: Points) -> bool: ...
    def labels(self, points: Points, scores: Scores, start: int, end: int) -> Labels: ...
    def sums(self, points: Points, scores: Scores, start: int, end: int) -> list[int]: ...
    def gaps(
        self, points: Points, centres: Floats, labels: Labels, start: int, end: int
    ) -> Floats: ...


@dataclass(frozen=True)
class Numpy:
    """In chunks.  Threads over chunks are slower than one: each call is so short that they wait
    for the interpreter."""

    name: str = "numpy"
    threads: int = 1

    def takes(self, points: Points) -> bool:
        return True

    def labels(self, points: Points, scores: Scores, start: int, end: int) -> Labels:
        found = np.empty(end - start, dtype=np.int32)
        for a, b in chunk_ranges(end - start, CHUNK):
            found[a:b] = _nearest(points.floats(start + a, start + b), scores, points.reach)
        return found

    def sums(self, points: Points, scores: Scores, start: int, end: int) -> list[int]:
        k, d = scores.slopes.shape
        numbers, found = np.arange(k, dtype=np.int32)[:, None], [0] * (k * (1 + d))
        # So few that the sums of a chunk are exact in float64.
        for a, b in chunk_ranges(
            end - start, max(1, min(CHUNK, (1 << 52) // max(1, points.reach)))
        ):
            rows = points.floats(start + a, start + b)
            belongs = (numbers == _nearest(rows, scores, points.reach)).astype(np.float64)
            counted = np.concatenate([np.ones((1, b - a)), rows])
            part = (belongs @ counted.T).ravel().tolist()
            found = [total + int(value) for total, value in zip(found, part, strict=True)]
        return found

    def gaps(self, points: Points, centres: Floats, labels: Labels, start: int, end: int) -> Floats:
        found = np.zeros(end - start)
        for a, b in chunk_ranges(end - start, CHUNK):
            near = centres.T[:, labels[start + a : start + b]]
            gap = (points.floats(start + a, start + b) - near) * points.scale[:, None]
            for squares in gap * gap:
                found[a:b] += squares
        return found


def _nearest(rows: Floats, scores: Scores, reach: int) -> Labels:
    """int32[people]: the nearest centre of each; a tie goes to the first.

    A matrix product is fast, but nobody knows in which order it adds, nor how often it rounds:
    it decides where the second best is further away than all that rounding can do.
    """
    found = scores.slopes @ rows
    found += scores.starts[:, None]
    labels, best = np.zeros(rows.shape[1], dtype=np.int32), found[0]
    second = np.full(rows.shape[1], np.inf)
    # Over centres, not people: numpy's argmin along the short axis is several times slower.
    for c in range(1, len(found)):
        np.copyto(labels, c, where=found[c] < best)
        np.minimum(second, np.maximum(best, found[c]), out=second)
        np.minimum(best, found[c], out=best)
    unsure = np.flatnonzero(~(second - best > scores.rounding(reach)))
    if len(unsure):
        labels[unsure] = _nearest_in_order(rows[:, unsure], scores)
    return labels


def _nearest_in_order(rows: Floats, scores: Scores) -> Labels:
    """The same as C does, with every rounding."""
    found = np.repeat(scores.starts[:, None], rows.shape[1], axis=1)
    for slope, row in zip(scores.slopes.T, rows, strict=True):
        found += slope[:, None] * row
    labels, best = np.zeros(rows.shape[1], dtype=np.int32), found[0]
    for c in range(1, len(found)):
        nearer = found[c] < best
        np.copyto(labels, c, where=nearer)
        np.copyto(best, found[c], where=nearer)
    return labels


def arithmetic(wanted: str = "") -> Arithmetic:
    """The fastest that this machine has; `wanted` or ASSENT_LLOYD forces one.

    Raises BadInput for an unknown word, or for one that is not here.
    """
    wanted = wanted or os.environ.get(VARIABLE, "")
    if wanted not in ("", *NAMES):
        raise BadInput(
            f"{VARIABLE}={wanted} is no arithmetic",
            next_step=f"use one of {', '.join(NAMES)}, or none",
        )
    native = None if wanted == "numpy" else Native.load(wanted)
    if native is None and wanted not in ("", "numpy"):
        raise BadInput(
            f"{VARIABLE}={wanted} is not possible: this processor has no such instructions, or "
            "the extension is not built",
            next_step=f"unset {VARIABLE}",
        )
    return native or Numpy()


def _each(points: Points, work: Callable[[Arithmetic, int, int], T]) -> list[T]:
    """`work` over all rows, some for every thread, in order."""
    chosen = arithmetic()
    if not chosen.takes(points):
        chosen = Numpy()
    share = max(LEAST, -(-len(points) // chosen.threads))
    # Sums of so many rows stay inside 64 bits.
    size = max(1, min(share, (1 << 62) // max(1, points.reach)))
    cuts = list(chunk_ranges(len(points), size))
    threads = min(chosen.threads, len(cuts))
    if threads < 2:
        return [work(chosen, start, end) for start, end in cuts]
    with ThreadPoolExecutor(threads, "assent-lloyd") as pool:
        return list(pool.map(lambda cut: work(chosen, *cut), cuts))


def labels(points: Points, centres: Floats) -> Labels:
    """int32[n]: the nearest centre of each row; a tie goes to the first."""
    scores = Scores.of(centres, points.scale)
    found = _each(points, lambda using, a, b: using.labels(points, scores, a, b))
    return np.concatenate([*found, np.zeros(0, np.int32)])


@dataclass(frozen=True)
class Step:
    """counts: k integers; sums: k·d integers, row by row."""

    counts: list[int]
    sums: list[int]


def step(points: Points, centres: Floats) -> Step:
    """Exact counts and sums of the rows nearest to each centre."""
    k, d = centres.shape
    scores = Scores.of(centres, points.scale)
    parts = _each(points, lambda using, a, b: using.sums(points, scores, a, b))
    totals = [sum(values) for values in zip(*parts, strict=True)] or [0] * (k * (1 + d))
    rows = [totals[at : at + 1 + d] for at in range(0, len(totals), 1 + d)]
    return Step([row[0] for row in rows], [value for row in rows for value in row[1:]])


def closest(points: Points, centres: Floats) -> tuple[list[int], Floats]:
    """People per centre, and each row's weighted squared distance to its own."""
    near = labels(points, centres)
    found = _each(points, lambda using, a, b: using.gaps(points, centres, near, a, b))
    counts = np.bincount(near, minlength=len(centres)).tolist()
    return counts, np.concatenate([*found, np.zeros(0)])
