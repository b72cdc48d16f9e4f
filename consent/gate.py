"""The consent gate: which rows of a table may take part in a job (protocols.md section 6).

Who runs it: every node, before the first byte leaves, and again while a job runs.
Learns: the party, about its own rows.  Nothing leaves from here.

A row takes part if, for every other party and every category read, its person's last record
is `given` or `renewed`, has not ended, stands under a notice that still holds, and nobody
objects to it or has it restricted.  No record means no.  A row may carry several identifiers,
each a subject with records of its own: the strictest of them holds for the row.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from consent.policy import CheckedCheckpoint
from consent.purposes import CATEGORIES, PURPOSES, REASONS
from consent.replica import Replica
from consent.standing import EFFECTS, PERMITS, Group, Standing, no_notice_is_outdated
from consent.subjects import Cell, Codes, SubjectIndex
from consent.terms import NoticeRef
from protocol.errors import ProtocolViolation, Refused

# The effects that exclude, the strictest first: a row is counted under the first that it has.
_DENYING = tuple(EFFECTS.index(reason) for reason in REASONS[:-1])
# With more changed rows than this share, making bitmaps anew is quicker than changing them.
_FEW = 0.01
_AHEAD = 3600  # seconds


@dataclass(frozen=True)
class RowSubjects:
    """Which subjects a table's rows carry.

    index: all their tokens.  columns: one int32[rows] per identifier type and key version,
    the subject's number or -1.
    """

    index: SubjectIndex
    columns: tuple[Codes, ...]
    rows: int

    def with_any(self, subjects: Codes) -> Codes:
        """Numbers of the rows that carry one of `subjects`."""
        wanted = np.zeros(len(self.index) + 1, dtype=bool)
        wanted[subjects] = True
        hit = np.zeros(self.rows, dtype=bool)
        for column in self.columns:
            hit |= wanted[column]
        return np.flatnonzero(hit).astype(np.int32)

    def keys(self) -> npt.NDArray[np.uint64]:
        """uint64[kinds, rows]: the first eight bytes of each token, 0 for none."""
        found = np.append(self.index.prefixes, np.uint64(0))
        return found[np.stack(self.columns)]


@dataclass(frozen=True)
class Eligibility:
    """rows: numbers of the rows that may be used.  excluded: reason → number of other rows."""

    rows: BitMap
    excluded: Mapping[str, int]

    def __repr__(self) -> str:
        return f"Eligibility(rows={len(self.rows)}, excluded={dict(self.excluded)})"


@dataclass(frozen=True)
class _CellRows:
    """Rows by effect, for the cells of one group.  Rows without a record are in none."""

    by_effect: Mapping[int, BitMap]

    @property
    def permit(self) -> BitMap:
        return _union([self.by_effect[effect] for effect in PERMITS])


@dataclass(frozen=True)
class _Ending:
    """Subjects of a group whose permit ends after `at` and before `horizon`, in seconds.

    Looked for once an hour, so that a question looks at a few people and not at all of them.
    """

    subjects: Codes
    at: int
    horizon: int


class Gate:
    """Bitmaps over the row numbers of one table, kept up to date with a replica.

    Blocking; safe from several threads.
    """

    def __init__(
        self,
        replica: Replica,
        subjects: RowSubjects,
        outdated: Callable[[NoticeRef], bool] = no_notice_is_outdated,
    ) -> None:
        """outdated: `Notices.is_outdated` of the party's notices; what it raises, an unknown
        notice, makes every question from then on refused: the gate stays shut."""
        self._replica = replica
        self._subjects = subjects
        self._all = BitMap()
        self._all.add_range(0, subjects.rows)
        self._outdated = outdated
        self._standing = Standing(subjects.index, outdated)
        self._applied = 0
        self._erasures = replica.erasures()
        self._kept: dict[int, _CellRows] = {}  # by group of `_standing`
        self._ending: dict[int, _Ending] = {}
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
            overlay = self._overlay()
            self._catch_up(int(now))
            # 3. One requirement per recipient and category, or per recipient.
            groups = [
                [(purpose, recipient, category)]
                for recipient in recipients
                for category in categories
            ] or [[(purpose, recipient, any_) for any_ in CATEGORIES] for recipient in recipients]
            self._let_end({cell for group in groups for cell in group}, int(now))
            judged = [[self._judge(cell, overlay, int(now)) for cell in group] for group in groups]
        # 4. All requirements hold.
        permits = [_union([cell.permit for cell in group]) for group in judged]
        rows = reduce(lambda left, right: left & right, permits, self._all)
        # 5. Every other row is counted once, under its strictest reason.
        rest = self._all - rows
        excluded = {}
        for effect in _DENYING:
            denied = _union(
                [
                    _union([cell.by_effect[effect] for cell in group]) - permit
                    for group, permit in zip(judged, permits, strict=True)
                ]
            )
            excluded[EFFECTS[effect]] = rest.intersection_cardinality(denied)
            rest -= denied
        excluded["no_record"] = len(rest)
        return Eligibility(rows, {reason: count for reason, count in excluded.items() if count})

    # -- bitmaps ---------------------------------------------------------------------------

    def _catch_up(self, now: int) -> None:
        """Takes in what the replica received since; brings the kept bitmaps up to date."""
        if (erasures := self._replica.erasures()) != self._erasures:
            # Some of it was said by records that no longer exist: all is read anew without them.
            self._erasures, self._applied = erasures, 0
            self._standing = Standing(self._subjects.index, self._outdated)
            self._forget()
        touched = [np.zeros(0, np.int32)]
        for applied, batch in self._replica.pages(self._applied):
            try:
                people = self._standing.add(batch)
            except ProtocolViolation as error:
                self._forget()  # what was touched before this batch is not in the bitmaps
                raise Refused(
                    error.info.code,
                    error.info.cause,
                    stage="consent",
                    next_step=error.info.next_step,
                ) from error
            self._applied = applied
            if self._kept:
                touched.append(people)
                if sum(map(len, touched)) > _FEW * self._subjects.rows:
                    self._forget()
        people = np.concatenate(touched)
        if len(people) and self._kept:
            rows = self._subjects.with_any(people)
            for number in list(self._kept):
                self._change(number, rows, now)
                self._watch(number, people, now)

    def _forget(self) -> None:
        self._kept.clear()
        self._ending.clear()

    def _change(self, number: int, rows: Codes, now: int) -> None:
        """The kept bitmaps of a group, after something changed for `rows` alone."""
        kept = self._kept[number]
        effects = self._effects(self._standing.groups[number], rows, now)
        self._kept[number] = _CellRows(_moved(kept.by_effect, rows, effects))

    def _watch(self, number: int, people: Codes, now: int) -> None:
        """Looks at the ends that were said anew of `people`."""
        until = self._standing.groups[number].until
        if until is None:
            return
        ending = self._ending[number]
        soon = people[(until[people] > now) & (until[people] < ending.horizon)]
        if len(soon):
            everybody = np.unique(np.concatenate([ending.subjects, soon]))
            self._ending[number] = replace(ending, subjects=everybody)

    def _let_end(self, cells: set[Cell], now: int) -> None:
        """Moves the rows whose permits ended by themselves since the last question."""
        ended: dict[int, Codes] = {}
        for number in {self._standing.group_of(cell) for cell in cells}:
            until = self._standing.groups[number].until
            if until is None or number not in self._kept:
                continue
            ending = self._ending[number]
            if now >= ending.horizon:
                soon = np.flatnonzero((until > ending.at) & (until < now + _AHEAD))
                ending = _Ending(soon.astype(np.int32), ending.at, now + _AHEAD)
            over = until[ending.subjects] <= now
            if over.any():
                ended[number] = ending.subjects[over]
            self._ending[number] = _Ending(ending.subjects[~over], now, ending.horizon)
        if ended:
            rows = self._subjects.with_any(np.concatenate(list(ended.values())))
            for number in ended:
                self._change(number, rows, now)

    def _judge(self, cell: Cell, overlay: Standing | None, now: int) -> _CellRows:
        number = self._standing.group_of(cell)
        group = self._standing.groups[number]
        if number not in self._kept:
            self._kept[number] = _CellRows(_bitmaps(self._effects(group, slice(None), now)))
            self._ending[number] = _Ending(np.zeros(0, np.int32), now, now)
        kept = self._kept[number]
        return kept if overlay is None else self._overlaid(kept, group, cell, overlay, now)

    def _overlay(self) -> Standing | None:
        """Denials that are not in the log yet: few and short-lived, so never kept."""
        batches = self._replica.overlaid()
        if not batches:
            return None
        tokens = np.concatenate([batch.subjects for batch in batches])
        overlay = Standing(SubjectIndex(tokens), self._outdated)
        for batch in batches:
            overlay.add(batch)
        return overlay

    def _overlaid(
        self, kept: _CellRows, group: Group, cell: Cell, overlay: Standing, now: int
    ) -> _CellRows:
        """`kept` with the stricter of log and overlay for the rows that the overlay is about."""
        index = overlay.index
        here = self._subjects.index.find(index.tokens(np.arange(len(index))))
        said = np.zeros(len(self._subjects.index) + 1, dtype=np.uint8)
        known = here >= 0
        effects = overlay.groups[overlay.group_of(cell)].effects(slice(None), now)[:-1]
        said[here[known]] = effects[known]
        rows = self._subjects.with_any(here[known])
        stricter = self._effects(group, rows, now)
        for column in self._subjects.columns:
            np.maximum(stricter, said[column[rows]], out=stricter)
        return _CellRows(_moved(kept.by_effect, rows, stricter))

    def _effects(self, group: Group, rows: Codes | slice, now: int) -> npt.NDArray[np.uint8]:
        """The strictest effect of each row's subjects at `now`."""
        by_subject = group.effects(slice(None), now) if isinstance(rows, slice) else None
        count = self._subjects.rows if isinstance(rows, slice) else len(rows)
        strictest = np.zeros(count, dtype=np.uint8)
        for column in self._subjects.columns:
            who = column[rows]
            found = group.effects(who, now) if by_subject is None else by_subject[who]
            np.maximum(strictest, found, out=strictest)
        return strictest


def _bitmaps(effects: npt.NDArray[np.uint8]) -> dict[int, BitMap]:
    return {effect: _bitmap(effects == effect) for effect in (*PERMITS, *_DENYING)}


def _moved(
    by_effect: Mapping[int, BitMap], rows: Codes, effects: npt.NDArray[np.uint8]
) -> dict[int, BitMap]:
    """`by_effect` with each of `rows` under its new effect."""
    moving = BitMap(array("I", rows.astype(np.uint32).tobytes()))
    return {
        effect: (bitmap - moving)
        | BitMap(array("I", rows[effects == effect].astype(np.uint32).tobytes()))
        for effect, bitmap in by_effect.items()
    }


def _bitmap(rows: npt.NDArray[np.bool_]) -> BitMap:
    return BitMap(array("I", np.flatnonzero(rows).astype(np.uint32).tobytes()))


def _union(parts: Sequence[BitMap]) -> BitMap:
    return BitMap.union(*parts) if len(parts) > 1 else parts[0]
