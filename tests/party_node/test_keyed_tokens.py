"""The PRF in SQL is the PRF of the reference, byte for byte."""

from __future__ import annotations

import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from party_node.keyed_tokens import duckdb_prf
from protocol.psi.tokens import hashlib_prf

TEXT = st.text(st.characters(blacklist_categories=["Cs"]), max_size=80)


@settings(max_examples=40, deadline=None)
@given(st.binary(min_size=32, max_size=32), TEXT, st.lists(st.none() | TEXT, max_size=12))
def test_equal_for_any_text_type_and_key(k: bytes, kind: str, ids: list[str | None]) -> None:
    column = pa.array(ids, pa.string())
    found = duckdb_prf(k).tokens(kind, column)
    assert found.shape == (len(ids), 16)
    assert (found == hashlib_prf(k).tokens(kind, column)).all()


def test_equal_and_in_order_over_many_rows() -> None:
    ids = pa.array([None if i % 7 == 0 else f"+86138{i:08d}" for i in range(300_000)])
    k = bytes(range(32))
    assert (duckdb_prf(k).tokens("phone", ids) == hashlib_prf(k).tokens("phone", ids)).all()


def test_a_slice_of_a_column_is_what_it_shows() -> None:
    ids = pa.array(["a", None, "b", "c"])
    k = bytes(32)
    assert (duckdb_prf(k).tokens("x", ids.slice(1, 2)) == duckdb_prf(k).tokens("x", ids)[1:3]).all()


def test_the_key_does_not_print() -> None:
    assert "00" not in repr(duckdb_prf(bytes(32)))
