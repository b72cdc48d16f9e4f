"""The offline audit: what it finds in bundles of honest and dishonest logs, and how it says so."""

from __future__ import annotations

import contextlib
import hashlib
import json
import random
from collections.abc import Iterable
from pathlib import Path

import pytest

from consent.audit import audit_bundle
from consent.audit_report import Report
from consent.bundle import Source, end_line
from consent.leaf import ERASED, Event, event, parse_leaf
from consent.log_sql import SqlOpenings
from consent.log_storage import StoredOpening
from consent.policy import Policy
from protocol.errors import BadInput
from tests.consent import logs
from tests.consent.logs import Stores
from tests.consent.made import START, Clock


def story(folder: Path) -> Stores:
    """A log with three batches, an erasure and a quorum of two."""
    stores = logs.sqlite(folder)
    log = stores.log()
    log.append(logs.consents("a", 3))
    log.append([logs.consent("a-1", "withdrawn")])
    log.erase("retailer", logs.id_of("erasure"), [1, 3])
    log.append([logs.consent("张三")])
    logs.cosigned(stores, ["x", "y"], START + 9)
    return stores


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Stores:
    return story(tmp_path_factory.mktemp("told") / "log")


@pytest.fixture(scope="module")
def bundle(told: Stores) -> bytes:
    return logs.exported(told.source())


POLICY = logs.policy("x", "y", "z")


def audit(data: bytes, policy: Policy = POLICY, kept: Iterable[str] = ()) -> Report:
    return audit_bundle(logs.lines(data), policy, tuple(kept))


def codes(report: Report) -> list[str]:
    return [one.code for one in report.findings]


def resealed(lines: list[bytes]) -> bytes:
    """The lines with a right end: what somebody makes who knows the format."""
    body = b"".join(lines)
    return body + end_line(len(lines), hashlib.sha256(body).hexdigest())


def changed(bundle: bytes, old: bytes, new: bytes) -> bytes:
    assert bundle.count(old) >= 1
    return resealed(logs.lines(bundle.replace(old, new, 1))[:-1])


def test_an_honest_bundle_is_verified(bundle: bytes) -> None:
    report = audit(bundle)
    assert (report.exit_code, report.findings) == (0, ())
    (log,) = report.logs
    assert (log.origin, log.size, log.checkpoints) == (logs.ORIGIN, 6, 5)
    assert (log.opened, log.erased, log.closed, log.quorum_time) == (4, 2, 0, START + 9)


def test_it_is_canonical_and_says_the_same_each_time(told: Stores, bundle: bytes) -> None:
    assert logs.exported(told.source()) == bundle
    for line in logs.lines(bundle):
        fields = json.loads(line)
        again = json.dumps(fields, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
        assert again.encode() + b"\n" == line


def test_several_logs_in_one_bundle(told: Stores, tmp_path: Path) -> None:
    jobs = logs.sqlite(tmp_path / "jobs", "assent.test/jobs")
    jobs.log().append([event("retailer", "job.closed", bytes(16), {"job": "x"})])
    both = Policy((*POLICY.logs, logs.log_key(jobs.origin).key), {}, {}, "none")
    data = logs.exported(told.source(), jobs.source())
    assert audit(data, both).exit_code == 0
    assert [log.size for log in audit(data, both).logs] == [6, 1]
    assert "log_twice" in codes(audit(logs.exported(told.source(), told.source())))
    # a log that the auditor's policy does not know is not believed
    assert codes(audit(data))[0] == "bad_checkpoint"


# -- what is missing ---------------------------------------------------------------------------


def test_without_a_quorum_it_is_incomplete(bundle: bytes) -> None:
    report = audit(bundle, logs.policy("x", "u", "v"))
    assert (report.exit_code, codes(report)) == (3, ["quorum_missing"])


class Withheld(SqlOpenings):
    """An exporter that claims openings and leaves them out."""

    def read(self, start: int, end: int) -> list[StoredOpening]:
        return []


def withheld(stores: Stores) -> bytes:
    openings = Withheld(stores.private, stores.origin)
    return logs.exported(Source(stores.origin, stores.storage(), openings, (logs.PARTY,)))


def test_withheld_openings_are_incomplete(told: Stores) -> None:
    report = audit(withheld(told))
    assert report.exit_code == 3
    assert set(codes(report)) == {"opening_missing"}
    assert report.findings[0].values == {"index": 0}


def two_parties(folder: Path) -> Stores:
    """A log in which two parties have entries, as the job log."""
    stores = logs.sqlite(folder)
    log = stores.log()
    log.append(logs.consents("a", 2))
    log.append([logs.consent("b", party="media"), logs.consent("c")])
    logs.cosigned(stores, ["x", "y"], START + 9)
    return stores


def seen_by(stores: Stores, *parties: str) -> bytes:
    return logs.exported(Source(stores.origin, stores.storage(), stores.openings(), parties))


def test_entries_of_other_parties_are_closed(tmp_path: Path) -> None:
    stores = two_parties(tmp_path / "log")
    for parties, opened in [((), 0), (("media",), 1), (("retailer",), 3),
                            (("media", "retailer"), 4)]:  # fmt: skip
        data = seen_by(stores, *parties)
        assert data.count(b'"opening"') == opened
        report = audit(data)
        assert (report.exit_code, report.logs[0].opened, report.closed) == (0, opened, 4 - opened)
        for language, word in (("en", "closed: of what they say"), ("zh", "未公开内容")):
            assert (word in report.to_text(language)) == (opened < 4)


def test_an_opening_that_is_not_claimed_and_a_claim_that_is_not_kept(tmp_path: Path) -> None:
    stores = two_parties(tmp_path / "log")
    all_open, own = seen_by(stores, "media", "retailer"), seen_by(stores, "retailer")
    report = audit(changed(all_open, b'"openings":["media","retailer"]', b'"openings":["media"]'))
    assert (report.exit_code, codes(report)) == (1, ["opening_unclaimed"] * 3)
    report = audit(changed(own, b'"openings":["retailer"]', b'"openings":["media","retailer"]'))
    assert (report.exit_code, codes(report)) == (3, ["opening_missing"])
    assert report.findings[0].values == {"index": 2}


@pytest.mark.parametrize("claim", ['["b","a"]', '["a","a"]', '[""]', "[1]", '"a"', "null", "{}"])
def test_a_claim_is_a_sorted_list_of_names(bundle: bytes, claim: str) -> None:
    report = audit(changed(bundle, b'["retailer"]', claim.encode()))
    assert report.exit_code == 1
    assert codes(report)[0] == "bad_line"


def test_many_findings_of_a_kind_are_counted(tmp_path: Path) -> None:
    stores = logs.sqlite(tmp_path / "log")
    stores.log().append(logs.consents("a", 50))
    report = audit(withheld(stores), logs.policy())
    assert codes(report) == ["opening_missing"] * 20 + ["more_missing"]
    assert report.findings[-1].values == {"count": 30, "kind": "opening_missing"}
    assert report.exit_code == 3


def test_a_bundle_older_than_what_was_kept_is_incomplete(told: Stores, tmp_path: Path) -> None:
    old = story(tmp_path / "log")  # the same story, told by a log with other salts
    note = old.storage().checkpoint() or ""
    data = logs.exported(old.source())
    assert audit(data, kept=[note]).exit_code == 0
    old.log().append(logs.consents("more", 3))
    report = audit(data, kept=[old.storage().checkpoint() or ""])
    assert (report.exit_code, codes(report)) == (3, ["kept_ahead"])
    assert report.findings[0].values == {"kept": 9, "size": 6}


def test_a_log_that_is_left_out_is_incomplete(bundle: bytes, tmp_path: Path) -> None:
    jobs = logs.sqlite(tmp_path / "jobs", "assent.test/jobs")
    both = Policy(
        (*POLICY.logs, logs.log_key(jobs.origin).key), POLICY.witnesses, POLICY.groups, "majority"
    )
    report = audit(bundle, both, [jobs.log().note])
    assert (report.exit_code, codes(report)) == (3, ["log_missing"])
    assert report.findings[0].log == jobs.origin


def test_entries_under_no_checkpoint(bundle: bytes) -> None:
    lines = logs.lines(bundle)[:-1]
    report = audit(resealed(lines[:-1]))
    assert report.exit_code == 3
    assert set(codes(report)) == {"uncovered", "quorum_missing"}
    head, log = lines[:2]
    assert codes(audit(resealed([head, log]))) == ["no_checkpoint"]


# -- what is wrong ----------------------------------------------------------------------------


def test_another_story_than_the_one_that_was_kept(bundle: bytes, tmp_path: Path) -> None:
    other = story(tmp_path / "log")
    report = audit(
        bundle, kept=[note for _, note in other.storage().checkpoints() if "\n0\n" not in note]
    )
    assert report.exit_code == 1
    assert codes(report) == ["kept_differs"] * 4
    assert [one.values["size"] for one in report.findings] == [3, 4, 5, 6]


def test_a_changed_entry_is_named_by_its_batch(bundle: bytes) -> None:
    report = audit(changed(bundle, b'party\\":\\"retailer', b'party\\":\\"RETAILER'))
    assert (report.exit_code, codes(report)) == (1, ["opening_unclaimed", "root_differs"])
    assert dict(report.findings[1].values) == {"first": 0, "last": 2, "size": 3}


def test_a_changed_content_is_named(bundle: bytes) -> None:
    report = audit(changed(bundle, b'who\\":\\"a-2', b'who\\":\\"b-2'))
    assert (report.exit_code, codes(report)) == (1, ["bad_opening"])
    assert report.findings[0].values["index"] == 2


def test_swapped_removed_and_doubled_entries_are_found(bundle: bytes) -> None:
    lines = logs.lines(bundle)[:-1]
    assert b'"leaf"' in lines[3]
    assert b'"leaf"' in lines[4]
    swapped = [*lines[:3], lines[4], lines[3], *lines[5:]]
    assert codes(audit(resealed(swapped)))[0] == "root_differs"
    assert audit(resealed([*lines[:3], *lines[4:]])).exit_code == 1
    assert audit(resealed([*lines[:4], *lines[3:]])).exit_code == 1


def test_checkpoints_out_of_place_are_found(bundle: bytes) -> None:
    lines = logs.lines(bundle)[:-1]
    last = lines[-1]
    assert b'"checkpoint"' in last
    assert "checkpoint_order" in codes(audit(resealed([*lines, last])))
    assert "checkpoint_order" in codes(audit(resealed([*lines[:3], last, *lines[3:]])))
    # leaving out one in the middle hides nothing: the later ones cover its entries
    middle = next(n for n, line in enumerate(lines) if n > 4 and b'"checkpoint"' in line)
    assert audit(resealed([*lines[:middle], *lines[middle + 1 :]])).exit_code == 0


def test_erasures(tmp_path: Path) -> None:
    def erasing(name: str, indexes: object) -> Report:
        stores = logs.sqlite(tmp_path / name)
        log = stores.log()
        log.append([logs.consent("a"), event("retailer", "job.closed", bytes(16), {})])
        body = event("retailer", ERASED, logs.id_of("e"), {"indexes": indexes}).body
        log.append([Event("retailer", ERASED, logs.id_of("e"), body, None)])
        return audit(logs.exported(stores.source()), logs.policy())

    assert codes(erasing("present", [0])) == ["erased_present"]
    assert "bad_erasure" in codes(erasing("job", [1]))
    assert "bad_erasure" in codes(erasing("itself", [2]))
    assert "bad_erasure" in codes(erasing("later", [7]))
    assert "bad_erasure" in codes(erasing("words", ["0"]))
    assert "bad_erasure" in codes(erasing("bool", [False]))
    assert "bad_erasure" in codes(erasing("none", "all"))
    assert codes(erasing("empty", [])) == []


def test_times_that_go_back(tmp_path: Path) -> None:
    stores = logs.sqlite(tmp_path / "log")
    clock = Clock()
    log = stores.log(clock)
    log.append([logs.consent("a")])
    log._minute, clock.now = "", START - 600  # what an honest writer cannot do
    log.append([logs.consent("b")])
    report = audit(logs.exported(stores.source()), logs.policy())
    assert (codes(report), report.findings[0].values) == (["time_backwards"], {"index": 1})
    fresh = logs.sqlite(tmp_path / "witness")
    fresh.log().append([logs.consent("a")])
    logs.cosigned(fresh, ["x"], START + 50)
    fresh.log().append([logs.consent("b")])
    logs.cosigned(fresh, ["x"], START + 40)
    report = audit(logs.exported(fresh.source()), logs.policy("x"))
    assert codes(report) == ["witness_backwards"]


def test_lines_that_no_bundle_has(bundle: bytes) -> None:
    lines = logs.lines(bundle)[:-1]
    for bad in (
        b'{"leaf":1}\n', b'{"checkpoint":1}\n', b'{"log":"x"}\n', b'{"log":1,"openings":[]}\n',
        b'{"log":"","openings":[]}\n', b"[]\n", b"{}\n",
        b'{"assent_bundle":1}\n', b'{"leaf":"x","more":1}\n', b'{"x":1.5}\n', b'{"x":NaN}\n',
        b'{"log": "x"}\n', b"\n", b"\xff\n", b'{"log":"\\ud800"}\n', b"[" * 100_000 + b"\n",
        b'{"log":"a","log":"a","openings":[]}\n', b"x" * 1_000_001 + b"\n",
    ):  # fmt: skip
        report = audit(resealed([*lines, bad]))
        assert (report.exit_code, codes(report)) == (1, ["bad_line"]), bad[:50]
    for opening in (b"1", b"{}", b'{"body":1,"salt":""}', b'{"body":"","salt":"zz"}',
                    b'{"body":"","salt":"AA"}', b'{"body":"","salt":"00"}'):  # fmt: skip
        leaf = json.loads(lines[3])["leaf"]
        line = b'{"leaf":' + json.dumps(leaf).encode() + b',"opening":' + opening + b"}\n"
        report = audit(resealed([*lines[:3], line, *lines[4:]]))
        assert codes(report) == ["bad_opening"]
    early = resealed([lines[0], lines[3], *lines[1:]])
    assert "bad_line" in codes(audit(early))
    assert "bad_line" in codes(audit(bundle + lines[-1]))


@pytest.mark.parametrize("data", [b"", b"hello\n", b"\x00" * 100, b"{}\n", b"PK\x03\x04" * 9])
def test_what_is_no_bundle_is_bad_input(data: bytes) -> None:
    with pytest.raises(BadInput, match="not an Assent bundle"):
        audit(data)


def test_a_kept_note_must_be_genuine(bundle: bytes) -> None:
    with pytest.raises(BadInput, match="kept checkpoint"):
        audit(bundle, kept=["nonsense"])


# -- every flipped byte -----------------------------------------------------------------------


def test_every_flipped_byte_is_found(bundle: bytes) -> None:
    for place in range(len(bundle)):
        flipped = bytearray(bundle)
        flipped[place] ^= 1 << (place % 8)
        report = audit(bytes(flipped))
        assert report.exit_code == 1, place
    assert len(bundle) > 3000


def test_every_cut_is_found(bundle: bytes) -> None:
    for end in range(1, len(bundle), 7):
        try:
            assert audit(bundle[:end]).exit_code == 1, end
        except BadInput:
            assert end < len(b'{"assent_bundle":1}\n')


def test_every_flipped_byte_under_a_right_digest_is_found(bundle: bytes) -> None:
    """The digest at the end protects nothing by itself: everything else must find it too."""
    body = bundle[: bundle.rindex(b'{"end"')]
    kept = [json.loads(logs.lines(bundle)[-2])["checkpoint"]]
    for place in range(len(body)):
        flipped = bytearray(body)
        flipped[place] ^= 1 << (place % 8)
        report = audit(resealed(logs.lines(bytes(flipped))), kept=kept)
        assert report.exit_code == 1, (place, body[place - 20 : place + 20], codes(report))


def test_a_cosignature_under_another_name_is_no_strangers(bundle: bytes) -> None:
    """Strangers' lines are ignored; a witness's own line never has another name or key id."""
    name = logs.witness_key("x").name.encode()
    renamed = audit(changed(bundle, name + b" ", name + b"x "))
    assert (renamed.exit_code, codes(renamed)) == (1, ["cosignature_misnamed", "quorum_missing"])
    assert renamed.findings[0].values["witness"] == "x"
    strangers = audit(bundle, logs.policy("u", "v"))
    assert (strangers.exit_code, codes(strangers)) == (3, ["quorum_missing"])


def test_the_quick_reading_of_a_line_says_what_a_json_parser_says(
    bundle: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    rng, swaps = (
        random.Random(5),
        [b'\\"', b"\\\\", b'"', b",", b"\xff", b"\n", b"\\u00e9", b" ", b"}"],
    )
    tried = []
    for place in rng.sample(range(len(bundle)), 400):
        wrong = bundle[:place] + rng.choice(swaps) + bundle[place + rng.randrange(3) :]
        with contextlib.suppress(BadInput):
            tried.append((wrong, audit(wrong).findings))
    monkeypatch.setattr("consent.audit.entry_of", lambda line: None)
    monkeypatch.setattr("consent.leaf.LeafReader.read", lambda self, data: parse_leaf(data))
    assert audit(bundle).findings == ()
    for wrong, findings in tried:
        assert audit(wrong).findings == findings
    assert len(tried) > 300


@pytest.mark.parametrize("seed", range(20))
def test_any_bytes_anywhere_end_in_a_report(bundle: bytes, seed: int) -> None:
    rng = random.Random(seed)
    for _ in range(5):
        start, length = rng.randrange(len(bundle)), rng.choice([0, 1, 50, 4000])
        noise = rng.choice([rng.randbytes(rng.randrange(300)), bundle[rng.randrange(3000) :][:200]])
        data = bundle[:start] + noise + bundle[start + length :]
        with contextlib.suppress(BadInput):
            assert data == bundle or audit(data).exit_code in (1, 3)
