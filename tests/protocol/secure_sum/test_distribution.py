"""Distributions, the pure core: values on an edge, people without one, groups of just enough."""

from __future__ import annotations

import numpy as np

from protocol.rows import EligibleRows, Number
from protocol.secure_sum.distribution import Distribution
from protocol.secure_sum.model import Column, Ground


def test_an_edge_belongs_to_the_bin_above_and_a_cohort_may_be_just_large_enough():
    columns = (
        Column("age", "number", lo=0, hi=120, nullable=True),
        Column("spend", "number", lo=0, hi=100_00, decimals=2, nullable=True),
    )
    ages = [29, 29, 29, 30, 30, 30, 59, 60, 60, 60, None, None, None]
    spends = [1, 2, 3, 5, 5, None, None, 7, 8, 9, 4, 4, 4]
    rows = EligibleRows(
        np.arange(len(ages)),
        {},
        numbers={
            column.attribute: Number(
                np.array([0 if v is None else v * 10**column.decimals for v in values]),
                np.array([v is None for v in values]), column.lo, column.hi, column.decimals,
            )
            for column, values in zip(columns, (ages, spends), strict=True)
        },
    )  # fmt: skip
    settings = {"bins": {"age": ["30", "60"]}}
    model = Distribution(Ground(("age", "spend"), {"a": columns}, {"a": 64}, 0, 3, settings, 1))
    turn = model.begin()
    result = model.advance(turn, model.vector(turn.question, "a", rows)).result
    assert result is not None
    found = [
        (cell["age"], cell["count"], cell["sum:spend"], cell["mean:spend"],
         cell.get("withheld_measures"))
        for cell in result["cells"]
    ]  # fmt: skip
    assert found == [
        ("under 30", 3, 6.0, 2.0, None),
        ("30 to 60", 4, None, None, {"spend": "below_min_cohort"}),  # two of them said
        ("60 and over", 3, 24.0, 8.0, None),
        ("unknown", 3, 12.0, 4.0, None),
    ]
