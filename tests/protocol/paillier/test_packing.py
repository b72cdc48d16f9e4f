"""Slots: what goes in comes out, bounds hold, what would overflow is refused before it happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from protocol.errors import Failed, Refused
from protocol.paillier.packing import (
    Opening,
    PackedBound,
    SlotLayout,
    capacity,
    slots_per_ciphertext,
    uniform_below,
)
from protocol.paillier.pool import PoolKernel
from tests.protocol.paillier.rows import array, numbers, seeded, small_key


def test_the_numbers_of_section_7() -> None:
    u = 131_072 * 500_000
    assert slots_per_ciphertext(2048, 37) == 53
    assert slots_per_ciphertext(3072, 37) == 81
    assert slots_per_ciphertext(2048, 37, taken=37 + 64) == 50
    assert Opening(u, u, 43_301_272).width == 37
    assert Opening(u, u, 43_301_272).bias == u + 43_301_272


def layouts() -> st.SearchStrategy[SlotLayout]:
    widths = st.lists(st.integers(1, 90), max_size=12)
    return widths.map(lambda found: SlotLayout(2048, tuple(found)))


@given(layouts(), st.data())
def test_pack_then_unpack(layout: SlotLayout, data: st.DataObject) -> None:
    values = [data.draw(st.integers(0, (1 << width) - 1)) for width in layout.widths]
    packed = layout.pack_one(values)
    assert packed.bit_length() <= layout.declared_bits
    above = data.draw(st.integers(0, 1 << 64)) << layout.declared_bits
    assert layout.unpack_one(packed + above) == values


@given(layouts(), st.integers(0, 4), st.data())
def test_blocks_lie_side_by_side(layout: SlotLayout, blocks: int, data: st.DataObject) -> None:
    assume(blocks * layout.declared_bits <= capacity(2048))
    values = [
        [data.draw(st.integers(0, (1 << width) - 1)) for width in layout.widths]
        for _ in range(blocks)
    ]
    together = layout.times(blocks)
    shifted = sum(
        layout.pack_one(block) << at * layout.declared_bits for at, block in enumerate(values)
    )
    packed = together.pack_one([value for block in values for value in block])
    assert packed == shifted
    rows = array([packed, 0], together.plaintext_width)
    assert together.unpack(rows) == [together.unpack_one(packed), [0] * len(together.widths)]


@given(layouts(), st.data())
def test_units_are_one_hot(layout: SlotLayout, data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(-1, len(layout.widths) - 1), max_size=8))
    packed = layout.units(np.array(codes, dtype=np.int32))
    assert layout.unpack(packed) == [
        [int(slot == code) for slot in range(len(layout.widths))] for code in codes
    ]


def test_what_does_not_fit_is_refused() -> None:
    layout = SlotLayout(2048, (37,) * 53)
    with pytest.raises(Refused, match="54 slots of together 1998 bits") as caught:
        SlotLayout(2048, (37,) * 54)
    assert caught.value.info.code == "slots_do_not_fit"
    with pytest.raises(ValueError, match="fit"):
        layout.pack_one([1 << 37] + [0] * 52)
    with pytest.raises(ValueError, match="fit"):
        layout.pack_one([-1] + [0] * 52)
    with pytest.raises(Refused, match="106 slots"):
        layout.times(2)
    with pytest.raises(ValueError, match="no slot"):
        layout.units(np.array([53], dtype=np.int32))


bounds = st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)).map(sorted)


@given(bounds, bounds, st.integers(-1000, 1000), st.data())
def test_bounds_contain_what_they_say(
    a: list[int], b: list[int], factor: int, data: st.DataObject
) -> None:
    one, two = PackedBound(a[0], a[1], 64), PackedBound(b[0], b[1], 64)
    x, y = data.draw(st.integers(*a)), data.draw(st.integers(*b))
    both, times = one.add(two), one.multiply(factor)
    assert both.low <= x + y <= both.high
    assert times.low <= x * factor <= times.high
    rows = data.draw(st.lists(st.integers(*a), max_size=5))
    total = one.sum_of(5)
    assert total.low <= sum(rows) <= total.high
    weights = [data.draw(st.integers(0, 255)) for _ in rows]
    dot = one.dot(5, 255)
    products = sum(w * v for w, v in zip(weights, rows, strict=True))
    assert dot.low <= products <= dot.high


def test_a_bound_beyond_its_slot_is_refused_before_it_happens() -> None:
    row = PackedBound(0, 1, 20)
    assert row.sum_of((1 << 20) - 1).high == (1 << 20) - 1
    for step in (
        lambda: row.sum_of(1 << 20),
        lambda: row.multiply(1 << 20),
        lambda: row.dot(2, (1 << 20) - 1),
        lambda: row.multiply((1 << 20) - 1).add(row),
    ):
        with pytest.raises(Refused, match="21 bits") as caught:
            step()
        assert caught.value.info.code == "slot_overflow"
    with pytest.raises(ValueError, match="two widths"):
        row.add(PackedBound(0, 1, 21))


@given(
    st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**6), st.integers(1, 4),
    st.data(),
)  # fmt: skip
def test_an_opened_slot_is_total_and_noise(
    plus: int, minus: int, t: int, adders: int, data: st.DataObject
) -> None:
    opening = Opening(plus, minus, t, adders)
    total = data.draw(st.integers(-minus, plus))
    noise = [data.draw(st.integers(-t, t)) for _ in range(adders)]
    slot = total + sum(opening.bias + drawn for drawn in noise)
    assert opening.open(slot, "sum") == total + sum(noise)
    for outside in (-1, opening.largest + 1):
        with pytest.raises(Failed, match="a slot of sum") as caught:
            opening.open(outside, "sum")
        assert caught.value.info.code == "out_of_range"


@given(
    st.integers(0, 10**9), st.integers(0, 10**9), st.integers(0, 10**6), st.integers(1, 4)
)  # fmt: skip
def test_totals_beyond_what_the_reader_accepts_are_refused_before_their_bias(
    plus: int, minus: int, t: int, adders: int
) -> None:
    opening = Opening(plus, minus, t, adders)
    width = max(1, opening.width)
    opening.check_fits(PackedBound(-minus, plus, width))
    for beyond in (
        PackedBound(-minus, plus + 1, 64),
        PackedBound(-adders * minus - 1, plus, 64),
    ):
        with pytest.raises(Refused) as caught:
            opening.check_fits(beyond)
        assert caught.value.info.code == "slot_overflow"
    if opening.largest:
        with pytest.raises(Refused):
            opening.check_fits(PackedBound(-minus, plus, (plus + minus + 2 * t).bit_length() - 1))


def test_the_fill_covers_everything_above_and_never_wraps() -> None:
    key = small_key(256)
    n = key.public.n
    layout = SlotLayout(256, (16,) * 8)
    top, highest, lowest = n >> 128, 0, n
    draw = seeded(3)
    for _ in range(2000):
        fill = layout.top_fill(n, draw)
        assert fill % (1 << 128) == 0
        assert fill + (1 << 128) - 1 < n
        highest, lowest = max(highest, fill >> 128), min(lowest, fill >> 128)
    assert highest > top * 0.99
    assert lowest < top * 0.01


def test_every_number_below_a_bound_is_drawn() -> None:
    draw = seeded(2)
    for bound in (1, 2, 5, 256):
        assert {uniform_below(bound, draw) for _ in range(40 * bound)} == set(range(bound))
    with pytest.raises(ValueError, match="empty range"):
        uniform_below(0, draw)


@given(st.data())
def test_packed_sums_and_dots_never_spill(data: st.DataObject) -> None:
    """Through the real kernel: extreme rows and weights, bias, noise and fill on top."""
    key = small_key(512)
    kernel = PoolKernel.inline(seeded(1))
    rows = data.draw(st.integers(1, 6))
    bits = data.draw(st.integers(1, 12))
    t = data.draw(st.integers(0, 1000))
    opening = Opening(rows * ((1 << bits) - 1), 0, t)
    slots = min(6, slots_per_ciphertext(512, opening.width))
    layout = SlotLayout(512, (opening.width,) * slots)
    top = (1 << bits) - 1
    bound = PackedBound(0, 1, opening.width).dot(rows, top)
    assert bound.high <= opening.u_plus
    opening.check_fits(bound)
    codes = data.draw(st.lists(st.integers(-1, slots - 1), min_size=rows, max_size=rows))
    weights = data.draw(st.lists(st.sampled_from([0, 1, top]), min_size=rows, max_size=rows))
    noise = [data.draw(st.sampled_from([-t, 0, t])) for _ in range(slots)]
    cts = kernel.encrypt(key, layout.units(np.array(codes, dtype=np.int32)))
    dot = kernel.dot_by_group(
        key.public, cts, np.zeros(rows, np.int32), 1, np.array(weights, np.uint64), bits
    )
    added = layout.pack_one([opening.bias + drawn for drawn in noise])
    fill = layout.top_fill(key.public.n, seeded(data.draw(st.integers(0, 9))))
    out = kernel.linear(key.public, [(dot, 1)], [added + fill])
    opened = [opening.open(slot, "sum") for slot in layout.unpack(kernel.decrypt(key, out))[0]]
    want = [
        sum(w for c, w in zip(codes, weights, strict=True) if c == slot) + noise[slot]
        for slot in range(slots)
    ]
    assert opened == want


def test_array_helper() -> None:
    assert numbers(array([1, 258], 2)) == [1, 258]
