"""The node's copy: complete, in order, young enough, and never from a log that went back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from consent.local import LocalConsent
from consent.port import Head, ReplicaPage
from consent.records import BATCH_ROWS, RecordBatch, empty_batch
from consent.replica import Replica
from protocol.errors import Failed, ProtocolViolation, Refused
from tests.consent import made


class Faulty:
    """A port whose answers can be lost, repeated or bent."""

    def __init__(self, port: LocalConsent) -> None:
        self.port = port
        self.lose_answers = 0
        self.down = False
        self.bend: Callable[[ReplicaPage], ReplicaPage] = lambda page: page
        self.break_after: int | None = None

    async def hello(self) -> Head:
        return await self.port.hello()

    async def append(self, batch: RecordBatch) -> Head:
        if self.down:
            raise Failed("unavailable", "down")
        head = await self.port.append(batch)
        if self.lose_answers:
            self.lose_answers -= 1
            raise Failed("unavailable", "the answer is lost")
        return head

    async def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        if self.down:
            raise Failed("unavailable", "down")
        sent = 0
        async for page in self.port.replicate(since):
            if sent == self.break_after:
                raise Failed("unavailable", "cut off")
            yield self.bend(page)
            sent += 1


@pytest.fixture
def clock() -> made.Clock:
    return made.Clock()


@pytest.fixture
def port(tmp_path: Path, clock: made.Clock) -> Faulty:
    return Faulty(LocalConsent(made.store(tmp_path, clock), "retailer"))


@pytest.fixture
def replica(tmp_path: Path) -> Replica:
    return Replica(tmp_path / "replica.sqlite", "retailer")


def held(replica: Replica) -> list[bytes]:
    return [row.tobytes() for batch in replica.batches() for row in batch.subjects]


def append(port: Faulty, *batches: RecordBatch) -> None:
    async def go() -> None:
        for batch in batches:
            await port.append(batch)

    asyncio.run(go())


def sync(replica: Replica, port: Faulty) -> Head:
    return asyncio.run(replica.sync(port))


def test_a_copy_grows_with_the_log_and_survives_a_restart(
    tmp_path: Path, port: Faulty, replica: Replica
) -> None:
    append(port, made.batch(["a", "b"]))
    sync(replica, port)
    append(port, made.batch(["c"]), made.batch(["d"]))
    sync(replica, port)
    sync(replica, port)
    replica.close()
    again = Replica(tmp_path / "replica.sqlite", "retailer")
    assert held(again) == [made.token(name) for name in "abcd"]
    assert again.applied() == 4
    assert [len(batch) for batch in again.batches(2)] == [2]


def test_a_cut_off_pull_goes_on_where_it_was(port: Faulty, replica: Replica) -> None:
    whole = made.batch([str(number) for number in range(2 * BATCH_ROWS + 1)])
    append(port, *whole.pieces())
    port.break_after = 1
    with pytest.raises(Failed, match="cut off"):
        sync(replica, port)
    with pytest.raises(Refused, match="incomplete") as caught:
        replica.require_fresh(made.START)
    assert caught.value.info.code == "consent_behind"
    port.break_after = None
    sync(replica, port)
    replica.require_fresh(made.START)
    assert len(held(replica)) == len(set(held(replica))) == len(whole)


def test_freshness_is_the_services_clock_against_ours(
    port: Faulty, replica: Replica, clock: made.Clock
) -> None:
    with pytest.raises(Refused, match="no consent record") as caught:
        replica.require_fresh(clock.now)
    assert caught.value.info.code == "consent_stale"
    assert replica.age(clock.now) is None
    sync(replica, port)  # an empty log that was heard of is fresh: nobody has consented
    replica.require_fresh(clock.now + 300)
    replica.require_fresh(clock.now - 30)
    assert replica.age(clock.now + 20) == pytest.approx(20)
    with pytest.raises(Refused, match="301 s old, the window is 300 s") as caught:
        replica.require_fresh(clock.now + 301)
    assert caught.value.info.code == "consent_stale"
    with pytest.raises(Refused, match="31 s ahead") as caught:
        replica.require_fresh(clock.now - 31)
    assert caught.value.info.code == "consent_clock"
    clock.now += 301
    sync(replica, port)
    replica.require_fresh(clock.now)


@pytest.mark.parametrize("window", [0.0, -1.0, 901.0])
def test_the_window_has_a_maximum(tmp_path: Path, window: float) -> None:
    with pytest.raises(ValueError, match="900"):
        Replica(tmp_path / "r.sqlite", "retailer", window)


def origin(page: ReplicaPage) -> ReplicaPage:
    return replace(page, head=replace(page.head, origin="assent/ff/consent/retailer"))


def shorter(page: ReplicaPage) -> ReplicaPage:
    return replace(page, batch=empty_batch(), head=replace(page.head, size=1))


def gap(page: ReplicaPage) -> ReplicaPage:
    return replace(page, first=page.first + 1)


def repeated(page: ReplicaPage) -> ReplicaPage:
    return replace(page, first=page.first - 1)


def more_than_promised(page: ReplicaPage) -> ReplicaPage:
    return replace(page, head=replace(page.head, size=page.head.size - 1))


@pytest.mark.parametrize(
    "bend, code",
    [
        (origin, "consent_origin"),
        (shorter, "consent_rollback"),
        (more_than_promised, "consent_rollback"),
        (gap, "consent_gap"),
        (repeated, "consent_gap"),
    ],
)
def test_a_log_that_contradicts_itself_stops_the_gate_at_once(
    tmp_path: Path,
    port: Faulty,
    replica: Replica,
    bend: Callable[[ReplicaPage], ReplicaPage],
    code: str,
) -> None:
    append(port, made.batch(["a", "b"]))
    sync(replica, port)
    append(port, made.batch(["c"]))
    port.bend = bend
    with pytest.raises(ProtocolViolation) as caught:
        sync(replica, port)
    assert caught.value.info.code == code
    replica.close()
    again = Replica(tmp_path / "replica.sqlite", "retailer")  # remembered
    with pytest.raises(Refused) as refused:
        again.require_fresh(made.START)
    assert refused.value.info.code == "consent_inconsistent"
    assert again.applied() == 2  # nothing of the bad page was taken
    port.bend = lambda page: page
    sync(again, port)
    again.require_fresh(made.START)
    assert len(held(again)) == 3


def test_a_lost_database_of_the_service_is_another_log(
    tmp_path: Path, port: Faulty, replica: Replica, clock: made.Clock
) -> None:
    append(port, made.batch(["a"], "withdrawn"))
    sync(replica, port)
    fresh = tmp_path / "fresh"
    fresh.mkdir()
    with pytest.raises(ProtocolViolation, match="another log"):
        sync(replica, Faulty(LocalConsent(made.store(fresh, clock), "retailer")))


def test_a_service_restored_from_a_backup_is_found(
    tmp_path: Path, port: Faulty, replica: Replica
) -> None:
    append(port, made.batch(["a"]))
    database = tmp_path / "consent.sqlite"
    backup = {p.name: p.read_bytes() for p in tmp_path.glob("consent.sqlite*")}
    append(port, made.batch(["a"], "withdrawn"))
    sync(replica, port)
    port.port._store.close()
    for path in tmp_path.glob("consent.sqlite*"):
        path.unlink()
    for name, data in backup.items():
        (tmp_path / name).write_bytes(data)
    assert database.exists()
    with pytest.raises(ProtocolViolation, match="shorter"):
        sync(replica, Faulty(LocalConsent(made.store(tmp_path), "retailer")))


def test_an_overlay_waits_for_the_service_and_is_logged_once(
    port: Faulty, replica: Replica
) -> None:
    denial = made.batch(["a"], "withdrawn", channel="counter")
    replica.overlay(denial)
    port.down = True
    with pytest.raises(Failed, match="down"):
        sync(replica, port)
    assert [len(batch) for batch in replica.overlaid()] == [1]
    port.down = False
    port.lose_answers = 1
    with pytest.raises(Failed, match="lost"):
        sync(replica, port)
    assert [len(batch) for batch in replica.overlaid()] == [1]
    assert sync(replica, port).size == 1  # sent again, stored once
    assert replica.overlaid() == []
    assert held(replica) == [made.token("a")]


def test_two_syncs_at_once_apply_each_record_once(port: Faulty, replica: Replica) -> None:
    append(port, made.batch(["a", "b"]))

    async def go() -> None:
        await asyncio.gather(*(replica.sync(port) for _ in range(5)))

    asyncio.run(go())
    assert len(held(replica)) == 2
