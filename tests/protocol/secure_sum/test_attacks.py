"""Attacks on a secure sum, and what keeps it exact: masks, packing, bounds.

Protects docs/ATTACKS.md, "Sums over different people".
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import Failed, ProtocolViolation, Refused
from protocol.paillier.keys import insecure_generate
from protocol.paillier.pool import PoolKernel
from protocol.release.noise import NoNoise, noise_scale
from protocol.secret import Secret
from protocol.secure_sum.coordinator import multiply
from protocol.secure_sum.masks import masks
from protocol.secure_sum.party import protect
from protocol.secure_sum.requester import open_total
from protocol.secure_sum.spec import Output, SumSpec

KERNEL, KEY = PoolKernel.inline(), insecure_generate(512, os.urandom)
NONE = noise_scale(1, 0, 1)
UNOPENED = r"does not open|above its declared bound"


def spec_of(parties, *outputs):
    return SumSpec(tuple(outputs), tuple(parties), KEY.public.bits)


def seeds_of(parties):
    shared = {}
    for i, a in enumerate(parties):
        for b in parties[i + 1 :]:
            shared[a, b] = shared[b, a] = Secret(os.urandom(32))
    return {p: {q: shared[p, q] for q in parties if q != p} for p in parties}


def uploads_of(spec, vectors, about=b"round 1", seeds=None, noise=None):
    seeds = seeds or seeds_of(spec.parties)
    n = KEY.public.n
    return [
        protect(
            spec, KERNEL, KEY.public, vector,
            masks(party, spec.parties, seeds[party], about, n, spec.ciphertexts),
            noise or NoNoise(), os.urandom,
        )
        for party, vector in zip(spec.parties, vectors, strict=True)
    ]  # fmt: skip


def total_of(spec, uploads):
    return open_total(spec, KERNEL, KEY, multiply(KEY.public.n, uploads))


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_the_total_is_exact_for_any_numbers_of_any_size(data):
    parties = "abcde"[: data.draw(st.integers(2, 5))]
    bounds = data.draw(st.lists(st.integers(0, 1 << 90), min_size=1, max_size=4))
    lengths = [data.draw(st.integers(1, 9)) for _ in bounds]
    outputs = [
        Output(f"o{i}", n, NONE, bound, data.draw(st.sampled_from([0, bound])))
        for i, (bound, n) in enumerate(zip(bounds, lengths, strict=True))
    ]
    share = len(parties)
    vectors = [
        [
            data.draw(
                st.lists(
                    st.integers(-(o.u_minus // share), o.u_plus // share),
                    min_size=o.length, max_size=o.length,
                )
            )
            for o in outputs
        ]
        for _ in parties
    ]  # fmt: skip
    spec = spec_of(parties, *outputs)
    totals = total_of(spec, uploads_of(spec, vectors))
    for at, output in enumerate(outputs):
        for place in range(output.length):
            assert totals[at][place] == sum(vector[at][place] for vector in vectors)


def counted(parties="abc", people=1000):
    spec = spec_of(parties, Output("count", 3, NONE, people))
    return spec, [[[i, 10 + i, 20 + i]] for i in range(len(parties))]


@pytest.mark.parametrize("parties", ["ab", "abc"])
def test_a_total_without_one_party_does_not_open(parties):
    spec, vectors = counted(parties)
    uploads = uploads_of(spec, vectors)
    with pytest.raises(Failed, match=UNOPENED):
        total_of(spec, uploads[:-1])
    assert total_of(spec, uploads) == [[sum(v[0][i] for v in vectors) for i in range(3)]]


def test_a_party_counted_twice_does_not_open():
    spec, vectors = counted()
    uploads = uploads_of(spec, vectors)
    with pytest.raises(Failed, match=UNOPENED):
        total_of(spec, [*uploads, uploads[0]])


def test_uploads_of_two_rounds_do_not_mix():
    spec, vectors = counted()
    seeds = seeds_of(spec.parties)
    first = uploads_of(spec, vectors, b"round 1", seeds)
    second = uploads_of(spec, vectors, b"round 2", seeds)
    with pytest.raises(Failed, match=UNOPENED):
        total_of(spec, [first[0], *second[1:]])


def test_masks_cancel_differ_and_look_uniform():
    n, parties = KEY.public.n, ("a", "b", "c")
    seeds = seeds_of(parties)
    drawn = {p: masks(p, parties, seeds[p], b"x", n, 200) for p in parties}
    assert all(sum(values) % n == 0 for values in zip(*drawn.values(), strict=True))
    for values in drawn.values():
        assert len(set(values)) == 200
        assert 60 < sum(value > n // 2 for value in values) < 140
    assert masks("a", parties, seeds["a"], b"y", n, 1) != drawn["a"][:1]


def test_the_key_owner_finds_nothing_in_one_upload():
    """With the coordinator's help it opens a single upload: a number of full length."""
    spec, vectors = counted()
    for upload in uploads_of(spec, vectors):
        plain = int.from_bytes(KERNEL.decrypt(KEY, upload)[0].tobytes(), "little")
        assert plain.bit_length() > KEY.public.bits - 64


def test_a_number_beyond_its_bound_does_not_leave():
    spec, vectors = counted(people=20)
    with pytest.raises(Failed, match="outside its declared bounds"):
        uploads_of(spec, vectors)
    # Below it too: a slot that borrows from its neighbour would change another number.
    spec = spec_of("ab", Output("o", 2, NONE, 9, 4))
    assert total_of(spec, uploads_of(spec, [[[-4, 9]], [[0, 0]]])) == [[-4, 9]]
    with pytest.raises(Failed, match="o lies outside its declared bounds"):
        uploads_of(spec, [[[-5, 9]], [[0, 0]]])


def test_noise_of_every_party_is_in_the_total():
    class One:
        def sample(self, scale, n):
            return np.full(n, 7, dtype=np.int64)

    scale = noise_scale(1, 10**7, 1)
    spec = spec_of("abc", Output("count", 2, scale, 100))
    assert total_of(spec, uploads_of(spec, [[[5, 0]]] * 3, noise=One())) == [[36, 21]]


def test_what_does_not_fit_is_refused_with_the_arithmetic():
    with pytest.raises(Refused, match="needs 601 bits, a slot has at most 446"):
        spec_of("abc", Output("sum", 1, NONE, 1 << 600))
    with pytest.raises(Refused, match="the limit is 65536"):
        spec_of("abc", Output("count", 1 << 17, NONE, 10))


def test_numbers_that_are_no_ciphertexts_are_found_by_the_coordinator():
    bad = np.zeros((1, 2 * KEY.public.bits // 8), dtype=np.uint8)
    for upload in (bad, bad + np.uint8(255)):
        with pytest.raises(ProtocolViolation):
            multiply(KEY.public.n, [upload, upload])
