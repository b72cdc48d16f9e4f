"""The node's side of the portal: who is found, what is told of whom, requests kept and settled."""

from __future__ import annotations

import asyncio
import datetime
import hmac
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import sqlalchemy as sa

from catalog.collaboration import Collaboration, Endpoint
from catalog.federation import Party, load_party
from consent.gate import RowSubjects
from consent.portal.client import PortalLease
from consent.portal.port import (
    FileRequest,
    Find,
    NotAnswered,
    Person,
    ReadTags,
    ReadTickets,
    ReadUses,
    Tags,
    Tickets,
    Use,
    Uses,
)
from consent.portal.questions import Questions
from consent.portal.service import serving
from consent.pseudonyms import Pseudonyms
from consent.subjects import SubjectIndex
from party_node.dataset import Dataset
from party_node.person_lookup import PersonLookup, Rows
from party_node.rights_requests import MAX_OPEN, RightsRequests
from party_node.subject_requests import FINDS_PER_HOUR, SubjectRequests, serve
from protocol.errors import BadInput, Failed, ProtocolViolation
from protocol.identity import Keys, create_keys
from protocol.secret import Secret

TABLE = """\
email,phone,tier,spend,vip
ann@example.com,13800138001,gold,12.5,1
bob@example.com,13800138002,,,0
family@example.com,13800138003,silver,3,0
family@example.com,13800138004,gold,4,1
dan@example.com,13800138005,gold,5,0
eve@example.com,13800138005,silver,6,0
"""
PARTY = """\
name: retailer
table: table.csv
default_region: CN
ids: {email: email, phone: phone}
attributes:
  tier: {kind: label, category: purchases, values: [gold, silver]}
  spend: {kind: number, category: purchases, bounds: [0, 10], decimals: 1}
  vip: {kind: flag, category: behaviour}
consents: all
policy: {min_cohort: 1, noise: optional, purposes: [audience_insight]}
"""


class Uses1:
    def uses(self, rows: Rows) -> Sequence[Use]:
        return [Use(f"job{rows.tolist()}", 1, "audience_insight", "media", "psi", "released")]


class Made:
    def __init__(self, folder: Path) -> None:
        folder.joinpath("table.csv").write_text(TABLE, encoding="utf-8")
        folder.joinpath("party.yaml").write_text(PARTY, encoding="utf-8")
        self.party: Party = load_party(folder / "party.yaml")
        table = Dataset.load(self.party)
        pseudonyms = Pseudonyms(Secret(b"m" * 32), "log", "retailer")
        kinds = [table.all_identifiers(kind) for kind in ("email", "phone")]
        tokens = list(map(pseudonyms.tokens, ("email", "phone"), kinds))
        index, codes = SubjectIndex.numbering(np.concatenate(tokens))
        columns = tuple(codes.reshape(2, table.rows))
        self.lookup = PersonLookup(pseudonyms, RowSubjects(index, columns, table.rows))
        self.engine = sa.create_engine(f"sqlite:///{folder / 'node.sqlite'}")
        self.clock = [1_800_000_000.0]
        self.rights = RightsRequests(self.engine, Secret(b"s" * 32), lambda: self.clock[0])
        self.requests = SubjectRequests(
            self.party, ["media"], self.lookup, table, self.rights, Uses1(), 1000,
            lambda: self.clock[0],
        )  # fmt: skip

    def token(self, kind: str, text: str) -> bytes:
        return self.lookup.pseudonyms.tokens(kind, pa.array([text]))[0].tobytes()

    def find(self, kind: str, address: str) -> Person:
        answer = self.requests.answer(Find(kind, address))
        assert isinstance(answer, Person)
        return answer


@pytest.fixture
def made(tmp_path: Path) -> Made:
    return Made(tmp_path)


def test_an_address_finds_its_row_and_that_rows_own_identifiers(made: Made) -> None:
    ann = made.find("email", " ANN@example.com")
    both = {made.token("email", "ann@example.com"), made.token("phone", "+8613800138001")}
    assert set(ann.subjects) == both
    assert ann.subjects[0] == made.token("email", "ann@example.com")
    assert (ann.shared, ann.purposes, ann.recipients) == (False, ("audience_insight",), ("media",))
    assert ann.categories == ("purchases", "behaviour")
    assert set(made.find("phone", "138 0013 8001").subjects) == both


def test_a_shared_identifier_speaks_for_nobody_else(made: Made) -> None:
    family = made.find("email", "family@example.com")
    assert family.shared
    assert family.subjects == (made.token("email", "family@example.com"),)
    # Dan's phone is Eve's too: who holds Dan's mailbox does not speak for Eve's number.
    dan = made.find("email", "dan@example.com")
    assert dan.subjects == (made.token("email", "dan@example.com"),)
    for question in (ReadTags(family.subjects), ReadUses(family.subjects)):
        assert made.requests.answer(question) == NotAnswered("shared_address")


@pytest.mark.parametrize("address", ["no address", "@", "a" * 320])
def test_what_is_no_address_is_nobody(made: Made, address: str) -> None:
    assert made.find("email", address).subjects == ()


def test_who_is_in_the_table_no_more_finds_what_they_asked_for(made: Made) -> None:
    asked = list[tuple[str, str]]()
    made.requests.met = lambda kind, address: asked.append((kind, address))
    gone = made.find("email", " Gone@example.com")
    assert asked == [("email", "gone@example.com")]
    assert gone == Person((made.token("email", "gone@example.com"),), absent=True)
    made.requests.answer(FileRequest(gone.subjects, b"1" * 16, "erase"))
    answer = made.requests.answer(ReadTickets(gone.subjects))
    assert isinstance(answer, Tickets)
    assert [ticket.right for ticket in answer.items] == ["erase"]
    assert made.rights.all()[0].rows == []
    assert made.requests.answer(ReadTags(gone.subjects)) == NotAnswered("unknown_subject")


def test_who_asked_for_erasure_or_was_erased_is_known_by_a_digest_only(made: Made) -> None:
    ann, bob, eve = (
        made.lookup.pseudonyms.tokens("email", pa.array([f"{name}@example.com"]))
        for name in ("ann", "bob", "eve")
    )
    everybody = np.concatenate([ann, bob, eve])
    assert made.rights.were_erased(everybody).tolist() == [False, False, False]
    made.requests.answer(FileRequest((bob[0].tobytes(),), b"1" * 16, "erase"))
    for _ in range(2):
        made.rights.erased(eve)
    assert made.rights.were_erased(everybody).tolist() == [False, True, True]
    digest = made.rights._person(eve[0].tobytes())
    assert digest == hmac.digest(made.rights._key.reveal(), eve[0].tobytes(), "sha256")


def test_a_token_finds_the_person_whom_the_party_signed_in(made: Made) -> None:
    ann = made.token("email", "ann@example.com")
    answer = made.requests.answer(Find(subject=ann))
    assert isinstance(answer, Person)
    assert answer.subjects[0] == ann
    assert made.requests.answer(Find(subject=b"x" * 32)) == Person((b"x" * 32,), absent=True)


def test_tags_are_the_rows_own_in_words(made: Made) -> None:
    ann = made.find("email", "ann@example.com")
    answer = made.requests.answer(ReadTags(ann.subjects))
    assert isinstance(answer, Tags)
    told = {tag.attribute: (tag.value, tag.category, tag.kind) for tag in answer.items}
    assert told == {
        "tier": ("gold", "purchases", "label"),
        "spend": ("10.0", "purchases", "number"),  # clipped, as everything that uses it sees it
        "vip": ("true", "behaviour", "flag"),
    }
    answer = made.requests.answer(ReadTags(made.find("email", "bob@example.com").subjects))
    assert isinstance(answer, Tags)
    assert {tag.attribute: tag.value for tag in answer.items}["spend"] == ""
    assert {tag.attribute: tag.value for tag in answer.items}["tier"] == ""


def test_uses_are_of_the_persons_row(made: Made) -> None:
    answer = made.requests.answer(ReadUses(made.find("email", "bob@example.com").subjects))
    assert isinstance(answer, Uses)
    assert answer.items[0].job == "job[1]"
    made.requests.history = None
    ann = made.find("email", "ann@example.com")
    assert made.requests.answer(ReadUses(ann.subjects)) == NotAnswered("not_available")


def test_a_token_that_is_not_in_the_table_is_told_nothing(made: Made) -> None:
    for question in (ReadTags((b"x" * 32,)), ReadUses((b"x" * 32,))):
        assert made.requests.answer(question) == NotAnswered("unknown_subject")


def test_finding_is_bounded_in_speed(made: Made) -> None:
    for _ in range(FINDS_PER_HOUR):
        made.requests._finds.append(made.clock[0])
    find = Find("email", "ann@example.com")
    assert made.requests.answer(find) == NotAnswered("too_many_requests")
    made.clock[0] += 3601
    assert isinstance(made.requests.answer(find), Person)


def test_requests_are_kept_settled_and_shown_without_the_token(made: Made, tmp_path: Path) -> None:
    ann = made.find("email", "ann@example.com")
    asked = FileRequest(ann.subjects, b"1" * 16, "correct", "tier", "platinum")
    first = made.requests.answer(asked)
    assert first == made.requests.answer(asked)  # sent again, kept once
    assert isinstance(first, Tickets)
    (ticket,) = first.items
    assert (ticket.state, ticket.right, ticket.attribute) == ("received", "correct", "tier")
    assert ticket.due_ms - ticket.filed_ms == 15 * 86_400_000
    (view,) = made.rights.all()
    assert (view.rows, view.words) == ([0], "platinum")
    made.clock[0] += 60
    made.rights.settle(view.id, "done", "it is now")
    answer = made.requests.answer(ReadTickets(ann.subjects))
    assert isinstance(answer, Tickets)
    assert (answer.items[0].state, answer.items[0].answer) == ("done", "it is now")
    assert made.requests.answer(ReadTickets((b"x" * 32,))) == Tickets()
    for wrong in ("", "zz", "00" * 16):
        with pytest.raises(BadInput, match="no request"):
            made.rights.settle(wrong, "done", "")
    stored = (tmp_path / "node.sqlite").read_bytes()
    assert not any(subject in stored for subject in ann.subjects)


def test_one_person_cannot_bury_the_owner(made: Made) -> None:
    ann = made.find("email", "ann@example.com")
    for number in range(MAX_OPEN):
        made.requests.answer(FileRequest(ann.subjects, number.to_bytes(16, "big"), "hide", "tier"))
    more = FileRequest(ann.subjects, b"z" * 16, "hide", "tier")
    assert made.requests.answer(more) == NotAnswered("too_many_requests")


# -- over real sockets ------------------------------------------------------------------------


def _keys(name: str, role: str = "party", address: str = "") -> Keys:
    now = datetime.datetime.now(datetime.UTC)
    return create_keys(name, role, storage=os.urandom(32), now=now, address=address)


def _collaboration(portal: Keys, *parties: Keys) -> Collaboration:
    server = Endpoint.of(portal.card)
    return Collaboration(
        server, server, {keys.card.name: Endpoint.of(keys.card) for keys in parties}, portal=server
    )


def _at(keys: Keys, port: int) -> Keys:
    from dataclasses import replace

    return replace(keys, card=replace(keys.card, address=f"127.0.0.1:{port}"))


def test_questions_go_to_their_party_and_answers_come_back(
    made: Made, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    async def run() -> None:
        portal, retailer, media = _keys("portal", "portal"), _keys("retailer"), _keys("media")
        questions = Questions(("retailer", "media"), os.urandom, seconds=10.0)
        together = _collaboration(portal, retailer, media)
        async with serving(questions, together, portal, "127.0.0.1:0") as port:
            card = _at(portal, port).card
            lease = PortalLease(card, retailer)
            node = asyncio.create_task(serve(made.requests, lease))
            find = Find("email", "ann@example.com")
            await _leased(questions, "retailer")
            person = await questions.ask("retailer", find)
            assert person == made.find("email", "ann@example.com")
            assert isinstance(person, Person)
            tags = await questions.ask("retailer", ReadTags(person.subjects))
            assert tags == made.requests.answer(ReadTags(person.subjects))
            # Media's node is not there: its askers hear so at once, retailer's node gets nothing.
            with pytest.raises(Failed, match="not connected"):
                await questions.ask("media", find)
            node.cancel()
            await asyncio.gather(node, return_exceptions=True)
            await lease.close()

    asyncio.run(run())
    for line in (record.getMessage() for record in caplog.records):
        assert "ann@" not in line
        assert "gold" not in line


async def _leased(questions: Questions, party: str) -> None:
    while questions._parties[party].seen < 0:
        await asyncio.sleep(0.01)


def test_a_node_talks_to_the_pinned_portal_only_and_the_portal_to_parties_only(
    made: Made,
) -> None:
    async def run() -> None:
        portal, other, retailer = _keys("portal", "portal"), _keys("portal", "portal"), _keys("r")
        stranger = _keys("stranger")
        questions = Questions(("r",), os.urandom)
        together = _collaboration(portal, retailer)
        async with serving(questions, together, portal, "127.0.0.1:0") as port:
            for card, keys in (
                (_at(other, port).card, retailer),  # whom it dials is not the pinned portal
                (_at(portal, port).card, stranger),  # who dials is no party
            ):
                lease = PortalLease(card, keys)
                with pytest.raises(Failed, match="UNAVAILABLE"):
                    await lease.lease(0.1)
                await lease.close()
        assert questions._parties["r"].seen < 0

    asyncio.run(run())


def test_an_answer_that_does_not_fit_is_refused(made: Made) -> None:
    async def run() -> None:
        questions = Questions(("retailer",), os.urandom, seconds=5.0)
        await questions.lease("retailer", 0.0)
        asking = asyncio.create_task(questions.ask("retailer", ReadTags((b"x" * 32,))))
        leased = await questions.lease("retailer", 1.0)
        assert leased is not None
        with pytest.raises(ProtocolViolation, match="does not fit"):
            questions.answer("retailer", leased[0], Uses())
        questions.answer("retailer", b"0" * 16, Tags())  # of nobody: goes nowhere
        questions.answer("retailer", leased[0], Tags())
        assert await asking == Tags()
        questions.answer("retailer", leased[0], Tags())  # twice: goes nowhere

    asyncio.run(run())


def test_a_question_that_nobody_fetches_ends() -> None:
    async def run() -> None:
        questions = Questions(("retailer",), os.urandom, seconds=0.05)
        await questions.lease("retailer", 0.0)
        with pytest.raises(Failed, match="does not answer"):
            await questions.ask("retailer", ReadTags((b"x" * 32,)))
        assert await questions.lease("retailer", 0.01) is None  # it is gone

    asyncio.run(run())


@pytest.mark.parametrize("seed", range(20))
def test_many_erased_people_are_found_as_one_by_one(seed: int) -> None:
    """Shared identifiers, rows without one, and tokens of nobody among them."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(0, 256, (12, 32), dtype=np.uint8)
    index, codes = SubjectIndex.numbering(tokens)
    columns = tuple(codes[rng.permutation(12)[rng.integers(0, 6, 9)]] for _ in range(2))
    for column in columns:
        column[rng.random(9) < 0.3] = -1
    lookup = PersonLookup(
        Pseudonyms(Secret(b"m" * 32), "log", "retailer"), RowSubjects(index, columns, 9)
    )
    stranger = rng.integers(0, 256, (1, 32), dtype=np.uint8)
    asked = np.concatenate([tokens[rng.permutation(12)[:5]], stranger])
    found = set(map(bytes, lookup.with_others(asked)))
    assert found == {one for row in asked for one in lookup.of_subject(row.tobytes()).subjects}
