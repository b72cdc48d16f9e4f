"""A node follows its consent service to new logs: what its own copy says is said again there.

Who runs it: a node started with --new-log, after the operator began new logs (`assent consent
migrate`).  Only the owner says so: a service that could do it would make everybody's no undone.
Learns: the consent service learns this party's records again, under new pseudonyms.

The copy is what this node has verified, so that also what the old log lost is not lost.  Records
keep their ids, times and order; their pseudonyms are made for the new log.  Of people who are in
the table no more nobody can say the new pseudonym, and no row of theirs could be used.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from consent.log_database import failing_closed
from consent.port import ConsentPort
from consent.pseudonyms import Pseudonyms
from consent.records import U8, RecordBatch, joined
from consent.replica import Replica
from consent.subjects import SubjectIndex
from consent.trust import Trust, base_of
from party_node.consent_gate import REPLICA, NodeGate, replica_at
from party_node.row_subjects import Identifiers, tokens_of
from protocol.secret import Secret

_OLD = ".old.sqlite"
Prefixes = npt.NDArray[np.uint64]


async def set_aside(
    folder: Path, party: str, trust: Trust, storage: Secret, port: ConsentPort
) -> None:
    """Moves the copy of a log that the service no longer shows out of the way, for `carry`.

    Nothing when the service shows the log that this node knows, or when it knows none.
    """
    path = folder / REPLICA
    if not path.exists():
        return
    replica = replica_at(path, party, trust, storage)
    try:
        head = await asyncio.to_thread(replica.head)
    finally:
        replica.close()
    if head is None or (await port.hello()).origin == head.origin:
        return
    with failing_closed():
        raw = sqlite3.connect(path)
        try:
            raw.execute("PRAGMA journal_mode=DELETE")  # all of it in this one file
        finally:
            raw.close()
    path.replace(folder / f"{path.stem}.{base_of(head.origin)}{_OLD}")


def waiting(folder: Path) -> Path | None:
    """The copy that was set aside and not yet carried over."""
    return next(iter(sorted(folder.glob(f"*{_OLD}"))), None)


async def carry(
    gate: NodeGate,
    folder: Path,
    trust: Trust,
    storage: Secret,
    kinds: Sequence[str],
    identifiers: Identifiers,
    renamed: Callable[[Prefixes, Prefixes], None],
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> None:
    """Logs what the copy set aside says; before anybody else can say something in the new log.

    kinds, identifiers: of the table.  renamed: `JobHistory.renamed`.  Killed in between, it goes
    on where it was at the next start.
    """
    path = waiting(folder)
    if path is None:
        return
    now = gate.lookup.pseudonyms
    old = replica_at(path, now.party, trust, storage)
    try:
        head = await asyncio.to_thread(old.head)
        assert head is not None  # else it would not have been set aside
        names = await asyncio.to_thread(
            _Names.of, replace(now, origin=head.origin), now, kinds, identifiers
        )
        await asyncio.to_thread(renamed, names.index.prefixes, _prefixes(names.new))
        await gate.import_records(
            lambda pseudonyms, log: _missing(names.renamed(_said(old)), log), progress
        )
    finally:
        old.close()
    path.unlink()  # later erasures would not reach it


class _Names:
    """index: the old pseudonyms of the table's people.  new: uint8[n, 32], theirs now."""

    def __init__(self, index: SubjectIndex, new: U8) -> None:
        self.index, self.new = index, new

    @classmethod
    def of(
        cls, old: Pseudonyms, new: Pseudonyms, kinds: Sequence[str], identifiers: Identifiers
    ) -> _Names:
        before, after = (
            np.concatenate([tokens_of(one, kind, identifiers)[1] for kind in kinds])
            for one in (old, new)
        )
        index, codes = SubjectIndex.numbering(before)
        tokens = np.zeros((len(index), before.shape[1]), np.uint8)
        tokens[codes] = after
        return cls(index, tokens)

    def renamed(self, batches: Iterable[RecordBatch]) -> RecordBatch:
        """The records of the table's people, in their order."""
        found = []
        for batch in batches:
            who = self.index.find(batch.subjects)
            rows = np.flatnonzero(who >= 0)
            found.append(replace(batch.take(rows), subjects=self.new[who[rows]]))
        return joined(found)


def _said(old: Replica) -> Iterable[RecordBatch]:
    """What the log said, and denials at the counter that it never got."""
    yield from old.batches()
    yield from old.overlaid()


def _missing(batch: RecordBatch, log: Iterable[RecordBatch]) -> RecordBatch:
    """Each record once, without those that the new log has.

    A denial at the counter may be there under its old pseudonym, which no row has: before the
    owner's word this node sent it to a service that was no longer the one it knew.  It is said
    again under an id that is the same at every try.
    """
    held = joined(list(log))
    clash = np.isin(_key(batch.record_ids), _key(held.record_ids)) & ~_within(batch, held)
    ids = batch.record_ids.copy()
    ids[clash, -1] ^= 1
    batch = replace(batch, record_ids=ids)
    _, first = np.unique(_key(ids), return_index=True)
    once = np.zeros(len(ids), dtype=bool)
    once[first] = True
    return batch.take(np.flatnonzero(once & ~_within(batch, held)))


def _within(batch: RecordBatch, held: RecordBatch) -> npt.NDArray[np.bool_]:
    """Which records `held` has, of the same pseudonym."""
    found: npt.NDArray[np.bool_] = np.isin(
        _key(batch.record_ids, batch.subjects), _key(held.record_ids, held.subjects)
    )
    return found


def _key(*columns: U8) -> npt.NDArray[np.bytes_]:
    """Each row's bytes as one value.  All are of one length, so padding hides nothing."""
    rows = np.ascontiguousarray(np.concatenate(columns, axis=1))
    found: npt.NDArray[np.bytes_] = rows.view(f"S{rows.shape[1]}").ravel()
    return found


def _prefixes(tokens: U8) -> Prefixes:
    return np.ascontiguousarray(tokens[:, :8]).view("<u8").ravel().astype(np.uint64)
