"""The node's gate: identifiers to rows, imports, and withdrawals that act at once."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from catalog.federation import load_federation
from catalog.vocabulary import CATEGORIES, PURPOSES
from consent.checkpoint import parse_checkpoint
from consent.local import LocalConsent
from consent.note import parse_note
from consent.port import Head, JobEvent, Recorded, ReplicaPage
from consent.records import RecordBatch
from party_node import consent_gate
from party_node.consent_gate import NodeGate
from party_node.consents_file import read_consents
from party_node.dataset import Dataset
from protocol.errors import BadInput, Failed, Refused
from protocol.secret import Secret
from tests import ledgers
from tests.consent import made

EMAIL = ["ann@x.example", "bob@x.example", None, None, "ann@x.example"]
PHONE = ["+8613800000001", None, "+8613800000003", None, None]
ASK = ("audience_insight", ["media"], ["purchases"])


class Table:
    """Rows 0 and 4 share an e-mail; row 3 has no identifier."""

    rows = 5

    def all_identifiers(self, kind: str) -> pa.StringArray:
        return pa.array({"email": EMAIL, "phone": PHONE}[kind], type=pa.string())


class Service:
    """The port, with a plug."""

    def __init__(self, port: LocalConsent) -> None:
        self._port = port
        self.down = False
        self.hanging = False
        self.appended: list[RecordBatch] = []

    async def _reach(self) -> None:
        if self.hanging:
            await asyncio.sleep(3600)
        if self.down:
            raise Failed("unavailable", "the consent service does not answer")

    async def hello(self) -> Head:
        await self._reach()
        return await self._port.hello()

    async def append(self, batch: RecordBatch) -> Recorded:
        await self._reach()
        self.appended.append(batch)
        return await self._port.append(batch)

    async def replicate(self, since: int) -> AsyncIterator[ReplicaPage]:
        await self._reach()
        async for page in self._port.replicate(since):
            yield page

    async def follow(self) -> AsyncGenerator[Head, None]:
        await self._reach()
        async with aclosing(self._port.follow()) as heads:
            async for head in heads:
                await self._reach()
                yield head

    async def log_job(self, event: JobEvent) -> Recorded:
        return await self._port.log_job(event)

    async def proof(self, origin: str, index: int) -> str:
        return await self._port.proof(origin, index)

    def bundle(self) -> AsyncIterator[bytes]:
        return self._port.bundle()

    async def erase(self, subject: bytes) -> Recorded:
        return await self._port.erase(subject)


class Stand:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = made.Clock()
        names = ("retailer", "media", "bank")
        self.ledger = ledgers.simple(folder / "ledger", self.clock, *names)
        self.service = Service(self.ledger.port("retailer"))

    @property
    def size(self) -> int:
        """Entries in the log of the retailer."""
        origin = self.ledger.ledger.consent_log("retailer")
        note = self.ledger.ledger.head(origin).checkpoint
        return parse_checkpoint(parse_note(note).text).size

    async def open(self, kinds: Sequence[str] = ("email", "phone"), key: bytes = b"k") -> NodeGate:
        return await NodeGate.open(
            party="retailer",
            parties=["retailer", "media", "bank"],
            kinds=kinds,
            identifiers=Table(),
            port=self.service,
            storage=Secret(key * 32),
            folder=self.folder,
            trust=self.ledger.trust,
            now=self.clock,
            random=os.urandom,
        )


def run(folder: Path, story: Callable[[Stand], Awaitable[None]]) -> None:
    asyncio.run(story(Stand(folder)))  # type: ignore[arg-type]


async def load(gate: NodeGate, rows: Sequence[tuple[str | None, str, str, str, str]]) -> int:
    columns = [pa.array(list(column), type=pa.string()) for column in zip(*rows, strict=True)]
    return (await gate.import_file("email", *columns)).appended


def row(who: str | None, status: str, recipient: str = "media") -> tuple[str | None, str, str, str, str]:  # fmt: skip  # noqa: E501
    return who, "audience_insight", recipient, "purchases", status


def test_a_file_of_consents_reaches_the_rows_that_carry_the_identifier(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        gate = await stand.open()
        await load(gate, [
            row("ann@x.example", "given"), row("bob@x.example", "refused"),
            row("nobody@x.example", "given"), row(None, "given"),
        ])  # fmt: skip
        found = gate.eligible(*ASK)
        assert list(found.rows) == [0, 4]
        assert dict(found.excluded) == {"refused": 1, "no_record": 2}
        assert dict(gate.eligible("activation", ["media"], []).excluded) == {"no_record": 5}
        assert not gate.eligible("audience_insight", ["media", "bank"], ["purchases"]).rows
        assert list(gate.eligible("audience_insight", ["media"], []).rows) == [0, 4]

    run(tmp_path, story)


def test_all_is_everybody_with_an_identifier(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        gate = await stand.open()
        report = await gate.import_everyone()
        assert (report.statements, report.appended) == (3, 3)  # ann (two rows), bob, the phone
        for purpose in PURPOSES:
            found = gate.eligible(purpose, ["media", "bank"], CATEGORIES)
            assert list(found.rows) == [0, 1, 2, 4]
            assert dict(found.excluded) == {"no_record": 1}
        assert (await gate.import_everyone()).appended == 0

    run(tmp_path, story)


def test_a_withdrawal_acts_at_once_and_outlives_a_restart_and_an_import(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        gate = await stand.open()
        await gate.import_everyone()
        done = await gate.withdraw("email", "ann@x.example")
        assert (done.rows, done.logged) == (2, True)
        assert list(gate.eligible(*ASK).rows) == [1, 2]
        assert dict(gate.eligible(*ASK).excluded) == {"withdrawn": 2, "no_record": 1}
        gate.close()
        again = await stand.open()
        assert list(again.eligible(*ASK).rows) == [1, 2]
        await again.import_everyone()
        assert list(again.eligible(*ASK).rows) == [1, 2]
        # by the other identifier of a row: the row is out, whatever its e-mail says
        assert (await again.withdraw("phone", "+8613800000003")).rows == 1
        assert list(again.eligible(*ASK).rows) == [1]
        # given again, to one party, for one category
        await again.record(
            "email", "ann@x.example", "given", recipients=["media"], categories=["purchases"]
        )
        assert list(again.eligible(*ASK).rows) == [0, 1, 4]
        assert list(again.eligible("audience_insight", ["bank"], ["purchases"]).rows) == [1]

    run(tmp_path, story)


def test_a_withdrawal_needs_no_service(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        gate = await stand.open()
        await gate.import_everyone()
        size = stand.size
        stand.service.down = True
        done = await gate.withdraw("email", "ann@x.example")
        assert (done.rows, done.logged) == (2, False)
        assert list(gate.eligible(*ASK).rows) == [1, 2]
        assert stand.size == size
        with pytest.raises(Failed, match="does not answer"):
            await gate.record("email", "bob@x.example", "given")  # a permit is not taken on credit
        gate.close()
        again = await stand.open()  # the service is still down: the replica names the log
        assert list(again.eligible(*ASK).rows) == [1, 2]
        stand.service.down = False
        await again.sync()
        assert stand.size == size + 1
        assert list(again.eligible(*ASK).rows) == [1, 2]

    run(tmp_path, story)


def test_nobody_waits_at_the_counter_for_a_service_that_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(consent_gate, "COUNTER_SECONDS", 0.1)

    async def story(stand: Stand) -> None:
        gate = await stand.open()
        await gate.import_everyone()
        stand.service.hanging = True
        done = await asyncio.wait_for(gate.withdraw("email", "ann@x.example"), 5)
        assert (done.rows, done.logged) == (2, False)
        assert list(gate.eligible(*ASK).rows) == [1, 2]

    run(tmp_path, story)


def test_a_withdrawal_of_somebody_who_is_not_in_the_table_is_kept(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        gate = await stand.open()
        assert (await gate.withdraw("email", "later@x.example")).rows == 0
        assert stand.size == 1

    run(tmp_path, story)


@pytest.mark.parametrize(
    "arguments, said",
    [
        ({"state": "granted"}, "'granted' is not a consent state"),
        ({"kind": "imei"}, "'imei' is not an identifier type of retailer"),
        ({"purposes": ["gossip"]}, "'gossip' is unknown"),
        ({"categories": ["gossip"]}, "'gossip' is unknown"),
        ({"recipients": ["retailer"]}, "not another party"),
        ({"recipients": ["stranger"]}, "not another party"),
        ({"recipients": ["*"]}, "not another party"),
    ],
)
def test_words_are_checked_before_anything_is_recorded(
    tmp_path: Path, arguments: dict[str, object], said: str
) -> None:
    async def story(stand: Stand) -> None:
        gate = await stand.open()
        fields = {"kind": "email", "identifier": "ann@x.example", "state": "given"} | arguments
        with pytest.raises(BadInput, match=said):
            await gate.record(**fields)  # type: ignore[arg-type]
        assert stand.size == 0

    run(tmp_path, story)


def test_a_stale_replica_refuses_and_polling_makes_it_fresh(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        gate = await stand.open()
        with pytest.raises(Refused, match="consent_stale"):
            gate.eligible(*ASK)
        await gate.import_everyone()
        stand.clock.now += 301
        for ask in (lambda: gate.eligible(*ASK), lambda: gate.require_fresh(stand.clock.now)):
            with pytest.raises(Refused) as caught:
                ask()
            assert caught.value.info.code == "consent_stale"
            assert caught.value.info.party == "retailer"
        assert gate.age() == pytest.approx(301)
        stand.service.down = True
        polling = asyncio.create_task(gate.follow(0.02))
        await asyncio.sleep(0.1)
        assert not polling.done()  # an unreachable service does not end it
        stand.service.down = False
        await asyncio.sleep(0.3)
        gate.require_fresh(stand.clock.now)
        assert len(gate.eligible(*ASK).rows) == 4
        polling.cancel()
        await asyncio.gather(polling, return_exceptions=True)

    run(tmp_path, story)


def test_a_withdrawal_elsewhere_arrives_by_polling(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        gate = await stand.open()
        await gate.import_everyone()
        # what the portal will do: append to the party's log without asking the node
        taken = next(b for b in stand.service.appended if len(b) == 3)
        withdrawn = made.batch(["x"], "withdrawn", taken.scopes[0], channel="portal")
        await stand.service.append(replace(withdrawn, subjects=taken.subjects[:1]))
        before = len(gate.eligible(*ASK).rows)
        await gate.sync()
        assert len(gate.eligible(*ASK).rows) < before

    run(tmp_path, story)


def test_identifiers_do_not_reach_the_service(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        gate = await stand.open()
        await load(gate, [row("ann@x.example", "given")])
        await gate.withdraw("phone", "+8613800000003")
        gate.close()
        stand.ledger.close()
        disk = b"".join(p.read_bytes() for p in tmp_path.rglob("*") if p.is_file())
        assert b"audience_insight" in disk  # the search sees what is there
        for word in (b"ann@x", b"x.example", b"13800000003", b"email", b"k" * 32):
            assert word not in disk

    run(tmp_path, story)


def test_another_key_knows_nobody(tmp_path: Path) -> None:
    """Pseudonyms and MACs hang on the node's storage key: the copy of a lost key is refused."""

    async def story(stand: Stand) -> None:
        gate = await stand.open()
        await gate.import_everyone()
        gate.close()
        other = await stand.open(key=b"j")
        with pytest.raises(Refused, match="consent_changed"):
            other.eligible(*ASK)

    run(tmp_path, story)


FEDERATION = """
federation: f
parties:
  retailer:
    table: retailer.csv
    default_region: CN
    ids: {email: email, phone: phone}
    attributes: {vip: {kind: flag, category: behaviour}}
    consents: consents.csv
  media:
    table: retailer.csv
    default_region: CN
    ids: {email: email}
    attributes: {vip: {kind: flag, category: behaviour}}
    consents: all
"""


def test_from_files_to_rows(tmp_path: Path) -> None:
    """Real reader, real table: dirt in the file finds the people that the table means."""
    (tmp_path / "f.yaml").write_text(FEDERATION)
    (tmp_path / "retailer.csv").write_text(
        "email,phone,vip\nAnn@X.example,,1\nbob@x.example,138 0000 0001,0\n,138 0000 0001,0\n,,1\n"
    )
    (tmp_path / "consents.csv").write_text(
        "phone,purpose,recipient,category,status\n"
        "+86 138-0000-0001,audience_insight,media,behaviour,given\n"
        "+86 138-0000-0001,activation,media,behaviour,given\n"
        "13800000001,activation,media,behaviour,refused\n"
    )
    parties = load_federation(tmp_path / "f.yaml").parties

    async def story(stand: Stand) -> None:
        for name, wanted in (("retailer", [1, 2]), ("media", [0, 1])):
            party = parties[name]
            folder = tmp_path / name
            folder.mkdir()
            gate = await NodeGate.open(
                party=name, parties=list(parties), kinds=list(party.ids),
                identifiers=Dataset.load(party), port=stand.ledger.port(name),
                trust=stand.ledger.trust,
                storage=Secret(b"k" * 32), folder=folder, now=stand.clock, random=os.urandom,
            )  # fmt: skip
            if party.consents_file is None:
                await gate.import_everyone()
            else:
                rows = read_consents(party)
                report = await gate.import_file(
                    rows.kind, rows.ids, rows.purposes, rows.recipients, rows.categories,
                    rows.statuses,
                )  # fmt: skip
                assert (report.statements, report.appended) == (2, 2)
            other = "media" if name == "retailer" else "retailer"
            found = gate.eligible("audience_insight", [other], ["behaviour"])
            assert list(found.rows) == wanted
            if name == "retailer":
                activation = gate.eligible("activation", [other], ["behaviour"])
                assert dict(activation.excluded) == {"refused": 2, "no_record": 2}

    run(tmp_path, story)
