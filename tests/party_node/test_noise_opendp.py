"""OpenDP's noise: never cheaper than declared, never saturated, never the same."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest

from party_node.noise_opendp import OpenDPNoise, _measurement
from protocol.release.noise import noise_scale


@pytest.mark.parametrize("sensitivity", [1, 3, 500_000, 10**12, 2**53 + 1])
@pytest.mark.parametrize("rho_nano", [1, 20_000_000, 333_333_333, 10**10])
@pytest.mark.parametrize("measures", [1, 3, 7])
def test_opendp_agrees_that_the_share_of_rho_pays(
    sensitivity: int, rho_nano: int, measures: int
) -> None:
    scale = noise_scale(sensitivity, rho_nano, measures)
    measurement = _measurement(scale)
    assert Fraction(measurement.map(float(sensitivity))) <= scale.rho


@pytest.mark.parametrize("sensitivity", [1, 10**6, 10**14])
def test_the_spread_is_sigma_and_nothing_saturates(sensitivity: int) -> None:
    scale = noise_scale(sensitivity, 20_000_000, 3)
    drawn = OpenDPNoise().sample(scale, 4000)
    assert drawn.dtype == np.int64
    assert np.std(drawn / scale.sigma) == pytest.approx(1, abs=0.08)  # 7 standard errors
    assert abs(np.mean(drawn / scale.sigma)) < 0.12
    assert len(np.unique(drawn)) > (30 if sensitivity == 1 else 3990)


def test_nothing_to_draw() -> None:
    assert OpenDPNoise().sample(noise_scale(1, 10**9, 1), 0).tolist() == []
    assert OpenDPNoise().sample(noise_scale(0, 10**9, 1), 2).tolist() == [0, 0]
    with pytest.raises(ValueError, match="no noise"):
        OpenDPNoise().sample(noise_scale(1, 0, 1), 2)
