"""BG/NBD: how often people buy until they stop.  Likelihood, derivatives, predictions.

Who runs it: every party over its own people; the requester over the cells of a histogram.
Learns: nobody, anything.
Source: Fader, Hardie, Lee, "Counting Your Customers the Easy Way" (2005), equations 6, 7, 10.

frequency x: repeat purchases; recency t: from the first to the last purchase; age T: from the
first purchase to now.  Parameters r, alpha, a, b; derivatives are in their logarithms.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, gammaln, hyp2f1, polygamma

Floats = npt.NDArray[np.float64]
PARAMETERS = ("r", "alpha", "a", "b")


@dataclass(frozen=True)
class History:
    """float64[n] each; weight: how many people have it, None for one each."""

    x: Floats
    t: Floats
    age: Floats
    weight: Floats | None = None

    def total(self, values: Floats | float) -> float:
        spread = np.broadcast_to(np.asarray(values, dtype=float), self.x.shape)
        return float(spread.sum() if self.weight is None else spread @ self.weight)


def likelihood(theta: Floats, data: History) -> tuple[float, list[float], list[float]]:
    """Log-likelihood, gradient (4) and Hessian (10, upper triangle) in log parameters."""
    r, alpha, a, b = (float(p) for p in np.exp(theta))
    x, t, age = data.x, data.t, data.age
    bought = x > 0
    alive = -(r + x) * np.log(alpha + age)
    with np.errstate(divide="ignore"):
        gone = np.where(
            bought,
            np.log(a) - np.log(np.where(bought, b + x - 1, 1.0)) - (r + x) * np.log(alpha + t),
            -np.inf,
        )
    either = np.logaddexp(alive, gone)
    q = np.exp(gone - either)  # the share of "gone"; 0 without a repeat purchase
    p = 1 - q
    value = (
        gammaln(r + x) - gammaln(r) + r * np.log(alpha)
        + gammaln(a + b) + gammaln(b + x) - gammaln(b) - gammaln(a + b + x) + either
    )  # fmt: skip
    later = np.where(bought, b + x - 1, 1.0)
    # First derivatives of the two terms, and their difference.
    ar, aa = -np.log(alpha + age), -(r + x) / (alpha + age)
    gr, ga = -np.log(alpha + t), -(r + x) / (alpha + t)
    first = {
        "r": digamma(r + x) - digamma(r) + np.log(alpha) + p * ar + q * gr,
        "alpha": r / alpha + p * aa + q * ga,
        "a": digamma(a + b) - digamma(a + b + x) + q / a,
        "b": digamma(a + b) + digamma(b + x) - digamma(b) - digamma(a + b + x) - q / later,
    }
    apart = {"r": gr - ar, "alpha": ga - aa, "a": np.full_like(x, 1 / a), "b": -1 / later}
    shared = polygamma(1, a + b) - polygamma(1, a + b + x)
    own = {
        ("r", "r"): polygamma(1, r + x) - polygamma(1, r),
        ("r", "alpha"): 1 / alpha - p / (alpha + age) - q / (alpha + t),
        ("alpha", "alpha"): -r / alpha**2
        + (r + x) * (p / (alpha + age) ** 2 + q / (alpha + t) ** 2),
        ("a", "a"): shared - q / a**2,
        ("a", "b"): shared,
        ("b", "b"): shared + polygamma(1, b + x) - polygamma(1, b) + q / later**2,
    }
    scale = dict(zip(PARAMETERS, (r, alpha, a, b), strict=True))
    gradient = {name: scale[name] * data.total(first[name]) for name in PARAMETERS}
    bend = []
    for i, one in enumerate(PARAMETERS):
        for two in PARAMETERS[i:]:
            second = own.get((one, two), 0.0) + p * q * apart[one] * apart[two]
            entry = scale[one] * scale[two] * data.total(second)
            bend.append(entry + (gradient[one] if one == two else 0.0))
    return data.total(value), [gradient[name] for name in PARAMETERS], bend


def starts(longest: float) -> list[list[float]]:
    """Log parameters to begin from; longest: the public upper bound of T."""
    found = ((0.5, 0.2, 1.0, 2.0), (1.5, 0.6, 0.3, 3.0), (0.2, 0.1, 0.6, 0.8))
    return [[float(np.log(v)) for v in (r, alpha, a, b)] for r, alpha, a, b in found]


def p_alive(parameters: Floats, data: History) -> Floats:
    """float64[n]: the probability that a person has not stopped."""
    r, alpha, a, b = (float(p) for p in parameters)
    x, bought = data.x, data.x > 0
    later = np.where(bought, b + x - 1, 1.0)
    odds = (r + x) * np.log((alpha + data.age) / (alpha + data.t)) + np.log(a / later)
    return np.asarray(np.where(bought, 1 / (1 + np.exp(np.minimum(odds, 700))), 1.0))


def expected_purchases(parameters: Floats, data: History, horizon: float) -> Floats:
    """float64[n]: purchases expected in the next `horizon` (equation 10)."""
    r, alpha, a, b = (float(p) for p in parameters)
    if abs(a - 1) < 1e-6:
        a = 1 + 1e-6  # the formula has a removable singularity there
    x, whole = data.x, alpha + data.age + horizon
    series = hyp2f1(r + x, b + x, a + b + x - 1, horizon / whole)
    shrink = np.exp((r + x) * np.log((alpha + data.age) / whole))
    rest = (a + b + x - 1) / (a - 1) * (1 - shrink * series)
    return np.asarray(np.maximum(0.0, rest * p_alive(parameters, data)))
