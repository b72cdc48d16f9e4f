"""The writer's thread: batches, quorums, what is refused without one, heartbeats, rollbacks."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path

import pytest

from consent.leaf import CONSENT, event
from consent.log_check import check_log
from consent.log_writer import Cosigner, LogWriter, Pace, Recorded
from consent.policy import check_checkpoint
from consent.tlog_proof import verify_proof
from consent.witness import StaleSize
from protocol.errors import Failed, ProtocolViolation, Refused
from tests.consent import logs
from tests.consent.logs import Stores
from tests.consent.made import Clock

QUICK = Pace(batch=50, linger=0.02, heartbeat=30.0, cosign_timeout=1.0)


class Unreliable:
    """A witness on a line that can be cut or be slow."""

    def __init__(self, witness: Cosigner) -> None:
        self.witness = witness
        self.cut = False
        self.delay = 0.0
        self.asked = 0

    def add_checkpoint(self, request: str) -> str:
        self.asked += 1
        time.sleep(self.delay)
        if self.cut:
            raise Failed("unavailable", "no answer")
        return self.witness.add_checkpoint(request)


class World:
    def __init__(self, folder: Path, *names: str, pace: Pace = QUICK) -> None:
        self.folder = folder
        self.names = names
        self.clock = Clock()
        self.stores: Stores = logs.sqlite(folder / "log")
        self.witnesses = [Unreliable(logs.witness(folder, n, self.clock)) for n in names]
        self.pace = pace

    @contextmanager
    def writer(self) -> Iterator[LogWriter]:
        self.log = self.stores.log(self.clock)
        policy = logs.policy(*self.names)
        writer = LogWriter(self.log, self.witnesses, policy, self.clock, self.pace)
        writer.start()
        try:
            yield writer
        finally:
            writer.close()


def give(writer: LogWriter, name: str) -> Future[Recorded]:
    return writer.submit([logs.consent(name)], needs_quorum=True)


def withdraw(writer: LogWriter, name: str) -> Future[Recorded]:
    return writer.submit([logs.consent(name, "withdrawn")], needs_quorum=False)


def until(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < end, "never happened"
        time.sleep(0.01)


def test_an_answer_comes_with_a_cosigned_proof(tmp_path: Path) -> None:
    world = World(tmp_path, "a", "b", "c")
    with world.writer() as writer:
        answer = give(writer, "anna").result(10)
        assert (answer.indexes, answer.proof_pending) == ((0,), False)
        entry = world.stores.storage().entries(0, 1)[0]
        checked = verify_proof(world.log.prove(0), entry, logs.policy("a", "b", "c"), logs.ORIGIN)
        assert checked.quorum_time == world.clock.now
        assert answer.checkpoint == writer.published.note == world.stores.storage().checkpoint()
        assert give(writer, "anna").result(10).indexes == (0,)


def test_events_share_batches(tmp_path: Path) -> None:
    world = World(tmp_path, "a")
    with world.writer() as writer:
        answers = [give(writer, f"p{i}") for i in range(120)]
        indexes = [answer.result(10).indexes for answer in answers]
    assert sorted(indexes) == [(i,) for i in range(120)]
    checkpoints = len(list(world.stores.storage().checkpoints()))
    assert 3 <= checkpoints <= 30  # at most 50 in a batch, far fewer batches than events
    assert check_log(world.stores.source(), logs.log_key().key).findings == ()


def test_many_threads(tmp_path: Path) -> None:
    world = World(tmp_path, "a")
    got: list[int] = []
    with world.writer() as writer:

        def submit(thread: int) -> None:
            for i in range(20):
                got.extend(withdraw(writer, f"{thread}-{i}").result(20).indexes)

        threads = [threading.Thread(target=submit, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert sorted(got) == list(range(120))


def test_one_bad_submission_does_not_take_the_others_with_it(tmp_path: Path) -> None:
    world = World(tmp_path, "a")
    forged = event("retailer", CONSENT, logs.id_of("anna given"), {"state": "withdrawn"})
    with world.writer() as writer:
        give(writer, "anna").result(10)
        good, bad = give(writer, "ben"), writer.submit([forged], needs_quorum=False)
        assert good.result(10).indexes == (1,)
        with pytest.raises(ProtocolViolation, match="record_conflict"):
            bad.result(10)
        assert give(writer, "carl").result(10).indexes == (2,)


def test_those_who_share_a_batch_with_a_conflict_are_logged(tmp_path: Path) -> None:
    """What waits before the thread starts is one batch: a conflict and a repetition in it."""
    stores = logs.sqlite(tmp_path / "log")
    log = stores.log()
    log.append([logs.consent("anna")])
    forged = event("retailer", CONSENT, logs.id_of("anna given"), {"state": "withdrawn"})
    writer = LogWriter(log, [], logs.policy(), Clock(), QUICK)
    good = [give(writer, f"p{number}") for number in range(9)]
    bad = writer.submit([forged], needs_quorum=False)
    again = give(writer, "p3")
    writer.start()
    try:
        assert [one.result(10).indexes for one in good] == [(n,) for n in range(1, 10)]
        with pytest.raises(ProtocolViolation, match="other content"):
            bad.result(10)
        assert again.result(10).indexes == (4,)
    finally:
        writer.close()
    assert check_log(stores.source(), logs.log_key().key).findings == ()


def test_without_a_quorum_withdrawals_are_taken_and_grants_refused(tmp_path: Path) -> None:
    world = World(tmp_path, "a", "b", "c")
    with world.writer() as writer:
        assert not give(writer, "anna").result(10).proof_pending
        world.witnesses[0].cut = world.witnesses[1].cut = True
        world.clock.now += 1000
        with pytest.raises(Refused, match="witness_quorum_missing"):
            give(writer, "ben").result(10)
        answer = withdraw(writer, "anna").result(10)
        assert (answer.indexes, answer.proof_pending) == ((1,), True)
        with pytest.raises(Refused, match="witness_quorum_missing"):
            give(writer, "ben").result(10)
        assert world.log.size == 2
        world.witnesses[0].cut = False
        assert give(writer, "ben").result(10).indexes == (2,)
        checked = check_checkpoint(world.log.note, logs.policy("a", "b", "c"))
        assert checked.quorum_time == world.clock.now
    assert check_log(world.stores.source(), logs.log_key().key).findings == ()


def test_an_old_quorum_does_not_count(tmp_path: Path) -> None:
    world = World(tmp_path, "a")
    with world.writer() as writer:
        give(writer, "anna").result(10)
        world.witnesses[0].cut = True
        assert writer.published.has_quorum
        world.clock.now += world.pace.fresh + 1
        with pytest.raises(Refused, match="witness_quorum_missing"):
            give(writer, "ben").result(10)


def test_the_heartbeat_renews_the_quorums_time(tmp_path: Path) -> None:
    pace = Pace(batch=50, linger=0.01, heartbeat=0.05, cosign_timeout=1.0)
    world = World(tmp_path, "a", "b", pace=pace)
    with world.writer() as writer:
        until(lambda: writer.published.quorum_time == world.clock.now)
        for _ in range(3):
            world.clock.now += 60
            until(lambda: writer.published.quorum_time == world.clock.now)
        assert world.log.size == 0
        assert world.log.note.count("\n— ") == 3  # renewed, not piled up
        world.witnesses[0].cut = world.witnesses[1].cut = True
        before = writer.published.quorum_time
        world.clock.now += 60
        asked = world.witnesses[0].asked
        until(lambda: world.witnesses[0].asked > asked + 1)
        assert writer.published.quorum_time == before  # cut off is not "nothing new"


def test_a_slow_witness_holds_nobody_up(tmp_path: Path) -> None:
    pace = Pace(batch=50, linger=0.01, heartbeat=30, cosign_timeout=0.3)
    world = World(tmp_path, "a", "b", "c", pace=pace)
    world.witnesses[2].delay = 1.0
    with world.writer() as writer:
        start = time.monotonic()
        for i in range(3):
            assert not give(writer, f"p{i}").result(10).proof_pending
        assert time.monotonic() - start < 2.5
    time.sleep(1.1)
    assert world.witnesses[2].witness.evidence() == []  # type: ignore[attr-defined]


def test_a_witness_that_answers_nonsense_is_left_out(tmp_path: Path) -> None:
    world = World(tmp_path, "a", "b", "c")

    class Nonsense:
        def __init__(self, answer: str) -> None:
            self.answer = answer

        def add_checkpoint(self, request: str) -> str:
            return self.answer

    world.witnesses[0].witness = Nonsense("not a line")
    with world.writer() as writer:
        assert not give(writer, "anna").result(10).proof_pending
        world.witnesses[0].witness = Nonsense("— witness.test/a AAAAAAA=\n")
        assert not give(writer, "ben").result(10).proof_pending
        other = world.log.note.partition("\n\n")[0].replace("\n2\n", "\n3\n") + "\n"
        world.witnesses[0].witness = Nonsense(logs.witness_key("a").line(other, 5))
        assert not give(writer, "carl").result(10).proof_pending
        assert "witness.test/a" not in world.log.note


def test_a_log_restored_from_a_backup_is_stopped(tmp_path: Path) -> None:
    world = World(tmp_path, "a", "b")
    with world.writer() as writer:
        give(writer, "anna").result(10)
    shutil.copytree(tmp_path / "log", tmp_path / "backup")
    with world.writer() as writer:
        give(writer, "ben").result(10)
    shutil.rmtree(tmp_path / "log")
    shutil.copytree(tmp_path / "backup", tmp_path / "log")
    with world.writer() as writer:
        world.clock.now += 1000
        with pytest.raises((Failed, Refused), match="log_rolled_back"):
            give(writer, "carl").result(10)
        with pytest.raises(Failed, match="log_rolled_back"):
            withdraw(writer, "carl")
    assert world.log.size == 1


class Claims:
    """A witness that says it has seen more, and shows a note for it."""

    def __init__(self, note: str) -> None:
        self.note = note

    def add_checkpoint(self, request: str) -> str:
        raise StaleSize(2**40, self.note)


@pytest.mark.parametrize("shown", ["nothing", "an older note", "a note of another log's key"])
def test_a_witness_that_claims_more_without_proof_stops_nobody(tmp_path: Path, shown: str) -> None:
    world = World(tmp_path, "a", "b", "c")
    with world.writer() as writer:
        give(writer, "anna").result(10)
        note = "" if shown == "nothing" else world.log.note
        if shown == "a note of another log's key":
            text = note.partition("\n\n")[0].replace("\n1\n", f"\n{2**40}\n") + "\n"
            note = f"{text}\n" + logs.witness_key("a").line(text, 5)
        world.witnesses[0].witness = Claims(note)
        assert not give(writer, "ben").result(10).proof_pending
        assert withdraw(writer, "ben").result(10).indexes == (2,)
    assert world.log.size == 3


def test_a_storage_error_is_answered_and_the_next_batch_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(tmp_path, "a")
    with world.writer() as writer:
        give(writer, "anna").result(10)

        def broken(*_: object) -> None:
            raise Failed("storage_failed", "unplugged")

        monkeypatch.setattr(world.log._storage, "above", broken)
        with pytest.raises(Failed, match="unplugged"):
            withdraw(writer, "anna").result(10)
        monkeypatch.undo()
        assert withdraw(writer, "anna").result(10).indexes == (1,)


def test_closing_finishes_what_was_handed_in(tmp_path: Path) -> None:
    world = World(tmp_path, "a", pace=Pace(batch=500, linger=5.0))
    with world.writer() as writer:
        answers = [withdraw(writer, f"p{i}") for i in range(10)]
    assert [answer.result(0).indexes for answer in answers] == [(i,) for i in range(10)]
    with pytest.raises(Failed, match="closed"):
        withdraw(writer, "late")


def test_a_bulk_import_is_one_batch(tmp_path: Path) -> None:
    world = World(tmp_path, "a")
    with world.writer() as writer:
        bulk = writer.submit(logs.consents("bulk", 700), needs_quorum=True)
        assert bulk.result(20).indexes == tuple(range(700))
    assert [size for size, _ in world.stores.storage().checkpoints()] == [0, 700]
