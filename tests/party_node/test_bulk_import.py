"""`assent consent import` at the node: good rows recorded once, bad ones listed, proofs kept."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from catalog.federation import Party
from consent.local import LocalConsent
from consent.purposes import State
from consent.records import RecordBatch, joined
from party_node.bulk_import import BulkImport, import_stream
from party_node.consent_gate import NodeGate
from party_node.evidence import EVIDENCE_FILE, EvidenceStore, digest
from protocol.errors import BadInput
from protocol.wire import node_pb2 as pb
from tests import ledgers
from tests.consent import made

PEOPLE = ["ann@x.example", "bob@x.example", "eve@x.example", "joe@x.example"]
COLUMNS = ["email", "purpose", "recipient", "category", "status"]
ASK = (made.PURPOSE, ["media"], [made.CATEGORY])


class Table:
    rows = len(PEOPLE)

    def all_identifiers(self, kind: str) -> pa.StringArray:
        return pa.array(PEOPLE, type=pa.string())


class Stand:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = made.Clock()
        keys = {name: ledgers.new_keys(name) for name in ("retailer", "media", "bank")}
        consent = ledgers.new_keys("consent", "consent")
        self.ledger = ledgers.stand(folder / "ledger", self.clock, keys, consent)
        self.keys = keys["retailer"]
        self.gate: NodeGate

    async def open(self) -> NodeGate:
        self.gate = await NodeGate.open(
            party="retailer", parties=["retailer", "media", "bank"], kinds=["email"],
            identifiers=Table(), port=LocalConsent(self.ledger.ledger, "retailer"),
            storage=self.keys.storage, folder=self.folder, trust=self.ledger.trust,
            now=self.clock, random=os.urandom,
        )  # fmt: skip
        return self.gate

    async def load(self, text: str, name: str = "old.csv") -> dict[str, Any]:
        return await self.load_bytes(text.encode(), name)

    async def load_bytes(self, data: bytes, name: str) -> dict[str, Any]:
        async def pieces() -> AsyncIterator[pb.NodeConsentFile]:
            yield pb.NodeConsentFile(name=name)
            for start in range(0, len(data), 7):
                yield pb.NodeConsentFile(data=data[start : start + 7])

        what = BulkImport(
            self.gate, party(self.folder), ["bank", "media"], self.folder, self.clock, os.urandom
        )
        self.steps = [step async for step in import_stream(what, pieces())]
        report: dict[str, Any] = json.loads(self.steps[-1].report)
        return report

    def log(self) -> RecordBatch:
        return joined(list(self.gate._replica.batches()))

    def places(self, log: RecordBatch, *names: str) -> list[int]:
        """Where in the log these people's records are: not in the order of the file."""
        ids = pa.array([f"{name}@x.example" for name in names])
        tokens = self.gate._pseudonyms.tokens("email", ids)
        return [int(np.flatnonzero((log.subjects == one).all(axis=1))[0]) for one in tokens]


def party(folder: Path) -> Party:
    return Party(
        name="retailer",
        table=folder / "t.csv",
        consents="all",
        ids={"email": "email"},
        attributes={},
    )


def run(folder: Path, story: Callable[[Stand], Awaitable[None]]) -> None:
    async def go() -> None:
        stand = Stand(folder)
        await stand.open()
        try:
            await story(stand)
        finally:
            stand.gate.close()
            stand.ledger.close()

    asyncio.run(go())


def row(who: str, status: str, *more: str, recipient: str = "media") -> str:
    return ",".join([f"{who}@x.example", made.PURPOSE, recipient, made.CATEGORY, status, *more])


def csv(*rows: str, more: str = "") -> str:
    return "\n".join([",".join(COLUMNS) + more, *rows]) + "\n"


def test_rows_are_recorded_once_and_reach_the_gate(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        text = csv(row("ann", "given"), row("bob", "refused"), row("nobody", "given"))
        report = await stand.load(text)
        assert report == {
            "rows": 3, "recorded": 3, "held": 0, "repeated": 0, "refused_before": 0, "bad": 0,
            "bad_reasons": {}, "bad_rows": [],
        }  # fmt: skip
        assert [step.doing for step in stand.steps][:2] == [
            "reading the file", "comparing with the ledger",
        ]  # fmt: skip
        assert (stand.steps[-1].done, stand.steps[-1].total) == (3, 3)
        found = stand.gate.eligible(*ASK)
        assert (list(found.rows), dict(found.excluded)) == ([0], {"refused": 1, "no_record": 2})
        again = await stand.load(text)
        assert (again["recorded"], again["held"]) == (0, 3)
        assert list(tmp_path.glob("import-*")) == []  # the file itself is gone

    run(tmp_path, story)


def test_parquet_says_the_same(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        text = csv(row("ann", "given"), row("bob", "withdrawn"))
        table = pyarrow.csv.read_csv(pa.BufferReader(text.encode()))
        sink = pa.BufferOutputStream()
        pyarrow.parquet.write_table(table, sink)
        report = await stand.load_bytes(sink.getvalue().to_pybytes(), "old.parquet")
        assert (report["rows"], report["recorded"]) == (2, 2)
        assert (await stand.load(text))["held"] == 2

    run(tmp_path, story)


def test_bad_rows_are_listed_by_number_and_left_out(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        more = ",time,valid_until,notice,jurisdiction,default_off,guardian"
        good = "2026-01-02,2030-01-01T00:00:00+08:00,consent/1/zh-CN,CN,yes,parent"
        text = csv(
            row("ann", "given", good),
            row("not an address", "given", good),
            "," + row("x", "given", good).partition(",")[2],
            row("bob", "granted", good),
            row("bob", "given", good, recipient="nobody"),
            row("bob", "given", good, recipient="*"),
            row("bob", "given", good, recipient="retailer"),
            row("bob", "", good),
            row("bob", "given", good.replace("2026-01-02", "yesterday")),
            row("bob", "given", good.replace("2026-01-02", "2099-01-02")),
            row("bob", "given", good.replace("2030", "2020")),
            row("bob", "given", good.replace("consent/1", "consent/9")),
            row("bob", "given", good.replace("CN,yes", "china,yes")),
            row("bob", "given", good.replace("yes", "no")),
            row("bob", "given", good.replace("parent", "friend")),
            row("eve", "refused", good.replace("yes", "no")),
            more=more,
        )
        report = await stand.load(text)
        assert report["recorded"] == 2
        assert report["bad_rows"] == [
            [2, "email cannot be read"],
            [3, "email is empty"],
            [4, "status is not known"],
            [5, "recipient is not known"],
            [6, "recipient is not known"],
            [7, "recipient is not known"],
            [8, "status is empty"],
            [9, "time is no time"],
            [10, "time is in the future"],
            [11, "valid_until is not after time"],
            [12, "notice is not one of the party's (id/version/language)"],
            [13, "'china' is not a country or region of ISO 3166"],
            [14, "what was on by default is not a consent"],
            [15, "guardian is not known"],
        ]
        log = stand.log()
        ann, eve = stand.places(log, "ann", "eve")
        terms = log.terms[log.terms_codes[ann]]
        assert (terms.jurisdiction, terms.default_off, terms.guardian) == ("CN", True, "parent")
        assert terms.notice == stand.gate.notices.current().ref("zh-CN")
        assert log.times_ms[ann] == 1_767_312_000_000
        assert log.valid_until_ms[ann] == 1_893_427_200_000
        assert log.valid_until_ms[eve] == 0  # a refusal has no end

    run(tmp_path, story)


def test_the_stricter_of_two_rows_wins_and_a_no_in_the_log_stands(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.gate.withdraw("email", "eve@x.example")
        text = csv(
            row("ann", "given"), row("ann", "refused"), row("ann", "renewed"),
            row("eve", "given"), row("eve", "renewed", recipient="bank"), row("joe", "given"),
        )  # fmt: skip
        report = await stand.load(text)
        assert (report["recorded"], report["repeated"], report["refused_before"]) == (2, 2, 2)
        assert list(stand.gate.eligible(*ASK).rows) == [3]
        # what the list ends is ended, and a person who gives again is not undone by it
        report = await stand.load(csv(row("joe", "expired"), row("bob", "deferred")))
        assert report["recorded"] == 2
        assert list(stand.gate.eligible(*ASK).rows) == []
        await stand.gate.record("email", "joe@x.example", "given")
        assert (await stand.load(csv(row("joe", "deferred"))))["recorded"] == 1
        assert dict(stand.gate.eligible(*ASK).excluded)["expired"] == 1

    run(tmp_path, story)


def test_no_list_permits_anew_for_somebody_who_was_erased(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        ann = stand.gate.lookup.of_address("email", "ann@x.example").subjects[0]
        stand.gate.were_erased = lambda tokens: np.array([bytes(one) == ann for one in tokens])
        report = await stand.load(csv(row("ann", "given"), row("bob", "given")))
        assert (report["recorded"], report["refused_before"]) == (1, 1)
        assert list(stand.gate.eligible(*ASK).rows) == [1]

    run(tmp_path, story)


def test_a_file_at_start_takes_nothing_of_it_back(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.load(csv(row("ann", "given"), row("bob", "given")))
        columns = [
            [who] for who in ("bob@x.example", made.PURPOSE, "media", made.CATEGORY, "given")
        ]
        await stand.gate.import_file(
            "email", *(pa.array(column, type=pa.string()) for column in columns)
        )
        assert list(stand.gate.eligible(*ASK).rows) == [0, 1]

    run(tmp_path, story)


def test_proofs_stay_at_the_party_and_answer_for_the_record(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        text = csv(
            row("ann", "given", "form-7", "10.0.0.1"), row("bob", "given", "form-8", ""),
            more=",evidence_form,evidence_address",
        )  # fmt: skip
        assert (await stand.load(text))["recorded"] == 2
        log = stand.log()
        store = EvidenceStore(tmp_path / EVIDENCE_FILE)
        said = []
        ann, bob = stand.places(log, "ann", "bob")
        for number in (ann, bob):
            proof = store.of(log.record_ids[number].tobytes())
            assert proof is not None
            said.append(json.loads(proof.text))
            assert digest(proof.salt, proof.text) == log.evidence[number].tobytes()
            # a digest without the salt would be guessed from the form's number
            assert hashlib.sha256(proof.text.encode()).digest() != log.evidence[number].tobytes()
        assert said == [
            {"evidence_address": "10.0.0.1", "evidence_form": "form-7"},
            {"evidence_address": None, "evidence_form": "form-8"},
        ]
        ledger = b"".join(p.read_bytes() for p in (tmp_path / "ledger").iterdir() if p.is_file())
        assert b"form-7" not in ledger
        assert b"ann@" not in ledger
        store.erase([log.record_ids[ann].tobytes()])
        assert store.of(log.record_ids[ann].tobytes()) is None
        assert b"form-7" not in (tmp_path / EVIDENCE_FILE).read_bytes()
        assert b"form-8" in (tmp_path / EVIDENCE_FILE).read_bytes()

    run(tmp_path, story)


@pytest.mark.parametrize(
    "text, name, said",
    [
        (csv(row("ann", "given", "x"), more=",expires"), "a.csv", '"expires" is not known'),
        (csv(row("ann", "given")).replace("email,", "phone,"), "a.csv", '"phone" is not known'),
        (csv(row("ann", "given")).replace(",status", ",state"), "a.csv", '"state" is not known'),
        ("email,purpose,recipient,category\na,b,c,d\n", "a.csv", 'no column "status"'),
        ("", "a.csv", "a.csv"),
        (csv(row("ann", "given")), "a.txt", "not supported"),
        (csv(row("ann", "given")), "../a.csv", "begins with the name"),
        (csv(row("ann", "given")), "", "begins with the name"),
        ("not parquet", "a.parquet", "not a Parquet file"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(
    tmp_path: Path, text: str, name: str, said: str
) -> None:
    async def story(stand: Stand) -> None:
        with pytest.raises(BadInput, match=said):
            await stand.load(text, name)
        assert len(stand.log()) == 0

    run(tmp_path, story)


def test_states_of_a_bulk_import_are_all_ten(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        report = await stand.load(csv(*(row(f"p{state.value}", state.word) for state in State)))
        assert report["recorded"] == len(State)
        assert sorted(stand.log().states.tolist()) == sorted(int(state) for state in State)

    run(tmp_path, story)
