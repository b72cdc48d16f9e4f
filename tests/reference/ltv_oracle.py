"""BG/NBD and Gamma-Gamma one person at a time, as the papers write them: loops and lgamma."""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, lgamma, log


def bg_nbd_person(r: float, alpha: float, a: float, b: float, x: float, t: float, age: float):
    """Log of equation 6: L = B(a, b+x)/B(a, b) Γ(r+x)α^r/Γ(r)(α+T)^(r+x) + …"""

    def log_beta(u: float, v: float) -> float:
        return lgamma(u) + lgamma(v) - lgamma(u + v)

    gamma = lgamma(r + x) - lgamma(r) + r * log(alpha)
    alive = exp(log_beta(a, b + x) - log_beta(a, b) + gamma - (r + x) * log(alpha + age))
    if x == 0:
        return log(alive)
    gone = log_beta(a + 1, b + x - 1) - log_beta(a, b) + gamma - (r + x) * log(alpha + t)
    return log(alive + exp(gone))


def bg_nbd(parameters: Sequence[float], people: Sequence[tuple[float, float, float]]) -> float:
    return sum(bg_nbd_person(*parameters, *person) for person in people)


def gamma_gamma(parameters: Sequence[float], people: Sequence[tuple[float, float]]) -> float:
    """people: x, mean value."""
    p, q, v = parameters
    return sum(
        lgamma(p * x + q) - lgamma(p * x) - lgamma(q) + q * log(v) + (p * x - 1) * log(m)
        + p * x * log(x) - (p * x + q) * log(x * m + v)
        for x, m in people
    )  # fmt: skip


def p_alive(parameters: Sequence[float], x: float, t: float, age: float) -> float:
    r, alpha, a, b = parameters
    if x == 0:
        return 1.0
    return 1 / (1 + a / (b + x - 1) * ((alpha + age) / (alpha + t)) ** (r + x))


def expected(parameters: Sequence[float], x: float, t: float, age: float, horizon: float) -> float:
    """Equation 10, with the hypergeometric function as its series."""
    r, alpha, a, b = parameters
    z = horizon / (alpha + age + horizon)
    term = series = 1.0
    for k in range(4000):
        term *= (r + x + k) * (b + x + k) / ((a + b + x - 1 + k) * (k + 1)) * z
        series += term
    shrink = ((alpha + age) / (alpha + age + horizon)) ** (r + x)
    rest = (a + b + x - 1) / (a - 1) * (1 - shrink * series)
    return rest * p_alive(parameters, x, t, age)
