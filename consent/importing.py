"""Turning a company's consent file into events: only what the file changed is said again.

Who runs it: a node, at start and whenever its consent file changes.
Learns: the party, its own file; the consent service learns the new events' pseudonyms.

A file states what holds; the log wants events.  So a file is compared with what earlier
imports said, not with what holds now: a withdrawal taken at the counter is not undone by a
file that still says `given`, and a crash in the middle of an import is finished by the next.
A permit that vanished from the file ends (`expired`): its source no longer stands for it.
Of somebody whose records were erased the log says nothing; no file permits for them again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from consent.pseudonyms import Pseudonyms
from consent.purposes import (
    CATEGORIES,
    CHANNELS,
    EVERY_RECIPIENT,
    NO_RECORD,
    PERMITTING,
    PURPOSES,
    STATE_OF_WORD,
    State,
)
from consent.records import BATCH_ROWS, RecordBatch, new_batch
from consent.standing import Standing
from consent.state_machine import LEGAL
from consent.subjects import Cell, Codes, SubjectIndex
from consent.terms import Scope
from protocol.errors import BadInput

U8 = npt.NDArray[np.uint8]
_SOURCES = [CHANNELS.index(word) + 1 for word in ("import", "declaration")]
_PERMITTING = [int(state) for state in PERMITTING]


@dataclass(frozen=True)
class Statements:
    """What a file says: n statements, repetitions resolved to the stricter.

    subjects: uint8[n, 32].  scope_codes: int64[n] into scopes.  states: uint8[n].
    """

    channel: str
    scopes: tuple[Scope, ...]
    subjects: U8
    scope_codes: npt.NDArray[np.int64]
    states: U8

    def __len__(self) -> int:
        return len(self.states)


def statements_of_file(
    pseudonyms: Pseudonyms,
    kind: str,
    ids: pa.StringArray,
    purposes: pa.StringArray,
    recipients: pa.StringArray,
    categories: pa.StringArray,
    statuses: pa.StringArray,
) -> Statements:
    """n rows of a consent file; rows whose canonical identifier is null are left out.

    Two rows for one identifier, purpose, recipient and category: the stricter wins
    (contracts.md).  Raises BadInput for an unknown status, ProtocolViolation for other words.
    """
    usable = pc.is_valid(ids)
    people, who = _encoded(ids.filter(usable))
    (purpose_words, p), (recipient_words, r), (category_words, c) = (
        _words(column.filter(usable)) for column in (purposes, recipients, categories)
    )
    if EVERY_RECIPIENT in recipient_words:
        raise BadInput("a consent file names its recipients one by one, not '*'")
    # The combinations that occur, each a scope of one cell.
    flat = (p * len(recipient_words) + r) * len(category_words) + c
    used, scope_codes = np.unique(flat, return_inverse=True)
    rest, c = np.divmod(used, max(len(category_words), 1))
    p, r = np.divmod(rest, max(len(recipient_words), 1))
    scopes = tuple(
        Scope((purpose_words[i],), (recipient_words[j],), (category_words[k],))
        for i, j, k in zip(p, r, c, strict=True)
    )
    status_words, status_codes = _words(statuses.filter(usable))
    for word in status_words:
        if word not in STATE_OF_WORD:
            raise BadInput(
                f"{word!r} is not a consent status", next_step="use " + ", ".join(STATE_OF_WORD)
            )
    said = np.array([int(STATE_OF_WORD[word]) for word in status_words], np.uint8)[status_codes]
    keys, states = _strictest(who * max(len(scopes), 1) + scope_codes, said)
    number, scope = np.divmod(keys, max(len(scopes), 1))
    return Statements("import", scopes, pseudonyms.tokens(kind, people)[number], scope, states)


def statements_of_everyone(tokens: U8, recipients: Iterable[str]) -> Statements:
    """`consents: all`: each token permits every purpose and category to the named parties."""
    n = len(tokens)
    scope = Scope(PURPOSES, tuple(recipients), CATEGORIES)
    return Statements(
        "declaration", (scope,), tokens, np.zeros(n, np.int64), np.full(n, State.GIVEN, np.uint8)
    )


@dataclass(frozen=True)
class Changes:
    """Events in the order in which they are to be said, as columns of numbers.

    A record is a hundred and thirty bytes and an event nine, so records are made a piece at a
    time: the import of ten million people holds one piece of them.
    subjects: int32[n] into `index`.  scope_codes: uint32[n] into `scopes`.  states: uint8[n].
    """

    index: SubjectIndex
    scopes: tuple[Scope, ...]
    subjects: Codes
    scope_codes: npt.NDArray[np.uint32]
    states: U8
    channel: str
    key_version: int
    now_ms: int
    random: Callable[[int], bytes]

    def __len__(self) -> int:
        return len(self.states)

    def pieces(self, rows: int = BATCH_ROWS) -> Iterator[RecordBatch]:
        """The records, at most `rows` at a time; called twice it makes other ones."""
        for start in range(0, len(self), rows):
            piece = slice(start, start + rows)
            yield new_batch(
                self.index.tokens(self.subjects[piece]),
                self.key_version,
                self.scopes,
                self.scope_codes[piece],
                self.states[piece],
                self.channel,
                self.now_ms,
                self.random,
                before=start,
            )


def changes(
    stated: Statements,
    log: Iterable[RecordBatch],
    key_version: int,
    now_ms: int,
    random: Callable[[int], bytes],
    erased: Callable[[U8], npt.NDArray[np.bool_]] | None = None,
) -> Changes:
    """The events that make the imports of `log` say what `stated` says; none if they do.

    erased: of tokens, whose records were erased.
    """
    batches = [batch for batch in log if len(batch)]
    known_people = [stated.subjects, *(b.subjects for b in batches)]
    index = SubjectIndex(np.concatenate(known_people) if batches else stated.subjects)
    del known_people
    imported, every = Standing(index), Standing(index)
    scopes: dict[Scope, None] = dict.fromkeys(stated.scopes)
    for batch in batches:
        listed = _imported(batch)
        scopes |= dict.fromkeys(listed.scopes[code] for code in np.unique(listed.scope_codes))
        imported.add(listed)
        every.add(batch)
    who = index.find(stated.subjects)
    known = tuple(scopes)
    # Cells of which log and file say the same share their arrays: most often there are one or
    # two such histories, of some forty cells.
    alike: dict[tuple[object, ...], tuple[U8, U8, U8]] = {}
    fresh: list[tuple[U8, npt.NDArray[np.bool_]]] = []
    first: dict[Cell, U8] = {}
    then: dict[Cell, U8] = {}
    holds: dict[Cell, U8] = {}
    for cell in sorted({cell for scope in known for cell in scope.cells()}):
        about = tuple(scope.covers(*cell) for scope in stated.scopes)
        history = (imported.group_of(cell), every.group_of(cell), about)
        if history not in alike:
            now = every.states(cell)[:-1]
            wanted = np.zeros(len(index), dtype=np.uint8)
            rows = np.array(about, dtype=bool)[stated.scope_codes]
            wanted[who[rows]] = stated.states[rows]
            change = _change(wanted, imported.states(cell)[:-1], now)
            fresh.append((change, np.isin(change, _PERMITTING) & (now == NO_RECORD)))
            alike[history] = (
                _granted_first(change, now), change,
                np.where(wanted == now, now, np.uint8(NO_RECORD)),
            )  # fmt: skip
        first[cell], then[cell], holds[cell] = alike[history]
    if erased is not None and fresh:
        _leave_out(fresh, index, erased)
    said = _Said([], [], [])
    for new in (first, then):
        _say(new, holds, known, said)
    return said.changes(index, stated.channel, key_version, now_ms, random)


def _granted_first(change: U8, now: U8) -> U8:
    """What must be said before `change` so that the log may hold it (consent.state_machine).

    Changes `change` where nothing can lead to it.  A file that says `renewed` of somebody whose
    permit had ended gives it anew.  Of two ways of saying no the one that came first stays.
    """
    first = np.zeros(len(change), dtype=np.uint8)
    stuck = ~LEGAL[now, change]
    permits = np.isin(change, _PERMITTING)
    first[stuck & permits] = State.GIVEN
    change[stuck & ~permits] = np.where(
        np.isin(now[stuck & ~permits], _PERMITTING), State.EXPIRED, NO_RECORD
    )
    return first


def _change(wanted: U8, before: U8, now: U8) -> U8:
    """State to be said per subject, 0 for nothing.

    wanted: what the file says.  before: what imports said.  now: what holds, from any channel.
    """
    permit_wanted, permit_now = np.isin(wanted, _PERMITTING), np.isin(now, _PERMITTING)
    said = (wanted != NO_RECORD) & (wanted != before)
    # A list that speaks of somebody for the first time does not undo what the person said
    # elsewhere; only a change in the list (given to renewed, say) is newer than that.
    said &= ~(permit_wanted & (before == NO_RECORD) & (now != NO_RECORD) & ~permit_now)
    change = np.where(said, wanted, np.uint8(NO_RECORD))
    gone = (wanted == NO_RECORD) & np.isin(before, _PERMITTING) & permit_now
    change[gone] = State.EXPIRED
    return change


def _leave_out(
    fresh: list[tuple[U8, npt.NDArray[np.bool_]]],
    index: SubjectIndex,
    erased: Callable[[U8], npt.NDArray[np.bool_]],
) -> None:
    """fresh: changes, and where each permits what nothing is known of: only that is asked."""
    people = np.flatnonzero(np.logical_or.reduce([where for _, where in fresh]))
    gone = np.zeros(len(index), dtype=np.bool_)
    gone[people] = erased(index.tokens(people))
    for change, where in fresh:
        change[where & gone] = NO_RECORD


@dataclass(frozen=True)
class _Said:
    """Runs of events: whom each is about, its scope and its state."""

    people: list[Codes]
    scopes: list[Scope]
    states: list[State]

    def changes(
        self, index: SubjectIndex, channel: str, key_version: int, now_ms: int,
        random: Callable[[int], bytes],
    ) -> Changes:  # fmt: skip
        sizes = [len(run) for run in self.people]
        different = tuple(dict.fromkeys(self.scopes))
        codes = np.array([different.index(scope) for scope in self.scopes], dtype=np.uint32)
        return Changes(
            index, different,
            np.concatenate([np.zeros(0, np.int32), *self.people]),
            np.repeat(codes, sizes),
            np.repeat(np.array(self.states, dtype=np.uint8), sizes),
            channel, key_version, now_ms, random,
        )  # fmt: skip


def _say(new: dict[Cell, U8], holds: dict[Cell, U8], known: Iterable[Scope], said: _Said) -> None:
    """The changes as few events: in known scopes, in those for one recipient, in single cells.

    new: what is to be said per subject, taken out as it is said.  holds: what the file says and
    what holds already, so that an event may say it again; of any other cell an event would say
    something new.  Cells that share an array of `new` share one of `holds`.
    """
    widest = sorted(known, key=lambda scope: -len(list(scope.cells())))
    narrower = (
        Scope(scope.purposes, (name,), scope.categories)
        for scope in widest
        for name in scope.recipients
    )
    single = (Scope((cell[0],), (cell[1],), (cell[2],)) for cell in new)
    for scope in dict.fromkeys((*widest, *narrower, *single)):
        cells = list(scope.cells())
        different = list({id(new[cell]): (new[cell], holds[cell]) for cell in cells}.values())
        present = np.bincount(np.concatenate([wanted for wanted, _ in different]))
        for state in State:
            if state >= len(present) or not present[state]:
                continue
            wants = np.logical_or.reduce([wanted == state for wanted, _ in different])
            for wanted, held in different:
                wants &= (wanted == state) | (held == state)
            people = np.flatnonzero(wants).astype(np.int32)
            if not len(people):
                continue
            for wanted in _apart(new, cells):
                wanted[people] = NO_RECORD
            different = list({id(new[cell]): (new[cell], holds[cell]) for cell in cells}.values())
            said.people.append(people)
            said.scopes.append(scope)
            said.states.append(state)


def _apart(new: dict[Cell, U8], cells: list[Cell]) -> list[U8]:
    """The arrays of `cells`, which from here on they share with no other cell."""
    inside = set(cells)
    shared = {id(wanted) for cell, wanted in new.items() if cell not in inside}
    mine: dict[int, U8] = {}
    for cell in cells:
        wanted = new[cell]
        if id(wanted) in shared:
            new[cell] = mine.setdefault(id(wanted), wanted.copy())
        else:
            mine[id(wanted)] = wanted
    return list(mine.values())


def _imported(batch: RecordBatch) -> RecordBatch:
    return batch.take(np.flatnonzero(np.isin(batch.channels, _SOURCES)))


def _strictest(keys: npt.NDArray[np.int64], states: U8) -> tuple[npt.NDArray[np.int64], U8]:
    """The different keys, each with the largest of its states."""
    if not len(keys):
        return keys, states
    order = np.argsort(keys, kind="stable")
    ordered = keys[order]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    return ordered[starts], np.maximum.reduceat(states[order], starts)


def _encoded(column: pa.StringArray) -> tuple[pa.StringArray, npt.NDArray[np.int64]]:
    """The different values and, per row, which."""
    encoded = column.dictionary_encode()
    codes = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return encoded.dictionary, codes


def _words(column: pa.StringArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    values, codes = _encoded(column)
    return values.to_pylist(), codes
