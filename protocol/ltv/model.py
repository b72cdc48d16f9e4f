"""`protocol: ltv`: how often, how long and for how much people will buy, over all parties.

Who runs it: see `protocol.secure_sum.model`.
Learns: every party the parameters (without noise those of every step on the way too); each its
own people's expected purchases, probability of being alive, value.
Source: protocols.md section 4; `bg_nbd`, `gamma_gamma` for the papers.

Noise on: one round of histograms (rho over them), and the fit is post-processing.  Noise off:
likelihood, gradient and Hessian of all starts in every round, and Newton's steps between them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from protocol.errors import Failed, Refused
from protocol.ltv import bg_nbd, gamma_gamma, newton
from protocol.ltv.bg_nbd import Floats, History
from protocol.ltv.cells import HistoryGrid, SpendingGrid, denoised
from protocol.ltv.gamma_gamma import Spending
from protocol.release.noise import noise_scale
from protocol.rows import EligibleRows
from protocol.secure_sum.model import Ground, Json, Local, Mask, Turn
from protocol.secure_sum.party import Vector
from protocol.secure_sum.spec import Output

HISTORY, MONEY = "bg_nbd", "gamma_gamma"
SIZES = {HISTORY: 15, MONEY: 10}  # 1 + d + d(d+1)/2 totals
PARAMETERS = {HISTORY: bg_nbd.PARAMETERS, MONEY: gamma_gamma.PARAMETERS}
WORDS = {HISTORY: "how often people buy (BG/NBD)", MONEY: "what a purchase is worth (Gamma-Gamma)"}
FRACTION = 40  # bits after the point of a total
TOTAL = 74  # bits of a total's bound; with bias a slot has 77 to 79
PERIODS = 12  # of the horizon, for discounting
REFITS = 5  # with noise added once more: what the noise does to the parameters
_MONEY_SCALE = 20  # v is about the largest amount ÷ this, for the starts


@dataclass(frozen=True)
class Ltv:
    """A `Model`."""

    ground: Ground

    def __post_init__(self) -> None:
        for name in self.ground.names:
            self.ground.scale(name)  # refuses what is no number

    @property
    def _fits(self) -> tuple[str, ...]:
        return (HISTORY, MONEY) if "monetary" in self.ground.names else (HISTORY,)

    @property
    def rounds(self) -> int:
        return 1 if self.ground.noise else newton.MOST_STEPS

    # -- units: T up to about 1, amounts about 1 -----------------------------------------------

    def _bounds(self, name: str) -> tuple[float, float]:
        scale = self.ground.scale(name)
        return scale.lo / scale.unit, scale.hi / scale.unit

    @cached_property
    def _time(self) -> float:
        return self._bounds("T")[1] or 1.0

    @property
    def _horizon(self) -> float:
        """As far ahead as T can look back, if nobody says."""
        return float(self.ground.settings["horizon"] or self._time)

    @cached_property
    def _money(self) -> float:
        return max(self._bounds("monetary")[1] / _MONEY_SCALE, 1e-9)

    def _grids(self) -> dict[str, HistoryGrid | SpendingGrid]:
        most = self._bounds("frequency")[1]
        lowest = max(0.0, self._bounds("T")[0]) / self._time
        found: dict[str, HistoryGrid | SpendingGrid] = {HISTORY: HistoryGrid(lowest, 1.0, most)}
        if MONEY in self._fits:
            # Three powers of ten below the largest amount, and nothing below its last decimal.
            largest = self._bounds("monetary")[1]
            least = max(largest / 1000, 1 / self.ground.scale("monetary").unit)
            found[MONEY] = SpendingGrid(least / self._money, largest / self._money, most)
        return found

    # -- rounds ------------------------------------------------------------------------------

    def begin(self) -> Turn:
        if self.ground.noise:
            return Turn({}, {"step": "histogram"})
        climbs = {HISTORY: newton.begin(bg_nbd.starts(self._time))}
        if MONEY in self._fits:
            climbs[MONEY] = newton.begin(gamma_gamma.starts())
        return self._next(climbs)

    def _next(self, climbs: dict[str, list[newton.Start]]) -> Turn:
        asked = {fit: [list(s.asked) for s in starts if s.asked] for fit, starts in climbs.items()}
        state = {fit: [newton.to_json(start) for start in starts] for fit, starts in climbs.items()}
        return Turn(state, {"step": "newton", "points": asked})

    def outputs(self, question: Json) -> tuple[Output, ...]:
        people, rho = self.ground.people, self.ground.rho_nano
        if question["step"] == "histogram":
            scale = noise_scale(1, rho, len(self._fits))
            return tuple(Output(fit, g.cells, scale, people) for fit, g in self._grids().items())
        exact = noise_scale(0, 0, 1)
        found = [
            Output(f"{fit} {i}", SIZES[fit], exact, 1 << TOTAL, 1 << TOTAL)
            for fit, points in question["points"].items()
            for i in range(len(points))
        ]
        return (*found, Output("people", len(self._fits), exact, people))

    def vector(self, question: Json, party: str, rows: EligibleRows) -> Vector:
        data = self._data(party, rows)
        if question["step"] == "histogram":
            grids = self._grids()
            found: Vector = []
            for fit in self._fits:
                grid = grids[fit]
                if isinstance(grid, HistoryGrid):
                    found.append(grid.count(data.history))
                elif data.spending is not None:
                    found.append(grid.count(data.spending))
            return found
        totals: Vector = []
        for fit, points in question["points"].items():
            for theta in points:
                value, slope, bend = _likelihood(fit, np.array(theta), data)
                totals.append([_fixed(number) for number in (value, *slope, *bend)])
        people = [len(data.history.x)]
        if data.spending is not None:
            people.append(len(data.spending.x))
        return [*totals, people]

    def advance(self, turn: Turn, totals: Vector) -> Turn:
        if turn.question["step"] == "histogram":
            return self._fitted(totals)
        self._enough(totals[-1])
        climbs, told = {}, iter(totals)
        for fit, stored in turn.state.items():
            starts = [newton.from_json(value) for value in stored]
            climbs[fit] = [self._told(fit, s, next(told)) if s.asked else s for s in starts]
        if any(start.asked for starts in climbs.values() for start in starts):
            return self._next(climbs)
        tops = {
            fit: newton.top(starts, WORDS[fit], PARAMETERS[fit]) for fit, starts in climbs.items()
        }
        return self._done(tops, {})

    def _told(self, fit: str, start: newton.Start, numbers: list[int]) -> newton.Start:
        value, *rest = (number / (1 << FRACTION) for number in numbers)
        d = len(PARAMETERS[fit])
        return newton.answer(start, value, rest[:d], rest[d:])

    def _enough(self, people: Sequence[float]) -> None:
        """Parameters are a release about a group too: of everybody, and of all who came back."""
        for fit, count in zip(self._fits, people, strict=True):
            if count < self.ground.min_cohort:
                raise Refused(
                    "below_min_cohort",
                    f"{WORDS[fit]} would be of fewer than {self.ground.min_cohort} people",
                    stage="fit",
                    next_step="ask over more people",
                )

    # -- noise on ----------------------------------------------------------------------------

    def _fitted(self, totals: Vector) -> Turn:
        self._enough([float(sum(counts)) for counts in totals])
        sigma = self._sigma
        random = np.random.default_rng(self.ground.seed)  # only says how sure the fit is
        tops, errors = {}, {}
        for fit, counts in zip(self._fits, totals, strict=True):
            tops[fit] = self._fit(fit, denoised(counts, self._grids()[fit].groups, sigma), None)
            again = [
                self._refit(fit, counts, random.normal(0, sigma, len(counts)), tops[fit])
                for _ in range(REFITS)
            ]
            found = [np.exp(theta) * self._units(fit) for theta in again if theta is not None]
            spread = np.std(found, axis=0) if len(found) > 1 else np.full(SIZES[fit], np.nan)
            errors[fit] = {
                name: float(value) if np.isfinite(value) else None
                for name, value in zip(PARAMETERS[fit], spread, strict=False)
            }
        return self._done(tops, errors)

    def _fit(self, fit: str, weight: Floats, start: newton.Start | None) -> newton.Start:
        """The whole climb here, over the cells as if they were people."""
        grid = self._grids()[fit]
        begins = [list(start.at)] if start is not None else None
        if isinstance(grid, HistoryGrid):
            data = _Data(grid.history(weight), None)
            climbs = newton.begin(begins or bg_nbd.starts(self._time))
        else:
            data = _Data(None, grid.spending(weight))
            climbs = newton.begin(begins or gamma_gamma.starts())
        while any(climb.asked for climb in climbs):
            climbs = [
                newton.answer(climb, *_likelihood(fit, np.array(climb.asked), data))
                if climb.asked
                else climb
                for climb in climbs
            ]
        return newton.top(climbs, WORDS[fit], PARAMETERS[fit])

    def _refit(
        self, fit: str, counts: list[int], noise: Floats, start: newton.Start
    ) -> Floats | None:
        noisier = [int(count + n) for count, n in zip(counts, noise, strict=True)]
        twice = self._sigma * math.sqrt(2)
        try:
            at = self._fit(fit, denoised(noisier, self._grids()[fit].groups, twice), start).at
        except Failed:
            return None  # one of a few; the spread is of the others
        return np.array(at)

    @property
    def _sigma(self) -> float:
        scale = noise_scale(1, self.ground.rho_nano, len(self._fits))
        return scale.sigma * math.sqrt(len(self.ground.parties))

    def sigmas(self) -> dict[str, float]:
        return {"histogram": self._sigma} if self.ground.noise else {}

    # -- the end -----------------------------------------------------------------------------

    def _units(self, fit: str) -> Floats:
        """What turns the model's parameters into the table's units."""
        if fit == HISTORY:
            return np.array([1.0, self._time, 1.0, 1.0])
        return np.array([1.0, 1.0, self._money])

    def _done(self, tops: dict[str, newton.Start], errors: Json) -> Turn:
        """standard_errors are of the likelihood (the people); noise_errors of the noise."""
        parameters: Json = {}
        fitted: Json = {}
        for fit, top in tops.items():
            values = np.exp(np.array(top.at)) * self._units(fit)
            fitted[fit] = dict(zip(PARAMETERS[fit], values.tolist(), strict=True))
            logs = newton.standard_errors(top) or [math.nan] * len(values)
            parameters[fit] = fitted[fit] | {
                "standard_errors": {
                    name: float(value * error)
                    for name, value, error in zip(PARAMETERS[fit], values, logs, strict=True)
                },
                "steps": top.steps,
            }
            if fit in errors:
                parameters[fit]["noise_errors"] = errors[fit]
        return Turn({}, {"parameters": fitted}, {"parameters": parameters})

    def local(self, question: Json, party: str, rows: EligibleRows) -> Local | None:
        fitted = question["parameters"]
        # In the table's own units, in which the parameters are.
        data = self._data(party, rows, scaled=False)
        history = np.array([fitted[HISTORY][name] for name in bg_nbd.PARAMETERS])
        n, known = len(rows), data.known
        columns = {
            "p_alive": _spread(n, known, bg_nbd.p_alive(history, data.history)),
            "expected_purchases": _spread(
                n, known, bg_nbd.expected_purchases(history, data.history, self._horizon)
            ),
        }
        if MONEY in fitted:
            money = np.array([fitted[MONEY][name] for name in gamma_gamma.PARAMETERS])
            worth = gamma_gamma.expected_value(money, data.bought, data.amount)
            columns["expected_value"] = _spread(n, known, worth)
            columns["clv"] = _spread(n, known, worth * self._discounted(history, data.history))
        return Local("scores", columns)

    def _discounted(self, parameters: Floats, data: History) -> Floats:
        """Purchases expected over the horizon, each worth less the later it comes."""
        horizon, rate = self._horizon, float(self.ground.settings["discount"])
        total, before = np.zeros(len(data.x)), np.zeros(len(data.x))
        for period in range(1, PERIODS + 1):
            at = horizon * period / PERIODS
            now = bg_nbd.expected_purchases(parameters, data, at)
            total += (now - before) / (1 + rate) ** at
            before = now
        return total

    # -- people ------------------------------------------------------------------------------

    def _data(self, party: str, rows: EligibleRows, *, scaled: bool = True) -> _People:
        raw: dict[str, Any] = {}
        known = np.ones(len(rows), dtype=np.bool_)
        for name in self.ground.names:
            values, null = self.ground.values(party, name, rows)
            raw[name] = values / self.ground.scale(name).unit
            if name != "monetary":
                known &= ~null
            else:
                raw[name] = np.where(null, 0.0, raw[name])
        time, money = (
            (self._time, self._money if MONEY in self._fits else 1.0) if scaled else (1, 1)
        )
        x, age = np.rint(np.maximum(raw["frequency"][known], 0)), raw["T"][known] / time
        age = np.maximum(age, 0.0)
        t = np.where(x > 0, np.clip(raw["recency"][known] / time, 0.0, age), 0.0)
        amount = raw["monetary"][known] / money if "monetary" in raw else np.zeros(len(x))
        spending = None
        if "monetary" in raw:
            paid = (x > 0) & (amount > 0)
            spending = Spending(x[paid], amount[paid])
        # Who has no mean value yet is worth what everybody is.
        bought = np.where(amount > 0, x, 0.0)
        return _People(History(x, t, age), spending, known, bought, amount)


@dataclass(frozen=True)
class _Data:
    history: History | None
    spending: Spending | None


@dataclass(frozen=True)
class _People:
    """A party's own: who is known (bool[n]), and of those the rest."""

    history: History
    spending: Spending | None
    known: Mask
    bought: Floats
    amount: Floats


def _likelihood(
    fit: str, theta: Floats, data: _Data | _People
) -> tuple[float, list[float], list[float]]:
    if fit == HISTORY and data.history is not None:
        return bg_nbd.likelihood(theta, data.history)
    if fit == MONEY and data.spending is not None:
        return gamma_gamma.likelihood(theta, data.spending)
    raise ValueError(f"no data for {fit}")


def _fixed(number: float) -> int:
    """2^-40 fixed point.  Raises Failed for what a likelihood of real people cannot be."""
    if not math.isfinite(number) or abs(number) >= 2.0 ** (TOTAL - FRACTION):
        raise Failed(
            "out_of_bounds",
            "a likelihood is no finite number of usual size",
            stage="sum",
            next_step="check frequency, recency and T of this company: is recency up to T?",
        )
    return round(math.ldexp(number, FRACTION))


def _spread(n: int, known: Mask, values: Floats) -> Floats:
    """NaN where somebody is not known."""
    found = np.full(n, np.nan)
    found[known] = values
    return found
