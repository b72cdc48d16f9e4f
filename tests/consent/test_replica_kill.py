"""Kill -9 at every step of a node's copy, and a full disk: whole before and after, by itself."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from sqlalchemy import event

from consent.checkpoint import parse_checkpoint
from consent.local import LocalConsent
from consent.note import parse_note
from consent.port import Entry, Head, Recorded, ReplicaPage
from consent.records import RecordBatch
from consent.replica import Replica
from consent.trust import Trust
from protocol.errors import Failed
from tests import ledgers
from tests.consent import forked, made
from tests.consent.replicas import Faulty, append, held, sync
from tests.consent.test_log_kill import limit

FILE = "replica.sqlite"
GONE = made.token("gone")


@dataclass
class Told:
    """What a ledger said, for a process that has none; three entries a page."""

    head: Head
    entries: list[Entry]

    async def hello(self) -> Head:
        return self.head

    async def append(self, batch: RecordBatch) -> Recorded:
        return Recorded(self.head.origin, (), "", False)

    async def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        size = len(self.entries)
        for first in range(since, size, 3):
            end = min(first + 3, size)
            note = self.head.checkpoint if end == size else ""
            yield ReplicaPage(first, tuple(self.entries[first:end]), note)
        if since == size:
            yield ReplicaPage(since, (), self.head.checkpoint)


DENIAL = made.batch(["denied"], "withdrawn", channel="counter")


def told(stand: ledgers.Stand) -> Told:
    """More than the copy has: pages without a checkpoint, and an erasure of what it holds."""
    ledger = stand.ledger
    for batch in (made.batch(["a", "b", "c", "d"]), DENIAL):
        ledger.append("retailer", batch).result(20)
    ledger.erase("retailer", GONE).result(20)
    ledger.append("retailer", made.batch(["e"])).result(20)
    origin = ledger.consent_log("retailer")
    entries = ledger.page(origin, 0).entries
    while len(entries) < parse_checkpoint(parse_note(ledger.head(origin).checkpoint).text).size:
        entries += ledger.page(origin, len(entries)).entries
    return Told(ledger.head(origin), list(entries))


def opened(folder: Path, trust: Trust) -> Replica:
    return Replica(folder / FILE, "retailer", trust, made.SEAL)


def work(folder: Path, trust: Trust, port: Told, last: int) -> None:
    """Takes a denial at the counter, pulls, forgets; dies at step `last` of the database's."""
    replica, left = opened(folder, trust), [last]

    def step(*_: object) -> None:
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)

    def forget(batch: RecordBatch) -> None:
        step()
        with (folder / "forgotten").open("ab") as file:
            file.write(b"".join(bytes(one) for one in batch.subjects))
        step()

    for name in ("before_cursor_execute", "after_cursor_execute", "commit"):
        event.listen(replica._engine, name, step)
    replica.on_erased = forget
    replica.overlay(DENIAL)
    asyncio.run(replica.sync(port))  # type: ignore[arg-type]


@pytest.mark.slow
def test_killed_at_every_step(tmp_path: Path, stand: ledgers.Stand) -> None:
    stand.ledger.append("retailer", made.batch(["old", "gone", "kept"])).result(20)
    start = tmp_path / "start"
    start.mkdir()
    copy = opened(start, stand.trust)
    asyncio.run(copy.sync(LocalConsent(stand.ledger, "retailer")))
    before = held(copy)
    copy.close()
    port = told(stand)
    stand.close()
    names = ("old", "kept", "a", "b", "c", "d", "denied", "e")
    after = [made.token(name) for name in names]
    step = killed = 0
    while True:
        step += 1
        folder = tmp_path / str(step)
        shutil.copytree(start, folder)
        code = forked.run(work, folder, stand.trust, port, step)
        assert code in (0, -signal.SIGKILL)
        copy = opened(folder, stand.trust)
        copy.require_fresh(made.START)
        # The copy of before or that of after, or that of before without who was erased.
        found = held(copy)
        assert found in (before, [one for one in before if one != GONE], after), step
        assert copy.applied() in (3, len(port.entries))
        if step > 6 and not copy.overlaid():  # the denial acts until it is pulled back
            assert made.token("denied") in found
        forgotten = list[bytes]()
        copy.on_erased = lambda batch, to=forgotten: to.extend(map(bytes, batch.subjects))  # type: ignore[misc]
        asyncio.run(copy.sync(port))  # type: ignore[arg-type]
        assert held(copy) == after
        assert copy.overlaid() == []
        copy.close()
        told_before = folder / "forgotten"
        assert forgotten == [GONE] or told_before.read_bytes().count(GONE) > 0
        assert not any(GONE in path.read_bytes() for path in folder.glob(f"{FILE}*"))
        shutil.rmtree(folder)
        if code == 0:
            break
        killed += 1
    assert killed == step - 1 > 40


# -- a full disk -------------------------------------------------------------------------------


@pytest.mark.parametrize("spare", [0, 1, 3, 10, 40])
def test_a_full_disk_stops_the_copy_and_nothing_is_lost(
    port: Faulty, replica: Replica, spare: int
) -> None:
    append(port, made.batch(["a", "b"]))
    sync(replica, port)
    size = replica.applied()
    append(port, *(made.batch([f"{n}-{m}" for m in range(400)]) for n in range(8)))
    with replica._engine.connect() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
    limit(replica._engine, pages + spare)
    for _ in range(2):
        with pytest.raises(Failed, match="full") as caught:
            sync(replica, port)
        assert caught.value.info.code == "storage_failed"
        for secret in ("INSERT", "parameters", made.token("0-0").hex()):
            assert secret not in str(caught.value)
    # What decides meanwhile is what was verified, as long as it is fresh.
    replica.require_fresh(made.START)
    assert replica.applied() >= size
    assert len(held(replica)) == replica.applied()
    limit(replica._engine, 1_000_000)
    sync(replica, port)
    assert len(held(replica)) == replica.applied() == 2 + 8 * 400


def test_a_denial_that_finds_no_room_is_said_and_not_swallowed(
    port: Faulty, replica: Replica
) -> None:
    sync(replica, port)
    with replica._engine.connect() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
    limit(replica._engine, pages)
    many = made.batch([str(number) for number in range(2_000)], "withdrawn", channel="counter")
    with pytest.raises(Failed, match="full"):
        replica.overlay(many)
    assert replica.overlaid() == []
    limit(replica._engine, 1_000_000)
    replica.overlay(many)
    assert [len(batch) for batch in replica.overlaid()] == [2_000]
    assert np.array_equal(replica.overlaid()[0].subjects, many.subjects)
