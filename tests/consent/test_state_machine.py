"""What may follow what: the table's own promises, and the set-based check against a loop."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.purposes import PERMITTING, STATE_OF_WORD, Flag, State
from consent.records import RecordBatch, Scope, empty_batch, joined, record_ids
from consent.state_machine import TRANSITIONS, allowed, check, check_batch
from protocol.errors import ProtocolViolation
from tests.consent import made

ILLEGAL = [
    ("withdrawn", "renewed"),
    ("refused", "renewed"),
    ("revoked", "renewed"),
    ("invalidated", "renewed"),
    ("requested", "renewed"),
    ("deferred", "renewed"),
    ("withdrawn", "expired"),
    ("refused", "expired"),
    ("given", "unknown"),
    ("given", "deferred"),
    ("refused", "invalidated"),
    ("expired", "deferred"),
]


def test_a_no_may_follow_anything_and_everything_may_be_said_again() -> None:
    for before, after in TRANSITIONS.items():
        assert {State.REFUSED, State.WITHDRAWN, State.REVOKED} <= after
        assert before is None or before in after
    assert set(TRANSITIONS) == {None, *State}


def test_who_said_no_can_be_asked_and_can_give_but_nothing_renews_it() -> None:
    for state in State:
        assert State.GIVEN in allowed(state)
        renewable = state in (*PERMITTING, State.EXPIRED, State.UNKNOWN)
        assert (State.RENEWED in allowed(state)) == renewable


@pytest.mark.parametrize("before, after", ILLEGAL)
def test_what_cannot_have_happened(before: str, after: str) -> None:
    with pytest.raises(ProtocolViolation, match=f"{after} cannot follow {before}"):
        check(STATE_OF_WORD[before], STATE_OF_WORD[after])
    with pytest.raises(ProtocolViolation, match=f"record 1 of 1 .* {after} after {before}"):
        check_batch(made.batch(["a"], before), made.batch(["a"], after))
    # of another person, or about another use, it is a beginning
    check_batch(made.batch(["b"], before), made.batch(["a"], after))
    check_batch(made.batch(["a"], before, made.scope("bank")), made.batch(["a"], after))


def test_sent_again_is_not_said_again() -> None:
    first, second = made.batch(["a"], "given"), made.batch(["a"], "withdrawn")
    third = made.batch(["a"], "given")
    log = joined([first, second, third])
    check_batch(log, first)
    check_batch(log, joined([second, third]))
    # although as a new event it would be wrong
    log = joined([made.batch(["a"], "expired"), second])
    check_batch(log, log.take(np.array([0])))
    with pytest.raises(ProtocolViolation, match="record 1 of 1"):
        check_batch(log, made.batch(["a"], "expired"))


def test_a_no_to_everybody_is_the_past_of_every_recipient() -> None:
    log = made.batch(["a"], "withdrawn", made.scope("*"))
    with pytest.raises(ProtocolViolation, match="renewed after withdrawn"):
        check_batch(log, made.batch(["a"], "renewed"))
    within = joined([log, made.batch(["a"], "renewed", made.scope("bank"))])
    with pytest.raises(ProtocolViolation, match="record 2 of 2"):
        check_batch(empty_batch(), within)


def test_a_flag_alone_moves_no_state() -> None:
    objection = replace(
        made.batch(["a"], "withdrawn"),
        states=np.zeros(1, np.uint8),
        flags=np.array([Flag.OBJECTED], np.uint8),
    )
    log = joined([made.batch(["a"], "given"), objection])
    check_batch(log, made.batch(["a"], "renewed"))
    with pytest.raises(ProtocolViolation):
        check_batch(joined([made.batch(["a"], "refused"), objection]), made.batch(["a"], "renewed"))


def follows(batch: RecordBatch, before: RecordBatch, revision: int) -> RecordBatch:
    number = np.array([revision], np.uint32)
    return replace(batch, previous=before.record_ids[-1:].copy(), revisions=number)


def test_a_revision_follows_the_record_that_it_names() -> None:
    first = made.batch(["a"], "given")
    second = follows(made.batch(["a"], "renewed"), first, 2)
    check_batch(first, second)
    check_batch(joined([first, second]), follows(made.batch(["a"], "withdrawn"), second, 3))
    check_batch(empty_batch(), joined([first, second]))
    for log, wrong in (
        (first, follows(made.batch(["a"], "renewed"), first, 3)),
        (joined([first, second]), follows(made.batch(["a"], "renewed"), first, 3)),
        (first, follows(made.batch(["b"], "given"), first, 2)),
        (empty_batch(), second),
        (empty_batch(), joined([second, first])),
    ):
        with pytest.raises(ProtocolViolation, match="does not follow the record that it names"):
            check_batch(log, wrong)


PEOPLE = ["a", "b", "c"]
Event = tuple[str, list[str], list[str], str]
_recipients = st.lists(st.sampled_from(["media", "bank"]), min_size=1, unique=True)
_purposes = st.lists(st.sampled_from(["activation", "segmentation"]), min_size=1, unique=True)
events = st.one_of(
    st.tuples(st.sampled_from(PEOPLE), _purposes, _recipients, st.sampled_from([*STATE_OF_WORD])),
    st.tuples(
        st.sampled_from(PEOPLE),
        _purposes,
        st.just(["*"]),
        st.sampled_from(["withdrawn", "refused"]),
    ),
)


def legal(log: list[Event], new: list[Event]) -> bool:
    """The same rule, one person, one cell and one event at a time."""
    for who in PEOPLE:
        for purpose in ("activation", "segmentation"):
            for recipient in ("media", "bank", "somebody else"):
                state: State | None = None
                for number, (person, purposes, recipients, word) in enumerate(log + new):
                    hit = recipient in recipients or "*" in recipients
                    if person != who or purpose not in purposes or not hit:
                        continue
                    after = STATE_OF_WORD[word]
                    if number >= len(log) and after not in TRANSITIONS[state]:
                        return False
                    state = after
    return True


def batch_of_events(said: list[Event]) -> RecordBatch:
    one_by_one = [
        made.batch([who], word, Scope(tuple(purposes), tuple(recipients), ("finance",)))
        for who, purposes, recipients, word in said
    ]
    whole = joined(one_by_one)
    ids = record_ids(len(whole), int(made.START * 1000), os.urandom)
    return replace(whole, record_ids=ids)


@settings(max_examples=200, deadline=None)
@given(st.lists(events, max_size=8), st.lists(events, max_size=5))
def test_agrees_with_a_loop_per_person(log: list[Event], new: list[Event]) -> None:
    earlier, batch = batch_of_events(log), batch_of_events(new)
    if legal(log, new):
        check_batch(earlier, batch)
    else:
        with pytest.raises(ProtocolViolation, match="illegal_transition"):
            check_batch(earlier, batch)


def test_the_table_of_the_docs_is_the_table() -> None:
    page = Path(__file__).parents[2] / "docs" / "CONSENT_RECORDS.md"
    lines = page.read_text("utf-8").split("| from | may become |")[1].split("\n\n")[0].splitlines()
    said: dict[State | None, set[State]] = {}
    for line in lines[2:]:
        before, after = (cell.split(", ") for cell in line.strip("| ").split(" | "))
        for word in before:
            state = None if word == "no record" else STATE_OF_WORD[word.strip("`")]
            said[state] = (
                set(State)
                if after == ["anything"]
                else {STATE_OF_WORD[one.strip("`")] for one in after}
                | {State.REFUSED, State.WITHDRAWN, State.REVOKED}
                | ({state} if state else set())
            )
    assert said == dict(TRANSITIONS)
