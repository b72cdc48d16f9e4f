"""Every byte of a small log's databases, flipped: the check names it, or nothing was touched."""

from __future__ import annotations

import random
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from consent.bundle import Source
from consent.log_check import check_log
from protocol.errors import Failed
from tests.consent import logs
from tests.consent.logs import Stores

# What no reader of the log is told and nothing depends on but who may write next.
NOT_CONTENT = {("logs", "epoch")}
POLICY = logs.policy("x")
ERASED_ROW = 1  # of its event's id nothing is left to compare it with


@pytest.fixture
def small(tmp_path: Path) -> Stores:
    stores = logs.sqlite(tmp_path / "log")
    log = stores.log()
    log.append(logs.consents("a", 3))
    log.erase("retailer", logs.id_of("e"), [1])
    logs.cosigned(stores, ["x"])
    for name in ("log.db", "openings.db"):
        raw = sqlite3.connect(tmp_path / "log" / name)
        raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        raw.close()
    return stores


def found(stores: Stores) -> int:
    """What a check that opens the databases anew says; 0: nothing."""
    try:
        source = stores.source()
        try:
            return seen(source)
        finally:
            source.storage.close()  # type: ignore[attr-defined]
            source.openings.close()  # type: ignore[union-attr]
    except Failed:
        return 1


def seen(source: Source) -> int:
    try:
        return check_log(source, logs.log_key().key, POLICY).exit_code
    except Failed:
        return 1


def values(raw: sqlite3.Connection) -> Iterator[tuple[str, str, int, Any]]:
    """(table, column, row number, value) of everything stored."""
    tables = raw.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in sorted(tables):
        columns = [row[1] for row in raw.execute(f"PRAGMA table_info({table})")]
        for number, row in enumerate(raw.execute(f"SELECT * FROM {table}").fetchall()):
            for column, value in zip(columns, row, strict=True):
                yield table, column, number, value


def flips(value: Any) -> Iterator[Any]:
    """`value` with each of its bytes flipped; a number with each of its low bits."""
    if isinstance(value, int):
        yield from (value ^ 1 << bit for bit in range(8))
        return
    data = value.encode() if isinstance(value, str) else bytes(value)
    for place in range(len(data)):
        changed = bytearray(data)
        changed[place] ^= 1 << (place % 8)
        yield bytes(changed)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["log.db", "openings.db"])
def test_every_flipped_byte_of_every_value_is_found(
    small: Stores, tmp_path: Path, name: str
) -> None:
    assert not found(small)
    path = tmp_path / "log" / name
    raw = sqlite3.connect(path, isolation_level=None)
    for trigger in ("entries_no_update", "entries_no_delete"):
        raw.execute(f"DROP TRIGGER IF EXISTS {trigger}")
    stored = [one for one in values(raw) if one[3] is not None]
    tried, source = 0, small.source()
    for table, column, number, value in stored:
        if (table, column) in NOT_CONTENT:
            continue
        if (column, number) == ("event", ERASED_ROW):
            continue
        keys = [row[1] for row in raw.execute(f"PRAGMA table_info({table})") if row[5]]
        key = dict(zip(keys, raw.execute(
            f"SELECT {', '.join(keys)} FROM {table}").fetchall()[number], strict=True))  # fmt: skip
        where = " AND ".join(f"{k} = ?" for k in keys)
        for flip in flips(value):
            cast = "CAST(? AS TEXT)" if isinstance(value, str) else "?"
            update = f"UPDATE {table} SET {column} = {cast} WHERE {where}"
            try:
                raw.execute(update, [flip, *key.values()])
            except sqlite3.IntegrityError:
                continue  # another row has that place: the database itself refuses
            tried += 1
            # Only the row by which a log is found is looked at when it is opened.
            noticed = found(small) if table == "logs" else seen(source)
            assert noticed == 1, (table, column, number, flip)
            if (table, column) == ("logs", "origin"):  # asked for by name, it was made anew
                raw.execute("DELETE FROM logs WHERE origin = ?", [value])
            # A flipped text need not be UTF-8: it is found again by its bytes.
            here = [
                f"CAST({k} AS BLOB) = ?" if k == column and isinstance(value, str) else f"{k} = ?"
                for k in keys
            ]
            undo = f"UPDATE {table} SET {column} = ? WHERE {' AND '.join(here)}"
            moved = {**key, column: flip} if column in keys else key
            raw.execute(undo, [value, *moved.values()])
    assert tried > 300
    raw.close()
    assert not found(small)


@pytest.mark.parametrize("name", ["log.db", "openings.db"])
def test_flipped_bytes_of_the_files_are_found_or_change_nothing(
    small: Stores, tmp_path: Path, name: str
) -> None:
    """Bytes of free space and of the format itself: whatever is read is true or refused."""
    path = tmp_path / "log" / name
    whole = path.read_bytes()

    def content() -> list[Any]:
        raw = sqlite3.connect(path)
        try:
            return [v for v in values(raw) if (v[0], v[1]) not in NOT_CONTENT]
        finally:
            raw.close()

    before = content()
    rng = random.Random(7)
    noticed = 0
    for place in rng.sample(range(len(whole)), 150):
        changed = bytearray(whole)
        changed[place] ^= 1 << rng.randrange(8)
        for leftover in ("-wal", "-shm"):
            Path(f"{path}{leftover}").unlink(missing_ok=True)
        path.write_bytes(changed)
        if found(small):
            noticed += 1
            continue
        assert content() == before, place
    assert noticed > 0
    shutil.rmtree(tmp_path / "log")
