"""Dumps of the ledger and of two parties, without their keys, do not say who is the same person.

Both parties have the same people in the same order, the worst case, and everybody does the same
at both.  An attacker who holds every file tries what can be tried without a key: equal bytes,
and, for every order that the files have, who stands in the same place.  Of such guesses one is
right by chance, whatever the number of people; `TOO_MANY` are in one run of a million.

What is said in the portal arrives at the two logs in different orders here.  Where it does not,
the places of these entries say something: docs/ATTACKS.md, "Consent".
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from consent.bulk import BulkRows, bulk_records
from consent.local import LocalConsent
from consent.notices import default_notices
from consent.portal.permissions import Author
from consent.portal.port import Person
from consent.pseudonyms import Pseudonyms
from consent.purposes import State
from consent.records import RecordBatch
from consent.terms import DEFAULT_TERMS, Scope
from coordinator.artifacts import ArtifactFiles
from party_node.consent_gate import NodeGate
from party_node.vault import Vault
from protocol.psi.identifiers import canonicalise
from protocol.psi.tokens import HashlibPrf
from protocol.secret import Secret
from tests import ledgers
from tests.consent import made
from tests.test_jobs import companies, crosstab_job
from tests.wire.scan import Scanner, written
from tests.world import World

N, TOO_MANY = 120, 9
PARTIES = ("retailer", "media")
IDS = [f"person{number:03d}@x.example" for number in range(N)]
_WINDOW = 8  # bytes

Entries = dict[bytes, list[dict[str, Any]]]  # by pseudonym, in the order of the log


class Table:
    rows = N

    def all_identifiers(self, kind: str) -> pa.StringArray:
        return pa.array(IDS, type=pa.string())


class Dumped:
    """Two parties and what happened there; then only files, and the truth to compare with."""

    def __init__(self, folder: Path, *, in_file_order: bool = False) -> None:
        self.folder, self._in_file_order = folder, in_file_order
        self.clock = made.Clock()
        self.stand = ledgers.simple(folder / "ledger", self.clock, *PARTIES)
        self.subjects: dict[str, list[bytes]] = {}
        for party in PARTIES:
            asyncio.run(self._imports(party))
        self._withdrawals()
        self.stand.close()
        self.entries = {party: dict(self._read(party)) for party in PARTIES}

    async def _imports(self, party: str) -> None:
        """The company's file at every start, then a list that is handed over once."""
        (other,) = set(PARTIES) - {party}
        folder = self.folder / party
        folder.mkdir()
        gate = await NodeGate.open(
            party=party, parties=PARTIES, kinds=["email"], identifiers=Table(),
            port=LocalConsent(self.stand.ledger, party), storage=self.stand.keys[party].storage,
            folder=folder, trust=self.stand.trust, now=self.clock, random=os.urandom,
        )  # fmt: skip
        said = ("audience_insight", other, "purchases", "given")
        columns = [IDS, *([word] * N for word in said)]
        await gate.import_file("email", *(pa.array(one, type=pa.string()) for one in columns))

        def listed(pseudonyms: Pseudonyms, log: Any) -> RecordBatch:
            tokens = pseudonyms.tokens("email", pa.array(IDS))
            self.subjects[party] = [one.tobytes() for one in tokens]
            code = np.zeros(N, np.int64)
            times = made.START * 1000 - np.random.default_rng().integers(1, 10**9, N)
            rows = BulkRows(
                tokens, (Scope(("overlap_measurement",), (other,), ("content",)),), code,
                (DEFAULT_TERMS,), code, np.full(N, State.GIVEN, np.uint8),
                times.astype(np.int64), code,
            )  # fmt: skip
            found = bulk_records(rows, log, 1, int(self.clock() * 1000), os.urandom)
            if self._in_file_order:
                return found.batch.take(np.argsort(found.rows))
            return found.batch

        await gate.import_records(listed, lambda done, total: None)
        gate.close()

    def _withdrawals(self) -> None:
        """Everybody withdraws everything in one minute, each in a moment of their own."""
        moments = [int(made.START) * 1000 // 60_000 * 60_000 + 400 * number for number in range(N)]
        notice = default_notices().current()
        orders = [list(range(N)), random.SystemRandom().sample(range(N), N)]
        for party, order in zip(PARTIES, orders, strict=True):
            waiting = []
            for number in order:
                author = Author(lambda at=number: moments[at], os.urandom, notice.ref)  # type: ignore[misc]
                person = Person((self.subjects[party][number],))
                batch = author.withdraw_all(person, [], "en")
                waiting.append(self.stand.ledger.append(party, batch))
            for one in waiting:
                one.result(30)

    def _read(self, party: str) -> Iterator[tuple[bytes, list[dict[str, Any]]]]:
        """What the ledger's two databases say of each pseudonym."""
        origin = self.stand.ledger.consent_log(party)
        found: Entries = {}
        with sqlite3.connect(self.folder / "ledger" / "openings.sqlite") as raw:
            rows = raw.execute(
                "SELECT place, event, subject, salt, body FROM openings WHERE origin = ? "
                "ORDER BY place", [origin],
            ).fetchall()  # fmt: skip
        with sqlite3.connect(self.folder / "ledger" / "log.sqlite") as raw:
            leaves = raw.execute(
                "SELECT leaf FROM entries WHERE log = (SELECT id FROM logs WHERE origin = ?) "
                "ORDER BY place", [origin],
            ).fetchall()  # fmt: skip
        for (place, event, subject, salt, body), (leaf,) in zip(rows, leaves, strict=True):
            commitment = bytes.fromhex(json.loads(leaf)["commitment"])
            entry = {
                "place": place, "id": event, "salt": salt, "commitment": commitment,
                "time": json.loads(body)["event"]["time"],
            }  # fmt: skip
            found.setdefault(subject, []).append(entry)
        yield from found.items()

    # -- attacks -------------------------------------------------------------------------------

    def person(self, party: str, subject: bytes) -> int:
        return self.subjects[party].index(subject)

    def right_by_place(self, key: Callable[[bytes, list[dict[str, Any]]], Any]) -> int:
        """Right guesses of who sorts both parties' people by `key` and pairs equal places."""
        sorted_ = [
            [self.person(party, subject) for subject, _ in sorted(
                self.entries[party].items(), key=lambda item: key(*item))]
            for party in PARTIES
        ]  # fmt: skip
        return sum(one == other for one, other in zip(*sorted_, strict=True))

    def right_by_bytes(self) -> int:
        """Right guesses of who pairs people that share eight bytes anywhere."""
        at: dict[bytes, int] = {}
        for subject, entries in self.entries[PARTIES[0]].items():
            for window in _windows(subject, entries):
                at.setdefault(window, self.person(PARTIES[0], subject))
        right = 0
        for subject, entries in self.entries[PARTIES[1]].items():
            person = self.person(PARTIES[1], subject)
            right += any(at.get(window) == person for window in _windows(subject, entries))
        return right


def _windows(subject: bytes, entries: list[dict[str, Any]]) -> Iterator[bytes]:
    for value in (subject, *(one[name] for one in entries for name in ("salt", "commitment"))):
        for start in range(len(value) - _WINDOW + 1):
            yield value[start : start + _WINDOW]
    for one in entries:
        yield one["id"][8:]  # before these: a time and a count, whose order is tried


ORDERS: dict[str, Callable[[bytes, list[dict[str, Any]]], Any]] = {
    "pseudonym": lambda subject, entries: subject,
    "first place": lambda subject, entries: entries[0]["place"],
    "second place": lambda subject, entries: entries[1]["place"],
    "last place": lambda subject, entries: entries[-1]["place"],
    "first id": lambda subject, entries: entries[0]["id"],
    "second id": lambda subject, entries: entries[1]["id"],
    "last id": lambda subject, entries: entries[-1]["id"][:8],
    "second time": lambda subject, entries: entries[1]["time"],
    "last time": lambda subject, entries: (entries[-1]["time"], entries[-1]["place"]),
    "salt": lambda subject, entries: entries[0]["salt"],
}


@pytest.fixture(scope="module")
def dumped(tmp_path_factory: pytest.TempPathFactory) -> Dumped:
    return Dumped(tmp_path_factory.mktemp("dumps"))


def test_no_order_and_no_equal_bytes_link_anybody(dumped: Dumped) -> None:
    for party in PARTIES:  # so that there was something to link
        assert len(dumped.entries[party]) == N
        assert {len(entries) for entries in dumped.entries[party].values()} == {3}
    assert dumped.right_by_bytes() == 0
    found = {name: dumped.right_by_place(key) for name, key in ORDERS.items()}
    assert max(found.values()) < TOO_MANY, found


def test_nothing_of_one_partys_people_is_in_the_others_files(dumped: Dumped) -> None:
    """Every file, in every form in which programs write bytes."""
    for party, other in (PARTIES, PARTIES[::-1]):
        theirs = [
            pattern
            for subject, entries in dumped.entries[party].items()
            for value in (subject, *(one[name] for one in entries
                                     for name in ("id", "salt", "commitment")))
            for pattern in written("a value", value)
        ]  # fmt: skip
        scanner = Scanner(theirs)
        files = [path for path in (dumped.folder / other).rglob("*") if path.is_file()]
        assert sum(path.stat().st_size for path in files) > 10_000
        for path in files:
            assert scanner.find(path.read_bytes(), path.name) == []
        own = (dumped.folder / party / "consent_replica.sqlite").read_bytes()
        assert scanner.find(own, "own")  # the scanner finds them where they are


# -- the attacks find what is there to be found ------------------------------------------------


def test_one_key_for_both_would_be_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pseudonyms, "_derived", lambda self: b"k" * 32)
    assert Dumped(tmp_path).right_by_bytes() == N


def test_the_order_of_the_companies_files_would_be_found(tmp_path: Path) -> None:
    found = Dumped(tmp_path, in_file_order=True)
    assert found.right_by_place(ORDERS["second place"]) == N


def test_the_millisecond_of_a_click_would_be_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("consent.portal.permissions._MINUTE", 1)
    found = Dumped(tmp_path)
    assert found.right_by_place(ORDERS["last time"]) == N
    assert found.right_by_place(ORDERS["last id"]) == N


# -- what jobs leave behind --------------------------------------------------------------------


async def test_no_matching_token_is_left_when_a_job_has_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under the key of a job both parties' tokens are equal, so nobody may keep any."""
    keys: set[bytes] = set()
    put, delete, during = Vault.put, ArtifactFiles.delete_job, list[Any]()

    def kept_put(vault: Vault, name: str, value: bytes) -> None:
        if name == "k":
            keys.add(value)
        put(vault, name, value)

    def watched_delete(files: ArtifactFiles, job: str) -> None:
        during.extend(found(tmp_path / "coordinator"))
        delete(files, job)

    def found(folder: Path) -> list[Any]:
        (k,) = keys
        tokens = [
            token.tobytes()
            for company in tables.values()
            for kind, column in (("email", 0), ("phone", 1))
            for token in HashlibPrf(Secret(k)).tokens(
                kind, pa.array([canonicalise(kind, row[column], "CN") for row in company.rows])
            )
            if token.any()
        ]
        scanner = Scanner([one for token in tokens for one in written("a token", token)])
        return [
            one for path in folder.rglob("*") if path.is_file()
            for one in scanner.find(path.read_bytes(), path.name)
        ]  # fmt: skip

    monkeypatch.setattr(Vault, "put", kept_put)
    monkeypatch.setattr(ArtifactFiles, "delete_job", watched_delete)
    tables = companies(61)
    async with World(tmp_path, tables) as world:
        assert (await world.run(**crosstab_job())).state == "released"
        await world.until(lambda: bool(during))
        kept = [tmp_path / party / folder for party in tables for folder in ("outputs", "jobs")]
        await world.until(lambda: not any(any(folder.iterdir()) for folder in kept))
    assert during  # they were there
    for party in tables:
        assert found(tmp_path / party) == []
    assert found(tmp_path / "coordinator") == []
