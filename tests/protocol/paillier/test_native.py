"""The native kernel against gmpy2: edge values, batch sizes, keys, threads, and its boundary."""

from __future__ import annotations

import os
import threading
from collections import Counter
from itertools import product
from typing import Any
from unittest.mock import Mock

import gmpy2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import BadInput, ProtocolViolation
from protocol.paillier import native_keys
from protocol.paillier.choose import NAMES, choose
from protocol.paillier.keys import PrivateKey, insecure_generate
from protocol.paillier.native import NativeKernel
from protocol.paillier.native_keys import Engine, OwnerKey, SharedKey, uniform
from protocol.paillier.pool import PoolKernel
from tests.protocol.paillier.kernels import NATIVE, kernel_named
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
EDGES = [0, 1, 2, N - 1, N, N + 1, N * N - 1, N * N - N, N * N // 2]
GMPY2 = PoolKernel.inline(seeded(3))


def native(name: str, threads: int = 1) -> NativeKernel:
    found = kernel_named(name, seeded(5), threads)
    assert isinstance(found, NativeKernel)
    return found


@pytest.fixture(scope="module", params=NATIVE)
def kernel(request: pytest.FixtureRequest) -> NativeKernel:
    return native(request.param)


numbers_below = st.one_of(st.sampled_from(EDGES), st.integers(0, N * N - 1))


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(numbers_below, st.integers(-1, 4), st.integers(0, 1000)), max_size=70))
def test_products_of_any_numbers_below_the_square(
    kernel: NativeKernel, rows: list[tuple[int, int, int]]
) -> None:
    cts = [row[0] for row in rows]
    packed = array(cts, WIDTH) if cts else np.zeros((0, WIDTH), dtype=np.uint8)
    groups = np.array([row[1] for row in rows], dtype=np.int32)
    weights = np.array([row[2] for row in rows], dtype=np.uint64)
    sums = kernel.sum_by_group(KEY.public, packed, groups, 5)
    assert numbers(sums) == naive_dot(KEY.public, cts, groups.tolist(), 5, [1] * len(cts))
    dots = kernel.dot_by_group(KEY.public, packed, groups, 5, weights, 10)
    assert numbers(dots) == naive_dot(KEY.public, cts, groups.tolist(), 5, weights.tolist())


@settings(max_examples=30, deadline=None)
@given(
    st.lists(numbers_below, min_size=1, max_size=20),
    st.one_of(st.integers(0, 100), st.integers(0, 1 << 300), st.sampled_from([1 << 200, N, N - 1])),
)
def test_powers(kernel: NativeKernel, rows: list[int], exponent: int) -> None:
    found = kernel.linear(KEY.public, [(array(rows, WIDTH), exponent)], [0] * len(rows))
    assert numbers(found) == [int(gmpy2.powmod(row, exponent, N * N)) for row in rows]


@settings(max_examples=30, deadline=None)
@given(st.lists(st.integers(0, N - 1), min_size=1, max_size=40))
def test_any_plaintexts(kernel: NativeKernel, values: list[int]) -> None:
    cts = kernel.encrypt(KEY, plain(KEY, values))
    assert [textbook_decrypt(KEY, c) for c in numbers(cts)] == values
    assert numbers(kernel.decrypt(KEY, cts)) == values


@pytest.mark.parametrize("size", [1, 2, 7, 8, 9, 63, 65, 511, 513, 999, 1000])
def test_batches_of_every_size(kernel: NativeKernel, size: int) -> None:
    """All lanes different, the last group of lanes not full."""
    values = [(i * 0x9E3779B97F4A7C15 + i) % N for i in range(size)]
    cts = kernel.encrypt(KEY, plain(KEY, values))
    kernel.check(KEY.public, cts)
    assert numbers(GMPY2.decrypt(KEY, cts)) == values
    assert numbers(kernel.decrypt(KEY, cts)) == values
    groups = (np.arange(size) % 3).astype(np.int32)
    weights = np.arange(size).astype(np.uint64)
    for ours, theirs in (
        (kernel.sum_by_group, GMPY2.sum_by_group),
        (kernel.dot_by_group, GMPY2.dot_by_group),
    ):
        extra: tuple[Any, ...] = (weights, 10) if ours == kernel.dot_by_group else ()
        found = ours(KEY.public, cts, groups, 3, *extra)
        assert np.array_equal(found, theirs(KEY.public, cts, groups, 3, *extra))
    fresh = kernel.rerandomise(KEY.public, cts[:99], seeded(size))
    assert numbers(GMPY2.decrypt(KEY, fresh)) == values[:99]


@pytest.mark.parametrize("bits", [128, 400, 496, 512, 528, 1040, 2048, 3072])
def test_keys_of_many_sizes(kernel: NativeKernel, bits: int) -> None:
    key = small_key(bits, seed=bits)
    n = key.public.n
    values = [0, 1, n - 1, n // 2, 5, 1 << (bits - 2), 7, 8, n - 9]
    foreign = PrivateKey(key.p, key.q)
    cts = kernel.encrypt(key, plain(key, values))
    again = kernel.encrypt(foreign, plain(key, values))
    kernel.check(key.public, np.concatenate([cts, again]))
    groups = np.array([0, 1, 0, 1, -1, 0, 0, 1, 1], dtype=np.int32)
    weights = np.array([0, 1, 2, 3, 4, 5, 6, 255, 8], dtype=np.uint64)
    for rows in (cts, again):
        assert numbers(GMPY2.decrypt(key, rows)) == values
        assert numbers(kernel.decrypt(key, rows)) == values
        arguments = (key.public, rows, groups, 2)
        assert np.array_equal(kernel.sum_by_group(*arguments), GMPY2.sum_by_group(*arguments))
        dots = kernel.dot_by_group(*arguments, weights, 8)
        assert np.array_equal(dots, GMPY2.dot_by_group(*arguments, weights, 8))
    terms = [(cts, -1), (again, 1 << 30), (cts, 12345), (again, -(1 << 9)), (cts, 0)]
    found = kernel.linear(key.public, terms, list(range(-4, 5)))
    assert np.array_equal(found, GMPY2.linear(key.public, terms, list(range(-4, 5))))
    fresh = kernel.rerandomise(key.public, cts[:3], os.urandom)
    assert numbers(GMPY2.decrypt(key, fresh)) == values[:3]


@pytest.mark.parametrize("m", [0, 1, 1356])
def test_every_ciphertext_of_a_tiny_key_exactly_once(
    kernel: NativeKernel, m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Owner encryption is textbook encryption, by exhaustion (compare test_owner_encryption)."""
    key = PrivateKey(23, 59, (2, 11), (2, 29))
    pairs = list(product(range(22), range(58)))
    columns = {22: [a for a, _ in pairs], 58: [b for _, b in pairs]}
    monkeypatch.setattr(
        native_keys, "uniform", lambda _, bound, *rest: array(columns[bound], 1).copy()
    )
    owner = OwnerKey(kernel.engine, key, seeded(5))
    owner.expect(len(pairs))
    out = np.empty((len(pairs), key.public.width), dtype=np.uint8)
    owner.encrypt(plain(key, [m] * len(pairs)), out, seeded(1))
    n = key.public.n
    units = [r for r in range(1, n) if gmpy2.gcd(r, n) == 1]
    textbook = [(1 + m * n) * pow(r, n, n * n) % (n * n) for r in units]
    assert sorted(numbers(out)) == sorted(textbook)


@pytest.mark.parametrize("window", range(1, 9))
def test_every_window(kernel: NativeKernel, window: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Engine, "window", lambda *_: window)
    key = small_key(400, 2)
    owner = OwnerKey(kernel.engine, key, seeded(5))
    owner.expect(1)
    values = [0, 1, key.public.n - 1, 17, 18, 19, 20, 21, 22]
    out = np.empty((9, key.public.width), dtype=np.uint8)
    owner.encrypt(plain(key, values), out, seeded(1))
    assert [textbook_decrypt(key, c) for c in numbers(out)] == values
    assert len(set(numbers(out))) == 9


def test_exponents_are_uniform_by_rejection(kernel: NativeKernel) -> None:
    every = bytes(range(256)) * 22

    def source(n: int) -> bytes:
        return (every * (n // len(every) + 1))[:n]

    found = Counter(numbers(uniform(kernel.engine.native, 22, 22 * 64, source)))
    # 256 / 32 passes of 22 values in every 256 bytes; the last pass may be cut off.
    assert set(found) == set(range(22))
    assert max(found.values()) - min(found.values()) <= 8
    assert set(numbers(uniform(kernel.engine.native, 256, 500, source))) <= set(range(256))
    assert numbers(uniform(kernel.engine.native, 1, 5, source)) == [0] * 5


def test_units_of_a_tiny_key_are_units(kernel: NativeKernel) -> None:
    shared = SharedKey(kernel.engine, PrivateKey(23, 59).public)
    found = numbers(shared.units(3000, seeded(1)))
    assert set(found) <= {r for r in range(1, 1357) if r % 23 and r % 59}
    assert len(set(found)) > 1000


@pytest.mark.parametrize("at", [0, 3, 8, 16])
@pytest.mark.parametrize("bad", [KEY.p, KEY.q * 5, N, 0])
def test_a_row_that_is_no_ciphertext_is_found_in_any_lane(
    kernel: NativeKernel, at: int, bad: int
) -> None:
    good = numbers(kernel.encrypt_zero(KEY, 17))
    good[at] = bad
    with pytest.raises(ProtocolViolation):
        kernel.decrypt(KEY, array(good, WIDTH))
    with pytest.raises(ProtocolViolation):
        kernel.check(KEY.public, array(good, WIDTH))


def test_a_common_factor_spread_over_lanes_and_chunks(kernel: NativeKernel) -> None:
    cts = kernel.encrypt_zero(KEY, 9000)
    cts[8500] = array([KEY.q], WIDTH)[0]
    with pytest.raises(ProtocolViolation, match="factor"):
        kernel.check(KEY.public, cts)


@pytest.mark.parametrize("name", NATIVE)
def test_threads_give_the_same_and_say_how_far(name: str) -> None:
    with native(name, threads=3) as kernel:
        cts = kernel.encrypt_zero(KEY, 5000)
        groups = (np.arange(5000) % 7 - 1).astype(np.int32)
        weights = np.arange(5000).astype(np.uint64)
        seen: list[tuple[int, int]] = []
        found = kernel.dot_by_group(
            KEY.public, cts, groups, 6, weights, 13, lambda d, t: seen.append((d, t))
        )
        assert np.array_equal(found, GMPY2.dot_by_group(KEY.public, cts, groups, 6, weights, 13))
        assert seen[-1] == (int((groups >= 0).sum()),) * 2
        kernel.check(KEY.public, cts, lambda d, t: seen.append((d, t)))
        assert seen[-1] == (5000, 5000)
        assert not any(numbers(kernel.decrypt(KEY, cts[:100])))
        cts[77] = 0
        with pytest.raises(ProtocolViolation):
            kernel.decrypt(KEY, cts)


def test_any_thread_may_call(kernel: NativeKernel) -> None:
    results: list[list[int]] = []

    def work() -> None:
        results.append(numbers(kernel.decrypt(KEY, kernel.encrypt(KEY, plain(KEY, [1, 2, 3])))))

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [[1, 2, 3]] * 6


def test_tables_grow_with_the_rows_and_are_forgotten(kernel: NativeKernel) -> None:
    key = insecure_generate(256, seeded(77))
    widths = []
    for rows in (1, 100, 100_000, 100_000, 1):
        kernel.prepare(key, rows)
        widths.append(kernel._owner(key)._window)
    assert widths == sorted(widths)
    assert widths[0] < widths[3] == widths[4]
    held = kernel._owner(key)
    kernel.forget(key.public)
    assert kernel._owner(key) is not held


def test_idle_lanes_raise_rows_of_later_calls(
    kernel: NativeKernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eight rows at once, each used once; what another source drew, or a forgotten key, is not."""
    raised: list[int] = []
    real = SharedKey.power

    def power(self: SharedKey, rows: Any, exponent: int, out: Any) -> None:
        raised.append(len(rows))
        real(self, rows, exponent, out)

    monkeypatch.setattr(SharedKey, "power", power)
    source, other = seeded(1), seeded(2)
    cts = array([pow(N + 1, m, N * N) for m in (5, 6, 7)], WIDTH)
    found: list[int] = []

    def more(later: int, random: Any = source) -> list[int]:
        before = len(raised)
        fresh = kernel.rerandomise(KEY.public, cts, random, later=later)
        assert numbers(kernel.decrypt(KEY, fresh)) == [5, 6, 7]
        found.extend(numbers(fresh))
        return raised[before:]

    assert [more(9), more(6), more(3), more(0)] == [[8], [], [4], []]
    assert more(3) == [6]
    assert more(3, other) == [6]
    assert more(0, other) == []
    assert more(1, other) == [4]
    kernel.forget(KEY.public)
    assert more(0, other) == [3]
    assert len(set(found)) == len(found)


def test_few_keys_are_kept(kernel: NativeKernel) -> None:
    keys = [insecure_generate(128, seeded(i)) for i in range(6)]
    for key in keys:
        kernel.encrypt_zero(key, 1)
    assert len(kernel._owners) <= 4
    assert not any(numbers(kernel.decrypt(keys[0], kernel.encrypt_zero(keys[0], 3))))


def test_the_boundary_refuses_what_would_leave_the_arrays(kernel: NativeKernel) -> None:
    shared = SharedKey(kernel.engine, KEY.public)
    raw, key = kernel.engine.native, shared._key
    rows = array([1, 2, 3], WIDTH)
    out = np.empty((1, WIDTH), dtype=np.uint8)
    order = np.arange(3)

    def products(order: Any = order, runs: Any = (0, 3), out: Any = out, rows: Any = rows) -> None:
        raw.products(key, rows, order, np.array(runs, dtype=np.int64), out)

    products()
    assert numbers(out) == [6]
    for runs in ((0, 4), (-1, 2), (2, 1), (0, 3, 0, 1), (0,)):
        with pytest.raises(ValueError, match="runs"):
            products(runs=runs)
    for wrong in (np.array([0, 1, 3]), np.array([0, -1, 1])):
        with pytest.raises(ValueError, match="runs"):
            products(order=wrong)
    with pytest.raises(ValueError, match="runs"):
        products(order=np.zeros(200, dtype=np.int64), runs=(0, 129))
    with pytest.raises(ValueError, match="width"):
        products(out=np.empty((1, WIDTH - 1), dtype=np.uint8))
    with pytest.raises(ValueError, match="uint8"):
        products(rows=np.zeros((3, WIDTH), dtype=np.uint16))
    with pytest.raises(ValueError, match="uint8"):
        products(rows=np.zeros((3, 2 * WIDTH), dtype=np.uint8)[:, ::2])
    with pytest.raises((ValueError, BufferError)):
        products(order=np.arange(6)[::2])
    with pytest.raises(ValueError, match="64-bit"):
        products(order=np.arange(3, dtype=np.int32))
    sealed = np.empty((1, WIDTH), dtype=np.uint8)
    sealed.flags.writeable = False
    with pytest.raises((ValueError, BufferError)):
        products(out=sealed)
    with pytest.raises(ValueError, match="PyCapsule"):
        raw.decrypt(key, rows, out)
    with pytest.raises(ValueError, match="engine"):
        raw.radix("abacus")
    with pytest.raises(ValueError, match="size"):
        raw.public(kernel.engine.name, 500, 500, *[b"\x03" * 8] * 4)
    with pytest.raises(ValueError, match="constants"):
        raw.public(kernel.engine.name, 10, 10, *[b"\x02" * 8] * 4)  # even
    with pytest.raises(ValueError, match="buckets"):
        raw.weighted(key, rows, 2, bytes(WIDTH), out)
    with pytest.raises(ValueError, match="exponent"):
        raw.power(key, rows, b"\x01", 9, rows.copy())


def test_what_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose().name in ("ifma", "gmpy2")
    assert choose("gmpy2").name == "gmpy2"
    with pytest.raises(BadInput, match="no kernel"):
        choose("abacus")

    for error, word in ((ImportError(), "not built"), (ValueError(), "IFMA")):
        monkeypatch.setattr(Engine, "load", Mock(side_effect=error))
        assert choose().name == "gmpy2"
        assert word in choose().describe()
        with pytest.raises(BadInput, match=word):
            choose("ifma")


@pytest.mark.parametrize("name", NAMES)
def test_each_can_be_started_by_name(name: str) -> None:
    kernel_named(name)  # skips where it is missing
    with choose(name).start(1) as kernel:
        assert name in kernel.describe()
        assert not any(numbers(kernel.decrypt(KEY, kernel.encrypt_zero(KEY, 3))))
