"""A port to the ledger whose answers can be lost, cut off or bent, and what copies hold."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import pytest

from consent.port import Head, JobEvent, Recorded, ReplicaPage
from consent.records import RecordBatch
from consent.replica import Replica
from protocol.errors import Failed, Refused
from tests import ledgers
from tests.consent import made


class Faulty:
    """A port whose answers can be lost, repeated or bent."""

    def __init__(self, stand: ledgers.Stand) -> None:
        self.stand = stand
        self.lose_answers = 0
        self.down = False
        self.bend: Callable[[ReplicaPage], ReplicaPage] = lambda page: page
        self.break_after: int | None = None

    @property
    def port(self) -> ledgers.LocalConsent:
        return self.stand.port("retailer")

    async def hello(self) -> Head:
        return await self.port.hello()

    async def append(self, batch: RecordBatch) -> Recorded:
        if self.down:
            raise Failed("unavailable", "down")
        done = await self.port.append(batch)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Failed("unavailable", "the answer is lost")
        return done

    async def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        if self.down:
            raise Failed("unavailable", "down")
        sent = 0
        async for page in self.port.replicate(since):
            if sent == self.break_after:
                raise Failed("unavailable", "cut off")
            yield self.bend(page)
            sent += 1

    def follow(self) -> AsyncGenerator[Head, None]:
        return self.port.follow()

    async def log_job(self, event: JobEvent) -> Recorded:
        return await self.port.log_job(event)

    async def proof(self, origin: str, index: int) -> str:
        return await self.port.proof(origin, index)

    def bundle(self) -> AsyncIterator[bytes]:
        return self.port.bundle()

    async def erase(self, subject: bytes) -> Recorded:
        return await self.port.erase(subject)


def held(replica: Replica) -> list[bytes]:
    return [row.tobytes() for batch in replica.batches() for row in batch.subjects]


def append(port: Faulty, *batches: RecordBatch) -> None:
    for batch in batches:
        port.stand.ledger.append("retailer", batch).result(20)


def sync(replica: Replica, port: Faulty) -> Head:
    return asyncio.run(replica.sync(port))


def refusal(replica: Replica, now: float = made.START) -> str:
    with pytest.raises(Refused) as caught:
        replica.require_fresh(now)
    return caught.value.info.code
