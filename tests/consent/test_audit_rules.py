"""The auditor's rules over consent records, and an auditor's files on disk."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from consent.audit_files import (
    contents,
    csv_lines,
    default_policy,
    json_lines,
    kept_notes,
    verify,
)
from consent.audit_rules import ConsentRule
from consent.ledger import Ledger
from consent.trust import AUDITOR
from protocol.errors import BadInput
from tests import ledgers
from tests.consent import made


@pytest.fixture
def stand(tmp_path: Path) -> ledgers.Stand:
    clock = made.Clock()
    keys = {name: ledgers.new_keys(name) for name in ("retailer", "media")}
    keys[AUDITOR] = ledgers.new_keys(AUDITOR, AUDITOR)
    return ledgers.stand(tmp_path / "ledger", clock, keys, ledgers.new_keys("consent", "consent"))


def bundle(stand: ledgers.Stand, reader: str, path: Path) -> Path:
    for origin in stand.ledger.origins_for(reader):
        renewing = stand.ledger.renewed(origin)
        if renewing is not None:
            renewing.result(10)
    path.write_bytes(b"".join(stand.ledger.bundle(reader)))
    return path


def audit(stand: ledgers.Stand, path: Path, keep: Path | None = None) -> tuple[int, list[str]]:
    kept = kept_notes(keep)
    report = verify(path, default_policy(stand.trust, path, kept), [ConsentRule()], keep, kept)
    return report.exit_code, [one.code for one in report.findings]


def append(ledger: Ledger, party: str, *batches: object) -> None:
    for batch in batches:
        ledger.append(party, batch).result(10)  # type: ignore[arg-type]


def test_a_history_that_can_be_is_verified(stand: ledgers.Stand, tmp_path: Path) -> None:
    append(
        stand.ledger, "retailer",
        made.batch(["a", "b"]),
        made.batch(["a"], "withdrawn", channel="counter"),
        made.batch(["a"]),
        made.batch(["b"], "renewed"),
    )  # fmt: skip
    assert audit(stand, bundle(stand, AUDITOR, tmp_path / "a.bundle")) == (0, [])
    stand.close()


def test_what_cannot_have_happened_is_named_by_its_entry(
    stand: ledgers.Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A ledger that does not look, as a dishonest one would not.
    monkeypatch.setattr("consent.record_check.check_batch", lambda *_: None)
    append(
        stand.ledger, "retailer",
        made.batch(["a", "b"], ["withdrawn", "given"]),
        made.batch(["b", "a"], "renewed"),
    )  # fmt: skip
    path = bundle(stand, AUDITOR, tmp_path / "a.bundle")
    report = verify(path, default_policy(stand.trust, path), [ConsentRule()], None)
    assert report.exit_code == 1
    (finding,) = report.findings
    assert finding.code == "illegal_transition"
    assert dict(finding.values) == {"index": 3, "before": "withdrawn", "after": "renewed"}
    assert "renewed" in finding.sentence("zh")
    stand.close()


def test_an_entry_that_is_no_record_is_named(
    stand: ledgers.Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from consent import record_check

    bodies = record_check.bodies
    monkeypatch.setattr(
        "consent.record_check.bodies",
        lambda batch: [body.replace(b'"given"', b'"gifted"') for body in bodies(batch)],
    )
    append(stand.ledger, "media", made.batch(["a"]))
    monkeypatch.undo()
    append(stand.ledger, "media", made.batch(["b"]))
    code, found = audit(stand, bundle(stand, AUDITOR, tmp_path / "a.bundle"))
    assert (code, found) == (1, ["bad_record"])
    stand.close()


def test_a_party_sees_its_own_contents_and_the_auditor_all(
    stand: ledgers.Stand, tmp_path: Path
) -> None:
    append(stand.ledger, "retailer", made.batch(["a"]))
    append(stand.ledger, "media", made.batch(["b", "c"]))
    own = bundle(stand, "retailer", tmp_path / "r.bundle")
    every = bundle(stand, AUDITOR, tmp_path / "a.bundle")
    assert len(contents(own).origins) == 2
    assert len(contents(every).origins) == 3
    assert made.token("b").hex() not in own.read_text()
    assert len(list(json_lines(own))) == 1
    assert len(list(json_lines(every))) == 3
    stand.close()


def test_a_log_made_anew_under_the_old_name_does_not_pass_a_keeper(
    stand: ledgers.Stand, tmp_path: Path
) -> None:
    append(stand.ledger, "retailer", made.batch(["a"]))
    first = bundle(stand, "retailer", tmp_path / "1.bundle")
    keep = tmp_path / "kept"
    assert audit(stand, first, keep) == (0, [])
    assert len(kept_notes(keep)) == 2
    append(stand.ledger, "retailer", made.batch(["b"]))
    second = bundle(stand, "retailer", tmp_path / "2.bundle")
    assert audit(stand, second, keep) == (0, [])
    code, found = audit(stand, first, keep)  # an old bundle after a newer one
    assert code == 3
    assert "kept_ahead" in found
    stand.close()


def test_a_kept_checkpoint_that_is_not_genuine_is_bad_input(
    stand: ledgers.Stand, tmp_path: Path
) -> None:
    path = bundle(stand, "retailer", tmp_path / "1.bundle")
    keep = tmp_path / "kept"
    assert audit(stand, path, keep)[0] == 0
    one = next(keep.glob("*.checkpoint"))
    one.write_text(one.read_text().replace("\n0\n", "\n1\n"))
    with pytest.raises(BadInput, match="kept checkpoint"):
        audit(stand, path, keep)
    stand.close()


def test_a_log_that_was_kept_and_is_not_in_the_bundle_is_missing(
    stand: ledgers.Stand, tmp_path: Path
) -> None:
    keep = tmp_path / "kept"
    assert audit(stand, bundle(stand, AUDITOR, tmp_path / "all.bundle"), keep) == (0, [])
    own = bundle(stand, "retailer", tmp_path / "own.bundle")
    assert audit(stand, own, keep) == (3, ["log_missing"])
    stand.close()


def test_a_single_note_is_kept_as_well_as_a_folder(stand: ledgers.Stand, tmp_path: Path) -> None:
    append(stand.ledger, "retailer", made.batch(["a"]))
    path = bundle(stand, "retailer", tmp_path / "1.bundle")
    note = tmp_path / "mine.txt"
    note.write_text(stand.ledger.head(stand.ledger.consent_log("retailer")).checkpoint)
    (text,) = kept_notes(None, [note])
    report = verify(path, default_policy(stand.trust, path, [text]), [ConsentRule()], None, [text])
    assert report.exit_code == 0
    other = ledgers.stand(tmp_path / "other", stand.clock, stand.keys, stand.consent)
    append(other.ledger, "retailer", made.batch(["a"]))
    note.write_text(other.ledger.head(other.ledger.consent_log("retailer")).checkpoint)
    (text,) = kept_notes(None, [note])
    report = verify(path, default_policy(stand.trust, path, [text]), [ConsentRule()], None, [text])
    assert [one.code for one in report.findings] == ["log_missing"]
    for bad in (b"\xff", b"x" * 2_000_000):
        note.write_bytes(bad)
        with pytest.raises(BadInput, match="mine"):
            kept_notes(None, [note])
    with pytest.raises(BadInput, match="cannot be read"):
        kept_notes(None, [tmp_path / "absent"])
    other.close()
    stand.close()


def test_a_bundle_has_a_quorum_that_has_just_looked(
    stand: ledgers.Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stale = b"".join(stand.ledger.bundle("retailer"))
    (tmp_path / "stale.bundle").write_bytes(stale)
    code, found = audit(stand, tmp_path / "stale.bundle")
    assert (code, set(found)) == (3, {"quorum_missing"})
    assert audit(stand, bundle(stand, "retailer", tmp_path / "now.bundle")) == (0, [])
    stand.close()


def test_no_cell_of_a_csv_export_is_a_formula(tmp_path: Path) -> None:
    """A bundle is somebody else's file: any of its words may be meant for a spreadsheet."""
    bad = ("=1+1", "+1", "-1", "@x", "\tx", "  =1", "＝1", "plain=1")
    lines: list[dict[str, object]] = [{"assent_bundle": 1}]
    for text in bad:
        leaf = dict.fromkeys(("time", "party", "type", "commitment"), text)
        lines.append({"log": text, "openings": []})
        lines.append({"leaf": json.dumps(leaf), "opening": {"salt": "", "body": text}})
    file = tmp_path / "b.bundle"
    file.write_bytes(b"".join(json.dumps(line).encode() + b"\n" for line in lines))
    rows = list(csv.DictReader(io.StringIO("".join(csv_lines(file)), newline="")))
    for text, row in zip(bad, rows, strict=True):
        right = text if text == "plain=1" else f"'{text}"
        assert {row[name] for name in ("log", "party", "type", "body")} == {right}


def test_exports_have_every_entry(stand: ledgers.Stand, tmp_path: Path) -> None:
    append(stand.ledger, "retailer", made.batch(["a", "b"]))
    path = bundle(stand, "retailer", tmp_path / "r.bundle")
    rows = list(csv.reader(io.StringIO("".join(csv_lines(path)))))
    assert rows[0][:5] == ["log", "index", "time", "party", "type"]
    assert [row[1] for row in rows[1:]] == ["0", "1"]
    assert {row[6] for row in rows[1:]} == {"yes"}
    lines = [json.loads(line) for line in json_lines(path)]
    assert [line["index"] for line in lines] == [0, 1]
    assert json.loads(rows[1][7])["id"] == json.loads(lines[0]["opening"]["body"])["id"]
    stand.close()


def test_a_file_that_is_no_bundle_or_not_there(stand: ledgers.Stand, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(b"\x00\xff garbage\n" * 3)
    with pytest.raises(BadInput, match="not an Assent bundle"):
        audit(stand, tmp_path / "x")
    with pytest.raises(BadInput, match="cannot be read"):
        audit(stand, tmp_path / "missing")
    stand.close()
