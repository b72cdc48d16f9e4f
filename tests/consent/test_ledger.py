"""The ledger: events in order, once only, durable, witnessed, erasable, nobody else's."""

from __future__ import annotations

import json
import os
import threading
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from consent.audit import audit_bundle
from consent.leaf import Opening, check_opening, parse_leaf
from consent.ledger import PAGE, Ledger
from consent.local import LocalPortal
from consent.log_writer import Cosigner, Recorded
from consent.policy import check_checkpoint
from consent.port import JobEvent, ReplicaPage
from consent.records import BATCH_ROWS, RecordBatch, joined
from consent.replica import Replica
from consent.tlog_proof import verify_proof
from consent.trust import AUDITOR
from protocol.encoding import canonical_json
from protocol.errors import Failed, ProtocolViolation, Refused
from tests import ledgers
from tests.consent import made


@pytest.fixture
def stand(tmp_path: Path) -> ledgers.Stand:
    keys = {name: ledgers.new_keys(name) for name in ("retailer", "media")}
    keys[AUDITOR] = ledgers.new_keys(AUDITOR, AUDITOR)
    consent = ledgers.new_keys("consent", "consent")
    return ledgers.stand(tmp_path / "ledger", made.Clock(), keys, consent)


def append(ledger: Ledger, party: str, batch: RecordBatch) -> Recorded:
    return ledger.append(party, batch).result(20)


def pages(ledger: Ledger, party: str, since: int = 0) -> list[ReplicaPage]:
    origin, found = ledger.consent_log(party), []
    while True:
        page = ledger.page(origin, since)
        found.append(page)
        since += len(page.entries)
        if not page.entries or page.checkpoint == ledger.head(origin).checkpoint:
            return found


def bodies(ledger: Ledger, party: str) -> list[dict[str, object]]:
    return [
        json.loads(entry.opening.body)
        for page in pages(ledger, party)
        for entry in page.entries
        if entry.opening
    ]


class Away:
    """A witness that nobody reaches."""

    def add_checkpoint(self, request: str) -> str:
        raise Failed("unavailable", "away")


def test_events_come_back_in_order_with_everything(stand: ledgers.Stand) -> None:
    first = made.batch(["a", "b"], ["given", "refused"])
    second = made.batch(["a"], "withdrawn", made.scope("*"), channel="counter")
    assert append(stand.ledger, "retailer", first).indexes == (0, 1)
    done = append(stand.ledger, "retailer", second)
    assert done.indexes == (2,)
    assert not done.proof_pending
    found = bodies(stand.ledger, "retailer")
    assert [one["event"]["state"] for one in found] == ["given", "refused", "withdrawn"]  # type: ignore[index]
    assert [one["id"] for one in found] == [
        row.tobytes().hex() for row in (*first.record_ids, *second.record_ids)
    ]
    for page in pages(stand.ledger, "retailer"):
        for entry in page.entries:
            leaf = parse_leaf(entry.leaf)
            assert (leaf.party, leaf.type) == ("retailer", "consent")
            assert entry.opening is not None
            check_opening(leaf, entry.opening)
    origin = stand.ledger.consent_log("retailer")
    checked = check_checkpoint(done.checkpoint, stand.trust.policy(origin), origin)
    assert (checked.has_quorum, checked.checkpoint.size) == (True, 3)
    stand.close()


def test_sent_twice_is_logged_once(stand: ledgers.Stand) -> None:
    sent = made.batch(["a", "b", "c"])
    append(stand.ledger, "retailer", sent)
    assert append(stand.ledger, "retailer", sent).indexes == (0, 1, 2)
    mixed = joined([sent.take(np.array([1, 2])), made.batch(["d"])])
    assert append(stand.ledger, "retailer", mixed).indexes == (1, 2, 3)
    assert len(bodies(stand.ledger, "retailer")) == 4
    stand.close()


def test_the_same_id_with_other_content_is_a_conflict_and_changes_nothing(
    stand: ledgers.Stand,
) -> None:
    sent = made.batch(["a", "b"], "withdrawn")
    append(stand.ledger, "retailer", sent)
    forged = replace(sent, times_ms=sent.times_ms + 1)
    with pytest.raises(ProtocolViolation) as caught:
        append(stand.ledger, "retailer", forged)
    assert caught.value.info.code == "record_conflict"
    assert len(bodies(stand.ledger, "retailer")) == 2
    stand.close()


def test_one_id_twice_in_a_batch_and_too_large_batches_are_refused(stand: ledgers.Stand) -> None:
    sent = made.batch(["a", "b"])
    with pytest.raises(ProtocolViolation, match="twice"):
        append(stand.ledger, "retailer", replace(sent, record_ids=sent.record_ids[[0, 0]]))
    with pytest.raises(ProtocolViolation, match="over"):
        append(stand.ledger, "retailer", made.batch([str(i) for i in range(BATCH_ROWS + 1)]))
    assert bodies(stand.ledger, "retailer") == []
    stand.close()


def test_parties_have_logs_of_their_own(stand: ledgers.Stand) -> None:
    sent = made.batch(["a"])
    append(stand.ledger, "retailer", sent)
    assert append(stand.ledger, "media", sent).indexes == (0,)  # the same id elsewhere
    names = {stand.ledger.consent_log(party) for party in ("retailer", "media")}
    assert len(names | {stand.ledger.jobs}) == 3
    stand.close()


def test_the_logs_keep_their_names_and_new_ones_have_others(
    stand: ledgers.Stand, tmp_path: Path
) -> None:
    names = stand.ledger.origins
    append(stand.ledger, "retailer", made.batch(["a"]))
    again = stand.again()
    assert again.ledger.origins == names
    assert len(bodies(again.ledger, "retailer")) == 1
    other = ledgers.stand(tmp_path / "other", made.Clock(), stand.keys, stand.consent)
    assert not set(other.ledger.origins) & set(names)
    for database in (tmp_path / "ledger").glob("*.sqlite"):
        assert database.stat().st_mode & 0o077 == 0
    other.close()
    again.close()


def test_a_second_ledger_stops_the_first_and_nothing_is_lost(stand: ledgers.Stand) -> None:
    append(stand.ledger, "retailer", made.batch(["a"]))
    second = ledgers.stand(stand.folder, stand.clock, stand.keys, stand.consent)
    append(second.ledger, "retailer", made.batch(["b"]))
    # The first reloads, takes over in turn and goes on after what the second has written.
    with pytest.raises(Failed) as caught:
        append(stand.ledger, "retailer", made.batch(["c"]))
    assert caught.value.info.code in ("second_writer", "log_changed")
    second.ledger.close()
    again = stand.again()
    assert len(bodies(again.ledger, "retailer")) == 2
    again.close()


def test_without_a_quorum_denials_are_taken_and_permits_refused(stand: ledgers.Stand) -> None:
    append(stand.ledger, "retailer", made.batch(["a"]))
    stand.clock.now += 400.0  # type: ignore[attr-defined]  # the last quorum is long ago
    alone = stand.again({"retailer": stand.witnesses["retailer"], "media": Away(), AUDITOR: Away()})
    with pytest.raises(Refused) as caught:
        append(alone.ledger, "retailer", made.batch(["b"]))
    assert caught.value.info.code == "witness_quorum_missing"
    done = append(alone.ledger, "retailer", made.batch(["a"], "withdrawn", channel="counter"))
    assert done.proof_pending
    assert len(bodies(alone.ledger, "retailer")) == 2
    back = alone.again(stand.witnesses)  # the witnesses are back: what was pending gets its proof
    assert not append(back.ledger, "retailer", made.batch(["b"])).proof_pending
    assert len(bodies(back.ledger, "retailer")) == 3
    back.close()


def test_pages_end_where_checkpoints_do(stand: ledgers.Stand) -> None:
    for size in (3, PAGE, 2 * PAGE + 5, 1):
        append(stand.ledger, "retailer", made.batch([f"{size}-{i}" for i in range(size)]))
    found = pages(stand.ledger, "retailer")
    assert [page.first for page in found] == [
        sum(len(one.entries) for one in found[:n]) for n in range(len(found))
    ]
    sizes = [len(page.entries) for page in found]
    assert sum(sizes) == 3 * PAGE + 9
    assert max(sizes) <= PAGE
    ends = {page.first + len(page.entries) for page in found if page.checkpoint}
    assert {3, PAGE + 3, 3 * PAGE + 8, 3 * PAGE + 9} >= ends
    assert 3 * PAGE + 9 in ends
    assert len(ends) >= 3
    stand.close()


async def test_a_person_gets_events_with_proofs_that_hold(stand: ledgers.Stand) -> None:
    append(stand.ledger, "retailer", made.batch(["a", "b"]))
    append(stand.ledger, "retailer", made.batch(["a"], "withdrawn", channel="counter"))
    portal = LocalPortal(stand.ledger)
    found = await portal.subject("retailer", made.token("a"))
    assert [one.index for one in found] == [0, 2]
    origin = stand.ledger.consent_log("retailer")
    for one in found:
        verify_proof(one.proof, one.leaf, stand.trust.policy(origin), origin)
        check_opening(parse_leaf(one.leaf), one.opening)
    assert await portal.subject("retailer", made.token("nobody")) == ()
    assert await portal.subject("media", made.token("a")) == ()
    with pytest.raises(ProtocolViolation, match="itself only"):
        await portal.append_for("retailer", made.batch(["a"]))
    done = await portal.append_for("retailer", made.batch(["a"], channel="portal"))
    assert done.indexes == (3,)
    stand.close()


def leftovers(folder: Path, needles: list[bytes]) -> list[str]:
    return [
        f"{path.name}: {needle[:8].hex()}"
        for path in folder.rglob("*")
        if path.is_file()
        for needle in needles
        if needle in path.read_bytes()
    ]


async def test_erasure_leaves_no_byte_and_old_proofs_still_hold(
    stand: ledgers.Stand, tmp_path: Path
) -> None:
    append(stand.ledger, "retailer", made.batch(["a", "b"]))
    port = stand.port("retailer")
    replica = Replica(tmp_path / "replica.sqlite", "retailer", stand.trust, made.SEAL)
    await replica.sync(port)
    (before,) = await LocalPortal(stand.ledger).subject("retailer", made.token("a"))
    old_bundle = b"".join(stand.ledger.bundle("retailer"))
    needles = [made.token("a"), before.opening.salt, before.opening.body]
    assert leftovers(tmp_path, needles)
    done = await port.erase(made.token("a"))
    assert done.indexes == (2,)
    await replica.sync(port)
    assert leftovers(tmp_path, needles) == []
    assert [row.tobytes() for b in replica.batches() for row in b.subjects] == [made.token("b")]
    replica.require_fresh(made.START)
    # what the person kept still opens the commitment, under the newest checkpoint as well
    origin = stand.ledger.consent_log("retailer")
    verify_proof(before.proof, before.leaf, stand.trust.policy(origin), origin)
    verify_proof(await port.proof(origin, 0), before.leaf, stand.trust.policy(origin), origin)
    check_opening(parse_leaf(before.leaf), before.opening)
    assert before.opening.salt.hex().encode() in old_bundle
    # a new copy accepts the hole, because the log says so
    fresh = Replica(tmp_path / "fresh.sqlite", "retailer", stand.trust, made.SEAL)
    await fresh.sync(port)
    assert sum(len(batch) for batch in fresh.batches()) == 1
    with pytest.raises(ProtocolViolation, match="nothing"):
        await port.erase(made.token("nobody"))
    stand.close()


def job_event(id: bytes, type: str = "job.admitted", **fields: object) -> JobEvent:
    return JobEvent(type, id, canonical_json({"id": id.hex(), **fields}))


async def test_statements_about_jobs(stand: ledgers.Stand) -> None:
    retailer, media = stand.port("retailer"), stand.port("media")
    first = job_event(b"1" * 16, job="x")
    done = await retailer.log_job(first)
    assert (done.origin, done.indexes) == (stand.ledger.jobs, (0,))
    assert (await retailer.log_job(first)).indexes == (0,)
    assert (await media.log_job(job_event(b"2" * 16, "job.closed"))).indexes == (1,)
    proof = await media.proof(stand.ledger.jobs, 0)
    leaf = stand.ledger.page(stand.ledger.jobs, 0).entries[0].leaf
    assert parse_leaf(leaf).party == "retailer"
    verify_proof(proof, leaf, stand.trust.policy(stand.ledger.jobs), stand.ledger.jobs)
    for wrong in (
        JobEvent("consent", b"3" * 16, canonical_json({"id": (b"3" * 16).hex()})),
        JobEvent("job.admitted", b"3", canonical_json({"id": b"3".hex()})),
        JobEvent("job.admitted", b"3" * 16, canonical_json({"id": "other"})),
        JobEvent("job.admitted", b"3" * 16, b"{}"),
        JobEvent("job.admitted", b"3" * 16, b"not json"),
    ):
        with pytest.raises(ProtocolViolation):
            await retailer.log_job(wrong)
    with pytest.raises(ProtocolViolation, match="no log of this party"):
        await retailer.proof(stand.ledger.consent_log("media"), 0)
    with pytest.raises(ProtocolViolation, match="no entry"):
        await retailer.proof(stand.ledger.jobs, 2)
    stand.close()


def test_a_bundle_opens_what_its_reader_may_see(stand: ledgers.Stand) -> None:
    append(stand.ledger, "retailer", made.batch(["a"]))
    append(stand.ledger, "media", made.batch(["b"]))
    for party, id in (("retailer", b"1" * 16), ("media", b"2" * 16)):
        stand.ledger.log_job(party, job_event(id)).result(20)
    seen = {
        reader: b"".join(stand.ledger.bundle(reader)).decode()
        for reader in ("retailer", "media", AUDITOR)
    }
    salts = {}
    for party in ("retailer", "media"):
        origin = stand.ledger.consent_log(party)
        opening = stand.ledger.page(origin, 0).entries[0].opening
        assert isinstance(opening, Opening)
        salts[party] = opening.salt.hex()
    assert salts["retailer"] in seen["retailer"]
    assert salts["retailer"] not in seen["media"]
    assert all(salt in seen[AUDITOR] for salt in salts.values())
    own, other = (b"1" * 16).hex(), (b"2" * 16).hex()
    assert own in seen["retailer"]
    assert other not in seen["retailer"]
    assert own in seen[AUDITOR]
    assert other in seen[AUDITOR]
    stand.close()


class Held:
    """A witness that answers when it is let go."""

    def __init__(self, witness: Cosigner) -> None:
        self.witness = witness
        self.asked, self.go = threading.Event(), threading.Event()

    def add_checkpoint(self, request: str) -> str:
        self.asked.set()
        assert self.go.wait(20)
        return self.witness.add_checkpoint(request)


def test_a_bundle_ends_at_the_head_that_witnesses_have_answered_for(stand: ledgers.Stand) -> None:
    stand.ledger.append("retailer", made.batch(["a"])).result(20)
    held = {name: Held(witness) for name, witness in stand.witnesses.items()}
    for one in held.values():
        one.go.set()
    again = stand.again(held)
    again.ledger.log_job("retailer", job_event(b"1" * 16)).result(20)
    again.ledger.append("retailer", made.batch(["b"])).result(20)
    for one in held.values():
        one.asked.clear()
        one.go.clear()
    written = again.ledger.append("retailer", made.batch(["c"]))
    assert all(one.asked.wait(20) for one in held.values())
    lines = list(again.ledger.bundle("retailer"))
    for one in held.values():
        one.go.set()
    written.result(20)
    report = audit_bundle(lines, again.trust.policy(*again.ledger.origins))
    assert [one.size for one in report.logs] == [2, 1]
    assert [one.code for one in report.findings] == []
    again.close()


def test_listeners_hear_of_their_log_until_they_stop(stand: ledgers.Stand) -> None:
    heard: list[str] = []
    stop = stand.ledger.listen(heard.append)
    append(stand.ledger, "retailer", made.batch(["a"]))
    assert stand.ledger.consent_log("retailer") in heard
    stop()
    count = len(heard)
    append(stand.ledger, "retailer", made.batch(["b"]))
    assert len(heard) == count
    stand.close()


def test_static_files_hold_what_is_signed(stand: ledgers.Stand) -> None:
    append(stand.ledger, "retailer", made.batch(["a"]))
    origin = stand.ledger.consent_log("retailer")
    file = stand.ledger.file(origin, "checkpoint")
    assert file is not None
    assert file.body.decode() == stand.ledger.head(origin).checkpoint
    assert stand.ledger.file(origin, "../openings.sqlite") is None
    assert stand.ledger.file(os.sep, "checkpoint") is None
    stand.close()
