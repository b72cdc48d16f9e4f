"""Gamma-Gamma: what a purchase is worth.  Likelihood, derivatives, expectation.

Who runs it: every party over its own people; the requester over the cells of a histogram.
Learns: nobody, anything.
Source: Fader, Hardie, "The Gamma-Gamma Model of Monetary Value" (2013), equations 1a and 5.

Only people with x >= 1 repeat purchases of a positive mean value m take part.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.special import digamma, gammaln, polygamma

Floats = npt.NDArray[np.float64]
PARAMETERS = ("p", "q", "v")


@dataclass(frozen=True)
class Spending:
    """float64[n]: x repeat purchases of mean value m; weight as in bg_nbd.History."""

    x: Floats
    m: Floats
    weight: Floats | None = None

    def total(self, values: Floats) -> float:
        return float(values.sum() if self.weight is None else values @ self.weight)


def likelihood(theta: Floats, data: Spending) -> tuple[float, list[float], list[float]]:
    """Log-likelihood, gradient (3) and Hessian (6, upper triangle) in log parameters."""
    p, q, v = (float(value) for value in np.exp(theta))
    x, m = data.x, data.m
    whole, px = x * m + v, p * x
    value = (
        gammaln(px + q) - gammaln(px) - gammaln(q) + q * np.log(v)
        + (px - 1) * np.log(m) + px * np.log(x) - (px + q) * np.log(whole)
    )  # fmt: skip
    first = (
        x * (digamma(px + q) - digamma(px) + np.log(m) + np.log(x) - np.log(whole)),
        digamma(px + q) - digamma(q) + np.log(v) - np.log(whole),
        q / v - (px + q) / whole,
    )
    second = {
        (0, 0): x**2 * (polygamma(1, px + q) - polygamma(1, px)),
        (0, 1): x * polygamma(1, px + q),
        (0, 2): -x / whole,
        (1, 1): polygamma(1, px + q) - polygamma(1, q),
        (1, 2): 1 / v - 1 / whole,
        (2, 2): -q / v**2 + (px + q) / whole**2,
    }
    scale = (p, q, v)
    gradient = [scale[i] * data.total(first[i]) for i in range(3)]
    bend = [
        scale[i] * scale[j] * data.total(second[i, j]) + (gradient[i] if i == j else 0.0)
        for i in range(3)
        for j in range(i, 3)
    ]
    return data.total(value), gradient, bend


def starts() -> list[list[float]]:
    """Log parameters to begin from, v in units of the scale that the model chose."""
    found = ((4.0, 3.0, 1.0), (1.0, 6.0, 4.0), (10.0, 2.0, 0.3))
    return [[float(np.log(value)) for value in start] for start in found]


def expected_value(parameters: Floats, x: Floats, m: Floats) -> Floats:
    """float64[n]: mean value of future purchases; of everybody's where a person has x = 0.

    NaN where the expectation does not exist.
    """
    p, q, v = (float(value) for value in parameters)
    below = p * x + q - 1
    return np.where(below > 0, p * (v + x * m) / np.where(below > 0, below, 1.0), np.nan)
