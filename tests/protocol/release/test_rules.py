"""The release rules against the letter of section 5, and what a reader can work out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from protocol.crosstab.spec import AttributeSpec, CrosstabSpec, MeasureSpec
from protocol.crosstab.totals import NoisyTotals
from protocol.errors import Refused
from protocol.release.rules import check_exact, complete_part, release, withheld
from tests.reference import crosstab_oracle

MINUTES = MeasureSpec("media/minutes", -100, 900, 1)


def spec_of(
    rows: int, columns: int, k: int, measures: tuple[MeasureSpec, ...] = (), noise: bool = False
) -> CrosstabSpec:
    return CrosstabSpec(
        (AttributeSpec("retailer/tier", tuple(f"t{v}" for v in range(rows))),),
        (AttributeSpec("media/likes", tuple(f"l{v}" for v in range(columns))),),
        measures,
        noise,
        20_000_000,
        2048,
        1024,
        1024,
        k,
    )


def totals_of(count: list[list[int]], **more: Any) -> NoisyTotals:
    table = np.array(count, dtype=np.int64)
    return NoisyTotals(int(table.sum()), table, **more)


counts = st.integers(1, 5).flatmap(
    lambda rows: st.integers(1, 5).flatmap(
        lambda columns: st.lists(
            st.lists(st.integers(-5, 60), min_size=columns, max_size=columns),
            min_size=rows,
            max_size=rows,
        )
    )
)


@settings(max_examples=400, deadline=None)
@given(counts, st.sampled_from([1, 2, 10, 20, 50]))
def test_what_is_withheld_is_the_letter_of_section_5(count: list[list[int]], k: int) -> None:
    spec = spec_of(len(count), len(count[0]), k)
    found = withheld(spec, np.array(count))
    expected = crosstab_oracle.withheld(count, k)
    names = {None: 0, "below_min_cohort": 1, "complement": 2}
    assert found.tolist() == [[names[why] for why in line] for line in expected]


@settings(max_examples=300, deadline=None)
@given(counts, st.sampled_from([2, 10, 20]), st.data())
def test_the_released_table_says_nothing_about_withheld_cells(
    count: list[list[int]], k: int, data: st.DataObject
) -> None:
    """Other numbers in the withheld cells, the same pattern: the same table, TGI included."""
    spec = spec_of(len(count), len(count[0]), k)
    first = np.array(count)
    pattern = withheld(spec, first)
    assume(pattern.any())
    second = first.copy()
    for r, c in zip(*np.nonzero(pattern), strict=True):
        small = pattern[r, c] == 1  # else it is withheld so that others cannot be worked out
        second[r, c] = data.draw(st.integers(-5, k - 1) if small else st.integers(k, 60))
    assume((withheld(spec, second) == pattern).all())
    one, other = (release(spec, NoisyTotals(500, table)) for table in (first, second))
    assert one == other


@settings(max_examples=300, deadline=None)
@given(counts, st.sampled_from([2, 10, 20]))
def test_the_released_cells_tell_no_fewer_than_k_apart(count: list[list[int]], k: int) -> None:
    table = np.array(count)
    reasons = withheld(spec_of(*table.shape, k), table)
    if (reasons > 0).any() and (reasons == 0).any():
        assert table[reasons > 0].sum() >= k
    assert (table[reasons == 0] >= k).all()


def test_cells_have_the_keys_of_the_contract() -> None:
    spec = spec_of(1, 2, 10, (MINUTES,))
    totals = totals_of([[812, 188]], sums={"media/minutes": np.array([[-400, 812]])})
    table = release(spec, totals)
    assert table.cells[0] == {
        "retailer/tier": "t0",
        "media/likes": "l0",
        "count": 812,
        "sum:media/minutes": (400 * 812 - 400) / 10,
        "mean:media/minutes": pytest.approx(40 - 40 / 812),
        "tgi": 100.0,
        "withheld": None,
    }
    assert len(table.cells) == 2
    assert table.overlap == {"count": 1000, "withheld": None}
    assert table.epsilon is None
    assert table.sigmas == {}


def test_a_withheld_cell_keeps_its_keys_and_has_no_zero() -> None:
    spec = spec_of(2, 3, 20, (MINUTES,))
    sums = {"media/minutes": np.zeros((2, 3), dtype=np.int64)}
    table = release(spec, totals_of([[3, 40, 50], [60, 70, 80]], sums=sums))
    assert table.cells[0] == {
        "retailer/tier": "t0",
        "media/likes": "l0",
        "count": None,
        "sum:media/minutes": None,
        "mean:media/minutes": None,
        "tgi": None,
        "withheld": "below_min_cohort",
    }
    # 3 people are withheld alone: the smallest released cell goes too.
    assert [cell["withheld"] for cell in table.cells[1:]] == ["complement"] + [None] * 4


def test_almost_everyone_of_a_row_in_one_cell_is_withheld() -> None:
    reasons = withheld(spec_of(2, 2, 20), np.array([[500, 5], [100, 100]]))
    assert reasons.tolist() == [[1, 1], [0, 0]]


def test_one_column_value_has_no_rest() -> None:
    assert withheld(spec_of(2, 1, 20), np.array([[25], [30]])).tolist() == [[0], [0]]


def test_min_cohort_1_withholds_nothing() -> None:
    spec = spec_of(2, 2, 1, (MINUTES,), noise=True)
    sums = {"media/minutes": np.array([[5, -7], [0, 9]])}
    table = release(spec, NoisyTotals(-2, np.array([[-3, 0], [4, 0]]), sums))
    assert [cell["withheld"] for cell in table.cells] == [None] * 4
    assert [cell["count"] for cell in table.cells] == [-3, 0, 4, 0]
    assert table.cells[0]["mean:media/minutes"] is None  # no people, no mean
    assert table.overlap == {"count": -2, "withheld": None}


def test_a_small_overlap_is_withheld() -> None:
    spec = CrosstabSpec((), (), (), True, 20_000_000, 2048, 64, 64, 50)
    table = release(spec, NoisyTotals(49, np.zeros((0, 0), dtype=np.int64)))
    assert table.overlap == {"count": None, "withheld": "below_min_cohort"}
    assert table.cells == ()
    assert release(spec, NoisyTotals(50, np.zeros((0, 0), dtype=np.int64))).overlap["count"] == 50


def test_means_are_clamped_to_the_bounds() -> None:
    spec = spec_of(1, 2, 1, (MINUTES,))
    sums = {"media/minutes": np.array([[10**6, -(10**6)]])}
    table = release(spec, totals_of([[10, 10]], sums=sums))
    assert [cell["mean:media/minutes"] for cell in table.cells] == [90.0, -10.0]


def test_a_sum_over_too_few_values_is_withheld_though_its_cell_leaves() -> None:
    nullable = MeasureSpec("media/minutes", 0, 900, 1, nullable=True)
    spec = spec_of(1, 2, 20, (nullable,))
    totals = totals_of(
        [[40, 40]],
        sums={"media/minutes": np.array([[5, 5]])},
        own_counts={"media/minutes": np.array([[1, 30]])},
    )
    first, second = release(spec, totals).cells
    assert first["count"] == 40
    assert first["sum:media/minutes"] is first["mean:media/minutes"] is None
    assert first["withheld_measures"] == {"media/minutes": "below_min_cohort"}
    assert second["sum:media/minutes"] == (5 + 450 * 30) / 10
    assert second["mean:media/minutes"] == pytest.approx((450 + 5 / 30) / 10)
    assert "withheld_measures" not in second


def test_tgi_of_a_fully_released_table_is_the_formula() -> None:
    count = [[100, 300], [200, 100]]
    cells = release(spec_of(2, 2, 20), totals_of(count)).cells
    assert cells[0]["tgi"] == pytest.approx((100 / 400) / (300 / 700) * 100)
    assert cells[3]["tgi"] == pytest.approx((100 / 300) / (400 / 700) * 100)


def test_tgi_beside_withheld_cells_stays_inside_the_complete_part() -> None:
    # The last column is withheld in two rows: its remaining cell has nothing to be compared with.
    count = [[100, 300, 5], [200, 100, 18], [50, 60, 60]]
    cells = release(spec_of(3, 3, 20), totals_of(count)).cells
    found = [cell["tgi"] for cell in cells]
    assert found[0] == pytest.approx((100 / 400) / (350 / 810) * 100)
    assert found[2] is found[5] is found[8] is None
    # Every column has a withheld cell: then the rows without one.
    leaves = np.array([[True, True], [True, False], [False, True], [False, False]])
    assert complete_part(leaves).tolist() == [[True, True], *[[False, False]] * 3]
    assert not complete_part(np.zeros((2, 2), dtype=np.bool_)).any()


def test_noise_is_reported_in_the_unit_of_the_number() -> None:
    spend = MeasureSpec("media/spend", 0, 1_000_000, 2)
    spec = spec_of(2, 2, 20, (spend,), noise=True)
    table = release(
        spec, totals_of([[30, 30], [30, 30]], sums={"media/spend": np.zeros((2, 2), np.int64)})
    )
    assert table.sigmas["overlap"] == table.sigmas["count"] == pytest.approx(8.66, abs=0.01)
    assert table.sigmas["sum:media/spend"] == pytest.approx(43_301.27, abs=0.01)
    assert table.epsilon == pytest.approx(1.07, abs=0.005)
    assert table.warnings  # 20 < 3 · 8.66
    assert "25.98" in table.warnings[0] or "26.0" in table.warnings[0]


def test_flags_keep_their_type_and_attributes_join() -> None:
    spec = CrosstabSpec(
        (AttributeSpec("a/vip", (False, True)),),
        (AttributeSpec("b/x", ("p", "q")), AttributeSpec("b/active", (False, True))),
        (), False, 0, 2048, 64, 64, 1,
    )  # fmt: skip
    cells = release(spec, totals_of([[1, 2, 3, 4], [5, 6, 7, 8]])).cells
    assert cells[6] == {
        "a/vip": True, "b/x": "q", "b/active": False, "count": 7, "withheld": None,
        "tgi": pytest.approx(7 * 36 / (26 * 10) * 100),
    }  # fmt: skip


@pytest.mark.parametrize("apart", [0, 1, 19, 20])
def test_exact_answers_a_few_rows_apart_are_refused(apart: int) -> None:
    earlier = [(frozenset({"likes"}), np.arange(100, dtype=np.uint64))]
    kept, added = range(100 - apart // 2), range(200, 200 + apart - apart // 2)
    rows = np.array([*added, *kept], dtype=np.uint64)
    if 1 <= apart < 20:
        with pytest.raises(Refused, match="fewer than 20") as caught:
            check_exact(earlier, frozenset({"likes", "age"}), rows, 20)
        assert caught.value.info.code == "exact_difference"
        with pytest.raises(Refused, match="the overlap"):
            check_exact(earlier, frozenset({"age"}), rows, 20)
    else:
        check_exact(earlier, frozenset({"likes"}), rows, 20)
    check_exact(earlier, frozenset({"likes"}), rows, 1)
    check_exact([], frozenset({"likes"}), rows, 20)
