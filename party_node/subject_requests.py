"""The node answers the people's portal: who is this, what do you know, who used it, I want.

Who runs it: every node of a collaboration with a portal.  It leases questions and sends
answers; nobody calls it.  Learns: see proto/portal.proto.

The log says that a question of a kind was answered, never about whom or with what.
What a portal that somebody broke into could do is in docs/ATTACKS.md; here it is bounded in
speed, and confined to rows that a known address or token names.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from catalog.federation import Party
from consent.portal.client import PortalLease
from consent.portal.port import (
    MAX_TEXT,
    Answer,
    FileRequest,
    Find,
    NotAnswered,
    Person,
    Question,
    ReadTags,
    ReadTickets,
    Tag,
    Tags,
    Tickets,
    Use,
    Uses,
)
from consent.purposes import CATEGORIES, PURPOSES
from party_node.person_lookup import NOBODY, Found, PersonLookup, Rows
from party_node.rights_requests import RightsRequests, TooMany
from protocol.defects import defect
from protocol.errors import AssentError
from protocol.psi.identifiers import canonicalise

# Leases held at the same time: so many people can wait for this node at once.
LEASES = 4
FINDS_PER_HOUR = 5_000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 15.0  # seconds, when the portal does not answer
_log = logging.getLogger("assent.portal")


class Table(Protocol):
    """What this needs of `party_node.dataset.Dataset`."""

    def words_of_row(self, row: int) -> Mapping[str, str]:
        """Attribute → value as text; "" for none."""
        ...


class History(Protocol):
    """Which jobs had rows of this table among their inputs."""

    def uses(self, rows: Rows) -> Sequence[Use]:
        """The newest first."""
        ...


@dataclass
class SubjectRequests:
    """others: the other parties.  loaded_ms: when the table was read.  now: monotonic seconds.

    history: None while this node keeps no access history; then it says so.  met: told of whom
    somebody asks, by type and canonical address, before an answer is looked for.
    """

    party: Party
    others: Sequence[str]
    lookup: PersonLookup
    table: Table
    requests: RightsRequests
    history: History | None
    loaded_ms: int
    now: Callable[[], float]
    met: Callable[[str, str], None] = lambda kind, address: None
    _finds: deque[float] = field(default_factory=deque)

    def answer(self, question: Question) -> Answer:
        """Blocking, and the same for everybody: it knows no signed-in person, only tokens."""
        if isinstance(question, Find):
            return self._find(question)
        if isinstance(question, ReadTickets):
            return Tickets(self.requests.of_person(question.subjects))
        rows = self.lookup.rows_of(question.subjects)
        if isinstance(question, FileRequest):
            return self._file(question, rows)
        if not len(rows):
            return NotAnswered("unknown_subject")
        if len(rows) > 1:
            return NotAnswered("shared_address")
        if isinstance(question, ReadTags):
            return Tags(self._tags(int(rows[0])))
        if self.history is None:
            return NotAnswered("not_available")
        return Uses(tuple(self.history.uses(rows))[:1000])

    def _find(self, question: Find) -> Answer:
        now = self.now()
        while self._finds and self._finds[0] < now - 3600.0:
            self._finds.popleft()
        if len(self._finds) >= FINDS_PER_HOUR:
            return NotAnswered("too_many_requests")
        self._finds.append(now)
        found = self._found(question)
        if found.subjects and not len(found.rows):
            return Person(found.subjects, self.lookup.pseudonyms.version, absent=True)
        policy = self.party.policy
        held = {attribute.category for attribute in self.party.attributes.values()}
        return Person(
            found.subjects,
            self.lookup.pseudonyms.version,
            found.shared,
            tuple(p for p in PURPOSES if policy.allows_purpose(p)),
            tuple(self.others),
            tuple(c for c in CATEGORIES if c in held),
        )

    def _found(self, question: Find) -> Found:
        """With a token and no rows for somebody who may have been a customer once."""
        if subject := question.subject:
            return self.lookup.of_subject(subject)
        # The same work whether or not anybody has it: one token, one search.
        region = self.party.default_region
        canonical = canonicalise(question.kind, question.address, region)
        if question.kind in self.party.ids and canonical is not None:
            self.met(question.kind, canonical)
            return self.lookup.of_address(question.kind, canonical)
        self.lookup.of_address(question.kind, "")
        return NOBODY

    def _tags(self, row: int) -> tuple[Tag, ...]:
        values = self.table.words_of_row(row)
        return tuple(
            Tag(name, attribute.kind, attribute.category, values[name][:MAX_TEXT], "table",
                self.loaded_ms)
            for name, attribute in self.party.attributes.items()
        )  # fmt: skip

    def _file(self, question: FileRequest, rows: Rows) -> Answer:
        try:
            self.requests.file(question, [int(row) for row in rows])
        except TooMany:
            return NotAnswered("too_many_requests")
        return Tickets(self.requests.of_person(question.subjects))


async def serve(requests: SubjectRequests, lease: PortalLease) -> None:
    """Leases and answers for ever; a portal that is away is knocked at again."""
    await asyncio.gather(*(_worker(requests, lease) for _ in range(LEASES)))


async def _worker(requests: SubjectRequests, lease: PortalLease) -> None:
    pause = _FIRST_PAUSE
    while True:
        try:
            leased = await lease.lease()
            if leased is not None:
                id, question = leased
                await lease.answer(id, await _answered(requests, question))
            pause = _FIRST_PAUSE
        except AssentError as error:
            _log.warning("portal: %s", error.info.code)
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)


async def _answered(requests: SubjectRequests, question: Question) -> Answer:
    kind = type(question).__name__
    try:
        answer = await asyncio.to_thread(requests.answer, question)
    except AssentError as error:  # the ledger is away, say
        _log.warning("portal: %s not answered: %s", kind, error.info.code)
        return NotAnswered("not_available")
    except Exception as error:  # ours: the person hears "not available", the log where it broke
        _log.error("portal: %s broke: %s", kind, defect(error))
        return NotAnswered("not_available")
    _log.info("portal: %s answered %s", kind, type(answer).__name__)
    return answer
