"""Exact discrete Gaussian noise through OpenDP, seeded by the operating system only.

Who runs it: every owner's node, last before its sums leave.
Learns: nobody anything.
Source: protocols.md section 5; Canonne, Kamath, Steinke 2020; OpenDP `make_gaussian`.

OpenDP's own privacy map decides: σ is raised, step by step of the float, until
map(Δ) <= this measure's rho, both rounded against us.
"""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_gaussian
from opendp.metrics import l2_distance
from opendp.mod import Measurement, enable_features

from protocol.errors import Failed
from protocol.release.noise import NoiseScale

# Not opendp.prelude: it loads scikit-learn, a third of a node's start.
enable_features("contrib")

_MAX_STEPS = 64


class OpenDPNoise:
    """The `NoiseSource` of production."""

    def sample(self, scale: NoiseScale, n: int) -> npt.NDArray[np.int64]:
        """int64[n] of fresh noise with σ >= scale.sigma.  Raises Failed('noise_unavailable')."""
        if n == 0 or scale.sensitivity == 0:
            return np.zeros(n, dtype=np.int64)
        measurement = _measurement(scale)
        return np.array(measurement([0] * n), dtype=np.int64)


def _measurement(scale: NoiseScale) -> Measurement:
    if scale.rho <= 0 or scale.sigma_micro <= 0:
        raise ValueError("this job has no noise to draw")
    # i64, not int: OpenDP reads `int` as 32 bits and would saturate large sums silently.
    space = vector_domain(atom_domain(T="i64")), l2_distance(T="f64")
    budget, distance = _at_most(scale.rho), _at_least(scale.sensitivity)
    sigma = _at_least(Fraction(scale.sigma_micro, 10**6))
    for _ in range(_MAX_STEPS):
        measurement = make_gaussian(*space, scale=sigma)
        if measurement.map(distance) <= budget:
            return measurement
        sigma = math.nextafter(sigma, math.inf) * (1 + 2**-50)
    raise Failed(
        "noise_unavailable",
        "no σ near the declared one fits this measure's privacy budget",
        stage="aggregate",
        next_step="check the installed OpenDP version",
    )


def _at_most(value: Fraction) -> float:
    near = float(value)
    return near if Fraction(near) <= value else math.nextafter(near, 0.0)


def _at_least(value: Fraction | int) -> float:
    near = float(value)
    return near if Fraction(near) >= value else math.nextafter(near, math.inf)
