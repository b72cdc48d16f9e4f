"""Noise on: over many outputs of the mechanism the error has the promised distribution."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from party_node.noise_opendp import OpenDPNoise
from protocol.crosstab.spec import MeasureSpec
from protocol.release.noise import NoiseSource
from tests.protocol.crosstab.federation import small_spec
from tests.protocol.crosstab.plain import plain_run
from tests.protocol.crosstab.test_exact import people, random_tables
from tests.reference.crosstab_oracle import crosstab
from tests.reference.seeded_noise import SeededNoise

UNLIKELY = 1e-7


def discrete_gaussian_p_value(errors: np.ndarray, sigma: float) -> float:
    """χ² of integer errors against the discrete Gaussian, tails pooled."""
    reach = math.floor(2.5 * sigma)
    support = np.arange(-math.ceil(12 * sigma), math.ceil(12 * sigma) + 1)
    mass = np.exp(-(support.astype(float) ** 2) / (2 * sigma**2))
    mass /= mass.sum()
    inside = np.abs(support) <= reach
    seen = [int((errors == value).sum()) for value in support[inside]]
    expected = list(mass[inside] * len(errors))
    seen += [int((errors > reach).sum()), int((errors < -reach).sum())]
    expected += [mass[support > reach].sum() * len(errors)] * 2
    return float(stats.chisquare(seen, np.array(expected) * sum(seen) / sum(expected)).pvalue)


@pytest.mark.parametrize("source", [OpenDPNoise(), SeededNoise(11)], ids=["opendp", "seeded"])
def test_the_error_of_a_table_is_a_discrete_gaussian(source: NoiseSource) -> None:
    spec = small_spec(
        64, 64, (MeasureSpec("b/n", -1000, 3000, 1),), noise=True,
        handles=(256, 192), key_bits=2048,
    )  # fmt: skip
    tables = random_tables(spec, np.random.default_rng(5))
    truth = crosstab(people(tables), 1)
    totals = plain_run(spec, tables, source)
    count = np.zeros((64, 64), dtype=np.int64)
    centred = np.zeros((64, 64), dtype=np.int64)
    for (r, c), people_here in truth.count.items():
        count[r, c] = people_here
        centred[r, c] = truth.sums[0].get((r, c), 0) - 1000 * people_here
    by_key = {output.key: output.scale for output in spec.outputs}
    errors = (totals.count - count).reshape(-1)
    assert discrete_gaussian_p_value(errors, by_key["count"].sigma) > UNLIKELY
    sum_errors = (totals.sums["b/n"] - centred).reshape(-1) / by_key["sum:b/n"].sigma
    assert stats.kstest(sum_errors, "norm").pvalue > UNLIKELY
    # Neighbours and measures are independent of each other.
    for left, right in ((errors[:-1], errors[1:]), (errors, sum_errors)):
        assert abs(stats.pearsonr(left, right).statistic) < 6 / math.sqrt(len(left))


def test_the_overlap_of_many_runs_has_the_promised_sigma() -> None:
    spec = small_spec(0, 0, noise=True, handles=(8, 8), key_bits=512)
    tables = random_tables(spec, np.random.default_rng(5))
    truth = crosstab(people(tables), 0).overlap
    errors = np.array([plain_run(spec, tables, OpenDPNoise()).overlap - truth for _ in range(800)])
    assert discrete_gaussian_p_value(errors, 5.0) > UNLIKELY


def test_the_distribution_test_can_fail() -> None:
    wrong = np.rint(np.random.default_rng(1).normal(0, 8.66 * 1.2, 4096)).astype(np.int64)
    assert discrete_gaussian_p_value(wrong, 8.66) < UNLIKELY
