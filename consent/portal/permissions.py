"""One person's permissions at one party: read from their events, changed by new ones.  Pure.

Who runs it: the portal's process, for the person who is signed in.
Learns: the portal, that person's own records.

A person may have several tokens at a party (an e-mail address, a phone number).  As in the
node's gate the strictest of them holds; a change is said of all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from consent.body import batch_of
from consent.notices import Notices
from consent.port import SubjectEvent
from consent.portal.port import Person
from consent.purposes import (
    ACTORS,
    CATEGORIES,
    CHANNELS,
    EVERY_RECIPIENT,
    NO_RECORD,
    PERMITTING,
    PURPOSES,
    UNCHANGED,
    Flag,
    State,
)
from consent.records import RecordBatch, new_batch
from consent.terms import NoticeRef, Scope, Terms
from protocol.errors import ProtocolViolation, Refused

_MINUTE = 60_000  # milliseconds
Cell = tuple[str, str, str]  # purpose, recipient, category


@dataclass(frozen=True)
class Said:
    """One event about the person, read.  state: NO_RECORD when only flags changed."""

    index: int
    subject: bytes
    time_ms: int
    state: int
    flags: Flag
    channel: str
    actor: str
    scope: Scope
    valid_until_ms: int
    record_id: bytes
    revision: int
    outdated: bool  # said under a notice that a material change replaced, or an unknown one

    @property
    def word(self) -> str:
        """What to call it: the state, or the flag where the state stayed."""
        return State(self.state).word if self.state else Flag(self.flags & -self.flags).word


@dataclass(frozen=True)
class Row:
    """One purpose and recipient.  on: the categories that are permitted now.

    categories: all that the row speaks of.  since_ms, until_ms: 0 when there is none.
    said: the state of the last event, NO_RECORD when the person was never asked.  channel: how it
    came, "" when there is none.
    outdated: it was allowed under a text that has changed in substance since.
    """

    purpose: str
    recipient: str
    categories: tuple[str, ...]
    on: tuple[str, ...]
    since_ms: int
    until_ms: int
    said: int
    objected: bool
    outdated: bool = False
    channel: str = ""
    used_ms: int = 0

    @property
    def permitted(self) -> bool:
        """Whether anything is: then the switch takes all of it back."""
        return bool(self.on)

    @property
    def partly(self) -> bool:
        return self.permitted and len(self.on) < len(self.categories)


def read(
    subject: bytes, events: Sequence[SubjectEvent], notices: Notices | None = None
) -> list[Said]:
    """The consent events of one token, in the order of the log.

    notices: what the party's texts are; None: whether one is outdated does not matter.
    """
    if not events:
        return []
    batch = batch_of([event.opening.body for event in events])
    return [
        Said(
            event.index,
            subject,
            int(batch.times_ms[i]),
            int(batch.states[i]),
            Flag(int(batch.flags[i])),
            CHANNELS[int(batch.channels[i]) - 1],
            ACTORS[int(batch.actors[i]) - 1],
            batch.scopes[int(batch.scope_codes[i])],
            int(batch.valid_until_ms[i]),
            batch.record_ids[i].tobytes(),
            int(batch.revisions[i]),
            notices is not None
            and _outdated(batch.terms[int(batch.terms_codes[i])].notice, notices),
        )
        for i, event in enumerate(events)
    ]


def _outdated(notice: NoticeRef | None, notices: Notices) -> bool:
    if notice is None:
        return False  # as in the gate: a consent of an older system, whose text is not known
    try:
        return notices.is_outdated(notice)
    except ProtocolViolation:
        return True  # the gate refuses what names a text that nobody has


def rows(person: Person, said: Sequence[Said], now_ms: int) -> list[Row]:
    """Every purpose and recipient that the party may ask about or that a record names."""
    wanted = {(p, r): set(person.categories) for p in person.purposes for r in person.recipients}
    for event in said:
        for purpose, recipient, category in event.scope.cells():
            # A "no" to everything names every category; it makes no row and widens none.
            if recipient != EVERY_RECIPIENT and event.state in PERMITTING:
                wanted.setdefault((purpose, recipient), set()).add(category)
    order = {word: place for place, word in enumerate(PURPOSES)}
    made = [
        _row(purpose, recipient, categories, said, now_ms)
        for (purpose, recipient), categories in wanted.items()
        if categories
    ]
    return sorted(made, key=lambda row: (row.recipient, order[row.purpose]))


def _row(
    purpose: str, recipient: str, categories: set[str], said: Sequence[Said], now_ms: int
) -> Row:
    ordered = tuple(word for word in CATEGORIES if word in categories)
    judged = {c: _judge((purpose, recipient, c), said, now_ms) for c in ordered}
    on = tuple(c for c in ordered if judged[c].permits)
    shown = [judged[c] for c in on or ordered]
    last = max(shown, key=lambda one: one.time_ms)
    ends = [one.until_ms for one in shown if one.until_ms]
    return Row(
        purpose, recipient, ordered, on, last.time_ms, min(ends, default=0) if on else 0,
        last.state, any(one.objected for one in judged.values()),
        any(one.outdated for one in judged.values()), last.channel,
    )  # fmt: skip


@dataclass(frozen=True)
class _Judged:
    state: int
    time_ms: int
    until_ms: int
    objected: bool
    outdated: bool
    permits: bool
    channel: str = ""


def _judge(cell: Cell, said: Sequence[Said], now_ms: int) -> _Judged:
    """What holds for one cell: per token the last word, over tokens the strictest."""
    last: dict[bytes, Said] = {}
    objected: dict[bytes, bool] = {}
    restricted: dict[bytes, bool] = {}
    for event in said:
        if not event.scope.covers(*cell):
            continue
        if event.state != UNCHANGED:
            last[event.subject] = event
        for sets, ends, holds in (
            (Flag.OBJECTED, Flag.OBJECTION_ENDED, objected),
            (Flag.RESTRICTED, Flag.RESTRICTION_ENDED, restricted),
        ):
            if event.flags & (sets | ends):
                holds[event.subject] = bool(event.flags & sets)
    if not last:
        return _Judged(NO_RECORD, 0, 0, any(objected.values()), False, False)
    strictest = max(last.values(), key=lambda one: (_state_now(one, now_ms), one.time_ms))
    state = _state_now(strictest, now_ms)
    against = any(objected.values())
    outdated = any(one.outdated and _state_now(one, now_ms) in PERMITTING for one in last.values())
    permits = state in PERMITTING and not (against or outdated or any(restricted.values()))
    until = strictest.valid_until_ms
    how = strictest.channel
    return _Judged(state, strictest.time_ms, until, against, outdated, permits, how)


def _state_now(said: Said, now_ms: int) -> int:
    over = said.state in PERMITTING and said.valid_until_ms and said.valid_until_ms <= now_ms
    return int(State.EXPIRED) if over else said.state


# -- changes -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Author:
    """Makes the records that a person says here.

    now_ms: the wall clock.  notice: the text that the page shows.  guardian: not built here.

    A record carries the minute in which it was said: "withdraw all" writes into every party's
    log within a moment, and the milliseconds of that moment would say whose pseudonyms these are.
    """

    now_ms: Callable[[], int]
    random: Callable[[int], bytes]
    notice: Callable[[str], NoticeRef]

    def give(
        self, person: Person, said: Sequence[Said], purpose: str, recipient: str, language: str
    ) -> RecordBatch:
        """A separate consent for one recipient, all categories that the row shows."""
        row = _find(person, said, purpose, recipient, self.now_ms())
        scope = Scope((purpose,), (recipient,), row.categories)
        flags = Flag.OBJECTION_ENDED if row.objected else Flag(0)
        return self._batch(person, said, scope, State.GIVEN, flags, language)

    def withdraw(
        self, person: Person, said: Sequence[Said], purpose: str, recipient: str, language: str
    ) -> RecordBatch:
        """Ends one purpose and recipient for every category, also those of other rows' files."""
        _find(person, said, purpose, recipient, self.now_ms())
        scope = Scope((purpose,), (recipient,), CATEGORIES)
        return self._batch(person, said, scope, State.WITHDRAWN, Flag(0), language)

    def withdraw_all(self, person: Person, said: Sequence[Said], language: str) -> RecordBatch:
        """Ends everything at this party, for every recipient there is or will be."""
        scope = Scope(PURPOSES, (EVERY_RECIPIENT,), CATEGORIES)
        return self._batch(person, said, scope, State.WITHDRAWN, Flag(0), language)

    def object(self, person: Person, said: Sequence[Said], language: str) -> RecordBatch:
        """An objection to every use; it stays until the person allows something again."""
        scope = Scope(PURPOSES, (EVERY_RECIPIENT,), CATEGORIES)
        return self._batch(person, said, scope, UNCHANGED, Flag.OBJECTED, language)

    def _batch(
        self, person: Person, said: Sequence[Said], scope: Scope, state: int, flags: Flag,
        language: str,
    ) -> RecordBatch:  # fmt: skip
        subjects = np.frombuffer(b"".join(person.subjects), np.uint8).reshape(-1, 32)
        before = [_previous(subject, said, scope) for subject in person.subjects]
        n = len(subjects)
        return new_batch(
            subjects,
            person.key_version,
            (scope,),
            np.zeros(n, np.uint32),
            np.full(n, state, np.uint8),
            "portal",
            self.now_ms() // _MINUTE * _MINUTE,
            self.random,
            terms=(Terms(notice=self.notice(language), method="switch", default_off=True),),
            actor="person",
            flags=np.full(n, flags, np.uint8),
            revisions=np.array([1 + one.revision if one else 1 for one in before], np.uint32),
            previous=np.frombuffer(
                b"".join(one.record_id if one else bytes(16) for one in before), np.uint8
            ).reshape(n, 16),
        )


def _previous(subject: bytes, said: Sequence[Said], scope: Scope) -> Said | None:
    """The record that a new one of this scope follows: the last one of the same scope."""
    for event in reversed(said):
        same = event.scope.purposes == scope.purposes and event.scope.recipients == scope.recipients
        if event.subject == subject and same:
            return event
    return None


def _find(person: Person, said: Sequence[Said], purpose: str, recipient: str, now_ms: int) -> Row:
    for row in rows(person, said, now_ms):
        if (row.purpose, row.recipient) == (purpose, recipient):
            return row
    raise Refused(
        "unknown_permission", "there is no such permission at this party", stage="portal",
        next_step="load the page again",
    )  # fmt: skip
