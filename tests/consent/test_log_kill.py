"""Kill -9 at every step of the writer, a full disk at every step, and a process killed at random.

What was answered is there, a batch is whole or absent, nothing is signed twice, and the next
start needs no hand.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from consent.checkpoint import parse_checkpoint
from consent.log import Log
from consent.log_check import check_log
from consent.log_storage import Above
from consent.merkle import tree_root
from consent.note import open_note
from consent.policy import check_checkpoint
from protocol.errors import Failed
from tests.consent import forked, killed_log, logs
from tests.consent.logs import Stores
from tests.consent.made import Clock

ROOT = Path(__file__).parents[2]


def survived(stores: Stores, answered: list[str]) -> None:
    """Everything that may be said of a log whose writer is gone, before and after it starts."""
    signed_before = [note for _, note in stores.storage().checkpoints()]
    log = stores.log()
    entries = stores.storage().entries(0, 10_000)
    assert log.size == len(entries)
    persons = len(entries) - sum(b"erasure" in entry for entry in entries)
    assert persons % 5 == 0  # a batch is whole or absent
    said = [line.split() for line in answered]
    for words in said:
        assert all(int(word) < log.size for word in words[1:])
    for note in signed_before:  # nothing that was ever signed is contradicted
        head = parse_checkpoint(open_note(note, [logs.log_key().key]).text)
        assert head.root == tree_root(entries[: head.size])
    report = check_log(stores.source(), logs.log_key().key)
    assert report.findings == ()
    # sent again, as by a caller that never got its answer: once only
    for batch in range(3):
        log.append(logs.consents(f"x-{batch}", 5))
    assert log.size - sum(b"erasure" in e for e in stores.storage().entries(0, 10_000)) == 15
    assert check_log(stores.source(), logs.log_key().key).findings == ()


@pytest.mark.slow
def test_killed_at_every_step(tmp_path: Path) -> None:
    ended = killed = 0
    for step in range(1, 1000):
        folder = tmp_path / str(step)
        code = forked.run(killed_log.main, str(folder), step, "x", out=tmp_path / "said")
        answered = (tmp_path / "said").read_text().splitlines()
        if code == 0:
            assert answered[-1] == "end"
            ended = step
            break
        assert code == -signal.SIGKILL
        killed += 1
        survived(logs.sqlite(folder), answered)
        shutil.rmtree(folder)
    assert ended > 40  # the writer has so many steps that something was tested
    assert killed == ended - 1


@pytest.mark.parametrize("seed", range(4))
def test_killed_at_any_moment(tmp_path: Path, seed: int) -> None:
    rng = random.Random(seed)
    folder = tmp_path / "log"
    answered: list[str] = []
    for round_ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.consent.killed_log", str(folder), "0", f"r{round_}"],
            stdout=subprocess.PIPE, cwd=ROOT, text=True,
        )  # fmt: skip
        assert process.stdout is not None
        first = process.stdout.readline()
        time.sleep(rng.random() * 0.05)
        process.kill()
        answered += [first, *process.stdout.read().splitlines()]
        process.wait()
        process.stdout.close()
    stores = logs.sqlite(folder)
    log = stores.log()
    for line in answered:
        if line.startswith("logged"):
            assert all(int(word) < log.size for word in line.split()[1:])
    assert check_log(stores.source(), logs.log_key().key).findings == ()


@pytest.mark.parametrize("which", ["tree", "private"])
@pytest.mark.parametrize("spare", range(0, 12, 2))
def test_a_full_disk_stops_the_writer_and_nothing_is_lost(
    tmp_path: Path, which: str, spare: int
) -> None:
    stores = logs.sqlite(tmp_path / "log")
    storage, openings = stores.storage(), stores.openings()
    log = Log(storage, openings, logs.log_key(), Clock(), os.urandom)
    log.append(logs.consents("before", 10))
    note = log.note
    engine = storage._engine if which == "tree" else openings._engine
    with engine.connect() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
    limit(engine, pages + spare)
    batch = logs.consents("after", 400)
    with pytest.raises(Failed, match="full") as caught:
        for more in range(50):
            log.append(batch if more == 0 else logs.consents(f"more{more}", 400))
    assert caught.value.info.code == "storage_failed"
    for secret in ("after-0", "INSERT", "parameters"):
        assert secret not in str(caught.value)
    limit(engine, 1_000_000)
    assert log.append(batch).indexes == tuple(range(10, 410))
    assert check_log(stores.source(), logs.log_key().key).findings == ()
    old = check_checkpoint(note, logs.policy()).checkpoint
    assert tree_root(storage.entries(0, 10)) == old.root


def limit(engine: object, pages: int) -> None:
    """Every connection of the pool is told; PRAGMA max_page_count is not kept in the file."""
    engine.dispose()  # type: ignore[attr-defined]
    from sqlalchemy import event

    @event.listens_for(engine, "connect")
    def told(connection: object, _record: object) -> None:
        connection.execute(f"PRAGMA max_page_count={pages}")  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", ["above", "writing"])
def test_after_an_error_of_the_storage_the_log_reloads(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = logs.sqlite(tmp_path / "log")
    storage = stores.storage()
    log = Log(storage, stores.openings(), logs.log_key(), Clock(), os.urandom)
    log.append(logs.consents("a", 3))

    def broken(*_: object) -> None:
        raise Failed("storage_failed", "unplugged")

    monkeypatch.setattr(storage, name, broken)
    for _ in range(2):
        with pytest.raises(Failed, match="unplugged"):
            log.append(logs.consents("b", 3))
    monkeypatch.undo()
    assert log.append(logs.consents("b", 3)).indexes == (3, 4, 5)
    assert check_log(stores.source(), logs.log_key().key).findings == ()


def test_a_tile_that_another_writer_made_longer_is_no_damage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stores = logs.sqlite(tmp_path / "log")
    storage = stores.storage()
    log = Log(storage, stores.openings(), logs.log_key(), Clock(), os.urandom)
    log.append(logs.consents("a", 3))
    read, others = storage.above, ["between entries and tiles"]

    def above(size: int) -> Above:
        found = read(size)
        if others:
            others.clear()
            stores.log().append(logs.consents("b", 2))
        return replace(found, edge=read(size).edge)

    monkeypatch.setattr(storage, "above", above)
    with pytest.raises(Failed) as caught:
        log.append(logs.consents("c", 4))
    assert caught.value.info.code == "log_changed"
    assert log.append(logs.consents("c", 4)).indexes == (3, 4, 5, 6)
    assert check_log(stores.source(), logs.log_key().key).findings == ()
