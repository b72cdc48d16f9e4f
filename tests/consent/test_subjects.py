"""Numbering tokens, also when an attacker (or chance) makes their first bytes equal."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.purposes import State
from consent.standing import Standing
from consent.subjects import SubjectIndex
from tests.consent import made

# Few different prefixes and few different tails: collisions of the sort key are the rule here.
rows = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 4)), max_size=40)


def array(pairs: list[tuple[int, int]]) -> np.ndarray:
    return np.frombuffer(
        b"".join(bytes([a]) * 8 + bytes([b]) * 24 for a, b in pairs), np.uint8
    ).reshape(len(pairs), 32)


@settings(max_examples=200, deadline=None)
@given(rows, rows)
def test_find_agrees_with_a_set(held: list[tuple[int, int]], asked: list[tuple[int, int]]) -> None:
    index, codes = SubjectIndex.numbering(array(held))
    assert len(index) == len(set(held))
    assert index.tokens(codes).tobytes() == array(held).tobytes()
    found = index.find(array(asked))
    assert [code >= 0 for code in found] == [pair in held for pair in asked]
    known = found >= 0
    assert index.tokens(found[known]).tobytes() == array(asked)[known].tobytes()


def test_the_last_event_of_one_batch_counts() -> None:
    index = SubjectIndex(made.tokens(["a", "b"]))
    events = Standing(index)
    events.add(made.batch(["a", "a", "b", "stranger"], ["given", "withdrawn", "given", "given"]))
    a, b = index.find(made.tokens(["a", "b"]))
    states = events.states((made.PURPOSE, "media", made.CATEGORY))
    assert (states[a], states[b], states[-1]) == (State.WITHDRAWN, State.GIVEN, 0)
    assert not events.states((made.PURPOSE, "bank", made.CATEGORY)).any()
