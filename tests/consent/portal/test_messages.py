"""Questions and answers between portal and node on the wire, and those that cannot be made."""

from __future__ import annotations

from contextlib import suppress

import pytest
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from consent.portal import codec
from consent.portal.port import (
    MAX_WORDS,
    FileRequest,
    Find,
    NotAnswered,
    Person,
    ReadTags,
    ReadTickets,
    ReadUses,
    Use,
    Uses,
)
from protocol.errors import ProtocolViolation
from protocol.wire import portal_pb2 as pb

_subjects = st.lists(st.binary(min_size=32, max_size=32), min_size=1, max_size=4).map(tuple)
_ids = st.binary(min_size=16, max_size=16)


@given(
    _ids,
    st.one_of(
        st.builds(Find, st.sampled_from(["email", "phone"]), st.text(min_size=1, max_size=320)),
        st.builds(lambda s: Find(subject=s), st.binary(min_size=32, max_size=32)),
        st.builds(ReadTags, _subjects),
        st.builds(ReadUses, _subjects),
        st.builds(ReadTickets, _subjects),
        st.builds(
            FileRequest, _subjects, _ids, st.sampled_from(["correct", "hide", "object", "erase"]),
            st.text(max_size=64), st.text(max_size=MAX_WORDS),
        ),
    ),
)  # fmt: skip
def test_questions_cross_the_wire_unchanged(id: bytes, question: object) -> None:
    message = codec.question_to_pb(id, question)  # type: ignore[arg-type]
    again = pb.PortalQuestion.FromString(message.SerializeToString())
    assert codec.question_from_pb(again) == (id, question)


@given(st.booleans(), st.booleans())
def test_who_somebody_is_crosses_the_wire_unchanged(shared: bool, absent: bool) -> None:
    person = Person((b"x" * 32,), 3, shared, ("activation",), ("media",), ("finance",), absent)
    message = codec.answer_to_pb(b"1" * 16, person)
    again = pb.PortalAnswer.FromString(message.SerializeToString())
    assert codec.answer_from_pb(again) == (b"1" * 16, person)


@given(st.binary(max_size=300))
def test_any_bytes_are_a_good_message_or_a_violation(data: bytes) -> None:
    for kind, read in (
        (pb.PortalQuestion, codec.question_from_pb), (pb.PortalAnswer, codec.answer_from_pb),
    ):  # fmt: skip
        try:
            message = kind.FromString(data)
        except DecodeError:
            continue
        with suppress(ProtocolViolation):  # anything else is a defect
            read(message)  # type: ignore[operator]


@pytest.mark.parametrize(
    "bad",
    [
        lambda: Find("email", "a" * 321),
        lambda: Find("passport", "x"),
        lambda: Find("email", "x", b"s" * 32),
        lambda: Find(subject=b"short"),
        lambda: ReadTags(()),
        lambda: ReadTags((b"x" * 32,) * 17),
        lambda: FileRequest((b"x" * 32,), b"1" * 16, "steal"),
        lambda: FileRequest((b"x" * 32,), b"1" * 16, "hide", "a" * 65),
        lambda: FileRequest((b"x" * 32,), b"1" * 16, "hide", "a", "w" * 501),
        lambda: Person((b"short",)),
        lambda: Person((), 1, False, ("world_domination",)),
        lambda: Person((b"x" * 32, b"y" * 32), absent=True),
        lambda: NotAnswered("because of Ann"),
        lambda: Uses(tuple([Use("j", 1, "activation", "m", "psi", "released")] * 1001)),
    ],
)
def test_messages_that_cannot_be_are_not_made(bad: object) -> None:
    with pytest.raises(ProtocolViolation):
        bad()  # type: ignore[operator]
