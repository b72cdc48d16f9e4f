"""The kernel against formulas on plain integers, in the calling thread."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ProtocolViolation
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PrivateKey
from protocol.paillier.pool import PoolKernel
from tests.protocol.paillier.rows import (
    array,
    naive_dot,
    numbers,
    plain,
    seeded,
    small_key,
    textbook_decrypt,
)

KEY = small_key()
N = KEY.public.n
KERNEL: Kernel = PoolKernel.inline(seeded(9))
WIDTH = KEY.public.width
POOL = numbers(KERNEL.encrypt(KEY, plain(KEY, list(range(40)))))


@pytest.mark.parametrize("key", [KEY, PrivateKey(KEY.p, KEY.q)], ids=["tables", "textbook"])
def test_encrypt_and_decrypt(key: PrivateKey) -> None:
    values = [0, 1, N - 1, N // 2, 12345, 1 << 200]
    cts = KERNEL.encrypt(key, plain(key, values))
    assert cts.shape == (6, WIDTH)
    assert numbers(KERNEL.decrypt(key, cts)) == values
    assert [textbook_decrypt(key, c) for c in numbers(cts)] == values
    KERNEL.check(key.public, cts)


def test_the_same_plaintext_never_gives_the_same_ciphertext() -> None:
    cts = KERNEL.encrypt_zero(KEY, 3000)
    assert len(set(numbers(cts))) == 3000
    assert not any(numbers(KERNEL.decrypt(KEY, cts[:50])))


def test_a_plaintext_that_is_too_large_is_refused() -> None:
    with pytest.raises(ValueError, match="below the modulus"):
        KERNEL.encrypt(KEY, plain(KEY, [N]))


def test_no_rows() -> None:
    none = np.zeros((0, WIDTH), dtype=np.uint8)
    assert KERNEL.encrypt_zero(KEY, 0).shape == (0, WIDTH)
    assert KERNEL.decrypt(KEY, none).shape == (0, WIDTH // 2)
    KERNEL.check(KEY.public, none)
    assert KERNEL.linear(KEY.public, [], []).shape == (0, WIDTH)
    assert KERNEL.rerandomise(KEY.public, none, seeded(1)).shape == (0, WIDTH)
    groups = np.zeros(0, dtype=np.int32)
    assert numbers(KERNEL.sum_by_group(KEY.public, none, groups, 2)) == [1, 1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_sums_and_dots_equal_the_formula(data: st.DataObject) -> None:
    n_groups = data.draw(st.integers(1, 6))
    bits = data.draw(st.sampled_from([1, 3, 8, 16, 20, 63, 64]))
    top = (1 << bits) - 1
    weight = st.one_of(st.sampled_from([0, 1, top]), st.integers(0, top))
    row = st.tuples(st.sampled_from(POOL), st.integers(-1, n_groups - 1), weight)
    rows = data.draw(st.lists(row, max_size=60))
    cts, groups, weights = ([r[i] for r in rows] for i in range(3))
    packed = array(cts, WIDTH) if cts else np.zeros((0, WIDTH), dtype=np.uint8)
    codes = np.array(groups, dtype=np.int32)
    found = KERNEL.sum_by_group(KEY.public, packed, codes, n_groups)
    assert numbers(found) == naive_dot(KEY.public, cts, groups, n_groups, [1] * len(cts))
    held = np.array(weights, dtype=np.uint64)
    found = KERNEL.dot_by_group(KEY.public, packed, codes, n_groups, held, bits)
    assert numbers(found) == naive_dot(KEY.public, cts, groups, n_groups, weights)


def test_groups_cut_across_chunks() -> None:
    n = 9000
    picked = np.arange(n) % 40
    cts = array(POOL, WIDTH)[picked]
    groups = (np.arange(n) // 4000).astype(np.int32)
    weights = (np.arange(n) % 1000).astype(np.uint64)
    seen: list[tuple[int, int]] = []
    sums = KERNEL.sum_by_group(KEY.public, cts, groups, 3, lambda d, t: seen.append((d, t)))
    want = [int(picked[groups == g].sum()) for g in range(3)]
    assert numbers(KERNEL.decrypt(KEY, sums)) == want
    assert seen[-1] == (n, n)
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    dots = KERNEL.dot_by_group(KEY.public, cts, groups, 3, weights, 10)
    want = [int((picked * weights.astype(np.int64))[groups == g].sum()) for g in range(3)]
    assert numbers(KERNEL.decrypt(KEY, dots)) == want


def test_columns_of_a_memory_map(tmp_path: Path) -> None:
    stored = np.hstack([array(POOL, WIDTH), array(POOL[::-1], WIDTH)])
    (tmp_path / "body").write_bytes(b"head" + stored.tobytes())
    body = np.memmap(tmp_path / "body", dtype=np.uint8, mode="r", offset=4).reshape(40, 2 * WIDTH)
    KERNEL.check(KEY.public, body[:, WIDTH:])
    groups = (np.arange(40) % 3).astype(np.int32)
    for column, values in ((0, range(40)), (1, range(39, -1, -1))):
        part = body[:, column * WIDTH : (column + 1) * WIDTH]
        sums = numbers(KERNEL.decrypt(KEY, KERNEL.sum_by_group(KEY.public, part, groups, 3)))
        assert sums == [sum(v for i, v in enumerate(values) if i % 3 == g) for g in range(3)]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_linear_equals_the_formula(data: st.DataObject) -> None:
    m = data.draw(st.integers(1, 4))
    factor = st.one_of(
        st.sampled_from([0, 1, -1, 2, 1 << 40, 1 << 100, -(1 << 7)]), st.integers(-(10**6), 10**6)
    )
    places = st.lists(st.integers(0, 39), min_size=m, max_size=m)
    terms = data.draw(st.lists(st.tuples(places, factor), max_size=5))
    added = data.draw(st.lists(st.integers(-(10**30), 10**30), min_size=m, max_size=m))
    arrays = [(array([POOL[i] for i in rows], WIDTH), f) for rows, f in terms]
    found = KERNEL.linear(KEY.public, arrays, added)
    want = [
        (sum(rows[i] * f for rows, f in terms) + added[i]) % N for i in range(m)
    ]  # POOL[i] encrypts i
    assert numbers(KERNEL.decrypt(KEY, found)) == want


def test_rerandomised_rows_are_fresh_and_equal_in_value() -> None:
    cts = array(POOL, WIDTH)
    first = KERNEL.rerandomise(KEY.public, cts, seeded(1))
    again = KERNEL.rerandomise(KEY.public, cts, seeded(2))
    assert numbers(KERNEL.decrypt(KEY, first)) == list(range(40))
    assert len(set(numbers(cts)) | set(numbers(first)) | set(numbers(again))) == 120


def test_rerandomising_uses_the_given_randomness_by_the_book() -> None:
    drawn: list[int] = []
    source = seeded(4)

    def recorded(n: int) -> bytes:
        data = source(n)
        drawn.append(int.from_bytes(data, "little"))
        return data

    found = numbers(KERNEL.rerandomise(KEY.public, array(POOL[:3], WIDTH), recorded))
    units = [r for r in drawn if 0 < r < N]
    assert found == [c * pow(r, N, N * N) % (N * N) for c, r in zip(POOL, units[:3], strict=False)]


@pytest.mark.parametrize(
    ("spoil", "word"),
    [
        (lambda cts: [*cts, 0], "between"),
        (lambda cts: [*cts, N * N], "between"),
        (lambda cts: [*cts, (1 << 8 * WIDTH) - 1], "between"),
        (lambda cts: [KEY.p * 12345, *cts], "shares a factor"),
        (lambda cts: [*cts, N], "shares a factor"),
        (lambda cts: [*cts, cts[7]], "twice"),
    ],
)
def test_bad_ciphertexts_are_found(spoil: Callable[[list[int]], list[int]], word: str) -> None:
    KERNEL.check(KEY.public, array(POOL, WIDTH))
    with pytest.raises(ProtocolViolation, match=word) as caught:
        KERNEL.check(KEY.public, array(spoil(POOL), WIDTH))
    assert caught.value.info.code == "bad_ciphertext"


def test_a_duplicate_in_another_chunk_is_found() -> None:
    cts = KERNEL.encrypt_zero(KEY, 5000)
    KERNEL.check(KEY.public, cts)
    spoilt = cts.copy()
    spoilt[4999] = spoilt[0]
    with pytest.raises(ProtocolViolation, match="twice"):
        KERNEL.check(KEY.public, spoilt)


def test_decrypting_what_is_no_ciphertext_fails() -> None:
    with pytest.raises(ProtocolViolation):
        KERNEL.decrypt(KEY, array([KEY.p], WIDTH))


def test_wrong_shapes_are_refused() -> None:
    cts, one = array(POOL, WIDTH), np.ones(40, dtype=np.uint64)
    groups = np.zeros(40, dtype=np.int32)
    with pytest.raises(ValueError, match="shape"):
        KERNEL.check(KEY.public, cts[:, 1:])
    with pytest.raises(ValueError, match="shape"):
        KERNEL.encrypt(KEY, cts)
    with pytest.raises(ValueError, match="group"):
        KERNEL.sum_by_group(KEY.public, cts, groups[1:], 1)
    with pytest.raises(ValueError, match="outside"):
        KERNEL.sum_by_group(KEY.public, cts, groups + 1, 1)
    with pytest.raises(ValueError, match="outside"):
        KERNEL.sum_by_group(KEY.public, cts, groups - 2, 1)
    with pytest.raises(ValueError, match="bits"):
        KERNEL.dot_by_group(KEY.public, cts, groups, 1, one * np.uint64(4), 2)
    with pytest.raises(ValueError, match="uint64"):
        KERNEL.dot_by_group(KEY.public, cts, groups, 1, one.astype(np.int64), 2)
    with pytest.raises(ValueError, match="one row per"):
        KERNEL.linear(KEY.public, [(cts, 1)], [0])
