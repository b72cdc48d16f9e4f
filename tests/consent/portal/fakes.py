"""A ledger, nodes and receipts in memory, and the portal over them.

The ledger is a real tree with real leaves and proofs, without witnesses; the nodes answer from a
small table; both can be told to be silent.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import re
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx

from consent.body import bodies
from consent.leaf import Opening, commit, event, leaves, minute
from consent.port import Recorded, SubjectEvent
from consent.portal.app import create
from consent.portal.port import (
    Answer,
    FileRequest,
    Find,
    NotAnswered,
    Person,
    Question,
    ReadTags,
    ReadTickets,
    ReadUses,
    Tag,
    Tags,
    Ticket,
    Tickets,
    Use,
    Uses,
)
from consent.portal.portal import Portal
from consent.portal.receipts import Checked
from consent.portal.senders import Message
from consent.records import RecordBatch
from protocol.errors import BadInput, Failed

PARTIES = ("retailer", "media", "bank")
ANNA, BO = "anna@example.com", "+8613800138000"
DAY = 86_400_000


def subject_of(party: str, address: str) -> bytes:
    return hashlib.sha256(f"{party}|{address}".encode()).digest()


@dataclass
class FakeLedger:
    """`PortalPort` in memory; appended keeps every batch as it came."""

    silent: bool = False
    pending: bool = False
    entries: dict[str, list[tuple[bytes, Opening | None]]] = field(default_factory=dict)
    appended: list[tuple[str, RecordBatch]] = field(default_factory=list)
    erased: list[tuple[str, bytes]] = field(default_factory=list)

    def _awake(self) -> None:
        if self.silent:
            raise Failed("unavailable", "the consent service does not answer", stage="consent")

    async def subject(self, party: str, subject: bytes) -> tuple[SubjectEvent, ...]:
        self._awake()
        found = []
        for index, (leaf, opening) in enumerate(self.entries.get(party, [])):
            if opening is not None and _subject(opening.body) == subject:
                found.append(SubjectEvent(index, leaf, opening, f"proof of {index}"))
        return tuple(found)

    async def append_for(self, party: str, batch: RecordBatch) -> Recorded:
        self._awake()
        self.appended.append((party, batch))
        log = self.entries.setdefault(party, [])
        first = len(log)
        for body in bodies(batch):
            salt = os.urandom(32)
            fields = json.loads(body)
            made = event(party, "consent", bytes.fromhex(fields["id"]), {})
            (leaf,) = leaves([type(made)(party, "consent", made.id, body)], salt, minute(0.0))
            assert commit(salt, body).hex().encode() in leaf
            log.append((leaf, Opening(salt, body)))
        return Recorded("log", tuple(range(first, len(log))), "", self.pending)

    async def erase_for(self, party: str, subject: bytes) -> Recorded:
        self._awake()
        self.erased.append((party, subject))
        log = self.entries.get(party, [])
        for place, (leaf, opening) in enumerate(log):
            if opening is not None and _subject(opening.body) == subject:
                log[place] = (leaf, None)
        return Recorded("log", (), "", False)


def _subject(body: bytes) -> bytes:
    import base64

    return base64.urlsafe_b64decode(json.loads(body)["subject"] + "=")


@dataclass
class FakeNodes:
    """`Nodes` over people: (party, address) → tags.  silent: parties that do not answer."""

    people: dict[tuple[str, str], list[Tag]]
    now_ms: int
    silent: set[str] = field(default_factory=set)
    shared: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    asked: list[tuple[str, Question]] = field(default_factory=list)
    tickets: dict[str, list[Ticket]] = field(default_factory=dict)

    async def ask(self, party: str, question: Question) -> Answer:
        self.asked.append((party, question))
        if party in self.silent:
            raise Failed("unavailable", "the node does not answer", party=party)
        if isinstance(question, Find):
            for name, address in self.people:
                subject = subject_of(name, address)
                if name == party and (question.address == address or question.subject == subject):
                    return self._person(party, (subject,))
            if party in self.absent:
                return Person((subject_of(party, question.address),), absent=True)
            return self._person(party, ())
        if isinstance(question, ReadTags | ReadUses) and party in self.absent:
            return NotAnswered("unknown_subject")
        if isinstance(question, ReadTags):
            if party in self.shared:
                return NotAnswered("shared_address")
            address = next(
                a for p, a in self.people if p == party and subject_of(p, a) in question.subjects
            )
            return Tags(tuple(self.people[party, address]))
        if isinstance(question, ReadUses):
            return Uses(tuple(self._uses(party)))
        if isinstance(question, FileRequest):
            now = self.now_ms
            self.tickets.setdefault(party, []).insert(
                0,
                Ticket(question.id, question.right, question.attribute, "received", now, now,
                       now + 15 * DAY),
            )  # fmt: skip
        else:
            assert isinstance(question, ReadTickets)
        return Tickets(tuple(self.tickets.get(party, [])))

    def _person(self, party: str, subjects: tuple[bytes, ...]) -> Person:
        others = tuple(name for name in PARTIES if name != party)
        purposes = ("overlap_measurement", "audience_insight", "activation")
        if party == "bank":
            return Person(subjects, 1, False, ("audience_insight",), others[:1], ("finance",))
        held = ("demographics", "purchases") if party == "retailer" else ("content",)
        return Person(subjects, 1, party in self.shared, purposes, others[:1], held)

    def _uses(self, party: str) -> Sequence[Use]:
        other = "media" if party == "retailer" else "retailer"
        return [
            Use("c0ffee0123456789", self.now_ms - 2 * DAY, "audience_insight", other, "crosstab",
                "released", ("purchases",)),
            Use("0badcafe01234567", self.now_ms - 9 * DAY, "overlap_measurement", other, "psi",
                "refused"),
        ]  # fmt: skip


class FakeReceipts:
    """A digest instead of a signature: enough to see that texts pass unchanged."""

    def make(self, event: SubjectEvent) -> str:
        party = json.loads(event.leaf)["party"]
        fields = {"party": party, "index": event.index, "body": event.opening.body.decode()}
        text = json.dumps(fields)
        return json.dumps([text, hashlib.sha256(text.encode()).hexdigest()])

    def verify(self, text: str) -> Checked:
        try:
            inner, digest = json.loads(text)
            assert hashlib.sha256(inner.encode()).hexdigest() == digest
            fields = json.loads(inner)
            return Checked(fields["party"], fields["index"], fields["body"].encode())
        except (ValueError, TypeError, AssertionError, AttributeError) as error:
            raise BadInput("this is no receipt") from error


class Inbox:
    """`Sender` that keeps what it was given."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    @property
    def code(self) -> str:
        (code,) = re.findall(r"\d{6}", self.messages[-1].subject)
        return code


@dataclass
class Made:
    portal: Portal
    ledger: FakeLedger
    nodes: FakeNodes
    inbox: Inbox
    clock: list[float]

    @property
    def app(self) -> Any:
        return create(self.portal)

    def browser(self, host: str = "203.0.113.7") -> httpx.AsyncClient:
        transport = httpx.ASGITransport(self.app, client=(host, 1234))
        return httpx.AsyncClient(
            transport=transport, base_url="http://portal.test",
            headers={"accept-language": "en"},
        )  # fmt: skip


def make(clock_ms: int | None = None, **changes: Any) -> Made:
    now_ms = clock_ms or int(time.time() * 1000)
    clock = [0.0]
    ledger, inbox = FakeLedger(), Inbox()

    def tag(attribute: str, kind: str, category: str, value: str) -> Tag:
        return Tag(attribute, kind, category, value, "table", now_ms - 40 * DAY)

    nodes = FakeNodes(
        {
            ("retailer", ANNA): [
                tag("value_tier", "label", "purchases", "high"),
                tag("spend", "number", "purchases", "1204.50"),
                tag("age_band", "label", "demographics", "25-34"),
                tag("newsletter", "flag", "demographics", "true"),
            ],
            ("media", ANNA): [tag("top_interest", "label", "content", "=cmd|' /C calc'!A0")],
            ("retailer", BO): [tag("value_tier", "label", "purchases", "low")],
        },
        now_ms,
    )

    def wall() -> int:
        return now_ms + int(clock[0] * 1000)

    portal = Portal(
        parties=PARTIES, nodes=nodes, ledger=ledger, receipts=FakeReceipts(),
        senders={"email": inbox, "phone": inbox}, openids={},
        notices={}, key=os.urandom(32),
        now=lambda: clock[0], now_ms=wall, random=os.urandom,
    )  # fmt: skip
    for name, value in changes.items():
        setattr(portal, name, value)
    return Made(portal, ledger, nodes, inbox, clock)


def token(html: str) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', html)
    assert found, "the page has no form"
    return found[1]


async def sign_in(made: Made, browser: httpx.AsyncClient, address: str = ANNA) -> None:
    page = await browser.get("/sign-in")
    form = {"csrf": token(page.text), "address": address}
    answer = await browser.post("/sign-in/code", data=form)
    assert answer.status_code == 303
    page = await browser.get("/sign-in/enter")
    while made.portal.background:
        await next(iter(made.portal.background))
    form = {"csrf": token(page.text), "code": made.inbox.code}
    answer = await browser.post("/sign-in/enter", data=form)
    assert answer.headers["location"] == "/permissions", answer.text


Story = Callable[[Made, httpx.AsyncClient, str], Awaitable[None]]
ROW = {"party": "retailer", "purpose": "audience_insight", "recipient": "media"}


def told(story: Story, made: Made | None = None, address: str = ANNA) -> Made:
    """Runs a story of somebody who is signed in; hands it the form token."""
    made = made or make()

    async def run() -> None:
        async with made.browser() as browser:
            await sign_in(made, browser, address)
            await story(made, browser, token((await browser.get("/permissions")).text))

    asyncio.run(run())
    return made
