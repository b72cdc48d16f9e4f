"""Slots: what goes in comes out, bounds hold, what would overflow is refused before it happens."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import Failed, Refused
from protocol.paillier.packing import (
    Opening,
    PackedBound,
    SlotLayout,
    clamp_of,
    slot_width,
    slots_per_ciphertext,
)
from protocol.paillier.pool import PoolKernel
from tests.protocol.paillier.rows import array, numbers, seeded, small_key


def test_the_numbers_of_section_7() -> None:
    assert clamp_of(8.66) == 88
    assert clamp_of(4_330_127.02) == 43_301_272
    assert clamp_of(0) == 0
    u = 131_072 * 500_000
    assert slot_width(u, u, 1, 43_301_272) == 37
    assert slots_per_ciphertext(2048, 37) == 53
    assert slots_per_ciphertext(3072, 37) == 81
    assert Opening(u, u, 43_301_272).width == 37


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


@given(layouts(), st.integers(0, 5), st.data())
def test_vectorised_packing_is_the_same(layout: SlotLayout, n: int, data: st.DataObject) -> None:
    rows = [
        [data.draw(st.integers(0, (1 << min(width, 63)) - 1)) for width in layout.widths]
        for _ in range(n)
    ]
    packed = layout.pack(np.array(rows, dtype=np.int64).reshape(n, len(layout.widths)))
    assert numbers(packed) == [layout.pack_one(row) for row in rows]
    assert layout.unpack(packed) == rows


@given(layouts(), st.data())
def test_units_are_one_hot(layout: SlotLayout, data: st.DataObject) -> None:
    codes = data.draw(st.lists(st.integers(-1, len(layout.widths) - 1), max_size=8))
    packed = layout.units(np.array(codes, dtype=np.int32))
    assert layout.unpack(packed) == [
        [int(slot == code) for slot in range(len(layout.widths))] for code in codes
    ]


def test_what_does_not_fit_is_refused() -> None:
    layout = SlotLayout.uniform(2048, 37, 53)
    with pytest.raises(Refused, match="54 slots of together 1998 bits") as caught:
        SlotLayout.uniform(2048, 37, 54)
    assert caught.value.info.code == "slots_do_not_fit"
    with pytest.raises(ValueError, match="fit"):
        layout.pack_one([1 << 37] + [0] * 52)
    with pytest.raises(ValueError, match="fit"):
        layout.pack_one([-1] + [0] * 52)
    with pytest.raises(ValueError, match="fit"):
        layout.pack(np.full((1, 53), 1 << 37, dtype=np.int64))
    with pytest.raises(ValueError, match="fit"):
        layout.pack(np.full((1, 53), -1, dtype=np.int64))
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
    assert abs(x * factor) <= times.magnitude
    rows = data.draw(st.lists(st.integers(*a), max_size=5))
    total = one.sum_of(5)
    assert total.low <= sum(rows) <= total.high
    weights = [data.draw(st.integers(0, 255)) for _ in rows]
    dot = one.dot(5, 8)
    products = sum(w * v for w, v in zip(weights, rows, strict=True))
    assert dot.low <= products <= dot.high


def test_a_bound_beyond_its_slot_is_refused_before_it_happens() -> None:
    row = PackedBound(0, 1, 20)
    assert row.sum_of((1 << 20) - 1).high == (1 << 20) - 1
    for step in (
        lambda: row.sum_of(1 << 20),
        lambda: row.multiply(1 << 20),
        lambda: row.dot(2, 20),
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
    assert opening.open(slot) == total + sum(noise)
    for outside in (-1, opening.largest + 1):
        with pytest.raises(Failed) as caught:
            opening.open(outside)
        assert caught.value.info.code == "out_of_range"


def test_the_fill_covers_everything_above_and_never_wraps() -> None:
    key = small_key(256)
    n = key.public.n
    layout = SlotLayout.uniform(256, 16, 8)
    top, highest, lowest = n >> 128, 0, n
    draw = seeded(3)
    for _ in range(2000):
        fill = layout.top_fill(n, draw)
        assert fill % (1 << 128) == 0
        assert fill + (1 << 128) - 1 < n
        highest, lowest = max(highest, fill >> 128), min(lowest, fill >> 128)
    assert highest > top * 0.99
    assert lowest < top * 0.01


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
    layout = SlotLayout.uniform(512, opening.width, slots)
    bound = PackedBound(0, 1, opening.width).dot(rows, bits)
    assert bound.high <= opening.u_plus
    top = (1 << bits) - 1
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
    opened = [opening.open(slot) for slot in layout.unpack(kernel.decrypt(key, out))[0]]
    want = [
        sum(w for c, w in zip(codes, weights, strict=True) if c == slot) + noise[slot]
        for slot in range(slots)
    ]
    assert opened == want


def test_array_helper() -> None:
    assert numbers(array([1, 258], 2)) == [1, 258]
