"""A party's part of one iteration: masked distances out, its own people's labels back.

Who runs it: every party, over its own features of the people in common.
Learns: the party, which cluster each of its own people in common is in, at every iteration.
Source: protocols.md section 4 (k-means, vertical, exact).

A place is the number that one person in common (or one dummy) has at all parties; who knows it
knows nothing more.  Values and centres are in each feature's own integer steps, around nothing:
differences of numbers below 2^53 are exact.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation
from protocol.kmeans.exact.secrets import BLOCK, Places, Secrets, Words

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]
Positions = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class OwnFeatures:
    """This party's features of everybody in common.

    values: float64[d, places] of whole numbers; a dummy's are another person's.
    real: bool[places], False for dummies.  factor: float64[d], what a squared step of each adds
    to a squared distance.  low, high: float64[d], between which values and centres lie.
    """

    values: Floats
    real: npt.NDArray[np.bool_]
    factor: Floats
    low: Floats
    high: Floats

    @property
    def places(self) -> int:
        return len(self.real)

    @cached_property
    def largest(self) -> float:
        """This party's share of D_max."""
        return float(np.sum(self.factor * (self.high - self.low) ** 2))


@dataclass(frozen=True)
class Role:
    """Who of the parties this is, and the common unit u of distances."""

    party: int
    parties: int
    unit: float

    @property
    def first(self) -> bool:
        return self.party == 0


def squared_distances(values: Floats, centres: Floats, factor: Floats) -> Floats:
    """float64[k, rows]: Σ factor·(value - centre)² over the features, added in one order for every
    centre, so that equal centres have equal distances to the last bit.

    values: float64[d, rows]; centres: float64[k, d].
    """
    found = np.empty((len(centres), values.shape[1]))
    plain = bool((factor == 1.0).all())
    for c, centre in enumerate(centres):
        gap = values - centre[:, None]
        gap *= gap
        if not plain:
            gap *= factor[:, None]
        np.add.reduce(gap, axis=0, out=found[c])
    return found


def upload(own: OwnFeatures, centres: Floats, role: Role, secrets: Secrets) -> Iterator[Words]:
    """uint64[rows, k] of block after block: what the coordinator gets of this party.

    In column j of the row at position i, for the cluster c that the secrets put there:
    r·(k·D + [first]·c) + [first]·(e + s) + mask, mod 2^64.
    """
    _check_centres(own, centres)
    order, k = secrets.order(), np.uint64(secrets.k)
    for block, start, end in secrets.blocks():
        rows = end - start
        gaps = squared_distances(own.values[:, order[start:end]], centres, own.factor)
        steps = np.rint(gaps * role.unit).astype(np.uint64).T
        columns = secrets.columns(block, rows)
        found = np.take_along_axis(steps, columns, axis=1) * k
        factors = secrets.factors(block, rows)
        if role.first:
            found += columns.astype(np.uint64)  # a tie goes to the lowest cluster
        found *= factors[:, None]
        if role.first:
            found += secrets.noises(block, factors)
            found += secrets.shifts(block, rows)[:, None]
        found += secrets.mask(block, rows, role.party, role.parties)
        yield found


def _check_centres(own: OwnFeatures, centres: Floats) -> None:
    # Beyond the bounds a distance could outgrow its bits and a label be wrong unseen.
    if bool((centres < own.low).any() or (centres > own.high).any()):
        raise ValueError("a centre lies outside its feature's bounds")


def labels_of(positions: Positions, secrets: Secrets) -> Labels:
    """int64[places]: the cluster of each place, from the columns that the coordinator found.

    Raises ProtocolViolation('bad_artifact') for a column that there is not.
    """
    if len(positions) != secrets.rows or bool((positions >= secrets.k).any()):
        raise ProtocolViolation("bad_artifact", "the nearest columns are not those of this job")
    order = secrets.order()
    found = np.empty(secrets.rows, dtype=np.int64)
    for block, start, end in secrets.blocks():
        columns = secrets.columns(block, end - start)
        at = positions[start:end, None].astype(np.int64)
        found[order[start:end]] = np.take_along_axis(columns, at, axis=1)[:, 0]
    return found


def sizes(own: OwnFeatures, labels: Labels, k: int) -> npt.NDArray[np.int64]:
    """int64[k]: people in each cluster; dummies are none."""
    return np.bincount(labels[own.real], minlength=k)


def moved(own: OwnFeatures, labels: Labels, centres: Floats) -> Floats:
    """float64[k, d]: the mean of each cluster's people; an empty cluster keeps its centre."""
    k = len(centres)
    counts = sizes(own, labels, k)
    found = centres.copy()
    some = counts > 0
    near = labels[own.real]
    for j, values in enumerate(own.values):
        sums = np.bincount(near, weights=values[own.real], minlength=k)
        means = sums[some] / counts[some]
        found[some, j] = np.clip(means, own.low[j], own.high[j])  # rounding is all that is clipped
    return found


def changed(own: OwnFeatures, labels: Labels, before: Labels) -> int:
    """People whose cluster is another one than at the iteration before."""
    return int(np.count_nonzero((labels != before) & own.real))


def gaps(own: OwnFeatures, labels: Labels, centres: Floats) -> Floats:
    """float64[people]: this party's part of each person's squared distance to its own centre."""
    values, near = own.values[:, own.real], labels[own.real]
    found = np.empty(len(near))
    for start in range(0, len(near), BLOCK):
        at = slice(start, start + BLOCK)
        gap = values[:, at] - centres[near[at]].T
        found[at] = np.sum(own.factor[:, None] * gap * gap, axis=0)
    return found


def stand_ins(row_at_place: Places, random_words: Words) -> Places:
    """row_at_place with a random one of the people in common where a dummy stands: a dummy's
    distances must look like somebody's, or the coordinator could count people.

    random_words: uint64, one per dummy.  -1 where there is nobody to copy.
    """
    found = row_at_place.copy()
    people = row_at_place[row_at_place >= 0]
    if len(people):
        found[row_at_place < 0] = people[random_words % np.uint64(len(people))]
    return found
