"""Which state may follow which: the table, one step of it, and a whole batch at once.

Who runs it: the consent service before it logs a batch (`check_batch`); the auditor over every
record of a bundle (`check`); the portal to offer what is possible (`allowed`).  Pure.
Learns: nobody more than the records say.  consent.md, "Record".

Each person has one state per (purpose, recipient, category); an event moves all that its scope
covers.  The table is about what cannot honestly have happened, not about what is wise: a "no"
(refused, withdrawn, revoked) may follow anything, because no rule may stand between a person
and a no; saying the same again is allowed, because messages arrive twice.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from consent.purposes import EVERY_RECIPIENT, UNCHANGED, State
from consent.records import RecordBatch, joined
from consent.subjects import Cell, SubjectIndex
from protocol.errors import ProtocolViolation

_NO = {State.REFUSED, State.WITHDRAWN, State.REVOKED}
# A log may begin in the middle of a history that an older system kept.
_ANYTHING = frozenset(State)

TRANSITIONS: Mapping[State | None, frozenset[State]] = {
    None: _ANYTHING,
    State.UNKNOWN: _ANYTHING,
    State.REQUESTED: frozenset(
        _NO | {State.REQUESTED, State.GIVEN, State.DEFERRED, State.EXPIRED, State.INVALIDATED}
    ),
    State.DEFERRED: frozenset(
        _NO | {State.DEFERRED, State.REQUESTED, State.GIVEN, State.EXPIRED, State.INVALIDATED}
    ),
    State.GIVEN: frozenset(
        _NO | {State.GIVEN, State.RENEWED, State.REQUESTED, State.EXPIRED, State.INVALIDATED}
    ),
    State.RENEWED: frozenset(
        _NO | {State.RENEWED, State.GIVEN, State.REQUESTED, State.EXPIRED, State.INVALIDATED}
    ),
    State.EXPIRED: frozenset(
        _NO | {State.EXPIRED, State.GIVEN, State.RENEWED, State.REQUESTED, State.INVALIDATED}
    ),
    # There is nothing to renew after these: only a new grant makes a permit.
    State.INVALIDATED: frozenset(_NO | {State.INVALIDATED, State.GIVEN, State.REQUESTED}),
    State.REFUSED: frozenset(_NO | {State.GIVEN, State.REQUESTED}),
    State.WITHDRAWN: frozenset(_NO | {State.GIVEN, State.REQUESTED, State.INVALIDATED}),
    State.REVOKED: frozenset(_NO | {State.GIVEN, State.REQUESTED, State.INVALIDATED}),
}
# bool[before, after] by `State` value; 0: no record before, no change after.
LEGAL = np.zeros((len(State) + 1, len(State) + 1), dtype=bool)
LEGAL[:, UNCHANGED] = True
for _before, _after in TRANSITIONS.items():
    LEGAL[_before or 0, [int(state) for state in _after]] = True


def allowed(before: State | None) -> frozenset[State]:
    """The states that may follow `before`; None: no record yet."""
    return TRANSITIONS[before]


def check(before: State | None, after: State) -> None:
    """Raises ProtocolViolation('illegal_transition') if `after` cannot follow `before`."""
    if after not in TRANSITIONS[before]:
        assert before is not None  # anything may be the first
        raise _illegal(f"{after.word} cannot follow {before.word}")


def check_batch(earlier: RecordBatch, batch: RecordBatch) -> None:
    """Raises ProtocolViolation('illegal_transition') unless all of `batch` may be logged.

    earlier: every event of the log about the subjects of `batch`, in order; others do no harm.
    Events of `batch` that are in `earlier`, sent again, are passed over.
    """
    again = np.isin(_ids(batch.record_ids), _ids(earlier.record_ids))
    fresh = batch.take(np.flatnonzero(~again))
    if not len(fresh):
        return
    index = SubjectIndex(fresh.subjects)
    about_them = index.find(earlier.subjects) >= 0
    whole = joined([earlier.take(np.flatnonzero(about_them)), fresh])
    first_new = len(whole) - len(fresh)
    who = index.find(whole.subjects)
    if illegal := _illegal_steps(whole, who, first_new):
        row, (before, after) = min(illegal.items())
        raise _illegal(
            f"record {row - first_new + 1} of {len(fresh)} new ones says {after.word} "
            f"after {before.word}"
        )
    _check_links(whole, who, first_new)


def illegal_steps(batch: RecordBatch) -> dict[int, tuple[State, State]]:
    """Every row of a whole log that cannot follow what was said before: (before, after)."""
    return _illegal_steps(batch, SubjectIndex(batch.subjects).find(batch.subjects), 0)


def _illegal_steps(
    whole: RecordBatch, who: npt.NDArray[np.int32], first_new: int
) -> dict[int, tuple[State, State]]:
    found: dict[int, tuple[State, State]] = {}
    for cell in _different_cells(whole):
        covering = np.array([scope.covers(*cell) for scope in whole.scopes], dtype=bool)
        rows = np.flatnonzero(covering[whole.scope_codes] & (whole.states != UNCHANGED))
        rows = rows[np.argsort(who[rows], kind="stable")]
        states = whole.states[rows]
        before = np.zeros(len(rows), np.uint8)
        same = who[rows][1:] == who[rows][:-1]
        before[1:][same] = states[:-1][same]
        for one in np.flatnonzero(~LEGAL[before, states] & (rows >= first_new)):
            found.setdefault(int(rows[one]), (State(before[one]), State(states[one])))
    return found


def _check_links(whole: RecordBatch, who: npt.NDArray[np.int32], first_new: int) -> None:
    """What says that it follows a record follows one of the same person, as the next revision."""
    ids = _ids(whole.record_ids)
    order = np.argsort(ids, kind="stable")
    rows = first_new + np.flatnonzero(whole.revisions[first_new:] > 1)
    if not len(rows):
        return
    wanted = _ids(whole.previous)[rows]
    place = np.searchsorted(ids[order], wanted).clip(max=len(order) - 1)
    found = order[place]
    right = (
        (ids[found] == wanted)
        & (found < rows)
        & (who[found] == who[rows])
        & (whole.revisions[found].astype(np.int64) + 1 == whole.revisions[rows])
    )
    if not right.all():
        number = int(rows[np.argmin(right)]) - first_new + 1
        raise _illegal(
            f"record {number} of {len(whole) - first_new} new ones does not follow the record "
            "that it names"
        )


def _different_cells(batch: RecordBatch) -> list[Cell]:
    """One cell of each set of scopes that covers any: cells covered alike have one history."""
    names = {name for scope in batch.scopes for name in scope.recipients} - {EVERY_RECIPIENT}
    found: dict[tuple[bool, ...], Cell] = {}
    for purpose in {word for scope in batch.scopes for word in scope.purposes}:
        for category in {word for scope in batch.scopes for word in scope.categories}:
            # EVERY_RECIPIENT stands for whoever is not named anywhere.
            for name in (*names, EVERY_RECIPIENT):
                cell = (purpose, name, category)
                found.setdefault(tuple(scope.covers(*cell) for scope in batch.scopes), cell)
    return list(found.values())


def _ids(rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.bytes_]:
    # Sorts and compares as the bytes do: all are of one length, so padding hides nothing.
    found: npt.NDArray[np.bytes_] = np.ascontiguousarray(rows).view("S16").ravel()
    return found


def _illegal(cause: str) -> ProtocolViolation:
    return ProtocolViolation(
        "illegal_transition",
        cause,
        stage="consent",
        next_step="look at the person's history and record what really happened",
    )
