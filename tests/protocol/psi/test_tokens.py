"""Keyed tokens and the shuffled table: shape, secrecy of places, no link between jobs."""

from __future__ import annotations

import hashlib
import hmac
import os
from collections import Counter

import numpy as np
import pyarrow as pa
import pytest
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.encoding import length_prefixed
from protocol.psi.dummies import DummyRule
from protocol.psi.join import waterfall
from protocol.psi.padding import handles_for
from protocol.psi.tokens import DUMMY, PADDING, TOKEN, assemble, hashlib_prf, permutation
from tests.protocol.psi.parties import all_distinct, eligible, keyed

K = bytes(range(32))
PEOPLE = [(f"+4917{i:06d}", f"u{i}@example.org" if i % 3 else None) for i in range(300)]


def test_a_token_is_truncated_hmac_under_the_types_key() -> None:
    info = length_prefixed("assent/psi/token/v1", "phone")
    key = HKDF(SHA256(), 32, salt=None, info=info).derive(K)
    expected = hmac.new(key, b"+491", hashlib.sha256).digest()[:16]
    found = hashlib_prf(K).tokens("phone", pa.array(["+491", None]))
    assert bytes(found[0]) == expected
    assert not found[1].any()


def test_types_and_keys_separate_tokens() -> None:
    ids = pa.array(["x"])
    a = hashlib_prf(K).tokens("phone", ids).tobytes()
    assert a != hashlib_prf(K).tokens("email", ids).tobytes()
    assert a != hashlib_prf(bytes(32)).tokens("phone", ids).tobytes()


def test_every_row_has_one_handle_and_every_handle_distinct_tokens() -> None:
    table = keyed(PEOPLE, 2, K)
    counts = DummyRule().draw(K, ["phone", "email"])
    rows = table.row_of_handle[table.row_of_handle >= 0]
    assert sorted(rows.tolist()) == list(range(300))
    assert (table.row_of_handle == DUMMY).sum() == sum(counts.values())
    assert (table.row_of_handle == PADDING).sum() == len(table.tokens) - 300 - sum(counts.values())
    assert len(table.tokens) == handles_for(300, 2, DummyRule())
    # Absent e-mails have fresh tokens too: no handle shows that something is missing.
    assert all_distinct(table.tokens, TOKEN)


def test_dummies_agree_exactly_on_their_types() -> None:
    a, b = keyed([], 2, K), keyed([], 2, K)
    counts = DummyRule().draw(K, ["phone", "email"])
    agree: Counter[frozenset[str]] = Counter()
    at = {kind: {bytes(r[16 * i : 16 * i + 16]): n for n, r in enumerate(b.tokens)}
          for i, kind in enumerate(["phone", "email"])}  # fmt: skip
    for row in a.tokens:
        hits = {
            kind: at[kind].get(bytes(row[16 * i : 16 * i + 16]))
            for i, kind in enumerate(["phone", "email"])
        }
        found = frozenset(kind for kind, hit in hits.items() if hit is not None)
        assert len({hit for hit in hits.values() if hit is not None}) <= 1
        agree[found] += 1
    assert {s: n for s, n in agree.items() if s} == {s: n for s, n in counts.items() if n}


def test_two_jobs_share_no_token_and_no_place() -> None:
    """The linking attack: the same table matched twice, by whoever stores both uploads."""
    first, second = keyed(PEOPLE, 2, os.urandom(32)), keyed(PEOPLE, 2, os.urandom(32))
    for i in range(2):
        for j in range(2):
            a = {bytes(r) for r in first.tokens[:, 16 * i : 16 * i + 16]}
            b = {bytes(r) for r in second.tokens[:, 16 * j : 16 * j + 16]}
            assert not a & b
    assert (waterfall(first.tokens, second.tokens, 2, 16) == -1).all()
    places = [np.argsort(t.row_of_handle)[-300:] for t in (first, second)]
    # Under a uniform shuffle about one row in `handles` keeps its place.
    assert (places[0] == places[1]).sum() < 15


def test_the_same_job_again_is_shuffled_again() -> None:
    a, b = keyed(PEOPLE, 2, K), keyed(PEOPLE, 2, K)
    assert (a.row_of_handle != b.row_of_handle).any()


def test_too_few_handles_are_refused() -> None:
    rows = eligible(PEOPLE, ["phone"])
    found = [hashlib_prf(K).tokens("phone", rows.identifiers["phone"])]
    with pytest.raises(ValueError, match="do not fit"):
        assemble(rows, ["phone"], found, K, 300, os.urandom)


def test_permutations_are_uniform() -> None:
    counts = Counter(tuple(permutation(3, os.urandom).tolist()) for _ in range(3000))
    assert len(counts) == 6
    # χ² with 5 degrees of freedom; 37 is passed by chance once in two million runs.
    assert sum((c - 500) ** 2 / 500 for c in counts.values()) < 37


def test_tied_draws_are_drawn_again() -> None:
    draws = [bytes(24), np.array([2, 0, 1], "<u8").tobytes()]
    assert permutation(3, lambda n: draws.pop(0)).tolist() == [1, 2, 0]
    assert not draws


def test_a_table_shows_no_rows_when_printed() -> None:
    assert repr(keyed([], 1, K)) == f"HandleTable(handles={handles_for(0, 1, DummyRule())})"
    assert "Secret(…)" in repr(hashlib_prf(K))
