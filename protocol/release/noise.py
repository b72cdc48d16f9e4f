"""How much noise a measure carries, and the port that draws it.

Who runs it: both parties derive the scales (they must agree to the integer, because
the slot width depends on the clamp); only the party whose rows are summed draws.
Learns: nobody anything.
Source: protocols.md sections 5 and 7, formulas 1, 3 and 5; exact discrete Gaussian,
Canonne, Kamath, Steinke 2020 (arXiv 2004.00010); zCDP, Bun, Steinke 2016.

The pure core has no random source.  `party_node.noise_opendp` is the one that runs;
the seeded one lives in tests, because OpenDP cannot be seeded and must not be.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

NANO = 10**9
MICRO = 10**6
DELTA = 1e-6
CLAMP_SIGMAS = 10


@dataclass(frozen=True)
class NoiseScale:
    """The noise of one measure.

    sensitivity: Δ, the most that one row changes one output, in the measure's integers.
    rho: this measure's share of the job's zCDP budget; 0 when noise is off.
    sigma_micro: σ in millionths, rounded up, so that all parties hold the same integer.
    clamp: t; |noise| <= t, and slots are wide enough for it.
    """

    sensitivity: int
    rho: Fraction
    sigma_micro: int
    clamp: int

    @property
    def sigma(self) -> float:
        return self.sigma_micro / MICRO


def noise_scale(sensitivity: int, rho_nano: int, measures: int) -> NoiseScale:
    """Formula 1: σ = Δ/√(2·rho/m), and t = ⌈10σ⌉+1, in integers.  rho_nano = 0: no noise."""
    if sensitivity < 0 or rho_nano < 0 or measures < 1:
        raise ValueError("a noise scale needs Δ >= 0, rho >= 0 and at least one measure")
    if rho_nano == 0 or sensitivity == 0:
        return NoiseScale(sensitivity, Fraction(0), 0, 0)
    numerator = sensitivity**2 * measures * NANO * MICRO**2
    sigma_micro = _ceil_sqrt(-(-numerator // (2 * rho_nano)))
    clamp = -(-CLAMP_SIGMAS * sigma_micro // MICRO) + 1
    return NoiseScale(sensitivity, Fraction(rho_nano, NANO * measures), sigma_micro, clamp)


def _ceil_sqrt(value: int) -> int:
    root = math.isqrt(value)
    return root + (root * root < value)


class NoiseSource(Protocol):
    """Fresh noise from the operating system's generator, every run (section 5)."""

    def sample(self, scale: NoiseScale, n: int) -> npt.NDArray[np.int64]:
        """n independent discrete Gaussians of at least `scale.sigma`; int64[n], unclamped."""
        ...


class NoNoise:
    """`noise: off`.  Only for a job that every policy allows to be exact."""

    def sample(self, scale: NoiseScale, n: int) -> npt.NDArray[np.int64]:
        if scale.sigma_micro:
            raise ValueError("a job with noise needs a source of noise")
        return np.zeros(n, dtype=np.int64)


def draw(source: NoiseSource, scale: NoiseScale, n: int) -> npt.NDArray[np.int64]:
    """n clamped noises; zeros without touching the source when the scale is zero.

    The clamp happens here and not in the source: an overlong sample must never reach
    the neighbouring slot, whoever wrote the source.  P(|N| > t) <= 2^-71 (formula 3).
    """
    if scale.sigma_micro == 0:
        return np.zeros(n, dtype=np.int64)
    noise = np.asarray(source.sample(scale, n))
    if noise.shape != (n,) or noise.dtype != np.int64:
        raise ValueError(f"a noise source gave {noise.dtype}{noise.shape}, not int64({n},)")
    return np.clip(noise, -scale.clamp, scale.clamp)


def epsilon(rho_nano: int, delta: float = DELTA) -> float:
    """The (ε, δ) that zCDP rho implies: ε = rho + 2√(rho·ln(1/δ))."""
    rho = rho_nano / NANO
    return rho + 2 * math.sqrt(rho * math.log(1 / delta))


def pass_probability(true_count: int, min_cohort: int, sigma: float) -> float:
    """Formula 5: the chance that a cell of `true_count` people reaches `min_cohort`."""
    if sigma == 0:
        return 1.0 if true_count >= min_cohort else 0.0
    return 0.5 * math.erfc((min_cohort - 0.5 - true_count) / (sigma * math.sqrt(2)))
