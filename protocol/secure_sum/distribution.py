"""`protocol: secure_sum`: how all parties' people spread over the values of shared columns.

Who runs it: see `protocol.secure_sum.model`.
Learns: every party the released cells, under every party's noise.
Source: protocols.md section 3; section 5 for what leaves; section 7, formulas 1 and 2.

Labels, flags and numbers with `bins` span the cells; every other number is summed per cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cached_property
from itertools import pairwise, product
from math import prod, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.errors import Refused
from protocol.release.noise import noise_scale
from protocol.release.rules import REASONS, withheld_cells
from protocol.rows import EligibleRows
from protocol.secure_sum.model import (
    NUMBER,
    Ground,
    Integers,
    Json,
    Local,
    NumberScale,
    Turn,
    unfit,
)
from protocol.secure_sum.party import Vector
from protocol.secure_sum.spec import Output

MAX_CELLS = 4096
NULL_BIN = "unknown"


@dataclass(frozen=True)
class Dimension:
    """A column that spans cells.  edges: of a number's bins, in its unit; None for labels."""

    name: str
    values: tuple[str | bool, ...]
    edges: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Summed:
    """A number that is summed in every cell."""

    scale: NumberScale
    nullable: bool


@dataclass(frozen=True)
class Distribution:
    """A `Model` of one round."""

    ground: Ground

    def __post_init__(self) -> None:
        if self.cells > MAX_CELLS:
            sizes = " × ".join(str(len(d.values)) for d in self.dimensions)
            raise Refused(
                "sum_too_large",
                f"{sizes} values = {self.cells} cells, the limit is {MAX_CELLS}",
                stage="admit",
                next_step="name fewer columns, or columns with fewer values",
            )

    @cached_property
    def dimensions(self) -> tuple[Dimension, ...]:
        bins = self.ground.settings["bins"]
        found = []
        for name in self.ground.names:
            kinds = {column.kind for column in self.ground.alike(name)}
            if name in bins:
                found.append(self._binned(name, bins[name]))
            elif NUMBER not in kinds:
                if len(kinds) > 1:
                    raise unfit(f"{name} is a label at one party and a flag at another")
                words = [v for column in self.ground.alike(name) for v in column.vocabulary]
                found.append(Dimension(name, tuple(dict.fromkeys(words))))
        return tuple(found)

    def _binned(self, name: str, edges: Sequence[str]) -> Dimension:
        scale = self.ground.scale(name)
        scaled = [Decimal(edge) * scale.unit for edge in edges]
        ends = ["…", *edges, "…"]
        words = [f"{low} to {high}" for low, high in pairwise(ends)]
        words[0], words[-1] = f"under {edges[0]}", f"{edges[-1]} and over"
        if any(column.nullable for column in self.ground.alike(name)):
            words.append(NULL_BIN)
        # The least integer that is not below the edge: values are integers of the same unit.
        return Dimension(name, tuple(words), tuple(-int(-edge // 1) for edge in scaled))

    @cached_property
    def summed(self) -> tuple[Summed, ...]:
        spanned = {dimension.name for dimension in self.dimensions}
        return tuple(
            Summed(self.ground.scale(name), any(c.nullable for c in self.ground.alike(name)))
            for name in self.ground.names
            if name not in spanned
        )

    @cached_property
    def cells(self) -> int:
        return prod(len(dimension.values) for dimension in self.dimensions)

    @property
    def rounds(self) -> int:
        return 1

    def begin(self) -> Turn:
        return Turn({}, {})

    def outputs(self, question: Json) -> tuple[Output, ...]:
        people, rho = self.ground.people, self.ground.rho_nano
        measures = 1 + sum(1 + number.nullable for number in self.summed)
        count = Output("count", self.cells, noise_scale(1, rho, measures), people)
        found = [count]
        for number in self.summed:
            scale = number.scale
            above, below = people * (scale.hi - scale.mid), people * (scale.mid - scale.lo)
            noise = noise_scale(scale.sensitivity, rho, measures)
            found.append(Output(f"sum:{scale.name}", self.cells, noise, above, below))
            if number.nullable:
                found.append(Output(f"own_count:{scale.name}", self.cells, count.scale, people))
        return tuple(found)

    def vector(self, question: Json, party: str, rows: EligibleRows) -> Vector:
        codes = self._codes(party, rows)
        found: Vector = [_per_cell(codes, None, self.cells)]
        for number in self.summed:
            values, null = self.ground.values(party, number.scale.name, rows)
            known = ~null
            centred = values[known] - number.scale.mid
            found.append(_per_cell(codes[known], centred, self.cells))
            if number.nullable:
                found.append(_per_cell(codes[known], None, self.cells))
        return found

    def _codes(self, party: str, rows: EligibleRows) -> npt.NDArray[np.int64]:
        """int64[n]: the joint cell of each row, the last dimension varying fastest."""
        joint = np.zeros(len(rows), dtype=np.int64)
        for dimension in self.dimensions:
            column = self.ground.column(party, dimension.name)
            if dimension.edges is None:
                place = {value: code for code, value in enumerate(dimension.values)}
                lookup = np.array([place[value] for value in column.vocabulary], dtype=np.int64)
                own = lookup[rows.labels[column.attribute]]
            else:
                values, null = self.ground.values(party, dimension.name, rows)
                own = np.searchsorted(np.array(dimension.edges), values, side="right")
                own = np.where(null, len(dimension.edges) + 1, own)
            joint = joint * len(dimension.values) + own
        return joint

    def advance(self, turn: Turn, totals: Vector) -> Turn:
        return Turn({}, {}, {"cells": list(self._released(totals))})

    def local(self, question: Json, party: str, rows: EligibleRows) -> Local | None:
        return None

    def sigmas(self) -> dict[str, float]:
        if not self.ground.noise:
            return {}
        units = {f"sum:{number.scale.name}": number.scale.unit for number in self.summed}
        together = sqrt(len(self.ground.parties))
        return {
            output.name: together * output.scale.sigma / units.get(output.name, 1)
            for output in self.outputs({})
        }

    def _released(self, totals: Vector) -> list[Json]:
        """Section 5 over one group of people: smallest group, rest, complement."""
        named = dict(zip((output.name for output in self.outputs({})), totals, strict=True))
        k, counts = self.ground.min_cohort, named["count"]
        reasons = withheld_cells(np.array([counts], dtype=np.int64), k)[0]
        found = []
        for cell, words in enumerate(product(*(d.values for d in self.dimensions))):
            reason = REASONS[reasons[cell]]
            line: dict[str, Any] = dict(zip((d.name for d in self.dimensions), words, strict=True))
            line["count"] = counts[cell] if reason is None else None
            kept: dict[str, str] = {}
            for number in self.summed:
                name = number.scale.name
                people = named.get(f"own_count:{name}", counts)[cell]
                total = mean = None
                if reason is None and (people >= k or k == 1):
                    total, mean = _total_and_mean(number.scale, named[f"sum:{name}"][cell], people)
                elif reason is None:
                    kept[name] = "below_min_cohort"
                line[f"sum:{name}"], line[f"mean:{name}"] = total, mean
            line["withheld"] = reason
            if kept:
                line["withheld_measures"] = kept
            found.append(line)
        return found


def _per_cell(codes: npt.NDArray[np.int64], values: Integers | None, cells: int) -> list[int]:
    """Exact sums per cell; None counts."""
    if values is None:
        return [int(n) for n in np.bincount(codes, minlength=cells)]
    # Two halves of 31 bits: floats hold their sums over 2^22 rows exactly, whatever the values.
    totals = [0] * cells
    for start in range(0, len(codes), 1 << 22):
        part, here = values[start : start + (1 << 22)], codes[start : start + (1 << 22)]
        high, low = part >> 31, part & ((1 << 31) - 1)
        upper = np.bincount(here, weights=high, minlength=cells)
        lower = np.bincount(here, weights=low, minlength=cells)
        totals = [
            total + (int(a) << 31) + int(b)
            for total, a, b in zip(totals, upper, lower, strict=True)
        ]
    return totals


def _total_and_mean(scale: NumberScale, centred: int, people: int) -> tuple[float, float | None]:
    """Formula 2, in the unit of the table."""
    total = float(Fraction(centred + scale.mid * people, scale.unit))
    if people < 1:
        return total, None
    mean = min(max(scale.mid + Fraction(centred, people), Fraction(scale.lo)), Fraction(scale.hi))
    return total, float(mean / scale.unit)
