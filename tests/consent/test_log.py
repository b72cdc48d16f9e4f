"""The log over both databases: once only, signed as it lies on the disk, provable, erasable."""

from __future__ import annotations

import os
import random
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from consent.errors import ProofError
from consent.leaf import CONSENT, MIGRATED, event, parse_leaf
from consent.log import Log
from consent.log_check import check_log
from consent.log_files import LogFiles
from consent.merkle import hash_leaf, tree_root, verify_consistency
from consent.policy import check_checkpoint
from consent.tiles import decode_bundle, tiles_of
from consent.tlog_proof import verify_proof
from protocol.errors import BadInput, Failed, ProtocolViolation, Refused
from tests.consent import logs, postgres
from tests.consent.logs import Stores
from tests.consent.made import START, Clock


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    reason = postgres.missing()
    if reason:
        pytest.skip(reason)
    with postgres.server() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def stores(request: pytest.FixtureRequest, tmp_path: Path) -> Stores:
    if request.param == "sqlite":
        return logs.sqlite(tmp_path / "log")
    server = request.getfixturevalue("postgres_url")
    name = f"t{os.urandom(8).hex()}"
    return Stores(postgres.create(server, name), postgres.create(server, f"{name}-private"))


def clean(stores: Stores) -> None:
    """The databases agree with themselves and with what was signed."""
    report = check_log(stores.source(), logs.log_key().key)
    assert report.findings == ()


def test_a_new_log_is_empty_and_signed(stores: Stores) -> None:
    log = stores.log()
    checked = check_checkpoint(log.note, logs.policy(), logs.ORIGIN)
    assert (log.size, checked.checkpoint.size) == (0, 0)
    clean(stores)


def test_events_are_in_the_tree_and_provable(stores: Stores) -> None:
    log = stores.log()
    assert log.append(logs.consents("a", 3)).indexes == (0, 1, 2)
    before = check_checkpoint(log.note, logs.policy()).checkpoint
    assert log.append(logs.consents("b", 600)).indexes == tuple(range(3, 603))
    after = check_checkpoint(log.note, logs.policy()).checkpoint
    entries = stores.storage().entries(0, 1000)
    assert len(entries) == after.size == 603
    assert after.root == tree_root(entries)
    verify_consistency(3, 603, log.consistency(3, 603), before.root, after.root)
    for index in (0, 2, 3, 255, 256, 602):
        verify_proof(log.prove(index), entries[index], logs.policy())
        with pytest.raises(ProofError):
            verify_proof(log.prove(index), entries[index - 1], logs.policy())
    clean(stores)


def test_a_leaf_says_party_kind_and_minute_and_nothing_else(stores: Stores) -> None:
    log = stores.log(Clock(START + 59))
    log.append([logs.consent("anna"), logs.consent("anna", "withdrawn")])
    first, second = stores.storage().entries(0, 2)
    assert first.startswith(b'{"commitment":"')
    leaf = parse_leaf(first)
    assert (leaf.party, leaf.type, leaf.time) == ("retailer", "consent", "2027-01-15T08:00:00Z")
    assert leaf.commitment != parse_leaf(second).commitment
    for secret in (b"anna", b"audience", logs.subject_of("anna"), logs.id_of("anna given")):
        assert secret not in first + second
    salts = {one.opening.salt for one in stores.openings().read(0, 2) if one.opening}
    assert len(salts) == 2


def test_sent_again_is_logged_once(stores: Stores) -> None:
    log = stores.log()
    sent = logs.consents("a", 5)
    log.append(sent)
    note = log.note
    assert log.append(sent[::-1]).indexes == (4, 3, 2, 1, 0)
    assert (log.size, log.note) == (5, note)
    mixed = [sent[2], logs.consent("new"), sent[0]]
    assert log.append(mixed).indexes == (2, 5, 0)
    assert log.append([]).indexes == ()
    clean(stores)


def test_the_same_id_with_other_content_changes_nothing(stores: Stores) -> None:
    log = stores.log()
    log.append(logs.consents("a", 2))
    forged = event("retailer", CONSENT, logs.id_of("a-0 given"), {"state": "withdrawn"})
    with pytest.raises(ProtocolViolation, match="record_conflict"):
        log.append([logs.consent("new"), forged])
    with pytest.raises(ProtocolViolation, match="twice"):
        log.append([logs.consent("new"), logs.consent("new")])
    assert log.size == 2
    assert log.append([logs.consent("new")]).indexes == (2,)
    clean(stores)


def test_reopened_it_goes_on_where_it_was(stores: Stores) -> None:
    for round_ in range(4):
        log = stores.log()
        assert log.size == round_ * 300
        log.append(logs.consents(f"r{round_}", 300))
    clean(stores)


def test_the_clock_may_be_set_back(stores: Stores) -> None:
    clock = Clock()
    log = stores.log(clock)
    log.append(logs.consents("a", 1))
    clock.now -= 7200
    log.append(logs.consents("b", 1))
    again = stores.log(clock)
    again.append(logs.consents("c", 1))
    times = [parse_leaf(entry).time for entry in stores.storage().entries(0, 3)]
    assert times == ["2027-01-15T08:00:00Z"] * 3
    clean(stores)


def test_a_newer_writer_stops_the_older_one(stores: Stores) -> None:
    old, new = stores.log(), None
    old.append(logs.consents("a", 2))
    new = stores.log()
    with pytest.raises(Failed, match="second_writer"):
        old.append(logs.consents("b", 2))
    assert new.append(logs.consents("c", 2)).indexes == (2, 3)
    # asked again, the older one reloads what is on disk and takes over: no fork either way
    assert old.append(logs.consents("b", 2)).indexes == (4, 5)
    with pytest.raises(Failed, match="second_writer"):
        new.append(logs.consents("d", 1))
    clean(stores)


def test_two_writers_at_once_lose_nothing(stores: Stores) -> None:
    problems: list[BaseException] = []
    dice = random.Random(1)

    def through(act: Callable[[], object]) -> None:
        """Until it comes through: each writer stops whenever the other has taken over."""
        for _ in range(300):
            try:
                act()
                return
            except Failed as error:
                if error.info.code not in ("second_writer", "log_changed"):
                    raise
            time.sleep(dice.random() * 0.01)  # or two that take turns never get anything done
        raise AssertionError("never came through")

    def write(name: str) -> None:
        mine: list[Log] = []
        try:
            through(lambda: mine.append(stores.log()))
            for round_ in range(8):
                batch = logs.consents(f"{name}{round_}", 7)
                through(lambda batch=batch: mine[0].append(batch))  # type: ignore[misc]
        except BaseException as error:  # a thread has no other way to tell
            problems.append(error)

    threads = [threading.Thread(target=write, args=(name,)) for name in "xy"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert problems == []
    assert stores.log().size == 112
    clean(stores)


def test_several_logs_share_the_databases(stores: Stores) -> None:
    other = Stores(stores.tree, stores.private, "assent.test/jobs")
    stores.log().append(logs.consents("a", 3))
    jobs = other.log()
    assert jobs.append([event("coordinator", "job.admitted", bytes(16), {})]).indexes == (0,)
    stores.log().append(logs.consents("b", 1))
    assert [log.size for log in (stores.log(), jobs)] == [4, 1]
    assert check_log(other.source(), logs.log_key(other.origin).key).findings == ()
    clean(stores)


def test_cosignatures_are_published_under_the_newest_checkpoint(stores: Stores) -> None:
    stores.log().append(logs.consents("a", 2))
    note = logs.cosigned(stores, ["a", "b"], START + 5)
    assert stores.storage().checkpoint() == note == stores.log().note
    checked = check_checkpoint(note, logs.policy("a", "b"))
    assert checked.quorum_time == START + 5
    log = stores.log()
    assert verify_proof(log.prove(1), stores.storage().entries(1, 2)[0], logs.policy("a", "b"))


def test_the_database_refuses_to_change_entries(stores: Stores) -> None:
    stores.log().append(logs.consents("a", 2))
    engine = sa.create_engine(stores.tree)
    for statement in ("UPDATE entries SET leaf = leaf", "DELETE FROM entries"):
        with engine.connect() as db, pytest.raises(sa.exc.DatabaseError, match="append-only"):
            db.exec_driver_sql(statement)
    engine.dispose()
    clean(stores)


# -- erasure ---------------------------------------------------------------------------------


def test_erasure_leaves_a_listed_hole_and_old_proofs_stand(stores: Stores) -> None:
    log = stores.log()
    log.append(logs.consents("a", 5))
    proof, entry = log.prove(2), stores.storage().entries(2, 3)[0]
    indexes = stores.openings().of_subject(logs.subject_of("a-2"))
    assert indexes == [2]
    erased = log.erase("retailer", logs.id_of("erasure"), indexes)
    assert erased.indexes == (5,)
    gone = stores.openings().read(2, 3)[0]
    assert (gone.opening, gone.subject) == (None, None)
    assert stores.openings().of_subject(logs.subject_of("a-2")) == []
    verify_proof(proof, entry, logs.policy())
    assert log.erase("retailer", logs.id_of("erasure"), indexes).indexes == (5,)
    assert log.append([logs.consent("a-2")]).indexes == (2,)  # known, not logged anew
    clean(stores)


def test_only_peoples_events_are_erased(stores: Stores) -> None:
    log = stores.log()
    log.append([logs.consent("a"), event("retailer", "job.closed", bytes(16), {})])
    for indexes in ([1], [0, 1], [2], [-1]):
        with pytest.raises(ProtocolViolation, match="bad_erasure"):
            log.erase("retailer", logs.id_of("e"), indexes)
    assert log.size == 2


def test_no_byte_of_an_erased_person_stays_in_any_file(tmp_path: Path) -> None:
    """SQLite; PostgreSQL's own log keeps old pages until it is recycled (docs/adr)."""
    stores = logs.sqlite(tmp_path / "log")
    log = stores.log()
    names = [f"person-{i:03d}" for i in range(400)]
    log.append([logs.consent(name) for name in names])
    log.append([logs.consent(name, "withdrawn") for name in names])
    chosen = [0, 7, 123, 399, 400, 407, 523, 799]
    openings = [one for one in stores.openings().read(0, 800) if one.index in chosen]
    secrets: list[bytes] = []
    for one in openings:
        assert one.opening is not None
        assert one.subject is not None
        secrets += [one.opening.salt, one.subject, one.opening.body, one.opening.body[-60:]]

    def found() -> int:
        data = b"".join(path.read_bytes() for path in sorted((tmp_path / "log").iterdir()))
        return sum(secret in data for secret in secrets)

    assert found() == len(secrets)
    log.erase("retailer", logs.id_of("erasure"), chosen)
    assert found() == 0
    clean(stores)


# -- a log that replaces another -------------------------------------------------------------


def test_a_restored_log_says_what_it_replaces(tmp_path: Path) -> None:
    lost = logs.sqlite(tmp_path / "lost")
    lost.log().append(logs.consents("a", 3))
    new = logs.sqlite(tmp_path / "new", "assent.test/consent/retailer-2")
    log = new.log()
    log.begin_after("retailer", logs.id_of("m"), lost.log().note)
    assert parse_leaf(new.storage().entries(0, 1)[0]).type == MIGRATED
    with pytest.raises(Refused, match="log_not_new"):
        log.begin_after("retailer", logs.id_of("m2"), lost.log().note)


# -- static files ----------------------------------------------------------------------------


def test_the_log_as_files(stores: Stores) -> None:
    log = stores.log()
    log.append(logs.consents("a", 300))
    storage = stores.storage()
    entries = storage.entries(0, 300)
    files = LogFiles(storage)
    checkpoint = files.get("checkpoint")
    assert checkpoint is not None
    assert (checkpoint.body.decode(), checkpoint.immutable) == (log.note, False)
    for tile in tiles_of(300):
        served = files.get(str(tile))
        assert served is not None
        assert served.immutable
        assert len(served.body) == tile.width * 32
        if tile.level == 0:
            start = tile.index * 256
            hashes = [hash_leaf(entry) for entry in entries[start : start + tile.width]]
            assert served.body == b"".join(hashes)
    bundle = files.get("tile/entries/001.p/44")
    assert bundle is not None
    assert decode_bundle(bundle.body, 44) == entries[256:]
    partial = files.get("tile/0/001.p/10")  # of an older checkpoint: still there
    assert partial is not None
    assert len(partial.body) == 320
    for path in ("tile/0/001", "tile/0/001.p/45", "tile/0/002.p/1", "tile/2/000.p/1", "../log.db"):
        assert files.get(path) is None


# -- damage ----------------------------------------------------------------------------------


def test_databases_of_other_kinds_are_refused() -> None:
    with pytest.raises(BadInput, match="sqlite or postgresql"):
        Stores("mysql://x/y", "sqlite://").storage()


@pytest.mark.parametrize(
    ("party", "type_", "id_", "fields"),
    [
        ("", CONSENT, bytes(16), {}),
        ("x" * 257, CONSENT, bytes(16), {}),
        ("a", "nonsense", bytes(16), {}),
        ("a", CONSENT, bytes(15), {}),
        ("a", CONSENT, bytes(16), {"x": "y" * 70_000}),
    ],
)
def test_events_that_cannot_be(party: str, type_: str, id_: bytes, fields: dict) -> None:  # type: ignore[type-arg]
    with pytest.raises(BadInput):
        event(party, type_, id_, fields)


@pytest.mark.parametrize("round_", range(5))
def test_opening_a_new_log_from_many_threads_at_once(tmp_path: Path, round_: int) -> None:
    stores = logs.sqlite(tmp_path / "log")
    opened: list[object] = []

    def start() -> None:
        opened.append((stores.storage(), stores.openings()))

    threads = [threading.Thread(target=start) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(opened) == 6
