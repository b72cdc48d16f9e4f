"""A store that somebody changed, or that gives other bytes than were written, is not signed."""

from __future__ import annotations

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from consent.log import Log
from consent.log_storage import Above
from protocol.errors import Failed
from tests.consent import logs
from tests.consent.made import Clock
from tests.consent.test_log import clean


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE logs SET size = size - 1",
        "UPDATE logs SET root = zeroblob(32)",
        "UPDATE tiles SET hashes = zeroblob(length(hashes))",
        "DELETE FROM tiles",
        "DELETE FROM entries WHERE 1 = 0; DROP TRIGGER entries_no_update; "
        "UPDATE entries SET leaf = cast(replace(leaf, '1', '2') AS blob); DELETE FROM checkpoints",
        "UPDATE checkpoints SET note = replace(note, '5', '6')",
    ],
)
def test_a_damaged_store_is_not_signed_again(tmp_path: Path, damage: str) -> None:
    stores = logs.sqlite(tmp_path / "log")
    stores.log().append(logs.consents("a", 5))
    raw = sqlite3.connect(tmp_path / "log" / "log.db")
    raw.executescript(damage)
    raw.close()
    with pytest.raises(Failed, match="log_corrupt"):
        stores.log()


def test_what_was_changed_before_it_was_signed_is_not_signed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The read-back finds a disk that gives other bytes than were written."""
    stores = logs.sqlite(tmp_path / "log")
    storage = stores.storage()
    log = Log(storage, stores.openings(), logs.log_key(), Clock(), os.urandom)
    log.append(logs.consents("a", 2))
    honest = storage.above

    def above(size: int) -> Above:
        found = honest(size)
        return replace(found, entries=[x.replace(b"b", b"c") for x in found.entries])

    monkeypatch.setattr(storage, "above", above)
    with pytest.raises(Failed, match="log_corrupt"):
        log.append(logs.consents("b", 2))
    assert log.size == 2
    monkeypatch.undo()
    assert log.append(logs.consents("b", 2)).indexes == (2, 3)
    clean(stores)


def test_a_tile_that_changes_while_the_log_is_open_is_not_built_on(tmp_path: Path) -> None:
    """Although the next entry does not touch it: of 300 entries, level 1 has one hash."""
    stores = logs.sqlite(tmp_path / "log")
    log = stores.log()
    log.append(logs.consents("a", 300))
    note = log.note
    raw = sqlite3.connect(tmp_path / "log" / "log.db")
    raw.execute("UPDATE tiles SET hashes = zeroblob(length(hashes)) WHERE level = 1")
    raw.commit()
    raw.close()
    with pytest.raises(Failed, match="log_corrupt"):
        log.append(logs.consents("b", 1))
    assert stores.storage().checkpoint() == note
