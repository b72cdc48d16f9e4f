"""The consent service in this process: the same ports without a network.

Who runs it: the gRPC service (as its core) and the tests' world.  Learns: as the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from itertools import islice

from consent.ledger import Ledger, recorded
from consent.port import Head, JobEvent, Recorded, ReplicaPage, SubjectEvent
from consent.purposes import CHANNELS
from consent.records import RecordBatch
from protocol.errors import ProtocolViolation

_PORTAL = "portal"
_BUNDLE_LINES = 4_096  # lines that one trip into a thread fetches


class LocalConsent:
    """`ConsentPort` of one party over the ledger; blocking calls run in threads."""

    def __init__(self, ledger: Ledger, party: str) -> None:
        self._ledger = ledger
        self._party = party
        self._origin = ledger.consent_log(party)

    async def hello(self) -> Head:
        return self._ledger.head(self._origin)

    async def append(self, batch: RecordBatch) -> Recorded:
        return await _append(self._ledger, self._party, batch)

    async def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        renewed = self._ledger.renewed(self._origin)
        if renewed is not None:
            await asyncio.wrap_future(renewed)
        while True:
            page = await asyncio.to_thread(self._ledger.page, self._origin, since)
            yield page
            since += len(page.entries)
            if not page.entries or page.checkpoint == self._ledger.head(self._origin).checkpoint:
                return

    async def follow(self) -> AsyncGenerator[Head, None]:
        loop, changed = asyncio.get_running_loop(), asyncio.Event()

        def heard(origin: str) -> None:
            if origin == self._origin:
                loop.call_soon_threadsafe(changed.set)

        stop = self._ledger.listen(heard)
        try:
            while True:
                changed.clear()
                yield self._ledger.head(self._origin)
                await changed.wait()
        finally:
            stop()

    async def log_job(self, event: JobEvent) -> Recorded:
        written = await asyncio.wrap_future(self._ledger.log_job(self._party, event))
        return recorded(self._ledger.jobs, written)

    async def proof(self, origin: str, index: int) -> str:
        if origin not in (self._origin, self._ledger.jobs):
            raise ProtocolViolation("unknown_log", "that is no log of this party", stage="consent")
        return await asyncio.to_thread(self._ledger.proof, origin, index)

    async def bundle(self) -> AsyncIterator[bytes]:
        async for line in bundle_of(self._ledger, self._party):
            yield line

    async def erase(self, subject: bytes) -> Recorded:
        return await _erase(self._ledger, self._party, subject)


class LocalPortal:
    """`PortalPort` over the ledger."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger

    async def subject(self, party: str, subject: bytes) -> tuple[SubjectEvent, ...]:
        return await asyncio.to_thread(self._ledger.subject, party, subject)

    async def append_for(self, party: str, batch: RecordBatch) -> Recorded:
        if any(CHANNELS[code - 1] != _PORTAL for code in set(batch.channels.tolist())):
            raise ProtocolViolation("bad_record", "the portal speaks for itself only")
        return await _append(self._ledger, party, batch)

    async def erase_for(self, party: str, subject: bytes) -> Recorded:
        return await _erase(self._ledger, party, subject)


async def _append(ledger: Ledger, party: str, batch: RecordBatch) -> Recorded:
    written = await asyncio.wrap_future(ledger.append(party, batch))
    return recorded(ledger.consent_log(party), written)


async def _erase(ledger: Ledger, party: str, subject: bytes) -> Recorded:
    future = await asyncio.to_thread(ledger.erase, party, subject)
    return recorded(ledger.consent_log(party), await asyncio.wrap_future(future))


async def bundle_of(ledger: Ledger, reader: str) -> AsyncIterator[bytes]:
    """The lines for a party, or for the auditor."""
    # Cosignatures of now, so that whoever audits it sees a quorum that has just looked.
    renewing = [ledger.renewed(origin) for origin in ledger.origins_for(reader)]
    await asyncio.gather(*(asyncio.wrap_future(one) for one in renewing if one is not None))
    lines = ledger.bundle(reader)

    def some() -> list[bytes]:
        return list(islice(lines, _BUNDLE_LINES))

    while found := await asyncio.to_thread(some):
        for line in found:
            yield line
