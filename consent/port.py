"""The consent service as its callers see it: event in, replica out.

Who runs it: nodes call it; `consent.wire` serves it over gRPC, `LocalConsent` in memory.
A port is bound to one party: there is no way to name another one.
Learns: see proto/consent.proto.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Protocol

from consent.leaf import Opening
from consent.records import RecordBatch


@dataclass(frozen=True)
class Head:
    """What the log was when the service answered.

    origin: the log's name, for its life.  size: number of records.  time_ms: the service's clock.
    The verifiable log will carry its signed checkpoint here.
    """

    origin: str
    size: int
    time_ms: int


@dataclass(frozen=True)
class ReplicaPage:
    """A run of records and the head at that moment.  first: its first sequence number, from 1."""

    first: int
    batch: RecordBatch
    head: Head


class ConsentPort(Protocol):
    """One party's access to its own log."""

    async def hello(self) -> Head: ...

    async def append(self, batch: RecordBatch) -> Head:
        """Stores `batch` durably, once however often it is sent; the head holds all of it.

        At most `records.BATCH_ROWS` records.  Raises ProtocolViolation('record_conflict') for
        a record id that exists with other content, Failed('unavailable') when not reached.
        """
        ...

    def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        """The records after `since` in order; ends at the head, at least one page."""
        ...


@dataclass(frozen=True)
class Recorded:
    origin: str
    indexes: tuple[int, ...]
    checkpoint: str
    proof_pending: bool


@dataclass(frozen=True)
class SubjectEvent:
    index: int
    leaf: bytes
    opening: Opening
    proof: str


class PortalPort(Protocol):
    async def subject(self, party: str, subject: bytes) -> tuple[SubjectEvent, ...]: ...

    async def append_for(self, party: str, batch: RecordBatch) -> Recorded: ...

    async def erase_for(self, party: str, subject: bytes) -> Recorded: ...
