"""`protocol: rfm`: common edges from federated histograms, then segments counted over all.

Who runs it: see `protocol.secure_sum.model`.
Learns: every party the edges (also those of the way to them, without noise) and the released
sizes of segments; a histogram itself stays in the requester's node.
Source: protocols.md section 4; docs/adr/0012-sums-and-models.md for the fourth measure.

The measures of the budget: a histogram of recency, of frequency, of monetary value, and the
sizes of the segments; a quarter of rho each.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import sqrt
from typing import Any

import numpy as np

from protocol.release.noise import noise_scale
from protocol.release.rules import REASONS, withheld_cells
from protocol.rfm import grid
from protocol.rfm.segments import (
    BINS,
    EIGHT,
    REVERSED,
    ROLES,
    names,
    oriented,
    scores,
    segments_8,
    segments_10,
)
from protocol.rows import EligibleRows
from protocol.secure_sum.model import Ground, Integers, Json, Local, Mask, Turn
from protocol.secure_sum.party import Vector
from protocol.secure_sum.spec import Output

MEASURES = 4
# Per measure: noise adds up over cells, so a noisy histogram has few of them.
CELLS_EXACT, CELLS_NOISY, PARTS = 2048, 128, 128
HISTOGRAMS = 8  # at most: from 2^54 units to one, by parts of 128
_SHARES = ((1, 5), (2, 5), (3, 5), (4, 5), (1, 2))  # the quintiles, and the median at the end
_MEDIAN = len(_SHARES) - 1


@dataclass(frozen=True)
class Rfm:
    """A `Model`: a histogram round, without noise more of them, and one that counts segments."""

    ground: Ground

    @property
    def rounds(self) -> int:
        return HISTOGRAMS + 1

    def __post_init__(self) -> None:
        for role in ROLES:
            self.ground.scale(role)  # refuses what is no number

    def begin(self) -> Turn:
        cells = CELLS_NOISY if self.ground.noise else CELLS_EXACT
        breaks = {}
        for role in ROLES:
            scale = self.ground.scale(role)
            breaks[role] = _mirrored(role, grid.first_breaks(scale.lo, scale.hi, cells))
        return Turn({}, {"breaks": breaks})

    def outputs(self, question: Json) -> tuple[Output, ...]:
        people, scale = self.ground.people, noise_scale(1, self.ground.rho_nano, MEASURES)
        if "breaks" in question:
            return tuple(
                Output(role, len(question["breaks"][role]) - 1, scale, people) for role in ROLES
            )
        return (Output("segments", len(names(self._scheme)), scale, people),)

    def vector(self, question: Json, party: str, rows: EligibleRows) -> Vector:
        values, known = self._values(party, rows)
        if "breaks" in question:
            return [grid.count(question["breaks"][role], values[role][known]) for role in ROLES]
        found = self._segments(question["edges"], values)[self._scheme][known]
        return [[int(n) for n in np.bincount(found, minlength=len(names(self._scheme)))]]

    def advance(self, turn: Turn, totals: Vector) -> Turn:
        if "breaks" not in turn.question:
            return Turn({}, turn.question, self._result(turn.question["edges"], totals[0]))
        breaks = turn.question["breaks"]
        edges, finer = {}, {}
        for role, counts in zip(ROLES, totals, strict=True):
            cells = grid.quantile_cells(counts, _SHARES)
            edges[role] = [breaks[role][cell] for cell in cells]
            if any(breaks[role][cell + 1] - breaks[role][cell] > 1 for cell in cells):
                finer[role] = grid.cut(breaks[role], cells, PARTS)
        if finer and not self.ground.noise:
            return Turn({}, {"breaks": breaks | finer})
        return Turn({}, {"edges": edges})

    def local(self, question: Json, party: str, rows: EligibleRows) -> Local | None:
        values, known = self._values(party, rows)
        edges = question["edges"]
        columns: dict[str, Any] = {}
        for role in ROLES:
            found = scores(values[role], edges[role][:_MEDIAN]).astype(float)
            columns[f"{role}_score"] = np.where(known, found, np.nan)
        for scheme, codes in self._segments(edges, values).items():
            words = np.array([english for english, _ in names(scheme)], dtype=object)[codes]
            words[~known] = None
            columns[f"segment_{scheme}"] = words
        return Local("scores", columns)

    def sigmas(self) -> dict[str, float]:
        if not self.ground.noise:
            return {}
        scale = noise_scale(1, self.ground.rho_nano, MEASURES)
        together = scale.sigma * sqrt(len(self.ground.parties))
        return {"histogram": together, "count": together}

    # -- people ------------------------------------------------------------------------------

    @property
    def _scheme(self) -> str:
        return str(self.ground.settings["scheme"])

    def _values(self, party: str, rows: EligibleRows) -> tuple[dict[str, Integers], Mask]:
        """Oriented values, and who has all three."""
        known = np.ones(len(rows), dtype=np.bool_)
        values = {}
        for role in ROLES:
            own, null = self.ground.values(party, role, rows)
            values[role] = oriented(role, own)
            known &= ~null
        return values, known

    def _segments(self, edges: Json, values: dict[str, Integers]) -> dict[str, Integers]:
        high = [values[role] >= edges[role][_MEDIAN] for role in ROLES]
        recency, frequency = (
            scores(values[role], edges[role][:_MEDIAN]) for role in ("recency", "frequency")
        )
        return {EIGHT: segments_8(high), "5x5": segments_10(recency, frequency)}

    def _result(self, edges: Json, sizes: list[int]) -> Json:
        counts = np.array([sizes], dtype=np.int64)
        reasons = withheld_cells(counts, self.ground.min_cohort)[0]
        found = []
        for (english, chinese), size, code in zip(names(self._scheme), sizes, reasons, strict=True):
            reason = REASONS[code]
            found.append(
                {
                    "segment": english,
                    "title": chinese,
                    "count": size if reason is None else None,
                    "withheld": reason,
                }
            )
        return {"scheme": self._scheme, "edges": self._raw(edges), "segments": found}

    def _raw(self, edges: Json) -> Json:
        """In the table's unit; recency's from the most days (score 1) to the fewest."""
        found: Json = {"scores": BINS}
        for role in ROLES:
            unit, sign = self.ground.scale(role).unit, -1 if role in REVERSED else 1
            raw = [sign * edge / unit for edge in edges[role]]
            found[role] = {"quintiles": raw[:_MEDIAN], "median": raw[_MEDIAN]}
        return found


def _mirrored(role: str, breaks: list[int]) -> list[int]:
    """The grid of the oriented values: cells [a, b) become [-b + 1, -a + 1)."""
    return [1 - end for end in reversed(breaks)] if role in REVERSED else breaks
