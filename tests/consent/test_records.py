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
from consent.purposes import (
    ACTORS,
    CHANNELS,
    GUARDIANS,
    LEGAL_BASES,
    METHODS,
    NOTICE_CLASSES,
    PROCESSING,
    REASONS,
    WITHDRAWALS,
    State,
)
from consent.records import COLUMNS, RecordBatch, empty_batch, joined, new_batch, record_ids
from consent.terms import MAX_RECIPIENTS, NoticeRef, Scope, Terms
from protocol.errors import ProtocolViolation
from protocol.wire import consent_pb2 as pb
from tests.consent import made


def test_states_are_the_contracts_statuses_in_their_order_of_strictness() -> None:
    words = [state.word for state in sorted(State, reverse=True)]
    assert tuple(word for word in words if word in STATUSES) == STATUSES
    assert {state.word for state in State if state.permits} == PERMITTING
    others = {"objected", "restricted", "notice_outdated", "no_record"}
    assert set(REASONS) == (set(words) - PERMITTING) | others
    assert [word for word in words if word in REASONS] == [
        word for word in REASONS if word not in others
    ]


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
        ("states", np.array([11], np.uint8)),
        ("flags", np.array([16], np.uint8)),
        ("flags", np.array([5], np.uint8)),  # an objection that begins and ends
        ("terms_codes", np.array([1], np.uint32)),
        ("actors", np.array([0], np.uint8)),
        ("actors", np.array([2], np.uint8)),  # a guardian of nobody
        ("actors", np.array([4], np.uint8)),
        ("valid_until_ms", np.array([-1], np.int64)),
        ("valid_until_ms", np.array([1], np.int64)),  # before it begins
        ("valid_until_ms", np.array([1 << 48], np.int64)),
        ("revisions", np.array([0], np.uint32)),
        ("revisions", np.array([2], np.uint32)),  # and follows nothing
        ("previous", np.ones((1, 16), np.uint8)),
        ("evidence", np.zeros((1, 16), np.uint8)),
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


notices = st.builds(
    NoticeRef,
    st.from_regex(r"[a-z][a-z0-9_.-]{0,9}", fullmatch=True).filter(str.isascii),
    st.integers(1, 1_000_000),
    st.sampled_from(["zh-CN", "en"]),
    st.binary(min_size=32, max_size=32).map(bytes.hex),
    st.sampled_from(NOTICE_CLASSES),
)
terms = st.builds(
    Terms,
    st.none() | notices,
    st.lists(st.sampled_from(PROCESSING), min_size=1).map(tuple),
    st.sampled_from(LEGAL_BASES),
    st.sampled_from(["", "CN", "CN-GD", "DE"]),
    st.lists(st.sampled_from(WITHDRAWALS), min_size=1).map(tuple),
    st.sampled_from(METHODS),
    st.sampled_from(GUARDIANS),
    st.sampled_from([None, True]),
)


@st.composite
def batches(draw: st.DrawFn) -> RecordBatch:
    people = draw(names)
    about = tuple(draw(st.lists(scopes, min_size=1, max_size=4)))
    size = len(people)
    codes = draw(st.lists(st.integers(0, len(about) - 1), min_size=size, max_size=size))
    under = tuple(draw(st.lists(terms, min_size=1, max_size=3)))

    def column(low: int, high: int) -> np.ndarray:
        return np.array(
            draw(st.lists(st.integers(low, high), min_size=size, max_size=size)), np.int64
        )

    states = column(1, len(State))
    flags = column(0, 3) << draw(st.sampled_from([0, 2]))
    states[flags > 0] *= column(0, 1)[flags > 0]
    now_ms = draw(st.integers(0, 1 << 47))
    revisions = column(1, 3)
    previous = record_ids(size, now_ms, os.urandom)
    previous[revisions == 1] = 0
    evidence = np.frombuffer(os.urandom(32 * size), np.uint8).reshape(size, 32)
    return new_batch(
        made.tokens(people),
        draw(st.integers(1, 65535)),
        about,
        np.array(codes, np.uint32),
        states,
        draw(st.sampled_from(CHANNELS)),
        now_ms,
        os.urandom,
        terms=under,
        actor=draw(st.sampled_from(["person", "party"])),
        terms_codes=column(0, len(under) - 1),
        flags=flags,
        valid_until_ms=np.where((states > 0) & (states < 3), now_ms + column(1, 1 << 40), 0),
        revisions=revisions,
        previous=previous,
        evidence=evidence * column(0, 1)[:, None].astype(np.uint8),
    )


def same(left: RecordBatch, right: RecordBatch) -> bool:
    """Event by event; dictionaries may be numbered otherwise."""
    return (
        [left.scopes[code] for code in left.scope_codes]
        == [right.scopes[code] for code in right.scope_codes]
        and [left.terms[code] for code in left.terms_codes]
        == [right.terms[code] for code in right.terms_codes]
        and all(
            np.array_equal(getattr(left, name), getattr(right, name))
            for name in COLUMNS
            if name not in ("scope_codes", "terms_codes")
        )
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


@pytest.mark.parametrize("column", [name for name in COLUMNS if name != "states"])
def test_columns_of_different_length_are_refused(column: str) -> None:
    message = codec.batch_to_pb(made.batch(["x", "y"]))
    setattr(message, column, getattr(message, column)[:-1])
    with pytest.raises(ProtocolViolation, match="differ in length"):
        codec.batch_from_pb(message)


@settings(max_examples=30, deadline=None)
@given(st.lists(batches(), max_size=4))
def test_batches_join_in_their_order(parts: list[RecordBatch]) -> None:
    whole = joined(parts)
    assert len(whole) == sum(map(len, parts))
    start = 0
    for part in parts:
        assert same(whole.take(slice(start, start + len(part))), part)
        start += len(part)


def test_a_permit_cannot_rest_on_a_box_that_was_ticked_in_advance() -> None:
    ticked = replace(made.batch(["x"], "refused"), terms=(Terms(default_off=False),))
    with pytest.raises(ProtocolViolation, match="by default"):
        replace(ticked, states=np.array([State.GIVEN], np.uint8))


def test_an_objection_may_be_about_everybody_and_its_end_may_not() -> None:
    about = made.batch(["x"], "withdrawn", made.scope("*"))
    nothing = np.zeros(1, np.uint8)
    objected = replace(about, states=nothing, flags=np.array([3], np.uint8))
    assert len(objected) == 1
    with pytest.raises(ProtocolViolation, match="every recipient"):
        replace(objected, flags=np.array([4], np.uint8))
    with pytest.raises(ProtocolViolation, match="says nothing"):
        replace(objected, flags=nothing)


def test_a_guardian_is_named_by_kind() -> None:
    one = made.batch(["x"])
    guardian = np.array([ACTORS.index("guardian") + 1], np.uint8)
    assert len(replace(one, actors=guardian, terms=(Terms(guardian="parent"),))) == 1


@pytest.mark.parametrize(
    "words",
    [
        {"processing": ()},
        {"processing": ("sell",)},
        {"withdrawal": ()},
        {"withdrawal": ("never",)},
        {"legal_basis": "legitimate_interest"},
        {"method": "guess"},
        {"guardian": "friend"},
        {"jurisdiction": "cn"},
        {"default_off": 1},
    ],
)
def test_terms_of_unknown_words_are_refused(words: dict[str, object]) -> None:
    with pytest.raises(ProtocolViolation, match="bad_record"):
        Terms(**words)


@pytest.mark.parametrize(
    "words",
    [
        {"id": "Notice"},
        {"id": ""},
        {"version": 0},
        {"version": True},
        {"language": "english, please"},
        {"sha256": "A" * 64},
        {"sha256": "a" * 63},
        {"kind": "big"},
    ],
)
def test_a_notice_that_is_none_is_refused(words: dict[str, object]) -> None:
    right = {"id": "n", "version": 1, "language": "en", "sha256": "a" * 64, "kind": "material"}
    assert NoticeRef(**right).version == 1
    with pytest.raises(ProtocolViolation, match="bad_record"):
        NoticeRef(**right | words)


def test_a_scope_has_no_flood_of_recipients() -> None:
    crowd = tuple(str(number) for number in range(MAX_RECIPIENTS + 1))
    assert len(Scope(("activation",), crowd[1:], ("finance",)).recipients) == MAX_RECIPIENTS
    with pytest.raises(ProtocolViolation, match="at most"):
        Scope(("activation",), crowd, ("finance",))


def test_a_flood_of_scopes_is_refused() -> None:
    about = pb.ConsentScope(purposes=["activation"], recipients=["a"], categories=["finance"])
    with pytest.raises(ProtocolViolation, match="scopes"):
        codec.batch_from_pb(pb.ConsentBatch(scopes=[about] * (codec.MAX_SCOPES + 1)))
