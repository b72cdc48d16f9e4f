"""What the portal asks a party's node about the person who is signed in, and the answers.

Who runs it: the portal makes questions, nodes answer them (`party_node.subject_requests`).
Learns: see proto/portal.proto.

Every type checks itself when it is made: a question or an answer that got here from the
network is one that could have been asked or answered (ProtocolViolation 'bad_portal_message').
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from consent.purposes import CATEGORIES, PURPOSES
from consent.records import SUBJECT_BYTES
from protocol.errors import ProtocolViolation

RIGHTS = ("correct", "hide", "object", "erase")
TICKET_STATES = ("received", "working", "done", "refused")
OUTCOMES = ("running", "released", "refused", "failed")
ADDRESS_KINDS = ("email", "phone")
# Why a node does not answer.  A closed list: a refusal must not carry words about a person.
REFUSALS = ("unknown_subject", "shared_address", "too_many_requests", "not_available")
MAX_ADDRESS = 320
MAX_WORDS = 500
MAX_TEXT = 2_000
MAX_SUBJECTS = 16
MAX_ITEMS = 1_000
ID_BYTES = 16
END_MS = 253_402_300_800_000  # the year 10000: no calendar shows what is later


@dataclass(frozen=True)
class Find:
    """Who is this?  Either an address as typed, or the token that the party's sign-in gave."""

    kind: str = ""
    address: str = ""
    subject: bytes = b""

    def __post_init__(self) -> None:
        if self.subject:
            _check(len(self.subject) == SUBJECT_BYTES and not self.address and not self.kind)
        else:
            _check(self.kind in ADDRESS_KINDS and 0 < len(self.address) <= MAX_ADDRESS)

    def __repr__(self) -> str:  # addresses stay out of logs
        return f"Find({self.kind or 'subject'})"


@dataclass(frozen=True)
class _About:
    subjects: tuple[bytes, ...]

    def __post_init__(self) -> None:
        _check_subjects(self.subjects)
        _check(len(self.subjects) > 0)

    def __repr__(self) -> str:
        return f"{type(self).__name__}(…)"


class ReadTags(_About):
    """What do you know about this person?"""


class ReadUses(_About):
    """Which jobs had this person's row among their inputs?"""


class ReadTickets(_About):
    """Which requests did this person file?"""


@dataclass(frozen=True, repr=False)
class FileRequest(_About):
    """id: 16 bytes, the same when sent again.  right: one of `RIGHTS`."""

    id: bytes = b""
    right: str = ""
    attribute: str = ""
    words: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        _check(len(self.id) == ID_BYTES and self.right in RIGHTS)
        _check(len(self.attribute) <= 64 and len(self.words) <= MAX_WORDS)


Question: TypeAlias = Find | ReadTags | ReadUses | ReadTickets | FileRequest


@dataclass(frozen=True)
class Person:
    """Somebody at one party; no subjects: the party does not know the address.

    shared: the address stands in several rows, so the node shows no tags of it.
    absent: no row has the address; the token is for what ledger and node still keep of it.
    purposes, recipients, categories: what this party may ask about.
    """

    subjects: tuple[bytes, ...] = ()
    key_version: int = 1
    shared: bool = False
    purposes: tuple[str, ...] = ()
    recipients: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    absent: bool = False

    def __post_init__(self) -> None:
        _check_subjects(self.subjects)
        _check(not self.absent or len(self.subjects) == 1)
        _check(0 < self.key_version < 1 << 16)
        _check(set(self.purposes) <= set(PURPOSES) and set(self.categories) <= set(CATEGORIES))
        _check(len(self.recipients) <= MAX_ITEMS and all(0 < len(r) <= 64 for r in self.recipients))

    def __repr__(self) -> str:
        return f"Person(known={bool(self.subjects)}, shared={self.shared})"


@dataclass(frozen=True)
class Tag:
    """One attribute of the person's row.  value: "" when the party has none."""

    attribute: str
    kind: str
    category: str
    value: str
    source: str
    since_ms: int

    def __post_init__(self) -> None:
        _check(self.category in CATEGORIES and 0 < len(self.attribute) <= 64)
        _check(len(self.value) <= MAX_TEXT and len(self.source) <= MAX_TEXT)
        _check(0 <= self.since_ms < END_MS)


@dataclass(frozen=True)
class Use:
    """A job that had the person's row among its inputs."""

    job: str
    time_ms: int
    purpose: str
    requester: str
    protocol: str
    outcome: str
    categories: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _check(self.purpose in PURPOSES and self.outcome in OUTCOMES)
        _check(set(self.categories) <= set(CATEGORIES) and 0 <= self.time_ms < END_MS)
        _check(all(len(text) <= 128 for text in (self.job, self.requester, self.protocol)))


@dataclass(frozen=True)
class Ticket:
    """A request of the person and how far it is; times in milliseconds since 1970."""

    id: bytes
    right: str
    attribute: str
    state: str
    filed_ms: int
    changed_ms: int
    due_ms: int
    answer: str = ""

    def __post_init__(self) -> None:
        _check(self.right in RIGHTS and self.state in TICKET_STATES and len(self.id) == ID_BYTES)
        _check(len(self.answer) <= MAX_TEXT and len(self.attribute) <= 64)
        _check(all(0 <= t < END_MS for t in (self.filed_ms, self.changed_ms, self.due_ms)))


@dataclass(frozen=True)
class Tags:
    items: tuple[Tag, ...] = ()

    def __post_init__(self) -> None:
        _check(len(self.items) <= MAX_ITEMS)


@dataclass(frozen=True)
class Uses:
    items: tuple[Use, ...] = ()

    def __post_init__(self) -> None:
        _check(len(self.items) <= MAX_ITEMS)


@dataclass(frozen=True)
class Tickets:
    items: tuple[Ticket, ...] = ()

    def __post_init__(self) -> None:
        _check(len(self.items) <= MAX_ITEMS)


@dataclass(frozen=True)
class NotAnswered:
    """The node refused; reason: one of `REFUSALS`."""

    reason: str

    def __post_init__(self) -> None:
        _check(self.reason in REFUSALS)


Answer: TypeAlias = Person | Tags | Uses | Tickets | NotAnswered
# Which answer fits which question; a node that sends another one broke the protocol.
FITTING: dict[type, type] = {
    Find: Person,
    ReadTags: Tags,
    ReadUses: Uses,
    ReadTickets: Tickets,
    FileRequest: Tickets,
}


class Nodes(Protocol):
    """The parties' nodes as the portal's pages see them."""

    async def ask(self, party: str, question: Question) -> Answer:
        """Raises Failed('unavailable') when the node does not answer in time."""
        ...


def _check(right: bool) -> None:
    if not right:
        raise ProtocolViolation(
            "bad_portal_message", "a message between portal and node is malformed", stage="portal"
        )


def _check_subjects(subjects: Sequence[bytes]) -> None:
    _check(len(subjects) <= MAX_SUBJECTS and all(len(s) == SUBJECT_BYTES for s in subjects))
