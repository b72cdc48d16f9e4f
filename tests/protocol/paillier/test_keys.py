"""Keys as section 0 wants them, and what a received one is refused for."""

from __future__ import annotations

import os
import pickle
from math import prod

import gmpy2
import pytest

from protocol.errors import BadInput, ProtocolViolation
from protocol.paillier.keys import PrivateKey, PublicKey, generate, insecure_generate
from protocol.secret import Secret
from tests.protocol.paillier.rows import seeded, small_key


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return generate(2048, os.urandom)


def test_a_generated_key_has_the_declared_shape(key: PrivateKey) -> None:
    assert key.public.bits == 2048
    assert (key.public.width, key.public.plaintext_width) == (512, 256)
    for p, factors in ((key.p, key.p_factors), (key.q, key.q_factors)):
        assert p.bit_length() == 1024
        assert p >> 1022 == 3
        assert p % 4 == 3
        assert factors is not None
        largest = max(factors)
        assert 1024 - 27 <= largest.bit_length() <= 1024 - 24
        assert all(gmpy2.is_prime(f, 50) and (p - 1) % f == 0 for f in factors)
        rest = (p - 1) // largest
        for f in factors:
            while rest % f == 0:
                rest //= f
        assert rest == 1
    assert key.factored


def test_3072_bits() -> None:
    assert generate(3072, os.urandom).public.bits == 3072


@pytest.mark.parametrize("bits", [512, 1024, 2040, 2047, 3000 + 1])
def test_small_or_odd_sizes_are_refused(bits: int) -> None:
    with pytest.raises(BadInput) as caught:
        generate(bits, os.urandom)
    assert caught.value.info.code == "bad_key_size"


def test_many_small_keys_are_well_formed() -> None:
    found = [insecure_generate(128, seeded(seed)) for seed in range(40)]
    assert len({key.public.n for key in found}) == 40
    assert all(key.public.bits == 128 for key in found)


def test_a_key_survives_its_secret_form(key: PrivateKey) -> None:
    assert PrivateKey.from_secret(key.to_secret()) == key
    foreign = PrivateKey(key.p, key.q)
    assert PrivateKey.from_secret(foreign.to_secret()) == foreign
    assert not foreign.factored


def test_a_private_key_does_not_show_itself(key: PrivateKey) -> None:
    assert str(key.p) not in f"{key} {key!r}"
    with pytest.raises(TypeError):
        pickle.dumps(key)
    with pytest.raises(ValueError, match="no Paillier key"):
        PrivateKey.from_secret(Secret(b"[]"))


def test_a_private_key_that_is_none_is_refused() -> None:
    p, q = 23, 59
    with pytest.raises(ValueError, match="two different primes"):
        PrivateKey(p, p)
    with pytest.raises(ValueError, match="two different primes"):
        PrivateKey(p, 57)
    with pytest.raises(ValueError, match="share a factor"):
        PrivateKey(23, 47)  # 23 divides 46
    PrivateKey(p, q, (2, 11), (2, 29))
    with pytest.raises(ValueError, match="not all"):
        PrivateKey(p, q, (2,), (2, 29))
    with pytest.raises(ValueError, match="not one"):
        PrivateKey(p, q, (2, 7, 11), (2, 29))
    with pytest.raises(ValueError, match="not one"):
        PrivateKey(p, q, (2, 11), (58,))


def test_a_received_key_is_what_was_sent(key: PrivateKey) -> None:
    assert PublicKey.from_bytes(key.public.to_bytes(), 2048) == key.public


def _refused(data: bytes, bits: int, word: str) -> None:
    with pytest.raises(ProtocolViolation, match=word) as caught:
        PublicKey.from_bytes(data, bits)
    assert caught.value.info.code == "bad_key"


def test_bad_received_keys_are_refused(key: PrivateKey) -> None:
    n = key.public.n
    _refused(key.public.to_bytes() + b"\0", 2048, "bytes")
    _refused(key.public.to_bytes()[:-1], 2048, "bytes")
    _refused((n >> 1 | 1).to_bytes(256, "little"), 2048, "2047 bits")
    _refused((n + 1).to_bytes(256, "little"), 2048, "even")
    _refused(small_key(1024).public.to_bytes(), 1024, "floor")


@pytest.mark.parametrize("factor", [3, 65537, 1048573])
def test_a_small_factor_is_found(factor: int) -> None:
    rest = int(gmpy2.next_prime((1 << 2048) // factor - (1 << 1900)))
    n = factor * rest
    assert n.bit_length() == 2048
    _refused(n.to_bytes(256, "little"), 2048, "under 2")


def test_a_factor_just_above_the_limit_is_left_to_the_proof() -> None:
    factor = int(gmpy2.next_prime(1 << 20))
    rest = int(gmpy2.next_prime((1 << 2048) // factor - (1 << 1900)))
    PublicKey.from_bytes(prod((factor, rest)).to_bytes(256, "little"), 2048)
