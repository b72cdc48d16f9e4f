"""A node follows its consent service to new logs: what its own copy says is said again there.

Who runs it: a node started with --new-log, after the operator began new logs (`assent consent
migrate`).  Only the owner says so: a service that could do it would make everybody's no undone.
Learns: the consent service learns this party's records again, under new pseudonyms.

The copy is what this node has verified, so that also what the old log lost is not lost.  Records
keep their ids, times and order; their pseudonyms are made for the new log.  Of people who are in
the table no more nobody can say the new pseudonym; their records wait (party_node.left_behind)
until the table, a file of consents, the counter or the portal names them, and are said before
anything else is said of them.  So do what they had asked the company for, and that they were
erased (party_node.rights_requests).
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from consent.log_database import failing_closed
from consent.port import ConsentPort
from consent.pseudonyms import Pseudonyms
from consent.purposes import UNCHANGED, WILDCARD_STATES, Flag
from consent.records import U8, RecordBatch, joined
from consent.replica import Replica
from consent.subjects import SubjectIndex
from consent.trust import Trust, base_of
from party_node.consent_gate import NodeGate
from party_node.left_behind import PATTERN, LeftBehind
from party_node.own_copy import REPLICA, replica_at
from party_node.rights_requests import RightsRequests
from protocol.secret import Secret

_OLD = ".old.sqlite"
_SETS = np.uint8(Flag.OBJECTED | Flag.RESTRICTED)
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


@dataclass(frozen=True)
class EarlierLogs:
    """What this node knows from logs that are no more, about people not yet met again.

    requests: what they had asked for, and of whom was erased.  renamed: `JobHistory.renamed`.
    """

    gate: NodeGate
    port: ConsentPort
    folder: Path
    trust: Trust
    storage: Secret
    requests: RightsRequests
    renamed: Callable[[Prefixes, Prefixes], None]
    _left: dict[str, LeftBehind] = field(default_factory=dict)
    _one: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def carry(
        self,
        table: Mapping[str, pa.StringArray],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        """Logs what earlier logs said of the table's people; before anybody else can say something.

        table: by identifier type, nulls where a row has none.  Killed in between, it goes on
        where it was at the next start.
        """
        people = {kind: pc.drop_null(ids) for kind, ids in table.items()}
        for path in sorted(self.folder.glob(f"*{_OLD}")):
            await self._carry_copy(path, people, progress)
        for path in sorted(self.folder.glob(PATTERN)):
            left = await asyncio.to_thread(LeftBehind, path, self._party, self.storage)
            self._left[left.origin] = left
        await self._met(people, progress)
        self.gate.met = self.met

    async def met(self, kind: str, ids: pa.StringArray) -> None:
        """Somebody is about to say something of these people, or to ask; canonical, no nulls."""
        await self._met({kind: ids})

    def close(self) -> None:
        for left in self._left.values():
            left.close()

    @property
    def _party(self) -> str:
        return self.gate.lookup.pseudonyms.party

    async def _carry_copy(
        self, path: Path, people: Mapping[str, pa.StringArray], progress: Callable[[int, int], None]
    ) -> None:
        """Everything of the copy that was set aside: to the new log, or to what is left behind."""
        old = replica_at(path, self._party, self.trust, self.storage)
        try:
            head = await asyncio.to_thread(old.head)
            assert head is not None  # else it would not have been set aside
            await asyncio.to_thread(self.requests.of_earlier_log, head.origin)
            names = await asyncio.to_thread(self._names, head.origin, people)
            await self._say(names, lambda: _said(old), progress)
            await asyncio.to_thread(
                LeftBehind.keep, self.folder, head.origin, names.others(_said(old)), self._party,
                self.storage,
            )  # fmt: skip
            await asyncio.to_thread(self.renamed, names.index.prefixes, _prefixes(names.new))
        finally:
            old.close()
        path.unlink()  # later erasures would not reach it

    async def _met(
        self,
        people: Mapping[str, pa.StringArray],
        progress: Callable[[int, int], None] = lambda done, total: None,
    ) -> None:
        origins = await asyncio.to_thread(self.requests.earlier_logs)
        for origin in sorted({*self._left, *origins}):
            names = await asyncio.to_thread(self._names, origin, people)
            old = names.index.tokens(np.arange(len(names.index)))
            # Nobody else waits for a ledger that somebody who was away has to wait for.
            if self._is_left(origin, old):
                async with self._one:
                    if self._is_left(origin, old):
                        await self._carry_left(self._left[origin], names, progress)
            await asyncio.to_thread(self.requests.renamed, origin, old, names.new)

    def _is_left(self, origin: str, old: U8) -> bool:
        left = self._left.get(origin)
        return left is not None and bool((left.people.find(old) >= 0).any())

    async def _carry_left(
        self, left: LeftBehind, names: _Names, progress: Callable[[int, int], None]
    ) -> None:
        await self._say(names, left.batches, progress)
        await asyncio.to_thread(self.renamed, names.index.prefixes, _prefixes(names.new))
        await asyncio.to_thread(left.forget, names.index)
        if not len(left.people):
            left.close()
            left.remove()
            del self._left[left.origin]

    async def _say(
        self, names: _Names, said: Callable[[], Iterable[RecordBatch]],
        progress: Callable[[int, int], None],
    ) -> None:  # fmt: skip
        old: list[bytes] = []

        def make(_: Pseudonyms, log: Iterable[RecordBatch]) -> RecordBatch:
            held = names.about(log)
            under_old = names.index.find(held.subjects) >= 0
            old.extend(map(bytes, np.unique(held.subjects[under_old], axis=0)))
            return _missing(names, said(), held)

        await self.gate.import_records(make, progress)
        if old:
            moving = np.frombuffer(b"".join(old), np.uint8).reshape(len(old), -1)
            await asyncio.to_thread(self.requests.moving, moving)
        for subject in old:  # said again; there nobody who asks for erasure would find it
            await self.port.erase(subject)
        if old:
            await self.gate.sync()

    def _names(self, origin: str, people: Mapping[str, pa.StringArray]) -> _Names:
        now = self.gate.lookup.pseudonyms
        return _Names.of(replace(now, origin=origin), now, people)


class _Names:
    """index: the old pseudonyms of some people.  new: uint8[n, 32], theirs now."""

    def __init__(self, index: SubjectIndex, new: U8) -> None:
        self.index, self.new = index, new

    @classmethod
    def of(cls, old: Pseudonyms, new: Pseudonyms, people: Mapping[str, pa.StringArray]) -> _Names:
        before, after = (
            np.concatenate([one.tokens(kind, ids) for kind, ids in people.items()])
            for one in (old, new)
        )
        index, codes = SubjectIndex.numbering(before)
        tokens = np.zeros((len(index), before.shape[1]), np.uint8)
        tokens[codes] = after
        return cls(index, tokens)

    def renamed(self, batches: Iterable[RecordBatch]) -> RecordBatch:
        """The records of these people, in their order."""
        found = []
        for batch in batches:
            who = self.index.find(batch.subjects)
            rows = np.flatnonzero(who >= 0)
            found.append(replace(batch.take(rows), subjects=self.new[who[rows]]))
        return joined(found)

    def about(self, log: Iterable[RecordBatch]) -> RecordBatch:
        """Their records, under pseudonyms of either log."""
        now = SubjectIndex(self.new)
        found = []
        for batch in log:
            theirs = (now.find(batch.subjects) >= 0) | (self.index.find(batch.subjects) >= 0)
            found.append(batch.take(np.flatnonzero(theirs)))
        return joined(found)

    def others(self, batches: Iterable[RecordBatch]) -> Iterable[RecordBatch]:
        """The records of everybody else."""
        for batch in batches:
            yield batch.take(np.flatnonzero(self.index.find(batch.subjects) < 0))


def _said(old: Replica) -> Iterable[RecordBatch]:
    """What the log said, and denials at the counter that it never got."""
    yield from old.batches()
    yield from old.overlaid()


def _missing(names: _Names, said: Iterable[RecordBatch], held: RecordBatch) -> RecordBatch:
    """Each record once, under the new pseudonyms, without those that the new log has.

    held: what the new log says of these people.  Something may be there under an old pseudonym,
    which no row has: a denial at the counter or in the portal, before the owner's word.  It is
    said again under an id that is the same at every try.
    """
    batch = names.renamed([*said, held])
    clash = np.isin(_key(batch.record_ids), _key(held.record_ids)) & ~_within(batch, held)
    taken = _key(batch.record_ids[clash])
    ids, previous = batch.record_ids.copy(), batch.previous.copy()
    ids[clash, -1] ^= 1
    previous[np.isin(_key(previous), taken), -1] ^= 1
    batch = replace(batch, record_ids=ids, previous=previous)
    _, first = np.unique(_key(ids), return_index=True)
    once = np.zeros(len(ids), dtype=bool)
    once[first] = True
    batch = _after(batch.take(np.flatnonzero(once)), held)
    return batch.take(np.flatnonzero(~_within(batch, held)))


def _after(batch: RecordBatch, held: RecordBatch) -> RecordBatch:
    """Of people of whom the new log has heard already only the earlier no: what they said since
    must not be outdone by an older yes, and a no that it may have ended is asked about again."""
    since = held.take(np.flatnonzero(~np.isin(_key(held.record_ids), _key(batch.record_ids))))
    heard = np.isin(_key(batch.subjects), _key(since.subjects))
    no = np.isin(batch.states, [int(state) for state in WILDCARD_STATES])
    against = (batch.states == UNCHANGED) & (batch.flags < Flag.OBJECTION_ENDED)
    kept = np.flatnonzero(~heard | no | against)
    batch, heard = batch.take(kept), heard[kept]
    # They follow what was left out, so each begins a chain of its own.
    return replace(
        batch,
        flags=np.where(heard, batch.flags & _SETS, batch.flags),
        revisions=np.where(heard, np.uint32(1), batch.revisions),
        previous=np.where(heard[:, np.newaxis], np.uint8(0), batch.previous),
    )


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
