"""phe as the oracle: each side opens, adds and scales what the other encrypted."""

from __future__ import annotations

import os

import numpy as np
import pytest
from phe import paillier as phe

from protocol.paillier import proof
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PrivateKey, generate
from tests.protocol.paillier.interop import from_phe, phe_decrypt, phe_encrypt, to_phe
from tests.protocol.paillier.kernels import NAMES, kernel_named
from tests.protocol.paillier.rows import numbers, plain


@pytest.fixture(scope="module", params=NAMES)
def kernel(request: pytest.FixtureRequest) -> Kernel:
    return kernel_named(request.param)


@pytest.fixture(scope="module", params=["ours", "phe's"])
def key(request: pytest.FixtureRequest) -> PrivateKey:
    if request.param == "ours":
        return generate(2048, os.urandom)
    return from_phe(phe.generate_paillier_keypair(n_length=2048)[1])


def _values(key: PrivateKey) -> list[int]:
    return [0, 1, key.public.n - 1, key.public.n // 3, 1 << 1000]


def test_phe_opens_ours(kernel: Kernel, key: PrivateKey) -> None:
    cts = kernel.encrypt(key, plain(key, _values(key)))
    assert phe_decrypt(to_phe(key), cts) == _values(key)


def test_we_open_phes(kernel: Kernel, key: PrivateKey) -> None:
    cts = phe_encrypt(to_phe(key).public_key, _values(key), key.public.width)
    kernel.check(key.public, cts)
    assert numbers(kernel.decrypt(key, cts)) == _values(key)


def test_sums_dots_and_fresh_randomness_agree(kernel: Kernel, key: PrivateKey) -> None:
    theirs = to_phe(key)
    values, weights = [3, 5, 7, 11], [2, 0, 1000, 1]
    cts = phe_encrypt(theirs.public_key, values, key.public.width)
    groups = np.array([0, 1, 0, -1], dtype=np.int32)
    sums = kernel.sum_by_group(key.public, cts, groups, 2)
    dots = kernel.dot_by_group(key.public, cts, groups, 2, np.array(weights, dtype=np.uint64), 10)
    both = kernel.linear(key.public, [(sums, -1), (dots, 1 << 64)], [100, -1])
    fresh = kernel.rerandomise(key.public, both, os.urandom)
    want = [-10 + (7006 << 64) + 100, -5 - 1]
    assert phe_decrypt(theirs, fresh) == [value % key.public.n for value in want]
    assert not set(numbers(fresh)) & set(numbers(both))


def test_the_proof_works_for_both(key: PrivateKey) -> None:
    proof.verify(key.public, b"job", proof.prove(key, b"job"))
