"""Records: closed words, honest columns, ids that sort by time; and their bytes."""

from __future__ import annotations

import os
import uuid
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.vocabulary import CATEGORIES, PERMITTING, PURPOSES, STATUSES
from consent import codec
from consent.purposes import CHANNELS, REASONS, State
from consent.records import RecordBatch, Scope, empty_batch, new_batch, record_ids
from protocol.errors import ProtocolViolation
from protocol.wire import consent_pb2 as pb
from tests.consent import made


def test_states_are_the_contracts_statuses_in_their_order_of_strictness() -> None:
    assert tuple(state.word for state in sorted(State, reverse=True)) == STATUSES
    assert {state.word for state in State if state.permits} == PERMITTING
    assert set(REASONS) == (set(STATUSES) - PERMITTING) | {"no_record"}


def test_equal_scopes_are_equal_values() -> None:
    one = Scope(("segmentation", "activation"), ("b", "a", "a"), ("finance",))
    assert one == Scope(("activation", "segmentation"), ("a", "b"), ("finance",))
    assert len(list(one.cells())) == 4


@pytest.mark.parametrize(
    "words",
    [
        ((), ("a",), ("finance",)),
        (("audience_insight",), (), ("finance",)),
        (("audience_insight",), ("a",), ()),
        (("world_domination",), ("a",), ("finance",)),
        (("audience_insight",), ("a",), ("gossip",)),
        (("audience_insight",), ("",), ("finance",)),
        (("audience_insight",), ("a" * 65,), ("finance",)),
    ],
)
def test_scopes_of_unknown_words_are_refused(words: tuple[tuple[str, ...], ...]) -> None:
    with pytest.raises(ProtocolViolation, match="bad_record"):
        Scope(*words)


@pytest.mark.parametrize("state", ["given", "renewed", "requested", "expired"])
def test_only_a_denial_may_be_about_everybody(state: str) -> None:
    with pytest.raises(ProtocolViolation, match="every recipient"):
        made.batch(["x"], state, made.scope("*"))


def test_a_denial_for_everybody_covers_parties_not_named_yet() -> None:
    about = made.scope("*")
    assert about.covers(made.PURPOSE, "a party of next year", made.CATEGORY)
    assert not about.covers(made.PURPOSE, "media", "finance")
    assert len(made.batch(["x"], "withdrawn", about)) == 1


@pytest.mark.parametrize(
    "column, value",
    [
        ("states", np.array([0], np.uint8)),
        ("states", np.array([7], np.uint8)),
        ("states", np.array([1], np.int64)),
        ("scope_codes", np.array([1], np.uint32)),
        ("channels", np.array([0], np.uint8)),
        ("channels", np.array([len(CHANNELS) + 1], np.uint8)),
        ("times_ms", np.array([-1], np.int64)),
        ("subjects", np.zeros((1, 31), np.uint8)),
        ("subjects", np.zeros((2, 32), np.uint8)),
        ("record_ids", np.zeros((1, 16), np.uint8)),
        ("record_ids", np.frombuffer(uuid.uuid4().bytes, np.uint8).reshape(1, 16)),
    ],
)
def test_a_batch_with_a_wrong_column_cannot_be_made(column: str, value: object) -> None:
    with pytest.raises(ProtocolViolation, match="bad_record"):
        replace(made.batch(["x"]), **{column: value})


def test_record_ids_are_uuid7_that_ascend_over_a_counter_overflow() -> None:
    now_ms = 1_800_000_000_123
    ids = [uuid.UUID(bytes=row.tobytes()) for row in record_ids(9000, now_ms, os.urandom)]
    assert {(one.version, one.variant) for one in ids} == {(7, uuid.RFC_4122)}
    assert ids == sorted(ids)
    assert len(set(ids)) == 9000
    assert ids[0].int >> 80 == now_ms
    assert ids[-1].int >> 80 == now_ms + 2  # 4096 ids per millisecond


def test_pseudonyms_do_not_print() -> None:
    one = made.batch(["x"])
    assert repr(one) == "RecordBatch(n=1, scopes=1)"


names = st.lists(st.text(max_size=5), max_size=20)
scopes = st.builds(
    Scope,
    st.lists(st.sampled_from(PURPOSES), min_size=1).map(tuple),
    st.lists(st.sampled_from(["a", "b", "银行"]), min_size=1).map(tuple),
    st.lists(st.sampled_from(CATEGORIES), min_size=1).map(tuple),
)


@st.composite
def batches(draw: st.DrawFn) -> RecordBatch:
    people = draw(names)
    about = tuple(draw(st.lists(scopes, min_size=1, max_size=4)))
    size = len(people)
    codes = draw(st.lists(st.integers(0, len(about) - 1), min_size=size, max_size=size))
    states = draw(st.lists(st.integers(1, 6), min_size=size, max_size=size))
    return new_batch(
        made.tokens(people),
        draw(st.integers(1, 65535)),
        about,
        np.array(codes, np.uint32),
        np.array(states, np.uint8),
        draw(st.sampled_from(CHANNELS)),
        draw(st.integers(0, 1 << 47)),
        os.urandom,
    )


def same(left: RecordBatch, right: RecordBatch) -> bool:
    return left.scopes == right.scopes and all(
        np.array_equal(getattr(left, name), getattr(right, name))
        for name in RecordBatch.__dataclass_fields__
        if name != "scopes"
    )


@settings(max_examples=50, deadline=None)
@given(batches())
def test_bytes_and_back(batch: RecordBatch) -> None:
    assert same(codec.batch_from_bytes(codec.batch_to_bytes(batch)), batch)
    pieces = list(batch.pieces(7))
    assert sum(len(piece) for piece in pieces) == len(batch)
    assert all(len(piece) <= 7 for piece in pieces)


def test_an_empty_batch_survives_the_wire() -> None:
    assert same(codec.batch_from_bytes(codec.batch_to_bytes(empty_batch())), empty_batch())


@pytest.mark.parametrize(
    "column", ["record_ids", "subjects", "scope_codes", "times_ms", "channels"]
)
def test_columns_of_different_length_are_refused(column: str) -> None:
    message = codec.batch_to_pb(made.batch(["x", "y"]))
    setattr(message, column, getattr(message, column)[:-1])
    with pytest.raises(ProtocolViolation, match="differ in length"):
        codec.batch_from_pb(message)


def test_a_flood_of_scopes_is_refused() -> None:
    about = pb.ConsentScope(purposes=["activation"], recipients=["a"], categories=["finance"])
    with pytest.raises(ProtocolViolation, match="scopes"):
        codec.batch_from_pb(pb.ConsentBatch(scopes=[about] * (codec.MAX_SCOPES + 1)))
