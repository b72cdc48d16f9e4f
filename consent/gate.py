"""The consent gate: which rows of a table may take part in a job (protocols.md section 6).

Who runs it: every node, before the first byte leaves, and again while a job runs.
Learns: the party, about its own rows.  Nothing leaves from here.

A row takes part if, for every other party and every category read, its person's last record
is `given` or `renewed`.  No record means no.  A row may carry several identifiers, each a
subject with records of its own: the strictest of them holds for the row.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from consent.policy import CheckedCheckpoint
from consent.purposes import CATEGORIES, NO_RECORD, PURPOSES, State
from consent.replica import Replica
from consent.subjects import Cell, Codes, Events, SubjectIndex

# The states that exclude, the strictest first: a row is counted under the first that it has.
_DENYING = tuple(sorted((state for state in State if not state.permits), reverse=True))


@dataclass(frozen=True)
class RowSubjects:
    """Which subjects a table's rows carry.

    index: all their tokens.  columns: one int32[rows] per identifier type and key version,
    the subject's number or -1.
    """

    index: SubjectIndex
    columns: tuple[Codes, ...]
    rows: int


@dataclass(frozen=True)
class Eligibility:
    """rows: numbers of the rows that may be used.  excluded: reason → number of other rows."""

    rows: BitMap
    excluded: Mapping[str, int]

    def __repr__(self) -> str:
        return f"Eligibility(rows={len(self.rows)}, excluded={dict(self.excluded)})"


@dataclass(frozen=True)
class _CellRows:
    """Rows of one (purpose, recipient, category): those that permit, and the denials by state."""

    permit: BitMap
    denied: Mapping[State, BitMap]


class Gate:
    """Bitmaps over the row numbers of one table, kept up to date with a replica.

    Blocking; safe from several threads.
    """

    def __init__(self, replica: Replica, subjects: RowSubjects) -> None:
        self._replica = replica
        self._subjects = subjects
        self._all = BitMap()
        self._all.add_range(0, subjects.rows)
        self._events = Events(subjects.index)
        self._applied = 0
        self._erasures = replica.erasures()
        self._cells: dict[Cell, _CellRows] = {}
        self._lock = threading.RLock()

    def require_fresh(self, now: float) -> CheckedCheckpoint:
        """The head that decides; raises Refused ('consent_stale' …) unless it may at `now`."""
        return self._replica.require_fresh(now)

    def eligible(
        self, purpose: str, recipients: Sequence[str], categories: Sequence[str], now: float
    ) -> Eligibility:
        """The rows whose people permit `purpose` to every recipient for every category.

        A job that reads no category needs a permit for any one, per recipient.
        """
        # 1. The question is one that records can answer.
        if purpose not in PURPOSES or not set(categories) <= set(CATEGORIES) or not recipients:
            raise ValueError("the gate needs a known purpose, known categories and a recipient")
        # 2. The copy of the records is whole, consistent and young enough.
        self.require_fresh(now)
        with self._lock:
            # The overlay first: what leaves it in this moment is in the log that is read after.
            overlay = self._overlay_events()
            self._catch_up()
            # 3. One requirement per recipient and category, or per recipient.
            groups = [
                [(purpose, recipient, category)]
                for recipient in recipients
                for category in categories
            ] or [[(purpose, recipient, any_) for any_ in CATEGORIES] for recipient in recipients]
            judged = [[self._judge(cell, overlay) for cell in group] for group in groups]
        # 4. All requirements hold.
        permits = [_union([cell.permit for cell in group]) for group in judged]
        rows = reduce(lambda left, right: left & right, permits, self._all)
        # 5. Every other row is counted once, under its strictest reason.
        rest = self._all - rows
        excluded = {}
        for state in _DENYING:
            denied = _union(
                [
                    _union([cell.denied[state] for cell in group]) - permit
                    for group, permit in zip(judged, permits, strict=True)
                ]
            )
            excluded[state.word] = rest.intersection_cardinality(denied)
            rest -= denied
        excluded["no_record"] = len(rest)
        return Eligibility(rows, {reason: count for reason, count in excluded.items() if count})

    # -- bitmaps ---------------------------------------------------------------------------

    def _catch_up(self) -> None:
        """Takes in what the replica received since; forgets the bitmaps that it touches."""
        if (erasures := self._replica.erasures()) != self._erasures:
            # Events were made of records that no longer exist: they are read anew without them.
            self._erasures, self._applied = erasures, 0
            self._events, self._cells = Events(self._subjects.index), {}
        for self._applied, batch in self._replica.pages(self._applied):
            for scope in self._events.add(batch):
                for cell in [cell for cell in self._cells if scope.covers(*cell)]:
                    del self._cells[cell]

    def _overlay_events(self) -> Events:
        """Denials that are not in the log yet."""
        events = Events(self._subjects.index)
        for batch in self._replica.overlaid():
            events.add(batch)
        return events

    def _judge(self, cell: Cell, overlay: Events) -> _CellRows:
        if any(scope.covers(*cell) for scope in overlay.scopes):
            # Few and short-lived: worked out each time, on top of the log, never kept.
            states = np.maximum(self._events.states(cell), overlay.states(cell))
            return self._rows_of(states)
        if cell not in self._cells:
            self._cells[cell] = self._rows_of(self._events.states(cell))
        return self._cells[cell]

    def _rows_of(self, states: npt.NDArray[np.uint8]) -> _CellRows:
        strictest = np.full(self._subjects.rows, NO_RECORD, dtype=np.uint8)
        for column in self._subjects.columns:
            np.maximum(strictest, states[column], out=strictest)
        return _CellRows(
            _union([_bitmap(strictest == state) for state in State if state.permits]),
            {state: _bitmap(strictest == state) for state in _DENYING},
        )


def _bitmap(rows: npt.NDArray[np.bool_]) -> BitMap:
    return BitMap(array("I", np.flatnonzero(rows).astype(np.uint32).tobytes()))


def _union(parts: Sequence[BitMap]) -> BitMap:
    return BitMap.union(*parts) if len(parts) > 1 else parts[0]
