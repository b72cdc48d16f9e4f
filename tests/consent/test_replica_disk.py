"""The node's copy on a damaged disk, in a killed process, and what waits in its overlay."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from consent.replica import Replica
from protocol.errors import Failed, ProtocolViolation, Refused
from tests import ledgers
from tests.consent import made
from tests.consent.replicas import Faulty, append, held, refusal, sync

# -- the disk and the process -----------------------------------------------------------------


@pytest.mark.parametrize(
    "change, code",
    [
        ("UPDATE head SET size = 1", "consent_behind"),
        ("UPDATE head SET size = 3", "consent_behind"),
        ("UPDATE head SET note = replace(note, 'A', 'B')", "consent_checkpoint"),
        ("UPDATE head SET tree = zeroblob(32)", "consent_behind"),
    ],
)
def test_a_changed_disk_does_not_decide(
    tmp_path: Path, port: Faulty, replica: Replica, change: str, code: str
) -> None:
    append(port, made.batch(["a", "b"]))
    sync(replica, port)
    replica.close()
    with sqlite3.connect(tmp_path / "replica.sqlite") as raw:
        raw.execute(change)
    again = Replica(tmp_path / "replica.sqlite", "retailer", port.stand.trust, made.SEAL)
    assert refusal(again) == code


@pytest.mark.parametrize(
    "change",
    [
        # a withdrawal is overwritten; a page is another one's, or gone
        "UPDATE pages SET batch = zeroblob(length(batch)) WHERE first = 2",
        "UPDATE pages SET indexes = zeroblob(8) WHERE first = 2",
        "UPDATE pages SET entries = 2 WHERE first = 2",
        "UPDATE pages SET mac = zeroblob(32)",
        "UPDATE pages SET batch = (SELECT batch FROM pages WHERE first = 0) WHERE first = 2",
        "DELETE FROM pages WHERE first = 0",
        "DELETE FROM pages WHERE first = 2",
    ],
)
def test_changed_records_do_not_decide(
    tmp_path: Path, port: Faulty, replica: Replica, change: str
) -> None:
    append(port, made.batch(["a", "b"]))
    sync(replica, port)
    append(port, made.batch(["a"], "withdrawn"))
    sync(replica, port)
    assert len(held(replica)) == 3
    replica.close()
    with sqlite3.connect(tmp_path / "replica.sqlite") as raw:
        raw.execute(change)
    again = Replica(tmp_path / "replica.sqlite", "retailer", port.stand.trust, made.SEAL)
    with pytest.raises(Refused) as caught:
        held(again)
    assert caught.value.info.code == "consent_changed"


_KILLED = """
import asyncio, sys
from tests.consent.test_replica_disk import Faulty, served
asyncio.run(served(*sys.argv[1:]))
"""


async def served(folder: str, replica: str) -> None:
    """Replicates for ever in a process of its own, until it is killed."""
    stand = ledgers.kept(Path(folder), made.Clock())
    copy = Replica(Path(replica), "retailer", stand.trust, made.SEAL)
    port = Faulty(stand)
    number = 0
    while True:
        batch = made.batch([f"{os.getpid()}-{number}-{n}" for n in range(400)])
        await port.append(batch)
        await copy.sync(port)
        sys.stdout.write("x\n")
        sys.stdout.flush()
        number += 1


def test_killed_while_it_replicates_it_is_whole_and_goes_on(
    tmp_path: Path, stand: ledgers.Stand
) -> None:
    ledgers.keep(stand)
    stand.close()
    for pause in (0.0, 0.01, 0.03, 0.05):
        process = subprocess.Popen(
            [sys.executable, "-c", _KILLED, str(stand.folder), str(tmp_path / "r.sqlite")],
            stdout=subprocess.PIPE,
        )
        assert process.stdout is not None
        assert process.stdout.readline()
        time.sleep(pause)
        process.send_signal(signal.SIGKILL)
        process.wait()
        process.stdout.close()
    again = ledgers.kept(stand.folder, made.Clock())
    copy = Replica(tmp_path / "r.sqlite", "retailer", again.trust, made.SEAL)
    asyncio.run(copy.sync(Faulty(again)))
    copy.require_fresh(made.START)
    found = held(copy)
    assert len(found) == len(set(found)) == copy.applied()
    assert len(found) >= 4 * 400
    assert len(found) % 400 == 0
    again.close()


# -- the overlay ------------------------------------------------------------------------------


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
    sync(replica, port)  # sent again, stored once
    assert replica.applied() == 1
    assert replica.overlaid() == []
    assert held(replica) == [made.token("a")]


def test_a_denial_goes_to_no_other_log_than_the_one_that_was_verified(
    tmp_path: Path, clock: made.Clock, stand: ledgers.Stand, port: Faulty, replica: Replica
) -> None:
    """Another log under the party's name, the known one rolled back or bent, one of other keys."""
    append(port, made.batch(["a"]))
    sync(replica, port)
    same_keys = ledgers.stand(tmp_path / "same", clock, stand.keys, stand.consent)
    other_keys = ledgers.simple(tmp_path / "other", clock, "retailer")
    unread = Replica(tmp_path / "unread.sqlite", "retailer", stand.trust, made.SEAL)
    denial = made.batch(["a"], "withdrawn", channel="counter")
    bent = Faulty(stand)
    bent.bend = lambda page: replace(page, checkpoint="")
    for copy, wrong in (
        (replica, Faulty(same_keys)), (replica, Faulty(other_keys)), (replica, bent),
        (unread, Faulty(other_keys)),
    ):  # fmt: skip
        copy.overlay(denial)
        before = wrong.stand.ledger.page(wrong.stand.ledger.consent_log("retailer"), 0)
        with pytest.raises(ProtocolViolation):
            sync(copy, wrong)
        after = wrong.stand.ledger.page(wrong.stand.ledger.consent_log("retailer"), 0)
        assert after.entries == before.entries
        assert copy.overlaid()  # acts here, and is not lost
    sync(replica, port)
    assert (replica.overlaid(), replica.applied()) == ([], 2)
    for one in (same_keys, other_keys):
        one.close()
    unread.close()


def test_two_syncs_at_once_apply_each_record_once(port: Faulty, replica: Replica) -> None:
    append(port, made.batch(["a", "b"]))

    async def go() -> None:
        await asyncio.gather(*(replica.sync(port) for _ in range(5)))

    asyncio.run(go())
    assert len(held(replica)) == 2
