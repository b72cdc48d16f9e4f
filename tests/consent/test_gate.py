"""The gate against a loop per person, and the ways in which it must not be fooled."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.gate import Gate, RowSubjects
from consent.purposes import CATEGORIES, STATE_OF_WORD
from consent.records import RecordBatch, Scope, new_batch
from consent.replica import Replica
from consent.subjects import SubjectIndex
from protocol.errors import Refused
from tests import ledgers
from tests.consent import made
from tests.reference import consent_oracle as oracle

PURPOSES = ("audience_insight", "activation")
RECIPIENTS = ("media", "bank")
FEW = CATEGORIES[:3]
SUBJECTS = [f"s{number}" for number in range(6)]


def rows_of(rows: list[list[str]]) -> RowSubjects:
    """Row i carries the subjects rows[i], at most two."""
    index = SubjectIndex(made.tokens(SUBJECTS[:5]))  # s5 is in the log and not in the table
    number = dict(zip(SUBJECTS[:5], index.find(made.tokens(SUBJECTS[:5])), strict=True))
    columns = tuple(
        np.array([number[row[place]] if place < len(row) else -1 for row in rows], np.int32)
        for place in (0, 1)
    )
    return RowSubjects(index, columns, len(rows))


class Copy:
    """A replica as the gate sees it, without the log behind it."""

    def __init__(self) -> None:
        self.said: list[RecordBatch] = []
        self.taken: list[RecordBatch] = []
        self.synced = False

    def require_fresh(self, now: float) -> None:
        if not self.synced or now - made.START > 300:
            raise Refused("consent_stale", "too old")

    def erasures(self) -> int:
        return 0

    def pages(self, since: int = 0) -> Iterator[tuple[int, RecordBatch]]:
        yield from enumerate(self.said[since:], start=since + 1)

    def overlay(self, batch: RecordBatch) -> None:
        self.taken.append(batch)

    def overlaid(self) -> list[RecordBatch]:
        return list(self.taken)

    def sync(self) -> None:
        self.said += self.taken
        self.taken, self.synced = [], True


class Stand:
    """A copy and a gate over `rows`."""

    def __init__(self, rows: list[list[str]]) -> None:
        self.replica = Copy()
        self.subjects = rows_of(rows)
        self.gate = gate_over(self.replica, self.subjects)

    def say(self, events: list[oracle.Event]) -> None:
        for who, purposes, recipients, categories, state in events:
            about = Scope(tuple(purposes), tuple(recipients), tuple(categories))
            self.replica.said.append(made.batch([who], state, about))
        self.replica.sync()

    def ask(
        self, purpose: str, recipients: list[str], categories: list[str]
    ) -> tuple[list[int], dict[str, int]]:
        found = self.gate.eligible(purpose, recipients, categories, made.START)
        return list(found.rows), dict(found.excluded)


def gate_over(copy: Copy, subjects: RowSubjects) -> Gate:
    return Gate(copy, subjects)  # type: ignore[arg-type]  # all that the gate asks of a replica


def words(known: tuple[str, ...]) -> st.SearchStrategy[list[str]]:
    return st.lists(st.sampled_from(known), min_size=1, unique=True)


denials = st.tuples(
    st.sampled_from(SUBJECTS),
    words(PURPOSES),
    words((*RECIPIENTS, "*")),
    words(FEW),
    st.sampled_from(("withdrawn", "refused")),
)
anything = st.tuples(
    st.sampled_from(SUBJECTS),
    words(PURPOSES),
    words(RECIPIENTS),
    words(FEW),
    st.sampled_from(sorted(STATE_OF_WORD)),
)
histories = st.lists(st.one_of(denials, anything, anything), max_size=14)
tables = st.lists(st.lists(st.sampled_from(SUBJECTS[:5]), max_size=2, unique=True), max_size=8)
questions = st.tuples(
    st.sampled_from(PURPOSES), words(RECIPIENTS), st.lists(st.sampled_from(FEW), unique=True)
)


@settings(max_examples=60, deadline=None)
@given(tables, histories, histories, st.lists(questions, min_size=1, max_size=4))
def test_agrees_with_a_loop_per_person_also_as_the_log_grows(
    rows: list[list[str]],
    before: list[oracle.Event],
    after: list[oracle.Event],
    asked: list[tuple[str, list[str], list[str]]],
) -> None:
    stand = Stand(rows)
    said: list[oracle.Event] = []
    for events in (before, after):
        stand.say(events)
        said += events
        for question in asked:
            wanted = oracle.eligible(said, rows, *question, CATEGORIES)
            assert stand.ask(*question) == wanted
            # and again from the kept bitmaps
            assert stand.ask(*question) == wanted
            fresh = gate_over(stand.replica, stand.subjects)
            found = fresh.eligible(*question, made.START)
            assert (list(found.rows), dict(found.excluded)) == wanted


@settings(max_examples=30, deadline=None)
@given(tables, histories, st.lists(denials, min_size=1, max_size=4), questions)
def test_an_overlay_acts_before_and_after_it_is_logged(
    rows: list[list[str]],
    before: list[oracle.Event],
    taken: list[oracle.Event],
    question: tuple[str, list[str], list[str]],
) -> None:
    stand = Stand(rows)
    stand.say(before)
    for who, purposes, recipients, categories, state in taken:
        about = Scope(tuple(purposes), tuple(recipients), tuple(categories))
        stand.replica.overlay(made.batch([who], state, about, channel="counter"))
    kept = set(stand.ask(*question)[0])
    stand.say([])  # syncs: the overlay is logged now
    assert stand.replica.overlaid() == []
    assert stand.ask(*question) == oracle.eligible(before + taken, rows, *question, CATEGORIES)
    assert kept == set(stand.ask(*question)[0])


def test_no_record_means_no() -> None:
    stand = Stand([["s0"], ["s1"], []])
    stand.say([("s0", PURPOSES, ["media"], CATEGORIES, "given")])
    assert stand.ask("activation", ["media"], ["finance"]) == ([0], {"no_record": 2})
    assert stand.ask("activation", ["bank"], ["finance"]) == ([], {"no_record": 3})
    assert stand.ask("segmentation", ["media"], ["finance"]) == ([], {"no_record": 3})
    assert stand.ask("activation", ["media", "bank"], ["finance"]) == ([], {"no_record": 3})


def test_a_person_is_held_to_the_strictest_of_their_identifiers() -> None:
    stand = Stand([["s0", "s1"], ["s1"], ["s0"]])
    stand.say([
        ("s1", ["activation"], ["media"], ["finance"], "withdrawn"),
        ("s0", ["activation"], ["media"], ["finance"], "given"),
    ])  # fmt: skip
    assert stand.ask("activation", ["media"], ["finance"]) == ([2], {"withdrawn": 2})


def test_the_gate_does_not_answer_from_a_stale_copy() -> None:
    stand = Stand([["s0"]])
    with pytest.raises(Refused, match="consent_stale"):
        stand.ask("activation", ["media"], ["finance"])
    stand.say([])
    with pytest.raises(Refused, match="consent_stale"):
        stand.gate.eligible("activation", ["media"], ["finance"], made.START + 1000)


@pytest.mark.parametrize(
    "purpose, recipients, categories",
    [
        ("world_domination", ["media"], ["finance"]),
        ("activation", ["media"], ["gossip"]),
        ("activation", [], ["finance"]),  # nobody to permit it to is not "everybody permits"
    ],
)
def test_a_question_without_a_meaning_is_not_answered_with_everybody(
    purpose: str, recipients: list[str], categories: list[str]
) -> None:
    stand = Stand([["s0"]])
    stand.say([])
    with pytest.raises(ValueError, match="the gate needs"):
        stand.ask(purpose, recipients, categories)


def test_whole_columns_go_through_log_copy_and_gate(tmp_path: Path) -> None:
    """From a party's batch to its rows, over the real log and the real copy."""
    size = 20_000
    random = np.random.default_rng(1)
    tokens = random.integers(0, 256, (size, 32), dtype=np.uint8)
    codes, states = np.zeros(size, np.uint32), np.ones(size, np.uint8)
    whole = new_batch(tokens, 1, (made.scope(),), codes, states, "import", 1, random.bytes)
    stand = ledgers.simple(tmp_path / "ledger", made.Clock(), "retailer", "media")
    port = stand.port("retailer")
    replica = Replica(tmp_path / "replica.sqlite", "retailer", stand.trust, made.SEAL)

    async def go() -> None:
        for piece in whole.pieces():
            await port.append(piece)
        await port.append(made.batch(["x"]))
        await replica.sync(port)

    asyncio.run(go())
    index, places = SubjectIndex.numbering(tokens)
    gate = Gate(replica, RowSubjects(index, (places,), size))
    found = gate.eligible(made.PURPOSE, ["media"], [made.CATEGORY], made.START)
    assert len(found.rows) == size

    async def forget() -> None:
        await port.erase(tokens[7].tobytes())
        await replica.sync(port)

    asyncio.run(forget())
    found = gate.eligible(made.PURPOSE, ["media"], [made.CATEGORY], made.START)
    assert len(found.rows) == size - 1
    assert dict(found.excluded) == {"no_record": 1}  # erased reads as never asked
    stand.close()
