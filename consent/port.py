"""What others need of the consent service, without saying how it is reached.

Who runs it: nodes (`ConsentPort`) and the people's portal (`PortalPort`), over gRPC or in one
process (tests).  Errors are those of `protocol.errors`.
Learns: see proto/consent.proto.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from consent.leaf import Opening
from consent.records import RecordBatch


@dataclass(frozen=True)
class Head:
    """What a log published last.

    origin: the log's name, for its life.  checkpoint: the signed note, with cosignatures.
    Nothing in it is to be believed before `consent.policy.check_checkpoint` has seen it.
    time: the service's clock in POSIX seconds, for `assent doctor` only.
    """

    origin: str
    checkpoint: str
    time: float = 0.0


@dataclass(frozen=True)
class Entry:
    """One leaf of a log as it was hashed.  opening: None where it was erased."""

    leaf: bytes
    opening: Opening | None

    def __repr__(self) -> str:  # bodies stay out of logs
        return f"Entry(opening={self.opening is not None})"


@dataclass(frozen=True)
class ReplicaPage:
    """A run of entries.

    first: index of the first one, from 0.  checkpoint: a note over the tree that ends with this
    page; empty when more pages must come before one can be checked.
    """

    first: int
    entries: tuple[Entry, ...]
    checkpoint: str


@dataclass(frozen=True)
class Recorded:
    """What was logged where.

    indexes: one per event, in their order.  checkpoint: the note that covers them all.
    proof_pending: they are in the log, but no quorum of witnesses has seen them yet.
    """

    origin: str
    indexes: tuple[int, ...]
    checkpoint: str
    proof_pending: bool


@dataclass(frozen=True)
class JobEvent:
    """A party's own statement about a job.  type: job.admitted, job.closed or job.refused.

    id: 16 bytes, the same when it is sent again.  body: canonical JSON with that `id` in hex.
    """

    type: str
    id: bytes
    body: bytes


@dataclass(frozen=True)
class SubjectEvent:
    """An event about one person, with what a receipt needs.  proof: a tlog-proof."""

    index: int
    leaf: bytes
    opening: Opening
    proof: str

    def __repr__(self) -> str:
        return f"SubjectEvent(index={self.index})"


class ConsentPort(Protocol):
    """One party's access to its own log."""

    async def hello(self) -> Head:
        """The newest head of the party's own consent log."""
        ...

    async def append(self, batch: RecordBatch) -> Recorded:
        """Logs `batch`, once however often it is sent.

        At most `records.BATCH_ROWS` records.  Raises ProtocolViolation('record_conflict') for
        a record id that exists with other content, Refused('witness_quorum_missing') for a
        permit that no quorum would see, Failed('unavailable') when the service is not reached.
        """
        ...

    def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        """Entries from index `since` on, in order; the last page has the newest checkpoint.

        At least one page.
        """
        ...

    def follow(self) -> AsyncGenerator[Head, None]:
        """The newest head now and after every change, heartbeats among them; never ends."""
        ...

    async def log_job(self, event: JobEvent) -> Recorded:
        """Logs a statement about a job in the job log, under this party's name."""
        ...

    async def proof(self, origin: str, index: int) -> str:
        """The tlog-proof of an entry of the party's own log or of the job log."""
        ...

    def bundle(self) -> AsyncIterator[bytes]:
        """Lines of a bundle (`consent.bundle`) of the logs that the caller may open."""
        ...

    async def erase(self, subject: bytes) -> Recorded:
        """Erases what opens the entries about `subject`; the tree keeps their commitments."""
        ...


class PortalPort(Protocol):
    """The portal's access for a person who has signed in, by party and subject token."""

    async def subject(self, party: str, subject: bytes) -> tuple[SubjectEvent, ...]:
        """Every event about `subject` that was not erased, oldest first."""
        ...

    async def append_for(self, party: str, batch: RecordBatch) -> Recorded:
        """As `ConsentPort.append`, for records of channel `portal` only."""
        ...

    async def erase_for(self, party: str, subject: bytes) -> Recorded:
        """As `ConsentPort.erase`."""
        ...
