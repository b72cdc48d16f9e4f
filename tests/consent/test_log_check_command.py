"""`assent consent check`: the service's databases as its operator looks at them."""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from assent.main import app
from catalog.collaboration import Collaboration, Endpoint, dump_collaboration
from consent.trust import AUDITOR
from protocol.errors import BadInput, Failed
from protocol.transport.hub import alone
from tests import ledgers
from tests.consent import made


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """log.sqlite, openings.sqlite and collaboration.yaml of a service that has stopped."""
    stand = ledgers.stand(
        tmp_path, made.Clock(), {
            "retailer": ledgers.new_keys("retailer"), "media": ledgers.new_keys("media"),
            AUDITOR: ledgers.new_keys(AUDITOR, "auditor"),
        }, ledgers.new_keys("consent", "consent"),
    )  # fmt: skip
    stand.ledger.append("retailer", made.batch(["a", "b"])).result(10)
    stand.ledger.append("media", made.batch(["c"])).result(10)
    stand.close()
    parties = {name: Endpoint.of(stand.keys[name].card) for name in ("retailer", "media")}
    service = Endpoint.of(replace(stand.consent.card, address="localhost:1"))
    coordinator = ledgers.new_keys("coordinator", "coordinator", "localhost:2").card
    auditor = Endpoint.of(stand.keys[AUDITOR].card)
    collaboration = Collaboration(Endpoint.of(coordinator), service, parties, auditor=auditor)
    (tmp_path / "collaboration.yaml").write_text(dump_collaboration(collaboration), "utf-8")
    return tmp_path


def check(folder: Path, *more: str, data: str = "") -> tuple[int, str]:
    done = CliRunner().invoke(app, [
        "consent", "check", "--collaboration", str(folder / "collaboration.yaml"),
        "--data", str(folder / data), *more,
    ])  # fmt: skip
    if isinstance(done.exception, BadInput):
        return 2, str(done.exception)
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output


def test_whole_databases_pass(folder: Path) -> None:
    code, said = check(folder)
    assert code == 0, said
    assert said.startswith("Verified: nothing was changed")
    assert "consent/retailer: 2 entries" in said
    assert "consent/media: 1 entries" in said
    assert check(folder, "--lang", "zh")[1].startswith("验证通过")
    found = json.loads(check(folder, "--json")[1])
    assert (found["exit_code"], found["closed"], len(found["logs"])) == (0, 0, 3)


@pytest.mark.parametrize(
    ("database", "damage", "word"),
    [
        ("log.sqlite", "UPDATE tiles SET hashes = zeroblob(length(hashes))", "tile"),
        ("log.sqlite", "UPDATE logs SET size = size + 1 WHERE origin LIKE '%media'", "head"),
        ("openings.sqlite", "UPDATE openings SET body = cast('{}' AS blob)", "entry 0"),
    ],
)
def test_damage_is_named_and_is_exit_1(folder: Path, database: str, damage: str, word: str) -> None:
    raw = sqlite3.connect(folder / database)
    raw.executescript(damage)
    raw.close()
    code, said = check(folder)
    assert code == 1, said
    assert word in said
    assert said.startswith("NOT verified")


def test_a_database_that_cannot_be_read_is_a_finding(folder: Path) -> None:
    for name in ("log.sqlite-wal", "log.sqlite-shm"):
        (folder / name).unlink(missing_ok=True)
    (folder / "log.sqlite").write_bytes(b"SQLite format 3\0" + b"x" * 5000)
    code, said = check(folder)
    assert code == 1, said
    assert "the database log or openings is damaged" in said
    assert str(folder) not in said  # an address may hold a password


def test_a_server_that_is_away_is_no_damage(folder: Path) -> None:
    url = "postgresql://somebody:secret@127.0.0.1:1/logs"
    done = CliRunner().invoke(app, [
        "consent", "check", "--collaboration", str(folder / "collaboration.yaml"),
        "--data", str(folder), "--log-url", url,
    ])  # fmt: skip
    assert isinstance(done.exception, Failed)
    assert "secret" not in str(done.exception) + done.output


def test_one_broken_database_is_one_finding(folder: Path) -> None:
    raw = sqlite3.connect(folder / "log.sqlite")
    raw.execute("INSERT INTO checkpoints (log, size, note) VALUES (99, 1, 'x')")
    raw.commit()
    raw.close()
    found = json.loads(check(folder, "--json")[1])["findings"]
    assert [one["code"] for one in found] == ["database_broken"]


def test_what_cannot_be_checked_is_said_and_nothing_is_made(folder: Path) -> None:
    code, said = check(folder, data="elsewhere")
    assert (code, "log.sqlite: there is no such database" in said) == (2, True)
    assert not (folder / "elsewhere").exists()
    assert check(folder, "--lang", "fr")[0] == 2
    code, said = check(folder, "--log-url", "a folder")
    assert (code, "not the address of a database" in said) == (2, True)
    assert check(folder, "--log-url", "mysql://host/db")[0] == 2
    with alone(folder, "consent", "consent service"):
        code, said = check(folder)
    assert (code, "stop it" in said) == (2, True)
    (folder / "openings.sqlite").rename(folder / "moved.sqlite")
    code, said = check(folder)
    assert (code, "openings.sqlite: there is no such" in said) == (2, True)
    assert not (folder / "openings.sqlite").exists()


def test_databases_elsewhere_need_no_folder(folder: Path) -> None:
    urls = [f"sqlite:///{folder}/{name}.sqlite" for name in ("log", "openings")]
    code, said = check(folder, "--log-url", urls[0], "--openings-url", urls[1], data="none")
    assert (code, "Verified" in said) == (0, True), said
    assert not (folder / "none").exists()
