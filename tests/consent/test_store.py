"""The append-only store: numbers without gaps, once only, durable, nobody else's."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from consent.store import ConsentStore

from consent.local import LocalConsent
from consent.purposes import State
from consent.records import BATCH_ROWS, joined
from protocol.errors import Failed, ProtocolViolation
from tests.consent import made


def test_events_come_back_in_order_with_everything(tmp_path: Path) -> None:
    store = made.store(tmp_path)
    first = made.batch(["a", "b"], ["given", "refused"])
    second = made.batch(["a"], "withdrawn", made.scope("*"), channel="counter")
    assert store.append("retailer", first).size == 2
    assert store.append("retailer", second).size == 3
    page = store.page("retailer", 0)
    assert (page.first, len(page.batch), page.head.size) == (1, 3, 3)
    assert page.batch.subjects.tobytes() == made.tokens(["a", "b", "a"]).tobytes()
    assert page.batch.states.tolist() == [State.GIVEN, State.REFUSED, State.WITHDRAWN]
    assert [page.batch.scopes[code] for code in page.batch.scope_codes] == [
        made.scope(), made.scope(), made.scope("*"),
    ]  # fmt: skip
    assert page.batch.record_ids[2].tobytes() == second.record_ids[0].tobytes()
    assert page.batch.channels.tolist() == [1, 1, 3]
    assert page.batch.times_ms.tolist() == [int(made.START * 1000)] * 3
    later = store.page("retailer", 2, limit=1)
    assert (later.first, len(later.batch)) == (3, 1)
    assert len(store.page("retailer", 3).batch) == 0


def test_sent_twice_is_stored_once(tmp_path: Path) -> None:
    store = made.store(tmp_path)
    sent = made.batch(["a", "b", "c"])
    store.append("retailer", sent)
    assert store.append("retailer", sent).size == 3
    # and a batch of which a part is there already
    more = made.batch(["d"])
    mixed = joined([sent.take(slice(1, None)), more])
    assert store.append("retailer", mixed).size == 4
    assert store.page("retailer", 0).batch.subjects.tobytes() == made.tokens(["a", "b", "c", "d"]).tobytes()  # fmt: skip  # noqa: E501


def test_the_same_id_with_other_content_is_a_conflict_and_changes_nothing(tmp_path: Path) -> None:
    store = made.store(tmp_path)
    sent = made.batch(["a", "b"], "withdrawn")
    store.append("retailer", sent)
    forged = replace(sent, states=np.array([1, 1], np.uint8))
    with pytest.raises(ProtocolViolation, match="record_conflict"):
        store.append("retailer", forged)
    assert store.page("retailer", 0).batch.states.tolist() == [10, 10]


def test_one_id_twice_in_a_batch_and_too_large_batches_are_refused(tmp_path: Path) -> None:
    store = made.store(tmp_path)
    sent = made.batch(["a", "b"])
    with pytest.raises(ProtocolViolation, match="twice"):
        store.append("retailer", replace(sent, record_ids=sent.record_ids[[0, 0]]))
    with pytest.raises(ProtocolViolation, match="over"):
        store.append("retailer", made.batch([str(i) for i in range(BATCH_ROWS + 1)]))
    assert store.head("retailer").size == 0


def test_parties_have_logs_of_their_own(tmp_path: Path) -> None:
    store = made.store(tmp_path)
    sent = made.batch(["a"])
    store.append("retailer", sent)
    assert store.append("media", sent).size == 1  # the same id elsewhere is no conflict
    assert store.head("bank").size == 0
    assert len(store.page("bank", 0).batch) == 0
    assert store.head("retailer").origin != store.head("media").origin


@pytest.mark.parametrize("verb", ["UPDATE {} SET rowid = rowid", "DELETE FROM {}"])
@pytest.mark.parametrize("table", ["records", "parties", "service"])
def test_the_database_itself_refuses_change(tmp_path: Path, verb: str, table: str) -> None:
    store = made.store(tmp_path)
    store.append("retailer", made.batch(["a"]))
    store.close()
    if table == "records":
        verb = verb.replace("rowid = rowid", "body = x'00'")
    with (
        sqlite3.connect(tmp_path / "consent.sqlite") as raw,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        raw.execute(verb.format(table))


def test_the_log_keeps_its_name_and_a_new_one_has_another(tmp_path: Path) -> None:
    store = made.store(tmp_path)
    origin = store.head("retailer").origin
    store.close()
    assert made.store(tmp_path).head("retailer").origin == origin
    other = tmp_path / "other"
    other.mkdir()
    assert made.store(other).head("retailer").origin != origin
    assert (tmp_path / "consent.sqlite").stat().st_mode & 0o077 == 0


def test_two_writers_leave_no_gap_and_lose_nothing(tmp_path: Path) -> None:
    stores = [made.store(tmp_path), made.store(tmp_path)]
    batches = [[made.batch([f"{w}-{i}-{j}" for j in range(20)]) for i in range(15)] for w in (0, 1)]
    problems: list[BaseException] = []

    def write(number: int) -> None:
        try:
            for batch in batches[number]:
                stores[number].append("retailer", batch)
        except BaseException as error:  # a thread has no other way to tell
            problems.append(error)

    threads = [threading.Thread(target=write, args=(number,)) for number in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    page = stores[0].page("retailer", 0)
    assert page.head.size == len(page.batch) == 600
    wanted = {row.tobytes() for group in batches for b in group for row in b.subjects}
    assert {row.tobytes() for row in page.batch.subjects} == wanted


WRITER = """
import sys
from pathlib import Path
from tests.consent import made
store = made.store(Path(sys.argv[1]))
while True:
    batch = made.batch([str(i) for i in range(50)])
    print(store.append("retailer", batch).size, flush=True)
"""


def test_what_was_answered_survives_a_kill(tmp_path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    assert child.stdout is not None
    answered = 0
    until = time.monotonic() + 1.0
    for line in child.stdout:
        answered = int(line)
        if time.monotonic() > until:
            break
    os.kill(child.pid, signal.SIGKILL)
    answered = max([answered, *(int(line) for line in child.stdout.read().split(b"\n")[:-1])])
    child.wait()
    child.stdout.close()
    store = made.store(tmp_path)
    held = store.head("retailer").size
    assert answered > 0
    assert held >= answered  # one batch may be committed and not yet answered
    assert held % 50 == 0  # a batch is whole or absent
    assert store.append("retailer", made.batch(["next"])).size == held + 1


def test_a_full_disk_is_said_in_words_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = made.store(tmp_path)
    store.append("retailer", made.batch(["a"]))
    with store._engine.connect() as db:
        pages = db.exec_driver_sql("PRAGMA page_count").scalar_one()
        db.exec_driver_sql(f"PRAGMA max_page_count={pages}")
    with pytest.raises(Failed, match="full") as caught:
        store.append("retailer", made.batch([str(i) for i in range(5000)]))
    assert caught.value.info.code == "storage_failed"
    assert store.head("retailer").size == 1


def test_the_port_pages_through_a_long_log(tmp_path: Path) -> None:
    store = made.store(tmp_path)
    port = LocalConsent(store, "retailer")
    sizes = []

    async def story() -> None:
        whole = made.batch([str(i) for i in range(BATCH_ROWS + 5)])
        for piece in whole.pieces():
            await port.append(piece)
        async for page in port.replicate(3):
            sizes.append((page.first, len(page.batch), page.head.size))

    asyncio.run(story())
    assert sizes == [
        (4, BATCH_ROWS, BATCH_ROWS + 5),
        (BATCH_ROWS + 4, 2, BATCH_ROWS + 5),
    ]


def test_opening_two_at_once_names_one_log(tmp_path: Path) -> None:
    stores: list[ConsentStore] = []
    threads = [
        threading.Thread(target=lambda: stores.append(made.store(tmp_path))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({store.head("retailer").origin for store in stores}) == 1
    assert len(stores) == 4
