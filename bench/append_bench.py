"""Events appended a second, by how many callers there are; and how often this disk syncs.

Who runs it: `bench.log_bench`.  One caller that awaits each answer pays several syncs an
answer, so that the disk's own rate is written beside it; many callers share their commits.
Everything is on the disk that holds this checkout, because a folder for temporary files may be
memory, where a sync costs nothing.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import TypeVar

from consent.leaf import Event
from consent.ledger import Ledger
from consent.log import Log
from consent.log_writer import LogWriter, Pace, Recorded
from consent.note_keys import VerifierKey
from consent.policy import majority_policy, parse_policy
from consent.records import RecordBatch

PAGE = 4096
T = TypeVar("T")


def on_disk() -> tempfile.TemporaryDirectory[str]:
    """A new folder beside this file."""
    return tempfile.TemporaryDirectory(dir=Path(__file__).parent, prefix=".bench-")


def sync_rate(n: int = 2_000) -> float:
    """Pages a second that are each on the disk before the next is written.

    Over blocks that the file has already, as the databases' logs are written.
    """
    with on_disk() as folder:
        file = os.open(Path(folder) / "file", os.O_RDWR | os.O_CREAT)
        try:
            os.write(file, os.urandom(PAGE * n))
            os.fsync(file)
            os.lseek(file, 0, os.SEEK_SET)
            page = os.urandom(PAGE)
            start = time.perf_counter()
            for _ in range(n):
                os.write(file, page)
                os.fdatasync(file)
            return n / (time.perf_counter() - start)
        finally:
            os.close(file)


@dataclass(frozen=True)
class Measured:
    """Of callers that each hand in the next thing as soon as the last is answered.

    wait: median seconds from handing in to the answer.
    """

    rate: float
    wait: float


def writer_rate(log: Log, key: VerifierKey, events: Sequence[Event], callers: int) -> Measured:
    """Through the thread that batches, without witnesses: signed and durable."""
    policy = parse_policy(majority_policy([key], {}).encode())
    writer = LogWriter(log, [], policy, time.time, Pace())
    writer.start()
    try:
        return _measured(lambda event: writer.submit([event], needs_quorum=False), events, callers)
    finally:
        writer.close()


def ledger_rate(
    ledger: Ledger, party: str, requests: Sequence[RecordBatch], callers: int
) -> Measured:
    """Through all that the service does behind its gRPC: checked against the person's history,
    witnessed."""
    return _measured(lambda request: ledger.append(party, request), requests, callers)


def _measured(
    hand_in: Callable[[T], Future[Recorded]], things: Sequence[T], callers: int
) -> Measured:
    left, waits = iter(things), list[float]()

    async def caller() -> None:
        for one in left:
            start = time.perf_counter()
            await asyncio.wrap_future(hand_in(one))
            waits.append(time.perf_counter() - start)

    async def all_of_them() -> float:
        start = time.perf_counter()
        work: list[Awaitable[None]] = [caller() for _ in range(callers)]
        await asyncio.gather(*work)
        return len(things) / (time.perf_counter() - start)

    rate = asyncio.run(all_of_them())
    return Measured(rate, median(waits))
