"""Attacks of protocols.md section 2, played; each fails, and would succeed without its answer."""

from __future__ import annotations

import os
from math import prod

import gmpy2
import numpy as np
import numpy.typing as npt
import pytest

from protocol.crosstab import provider
from protocol.crosstab.coordinator import layout
from protocol.crosstab.provider import ProviderRows, aggregate
from protocol.crosstab.requester import encrypt_rows, open_outputs
from protocol.crosstab.spec import CrosstabSpec, MeasureSpec
from protocol.errors import Failed, ProtocolViolation, Refused
from protocol.paillier.packing import SlotLayout
from protocol.release.noise import NoNoise
from tests.protocol.crosstab.federation import (
    KERNEL,
    Tables,
    key_of,
    outputs_of,
    run,
    small_spec,
    upload,
)
from tests.protocol.crosstab.textbook import TextbookKernel
from tests.protocol.paillier.rows import array, numbers
from tests.reference.seeded_noise import SeededNoise

SPEC = small_spec(2, 3, handles=(6, 6))
TABLES = Tables(
    np.array([0, 1, 0, 1, 0, -1], dtype=np.int32),
    np.array([0, 0, 0, 1, 2, -1], dtype=np.int32),
    np.array([0, 1, 2, 3, 4, 5]),
)
RUNS = 40


def decrypted(spec: CrosstabSpec, outputs: npt.NDArray[np.uint8]) -> list[int]:
    return numbers(KERNEL.decrypt(key_of(spec.key_bits), outputs))


def looks_uniform(values: list[int], bound: int) -> bool:
    """No two alike, none tiny, halves balanced: all wrong with probability < 1e-9 for RUNS."""
    low = sum(value < bound // 2 for value in values)
    return (
        len(set(values)) == len(values)
        and min(values) > bound >> 40
        and 2 <= low <= len(values) - 2
    )


def smuggled_upload(spec: CrosstabSpec, bit: int) -> npt.NDArray[np.uint8]:
    """A's upload with an extra 1 at `bit` of the first row: its own marked person."""
    rows = upload(spec, TABLES.codes_a).copy()
    mark = KERNEL.insecure_encrypt_ints(key_of(spec.key_bits).public, [1 << bit])
    first = KERNEL.linear(
        key_of(spec.key_bits).public, [(rows[:1, : spec.ciphertext_width], 1), (mark, 1)], [0]
    )
    rows[0, : spec.ciphertext_width] = first[0]
    return rows


@pytest.mark.parametrize("above", [0, 5, 40])
def test_what_a_packs_above_its_slots_is_lost(above: int, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = SPEC
    block = spec.blocks[0]
    # The marked person is in column 0, the first block; the last block of an output is the one
    # with nothing but fill above it, so put the person's block there.
    tables = Tables(np.array(TABLES.codes_a), np.array(TABLES.codes_b), TABLES.pairing)
    tables.codes_b[0] = spec.column_cells - 1
    group = (spec.column_cells - 1) // block.per_output
    here = (spec.column_cells - 1) % block.per_output + 1
    used = here * block.layout.declared_bits
    rows = smuggled_upload(spec, block.layout.declared_bits + above)

    def seen() -> int:
        return decrypted(spec, outputs_of(spec, tables, rows))[1 + group] >> used

    space = key_of(spec.key_bits).public.n >> used
    assert looks_uniform([seen() for _ in range(RUNS)], space)
    monkeypatch.setattr(SlotLayout, "top_fill", lambda layout, n, random: 0)
    assert seen() == 1 << above  # without the fill the marked person's column is read off


def test_the_overlap_output_hides_the_row_totals(monkeypatch: pytest.MonkeyPatch) -> None:
    def above() -> int:
        return decrypted(SPEC, outputs_of(SPEC, TABLES))[0] >> SPEC.overlap_width

    space = key_of(SPEC.key_bits).public.n >> SPEC.overlap_width
    assert looks_uniform([above() for _ in range(RUNS)], space)
    monkeypatch.setattr(SlotLayout, "top_fill", lambda layout, n, random: 0)
    assert above() == 3 | 2 << SPEC.width  # without the fill: A's row totals, exact, no noise


@pytest.mark.parametrize("summed", [False, True])
def test_the_column_totals_in_slot_0_do_not_leave(
    summed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    measures = (MeasureSpec("b/n", -50, 50, 0),) if summed else ()
    spec = small_spec(2, 3, measures, handles=(6, 6))
    values = np.array([-50, 50, 7, 1, -3, 0])
    tables = Tables(TABLES.codes_a, TABLES.codes_b, TABLES.pairing)
    if summed:
        tables.numbers = ((values, np.zeros(6, dtype=np.bool_)),)
    block = spec.blocks[0]
    cell = spec.column_cells if summed else 0  # the first sum block, or the first count block
    group, place = divmod(cell, block.per_output)

    def slot() -> int:
        plain = decrypted(spec, outputs_of(spec, tables))[1 + group]
        return block.layout.times(place + 1).unpack_one(plain)[place * len(block.layout.widths)]

    assert looks_uniform([slot() for _ in range(RUNS)], 1 << spec.overlap_width)
    monkeypatch.setattr(provider, "uniform_below", lambda bound, random: 0)
    lower = spec.cell_outputs[-1].opening.u_minus if summed else 0
    assert slot() == lower + (7 if summed else 3)


class RandomnessKept(TextbookKernel):
    """A's kernel, which remembers every r; and B's without step 6, when asked."""

    def __init__(self, rerandomises: bool) -> None:
        self.known: list[int] = []
        self._rerandomises = rerandomises

    def encrypt(self, key, plaintexts):  # type: ignore[no-untyped-def]
        n, found = key.public.n, []
        for m in numbers(plaintexts):
            r = int.from_bytes(os.urandom(key.public.bits // 8 - 1), "little") | 1
            self.known.append(r)
            found.append((1 + m * n) * int(gmpy2.powmod(r, n, n * n)) % (n * n))
        return array(found, key.public.width)

    def rerandomise(self, public, cts, random):  # type: ignore[no-untyped-def]
        return super().rerandomise(public, cts, random) if self._rerandomises else cts


@pytest.mark.parametrize("rerandomises", [True, False])
def test_a_cannot_test_which_rows_are_inside_a_sum(rerandomises: bool) -> None:
    """⚔ A divides its own r_i out of a returned sum: a match tells which rows B summed."""
    kernel, key = RandomnessKept(rerandomises), key_of(SPEC.key_bits)
    rows = np.concatenate(
        list(encrypt_rows(SPEC, kernel, key, TABLES.codes_a, SPEC.handles_b))  # type: ignore[arg-type]
    )
    laid = rows[layout(TABLES.pairing, SPEC.handles_a)]
    outputs = aggregate(
        SPEC, kernel, key.public, laid, ProviderRows(TABLES.codes_b), NoNoise(), os.urandom  # type: ignore[arg-type]
    )  # fmt: skip
    n = key.public.n
    overlap = numbers(outputs)[0]
    plain = decrypted(SPEC, outputs)[0]
    inside = prod(kernel.known[:5]) % n  # B summed handles 0…4
    randomness = overlap * pow(1 + plain * n, -1, n * n) % (n * n)
    guessed_right = randomness == int(gmpy2.powmod(inside, n, n * n))
    assert guessed_right is not rerandomises


def test_a_slot_above_its_bound_fails_the_job() -> None:
    spec = SPEC
    largest = spec.overlap_output.opening.largest
    assert largest + 1 < 1 << spec.width
    key = key_of(spec.key_bits)
    outputs = outputs_of(spec, TABLES)
    for extra, good in ((largest, True), (largest + 1, False)):
        forged = outputs.copy()
        forged[0] = KERNEL.insecure_encrypt_ints(key.public, [extra])[0]
        if good:
            assert open_outputs(spec, KERNEL, key, forged).overlap == largest
        else:
            with pytest.raises(Failed, match="declared bound") as caught:
                open_outputs(spec, KERNEL, key, forged)
            assert caught.value.info.code == "out_of_range"


def test_a_cell_below_zero_after_its_bias_fails_the_job() -> None:
    spec = small_spec(2, 3, (MeasureSpec("b/n", -50, 50, 0),), noise=True, handles=(6, 6))
    zeros = (np.zeros(6, dtype=np.int64), np.zeros(6, dtype=np.bool_))
    tables = Tables(TABLES.codes_a, TABLES.codes_b, TABLES.pairing, (zeros,))
    key = key_of(spec.key_bits)
    outputs = outputs_of(spec, tables, noise=SeededNoise(3))
    # Taking more from the first cell than bias and noise put there borrows from the next one.
    take = 1 << (spec.overlap_width + spec.width - 1)
    forged = outputs.copy()
    forged[1:2] = KERNEL.linear(key.public, [(outputs[1:2], 1)], [key.public.n - take])
    with pytest.raises(Failed, match="declared bound"):
        open_outputs(spec, KERNEL, key, forged)


def test_another_number_of_outputs_fails_the_job() -> None:
    with pytest.raises(Failed, match="number of outputs"):
        open_outputs(SPEC, KERNEL, key_of(SPEC.key_bits), outputs_of(SPEC, TABLES)[:-1])


def test_a_ciphertext_laid_out_twice_is_a_violation() -> None:
    rows = upload(SPEC, TABLES.codes_a)
    index = layout(TABLES.pairing, SPEC.handles_a)
    index[1] = index[0]
    with pytest.raises(ProtocolViolation, match="repeated"):
        aggregate(
            SPEC, KERNEL, key_of(SPEC.key_bits).public, rows[index],
            ProviderRows(TABLES.codes_b), NoNoise(), os.urandom,
        )  # fmt: skip


@pytest.mark.parametrize("value", [0, "n"])
def test_a_ciphertext_that_is_no_unit_is_a_violation(value: object) -> None:
    public = key_of(SPEC.key_bits).public
    rows = upload(SPEC, TABLES.codes_a)[layout(TABLES.pairing, SPEC.handles_a)].copy()
    rows[2] = array([0 if value == 0 else public.n], public.width)[0]
    with pytest.raises(ProtocolViolation):
        aggregate(
            SPEC, KERNEL, public, rows, ProviderRows(TABLES.codes_b), NoNoise(), os.urandom
        )  # fmt: skip


def test_a_layout_of_another_size_or_key_is_a_violation() -> None:
    rows = upload(SPEC, TABLES.codes_a)[layout(TABLES.pairing, SPEC.handles_a)]
    mine = ProviderRows(TABLES.codes_b)
    with pytest.raises(ProtocolViolation, match="another size"):
        aggregate(
            SPEC, KERNEL, key_of(512).public, rows[:-1], mine, NoNoise(), os.urandom
        )  # fmt: skip
    with pytest.raises(ProtocolViolation, match="another size"):
        aggregate(SPEC, KERNEL, key_of(768).public, rows, mine, NoNoise(), os.urandom)


@pytest.mark.parametrize("pairing", [[0, 0, -1], [0, 3, -1]])
def test_h_may_not_hand_a_row_out_twice(pairing: list[int]) -> None:
    with pytest.raises(ProtocolViolation, match="matched twice or does not exist"):
        layout(np.array(pairing), 3)


def test_a_layout_uses_every_row_at_most_once() -> None:
    index = layout(np.array([-1, 2, -1, 0]), 3)
    assert index.tolist() == [3, 2, 4, 0]
    assert layout(np.array([], dtype=np.int64), 3).tolist() == []


@pytest.mark.parametrize(
    "values, null, code",
    [
        ([0, 0, 51, 0, 0, 0], [0, 0, 0, 0, 0, 0], "out_of_bounds"),
        ([0, 0, 0, 0, 0, 0], [0, 0, 1, 0, 0, 0], "undeclared_null"),
    ],
)
def test_b_refuses_to_sum_what_its_catalog_did_not_declare(
    values: list[int], null: list[int], code: str
) -> None:
    spec = small_spec(2, 3, (MeasureSpec("b/n", -50, 50, 0),), handles=(6, 6))
    numbers_ = ((np.array(values), np.array(null, dtype=np.bool_)),)
    with pytest.raises(Failed) as caught:
        run(spec, Tables(TABLES.codes_a, TABLES.codes_b, TABLES.pairing, numbers_))
    assert caught.value.info.code == code


class Watched:
    """The kernel of these tests, with a list of the operations that were begun."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def __getattr__(self, operation: str) -> object:
        self.begun.append(operation)
        return getattr(KERNEL, operation)


@pytest.mark.parametrize(
    "width, begun",
    [
        (2, ["check"]),  # 6 people need 3 bits
        (9, ["check", "sum_by_group"]),  # 6 people · 100 need 10
        (10, None),  # as derived
    ],
)
def test_what_a_slot_cannot_hold_is_refused_before_it_is_computed(
    width: int, begun: list[str] | None
) -> None:
    spec = small_spec(2, 3, (MeasureSpec("b/n", -50, 50, 0),), handles=(6, 6))
    rows = upload(spec, TABLES.codes_a)[layout(TABLES.pairing, spec.handles_a)]
    mine = ProviderRows(TABLES.codes_b, ((np.zeros(6, np.int64), np.zeros(6, np.bool_)),))
    assert spec.width == 10
    spec.__dict__["width"] = width  # a derivation gone wrong
    kernel = Watched()

    def aggregated() -> None:
        aggregate(
            spec, kernel, key_of(512).public, rows, mine, NoNoise(), os.urandom  # type: ignore[arg-type]
        )  # fmt: skip

    if begun is None:
        aggregated()
        return
    with pytest.raises(Refused) as caught:
        aggregated()
    assert caught.value.info.code == "slot_overflow"
    assert kernel.begun == begun


def test_two_runs_on_the_same_rows_have_independent_noise() -> None:
    """⚔ Equal noise on nearly equal tables gives exact differences."""
    from party_node.noise_opendp import OpenDPNoise

    spec = small_spec(2, 3, noise=True, handles=(6, 6))
    first, second = (run(spec, TABLES, OpenDPNoise()) for _ in range(2))
    assert not np.array_equal(first.count, second.count)
