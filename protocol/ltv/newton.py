"""Newton's method as a conversation: it proposes points, is told totals there, and goes on.

Who runs it: the requester.  Learns: the totals of likelihood, gradient and Hessian.
Source: protocols.md section 4; Levenberg-Marquardt damping on the Hessian's absolute
eigenvalues (saddle-free), because a likelihood is not concave far from its top.

Parameters are positive, so everything is in their logarithms.  Several starts run side by side.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.errors import Failed

Floats = npt.NDArray[np.float64]
LIMIT = 9.0  # a parameter beyond e^±9 times its start's scale is not in the data
LONGEST = 1.5  # of one step, in the logarithm
ENOUGH = 1e-11  # expected gain at which a start has arrived, per 1,000 of log-likelihood
UNKNOWN = 3.0  # standard error of a logarithm from which a parameter is not identified
MOST_STEPS = 40


@dataclass(frozen=True)
class Start:
    """One climb.  at: the best point; value, slope, bend: what was told there; asked: the point
    that waits for an answer, empty when it has ended; damping: of the next step."""

    at: tuple[float, ...]
    asked: tuple[float, ...]
    value: float = -np.inf
    slope: tuple[float, ...] = ()
    bend: tuple[float, ...] = ()
    damping: float = 1e-3
    steps: int = 0
    arrived: bool = False


def begin(starts: Sequence[Sequence[float]]) -> list[Start]:
    return [Start(tuple(start), tuple(start)) for start in starts]


def answer(start: Start, value: float, slope: Sequence[float], bend: Sequence[float]) -> Start:
    """The next state, after log-likelihood, d gradient and d(d+1)/2 Hessian entries (upper
    triangle, row by row) at `start.asked`."""
    steps = start.steps + 1
    if value > start.value or not start.slope:
        start = replace(start, at=start.asked, value=value, slope=tuple(slope), bend=tuple(bend),
                        damping=start.damping / 10)  # fmt: skip
    else:
        start = replace(start, damping=max(start.damping, 1e-6) * 10)
    step, gain = _step(start)
    arrived = gain < ENOUGH * max(1.0, abs(start.value) / 1000)
    asked = np.clip(np.array(start.at) + step, -LIMIT, LIMIT)
    # At the end of its range, or unable to gain: more rounds would say the same.
    stuck = start.damping > 1e8 or bool(np.abs(asked - start.at).max() < 1e-9)
    over = arrived or stuck or steps >= MOST_STEPS
    return replace(
        start, steps=steps, arrived=bool(arrived), asked=() if over else tuple(asked.tolist())
    )


def _step(start: Start) -> tuple[Floats, float]:
    """The damped step, and half the squared Newton decrement: what it promises to gain."""
    gradient, hessian = np.array(start.slope), square(start.bend)
    eigenvalues, vectors = np.linalg.eigh(hessian)
    curvature = np.abs(eigenvalues)
    least = max(float(curvature.max()), 1e-12) * 1e-12
    along = vectors.T @ gradient
    newton = along / np.maximum(curvature, least)
    gain = float(along @ newton) / 2
    damped = along / np.maximum(curvature * (1 + start.damping), least)
    step = vectors @ damped
    longest = float(np.abs(step).max())
    return step * min(1.0, LONGEST / longest) if longest > 0 else step, gain


def square(bend: Sequence[float]) -> Floats:
    """float64[d, d] from the upper triangle."""
    d = int((np.sqrt(8 * len(bend) + 1) - 1) / 2)
    found = np.zeros((d, d))
    found[np.triu_indices(d)] = bend
    return np.asarray(found + np.triu(found, 1).T)


def top(starts: Sequence[Start], name: str, parameters: Sequence[str]) -> Start:
    """The best start that arrived.  Raises Failed('not_identified') in words."""
    arrived = [start for start in starts if start.arrived]
    if not arrived:
        raise not_identified(name, "no start arrived at a maximum")
    best = max(arrived, key=lambda start: start.value)
    for parameter, at in zip(parameters, best.at, strict=True):
        if abs(at) >= LIMIT - 1e-6:
            raise not_identified(name, f"{parameter} runs to the end of its range")
    errors = standard_errors(best)
    if errors is None:
        raise not_identified(name, "the likelihood is flat in some direction")
    for parameter, error in zip(parameters, errors, strict=True):
        if error > UNKNOWN:
            raise not_identified(name, f"{parameter} could be anything (standard error of its "
                                 f"logarithm {error:.1f})")  # fmt: skip
    return best


def standard_errors(start: Start) -> list[float] | None:
    """Of the logarithms, from the Hessian; None where it is not that of a maximum."""
    eigenvalues, vectors = np.linalg.eigh(-square(start.bend))
    if eigenvalues.min() <= 1e-10 * max(1.0, float(eigenvalues.max())):
        return None
    return [float(x) for x in np.sqrt((vectors**2 / eigenvalues).sum(axis=1))]


def not_identified(name: str, why: str) -> Failed:
    return Failed(
        "not_identified",
        f"the data does not determine {name}: {why}",
        stage="fit",
        next_step="use people with more purchases, a longer time, or more companies",
    )


def to_json(start: Start) -> list[Any]:
    return [list(start.at), list(start.asked), start.value if start.slope else None,
            list(start.slope), list(start.bend), start.damping, start.steps,
            start.arrived]  # fmt: skip


def from_json(value: Sequence[Any]) -> Start:
    at, asked, height, slope, bend, damping, steps, arrived = value
    height = -np.inf if height is None else height
    return Start(tuple(at), tuple(asked), height, tuple(slope), tuple(bend), damping, steps,
                 arrived)  # fmt: skip
