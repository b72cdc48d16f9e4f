"""The consent service in this process: the same port without a network.

Who runs it: the gRPC service (as its core) and the tests' world.  Learns: as the store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from consent.port import Head, ReplicaPage
from consent.records import RecordBatch
from consent.store import ConsentStore


class LocalConsent:
    """`ConsentPort` of one party over a store; the store's blocking calls run in threads."""

    def __init__(self, store: ConsentStore, party: str) -> None:
        self._store = store
        self._party = party

    async def hello(self) -> Head:
        return await asyncio.to_thread(self._store.head, self._party)

    async def append(self, batch: RecordBatch) -> Head:
        return await asyncio.to_thread(self._store.append, self._party, batch)

    async def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        while True:
            page = await asyncio.to_thread(self._store.page, self._party, since)
            yield page
            since += len(page.batch)
            if since >= page.head.size or not len(page.batch):
                return
