"""A node follows its service to new logs: what people said holds there, and once only."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from consent.ledger import Places
from consent.local import LocalConsent
from consent.migration import last_heads, migrate, notes_of
from consent.port import Recorded
from consent.records import RecordBatch, joined
from party_node.consent_gate import REPLICA, NodeGate
from party_node.new_log import carry, set_aside, waiting
from protocol.errors import Failed, ProtocolViolation, Refused
from tests import ledgers
from tests.consent import made

PEOPLE = ["ann@x.example", "bob@x.example", "eve@x.example", "joe@x.example"]
ASK = ("audience_insight", ["media"], ["purchases"])


class Table:
    rows = 4

    def __init__(self, people: list[str | None] = PEOPLE) -> None:  # type: ignore[assignment]
        self.people = people

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
        self.storage = self.stand.keys["retailer"].storage
        self.table = Table()
        self.moved: list[tuple[list[int], list[int]]] = []

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
        return self.gate

    async def carry(self) -> None:
        await carry(
            self.gate, self.folder, self.stand.trust, self.storage, ["email"], self.table,
            lambda old, new: self.moved.append((old.tolist(), new.tolist())),
        )  # fmt: skip

    def migrate(self) -> None:
        """The operator's command, and the service over the new databases."""
        old = Places.in_folder(self.stand.folder)
        new = self.stand.folder / "new"
        new.mkdir()
        heads = last_heads(notes_of(old.tree), self.stand.trust)
        migrate(Places.in_folder(new), self.stand.consent, ["retailer", "media"], heads,
                self.clock, os.urandom)  # fmt: skip
        self.stand.ledger.close()
        ledger = ledgers._ledger(
            new, self.stand.consent, self.stand.trust, self.stand.witnesses, self.clock,
            self.stand.keys,
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
    # joe's denial is there under the old pseudonym too: sent while nobody had said a word.
    places = [list(map(bytes, after.record_ids)).index(bytes(one)) for one in before.record_ids]
    assert places == list(range(1, 1 + len(before)))
    both = set(map(bytes, before.subjects)) & set(map(bytes, after.subjects))
    assert both == {bytes(after.subjects[0])}
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
        assert waiting(tmp_path) is not None
        node.gate.close()
    await node.open()
    await node.carry()
    ids = [bytes(one) for one in node.log().record_ids]
    assert ids == [bytes(one) for one in before.record_ids]
    assert node.rows() == [0, 2, 3]
    node.gate.close()
    node.stand.close()


async def test_whoever_is_in_the_table_no_more_is_left_behind(tmp_path: Path) -> None:
    node = Node(tmp_path)
    await told(node)
    node.gate.close()
    node.migrate()
    node.table = Table([None, *PEOPLE[1:3], "new@x.example"])
    await node.open(new_log=True)
    await node.carry()
    assert node.rows() == [2]
    assert len(np.unique(node.log().subjects, axis=0)) == 2
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
