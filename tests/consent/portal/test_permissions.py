"""What a page says is on is what the gate lets through; whatever is written the ledger takes."""

from __future__ import annotations

import asyncio
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.yaml import parse_documents
from consent.notices import Notices, _notices
from consent.portal.permissions import Author, Said, read, rows
from consent.portal.port import Person
from consent.purposes import CATEGORIES, PURPOSES, Flag, State
from consent.records import RecordBatch, joined, new_batch
from consent.state_machine import check_batch
from consent.terms import Scope, Terms
from protocol.errors import Refused
from tests.consent.portal.fakes import FakeLedger
from tests.reference import consent_oracle

CHANGED = """
notices:
  consent:
    - {version: 1, class: material, text: {en: old}, purposes: {activation: {en: a}}}
    - {version: 2, class: material, text: {en: new}, purposes: {activation: {en: a}}}
"""
NOTICES: Notices = _notices(parse_documents(CHANGED, "here")[0])
OLD, NEW = NOTICES.versions["consent"]
SUBJECTS = (b"a" * 32, b"b" * 32)
RECIPIENTS = ("media", "bank")
PERSON = Person(SUBJECTS, 1, False, ("activation",), RECIPIENTS, ("content", "purchases"))
NOW = 1_800_000_000


class Book:
    """A ledger with the real rule about what may follow what, and a clock in seconds."""

    def __init__(self) -> None:
        self.ledger, self.batches, self.now = FakeLedger(), list[RecordBatch](), NOW
        self.author = Author(lambda: self.now * 1000, os.urandom, NEW.ref)
        self.oracle: list[consent_oracle.Said] = []

    def said(self) -> list[Said]:
        async def events() -> list[Said]:
            return [
                one
                for subject in SUBJECTS
                for one in read(subject, await self.ledger.subject("p", subject), NOTICES)
            ]

        return sorted(asyncio.run(events()), key=lambda one: one.index)

    def add(self, batch: RecordBatch) -> None:
        check_batch(joined(self.batches), batch)
        self.batches.append(batch)
        asyncio.run(self.ledger.append_for("p", batch))
        for i in range(len(batch)):
            state, flags = int(batch.states[i]), Flag(int(batch.flags[i]))
            self.oracle.append(
                (
                    batch.subjects[i].tobytes().decode(),
                    batch.scopes[int(batch.scope_codes[i])].recipients,
                    State(state).word if state else "",
                    flags.word if flags else "",
                    int(batch.valid_until_ms[i]) // 1000,
                    batch.terms[int(batch.terms_codes[i])].notice == OLD.ref("en"),
                )
            )

    def imported(self, subject: bytes, recipient: str, state: State, until: int, old: bool) -> None:
        """Something that the party says, under either text, perhaps with an end."""
        ends = self.now + until if until and state.permits else 0
        self.add(
            new_batch(
                np.frombuffer(subject, np.uint8).reshape(1, 32), 1,
                (Scope(("activation",), (recipient,), CATEGORIES),), np.zeros(1, np.uint32),
                np.array([state], np.uint8), "import", self.now * 1000, os.urandom,
                terms=(Terms(notice=(OLD if old else NEW).ref("en")),),
                valid_until_ms=np.array([ends * 1000], np.int64),
            )
        )  # fmt: skip


_no = st.sampled_from([State.WITHDRAWN, State.REFUSED])
_operations = st.lists(
    st.one_of(
        st.tuples(st.just("give"), st.sampled_from(RECIPIENTS)),
        st.tuples(st.just("withdraw"), st.sampled_from(RECIPIENTS)),
        st.tuples(st.just("withdraw all")),
        st.tuples(st.just("object")),
        st.tuples(
            st.just("import"), st.sampled_from(SUBJECTS), st.sampled_from(RECIPIENTS),
            st.one_of(st.just(State.GIVEN), _no), st.sampled_from([0, 5, 1000]), st.booleans(),
        ),
        st.tuples(st.just("wait"), st.sampled_from([1, 10])),
    ),
    max_size=12,
)  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(_operations)
def test_pages_say_what_the_naive_oracle_says_and_the_ledger_takes_it(
    operations: list[tuple[object, ...]],
) -> None:
    book = Book()
    for name, *rest in operations:
        book.now += 1
        said, author = book.said(), book.author
        match name:
            case "give":
                book.add(author.give(PERSON, said, "activation", str(rest[0]), "en"))
            case "withdraw":
                book.add(author.withdraw(PERSON, said, "activation", str(rest[0]), "en"))
            case "withdraw all":
                book.add(author.withdraw_all(PERSON, said, "en"))
            case "object":
                book.add(author.object(PERSON, said, "en"))
            case "import":
                book.imported(*rest)  # type: ignore[arg-type]
            case _:
                book.now += int(str(rest[0]))
        shown = {row.recipient: row for row in rows(PERSON, book.said(), book.now * 1000)}
        for recipient in RECIPIENTS:
            effects = [
                consent_oracle.effect(book.oracle, subject.decode(), recipient, book.now)
                for subject in SUBJECTS
            ]
            wanted = min(effects, key=consent_oracle.EFFECTS.index) in ("given", "renewed")
            assert shown[recipient].permitted == wanted, (recipient, effects)


def test_what_was_given_by_a_switch_is_on_and_taken_back_it_is_off() -> None:
    book = Book()
    book.add(book.author.give(PERSON, book.said(), "activation", "media", "en"))
    row = {r.recipient: r for r in rows(PERSON, book.said(), book.now * 1000)}
    assert row["media"].on == ("purchases", "content")
    assert not row["bank"].permitted
    book.now += 1
    book.add(book.author.withdraw(PERSON, book.said(), "activation", "media", "en"))
    assert not any(r.permitted for r in rows(PERSON, book.said(), book.now * 1000))


def test_a_text_that_changed_in_substance_switches_off_and_says_so() -> None:
    book = Book()
    book.imported(SUBJECTS[0], "media", State.GIVEN, 0, old=True)
    (row,) = [r for r in rows(PERSON, book.said(), book.now * 1000) if r.recipient == "media"]
    assert (row.permitted, row.outdated) == (False, True)
    book.now += 1
    book.add(book.author.give(PERSON, book.said(), "activation", "media", "en"))
    (row,) = [r for r in rows(PERSON, book.said(), book.now * 1000) if r.recipient == "media"]
    assert (row.permitted, row.outdated) == (True, False)


def test_nothing_is_given_that_the_party_does_not_ask_for() -> None:
    book = Book()
    for purpose, recipient in (("segmentation", "media"), ("activation", "stranger")):
        assert purpose in PURPOSES
        with pytest.raises(Refused, match="no such permission"):
            book.author.give(PERSON, [], purpose, recipient, "en")
