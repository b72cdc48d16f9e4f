"""The gate on ends, flags and notices: against a loop per person, as time and log move on."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent import gate as gate_module
from consent.gate import Gate, RowSubjects
from consent.purposes import FLAG_OF_WORD, REASONS, STATE_OF_WORD, UNCHANGED
from consent.records import RecordBatch
from consent.standing import EFFECTS
from consent.subjects import SubjectIndex
from consent.terms import NoticeRef, Terms
from protocol.errors import ProtocolViolation, Refused
from tests.consent import made
from tests.reference import consent_oracle as oracle

OLD = NoticeRef("consent", 1, "en", "0" * 64, "material")
NEW = NoticeRef("consent", 2, "en", "1" * 64, "material")
RECIPIENTS = ("media", "bank")
SUBJECTS = [f"s{number}" for number in range(6)]


def rows_of(rows: list[list[str]]) -> RowSubjects:
    """Row i carries the subjects rows[i], at most two; s5 is in the log and not in the table."""
    index = SubjectIndex(made.tokens(SUBJECTS[:5]))
    number = dict(zip(SUBJECTS[:5], index.find(made.tokens(SUBJECTS[:5])), strict=True))
    columns = tuple(
        np.array([number[row[place]] if place < len(row) else -1 for row in rows], np.int32)
        for place in (0, 1)
    )
    return RowSubjects(index, columns, len(rows))


def outdated(notice: NoticeRef) -> bool:
    if notice.version > 2:
        raise ProtocolViolation("unknown_notice", "no such text is known here")
    return notice == OLD


def event(said: oracle.Said) -> RecordBatch:
    who, recipients, state, flag, until, old = said
    made_so = made.batch([who], state or "withdrawn", made.scope())
    return replace(
        made_so,
        scopes=(replace(made_so.scopes[0], recipients=tuple(recipients)),),
        terms=(Terms(notice=OLD if old else NEW),),
        states=np.array([STATE_OF_WORD[state] if state else UNCHANGED], np.uint8),
        flags=np.array([FLAG_OF_WORD[flag] if flag else 0], np.uint8),
        valid_until_ms=np.array([until * 1000], np.int64),
    )


class Told:
    """A replica in memory that is always fresh."""

    def __init__(self) -> None:
        self.log: list[RecordBatch] = []
        self.waiting: list[RecordBatch] = []
        self.erased = 0

    def require_fresh(self, now: float) -> None:
        pass

    def overlaid(self) -> list[RecordBatch]:
        return self.waiting

    def erasures(self) -> int:
        return self.erased

    def pages(self, since: int = 0) -> Iterator[tuple[int, RecordBatch]]:
        yield from enumerate(self.log[since:], start=since + 1)


class Stand:
    """A replica that is told everything, and a gate over it."""

    def __init__(self, rows: list[list[str]]) -> None:
        self.now = made.START
        self.replica = Told()
        self.subjects = rows_of(rows)
        self.gate = self.another()

    def another(self) -> Gate:
        return Gate(self.replica, self.subjects, outdated)  # type: ignore[arg-type]

    def say(self, events: list[oracle.Said]) -> None:
        self.replica.log += map(event, events)

    def ask(self, gate: Gate | None = None) -> tuple[list[int], dict[str, int]]:
        found = (gate or self.gate).eligible(made.PURPOSE, RECIPIENTS, [made.CATEGORY], self.now)
        return list(found.rows), dict(found.excluded)


def wanted(events: list[oracle.Said], rows: list[list[str]], now: float) -> object:
    kept, excluded = [], {}
    for number, row in enumerate(rows):
        effects = []
        for recipient in RECIPIENTS:
            held = [oracle.effect(events, who, recipient, int(now)) for who in row]
            effects.append(min(held, key=oracle.EFFECTS.index, default="no_record"))
        against = [one for one in effects if one not in oracle.PERMITS]
        if not against:
            kept.append(number)
        else:
            reason = min(against, key=oracle.EFFECTS.index)
            excluded[reason] = excluded.get(reason, 0) + 1
    return kept, excluded


who = st.sampled_from(SUBJECTS)
whom = st.lists(st.sampled_from(RECIPIENTS), min_size=1, unique=True)
flags = st.sampled_from(["", "", "", *FLAG_OF_WORD])
ends = st.sampled_from([0, 0, 10, 20, 30, 1000]).map(lambda s: s and int(made.START) + s)
permits = st.tuples(who, whom, st.sampled_from(oracle.PERMITS), flags, ends, st.booleans())
others = st.tuples(
    who, whom, st.sampled_from(sorted(STATE_OF_WORD)), flags, st.just(0), st.booleans()
)
only_flags = st.tuples(
    who, whom, st.just(""), st.sampled_from([*FLAG_OF_WORD]), st.just(0), st.just(False)
)
to_all = st.tuples(
    who, st.just(["*"]), st.sampled_from(["", "withdrawn"]),
    st.sampled_from(["objected", "restricted"]), st.just(0), st.just(False),
)  # fmt: skip
histories = st.lists(st.one_of(permits, permits, others, only_flags, to_all), max_size=12)
tables = st.lists(
    st.lists(st.sampled_from(SUBJECTS[:5]), max_size=2, unique=True), min_size=1, max_size=8
)


@pytest.mark.parametrize("few", [0.0, 1.0])
@settings(max_examples=60, deadline=None)
@given(tables, histories, histories, st.lists(st.sampled_from([5, 10, 15]), max_size=3))
def test_agrees_with_a_loop_per_person_as_time_goes_by(
    few: float,
    rows: list[list[str]],
    before: list[oracle.Said],
    after: list[oracle.Said],
    steps: list[int],
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        # Both ways of keeping up: bitmaps changed row by row, and made anew.
        patch.setattr(gate_module, "_FEW", few)
        stand = Stand(rows)
        said: list[oracle.Said] = []
        for events in (before, after):
            stand.say(events)
            said += events
            for step in (0, *steps):
                stand.now += step
                right = wanted(said, rows, stand.now)
                assert stand.ask() == right
                assert stand.ask(stand.another()) == right


@settings(max_examples=40, deadline=None)
@given(tables, histories, st.lists(to_all, min_size=1, max_size=3))
def test_an_objection_in_the_overlay_acts_at_once(
    rows: list[list[str]], before: list[oracle.Said], taken: list[oracle.Said]
) -> None:
    stand = Stand(rows)
    stand.say(before)
    stand.ask()
    stand.replica.waiting = [event(said) for said in taken]
    kept = set(stand.ask()[0])
    # Logged now, and still in the overlay, as in the moment between the two.
    stand.say(taken)
    assert kept == set(stand.ask()[0])
    stand.replica.waiting = []
    assert stand.ask() == wanted(before + taken, rows, stand.now)
    assert kept == set(stand.ask()[0])


@settings(max_examples=40, deadline=None)
@given(tables, histories, st.sampled_from(SUBJECTS))
def test_what_was_erased_was_never_said(
    rows: list[list[str]], said: list[oracle.Said], person: str
) -> None:
    stand = Stand(rows)
    stand.say(said)
    stand.ask()
    left = [one for one in said if one[0] != person]
    stand.replica.log = [event(one) for one in left]
    stand.replica.erased += 1
    assert stand.ask() == wanted(left, rows, stand.now)


def test_every_reason_is_one_that_can_be_told() -> None:
    assert (*REASONS[:-1], "given", "renewed", "no_record") == oracle.EFFECTS
    assert set(EFFECTS) == set(oracle.EFFECTS)


def test_a_permit_ends_by_the_second_and_nothing_brings_it_back() -> None:
    stand = Stand([["s0"], ["s1"]])
    end = int(made.START) + 60
    stand.say([
        ("s0", RECIPIENTS, "given", "", end, False),
        ("s1", RECIPIENTS, "given", "", 0, False),
    ])  # fmt: skip
    for now, rows in ((0, [0, 1]), (59.9, [0, 1]), (60, [1]), (61, [1]), (59, [1])):
        stand.now = made.START + now
        assert stand.ask()[0] == rows, now
    stand.say([("s0", RECIPIENTS, "renewed", "", end + 100, False)])
    assert stand.ask()[0] == [0, 1]


def test_a_notice_nobody_knows_shuts_the_gate() -> None:
    stand = Stand([["s0"]])
    stand.say([("s0", RECIPIENTS, "given", "", 0, False)])
    assert stand.ask()[0] == [0]
    unknown = replace(event(("s1", ["bank"], "given", "", 0, False)))
    unknown = replace(unknown, terms=(Terms(notice=replace(NEW, version=3)),))

    stand.replica.log.append(unknown)
    for _ in range(2):  # and stays shut
        with pytest.raises(Refused, match="unknown_notice"):
            stand.ask()
