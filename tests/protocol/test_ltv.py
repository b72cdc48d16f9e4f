"""The likelihoods are those of the papers, and their derivatives are derivatives."""

from __future__ import annotations

import numpy as np
import pytest

from protocol.errors import Failed
from protocol.ltv import bg_nbd, gamma_gamma, newton
from protocol.ltv.cells import HistoryGrid, SpendingGrid, denoised
from protocol.ltv.model import Ltv
from protocol.rows import EligibleRows, Number
from protocol.secure_sum.exact import exact_squares, exact_sum
from protocol.secure_sum.model import Column, Ground
from tests.reference import ltv_oracle


def people(seed, n=40):
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    age = rng.uniform(5, 40, n)
    x = rng.poisson(rng.gamma(0.7, 2, n)).astype(float)
    return x, np.where(x > 0, age * rng.random(n), 0.0), age, rng.gamma(3, 8, n) + 1


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_likelihoods_equal_the_papers(seed):
    x, t, age, m = people(seed)
    theta = np.random.default_rng(seed).normal(0, 1, 4)
    found, _, _ = bg_nbd.likelihood(theta, bg_nbd.History(x, t, age))
    want = ltv_oracle.bg_nbd(np.exp(theta), list(zip(x, t, age, strict=True)))
    assert found == pytest.approx(want, rel=1e-10)
    some = x > 0
    found, _, _ = gamma_gamma.likelihood(theta[:3], gamma_gamma.Spending(x[some], m[some]))
    want = ltv_oracle.gamma_gamma(np.exp(theta[:3]), list(zip(x[some], m[some], strict=True)))
    assert found == pytest.approx(want, rel=1e-10)


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_derivatives_are_derivatives(seed):
    x, t, age, m = people(seed)
    weight, some = np.random.default_rng(seed).uniform(0, 3, len(x)), x > 0
    for function, data, d in (
        (bg_nbd.likelihood, bg_nbd.History(x, t, age, weight), 4),
        (gamma_gamma.likelihood, gamma_gamma.Spending(x[some], m[some], weight[some]), 3),
    ):
        theta = np.random.default_rng(seed).normal(0, 0.7, d)
        _, slope, bend = function(theta, data)
        for i in range(d):
            step = 1e-5 * np.eye(d)[i]
            above, below = function(theta + step, data), function(theta - step, data)
            assert slope[i] == pytest.approx((above[0] - below[0]) / 2e-5, rel=1e-5, abs=1e-4)
            curve = (np.array(above[1]) - below[1]) / 2e-5
            assert newton.square(bend)[i] == pytest.approx(curve, rel=1e-5, abs=1e-3)


def test_predictions_equal_the_papers():
    x, t, age, _ = people(4, 12)
    parameters = (0.243, 4.414, 0.793, 2.426)
    data = bg_nbd.History(x, t, age)
    alive = bg_nbd.p_alive(np.array(parameters), data)
    bought = bg_nbd.expected_purchases(np.array(parameters), data, 39.0)
    for i, person in enumerate(zip(x, t, age, strict=True)):
        assert alive[i] == pytest.approx(ltv_oracle.p_alive(parameters, *person), rel=1e-10)
        want = ltv_oracle.expected(parameters, *person, 39.0)
        assert bought[i] == pytest.approx(want, rel=1e-8)
    near = bg_nbd.expected_purchases(np.array([0.2, 4, 1.0, 2]), data, 39.0)
    beside = bg_nbd.expected_purchases(np.array([0.2, 4, 1.001, 2]), data, 39.0)
    assert near == pytest.approx(beside, rel=0.01)


def test_a_climb_finds_the_top_of_a_hill_and_says_when_there_is_none():
    def climb(function, start):
        state = newton.begin([start])
        while any(s.asked for s in state):
            state = [newton.answer(s, *function(np.array(s.asked))) for s in state]
        return state

    def bowl(at):
        gap = at - np.array([3.0, -2.0])
        return -float(gap @ gap), (-2 * gap).tolist(), [-2.0, 0.0, -2.0]

    def plain(at):
        return float(at[0]), [1.0, 0.0], [0.0, 0.0, -1.0]

    best = newton.top(climb(bowl, [0.0, 0.0]), "a hill", ("x", "y"))
    assert best.at == pytest.approx((3, -2), abs=1e-4)
    with pytest.raises(Failed, match="does not determine a plain") as caught:
        newton.top(climb(plain, [0.0, 0.0]), "a plain", ("x", "y"))
    assert caught.value.info.code == "not_identified"


def test_a_climb_survives_the_state_between_rounds():
    start = newton.begin([[0.1, 0.2]])[0]
    assert newton.from_json(newton.to_json(start)) == start
    told = newton.answer(start, -1.5, [0.1, 0.2], [-1.0, 0.1, -2.0])
    assert newton.from_json(newton.to_json(told)) == told


@pytest.mark.parametrize(
    ("row", "words"),
    [({"frequency": 2, "recency": 3000, "T": 3000, "monetary": 5000}, "does not determine"),
     ({"frequency": 0, "recency": 0, "T": 3000}, "does not determine how often people buy")],
)  # fmt: skip
def test_data_that_determines_nothing_is_said_to(row, words):
    """Everybody came back in the same way; nobody came back.  Rounds without encryption."""
    bounds = {"frequency": (60, 0), "recency": (4000, 2), "T": (4000, 2), "monetary": (30000, 2)}
    columns = tuple(
        Column(name, "number", lo=0, hi=bounds[name][0], decimals=bounds[name][1]) for name in row
    )
    settings = {"horizon": "39", "discount": "0"}
    model = Ltv(Ground(tuple(row), {"a": columns}, {"a": 120}, 0, 20, settings, 1))
    numbers = {
        c.attribute: Number(np.full(120, row[c.attribute]), np.zeros(120, bool), c.lo, c.hi,
                            c.decimals)
        for c in columns
    }  # fmt: skip
    rows, turn = EligibleRows(np.arange(120), {}, numbers=numbers), model.begin()
    with pytest.raises(Failed, match=words) as caught:
        for _ in range(model.rounds + 1):
            turn = model.advance(turn, model.vector(turn.question, "a", rows))
    assert caught.value.info.code == "not_identified"


def test_every_person_is_in_one_cell():
    x, t, age, m = people(5, 300)
    grid = HistoryGrid(5.0, 40.0, 30.0)
    counts = grid.count(bg_nbd.History(x, t, age))
    assert (sum(counts), len(counts)) == (300, grid.cells)
    assert len(grid.history(np.array(counts)).x) == grid.cells
    money, some = SpendingGrid(0.5, 500.0, 30.0), x > 0
    counts = money.count(gamma_gamma.Spending(x[some], m[some]))
    assert (sum(counts), len(counts)) == (some.sum(), money.cells)
    groups = np.array([0, 0, 0, 0, 1, 1, 2])
    found = denoised([10, 1, -3, 12, 3, 3, -1], groups, 2.0)
    assert found.tolist() == pytest.approx([100 / 11, 0, 0, 120 / 11, 3, 3, 0])
    assert denoised([3, -2], np.array([0, 0]), 0.0).tolist() == [3, -2]


def test_exact_sums_of_large_numbers():
    rng = np.random.default_rng(6)
    values = rng.integers(-(1 << 53), 1 << 53, 3000)
    assert exact_sum(values) == sum(values.tolist())
    assert exact_squares(values) == sum(v * v for v in values.tolist())
    assert exact_sum(values[:0]) == exact_squares(values[:0]) == 0
