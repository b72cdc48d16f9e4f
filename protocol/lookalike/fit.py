"""Seeds against a population: logistic regression from the seeds' sums, and everybody's score.

Who runs it: B, on its own people and the opened sums.
Learns: B the model; nobody else anything.
Source: protocols.md section 4: the labels enter the objective only through Xᵀy, so that

    Σ log(1+e^η) - Xᵀy·w + ½·l2·‖w‖²,  η = b + z·w

over B's people (z: features minus B's mean, by B's deviation; the intercept b is not penalised)
is fitted here as anywhere else.  Newton's method (IRLS; Hastie, Tibshirani, Friedman, section
4.4.1), each step halved until the objective falls; convex and, with l2 > 0 and fewer seeds than
people, with exactly one minimum.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.errors import Failed

Floats = npt.NDArray[np.float64]
MOST_STEPS = 100
_SMALL_STEP = 1e-10
_HALVINGS = 40


@dataclass(frozen=True)
class Fitted:
    """intercept and weights of the standardised features (0 for one that does not vary);
    scores: float64[people], probability to be a seed; steps: of Newton's method."""

    intercept: float
    weights: Floats
    scores: Floats
    steps: int


def fit(values: npt.NDArray[np.int64], seeds: int, sums: Sequence[float], l2: float) -> Fitted:
    """values: int64[people, d], who lack nothing.  seeds: the (noisy) number of seeds among them;
    sums: per column the (noisy) total over the seeds, in the units of `values`.

    Raises Failed('not_identified') where there is no minimum.
    """
    people = len(values)
    if not 0 < seeds < people:
        raise Failed(
            "not_identified",
            f"{seeds} seeds among {people} people leave nobody to tell them from",
            stage="fit",
            next_step="ask with fewer seeds, or a larger rho if noise made them so many",
        )
    features = values.astype(np.float64)
    mean, deviation = features.mean(axis=0), features.std(axis=0)
    varies = np.ptp(values, axis=0) > 0
    z = (features[:, varies] - mean[varies]) / deviation[varies]
    # The sums are standardised like the features: linear, so of the sum as of each person.
    totals = np.array(sums, dtype=np.float64)
    target = (totals - seeds * mean)[varies] / deviation[varies]
    found, steps = _newton(
        np.column_stack((np.ones(people), z)), np.array([float(seeds), *target]), l2
    )
    weights = np.zeros(len(mean))
    weights[varies] = found[1:]
    return Fitted(float(found[0]), weights, _sigmoid(found[0] + z @ found[1:]), steps)


def _newton(design: Floats, target: Floats, l2: float) -> tuple[Floats, int]:
    penalty = np.full(len(target), l2)
    penalty[0] = 0.0
    at = np.zeros(len(target))
    at[0] = np.log(target[0] / (len(design) - target[0]))
    value = _objective(design, target, penalty, at)
    for step in range(1, MOST_STEPS + 1):
        chance = _sigmoid(design @ at)
        slope = design.T @ chance - target + penalty * at
        bend = (design.T * (chance * (1 - chance))) @ design + np.diag(penalty)
        try:
            move = -np.linalg.solve(bend, slope)
        except np.linalg.LinAlgError:
            break
        if np.abs(move).max() <= _SMALL_STEP:
            return at + move, step
        for _ in range(_HALVINGS):
            there = _objective(design, target, penalty, at + move)
            # Near the minimum the difference drowns in rounding; the step is right all the same.
            if there <= value + 1e-12 * abs(value):
                break
            move = move / 2
        at, value = at + move, there
    raise Failed(
        "not_identified",
        f"the model did not settle within {MOST_STEPS} steps",
        stage="fit",
        next_step="write a larger l2, or leave out features that nearly determine the seeds",
    )


def _objective(design: Floats, target: Floats, penalty: Floats, at: Floats) -> float:
    fits = np.logaddexp(0.0, design @ at).sum() - target @ at
    return float(fits + 0.5 * (penalty * at * at).sum())


def _sigmoid(eta: Floats) -> Floats:
    """1/(1+e^-η) without overflow at either end."""
    small = np.exp(-np.abs(eta))
    found: Floats = np.where(eta >= 0, 1.0, small) / (1.0 + small)
    return found
