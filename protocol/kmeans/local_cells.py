"""Vertical k-means, `grid`, first half: a party clusters its own features into local cells.

Who runs it: every party, over its own rows.
Learns: the other party the centres of the cells, under this party's noise; how many of its
people lie in one only through the cross-tab of both parties' cells.
Source: protocols.md section 4 (k-means, vertical, grid); Linde, Buzo, Gray 1980 (splitting);
Su et al. 2016 (k-means from noisy sums).

Cells begin as one and are split where their people differ most, from noisy counts, sums and
sums of squares only.  So which person lies in which cell follows from that person and from
released numbers: nobody's row moves another person to another cell, and each count of the
cross-tab changes by at most one.  Exact k-means, released with noise at the end, would not have
that: one row can move every centre (rejected).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import isqrt

import numpy as np
import numpy.typing as npt

from protocol.encoding import chunk_ranges
from protocol.errors import Refused
from protocol.kmeans.lloyd import labels
from protocol.kmeans.points import Floats, Points
from protocol.release.noise import NANO, NoiseScale, NoiseSource, draw, noise_scale
from protocol.secure_sum.model import NumberScale

Codes = npt.NDArray[np.int32]

UNIT = 1 << 30  # half of a feature's range; what a person adds to a sum is a whole number of 1/UNIT
CHUNK = 1 << 12  # people at once: they stay in the cache
REFINE = 2  # rounds after the splits, with noise; without, until nothing moves
REFINE_EXACT = 25
APART = 0.8  # halves of a Gaussian have their means 0.8 deviations from its own


@dataclass(frozen=True)
class CellsPlan:
    """How a party makes its cells; both parties know it from the job.

    scales: of each feature.  cells: how many at most.  rho_nano: what all rounds may cost, 0
    without noise.  min_cohort: no cell is smaller.  zscore: features are standardised.
    """

    scales: tuple[NumberScale, ...]
    cells: int
    rho_nano: int
    min_cohort: int
    zscore: bool

    def __post_init__(self) -> None:
        if self.rho_nano and min(scale.rho for scale in self.noise) * NANO < 1:
            raise Refused(
                "budget_too_small",
                f"rho {self.rho_nano / NANO:g} over {self.rounds} rounds and "
                f"{len(self.scales)} features leaves nothing for one of them",
                stage="admit",
                next_step="ask for a larger rho or fewer features",
            )

    @property
    def splits(self) -> int:
        """Rounds in which cells are split; one more than doubling needs, as not all can be."""
        return (self.cells - 1).bit_length() + 1 if self.cells > 1 else 0

    @property
    def rounds(self) -> int:
        """Noisy moments over the same people, each with an equal part of the budget."""
        return 1 + self.splits + REFINE

    @cached_property
    def noise(self) -> tuple[NoiseScale, NoiseScale, NoiseScale]:
        """Of a count, of a feature's sum, of its sum of squares, in one round.

        Counts get 1/(1+√(3d)) as in formula 7, the sums two thirds of the rest.
        """
        d = len(self.scales)
        counted = 1 / (1 + Fraction(isqrt(3 * d * 10**12), 10**6))
        share = Fraction(self.rho_nano, self.rounds)

        def part(of: Fraction, sensitivity: int, equal: int) -> NoiseScale:
            return noise_scale(sensitivity, int(share * of), equal)

        rest = 1 - counted
        return part(counted, 1, 1), part(rest * 2 / 3, UNIT, d), part(rest / 3, UNIT, d)


@dataclass(frozen=True)
class LocalCells:
    """What a party's people look like, cell by cell.

    codes: int32[n], of the rows that were clustered; -1 where there is no cell.  centres:
    float64[cells, d] in the table's units, NaN where a cell is not used.  deviation: per feature,
    of all its people, in the table's units.  spread: per feature, of people around the centre of
    their cell.
    """

    codes: Codes
    centres: Floats
    deviation: Floats
    spread: Floats


@dataclass(frozen=True)
class _Moments:
    """Of each cell: n people, float64[c]; sums and squares, float64[c, d], of features that run
    from -1 to 1."""

    n: Floats
    sums: Floats
    squares: Floats

    def pooled(self, into: Sequence[int], cells: int) -> _Moments:
        """Cells that become one: their moments add up."""
        found = []
        for values in (self.n, self.sums, self.squares):
            total = np.zeros((cells, *values.shape[1:]))
            np.add.at(total, np.array(into, dtype=np.int64), values)
            found.append(total)
        return _Moments(*found)

    @property
    def people(self) -> Floats:
        return np.maximum(self.n, 1.0)[:, None]

    @property
    def means(self) -> Floats:
        return np.clip(self.sums / self.people, -1.0, 1.0)

    @property
    def variances(self) -> Floats:
        found: Floats = np.clip(self.squares / self.people - self.means**2, 0.0, 1.0)
        return found


def local_cells(
    plan: CellsPlan, features: Sequence[npt.NDArray[np.int64]], noise: NoiseSource
) -> LocalCells:
    """Cluster the rows that have every feature.

    features: per feature int64[n] in its scale's fixed-point units, inside its bounds.
    """
    rows = _Rows(plan, features, noise)
    weight = np.ones(len(plan.scales))
    everybody = rows.moments(np.zeros((1, len(weight))), weight)[1]
    # Noise cannot make a deviation smaller than a thousandth of the feature's range.
    variance = np.maximum(everybody.variances[0], (2 / 1000) ** 2 if plan.rho_nano else 0.0)
    weight = 1.0 / np.where(variance > 0, variance, 1.0) if plan.zscore else rows.reach**2
    moments, centres = everybody, everybody.means
    for _ in range(plan.splits):
        centres = _split(plan, centres, moments, weight)
        codes, moments = rows.moments(centres, weight)
        centres = _moved(plan, centres, moments)
    for _ in range(REFINE if plan.rho_nano else REFINE_EXACT):
        codes, moments = rows.moments(centres, weight)
        before, centres = centres, _moved(plan, centres, moments)
        if not plan.rho_nano and np.array_equal(before, centres):
            break
    into, kept = _merged(plan, moments, centres, weight)
    if not kept:
        return _nothing(plan, len(codes))
    final = moments.pooled(into, plan.cells)
    found = final.means
    found[[cell for cell in range(plan.cells) if cell not in kept]] = np.nan
    return LocalCells(
        np.array(into, dtype=np.int32)[codes],
        rows.middle + found * rows.reach,
        np.sqrt(variance) * rows.reach,
        _spread(plan, rows.seen, final) * rows.reach**2,
    )


def _nothing(plan: CellsPlan, people: int) -> LocalCells:
    """So few people that nothing may be said of them."""
    d = len(plan.scales)
    nowhere = np.full(people, -1, dtype=np.int32)
    return LocalCells(nowhere, np.full((plan.cells, d), np.nan), np.zeros(d), np.zeros(d))


def _spread(plan: CellsPlan, rounds: Sequence[_Moments], cells: _Moments) -> Floats:
    """Per feature, the mean squared distance to the centre of one's cell: that of everybody to
    the mean of all, less that of the cells.

    Every round sums the same people, so all of them say what everybody together is, the better
    the fewer cells they had.
    """
    share = np.array([1.0 / len(moments.n) for moments in rounds])
    share /= share.sum()
    n = float(share @ [moments.n.sum() for moments in rounds])
    sums = share @ [moments.sums.sum(axis=0) for moments in rounds]
    squares = share @ [moments.squares.sum(axis=0) for moments in rounds]
    total = squares / max(1.0, n) - (sums / max(1.0, n)) ** 2
    large = cells.n > 0
    people = max(1.0, float(cells.n[large].sum()))
    # The square of a noisy sum is too large by the noise's variance.
    bias = (plan.noise[1].sigma / UNIT) ** 2
    square = (cells.sums[large] ** 2 - bias) / cells.people[large]
    between = square.sum(axis=0) / people - (cells.sums[large].sum(axis=0) / people) ** 2
    found: Floats = np.clip(total - between, 0.0, 1.0)
    return found


class _Rows:
    """A party's rows, and the only way from them to numbers: noisy moments."""

    def __init__(
        self, plan: CellsPlan, features: Sequence[npt.NDArray[np.int64]], noise: NoiseSource
    ) -> None:
        self._plan, self._features, self._noise = plan, features, noise
        self.seen: list[_Moments] = []
        self._sensitivity = np.array([float(max(1, s.sensitivity)) for s in plan.scales])
        units = np.array([float(scale.unit) for scale in plan.scales])
        self.reach: Floats = self._sensitivity / units  # half of a feature's range
        self.middle: Floats = np.array([float(scale.mid) for scale in plan.scales]) / units

    def moments(self, centres: Floats, weight: Floats) -> tuple[Codes, _Moments]:
        """Who is nearest to which centre, and the noisy moments of those.

        centres: float64[c, d] from -1 to 1; weight: of each squared difference.
        """
        c, d = centres.shape
        step = 1.0 / self._sensitivity
        points = Points(
            self._features,
            [scale.mid for scale in self._plan.scales],
            step,
            weight,
            int(self._sensitivity.max()),
        )
        n = np.zeros(c, dtype=np.int64)
        sums, squares = np.zeros((c, d), dtype=np.int64), np.zeros((c, d), dtype=np.int64)
        codes = labels(points, centres * self._sensitivity)
        for start, end in chunk_ranges(len(codes), CHUNK):
            rows, near = points.floats(start, end), codes[start:end]
            belongs = (np.arange(c, dtype=np.int32)[:, None] == near).astype(np.float64)
            part = np.rint(rows * (step * UNIT)[:, None])
            n += np.bincount(near, minlength=c)
            # Whole numbers up to 2^42 a chunk: exact in float64.
            sums += (belongs @ part.T).astype(np.int64)
            squares += (belongs @ np.rint(part**2 / UNIT).T).astype(np.int64)
        counted, summed, squared = self._plan.noise
        n += draw(self._noise, counted, c)
        sums += draw(self._noise, summed, c * d).reshape(c, d)
        squares += draw(self._noise, squared, c * d).reshape(c, d)
        self.seen.append(_Moments(n.astype(float), sums / UNIT, squares / UNIT))
        return codes, self.seen[-1]


def _split(plan: CellsPlan, centres: Floats, moments: _Moments, weight: Floats) -> Floats:
    """Centres of the next round: the cells whose people differ most become two."""
    scatter = moments.variances * weight
    worth = moments.n * scatter.sum(axis=1)
    # Halves of a cell that is hardly larger than the noise, or than a cohort, say nothing.
    least = max(2 * plan.min_cohort, 8 * plan.noise[0].sigma, 2)
    room = plan.cells - len(centres)
    split = [cell for cell in np.argsort(-worth, kind="stable") if moments.n[cell] >= least][:room]
    found = [*centres]
    for cell in split:
        if worth[cell] <= 0:
            continue
        # The first of the widest; standardised features are all equally wide but for rounding.
        axis = int((scatter[cell] >= scatter[cell].max() * (1 - 1e-9)).argmax())
        gap = np.zeros(centres.shape[1])
        gap[axis] = APART * np.sqrt(moments.variances[cell, axis])
        found[cell] = np.clip(centres[cell] - gap, -1.0, 1.0)
        found.append(np.clip(centres[cell] + gap, -1.0, 1.0))
    return np.array(found)


def _moved(plan: CellsPlan, before: Floats, moments: _Moments) -> Floats:
    """New centres; a cell that is empty, or lost in the noise, keeps its own."""
    large = moments.n >= max(1.0, 2 * plan.noise[0].sigma)
    return np.where(large[:, None], moments.means, before)


def _merged(
    plan: CellsPlan, moments: _Moments, centres: Floats, weight: Floats
) -> tuple[list[int], set[int]]:
    """Per cell the cell that it becomes part of, and those that are left.

    A cell under min_cohort goes to the nearest of the others, the smallest first: a cell of one
    person is that person.  Where the last one is too small as well, none is left.
    """
    n = [float(value) for value in moments.n]
    into, left = list(range(len(n))), set(range(len(n)))
    while left:
        smallest = min(left, key=lambda cell: (n[cell], cell))
        if n[smallest] >= max(1, plan.min_cohort):
            break
        left.remove(smallest)
        if not left:
            break
        others = sorted(left)
        gaps = (weight * (centres[others] - centres[smallest]) ** 2).sum(axis=1)
        target = others[int(gaps.argmin())]
        n[target] += max(0.0, n[smallest])
        into = [target if cell == smallest else cell for cell in into]
    return into, left
