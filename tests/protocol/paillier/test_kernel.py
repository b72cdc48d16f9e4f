"""Every kernel against formulas on plain integers, in the calling thread."""

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
from tests.protocol.paillier.kernels import NAMES, kernel_named
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
WIDTH = KEY.public.width
POOL = numbers(PoolKernel.inline(seeded(9)).encrypt(KEY, plain(KEY, list(range(40)))))


@pytest.fixture(scope="module", params=NAMES)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return kernel_named(request.param, seeded(9))


@pytest.mark.parametrize("key", [KEY, PrivateKey(KEY.p, KEY.q)], ids=["tables", "textbook"])
def test_encrypt_and_decrypt(kernel: Kernel, key: PrivateKey) -> None:
    values = [0, 1, N - 1, N // 2, 12345, 1 << 200]
    cts = kernel.encrypt(key, plain(key, values))
    assert cts.shape == (6, WIDTH)
    assert numbers(kernel.decrypt(key, cts)) == values
    assert [textbook_decrypt(key, c) for c in numbers(cts)] == values
    kernel.check(key.public, cts)


def test_the_same_plaintext_never_gives_the_same_ciphertext(kernel: Kernel) -> None:
    cts = kernel.encrypt_zero(KEY, 3000)
    assert len(set(numbers(cts))) == 3000
    assert not any(numbers(kernel.decrypt(KEY, cts[:50])))


def test_a_plaintext_that_is_too_large_is_refused(kernel: Kernel) -> None:
    with pytest.raises(ValueError, match="below the modulus"):
        kernel.encrypt(KEY, plain(KEY, [N]))


def test_no_rows(kernel: Kernel) -> None:
    none = np.zeros((0, WIDTH), dtype=np.uint8)
    assert kernel.encrypt_zero(KEY, 0).shape == (0, WIDTH)
    assert kernel.decrypt(KEY, none).shape == (0, WIDTH // 2)
    kernel.check(KEY.public, none)
    assert kernel.linear(KEY.public, [], []).shape == (0, WIDTH)
    assert kernel.rerandomise(KEY.public, none, seeded(1)).shape == (0, WIDTH)
    groups = np.zeros(0, dtype=np.int32)
    assert numbers(kernel.sum_by_group(KEY.public, none, groups, 2)) == [1, 1]


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_sums_and_dots_equal_the_formula(kernel: Kernel, data: st.DataObject) -> None:
    n_groups = data.draw(st.integers(1, 6))
    bits = data.draw(st.sampled_from([1, 3, 8, 16, 20, 63, 64]))
    top = (1 << bits) - 1
    weight = st.one_of(st.sampled_from([0, 1, top]), st.integers(0, top))
    row = st.tuples(st.sampled_from(POOL), st.integers(-1, n_groups - 1), weight)
    rows = data.draw(st.lists(row, max_size=60))
    cts, groups, weights = ([r[i] for r in rows] for i in range(3))
    packed = array(cts, WIDTH) if cts else np.zeros((0, WIDTH), dtype=np.uint8)
    codes = np.array(groups, dtype=np.int32)
    found = kernel.sum_by_group(KEY.public, packed, codes, n_groups)
    assert numbers(found) == naive_dot(KEY.public, cts, groups, n_groups, [1] * len(cts))
    held = np.array(weights, dtype=np.uint64)
    found = kernel.dot_by_group(KEY.public, packed, codes, n_groups, held, bits)
    assert numbers(found) == naive_dot(KEY.public, cts, groups, n_groups, weights)


def test_groups_cut_across_chunks(kernel: Kernel) -> None:
    n = 9000
    picked = np.arange(n) % 40
    cts = array(POOL, WIDTH)[picked]
    groups = (np.arange(n) // 4000).astype(np.int32)
    weights = (np.arange(n) % 1000).astype(np.uint64)
    seen: list[tuple[int, int]] = []
    sums = kernel.sum_by_group(KEY.public, cts, groups, 3, lambda d, t: seen.append((d, t)))
    want = [int(picked[groups == g].sum()) for g in range(3)]
    assert numbers(kernel.decrypt(KEY, sums)) == want
    assert seen[-1] == (n, n)
    assert [d for d, _ in seen] == sorted(d for d, _ in seen)
    dots = kernel.dot_by_group(KEY.public, cts, groups, 3, weights, 10)
    want = [int((picked * weights.astype(np.int64))[groups == g].sum()) for g in range(3)]
    assert numbers(kernel.decrypt(KEY, dots)) == want


def test_columns_of_a_memory_map(kernel: Kernel, tmp_path: Path) -> None:
    stored = np.hstack([array(POOL, WIDTH), array(POOL[::-1], WIDTH)])
    (tmp_path / "body").write_bytes(b"head" + stored.tobytes())
    body = np.memmap(tmp_path / "body", dtype=np.uint8, mode="r", offset=4).reshape(40, 2 * WIDTH)
    kernel.check(KEY.public, body[:, WIDTH:])
    groups = (np.arange(40) % 3).astype(np.int32)
    for column, values in ((0, range(40)), (1, range(39, -1, -1))):
        part = body[:, column * WIDTH : (column + 1) * WIDTH]
        sums = numbers(kernel.decrypt(KEY, kernel.sum_by_group(KEY.public, part, groups, 3)))
        assert sums == [sum(v for i, v in enumerate(values) if i % 3 == g) for g in range(3)]


@settings(max_examples=40, deadline=None)
@given(st.data())
def test_linear_equals_the_formula(kernel: Kernel, data: st.DataObject) -> None:
    m = data.draw(st.integers(1, 4))
    factor = st.one_of(
        st.sampled_from([0, 1, -1, 2, 1 << 40, 1 << 100, -(1 << 7)]), st.integers(-(10**6), 10**6)
    )
    places = st.lists(st.integers(0, 39), min_size=m, max_size=m)
    terms = data.draw(st.lists(st.tuples(places, factor), max_size=5))
    added = data.draw(st.lists(st.integers(-(10**30), 10**30), min_size=m, max_size=m))
    arrays = [(array([POOL[i] for i in rows], WIDTH), f) for rows, f in terms]
    found = kernel.linear(KEY.public, arrays, added)
    want = [
        (sum(rows[i] * f for rows, f in terms) + added[i]) % N for i in range(m)
    ]  # POOL[i] encrypts i
    assert numbers(kernel.decrypt(KEY, found)) == want


def test_rerandomised_rows_are_fresh_and_equal_in_value(kernel: Kernel) -> None:
    cts = array(POOL, WIDTH)
    first = kernel.rerandomise(KEY.public, cts, seeded(1))
    again = kernel.rerandomise(KEY.public, cts, seeded(2))
    assert numbers(kernel.decrypt(KEY, first)) == list(range(40))
    assert len(set(numbers(cts)) | set(numbers(first)) | set(numbers(again))) == 120


def test_rerandomising_uses_the_given_randomness_by_the_book(kernel: Kernel) -> None:
    drawn: list[int] = []
    source = seeded(4)

    def recorded(n: int) -> bytes:
        data = source(n)
        width = KEY.public.plaintext_width  # a kernel may draw for several rows at once
        pieces = [data[at : at + width] for at in range(0, n, width)]
        drawn.extend(int.from_bytes(piece, "little") for piece in pieces)
        return data

    found = numbers(kernel.rerandomise(KEY.public, array(POOL[:3], WIDTH), recorded))
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
def test_bad_ciphertexts_are_found(
    kernel: Kernel, spoil: Callable[[list[int]], list[int]], word: str
) -> None:
    kernel.check(KEY.public, array(POOL, WIDTH))
    with pytest.raises(ProtocolViolation, match=word) as caught:
        kernel.check(KEY.public, array(spoil(POOL), WIDTH))
    assert caught.value.info.code == "bad_ciphertext"


def test_a_duplicate_in_another_chunk_is_found(kernel: Kernel) -> None:
    cts = kernel.encrypt_zero(KEY, 5000)
    kernel.check(KEY.public, cts)
    spoilt = cts.copy()
    spoilt[4999] = spoilt[0]
    with pytest.raises(ProtocolViolation, match="twice"):
        kernel.check(KEY.public, spoilt)


def test_decrypting_what_is_no_ciphertext_fails(kernel: Kernel) -> None:
    with pytest.raises(ProtocolViolation):
        kernel.decrypt(KEY, array([KEY.p], WIDTH))


def test_wrong_shapes_are_refused(kernel: Kernel) -> None:
    cts, one = array(POOL, WIDTH), np.ones(40, dtype=np.uint64)
    groups = np.zeros(40, dtype=np.int32)
    with pytest.raises(ValueError, match="shape"):
        kernel.check(KEY.public, cts[:, 1:])
    with pytest.raises(ValueError, match="shape"):
        kernel.encrypt(KEY, cts)
    with pytest.raises(ValueError, match="group"):
        kernel.sum_by_group(KEY.public, cts, groups[1:], 1)
    with pytest.raises(ValueError, match="outside"):
        kernel.sum_by_group(KEY.public, cts, groups + 1, 1)
    with pytest.raises(ValueError, match="outside"):
        kernel.sum_by_group(KEY.public, cts, groups - 2, 1)
    with pytest.raises(ValueError, match="bits"):
        kernel.dot_by_group(KEY.public, cts, groups, 1, one * np.uint64(4), 2)
    with pytest.raises(ValueError, match="uint64"):
        kernel.dot_by_group(KEY.public, cts, groups, 1, one.astype(np.int64), 2)
    with pytest.raises(ValueError, match="one row per"):
        kernel.linear(KEY.public, [(cts, 1)], [0])
