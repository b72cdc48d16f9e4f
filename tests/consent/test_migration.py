"""A log that takes the place of a lost one: what its first entry says, and who notices what."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assent.main import app
from catalog.collaboration import Collaboration, Endpoint, card_text, dump_collaboration
from consent.audit_files import default_policy, kept_notes, verify
from consent.audit_jobs import JobRule
from consent.audit_rules import ConsentRule
from consent.leaf import MIGRATED, event, parse_leaf
from consent.ledger import Places
from consent.local import LocalConsent
from consent.log import Log
from consent.migration import Migrated, last_heads, migrate, notes_of
from consent.replica import Replica
from consent.trust import AUDITOR, base_of, consent_origin, log_signer, witness_signer
from protocol.errors import BadInput, Failed, ProtocolViolation, Refused
from tests import ledgers
from tests.consent import logs, made
from tests.consent.test_audit_rules import bundle


def places(stand: ledgers.Stand, name: str = "new") -> Places:
    folder = stand.folder / name
    folder.mkdir(exist_ok=True)
    return Places.in_folder(folder)


def old_notes(stand: ledgers.Stand) -> list[str]:
    return list(notes_of(Places.in_folder(stand.folder).tree))


def begun(stand: ledgers.Stand, notes: Iterable[str], name: str = "new") -> list[Migrated]:
    heads = last_heads(notes, stand.trust)
    parties = [one for one in stand.keys if one != AUDITOR]
    return migrate(places(stand, name), stand.consent, parties, heads, stand.clock, _random)


def _random(n: int) -> bytes:
    return b"\x07" * n


def served(stand: ledgers.Stand, name: str = "new") -> ledgers.Stand:
    """The same service and witnesses over the new logs."""
    stand.ledger.close()
    ledger = ledgers._ledger(
        stand.folder / name, stand.consent, stand.trust, stand.witnesses, stand.clock, stand.keys
    )
    return replace(stand, ledger=ledger)


def told(stand: ledgers.Stand) -> ledgers.Stand:
    stand.ledger.append("retailer", made.batch(["a", "b"])).result(10)
    stand.ledger.append("media", made.batch(["c"])).result(10)
    return stand


def audit(stand: ledgers.Stand, path: Path, keep: Path | None = None) -> tuple[int, list[str]]:
    kept = kept_notes(keep)
    policy = default_policy(stand.trust, path, kept)
    report = verify(path, policy, [ConsentRule(), JobRule({})], keep, kept)
    for one in report.findings:
        assert one.sentence("en") != one.sentence("zh")
    return report.exit_code, [one.code for one in report.findings]


def test_new_logs_say_what_they_replace_and_everybody_goes_on(
    stand: ledgers.Stand, tmp_path: Path
) -> None:
    told(stand)
    keep = tmp_path / "kept"
    assert audit(stand, bundle(stand, AUDITOR, tmp_path / "old.bundle"), keep) == (0, [])
    stand.ledger.append("retailer", made.batch(["a"], "withdrawn")).result(10)
    done = begun(stand, old_notes(stand))
    assert [(one.replaced, one.size) for one in done] == [
        (stand.ledger.consent_log("retailer"), 3),
        (stand.ledger.consent_log("media"), 1),
        (stand.ledger.jobs, 0),
    ]
    new = served(stand)
    assert [one.origin for one in done] == list(new.ledger.origins)
    first = new.ledger.page(done[0].origin, 0).entries[0]
    assert (parse_leaf(first.leaf).type, first.opening is not None) == (MIGRATED, True)
    # A node that begins anew takes it, an auditor who kept the old log's checkpoints too.
    new.ledger.append("retailer", made.batch(["b"])).result(10)
    key = stand.keys["retailer"].storage
    replica = Replica(tmp_path / "r.sqlite", "retailer", stand.trust, key)
    asyncio.run(replica.sync(LocalConsent(new.ledger, "retailer")))
    replica.require_fresh(stand.clock())
    assert (replica.applied(), [len(batch) for batch in replica.batches()]) == (2, [1])
    assert audit(stand, bundle(new, AUDITOR, tmp_path / "new.bundle"), keep) == (0, [])
    assert len(kept_notes(keep)) == 6
    own = bundle(new, "media", tmp_path / "own.bundle")
    assert audit(stand, own) == (0, [])
    assert done[2].replaced in own.read_text()  # what became of the job log is for all to read
    replica.close()
    new.close()


def test_a_node_keeps_the_log_that_it_knows_until_its_owner_says_otherwise(
    stand: ledgers.Stand, replica: Replica
) -> None:
    asyncio.run(replica.sync(LocalConsent(told(stand).ledger, "retailer")))
    begun(stand, old_notes(stand))
    new = served(stand)
    with pytest.raises(ProtocolViolation):
        asyncio.run(replica.sync(LocalConsent(new.ledger, "retailer")))
    with pytest.raises(Refused) as caught:
        replica.require_fresh(stand.clock())
    assert caught.value.info.code == "consent_inconsistent"
    new.close()


def test_entries_that_were_lost_are_named(stand: ledgers.Stand, tmp_path: Path) -> None:
    told(stand)
    restored = old_notes(stand)  # of the backup
    stand.ledger.append("retailer", made.batch(["d"])).result(10)
    keep = tmp_path / "kept"
    assert audit(stand, bundle(stand, AUDITOR, tmp_path / "old.bundle"), keep) == (0, [])
    # The newest checkpoint is with whoever cosigned it.
    notes = [*restored, *stand.witnesses["media"].heads()]
    assert last_heads(notes, stand.trust)["retailer"].checkpoint.size == 3
    begun(stand, restored)
    new = served(stand)
    path = bundle(new, AUDITOR, tmp_path / "new.bundle")
    assert audit(stand, path, keep) == (3, ["replaced_behind"])
    new.close()


def log_of(stand: ledgers.Stand, stores: logs.Stores) -> Log:
    signer = log_signer(stand.consent, stores.origin)
    return Log(stores.storage(), stores.openings(), signer, stand.clock, _random)


def forged(stand: ledgers.Stand, note: str, first: int = 0) -> list[str]:
    """Findings of a new log of the retailer whose entry `first` names `note`."""
    origin = consent_origin("00000000000000ff", "retailer")
    folder = stand.folder / f"forged-{len(list(stand.folder.iterdir()))}"
    stores = logs.sqlite(folder, origin)
    log = log_of(stand, stores)
    for number in range(first):
        log.append([event("retailer", "job.closed", bytes([number]) * 16, {})])
    log.append([event("retailer", MIGRATED, b"m" * 16, {"checkpoint": note})])
    path = folder / "b"
    path.write_bytes(logs.exported(stores.source()))
    report = verify(path, default_policy(stand.trust, path), [], None)
    return [one.code for one in report.findings if one.code != "quorum_missing"]


def test_an_entry_that_names_no_earlier_log_is_found(stand: ledgers.Stand) -> None:
    (note,) = (one for one in old_notes(told(stand)) if "consent/retailer" in one)
    (other,) = (one for one in old_notes(stand) if "consent/media" in one)
    assert forged(stand, note) == []
    assert forged(stand, note, first=1) == ["bad_migration"]
    assert forged(stand, other) == ["bad_migration"]
    assert forged(stand, "nonsense") == ["bad_migration"]
    bent = note.replace("\n2\n", "\n3\n")
    assert bent != note
    assert forged(stand, bent) == ["bad_migration"]
    itself = note.replace(str(base_of(note.split("\n")[0])), "00000000000000ff")
    assert forged(stand, itself) == ["bad_migration"]
    stand.close()


def test_another_story_at_the_end_of_the_old_log_is_found(
    stand: ledgers.Stand, tmp_path: Path
) -> None:
    keep = tmp_path / "kept"
    assert audit(stand, bundle(told(stand), AUDITOR, tmp_path / "old.bundle"), keep) == (0, [])
    # The service signs another tree of that size, and a quorum that keeps nothing cosigns it.
    origin = stand.ledger.consent_log("retailer")
    log = log_of(stand, logs.sqlite(tmp_path / "other", origin))
    log.append(logs.consents("x", 2))
    text = log.note.partition("\n\n")[0] + "\n"
    now = int(stand.clock())
    begun(
        stand, [log.publish([witness_signer(k, n).line(text, now) for n, k in stand.keys.items()])]
    )
    new = served(stand)
    # Of the other logs the new ones say nothing, so that they are missing.
    found = audit(stand, bundle(new, AUDITOR, tmp_path / "new.bundle"), keep)
    assert found == (1, ["kept_differs", "log_missing", "log_missing"])
    new.close()


def test_the_auditors_own_policy_may_not_know_the_old_log(
    stand: ledgers.Stand, tmp_path: Path
) -> None:
    begun(stand, old_notes(told(stand)))
    new = served(stand)
    path = bundle(new, "retailer", tmp_path / "b")
    report = verify(path, stand.trust.policy(*new.ledger.origins), [], None)
    assert {one.code for one in report.findings} == {"replaced_unknown"}
    assert report.exit_code == 3
    new.close()


# -- the command -------------------------------------------------------------------------------


def test_run_again_it_says_the_same_and_goes_on_where_it_was_killed(
    stand: ledgers.Stand, monkeypatch: pytest.MonkeyPatch
) -> None:
    notes = old_notes(told(stand))
    real, calls = Log.begin_after, []

    def dying(log: Log, party: str, id: bytes, note: str) -> object:
        calls.append(party)
        if len(calls) == 2:
            raise Failed("killed", "in the middle")
        return real(log, party, id, note)

    monkeypatch.setattr(Log, "begin_after", dying)
    with pytest.raises(Failed, match="in the middle"):
        begun(stand, notes)
    done = begun(stand, notes)
    assert calls == ["retailer", "media", "media", "consent"]
    assert begun(stand, notes) == done
    assert len(calls) == 4
    new = served(stand)
    assert [new.ledger.page(one.origin, 0).entries[1:] for one in done] == [(), (), ()]
    new.ledger.append("media", made.batch(["a"])).result(10)
    with pytest.raises(Refused, match="without entries"):
        begun(new, notes)
    new.close()


def test_what_cannot_be_replaced_is_said(stand: ledgers.Stand, tmp_path: Path) -> None:
    notes = old_notes(told(stand))
    other = ledgers.stand(tmp_path / "other", stand.clock, stand.keys, stand.consent)
    stranger = replace(stand.trust, consent=ledgers.new_keys("consent", "consent").card)
    for given, trust, said in (
        ([*notes, *old_notes(other)], stand.trust, "two consent services"),
        (notes, stranger, "--old-card"),
        ([note.replace("/consent/", "/other/") for note in notes], stand.trust, "not the name"),
        (["x"], stand.trust, "not valid"),
    ):
        with pytest.raises(BadInput) as caught:
            last_heads(given, trust)
        assert said in str(caught.value)
    heads = last_heads(notes, stand.trust)
    with pytest.raises(BadInput, match="the old ones"):
        migrate(Places.in_folder(stand.folder), stand.consent, ["retailer"], heads, stand.clock,
                _random)  # fmt: skip
    other.close()
    stand.close()


def test_the_operators_command(stand: ledgers.Stand, tmp_path: Path) -> None:
    """The old keys are lost, the old database is there; then it is lost too and a note is kept."""
    notes = old_notes(told(stand))
    ledgers.keep(stand)
    stand.close()
    now = ledgers.new_keys("consent", "consent", "localhost:1")
    others = {name: ledgers.new_keys(name, name, "localhost:2") for name in ("coordinator",)}
    folder = tmp_path / "now"
    ledgers.keep(replace(stand, folder=folder, consent=now))
    cards = {name: Endpoint.of(stand.keys[name].card) for name in ("retailer", "media")}
    collaboration = folder / "collaboration.yaml"
    collaboration.write_text(dump_collaboration(Collaboration(
        Endpoint.of(others["coordinator"].card), Endpoint.of(now.card), cards,
        auditor=Endpoint.of(stand.keys[AUDITOR].card),
    )))  # fmt: skip
    old_card = tmp_path / "old.yaml"
    old_card.write_text(card_text(replace(stand.consent.card, address="localhost:3")))
    note = tmp_path / "note"
    note.write_text(next(one for one in notes if "consent/retailer" in one))

    def run(data: str, *more: object) -> tuple[int, str]:
        done = CliRunner().invoke(app, [
            "consent", "migrate", "--collaboration", str(collaboration),
            "--data", str(folder / data), "--keys", str(folder / "keys" / "consent"),
            *map(str, more),
        ])  # fmt: skip
        return done.exit_code, done.output or str(done.exception)

    code, said = run("a", "--from", stand.folder)
    assert (code, "not valid" in said) == (1, True)  # signed by keys that are on no card now
    code, said = run("a", "--from", stand.folder, "--old-card", old_card)
    assert code == 0, said
    assert [line.split(" ", 1)[1].split("/")[-1] for line in said.splitlines()] == [
        "retailer, 2 entries", "media, 1 entries", "jobs, 0 entries",
    ]  # fmt: skip
    code, said = run("b", "--note", note, "--old-card", old_card)
    assert code == 0
    assert [line.split(" ", 2)[1] for line in said.splitlines()] == ["replaces", "is", "is"]
    assert "nothing says" in run("c")[1]
    assert "no log.sqlite" in run("c", "--from", tmp_path)[1]
    nowhere = f"sqlite:///{tmp_path}/nothing.sqlite"
    assert "no such database" in run("c", "--from", nowhere)[1]
    assert not (tmp_path / "nothing.sqlite").exists()
