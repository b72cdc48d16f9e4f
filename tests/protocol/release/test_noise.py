"""Noise scales in integers, and the clamp that no source can pass."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.release.noise import NoNoise, draw, epsilon, noise_scale, pass_probability


@given(st.integers(1, 2**50), st.integers(1, 10**11), st.integers(1, 9))
def test_sigma_is_never_below_formula_1(sensitivity: int, rho_nano: int, measures: int) -> None:
    scale = noise_scale(sensitivity, rho_nano, measures)
    sigma = Fraction(scale.sigma_micro, 10**6)
    just_below = Fraction(scale.sigma_micro - 1, 10**6)
    rho = Fraction(rho_nano, 10**9 * measures)
    assert scale.rho == rho
    # zCDP of a (discrete) Gaussian: Δ²/(2σ²); the next smaller σ would cost more than rho.
    assert Fraction(sensitivity**2) / (2 * sigma**2) <= rho
    assert just_below == 0 or Fraction(sensitivity**2) / (2 * just_below**2) > rho
    assert scale.clamp >= 10 * sigma


def test_no_rho_or_nothing_to_hide_is_no_noise() -> None:
    for scale in (noise_scale(1, 0, 3), noise_scale(0, 10**9, 3)):
        assert (scale.sigma_micro, scale.clamp) == (0, 0)
        assert draw(NoNoise(), scale, 3).tolist() == [0, 0, 0]


@pytest.mark.parametrize("bad", [(-1, 1, 1), (1, -1, 1), (1, 1, 0)])
def test_impossible_scales_are_refused(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="noise scale"):
        noise_scale(*bad)


def test_a_job_with_noise_cannot_run_on_no_noise() -> None:
    with pytest.raises(ValueError, match="source of noise"):
        draw(NoNoise(), noise_scale(1, 10**9, 1), 3)


def test_a_wild_source_is_clamped_and_a_wrong_one_refused() -> None:
    class Wild:
        def sample(self, scale, n):  # type: ignore[no-untyped-def]
            return np.array([2**62, -(2**62), 1])[:n]

    class Short:
        def sample(self, scale, n):  # type: ignore[no-untyped-def]
            return np.zeros(n - 1, dtype=np.int64)

    class Floats:
        def sample(self, scale, n):  # type: ignore[no-untyped-def]
            return np.zeros(n)

    scale = noise_scale(1, 20_000_000, 3)
    assert draw(Wild(), scale, 3).tolist() == [88, -88, 1]
    for source in (Short(), Floats()):
        with pytest.raises(ValueError, match="a noise source gave"):
            draw(source, scale, 3)


@pytest.mark.parametrize("rho, value", [(0.02, 1.07), (0.5, 5.76), (3, 15.9)])
def test_epsilon_is_the_designs(rho: float, value: float) -> None:
    assert epsilon(round(rho * 10**9)) == pytest.approx(value, abs=0.05 if rho == 3 else 0.005)


def test_pass_probability() -> None:
    assert pass_probability(50, 50, 0) == 1.0
    assert pass_probability(49, 50, 0) == 0.0
    assert pass_probability(50, 50, 8.66) == pytest.approx(0.523, abs=0.001)
    assert pass_probability(0, 50, 8.66) < 1e-8
