"""All logs of the consent service: one per party, one for jobs, each with its writer.

Who runs it: the consent service, one process; tests run it in theirs.
Learns: see proto/consent.proto.

A record becomes one event; the log's leaf commits to its body, which lies in the erasable
store.  What is answered is in the tree, signed, and cosigned by a quorum; a denial is taken
without a quorum as well ("proof pending").
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from consent.bundle import Source, bundle_lines, end_line
from consent.leaf import JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED, Event, read_body
from consent.log import Log
from consent.log_files import LogFile, LogFiles
from consent.log_sql import SqlLog, SqlOpenings, origins
from consent.log_writer import Cosigner, LogWriter, Pace
from consent.log_writer import Recorded as Written
from consent.port import Entry, Head, JobEvent, Recorded, ReplicaPage, SubjectEvent
from consent.purposes import PERMITTING, State
from consent.record_check import RecordCheck
from consent.records import BATCH_ROWS, ID_BYTES, RecordBatch, record_ids
from consent.replaced import ForgettingOpenings, Replaced
from consent.trust import AUDITOR, Trust, base_of, consent_origin, jobs_origin, log_signer
from protocol.errors import ProtocolViolation
from protocol.identity import Keys

PAGE, PAGE_BYTES = 2_048, 4 << 20  # entries of some 700 bytes; under gRPC's limit in any case
JOB_TYPES = (JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED)
_PERMITTING = np.isin(np.arange(max(State) + 1), list(PERMITTING))  # by state


@dataclass(frozen=True)
class Places:
    """Where the two databases are, by URL.  They may be of different kinds."""

    tree: str
    openings: str

    @classmethod
    def in_folder(cls, folder: Path, tree: str = "", openings: str = "") -> Places:
        """Files in `folder`, where no other place is given."""
        return cls(
            tree or f"sqlite:///{folder}/log.sqlite",
            openings or f"sqlite:///{folder}/openings.sqlite",
        )


@dataclass(frozen=True)
class _Open:
    """One log at work."""

    storage: SqlLog
    openings: SqlOpenings
    log: Log
    writer: LogWriter
    files: LogFiles


class Ledger:
    """Blocking; safe from several threads.  One per databases: a second one stops the first."""

    def __init__(
        self,
        places: Places,
        keys: Keys,
        trust: Trust,
        parties: Sequence[str],
        cosigners: Mapping[str, Cosigner],
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        pace: Pace | None = None,
        replaced: Replaced | None = None,
    ) -> None:
        """cosigners: witness name → how it is reached.  clock: POSIX seconds.
        replaced: logs that these took the place of, where people are erased as well.

        random: salts, and the name of the logs when they are new: a log made anew must never
        pass for the one that was lost.
        """
        self._clock = clock
        self._random = random
        self._listeners: list[Callable[[str], None]] = []
        known = {base for origin in origins(places.tree) if (base := base_of(origin))}
        base = min(known) if known else random(8).hex()
        self._consent = {party: consent_origin(base, party) for party in parties}
        self.jobs = jobs_origin(base)
        self._name = keys.card.name
        self._logs: dict[str, _Open] = {}
        self._lock = threading.Lock()
        pace = pace or Pace()
        self._heartbeat = pace.heartbeat
        for party, origin in (*self._consent.items(), ("", self.jobs)):
            storage = SqlLog(places.tree, origin)
            openings = ForgettingOpenings(places.openings, origin, replaced or Replaced(()))
            log = Log(storage, openings, log_signer(keys, origin), clock, random)
            writer = LogWriter(
                log, list(cosigners.values()), trust.policy(origin), clock, pace,
                on_published=lambda origin=origin: self._published(origin),  # type: ignore[misc]
                make_events=RecordCheck(party, log, openings) if party else None,
            )  # fmt: skip
            self._logs[origin] = _Open(storage, openings, log, writer, LogFiles(storage))
            writer.start()

    def close(self) -> None:
        for one in self._logs.values():
            one.writer.close()
            one.storage.close()
            one.openings.close()

    # -- reading ---------------------------------------------------------------------------

    @property
    def origins(self) -> tuple[str, ...]:
        return tuple(self._logs)

    def consent_log(self, party: str) -> str:
        """The name of the consent log of `party`."""
        return self._consent[party]

    def head(self, origin: str) -> Head:
        return Head(origin, self._logs[origin].writer.published.note, self._clock())

    def listen(self, heard: Callable[[str], None]) -> Callable[[], None]:
        """`heard` is called, in some thread, with the origin of every new checkpoint.

        Returns what ends it.
        """
        with self._lock:
            self._listeners.append(heard)

        def stop() -> None:
            with self._lock:
                self._listeners.remove(heard)

        return stop

    def _published(self, origin: str) -> None:
        with self._lock:
            listeners = list(self._listeners)
        for heard in listeners:
            heard(origin)

    def page(self, origin: str, since: int, limit: int = PAGE) -> ReplicaPage:
        """At most `limit` entries from index `since` on; none at the head.

        A page ends where a checkpoint does, if one lies in it, so that a reader who is cut
        off keeps what it has checked.
        """
        one = self._logs[origin]
        published = one.writer.published
        size = published.checkpoint.size
        if since >= size:
            # A reader that holds more than this log has compares heads and says so.
            return ReplicaPage(since, (), published.note)
        end, note = min(size, since + limit), ""
        if end == size:
            note = published.note
        elif (found := one.storage.checkpoint_between(since, end)) is not None:
            end, note = found
        stored = {each.index: each.opening for each in one.openings.read(since, end)}
        entries: list[Entry] = []
        size = 0
        for place, leaf in enumerate(one.storage.entries(since, end), start=since):
            opening = stored.get(place)
            size += len(leaf) + (len(opening.body) if opening else 0)
            if entries and size > PAGE_BYTES:
                return ReplicaPage(since, tuple(entries), "")
            entries.append(Entry(leaf, opening))
        return ReplicaPage(since, tuple(entries), note)

    def renewed(self, origin: str) -> Future[Written] | None:
        """Asks for new cosignatures when those of the head are older than a heartbeat.

        The writer does it by itself every heartbeat; a reader who asks at the wrong moment, or
        whose clock jumped, need not wait for that.
        """
        time = self._logs[origin].writer.published.quorum_time
        if time is not None and self._clock() - time < self._heartbeat:
            return None
        return self._logs[origin].writer.submit((), needs_quorum=False)

    def proof(self, origin: str, index: int) -> str:
        log = self._logs[origin].log
        if not 0 <= index < log.size:
            raise ProtocolViolation("bad_proof", f"the log has no entry {index}", stage="consent")
        return log.prove(index)

    def file(self, origin: str, path: str) -> LogFile | None:
        """A static file of the log (tlog-tiles); None when there is no such file."""
        found = self._logs.get(origin)
        return None if found is None else found.files.get(path)

    def bundle(self, reader: str) -> Iterator[bytes]:
        """Lines of the bundle for `reader`: a party's own consent log and the job log with its
        own openings; everything for the auditor."""
        digest, count = hashlib.sha256(), 0
        for line in bundle_lines(self._sources(reader)):
            digest.update(line)
            count += 1
            yield line
        yield end_line(count, digest.hexdigest())

    def origins_for(self, reader: str) -> list[str]:
        """The logs of which `reader`, a party or the auditor, may have a bundle."""
        own = [one for party, one in self._consent.items() if reader in (party, AUDITOR)]
        return [*own, self.jobs]

    def _sources(self, reader: str) -> Iterator[Source]:
        for party, origin in self._consent.items():
            if reader in (party, AUDITOR):
                yield self._source(origin, (party,))
        readers = tuple(self._consent) if reader == AUDITOR else (reader,)
        # What the service says for itself, which old log this one replaces, everybody may read.
        yield self._source(self.jobs, (*readers, self._name))

    def _source(self, origin: str, parties: tuple[str, ...]) -> Source:
        one = self._logs[origin]
        # What is being cosigned just now is not in it: that head would seem to lack its quorum.
        size = one.writer.published.checkpoint.size
        return Source(origin, one.storage, one.openings, parties, size)

    # -- writing ---------------------------------------------------------------------------

    def append(self, party: str, batch: RecordBatch) -> Future[Written]:
        """Logs the records of `batch` in the log of `party`, once however often it comes.

        Does not block.  What cannot follow what was said before is refused in the answer.
        """
        if len(batch) > BATCH_ROWS:
            raise ProtocolViolation("bad_record", f"a batch has over {BATCH_ROWS} records")
        permits = bool(_PERMITTING[batch.states].any())
        return self._of(party).writer.submit_records(batch, needs_quorum=permits)

    def log_job(self, party: str, event: JobEvent) -> Future[Written]:
        """Logs what `party` says about a job; see `consent.job_record` for the body."""
        if event.type not in JOB_TYPES or len(event.id) != ID_BYTES:
            raise ProtocolViolation("bad_record", "not a statement about a job", stage="consent")
        if read_body(event.body).get("id") != event.id.hex():
            raise ProtocolViolation("bad_record", "a statement names another id", stage="consent")
        made = Event(party, event.type, event.id, event.body)
        # A job is admitted only when witnesses see it; how it ended is never lost for their sake.
        needs = event.type == JOB_ADMITTED
        return self._logs[self.jobs].writer.submit([made], needs_quorum=needs)

    def subject(self, party: str, subject: bytes) -> tuple[SubjectEvent, ...]:
        """The events about one person that can still be opened, with proofs under one head."""
        one = self._of(party)
        found = []
        for index in one.openings.of_subject(subject):
            (stored,) = one.openings.read(index, index + 1)
            if stored.opening is not None and index < one.log.size:
                (leaf,) = one.storage.entries(index, index + 1)
                found.append(SubjectEvent(index, leaf, stored.opening, one.log.prove(index)))
        return tuple(found)

    def erase(self, party: str, subject: bytes) -> Future[Written]:
        """Erases the openings of every entry about `subject`; logs first which ones."""
        one = self._of(party)
        indexes = [index for index in one.openings.of_subject(subject) if index < one.log.size]
        if not indexes:
            raise ProtocolViolation(
                "nothing_to_erase", "the ledger has nothing about this person", stage="consent"
            )
        id = record_ids(1, int(self._clock() * 1000), self._random)[0].tobytes()
        return one.writer.erase(party, id, indexes)

    def _of(self, party: str) -> _Open:
        return self._logs[self._consent[party]]


def recorded(origin: str, written: Written) -> Recorded:
    return Recorded(origin, written.indexes, written.checkpoint, written.proof_pending)
