"""A file of consents that is handed over once: each of its rows a record with its own proof.

Who runs it: a node, for `assent consent import`.  Learns: the party, its own file; the consent
service learns the new records' pseudonyms and salted digests of their proofs.

Unlike the file that party.yaml names (consent.importing), this one takes nothing back by
leaving it out, and no later file takes back what it says.  Two rows for one person and use: the
stricter wins, as everywhere.  A list never undoes a no that is in the log already, nor an erasure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from consent.purposes import NO_RECORD, PERMITTING, WILDCARD_STATES, State
from consent.records import RecordBatch, new_batch
from consent.standing import Standing
from consent.state_machine import LEGAL
from consent.subjects import SubjectIndex
from consent.terms import Scope, Terms

U8 = npt.NDArray[np.uint8]
Rows = npt.NDArray[np.intp]
_PERMITTING = [int(state) for state in PERMITTING]
_NO = [int(state) for state in WILDCARD_STATES]


@dataclass(frozen=True)
class BulkRows:
    """n usable rows.  subjects: uint8[n, 32].  codes: int64[n] into scopes (of one cell each)
    and terms.  times_ms, valid_until_ms: int64[n], 0 for no end."""

    subjects: U8
    scopes: tuple[Scope, ...]
    scope_codes: npt.NDArray[np.int64]
    terms: tuple[Terms, ...]
    terms_codes: npt.NDArray[np.int64]
    states: U8
    times_ms: npt.NDArray[np.int64]
    valid_until_ms: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.states)


@dataclass(frozen=True)
class Bulk:
    """What is to be logged.  rows: of the file, one per record.

    repeated: rows that another row of the file outdid.  held: rows that say what holds already.
    refused_before: permits for people whose no is in the log, or whose records were erased, left
    out for that reason.
    """

    batch: RecordBatch
    rows: Rows
    repeated: int
    held: int
    refused_before: int


def bulk_records(
    found: BulkRows,
    log: Iterable[RecordBatch],
    key_version: int,
    now_ms: int,
    random: Callable[[int], bytes],
    erased: Callable[[U8], npt.NDArray[np.bool_]] | None = None,
) -> Bulk:
    """The records that `found` adds to `log`; none when it is imported again.

    erased: of tokens, whose records were erased.
    """
    index, who = SubjectIndex.numbering(found.subjects)
    standing = Standing(index)
    for batch in log:
        standing.add(batch)
    rows = _one_each(found, who)
    now = np.zeros(len(rows), dtype=np.uint8)
    for code, scope in enumerate(found.scopes):
        (cell,) = scope.cells()
        about = found.scope_codes[rows] == code
        now[about] = standing.states(cell)[who[rows[about]]]
    wanted = found.states[rows]
    permits = np.isin(wanted, _PERMITTING)
    said = _said(wanted, now)
    held = wanted == now
    refused_before = permits & np.isin(now, _NO)
    if erased is not None:
        fresh = np.flatnonzero(permits & (now == NO_RECORD))
        refused_before[fresh] = erased(found.subjects[rows[fresh]])
    kept = ~held & ~refused_before & (said != NO_RECORD)
    # In the order of the pseudonyms: two companies' files are often sorted alike, and the places
    # of their records in two logs must not say who is the same person.
    order = np.argsort(who[rows[kept]], kind="stable")
    chosen = rows[kept][order]
    states = said[kept][order]
    ends = np.where(np.isin(states, _PERMITTING), found.valid_until_ms[chosen], 0)
    return Bulk(
        new_batch(
            found.subjects[chosen],
            key_version,
            found.scopes,
            found.scope_codes[chosen].astype(np.uint32),
            states,
            "bulk",
            now_ms,
            random,
            terms=found.terms,
            terms_codes=found.terms_codes[chosen],
            times_ms=found.times_ms[chosen],
            valid_until_ms=ends,
        ),
        chosen,
        len(found) - len(rows),
        int(held.sum()),
        int(refused_before.sum()),
    )


def _said(wanted: U8, now: U8) -> U8:
    """`wanted`, or what of it may follow `now` (consent.state_machine): a renewal of what no
    longer stands is a new grant, a permit that the list ends otherwise expires; else nothing."""
    said = wanted.copy()
    stuck = ~LEGAL[now, wanted]
    permits = np.isin(wanted, _PERMITTING)
    said[stuck & permits] = State.GIVEN
    said[stuck & ~permits] = np.where(
        np.isin(now[stuck & ~permits], _PERMITTING), State.EXPIRED, NO_RECORD
    )
    return said


def _one_each(found: BulkRows, who: npt.NDArray[np.int32]) -> Rows:
    """One row per person and use, the first of those with the strictest state, in file order."""
    keys = who.astype(np.int64) * max(len(found.scopes), 1) + found.scope_codes
    order = np.lexsort((np.arange(len(keys)), -found.states.astype(np.int64), keys))
    first = np.ones(len(keys), dtype=bool)
    first[1:] = keys[order][1:] != keys[order][:-1]
    return np.sort(order[first])
