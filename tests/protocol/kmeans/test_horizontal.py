"""Horizontal k-means, the pure core: which clusters move, which run is chosen, when it ends."""

from __future__ import annotations

from typing import Any

import numpy as np

from protocol.kmeans.horizontal import Horizontal
from protocol.rows import EligibleRows, Number
from protocol.secure_sum.model import Column, Ground, Turn

COLUMN = Column("x", "number", lo=0, hi=100)


def model(**changes: Any) -> Horizontal:
    settings = {"k": [2], "restarts": 1, "iterations": 5, "scale": "none",
                "init": [["10"], ["90"]]} | changes  # fmt: skip
    rho = settings.pop("rho", 0)
    return Horizontal(Ground(("x",), {"a": (COLUMN,)}, {"a": 64}, rho, 3, settings, 1))


def rows(values: list[int]) -> EligibleRows:
    known = Number(np.array(values), np.zeros(len(values), dtype=np.bool_), 0, 100, 0)
    return EligibleRows(np.arange(len(values)), {}, numbers={"x": known})


def ended(found: Horizontal, values: list[int]) -> tuple[dict[str, Any], int]:
    """The result, and how many sums were asked."""
    turn, asked = found.begin(), 0
    while turn.result is None:
        asked += 1
        turn = found.advance(turn, found.vector(turn.question, "a", rows(values)))
    return turn.result, asked


def test_a_cluster_of_just_a_cohort_moves_and_a_smaller_one_stays() -> None:
    result, asked = ended(model(), [20, 22, 24, 80, 82])
    assert result["centres"] == [[22.0], [90.0]]
    assert result["sizes"] == [None, None]  # the second is too small, and would follow
    # One round moves, the next stands still, and the last one counts.
    assert (result["iterations"], asked) == (2, 3)


def test_with_noise_the_number_of_rounds_does_not_depend_on_the_people() -> None:
    _, asked = ended(model(rho=10**12), [20, 22, 24, 80, 82, 84])
    assert asked == 6


def test_of_several_starts_the_one_with_the_least_inertia_is_shown() -> None:
    two = model(restarts=2)
    question = two.begin().question | {
        "step": "close",
        "centres": [[[-29.0], [0.0]], [[-28.0], [32.0]]],
    }
    turn = Turn({"done": 1, "iterations": [0, 0]}, question)
    values = [20, 22, 24, 80, 82, 84]
    result = two.advance(turn, two.vector(question, "a", rows(values))).result
    assert result is not None
    assert result["centres"] == [[22.0], [82.0]]
    assert round(result["inertia"], 3) == 16.0


def test_noise_cannot_make_a_feature_weigh_without_end() -> None:
    """Under noise no deviation is smaller than a thousandth of the range, 0.1 here."""
    alike = [[10], [0], [0]]  # people, sum, squares: all of them in the middle, or noise says so
    for rho, weight in ((10**12, 100.0), (0, 1.0)):
        found = model(scale="zscore", rho=rho)
        turn = found.advance(found.begin(), alike)
        np.testing.assert_allclose(turn.question["weight"], [weight])
