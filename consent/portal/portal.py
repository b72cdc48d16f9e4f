"""Everything that the pages use, and what they ask of ledger and nodes.

Who runs it: the portal's process; `consent.portal.main` makes it, tests make it in memory.
Learns: see proto/portal.proto; of the ledger, the events of who is signed in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

from starlette.requests import Request

from consent.notices import Notice, Notices, default_notices
from consent.port import PortalPort, SubjectEvent
from consent.portal.limits import Limits
from consent.portal.oidc import OpenID
from consent.portal.permissions import Author, Said, read
from consent.portal.port import (
    Answer,
    Find,
    Nodes,
    NotAnswered,
    Person,
    Question,
    ReadTags,
    ReadTickets,
    ReadUses,
    Tags,
    Tickets,
    Uses,
)
from consent.portal.receipts import Receipts
from consent.portal.senders import Sender
from consent.portal.sessions import FRESH_SECONDS, Sessions, SignedIn
from protocol.errors import AssentError, Failed

_log = logging.getLogger("assent.portal")
# Why a node does not answer → what the page says.
_PROBLEMS = {"shared_address": "problem_shared", "not_available": "problem_not_kept"}
Wanted = TypeVar("Wanted", Tags, Uses)


@dataclass
class Portal:
    """parties: every one of the collaboration.  senders: address type → how codes reach it.
    notices: of the parties that have their own.

    key: 32 bytes of this process, for digests of codes and addresses.  now: monotonic seconds;
    now_ms: the wall clock.  public: scheme and host as browsers see them, "" for any.
    region: for phone numbers without a country.  clock_offset: minutes from UTC of the dates
    that pages show.
    """

    parties: Sequence[str]
    nodes: Nodes
    ledger: PortalPort
    receipts: Receipts
    senders: Mapping[str, Sender]
    openids: Mapping[str, OpenID]
    notices: Mapping[str, Notices]
    key: bytes
    now: Callable[[], float]
    now_ms: Callable[[], int]
    random: Callable[[int], bytes]
    public: str = ""
    region: str = "CN"
    clock_offset: int = 480
    background: set[asyncio.Task[None]] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.sessions = Sessions(self.now, self.random)
        self.limits = Limits(self.now, self.key)

    @property
    def secure(self) -> bool:
        return self.public.startswith("https://")

    @property
    def cookie_name(self) -> str:
        # `__Host-`: no other host of the domain can plant it; browsers want Secure for that.
        return "__Host-session" if self.secure else "session"

    def host_of(self, request: Request) -> str:
        return self.public.partition("://")[2] or request.headers.get("host", "")

    def notice_of(self, party: str) -> Notice:
        """The notice that people see for `party`: its own, or the built-in one."""
        return self._notices(party).current()

    def _notices(self, party: str) -> Notices:
        return self.notices.get(party) or default_notices()

    def author(self, party: str) -> Author:
        return Author(self.now_ms, self.random, self.notice_of(party).ref)

    # -- nodes -----------------------------------------------------------------------------

    async def ask(self, party: str, question: Question) -> Answer | None:
        """None when the node is silent; the log says so, without the question."""
        try:
            return await self.nodes.ask(party, question)
        except AssentError as error:
            _log.warning("%s: %s", party, error.info.code)
            return None

    async def find(self, person: SignedIn, party: str, question: Find) -> bool:
        """Looks `person` up at one party; whether it knows them."""
        answer = await self.ask(party, question)
        person.silent.discard(party)
        try:
            if isinstance(answer, Person):
                if answer.absent and not await self._is_kept(party, answer):
                    answer = Person()
                person.people[party] = answer
                return bool(answer.subjects)
        except AssentError as error:
            _log.warning("%s: %s", party, error.info.code)
        person.silent.add(party)
        return False

    async def _is_kept(self, party: str, who: Person) -> bool:
        """Whether there is anything about somebody who is in the party's table no more."""
        if await self.said(party, who):
            return True
        answer = await self.ask(party, ReadTickets(who.subjects))
        if not isinstance(answer, Tickets):  # not the same as nothing
            raise Failed("unavailable", "the node did not say what it keeps of this person")
        return bool(answer.items)

    async def recall(self, person: SignedIn, party: str, kind: type[Wanted]) -> Wanted | str:
        """Tags or uses from the party's node, some seconds old at most; else what is wrong."""
        who = person.people[party]
        if who.absent:
            return "problem_absent"
        if kind is Tags and who.shared:
            return "problem_shared"
        kept = person.kept.get((party, kind.__name__))
        if kept is not None and self.now() - kept[0] < FRESH_SECONDS and isinstance(kept[1], kind):
            return kept[1]
        ask = ReadTags if kind is Tags else ReadUses
        answer = await self.ask(party, ask(who.subjects))
        if not isinstance(answer, kind):
            reason = answer.reason if isinstance(answer, NotAnswered) else ""
            return _PROBLEMS.get(reason, "problem_silent")
        person.kept[party, kind.__name__] = (self.now(), answer)
        return answer

    # -- ledger ----------------------------------------------------------------------------

    async def events(self, party: str, who: Person) -> list[tuple[SubjectEvent, Said]]:
        """Every event about the person at one party, in the order of the log."""
        found = await asyncio.gather(*(self.ledger.subject(party, s) for s in who.subjects))
        pairs = [
            pair
            for subject, events in zip(who.subjects, found, strict=True)
            for pair in zip(events, read(subject, events, self._notices(party)), strict=True)
        ]
        return sorted(pairs, key=lambda pair: pair[0].index)

    async def said(self, party: str, who: Person) -> list[Said]:
        return [said for _, said in await self.events(party, who)]
