"""`assent consent verify-receipt` as a person runs it: files, words and exit codes."""

from __future__ import annotations

import datetime
import json
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assent.main import app
from catalog.collaboration import Collaboration, Endpoint, card_text, dump_collaboration
from consent.log import Log
from consent.log_sql import SqlLog, SqlOpenings
from consent.receipt import make_receipt
from consent.trust import Trust, consent_origin, log_signer, witness_signer
from protocol.errors import BadInput
from protocol.identity import Keys, create_keys
from tests.consent import made
from tests.consent.test_body import full
from tests.consent.test_receipt import logged_events

ORIGIN = consent_origin("0123456789abcdef", "retailer")


def keys(name: str, role: str) -> Keys:
    now = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)
    address = "" if role == "party" else "localhost:1"
    return create_keys(name, role, storage=b"s" * 32, now=now, address=address)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """receipt.jws, collaboration.yaml and policy of a small federation."""
    folder = tmp_path_factory.mktemp("person")
    parties = {name: keys(name, "party") for name in ("retailer", "media")}
    service, portal = keys("consent", "consent"), keys("portal", "portal")
    collaboration = Collaboration(
        Endpoint.of(keys("coordinator", "coordinator").card),
        Endpoint.of(service.card),
        {name: Endpoint.of(one.card) for name, one in parties.items()},
        portal=Endpoint.of(portal.card),
    )
    (folder / "collaboration.yaml").write_text(dump_collaboration(collaboration), "utf-8")
    renewed = replace(collaboration, consent=Endpoint.of(keys("consent", "consent").card))
    (folder / "renewed.yaml").write_text(dump_collaboration(renewed), "utf-8")
    (folder / "old-card.yaml").write_text(card_text(service.card), "utf-8")
    storage = SqlLog(f"sqlite:///{folder}/log.db", ORIGIN)
    openings = SqlOpenings(f"sqlite:///{folder}/openings.db", ORIGIN)
    log = Log(storage, openings, log_signer(service, ORIGIN), made.Clock(), lambda n: b"r" * n)
    log.append(logged_events(full()))
    text = log.note.partition("\n\n")[0] + "\n"
    log.publish([witness_signer(k, n).line(text, int(made.START)) for n, k in parties.items()])
    (stored,) = openings.read(0, 1)
    assert stored.opening is not None
    receipt = make_receipt(storage.entries(0, 1)[0], stored.opening, log.prove(0), portal.signing)
    (folder / "receipt.jws").write_text(receipt + "\n", "ascii")
    cards = {name: one.card for name, one in parties.items()}
    policy = Trust(service.card, cards).policy_text(ORIGIN)
    (folder / "policy").write_text(policy, "utf-8")
    return folder


def run(*words: object) -> tuple[int, str, str]:
    done = CliRunner().invoke(app, ["consent", "verify-receipt", *map(str, words)])
    if isinstance(done.exception, BadInput):
        return 2, done.stdout, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.stdout, done.stderr


def test_a_receipt_that_holds(folder: Path) -> None:
    for option, file in (("--collaboration", "collaboration.yaml"), ("--policy", "policy")):
        code, said, _ = run(folder / "receipt.jws", option, folder / file)
        assert code == 0
        assert "this receipt holds" in said
        assert "retailer, for 银行" in said
        assert "entry 0 of 3" in said
        code, said, _ = run(folder / "receipt.jws", option, folder / file, "--json")
        found = json.loads(said)
        assert found["verified"] is True
        assert found["signer"] == ("portal" if option == "--collaboration" else None)
        assert set(found["witnesses"]) == {"retailer", "media"}
        assert found["record"]["event"]["event_state"] == "dpv:ConsentGiven"


def test_a_receipt_of_a_service_whose_keys_were_replaced(folder: Path) -> None:
    """Its log's signature is of keys that are on no card now; their holder has the old card."""
    words = (folder / "receipt.jws", "--collaboration", folder / "renewed.yaml")
    code, _, cause = run(*words)
    assert (code, "does not verify" in cause) == (1, True)
    code, said, cause = run(*words, "--old-card", folder / "old-card.yaml")
    assert (code, "this receipt holds" in said) == (0, True), cause
    # Whoever gives the new card for the old one has proved nothing.
    (folder / "new-card.yaml").write_text(card_text(keys("consent", "consent").card), "utf-8")
    assert run(*words, "--old-card", folder / "new-card.yaml")[0] == 1


@pytest.mark.parametrize("part", range(12))
def test_a_changed_receipt_is_exit_1(folder: Path, tmp_path: Path, part: int) -> None:
    data = bytearray((folder / "receipt.jws").read_bytes())
    data[len(data) * part // 12] ^= 1
    (tmp_path / "wrong.jws").write_bytes(data)
    for option, file in (("--collaboration", "collaboration.yaml"), ("--policy", "policy")):
        code, said, cause = run(tmp_path / "wrong.jws", option, folder / file, "--json")
        assert (code, json.loads(said)["verified"]) == (1, False)
        assert "does not verify" in cause


def test_a_file_that_is_no_receipt_is_exit_1_and_one_that_is_not_there_exit_2(
    folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "photo").write_bytes(b"\xff\xd8\xff")
    policy = folder / "policy"
    assert run(tmp_path / "photo", "--policy", policy)[0] == 1
    assert run(tmp_path / "nothing", "--policy", policy)[0] == 2
    assert run(folder / "receipt.jws", "--policy", tmp_path / "photo")[0] == 2
    assert run(folder / "receipt.jws", "--policy", tmp_path / "nothing")[0] == 2
    code, _, cause = run(folder / "receipt.jws", "--policy", policy, "--old-card", policy)
    assert (code, "--old-card is of a service" in cause) == (2, True)
    code, _, cause = run(folder / "receipt.jws")
    assert (code, "--policy FILE or --collaboration FILE" in cause) == (2, True)
    (tmp_path / "long").write_bytes(b"a" * (1 << 21))
    assert run(tmp_path / "long", "--policy", policy)[0] == 2
