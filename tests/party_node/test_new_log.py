"""A node follows its service to new logs: what people said holds there, and once only."""

from __future__ import annotations

import asyncio
import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from consent.leaf import subject_text
from consent.ledger import Places
from consent.local import LocalConsent
from consent.migration import last_heads, migrate, notes_of
from consent.port import Recorded
from consent.portal.port import FileRequest
from consent.receipt import claimed_origin, make_receipt, verify_receipt
from consent.records import RecordBatch, joined
from consent.replaced import Replaced
from party_node.consent_gate import NodeGate
from party_node.new_log import EarlierLogs, set_aside
from party_node.own_copy import REPLICA
from party_node.rights_requests import RightsRequests
from protocol.errors import BadInput, Failed, ProtocolViolation, Refused
from tests import ledgers
from tests.consent import made

PEOPLE = ["ann@x.example", "bob@x.example", "eve@x.example", "joe@x.example"]
ASK = ("audience_insight", ["media"], ["purchases"])


class Table:
    def __init__(self, people: list[str | None] = PEOPLE) -> None:  # type: ignore[assignment]
        self.people, self.rows = people, len(people)

    def all_identifiers(self, kind: str) -> pa.StringArray:
        return pa.array(self.people, type=pa.string())


class Dying(LocalConsent):
    """A connection that is gone after some calls."""

    left = 1_000

    async def append(self, batch: RecordBatch) -> Recorded:
        self.left -= 1
        if self.left < 0:
            raise Failed("unavailable", "gone")
        return await super().append(batch)


class Node:
    """One party before and after."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, made.Clock()
        self.stand = ledgers.simple(folder / "ledger", self.clock, "retailer", "media")
        self.served = self.stand.folder
        self.storage = self.stand.keys["retailer"].storage
        self.table = Table()
        self.forgotten: list[bytes] = []
        self.moved: list[tuple[list[int], list[int]]] = []
        engine = sa.create_engine(f"sqlite:///{folder / 'node.sqlite'}")
        self.rights = RightsRequests(engine, self.storage, self.clock)

    async def open(self, *, new_log: bool = False) -> NodeGate:
        self.port = Dying(self.stand.ledger, "retailer")
        if new_log:
            trust = self.stand.trust
            await set_aside(self.folder, "retailer", trust, self.storage, self.port)
        self.gate = await NodeGate.open(
            party="retailer", parties=["retailer", "media"], kinds=["email"],
            identifiers=self.table, port=self.port, storage=self.storage, folder=self.folder,
            trust=self.stand.trust, now=self.clock, random=os.urandom,
        )  # fmt: skip
        self.gate.when_erased(lambda subjects, ids: self.erased(subjects))
        self.gate.were_erased = self.rights.were_erased
        return self.gate

    def erased(self, subjects: np.ndarray) -> None:
        """As node.py does it."""
        self.forgotten.extend(map(bytes, self.rights.not_moved(subjects)))
        self.rights.erased(self.rights.not_moved(subjects))

    async def start(self, people: list[str | None]) -> None:
        """As the process does it, over another table."""
        self.table = Table(people)
        await self.open(new_log=True)
        await self.carry()
        await self.gate.import_everyone()

    async def carry(self) -> None:
        earlier = EarlierLogs(
            self.gate, self.port, self.folder, self.stand.trust, self.storage, self.rights,
            lambda old, new: self.moved.append((old.tolist(), new.tolist())),
        )  # fmt: skip
        self.earlier = earlier
        await earlier.carry({"email": self.table.all_identifiers("email")})

    def stop(self) -> None:
        self.earlier.close()
        self.gate.close()

    def token(self, address: str) -> bytes:
        made = self.gate.lookup.pseudonyms.tokens("email", pa.array([address]))
        return made[0].tobytes()

    async def portal_says(self, address: str, state: str) -> None:
        """The portal knows pseudonyms of this node, and writes to whatever ledger there is."""
        subjects = np.frombuffer(self.token(address), np.uint8).reshape(1, 32)
        said = replace(made.batch(["x"], state, channel="portal"), subjects=subjects)
        await asyncio.wrap_future(self.stand.ledger.append("retailer", said))

    def left(self) -> list[Path]:
        return list(self.folder.glob("consent_left_behind*"))

    def migrate(self, name: str = "new") -> None:
        """The operator's command, and the service over the new databases."""
        old = Places.in_folder(self.served)
        new = self.served = self.stand.folder / name
        new.mkdir()
        heads = last_heads(notes_of(old.tree), self.stand.trust)
        migrate(Places.in_folder(new), self.stand.consent, ["retailer", "media"], heads,
                self.clock, os.urandom)  # fmt: skip
        self.stand.ledger.close()
        ledger = ledgers._ledger(
            new, self.stand.consent, self.stand.trust, self.stand.witnesses, self.clock,
            self.stand.keys, replaced=Replaced([old.openings]),
        )  # fmt: skip
        self.stand = replace(self.stand, ledger=ledger)

    def rows(self) -> list[int]:
        return list(self.gate.eligible(*ASK).rows)

    def log(self) -> RecordBatch:
        return joined(list(self.gate._replica.batches()))


async def told(node: Node) -> None:
    """Everybody permits; bob withdraws in the portal, eve at the counter, and gives again."""
    await node.open()
    await node.gate.import_everyone()
    bob = node.gate.lookup.pseudonyms.tokens("email", pa.array(["bob@x.example"]))
    said = made.batch(["x"], "withdrawn", channel="portal")
    done = node.stand.ledger.append("retailer", replace(said, subjects=bob))
    await asyncio.wrap_future(done)
    await node.gate.withdraw("email", "eve@x.example")
    await node.gate.record("email", "eve@x.example", "given")
    await node.gate.sync()
    assert node.rows() == [0, 2, 3]


async def test_what_people_said_holds_in_the_new_log(tmp_path: Path) -> None:
    node = Node(tmp_path)
    await told(node)
    # A denial that the old log never got: its service was stopped for good.
    node.port.left = 0
    assert not (await node.gate.withdraw("email", "joe@x.example")).logged
    before = node.log()
    node.gate.close()
    node.migrate()

    await node.open()  # without the owner's word nothing is decided
    with pytest.raises(ProtocolViolation):
        await node.gate.sync()
    with pytest.raises(Refused):
        node.rows()
    node.gate.close()

    await node.open(new_log=True)
    await node.carry()
    assert node.rows() == [0, 2]
    await node.gate.import_everyone()  # as every start does: no file undoes a no
    assert node.rows() == [0, 2]
    after = node.log()
    # joe's denial was there under the old pseudonym: sent while nobody had said a word.
    places = [list(map(bytes, after.record_ids)).index(bytes(one)) for one in before.record_ids]
    assert places == list(range(len(before)))
    assert not set(map(bytes, before.subjects)) & set(map(bytes, after.subjects))
    (old, new), = node.moved  # fmt: skip
    assert len(set(old)) == len(set(new)) == 4
    assert [path.name for path in tmp_path.glob("consent_replica*.sqlite")] == [REPLICA]
    node.gate.close()

    await node.open(new_log=True)  # again does no harm
    await node.carry()
    assert len(node.log()) == len(after)
    assert len(node.moved) == 1
    node.gate.close()
    node.stand.close()


async def test_killed_in_the_middle_it_goes_on_and_says_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = Node(tmp_path)
    await told(node)
    before = node.log()
    node.gate.close()
    node.migrate()
    pieces = RecordBatch.pieces
    monkeypatch.setattr(RecordBatch, "pieces", lambda self, rows=2: pieces(self, rows))
    for done in range(3):
        await node.open(new_log=done == 0)  # what was set aside waits for no further word
        node.port.left = 1
        with pytest.raises(Failed, match="gone"):
            await node.carry()
        assert list(tmp_path.glob("*.old.sqlite"))
        node.gate.close()
    await node.open()
    await node.carry()
    ids = [bytes(one) for one in node.log().record_ids]
    assert ids == [bytes(one) for one in before.record_ids]
    assert node.rows() == [0, 2, 3]
    node.gate.close()
    node.stand.close()


async def test_whoever_was_away_is_met_again_and_nothing_is_forgotten(tmp_path: Path) -> None:
    ann, bob, eve, joe = PEOPLE
    node = Node(tmp_path)
    await told(node)  # bob has withdrawn
    request = FileRequest((node.token(joe),), b"1" * 16, "correct", "tier")
    node.rights.file(request, [3])
    (asked,) = node.rights.of_person([node.token(joe)])
    await LocalConsent(node.stand.ledger, "retailer").erase(node.token(eve))
    await node.gate.sync()
    times = node.log().times_ms.tolist()
    node.gate.close()
    node.migrate()
    node.clock.now += 100.0

    await node.start([ann])  # while three are away
    assert node.rows() == [0]
    assert len(np.unique(node.log().subjects, axis=0)) == 1
    assert len(node.left()) >= 1
    (view,) = node.rights.all()  # the owner sees what is to be answered, and until when
    assert (view.id, view.due_ms, view.state) == (asked.id.hex(), asked.due_ms, "received")
    node.stop()
    await node.start([ann, "new@x.example"])
    assert node.rows() == [0, 1]
    node.stop()

    await node.start(PEOPLE)
    assert node.rows() == [0, 3]  # `consents: all`, and yet neither bob nor eve
    assert node.left() == []
    assert node.rights.of_person([node.token(joe)]) == (asked,)
    assert node.rights.earlier_logs() == []
    after = node.log()
    assert set(times) <= set(after.times_ms.tolist())
    seen = [event.index for event in node.stand.ledger.subject("retailer", node.token(bob))]
    assert len(seen) == 2  # his history: the permit and the withdrawal
    node.stop()

    node.migrate("newer")  # and once more, for those whose pseudonyms are the second ones
    await node.start([ann])
    node.stop()
    await node.start(PEOPLE)
    assert node.rows() == [0, 3]
    assert node.rights.of_person([node.token(joe)]) == (asked,)
    node.stop()
    node.stand.close()


async def test_what_is_said_of_somebody_who_was_away_counts_before_what_they_said_once(
    tmp_path: Path,
) -> None:
    ann, bob, eve, _ = PEOPLE
    node = Node(tmp_path)
    await told(node)  # bob has withdrawn
    node.gate.close()
    node.migrate()
    await node.start(["new@x.example"])
    await node.gate.record("email", bob, "given")  # at the counter: his withdrawal comes first
    await node.gate.withdraw("email", ann)  # at once, also without the ledger
    node.port.left = 0
    with pytest.raises(Failed):
        await node.gate.record("email", eve, "given")
    node.port.left = 1_000
    node.stop()
    await node.start(PEOPLE)
    assert node.rows() == [1, 2, 3]  # ann's permit of before does not outdo her no
    node.stop()
    node.stand.close()


async def test_what_was_said_to_the_new_log_before_the_owners_word_is_said_again(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path)
    await told(node)
    old = node.token(PEOPLE[0])
    node.rights.file(FileRequest((old,), b"1" * 16, "correct", "tier"), [0])
    node.gate.close()
    node.migrate()
    await node.open()  # the portal still gets pseudonyms of the old log
    await node.portal_says(PEOPLE[0], "withdrawn")
    node.gate.close()
    await node.start(list(PEOPLE))
    assert node.rows() == [2, 3]
    # What stood under the old pseudonym is gone; nobody asked to be erased or forgotten.
    assert old not in set(map(bytes, node.log().subjects))
    now = np.frombuffer(node.token(PEOPLE[0]), np.uint8).reshape(1, -1)
    assert not node.rights.were_erased(now).any()
    assert node.forgotten == []
    assert len(node.rights.of_person([node.token(PEOPLE[0])])) == 1
    node.stop()
    node.stand.close()


async def test_who_is_erased_is_erased_in_the_replaced_log_and_their_receipt_still_holds(
    tmp_path: Path,
) -> None:
    node = Node(tmp_path)
    await told(node)
    ledger, bob = node.stand.ledger, PEOPLE[1]
    before = ledger.subject("retailer", node.token(bob))
    receipts = [
        make_receipt(one.leaf, one.opening, one.proof, node.stand.keys["media"].signing)
        for one in before
    ]
    secrets = [node.token(bob), *(one.opening.salt for one in before)]
    node.gate.close()
    node.migrate()
    await node.start([PEOPLE[0]])
    node.stop()
    await node.start(list(PEOPLE))  # he was left behind once, and that file is gone
    port = LocalConsent(node.stand.ledger, "retailer")
    after = node.stand.ledger.subject("retailer", node.token(bob))
    assert len(after) == len(before) == 2
    secrets += [node.token(bob), *(one.opening.salt for one in after)]
    secrets += [subject_text(token).encode() for token in (secrets[0], node.token(bob))]
    await port.erase(node.token(bob))
    await node.gate.sync()
    node.stop()
    for path in (one for one in tmp_path.rglob("*") if one.is_file()):
        assert not [one for one in secrets if one in path.read_bytes()], path
    for text in receipts:
        policy = node.stand.trust.policy(claimed_origin(text))
        assert verify_receipt(text, policy).party == "retailer"
    node.stand.close()


def test_a_replaced_log_that_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no such database"):
        Replaced([Places.in_folder(tmp_path).openings])


async def test_what_was_left_behind_is_sealed(tmp_path: Path) -> None:
    node = Node(tmp_path)
    await told(node)
    node.gate.close()
    node.migrate()
    await node.start([PEOPLE[0]])
    node.stop()
    (path,) = tmp_path.glob("consent_left_behind*.sqlite")
    raw = sqlite3.connect(path)
    (batch,) = raw.execute("SELECT batch FROM pages LIMIT 1").fetchone()
    raw.execute("UPDATE pages SET batch = ?", (batch[:-1] + bytes([batch[-1] ^ 1]),))
    raw.commit()
    raw.close()
    with pytest.raises(Refused, match="not what was verified"):
        await node.start(list(PEOPLE))
    node.gate.close()
    node.stand.close()


async def test_a_node_that_knows_the_log_or_none_is_left_as_it_is(tmp_path: Path) -> None:
    node = Node(tmp_path)
    await node.open(new_log=True)
    await node.gate.import_everyone()
    node.gate.close()
    size = (tmp_path / REPLICA).stat().st_size
    await node.open(new_log=True)
    await node.carry()
    assert node.rows() == [0, 1, 2, 3]
    assert (tmp_path / REPLICA).stat().st_size >= size
    assert node.moved == []
    node.gate.close()
    node.stand.close()
