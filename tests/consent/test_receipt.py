"""Receipts: what one proves, offline, and that no byte of it can change unseen."""

from __future__ import annotations

import base64
import datetime
import json
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from consent.body import bodies
from consent.errors import ProofError
from consent.leaf import CONSENT, Event, Opening
from consent.policy import Policy
from consent.receipt import Receipt, make_receipt, verify_receipt
from consent.records import RecordBatch
from protocol.encoding import canonical_json
from protocol.errors import AssentError
from protocol.identity import Card, create_keys
from tests.consent import logs, made
from tests.consent.test_body import full

ORIGIN = "assent/0123456789abcdef/consent/retailer"
KEYS = create_keys(
    "portal", "portal", storage=b"s" * 32, now=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC),
    address="localhost:1",
)  # fmt: skip
CARDS: dict[str, Card] = {"portal": KEYS.card}


def logged_events(batch: RecordBatch, party: str = "retailer", more: int = 2) -> list[Event]:
    """The first record of `batch` and some of other people, as the log wants them."""
    return [
        Event(party, CONSENT, one.record_ids[0].tobytes(), bodies(one)[0], bytes(one.subjects[0]))
        for one in (batch, *(made.batch([f"p{number}"]) for number in range(more)))
    ]


@dataclass
class Entry:
    leaf: bytes
    opening: Opening
    proof: str

    def receipt(self) -> str:
        return make_receipt(self.leaf, self.opening, self.proof, KEYS.signing)


def policy(*witnesses: str, origin: str = ORIGIN) -> Policy:
    return logs.policy(*witnesses, origin=origin)


def logged(
    folder: Path, batch: RecordBatch, origin: str = ORIGIN, party: str = "retailer"
) -> Entry:
    """The first record of `batch` in a log of seven, cosigned by two witnesses."""
    stores = logs.sqlite(folder, origin)
    log = stores.log()
    log.append(logged_events(batch, party, 6))
    logs.cosigned(stores, ["w1", "w2"])
    log = stores.log()
    (stored,) = stores.openings().read(0, 1)
    assert stored.opening is not None
    return Entry(stores.storage().entries(0, 1)[0], stored.opening, log.prove(0))


@pytest.fixture(scope="module")
def entry(tmp_path_factory: pytest.TempPathFactory) -> Entry:
    return logged(tmp_path_factory.mktemp("log"), full())


def test_a_receipt_proves_the_record_without_anybody(entry: Entry) -> None:
    found = verify_receipt(entry.receipt(), policy("w1", "w2"), CARDS)
    assert found.party == "retailer"
    assert found.signer == "portal"
    assert found.body == entry.opening.body
    assert (found.index, found.checkpoint.checkpoint.size) == (0, 7)
    assert found.record.scopes[0].recipients == ("银行",)
    assert set(found.checkpoint.times) == {"w1", "w2"}
    # with a newline at its end, as files have
    again = verify_receipt(entry.receipt() + "\n", policy("w1", "w2"), CARDS)
    assert (again.body, again.leaf) == (found.body, found.leaf)
    # without anybody's card it proves the record and says that the signer is a stranger
    assert verify_receipt(entry.receipt(), policy("w1")).signer == ""


def attempt(text: str, policy: Policy) -> Receipt | None:
    try:
        return verify_receipt(text, policy, CARDS)
    except AssentError as error:
        assert error.info.code in ("bad_proof", "bad_note", "bad_record")  # noqa: PT017
        return None


def test_every_flipped_bit_is_found(entry: Entry) -> None:
    text = (entry.receipt() + "\n").encode("ascii")
    right = policy("w1", "w2")
    assert attempt(text.decode(), right) is not None
    passed = []
    for place in range(len(text)):
        for bit in range(8):
            wrong = bytearray(text)
            wrong[place] ^= 1 << bit
            if attempt(wrong.decode("latin-1"), right) is not None:
                passed.append((place, bit))
    assert passed == []


def test_every_cut_and_every_doubled_byte_is_found(entry: Entry) -> None:
    text, right = entry.receipt(), policy("w1", "w2")
    for place in range(len(text)):
        assert attempt(text[:place], right) is None
        assert attempt(text[:place] + text[place] + text[place:], right) is None


def test_what_the_policy_does_not_accept(entry: Entry) -> None:
    for other, said in (
        (policy("w1", "w2", "w3", "w4"), "quorum"),
        (policy("w9"), "quorum"),
        (
            policy("w1", "w2", origin="assent/fedcba9876543210/consent/retailer"),
            "not in the policy",
        ),
    ):
        with pytest.raises(AssentError, match=said):
            verify_receipt(entry.receipt(), other, CARDS)


def test_a_stranger_among_known_signers_is_refused(entry: Entry) -> None:
    other = create_keys(
        "evil", "portal", storage=b"s" * 32, now=datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    )
    text = make_receipt(entry.leaf, entry.opening, entry.proof, other.signing)
    with pytest.raises(ProofError, match="nobody of the collaboration"):
        verify_receipt(text, policy("w1", "w2"), CARDS)


def test_parts_of_another_entry_do_not_make_one(entry: Entry, tmp_path: Path) -> None:
    other = logged(tmp_path, made.batch(["x"], "withdrawn"))
    with pytest.raises(ProofError, match="does not fit"):
        replace(entry, opening=other.opening).receipt()
    with pytest.raises(ProofError, match="does not fit"):
        replace(entry, opening=replace(entry.opening, salt=other.opening.salt)).receipt()
    with pytest.raises(ProofError):
        verify_receipt(replace(entry, proof=other.proof).receipt(), policy("w1", "w2"), CARDS)


def test_a_log_of_another_party_proves_nothing(tmp_path: Path) -> None:
    for number, origin in enumerate(
        ("assent/0123456789abcdef/consent/media", "assent/0123456789abcdef/jobs", "elsewhere/log")
    ):
        wrong = logged(tmp_path / str(number), full(), origin)
        with pytest.raises(ProofError, match="not the consent log of the record's party"):
            verify_receipt(wrong.receipt(), policy("w1", "w2", origin=origin), CARDS)


def test_another_algorithm_or_header_is_refused(entry: Entry) -> None:
    header, payload, signature = entry.receipt().split(".")
    said = json.loads(base64.urlsafe_b64decode(header + "=="))
    for change in ({"alg": "none"}, {"alg": "HS256"}, {"typ": "JWT"}, {"crit": ["b64"]}):
        forged = base64.urlsafe_b64encode(canonical_json({**said, **change})).decode().rstrip("=")
        for sealed in (signature, ""):
            with pytest.raises(ProofError):
                verify_receipt(f"{forged}.{payload}.{sealed}", policy("w1", "w2"), CARDS)


@pytest.mark.parametrize(
    "text", ["", "a.b.c", "..", "a" * (1 << 20) + "x", "é.a.a", "a.b", "[" * 9]
)
def test_other_texts_are_no_receipt(text: str) -> None:
    with pytest.raises(ProofError):
        verify_receipt(text, policy("w1"), CARDS)
