"""Every flipped bit of what a person or an auditor holds of one entry: leaf, opening, proof, job
record; and a sample of each through the commands, whose exit code is 1.

Bundles are flipped in test_audit, databases in test_log_flips, notes in test_note, receipts in
test_receipt.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assent.main import app
from consent.errors import ProofError
from consent.job_record import read_statement, statement
from consent.leaf import JOB_ADMITTED, JOB_CLOSED, Opening, check_opening, parse_leaf
from consent.policy import majority_policy
from consent.tlog_proof import verify_proof
from protocol.errors import AssentError
from tests import ledgers
from tests.consent import logs
from tests.consent.test_audit import story
from tests.consent.test_body import full
from tests.consent.test_job_record import JOB, NOW, admitted, closed
from tests.consent.test_receipt import logged_events


def flips(data: bytes) -> Iterator[bytes]:
    """`data` with each of its bits flipped, one at a time."""
    for place in range(len(data)):
        for bit in range(8):
            wrong = bytearray(data)
            wrong[place] ^= 1 << bit
            yield bytes(wrong)


def passed(data: bytes, verify: Callable[[bytes], object]) -> list[bytes]:
    """Flips of `data` that `verify` lets pass; it must take `data` itself."""
    verify(data)
    found = []
    for wrong in flips(data):
        try:
            verify(wrong)
            found.append(wrong)
        except (AssentError, UnicodeDecodeError):
            continue
    return found


def test_an_entry_its_opening_and_its_proof(tmp_path: Path) -> None:
    stores = story(tmp_path / "log")
    leaf = stores.storage().entries(0, 1)[0]
    (stored,) = stores.openings().read(0, 1)
    assert stored.opening is not None
    salt, body = stored.opening.salt, stored.opening.body
    read = parse_leaf(leaf)
    assert passed(salt, lambda salt: check_opening(read, Opening(salt, body))) == []
    assert passed(body, lambda body: check_opening(read, Opening(salt, body))) == []
    assert passed(leaf, lambda leaf: check_opening(parse_leaf(leaf), Opening(salt, body))) != []
    # What of a leaf the opening does not fix (party, minute), the tree does.
    proof = stores.log().prove(0)
    policy = logs.policy("x", "y")
    assert passed(leaf, lambda leaf: verify_proof(proof, leaf, policy)) == []
    assert passed(proof.encode(), lambda data: verify_proof(data.decode(), leaf, policy)) == []


@pytest.mark.parametrize(("type", "fields"), [(JOB_ADMITTED, admitted()), (JOB_CLOSED, closed())])
def test_a_job_record(type: str, fields: dict[str, object]) -> None:
    keys = ledgers.new_keys("retailer")
    event = statement(type, b"i" * 16, "retailer", JOB, 1, NOW * 1000, fields, keys.signing)
    key = keys.card.signing_key
    assert passed(event.body, lambda body: read_statement(type, body, key)) == []
    with pytest.raises(ProofError):
        read_statement(type, event.body, ledgers.new_keys("other").card.signing_key)


def test_a_flipped_bundle_is_exit_1_for_the_command(tmp_path: Path) -> None:
    stores = logs.sqlite(tmp_path / "log")
    stores.log().append(logged_events(full()))
    logs.cosigned(stores, ["x", "y"])
    whole = logs.exported(stores.source())
    policy = tmp_path / "policy"
    keys = {name: logs.witness_key(name).key for name in ("x", "y", "z")}
    policy.write_text(majority_policy([logs.log_key().key], keys))

    def code(data: bytes) -> int:
        (tmp_path / "b").write_bytes(data)
        words = ["audit", "verify", str(tmp_path / "b"), "--policy", str(policy)]
        return CliRunner().invoke(app, words).exit_code

    assert code(whole) == 0
    for part in range(16):
        wrong = bytearray(whole)
        wrong[len(whole) * part // 16] ^= 1
        assert code(bytes(wrong)) == 1
