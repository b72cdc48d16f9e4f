"""The ledger's file: append-only, spent with the output or not at all, one writer at a time."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import sqlalchemy as sa

from party_node.ledger import Ledger
from protocol.errors import Failed, Refused
from protocol.release.budget import Account

NANO = 10**9
ACCOUNT = Account("media", "retailer", "audience_insight", NANO // 2, NANO)


def engine_at(path: Path) -> sa.Engine:
    engine = sa.create_engine(f"sqlite:///{path}", connect_args={"timeout": 30})

    @sa.event.listens_for(engine, "connect")
    def _wal(connection, record) -> None:  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")

    return engine


@pytest.fixture
def engine(tmp_path: Path) -> sa.Engine:
    return engine_at(tmp_path / "node.sqlite")


def test_reserved_then_spent_survives_a_restart(engine: sa.Engine, tmp_path: Path) -> None:
    ledger = Ledger(engine, lambda: 1000.0)
    ledger.reserve(ACCOUNT, "job", 1, 200_000_000, 1000.0)
    ledger.reserve(ACCOUNT, "job", 1, 200_000_000, 1001.0)  # an admission replayed
    with engine.begin() as db:
        ledger.spend(db, ACCOUNT, "job", 1)
    ledger.release("media", "job")  # the end of the job gives a spending never back
    again = Ledger(engine_at(tmp_path / "node.sqlite"), lambda: 2000.0)
    assert again.remaining(ACCOUNT) == 300_000_000


def test_an_output_that_is_not_stored_is_not_paid(engine: sa.Engine) -> None:
    ledger = Ledger(engine, lambda: 1000.0)
    ledger.reserve(ACCOUNT, "job", 1, 200_000_000)
    with pytest.raises(RuntimeError), engine.begin() as db:
        ledger.spend(db, ACCOUNT, "job", 1)
        raise RuntimeError("the disk is full")
    assert ledger.remaining(ACCOUNT) == 300_000_000  # still reserved
    ledger.release("media", "job")
    assert ledger.remaining(ACCOUNT) == 500_000_000


def test_an_output_that_is_not_paid_is_not_stored(engine: sa.Engine) -> None:
    ledger = Ledger(engine, lambda: 1000.0)
    with engine.begin() as db:
        db.execute(sa.text("CREATE TABLE outputs (bytes BLOB)"))
    with pytest.raises(Failed, match="not reserved"), engine.begin() as db:
        db.execute(sa.text("INSERT INTO outputs VALUES (x'00')"))
        ledger.spend(db, ACCOUNT, "job", 1)
    with engine.connect() as db:
        assert db.execute(sa.text("SELECT count(*) FROM outputs")).scalar() == 0


def test_each_attempt_pays(engine: sa.Engine) -> None:
    ledger = Ledger(engine, lambda: 1000.0)
    for attempt in (1, 2):
        ledger.reserve(ACCOUNT, "job", attempt, 200_000_000)
        with engine.begin() as db:
            ledger.spend(db, ACCOUNT, "job", attempt)
    assert ledger.remaining(ACCOUNT) == 100_000_000
    with pytest.raises(Refused, match=r"0\.4 rho used"):
        ledger.reserve(ACCOUNT, "job", 3, 200_000_000)
    with pytest.raises(Refused):
        ledger.check(ACCOUNT, 200_000_000)
    ledger.check(ACCOUNT, 100_000_000)


@pytest.mark.parametrize(
    "sql", ["UPDATE budget_entries SET rho_nano = 0", "DELETE FROM budget_entries"]
)
def test_the_file_refuses_to_forget(engine: sa.Engine, sql: str) -> None:
    ledger = Ledger(engine, lambda: 1000.0)
    ledger.reserve(ACCOUNT, "job", 1, 5)
    with pytest.raises(sa.exc.IntegrityError, match="append-only"), engine.begin() as db:
        db.execute(sa.text(sql))


def test_threads_at_once_cannot_overdraw(engine: sa.Engine) -> None:
    ledger = Ledger(engine, lambda: 1000.0)
    refused: list[str] = []
    start = threading.Barrier(8)

    def reserve(job: str) -> None:
        start.wait()
        try:
            ledger.reserve(ACCOUNT, job, 1, 100_000_000)
        except Refused as error:
            refused.append(error.info.code)

    threads = [threading.Thread(target=reserve, args=(f"job{at}",)) for at in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert refused == ["budget_exhausted"] * 3
    assert ledger.remaining(ACCOUNT) == 0
