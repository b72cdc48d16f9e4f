"""The same stories over the kernel that runs: random tables, and one at a permitted key size."""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crosstab.coordinator import layout
from protocol.crosstab.provider import ProviderRows, aggregate
from protocol.crosstab.requester import encrypt_rows, open_outputs
from protocol.crosstab.spec import CrosstabSpec, MeasureSpec
from protocol.crosstab.totals import NoisyTotals
from protocol.errors import ProtocolViolation
from protocol.paillier.keys import PrivateKey, generate, insecure_generate
from protocol.paillier.pool import PoolKernel
from protocol.release.noise import NoNoise
from tests.protocol.crosstab.federation import Tables, outputs_of, run, small_spec, upload
from tests.protocol.crosstab.test_exact import people, questions, random_tables
from tests.reference.crosstab_oracle import crosstab

KERNEL = PoolKernel.inline()
_KEYS: dict[int, PrivateKey] = {}


def key_of(bits: int) -> PrivateKey:
    if bits not in _KEYS:
        make = generate if bits >= 2048 else insecure_generate
        _KEYS[bits] = make(bits, os.urandom)
    return _KEYS[bits]


def assert_exact(spec: CrosstabSpec, tables: Tables, totals: NoisyTotals) -> None:
    truth = crosstab(people(tables), len(spec.measures))
    assert totals.overlap == truth.overlap
    count = np.zeros_like(totals.count)
    for cell, here in truth.count.items():
        count[cell] = here
    assert np.array_equal(totals.count, count)
    for at, measure in enumerate(spec.measures):
        centred, own = np.zeros_like(count), np.zeros_like(count)
        for cell, here in truth.own[at].items():
            own[cell] = here
            centred[cell] = truth.sums[at][cell] - measure.mid * here
        assert np.array_equal(totals.sums[measure.attribute], centred)
        if measure.nullable:
            assert np.array_equal(totals.own_counts[measure.attribute], own)


@settings(max_examples=25, deadline=None)
@given(questions(noise=False))
def test_random_tables(question: tuple[CrosstabSpec, Tables]) -> None:
    spec, tables = question
    assert_exact(spec, tables, run(spec, tables, None, KERNEL, key_of(spec.key_bits)))


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_rows_of_several_ciphertexts(seed: int) -> None:
    found = (MeasureSpec("b/n", -7, 12, 0, nullable=True), MeasureSpec("b/m", 3, 4, 0))
    spec = small_spec(60, 3, found, handles=(40, 50), key_bits=512)
    assert spec.ciphertexts_per_row > 1
    tables = random_tables(spec, np.random.default_rng(seed))
    assert_exact(spec, tables, run(spec, tables, None, KERNEL, key_of(512)))


def test_a_permitted_key_progress_and_a_layout_on_disk(tmp_path) -> None:  # type: ignore[no-untyped-def]
    found = (MeasureSpec("b/n", 0, 100_000, 2),)
    spec = small_spec(8, 8, found, handles=(300, 280), key_bits=2048)
    tables = random_tables(spec, np.random.default_rng(3))
    key = key_of(2048)
    seen: dict[str, list[tuple[int, int]]] = {"up": [], "sum": []}
    chunks = encrypt_rows(
        spec, KERNEL, key, tables.codes_a, spec.handles_b, lambda *at: seen["up"].append(at)
    )
    laid = np.concatenate(list(chunks))[layout(tables.pairing, spec.handles_a)]
    path = tmp_path / "layout"
    laid.tofile(path)
    mapped = np.memmap(path, dtype=np.uint8, mode="r", shape=laid.shape)
    outputs = aggregate(
        spec, KERNEL, key.public, mapped, ProviderRows(tables.codes_b, tables.numbers),
        NoNoise(), os.urandom, lambda *at: seen["sum"].append(at),
    )  # fmt: skip
    assert_exact(spec, tables, open_outputs(spec, KERNEL, key, outputs))
    for reports in seen.values():
        assert reports == sorted(reports)
        assert reports[-1][0] == reports[-1][1]


def test_a_duplicate_is_found() -> None:
    spec = small_spec(2, 3, handles=(6, 6))
    tables = random_tables(spec, np.random.default_rng(3))
    rows = upload(spec, tables.codes_a, KERNEL, key_of(512)).copy()
    rows[-1] = rows[-2]
    tables.pairing[:] = -1  # every Enc(0) of the supply is handed out
    with pytest.raises(ProtocolViolation) as caught:
        outputs_of(spec, tables, rows, None, KERNEL, key_of(512))
    assert caught.value.info.code == "bad_ciphertext"
