"""The layout: the design's worked numbers, the limits, and that no slot can overflow."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crosstab.requester import one_hots
from protocol.crosstab.spec import (
    MASK_BITS,
    MAX_CELLS,
    MAX_CIPHERTEXTS_PER_ROW,
    AttributeSpec,
    CrosstabSpec,
    MeasureSpec,
)
from protocol.errors import BadInput, Refused
from protocol.paillier.packing import SPARE_BITS, slots_per_ciphertext
from tests.protocol.crosstab.federation import attribute, small_spec

SPEND = MeasureSpec("b/spend", 0, 1_000_000, 2)
PAD = 131_072


def test_the_worked_numbers_of_section_7() -> None:
    spec = small_spec(3, 4, (SPEND,), noise=True, handles=(PAD, 2 * PAD), key_bits=2048)
    by_key = {output.key: output for output in spec.outputs}
    assert spec.measure_count == 3
    assert by_key["count"].scale.sigma == pytest.approx(8.66, abs=0.005)
    assert by_key["overlap"].scale.clamp == by_key["count"].scale.clamp == 88
    assert by_key["sum:b/spend"].scale.sigma == pytest.approx(4_330_127, abs=0.1)
    assert by_key["sum:b/spend"].scale.clamp == 43_301_272
    assert SPEND.sensitivity == 500_000
    assert spec.width == 37
    assert slots_per_ciphertext(2048, spec.width) == 53
    wide = small_spec(3, 4, (SPEND,), noise=True, handles=(PAD, 2 * PAD), key_bits=3072)
    assert slots_per_ciphertext(3072, wide.width) == 81


def test_an_overlap_alone_has_the_whole_budget() -> None:
    spec = small_spec(0, 0, noise=True, handles=(PAD, PAD), key_bits=2048)
    assert spec.measure_count == 1
    assert spec.overlap_output.scale.sigma == pytest.approx(5.0, abs=1e-5)


def test_a_nullable_attribute_pays_for_its_own_count() -> None:
    nullable = MeasureSpec("b/minutes", 0, 10, 0, nullable=True)
    spec = small_spec(2, 2, (SPEND, nullable), noise=True, key_bits=2048)
    assert [output.key for output in spec.outputs] == [
        "overlap",
        "count",
        "sum:b/spend",
        "sum:b/minutes",
        "own_count:b/minutes",
    ]
    assert spec.measure_count == 5
    assert sum(output.scale.rho for output in spec.outputs) * 10**9 == spec.rho_nano


def test_too_many_cells_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(Refused, match=r"65 row values × 64 column values = 4160 cells") as caught:
        small_spec(65, 64, key_bits=2048)
    assert caught.value.info.code == "crosstab_too_large"


def test_too_many_ciphertexts_per_row_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(Refused, match=r"1000 row values at 37 bits a slot need \d+ ciphertexts"):
        small_spec(1000, 1, (SPEND,), noise=True, handles=(PAD, PAD), key_bits=2048)


def test_totals_beyond_64_bits_are_refused_with_the_arithmetic() -> None:
    huge = MeasureSpec("b/huge", -(10**17), 10**17, 0)
    with pytest.raises(Refused, match=r"sum:b/huge over 131072 padded people needs \d+ bits"):
        small_spec(2, 2, (huge,), handles=(PAD, PAD), key_bits=2048)


def test_a_key_too_small_for_any_slot_is_refused() -> None:
    with pytest.raises(Refused, match="the overlap alone needs"):
        small_spec(2, 2, key_bits=128)


@pytest.mark.parametrize(
    "bad, words",
    [
        ({"rows": (attribute("b/y", 2),)}, "used twice"),
        ({"rows": (AttributeSpec("a/x", ()),)}, "vocabulary"),
        ({"rows": (AttributeSpec("a/x", ("u", "u")),)}, "vocabulary"),
        ({"measures": (SPEND, SPEND)}, "one measure"),
        ({"measures": (MeasureSpec("b/n", 2, 1, 0),)}, "impossible bounds"),
        ({"rows": (), "columns": (), "measures": (SPEND,)}, "need rows or columns"),
        ({"handles_a": 0}, "at least 1"),
        ({"min_cohort": 0}, "at least 1"),
        ({"noise": True, "rho_nano": 0}, "positive rho"),
        ({"key_bits": 2047}, "whole number of bytes"),
    ],
)
def test_impossible_declarations_are_bad_input(bad: dict[str, object], words: str) -> None:
    good: dict[str, object] = {
        "rows": (attribute("a/x", 2),),
        "columns": (attribute("b/y", 2),),
        "measures": (),
        "noise": False,
        "rho_nano": 0,
        "key_bits": 2048,
        "handles_a": 64,
        "handles_b": 64,
        "min_cohort": 50,
    }
    with pytest.raises(BadInput, match=words):
        CrosstabSpec(**(good | bad))  # type: ignore[arg-type]


@st.composite
def specs(draw: st.DrawFn) -> CrosstabSpec:
    found = []
    for index in range(draw(st.integers(0, 3))):
        lo = draw(st.integers(-(10**9), 10**9))
        hi = lo + draw(st.integers(0, 10**9))
        found.append(MeasureSpec(f"b/n{index}", lo, hi, 2, draw(st.booleans())))
    try:
        return small_spec(
            draw(st.integers(0, 200)),
            draw(st.integers(1, 64)),
            tuple(found),
            noise=draw(st.booleans()),
            rho_nano=draw(st.integers(1, 10**10)),
            handles=(draw(st.integers(1, 2**24)), draw(st.integers(1, 2**24))),
            key_bits=draw(st.sampled_from([2048, 3072])),
        )
    except Refused:
        return small_spec(1, 1, key_bits=2048)


@settings(max_examples=300, deadline=None)
@given(specs())
def test_every_layout_holds_its_bounds(spec: CrosstabSpec) -> None:
    blocks = spec.blocks
    assert len(blocks) == spec.ciphertexts_per_row <= MAX_CIPHERTEXTS_PER_ROW
    assert spec.cells <= MAX_CELLS
    # Every row value has exactly one slot, in order.
    covered = [value for block in blocks for value in block.values]
    assert covered == list(range(spec.row_cells))
    for position, block in enumerate(blocks):
        head = (spec.overlap_width,) if position == 0 else ()
        assert block.head == len(head)
        assert block.layout.widths == head + (spec.width,) * len(block.values)
        # What is shifted together leaves the spare bits free, so the fill hides what is above.
        assert block.per_output * block.layout.declared_bits <= spec.key_bits - SPARE_BITS
    for output in spec.outputs:
        opening = output.opening
        assert opening.largest < 1 << spec.width
        # The mask over slot 0 is added to a biased total; the sum cannot carry.
        masked = opening.u_plus + opening.u_minus
        masked += (1 << spec.overlap_width) - (1 << spec.width) - 1
        assert masked < 1 << spec.overlap_width
        assert spec.overlap_width - spec.width == MASK_BITS
    for measure in spec.measures:
        # The dot product before centring, the largest number on the way.
        assert spec.people * (measure.hi - measure.lo) < 1 << spec.width


@settings(max_examples=50, deadline=None)
@given(specs())
def test_a_row_is_one_overlap_and_one_tag(spec: CrosstabSpec) -> None:
    table = one_hots(spec)
    assert not table[0].any()
    assert table.shape == (spec.row_cells + 1, spec.ciphertexts_per_row, spec.key_bits // 8)
    bits = np.unpackbits(table[1:].reshape(spec.row_cells, -1), axis=1).sum(axis=1)
    assert (bits == 2).all()  # the overlap and one tag, each a single 1
    assert (table[1:, 0, 0] & 1).all()
