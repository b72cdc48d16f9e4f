"""From a party's admitted rows to its features of the people in common, for exact k-means.

Who runs it: every party.  Learns: nobody, anything.
Source: protocols.md section 4 (k-means, vertical, exact); the common scale follows from the
signed offers alone, so that all parties compute the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.job import JobSpec
from catalog.vertical import EXACT, Vertical
from protocol.errors import ProtocolViolation, Refused
from protocol.kmeans.starts import spread_starts
from protocol.rows import EligibleRows
from protocol.wire import job_pb2 as pb

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]
_MOST = 1 << 53  # whole numbers up to here are exact as floats


@dataclass(frozen=True)
class Feature:
    """One feature as its owner offered it.  low, high: bounds, with every given start between
    them, in steps of 10^-decimals."""

    party: str
    name: str
    decimals: int
    low: float
    high: float

    @property
    def step(self) -> float:
        """One step in the table's unit."""
        return float(Fraction(1, 10**self.decimals))


@dataclass(frozen=True)
class Layout:
    """What all parties derive alike from job and offers.

    starts: float64[k, features], in steps.
    """

    features: tuple[Feature, ...]
    starts: Floats
    zscore: bool

    @property
    def k(self) -> int:
        return len(self.starts)

    def of(self, party: str) -> list[int]:
        """Places of the party's features among all."""
        return [j for j, feature in enumerate(self.features) if feature.party == party]

    @property
    def factors(self) -> Floats:
        """float64[features]: what a squared step of each adds to a squared distance, without
        standardising.  Whole numbers: a unit of distance is that of the finest feature."""
        finest = max(feature.decimals for feature in self.features)
        return np.array([float(100 ** (finest - f.decimals)) for f in self.features])

    @property
    def unit_of_distance(self) -> float:
        """What one of these is in the table's squared units."""
        if self.zscore:
            return 1.0
        return float(Fraction(1, 100 ** max(feature.decimals for feature in self.features)))

    @property
    def largest(self) -> float:
        """D_max, without standardising."""
        return float(sum(f * (x.high - x.low) ** 2 for f, x in zip(self.factors, self.features,
                                                                   strict=True)))  # fmt: skip


def layout(asked: Vertical, offers: Mapping[str, pb.Offer], seed: int) -> Layout:
    """Raises Refused('unfit_column') for bounds that are too wide for their decimals."""
    offered = {
        f"{party}/{attribute.name}": attribute
        for party, offer in offers.items()
        for attribute in offer.attributes
    }
    found = []
    for name in asked.attributes():
        if name not in offered:
            raise ProtocolViolation(
                "missing_offer", "a feature of the job is not offered", stage="offer"
            )
        found.append(_feature(name, offered[name]))
    units = np.array([10.0**feature.decimals for feature in found])
    if asked.init:
        raw = np.array([[float(Fraction(x)) for x in centre] for centre in asked.init])
        starts = raw * units
        # A given start may lie outside the bounds; distances to it must fit as well.
        found = [
            replace(f, low=min(f.low, float(c.min())), high=max(f.high, float(c.max())))
            for f, c in zip(found, starts.T, strict=True)
        ]
    else:
        (k,) = asked.k
        low = np.array([feature.low for feature in found])
        high = np.array([feature.high for feature in found])
        drawn = spread_starts(k, len(found), np.random.default_rng(seed))
        starts = np.clip(low + (drawn + 1) / 2 * (high - low), low, high)
    return Layout(tuple(found), starts, asked.scale == "zscore")


def _feature(name: str, offered: pb.AttributeOffer) -> Feature:
    party, _, attribute = name.partition("/")
    if offered.kind == "flag":
        return Feature(party, attribute, 0, 0.0, 1.0)
    if max(abs(offered.lo), abs(offered.hi)) > _MOST:
        raise Refused(
            "unfit_column",
            f"{name} has bounds that are too wide for its decimals",
            party=party,
            stage="admit",
            next_step="declare fewer decimals or nearer bounds",
        )
    return Feature(party, attribute, offered.decimals, float(offered.lo), float(offered.hi))


def matchable(spec: JobSpec, rows: EligibleRows) -> EligibleRows:
    """In an exact k-means a row that lacks a feature matches nobody: it has no distance, and if
    it were left out later the others would see whose features are missing."""
    if spec.vertical is None or spec.vertical.mode != EXACT:
        return rows
    missing = np.zeros(len(rows), dtype=np.bool_)
    for number in rows.numbers.values():
        missing |= number.null
    if not missing.any():
        return rows
    mask = pa.array(missing)
    identifiers = {
        kind: pc.if_else(mask, pa.scalar(None, column.type), column)
        for kind, column in rows.identifiers.items()
    }
    return replace(rows, identifiers=identifiers)


def values(rows: EligibleRows, names: tuple[str, ...]) -> Integers:
    """int64[features, rows] in steps; a flag is 0 or 1."""
    found = np.empty((len(names), len(rows)), dtype=np.int64)
    for j, name in enumerate(names):
        found[j] = rows.numbers[name].values if name in rows.numbers else rows.labels[name]
    return found
