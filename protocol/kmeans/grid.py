"""Vertical k-means, `grid`, second half: segments from the cross-tab of both parties' cells.

Who runs it: the requester, on the opened cross-tab and the centres that both parties' cells
have, all of it under noise.
Learns: the requester sizes, centres and spread of the segments; the provider, for each of its
own cells, the most likely segment.  Before anything is made of them the counts carry the noise
of both parties: the provider knows its own, and must not learn the requester's people from what
is left.
Source: protocols.md section 4 (k-means, vertical, grid); Ding et al. 2016 (the grid of local
centres); Arthur, Vassilvitskii 2007 (starts).
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.crosstab.spec import AttributeSpec, CrosstabSpec
from protocol.crosstab.totals import NoisyTotals
from protocol.kmeans.grid_points import moved
from protocol.kmeans.points import Floats
from protocol.release.noise import NoiseSource, draw
from protocol.release.rules import BELOW, REASONS, withheld_cells

Segments = npt.NDArray[np.int64]

NOBODY = 255  # in a map of cells: no segment
_LOST = 2.0  # deviations of the noise under which a count of the grid says nothing


def split_budget(rho_nano: int) -> tuple[int, int]:
    """(of the cross-tab, of the local cells): half each.  0 without noise."""
    return rho_nano // 2, rho_nano - rho_nano // 2


def axes(cells: int) -> tuple[AttributeSpec, AttributeSpec]:
    """What the cross-tab counts: the requester's cells by the provider's.

    As many as the job names, whether a party uses all of them or not: the shape of the table
    says nothing about anybody's rows.
    """
    words = tuple(str(cell) for cell in range(cells))
    return AttributeSpec("requester's cell", words), AttributeSpec("provider's cell", words)


@dataclass(frozen=True)
class Side:
    """One party's part of the grid, as `LocalCells` has it.

    centres: float64[cells, d], NaN for a cell that is not used.  deviation, spread: float64[d].
    """

    centres: Floats
    deviation: Floats
    spread: Floats

    @property
    def used(self) -> npt.NDArray[np.bool_]:
        return np.asarray(~np.isnan(self.centres).any(axis=1))


@dataclass(frozen=True)
class Question:
    """What the job asks.  features: their names, in the order of a centre's numbers.

    order: the sides in that order, 0 the requester's and 1 the provider's.  k: numbers of
    segments; the first is the one shown.  init: float64[k, d] in raw units, or None.
    """

    features: tuple[str, ...]
    order: tuple[int, int]
    k: tuple[int, ...]
    iterations: int
    restarts: int
    init: Floats | None
    zscore: bool
    seed: int


@dataclass(frozen=True)
class Released:
    """result: for result.json.  segments: of each side's cells the most likely segment, NOBODY
    for a cell that is not used; uint8[cells], the requester's first."""

    result: dict[str, Any]
    segments: tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]


def with_own_noise(spec: CrosstabSpec, totals: NoisyTotals, noise: NoiseSource) -> NoisyTotals:
    """The requester's own noise on top of the provider's, of the same size."""
    count = spec.cell_outputs[0]
    drawn = draw(noise, count.scale, spec.cells).reshape(totals.count.shape)
    overlap = totals.overlap + int(draw(noise, spec.overlap_output.scale, 1)[0])
    return replace(totals, overlap=overlap, count=totals.count + drawn)


def segment(
    question: Question, sides: tuple[Side, Side], spec: CrosstabSpec, totals: NoisyTotals
) -> Released:
    """Weighted k-means on the points of the grid, and the release rules on what it finds.

    totals: with the noise of both parties.
    """
    grid = _Grid.of(question, sides, spec, totals)
    random = np.random.default_rng(question.seed)
    found = [(k, grid.cluster(k, question, random)) for k in question.k]
    k, best = found[0]
    result = grid.released(k, best, question, spec.min_cohort)
    if len(found) > 1:
        result["by_k"] = [
            {"k": k, "inertia": grid.inertia(run, spec.min_cohort)} for k, run in found
        ]
    result["overlap"] = _overlap(totals.overlap, spec.min_cohort)
    return Released(result, grid.labels(best, question.order, spec.min_cohort))


def _overlap(count: int, min_cohort: int) -> dict[str, Any]:
    shown = count >= min_cohort or min_cohort == 1
    return {"count": count if shown else None, "withheld": None if shown else BELOW}


@dataclass(frozen=True)
class _Run:
    """centres: float64[k, d] in raw units; segment: int64[points]; around: what is left of the
    points' scatter; steps: Lloyd iterations."""

    centres: Floats
    segment: Segments
    around: float
    steps: int


@dataclass(frozen=True)
class _Grid:
    """points: float64[points, d] in raw units, row after row of the table; people: float64[points].

    scale: per feature, what a raw unit is in a distance.  spread: mean squared distance of a
    person to the point that it is counted at.
    """

    points: Floats
    people: Floats
    scale: Floats
    deviation: Floats
    spread: float
    sides: tuple[Side, Side]

    @classmethod
    def of(
        cls,
        question: Question,
        sides: tuple[Side, Side],
        spec: CrosstabSpec,
        totals: NoisyTotals,
    ) -> _Grid:
        people = _people(sides, spec, totals)
        one, two = sides
        centres = (np.nan_to_num(one.centres), np.nan_to_num(two.centres))
        spreads = (one.spread, two.spread)
        gaps = moved(centres, (one.deviation, two.deviation), spreads, people)
        laid = (centres[0][:, None] + gaps[0], centres[1][None] + gaps[1])
        # What a point has moved by is no longer between it and its people.
        share = people / max(1.0, float(people.sum()))
        left = [
            np.maximum(0.0, around - np.einsum("ij,ijd->d", share, gap**2))
            for around, gap in zip(spreads, gaps, strict=True)
        ]
        deviation = np.concatenate([sides[side].deviation for side in question.order])
        spread = np.concatenate([left[side] for side in question.order])
        scale = np.ones(len(deviation))
        if question.zscore:
            scale = np.where(deviation > 0, 1.0 / np.where(deviation > 0, deviation, 1.0), 1.0)
        return cls(
            np.concatenate([laid[side] for side in question.order], axis=2).reshape(
                people.size, -1
            ),
            people.ravel(),
            scale,
            deviation,
            float((spread * scale**2).sum()),
            sides,
        )

    @cached_property
    def _scaled(self) -> Floats:
        return self.points * self.scale

    def cluster(self, k: int, question: Question, random: np.random.Generator) -> _Run:
        """The best of the starts; deterministic in the question and the grid."""
        if question.init is not None:
            return self._lloyd(question.init * self.scale, question.iterations)
        runs = [
            self._lloyd(self._starts(k, random), question.iterations)
            for _ in range(question.restarts)
        ]
        best = min(runs, key=lambda run: run.around)
        # The largest first: a number that means something, and does not change with the seed.
        order = np.argsort(-self._sizes(best), kind="stable")
        place = np.empty(k, dtype=np.int64)
        place[order] = np.arange(k)
        return replace(best, centres=best.centres[order], segment=place[best.segment])

    def _starts(self, k: int, random: np.random.Generator) -> Floats:
        """k-means++ over people: a start far from the others is likely, in a crowd likelier."""
        found = np.empty((k, self.points.shape[1]))
        nearest = np.full(len(self.points), np.inf)
        for c in range(k):
            mass = self.people if c == 0 else self.people * nearest
            total = float(mass.sum())
            # Fewer points than segments: what is left over starts where somebody is.
            share = mass / total if total > 0 else None
            found[c] = self._scaled[random.choice(len(mass), p=share)]
            nearest = np.minimum(nearest, ((self._scaled - found[c]) ** 2).sum(axis=1))
        return found

    def _lloyd(self, starts: Floats, iterations: int) -> _Run:
        """Weighted Lloyd; a segment that gets empty keeps its centre, a tie goes to the first."""
        centres, segment, steps = starts.copy(), np.full(len(self.points), -1), 0
        while True:
            gaps = (self._scaled**2).sum(axis=1)[:, None] - 2.0 * self._scaled @ centres.T
            gaps += (centres**2).sum(axis=1)
            nearest = gaps.argmin(axis=1)
            if steps == iterations or np.array_equal(nearest, segment):
                break
            segment, steps = nearest, steps + 1
            people = np.bincount(segment, self.people, minlength=len(centres))
            for c in np.flatnonzero(people > 0):
                mine = segment == c
                centres[c] = self.people[mine] @ self._scaled[mine] / people[c]
        left = self._scaled - centres[nearest]
        around = float(self.people @ (left**2).sum(axis=1))
        return _Run(centres / self.scale, nearest, around, steps)

    def _sizes(self, run: _Run) -> Floats:
        """float64[k]: people of each segment, under noise no whole numbers."""
        found = np.bincount(run.segment, self.people, minlength=len(run.centres))
        return found.astype(np.float64)

    def inertia(self, run: _Run, min_cohort: int) -> float | None:
        """Of the points, and of people around their points; None where no segment is shown."""
        if not self._large(run, min_cohort).any():
            return None
        return run.around + float(self.people.sum()) * self.spread

    def released(self, k: int, run: _Run, question: Question, min_cohort: int) -> dict[str, Any]:
        """A segment that is too small has no size, and no centre: it would be of few people."""
        sizes = np.rint(self._sizes(run)).astype(np.int64)
        reasons = [REASONS[reason] for reason in withheld_cells(sizes[None], min_cohort)[0]]
        shown = self._large(run, min_cohort)
        return {
            "k": k,
            "features": list(question.features),
            "centres": [
                centre if show else None
                for centre, show in zip(run.centres.tolist(), shown, strict=True)
            ],
            "sizes": [
                int(size) if reason is None else None
                for size, reason in zip(sizes, reasons, strict=True)
            ],
            "sizes_withheld": reasons,
            "inertia": self.inertia(run, min_cohort),
            "iterations": run.steps,
            "deviations": self.deviation.tolist(),
        }

    def _large(self, run: _Run, min_cohort: int) -> npt.NDArray[np.bool_]:
        """bool[k]: the segments of which anything may be said."""
        sizes = np.rint(self._sizes(run)).astype(np.int64)
        reasons = withheld_cells(sizes[None], min_cohort)[0]
        return np.asarray((reasons != REASONS.index(BELOW)) & (sizes > 0))

    def labels(
        self, run: _Run, order: tuple[int, int], min_cohort: int
    ) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]]:
        """Of each side's cells, the segment that most of its people are in.

        A cell in which nobody is in common, as far as the noise lets see, gets the segment whose
        centre is nearest in what that party knows.
        """
        k, large = len(run.centres), self._large(run, min_cohort)
        rows, columns = (len(side.centres) for side in self.sides)
        votes = np.zeros((k, len(self.people)))
        votes[run.segment, np.arange(len(self.people))] = self.people
        table = votes.reshape(k, rows, columns)
        wide = self.sides[order[0]].centres.shape[1]
        own = {order[0]: slice(0, wide), order[1]: slice(wide, None)}
        found = []
        for side, across in ((0, 2), (1, 1)):
            cells = self.sides[side]
            centres, scale = run.centres[:, own[side]], self.scale[own[side]]
            gaps = (((cells.centres[None] - centres[:, None]) * scale) ** 2).sum(axis=2)
            counted = table.sum(axis=across)
            seen = np.where(large[:, None], counted, -1.0)
            near = np.where(large[:, None], gaps, np.inf)
            chosen = np.where(seen.max(axis=0) > 0, seen.argmax(axis=0), near.argmin(axis=0))
            chosen[~cells.used | ~large.any()] = NOBODY
            found.append(chosen.astype(np.uint8))
        return found[0], found[1]


def _people(sides: tuple[Side, Side], spec: CrosstabSpec, totals: NoisyTotals) -> Floats:
    """float64[rows, columns]: how many people lie at each point, from noisy counts.

    Counts of cells that no party uses are noise alone; so are, nearly always, counts under twice
    its deviation.  What is left is scaled to the noisy overlap, because leaving only the
    positive half of the noise would make everybody's number too large.
    """
    sigma = spec.cell_outputs[0].scale.sigma * 2**0.5
    possible = sides[0].used[:, None] & sides[1].used[None, :]
    count = np.where(possible, totals.count, 0).astype(float)
    count[count < max(_LOST * sigma, 0.5)] = 0.0
    total = float(count.sum())
    if total > 0 and sigma > 0:
        count *= max(0.0, float(totals.overlap)) / total
    return count
