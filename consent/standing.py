"""What the log says of each subject and use: one small number each, folded as the log grows.

Who runs it: every node, over its replica, and imports.  Learns: the party, its own records.

A *cell* is a (purpose, recipient, category).  Cells that every scope so far covers alike have
one history, so they share one array; an array is split when a scope first tells its cells
apart.  So ten million people with one record about everything take ten megabytes, not 42 times
as much, and the log's events themselves need not be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
import numpy.typing as npt

from consent.purposes import (
    CATEGORIES,
    EVERY_RECIPIENT,
    FLAG_PAIRS,
    PERMITTING,
    PURPOSES,
    REASONS,
    State,
)
from consent.records import RecordBatch
from consent.subjects import Cell, Codes, SubjectIndex
from consent.terms import NoticeRef, Scope

U8 = npt.NDArray[np.uint8]
Seconds = npt.NDArray[np.uint32]

NEVER = np.iinfo(np.uint32).max  # no end, or one after the year 2106
# A subject's number: the state in four bits, then one bit each.
_STATE = 0x0F
_FLAGS = (0x10, 0x20)  # objected, restricted: in the order of FLAG_PAIRS
_OUTDATED = 0x40

# What holds, by strictness: no record, the permits, then the reasons from the mildest on.
EFFECTS = ("no_record", *(state.word for state in PERMITTING), *reversed(REASONS[:-1]))
PERMITS = tuple(EFFECTS.index(state.word) for state in PERMITTING)
_EXPIRED = EFFECTS.index("expired")


def _effect_of(code: int) -> int:
    """The strictest of what a subject's number says, the end of its validity aside."""
    state = code & _STATE
    holds = EFFECTS.index(State(state).word) if 0 < state <= max(State) else 0
    if code & _OUTDATED and holds in PERMITS:
        holds = EFFECTS.index("notice_outdated")
    for bit, (flag, _) in zip(_FLAGS, FLAG_PAIRS, strict=True):
        if code & bit:
            holds = max(holds, EFFECTS.index(flag.word))
    return holds


_EFFECT = np.array([_effect_of(code) for code in range(256)], dtype=np.uint8)


def no_notice_is_outdated(notice: NoticeRef) -> bool:
    return False


class Group:
    """The subjects' numbers for some cells.  The extra last place is "no subject", index -1."""

    def __init__(self, subjects: int) -> None:
        self.codes = np.zeros(subjects + 1, dtype=np.uint8)
        self.until: Seconds | None = None  # seconds since 1970; made when the first end is said

    def copy(self) -> Group:
        made = Group(0)
        made.codes = self.codes.copy()
        made.until = None if self.until is None else self.until.copy()
        return made

    def effects(self, subjects: Codes | slice, now: int) -> U8:
        """Places in `EFFECTS` of these subjects at `now`, in seconds since 1970."""
        found: U8 = _EFFECT[self.codes[subjects]]
        if self.until is not None:
            ended = self.until[subjects] <= now
            np.maximum(found, _EXPIRED * ended.astype(np.uint8), out=found)
        return found

    def apply(self, who: Codes, states: U8, flags: U8, until: Seconds, outdated: U8) -> None:
        """Events in their order.  With a repeated index numpy keeps the last, the later one."""
        said = states > 0
        people = who[said]
        kept = self.codes[people] & np.uint8(_FLAGS[0] | _FLAGS[1])
        self.codes[people] = kept | states[said] | outdated[said]
        if self.until is None and (until[said] != NEVER).any():
            self.until = np.full(len(self.codes), NEVER, dtype=np.uint32)
        if self.until is not None:
            self.until[people] = until[said]
        for bit, (begins, ends) in zip(_FLAGS, FLAG_PAIRS, strict=True):
            about = (flags & np.uint8(begins | ends)) != 0
            if about.any():
                people = who[about]
                on = ((flags[about] & np.uint8(begins)) != 0).astype(np.uint8) * np.uint8(bit)
                self.codes[people] = (self.codes[people] & np.uint8(0xFF ^ bit)) | on


class Standing:
    """What holds for the subjects of one index; grows with the log."""

    def __init__(
        self,
        subjects: SubjectIndex,
        outdated: Callable[[NoticeRef], bool] = no_notice_is_outdated,
    ) -> None:
        """outdated: `consent.notices.Notices.is_outdated`; what it raises, `add` raises."""
        self.index = subjects
        self._outdated = outdated
        self.groups = [Group(len(subjects))]
        # EVERY_RECIPIENT stands for whoever no record has named yet.
        self._group_of: dict[Cell, int] = {
            (purpose, EVERY_RECIPIENT, category): 0
            for purpose, category in product(PURPOSES, CATEGORIES)
        }
        self._recipients = {EVERY_RECIPIENT}
        self._covered: dict[Scope, frozenset[int]] = {}

    def group_of(self, cell: Cell) -> int:
        """Number of the cell's group in `groups`; another one after the log tells it apart."""
        purpose, recipient, category = cell
        if recipient not in self._recipients:
            recipient = EVERY_RECIPIENT
        return self._group_of[purpose, recipient, category]

    def states(self, cell: Cell) -> U8:
        """uint8[subjects + 1]: the last state said of the cell, 0 where none; the last is 0."""
        found: U8 = self.groups[self.group_of(cell)].codes & np.uint8(_STATE)
        return found

    def add(self, batch: RecordBatch) -> Codes:
        """Adds the events about known subjects; returns whom they are about, repetitions too.

        All of the batch or, if a notice is unknown, nothing.
        """
        terms = np.array([self._is_outdated(one.notice) for one in batch.terms], dtype=np.uint8)
        who = self.index.find(batch.subjects)
        rows = np.flatnonzero(who >= 0)
        who = who[rows]
        if not len(rows):
            return who
        scope_codes, states = batch.scope_codes[rows], batch.states[rows]
        flags = batch.flags[rows]
        seconds = batch.valid_until_ms[rows] // 1000
        until = np.where(seconds == 0, NEVER, np.minimum(seconds, NEVER)).astype(np.uint32)
        outdated = terms[batch.terms_codes[rows]]
        used = [batch.scopes[code] for code in np.unique(scope_codes)]
        for scope in used:
            self._tell_apart(scope)
        numbers = {code: batch.scopes[code] for code in np.unique(scope_codes).tolist()}
        for group in set().union(*(self._groups_of(scope) for scope in used)):
            covers = np.zeros(len(batch.scopes), dtype=bool)
            covers[[code for code, scope in numbers.items() if group in self._groups_of(scope)]] = 1
            about = covers[scope_codes]
            self.groups[group].apply(
                who[about], states[about], flags[about], until[about], outdated[about]
            )
        return who

    def _is_outdated(self, notice: NoticeRef | None) -> int:
        return _OUTDATED if notice is not None and self._outdated(notice) else 0

    def _tell_apart(self, scope: Scope) -> None:
        """From here on every group lies inside `scope` or outside."""
        for name in set(scope.recipients) - self._recipients:
            self._recipients.add(name)
            for purpose, category in product(PURPOSES, CATEGORIES):
                self._group_of[purpose, name, category] = self.group_of(
                    (purpose, EVERY_RECIPIENT, category)
                )
            self._covered.clear()
        if scope in self._covered:
            return
        inside: dict[int, list[Cell]] = {}
        outside: set[int] = set()
        for cell, group in self._group_of.items():
            if scope.covers(*cell):
                inside.setdefault(group, []).append(cell)
            else:
                outside.add(group)
        for group in outside & set(inside):
            self.groups.append(self.groups[group].copy())
            for cell in inside[group]:
                self._group_of[cell] = len(self.groups) - 1
            self._covered.clear()
        self._groups_of(scope)

    def _groups_of(self, scope: Scope) -> frozenset[int]:
        if scope not in self._covered:
            self._covered[scope] = frozenset(
                group for cell, group in self._group_of.items() if scope.covers(*cell)
            )
        return self._covered[scope]
