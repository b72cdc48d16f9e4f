"""`protocol: kmeans, mode: horizontal`: Lloyd's iterations as secure sums over all parties.

Who runs it: see `protocol.secure_sum.model`.
Learns: every party the centres of every iteration (under every party's noise), in the end sizes
and inertia; nobody another party's rows or labels.
Source: protocols.md section 4 and section 7, formula 7; Su et al. 2016 for noise and starts;
arXiv 2511.07073 for why exact iterations are not the default.

All runs (values of k, restarts) go side by side in one vector.  Budget: rho over the runs, and
in a run equally over its sums: the scaling if asked, T iterations, and the last sum of sizes and
inertia (half each).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import isqrt, sqrt
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.errors import Refused
from protocol.kmeans.lloyd import closest, labels, step
from protocol.kmeans.points import Floats, Points
from protocol.kmeans.starts import spread_starts
from protocol.release.noise import NANO, NoiseScale, noise_scale
from protocol.release.rules import REASONS, withheld_cells
from protocol.rows import EligibleRows, Number
from protocol.secure_sum.exact import exact_squares, exact_sum
from protocol.secure_sum.model import NUMBER, Ground, Json, Local, Mask, NumberScale, Turn
from protocol.secure_sum.party import Vector
from protocol.secure_sum.spec import Output

SCALING, ITERATING, CLOSING = "scale", "centres", "close"
INERTIA_BITS = 32  # a person's share of the largest possible inertia, in units of 2^-32
MAX_VALUES = 1 << 15


@dataclass(frozen=True)
class Horizontal:
    """A `Model`: [scaling,] at most T iterations, and the sizes."""

    ground: Ground

    def __post_init__(self) -> None:
        if sum(self._ks) * (len(self.ground.names) + 1) > MAX_VALUES:
            raise Refused(
                "sum_too_large",
                f"{len(self._ks)} runs over {len(self.ground.names)} features are over "
                f"{MAX_VALUES} numbers",
                stage="admit",
                next_step="ask for fewer values of k, restarts or features",
            )

    # -- what is derived from the question -------------------------------------------------------

    @cached_property
    def _scales(self) -> tuple[NumberScale, ...]:
        """Of each feature; a flag is a number from 0 to 1."""
        found = []
        for name in self.ground.names:
            kinds = {column.kind for column in self.ground.alike(name)}
            found.append(
                NumberScale(name, 0, 1, 0) if kinds == {"flag"} else self.ground.scale(name)
            )
        return tuple(found)

    @cached_property
    def _ks(self) -> list[int]:
        """k of each run."""
        return [k for k in self.ground.settings["k"] for _ in range(self._restarts)]

    @property
    def _restarts(self) -> int:
        return int(self.ground.settings["restarts"])

    @property
    def _iterations(self) -> int:
        return int(self.ground.settings["iterations"])

    @property
    def _zscore(self) -> bool:
        return bool(self.ground.settings["scale"] == "zscore")

    @property
    def rounds(self) -> int:
        return self._zscore + self._iterations + 1

    @cached_property
    def _unit(self) -> Floats:
        return np.array([1 / scale.unit for scale in self._scales])

    @cached_property
    def _mid(self) -> Floats:
        return np.array([float(scale.mid) for scale in self._scales])

    # -- budget ------------------------------------------------------------------------------

    def _share(self, part: Fraction) -> int:
        """1e-9 rho of a part of one sum of one run."""
        share = int(part * self.ground.rho_nano / (len(self._ks) * self.rounds))
        if self.ground.noise and share < 1:
            raise Refused(
                "budget_too_small",
                f"rho {self.ground.rho_nano / NANO:g} over {len(self._ks)} runs of {self.rounds} "
                "sums leaves nothing for one of them",
                stage="admit",
                next_step="ask for a larger rho, fewer runs or fewer iterations",
            )
        return share

    def _noise(self, sensitivity: int, part: Fraction, equal: int = 1) -> NoiseScale:
        return noise_scale(sensitivity, self._share(part), equal)

    @cached_property
    def _counted(self) -> Fraction:
        """Formula 7: counts get 1/(1+√(3d)) of an iteration, the sums the rest."""
        root = Fraction(isqrt(3 * len(self._scales) * 10**12), 10**6)
        return 1 / (1 + root)

    def sigmas(self) -> dict[str, float]:
        if not self.ground.noise:
            return {}
        together = sqrt(len(self.ground.parties))
        part = Fraction(1, 2)
        found = {
            "size": self._noise(1, part).sigma * together,
            "count": self._noise(1, self._counted).sigma * together,
        }
        for scale in self._scales:
            noise = self._noise(scale.sensitivity, 1 - self._counted, len(self._scales))
            found[f"sum:{scale.name}"] = noise.sigma * together / scale.unit
        return found

    # -- rounds ------------------------------------------------------------------------------

    def begin(self) -> Turn:
        starts = [centres.tolist() for centres in self._starts()]
        if self._zscore:
            return Turn({"starts": starts}, {"step": SCALING})
        ones = [1.0] * len(self._scales)
        return Turn(
            {"done": 0, "iterations": [0] * len(starts)},
            {"step": ITERATING, "weight": ones, "centres": starts},
        )

    def _starts(self) -> list[Floats]:
        """Per run float64[k, d] in integer units around the middle; given, or drawn in bounds."""
        given = self.ground.settings["init"]
        if given:
            raw = np.array([[float(Fraction(x)) for x in centre] for centre in given])
            return [raw / self._unit - self._mid for _ in self._ks]
        reach = np.array([scale.hi - scale.lo for scale in self._scales]) / 2
        offset = np.array([scale.lo for scale in self._scales]) - self._mid + reach
        random = np.random.default_rng(self.ground.seed)
        return [spread_starts(k, len(reach), random) * reach + offset for k in self._ks]

    def outputs(self, question: Json) -> tuple[Output, ...]:
        people = self.ground.people
        if question["step"] == SCALING:
            third = self._noise(1, Fraction(1, 3))
            found = [Output("people", 1, third, people)]
            for kind, power in (("sum", 1), ("square", 2)):
                for scale in self._scales:
                    most = scale.sensitivity**power
                    if power == 2 and self.ground.noise:
                        most = -(-most // (1 << _shift(scale)))
                    noise = self._noise(most, Fraction(1, 3), len(self._scales))
                    below = people * most if power == 1 else 0
                    found.append(Output(f"{kind}:{scale.name}", 1, noise, people * most, below))
            return tuple(found)
        if question["step"] == CLOSING:
            half = Fraction(1, 2)
            inertia = self._noise(1 << INERTIA_BITS, half)
            return tuple(
                output
                for run, k in enumerate(self._ks)
                for output in (
                    Output(f"size {run}", k, self._noise(1, half), people),
                    Output(f"inertia {run}", 1, inertia, people << INERTIA_BITS),
                )
            )
        return tuple(output for run, k in enumerate(self._ks) for output in self._step_of(run, k))

    def _step_of(self, run: int, k: int) -> list[Output]:
        people = self.ground.people
        found = [Output(f"count {run}", k, self._noise(1, self._counted), people)]
        for scale in self._scales:
            most = scale.sensitivity
            noise = self._noise(most, 1 - self._counted, len(self._scales))
            name = f"sum {run} of {scale.name}"
            found.append(Output(name, k, noise, people * most, people * most))
        return found

    def vector(self, question: Json, party: str, rows: EligibleRows) -> Vector:
        points, _ = self._points(party, rows, question.get("weight"))
        if question["step"] == SCALING:
            centred = [f - m for f, m in zip(points.features, points.middle, strict=True)]
            firsts = [[exact_sum(feature)] for feature in centred]
            return [[len(points)], *firsts, *self._squares(centred)]
        found: Vector = []
        for centres in question["centres"]:
            at = np.array(centres)
            if question["step"] == CLOSING:
                sizes, gaps = closest(points, at)
                found += [sizes, [self._inertia_units(gaps, question["weight"])]]
                continue
            made, d = step(points, at), at.shape[1]
            found += [made.counts, *(made.sums[feature::d] for feature in range(d))]
        return found

    def _squares(self, centred: Sequence[npt.NDArray[np.int64]]) -> Vector:
        """Σ value² per feature, each in units of 2^shift."""
        if not self.ground.noise:
            return [[exact_squares(feature)] for feature in centred]
        found = []
        for feature, scale in zip(centred, self._scales, strict=True):
            rounded = np.rint(feature.astype(float) ** 2 / 2.0 ** _shift(scale))
            found.append([exact_sum(rounded.astype(np.int64))])
        return found

    def _largest(self, weight: list[float]) -> float:
        """Σ weight·(hi - lo)² over the features: no distance inside the bounds is larger."""
        spans = np.array([float(scale.hi - scale.lo) for scale in self._scales]) * self._unit
        return float(np.sum(np.array(weight) * spans**2))

    def _inertia_units(self, gaps: Floats, weight: list[float]) -> int:
        shares = np.rint(gaps / self._largest(weight) * (1 << INERTIA_BITS))
        # Centres lie within the bounds, so a share is at most one but for rounding.
        return exact_sum(np.clip(shares, 0, 1 << INERTIA_BITS).astype(np.int64))

    def advance(self, turn: Turn, totals: Vector) -> Turn:
        question = turn.question
        if question["step"] == SCALING:
            weight = self._weights(totals)
            return Turn(
                {"done": 0, "iterations": [0] * len(self._ks)},
                {"step": ITERATING, "weight": weight, "centres": turn.state["starts"]},
            )
        if question["step"] == CLOSING:
            return self._chosen(turn, totals)
        return self._iterated(turn, totals)

    def _weights(self, totals: Vector) -> list[float]:
        """1 / variance of each feature; noise cannot make one smaller than a thousandth of its
        range."""
        d, people = len(self._scales), max(1, totals[0][0])
        found = []
        for j, scale in enumerate(self._scales):
            mean = totals[1 + j][0] / people
            shift = _shift(scale) if self.ground.noise else 0
            variance = (totals[1 + d + j][0] << shift) / people - mean**2
            least = ((scale.hi - scale.lo) / 1000) ** 2 if self.ground.noise else 0.0
            variance = max(variance, least) / scale.unit**2
            found.append(1.0 / variance if variance > 0 else 1.0)
        return found

    def _iterated(self, turn: Turn, totals: Vector) -> Turn:
        done, d = turn.state["done"] + 1, len(self._scales)
        centres, iterations, moved = [], list(turn.state["iterations"]), False
        for run, before in enumerate(turn.question["centres"]):
            counts, *sums = totals[run * (d + 1) : (run + 1) * (d + 1)]
            after = self._moved(before, counts, sums)
            if after != before:
                iterations[run], moved = done, True
            centres.append(after)
        # With noise the number of rounds follows from the question; without, a run that stands
        # still would only repeat itself.
        last = done == self._iterations or not (moved or self.ground.noise)
        return Turn(
            {"done": done, "iterations": iterations},
            turn.question | {"step": CLOSING if last else ITERATING, "centres": centres},
        )

    def _moved(self, before: Any, counts: list[int], sums: list[list[int]]) -> list[list[float]]:
        """New centres within the bounds; a cluster that is empty or too small keeps its own."""
        least = max(1, self.ground.min_cohort)
        found = []
        for c, count in enumerate(counts):
            if count < least:
                found.append(list(before[c]))
                continue
            found.append(
                [
                    min(max(sums[j][c] / count, scale.lo - scale.mid), scale.hi - scale.mid)
                    for j, scale in enumerate(self._scales)
                ]
            )
        return found

    # -- the end -----------------------------------------------------------------------------

    def _chosen(self, turn: Turn, totals: Vector) -> Turn:
        """Of each k the run with the least inertia; of several k the first is shown in full."""
        weight = turn.question["weight"]
        unit = self._largest(weight) / (1 << INERTIA_BITS)
        inertias = [max(0, totals[2 * run + 1][0]) * unit for run in range(len(self._ks))]
        best: dict[int, int] = {}
        for run, k in enumerate(self._ks):
            if k not in best or inertias[run] < inertias[best[k]]:
                best[k] = run
        models = [self._model(turn, run, totals[2 * run], inertias[run]) for run in best.values()]
        shown = models[0]
        if self.ground.noise:  # in the table's units, which only the scaling's answer settles
            per_person = self._noise(1 << INERTIA_BITS, Fraction(1, 2))
            shown |= {"inertia_sigma": per_person.sigma * sqrt(len(self.ground.parties)) * unit}
        if len(models) > 1:
            shown = shown | {"by_k": [{"k": m["k"], "inertia": m["inertia"]} for m in models]}
        chosen = turn.question["centres"][next(iter(best.values()))]
        question = {"step": "labels", "weight": weight, "centres": [chosen]}
        return Turn({}, question, shown)

    def _model(self, turn: Turn, run: int, sizes: list[int], inertia: float) -> Json:
        reasons = withheld_cells(np.array([sizes]), self.ground.min_cohort)[0]
        raw = (np.array(turn.question["centres"][run]) + self._mid) * self._unit
        found = {
            "k": self._ks[run],
            "features": list(self.ground.names),
            "centres": raw.tolist(),
            "sizes": [
                size if reason == 0 else None for size, reason in zip(sizes, reasons, strict=True)
            ],
            "sizes_withheld": [REASONS[reason] for reason in reasons],
            "inertia": inertia,
            "iterations": min(turn.state["done"], turn.state["iterations"][run] + 1),
        }
        if self._zscore:
            found["deviations"] = [weight**-0.5 for weight in turn.question["weight"]]
        return found

    def local(self, question: Json, party: str, rows: EligibleRows) -> Local | None:
        points, known = self._points(party, rows, question["weight"])
        found = np.full(len(rows), np.nan)
        found[known] = labels(points, np.array(question["centres"][0]))
        return Local("labels", {"label": _whole(found)})

    # -- people ------------------------------------------------------------------------------

    def _points(
        self, party: str, rows: EligibleRows, weight: list[float] | None
    ) -> tuple[Points, Mask]:
        """The rows that have every feature, and which these are."""
        known = np.ones(len(rows), dtype=np.bool_)
        columns = []
        for scale in self._scales:
            values, null = self._values(party, scale, rows)
            columns.append(values)
            if null.any():
                known &= ~null
        if not known.all():
            columns = [column[known] for column in columns]
        reach = max(scale.sensitivity for scale in self._scales)
        weights = np.array(weight if weight is not None else [1.0] * len(columns))
        middle = [scale.mid for scale in self._scales]
        return Points(columns, middle, self._unit, weights, reach), known

    def _values(self, party: str, scale: NumberScale, rows: EligibleRows) -> tuple[Any, Mask]:
        column = self.ground.column(party, scale.name)
        if column.kind == NUMBER:
            return self.ground.values(party, scale.name, rows)
        codes = rows.labels[column.attribute].astype(np.int64)
        flag = Number(codes, np.zeros(len(codes), dtype=np.bool_), 0, 1, 0)
        return flag.values, flag.null


def _whole(values: Floats) -> Any:
    """Integers with gaps."""
    unknown = np.isnan(values)
    return np.ma.array(np.where(unknown, 0, values).astype(np.int64), mask=unknown)


def _shift(scale: NumberScale) -> int:
    """Bits by which squares are rounded where noise is added, which is drawn in 64 bits."""
    return max(0, 2 * scale.sensitivity.bit_length() - 40)
