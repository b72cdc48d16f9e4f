"""The tabs of a signed-in person: permissions, data, uses, history, and checking a receipt.

Who runs it: the portal's process.  Learns: what the pages show, for the session only.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass, field

from starlette.responses import Response

from consent.leaf import Opening
from consent.port import SubjectEvent
from consent.portal.permissions import Row, Said, read, rows
from consent.portal.port import Find, Person, Tag, Tags, Use, Uses
from consent.portal.web import Turned, Visit
from consent.purposes import PURPOSES
from consent.records import RecordBatch
from protocol.errors import AssentError

OTHER = "other"  # what stands for every value of a label that is too rare to be told apart
MAX_EVENTS = 100  # on a page; the access file has all


@dataclass
class Card:
    """One party on a page.  problem: key of the words that say why it is not complete."""

    party: str
    rows: list[Row] = field(default_factory=list)
    tags: list[Tag] = field(default_factory=list)
    uses: list[Use] = field(default_factory=list)
    events: list[Said] = field(default_factory=list)
    more: int = 0
    problem: str = ""
    hidden: bool = False  # what is permitted here is not known now

    @property
    def on(self) -> int:
        return sum(row.permitted for row in self.rows)


def known(visit: Visit) -> dict[str, Person]:
    """The parties that know the person, in the collaboration's order."""
    people = visit.person.people
    return {n: people[n] for n in visit.portal.parties if n in people and people[n].subjects}


async def permissions(visit: Visit) -> Response:
    person, portal = visit.person, visit.portal
    if "again" in visit.request.query_params:
        await retry_silent(visit)
    people = known(visit)
    cards = await asyncio.gather(*(_permission_card(visit, n, who) for n, who in people.items()))
    return visit.page(
        "permissions.html", tab="permissions", cards=cards, notice_of=portal.notice_of,
        allowed=sum(card.on for card in cards), hidden=any(card.hidden for card in cards),
        silent=sorted(person.silent),
        unknown=[n for n, who in person.people.items() if not who.subjects],
    )  # fmt: skip


async def retry_silent(visit: Visit) -> None:
    """Asks the parties again whose node did not answer; a party's own sign-in is for it alone."""
    person = visit.person
    if person.address:
        question = Find(person.kind, person.address)
        await asyncio.gather(
            *(visit.portal.find(person, party, question) for party in sorted(person.silent))
        )


async def _permission_card(visit: Visit, party: str, who: Person) -> Card:
    card = Card(party)
    try:
        said, used = await asyncio.gather(
            visit.portal.said(party, who), visit.portal.recall(visit.person, party, Uses)
        )
    except AssentError:
        card.problem, card.hidden = "problem_ledger", True
        return card
    card.rows = rows(who, said, visit.portal.now_ms())
    if isinstance(used, str):
        card.problem = used
    else:
        card.rows = [_with_use(row, used.items) for row in card.rows]
    return card


def _with_use(row: Row, uses: tuple[Use, ...]) -> Row:
    times = [
        use.time_ms for use in uses if (use.purpose, use.requester) == (row.purpose, row.recipient)
    ]
    return dataclasses.replace(row, used_ms=max(times, default=0))


async def set_permission(visit: Visit) -> Response:
    portal, people = visit.portal, known(visit)
    party = visit.field("party", people)
    purpose = visit.field("purpose", PURPOSES)
    recipient = visit.field("recipient", limit=64)
    action = visit.field("action", ("give", "withdraw"))
    who = people[party]
    said = await portal.said(party, who)
    author = portal.author(party)
    make = author.give if action == "give" else author.withdraw
    batch = make(who, said, purpose, recipient, visit.language)
    recorded = await portal.ledger.append_for(party, batch)
    key = "given_now"
    if action == "withdraw":
        key = "withdrawn_pending" if recorded.proof_pending else "withdrawn_now"
    visit.say(key, at=(party, purpose, recipient))
    # The message beside the switch: as the target of the address it gets the focus, so that a
    # screen reader says it and the next Tab goes on from there.
    return visit.to("/permissions#said")


async def withdraw_all(visit: Visit) -> Response:
    """At one party or at all; each is recorded by itself, so that one that fails stops none."""
    await retry_silent(visit)
    people = known(visit)
    chosen = visit.field("party", ("", *people))
    wanted = {chosen: people[chosen]} if chosen else people
    done = await asyncio.gather(*(_withdraw_at(visit, n, who) for n, who in wanted.items()))
    failed = [party for party, how in zip(wanted, done, strict=True) if how is None]
    good = [party for party in wanted if party not in failed]
    comma = visit.t("and")
    if good:
        pending = any(done)
        key = "all_withdrawn_pending" if pending else "all_withdrawn_now"
        visit.say(key, parties=comma.join(good))
    failed += [] if chosen else sorted(visit.person.silent)
    if failed:
        visit.say("not_withdrawn_at", parties=comma.join(failed), tone="bad")
    return visit.to("/permissions")


async def _withdraw_at(visit: Visit, party: str, who: Person) -> bool | None:
    """Whether its proof is pending; None: not recorded."""
    try:
        said = await visit.portal.said(party, who)
    except AssentError:
        said = []  # a "no" needs no history; without it the record starts a new chain
    try:
        batch: RecordBatch = visit.portal.author(party).withdraw_all(who, said, visit.language)
        return (await visit.portal.ledger.append_for(party, batch)).proof_pending
    except AssentError:
        return None


async def data(visit: Visit) -> Response:
    async def card(party: str) -> Card:
        found = await visit.portal.recall(visit.person, party, Tags)
        if isinstance(found, str):
            return Card(party, problem=found)
        return Card(party, tags=list(found.items))

    cards = await asyncio.gather(*map(card, known(visit)))

    def value(tag: Tag) -> str:
        if not tag.value:
            return visit.t("value_none")
        if tag.kind == "flag" and tag.value in ("true", "false"):
            return visit.t(f"value_{tag.value}")
        if tag.kind == "label" and tag.value == OTHER:
            return visit.t("value_other")
        return tag.value

    def source(tag: Tag) -> str:
        return visit.t("source_table") if tag.source == "table" else tag.source

    return visit.page("data.html", tab="data", cards=cards, tag_value=value, source=source)


async def uses(visit: Visit) -> Response:
    async def card(party: str) -> Card:
        found = await visit.portal.recall(visit.person, party, Uses)
        if isinstance(found, str):
            return Card(party, problem=found)
        return Card(party, uses=list(found.items))

    cards = await asyncio.gather(*map(card, known(visit)))
    return visit.page("uses.html", tab="uses", cards=cards)


async def history(visit: Visit) -> Response:
    async def card(party: str, who: Person) -> Card:
        try:
            said = await visit.portal.said(party, who)
        except AssentError:
            return Card(party, problem="problem_ledger")
        said.reverse()
        return Card(party, events=said[:MAX_EVENTS], more=max(len(said) - MAX_EVENTS, 0))

    cards = await asyncio.gather(*(card(n, who) for n, who in known(visit).items()))
    return visit.page("history.html", tab="history", cards=cards, all_purposes=len(PURPOSES))


async def receipt(visit: Visit) -> Response:
    """The receipt of one of the person's own entries, as a file."""
    party, index = visit.request.path_params["party"], visit.request.path_params["index"]
    who = known(visit).get(party)
    if who is None:
        raise Turned(404, "error_missing")
    for event, _ in await visit.portal.events(party, who):
        if event.index == index:
            text = await asyncio.to_thread(visit.portal.receipts.make, event)
            return visit.file(text, f"receipt-{index}.jws", "application/jose")
    raise Turned(404, "error_missing")  # of others, or erased: the same answer


# -- for everybody -------------------------------------------------------------------------


@dataclass(frozen=True)
class Verdict:
    """facts: (key of the name, value) of a receipt that is genuine."""

    right: bool
    facts: tuple[tuple[str, str], ...] = ()


async def show_verify(visit: Visit) -> Response:
    return visit.page("verify.html", title="verify_title", checked=None)


async def verify(visit: Visit) -> Response:
    text = visit.field("receipt", limit=60_000).strip()
    try:
        checked = await asyncio.to_thread(visit.portal.receipts.verify, text)
        opening = Opening(b"", checked.body)
        (said,) = read(b"", [SubjectEvent(checked.index, b"", opening, "")])
    except AssentError:
        return visit.page("verify.html", title="verify_title", checked=Verdict(False), status=422)
    scope = said.scope
    to = visit.t("to_everybody") if "*" in scope.recipients else ", ".join(scope.recipients)
    facts = (
        ("fact_what", visit.t("state_" + said.word)),
        ("fact_when", visit.when(said.time_ms)),
        ("fact_party", checked.party),
        ("fact_purposes", visit.listed("purpose_", scope.purposes)),
        ("fact_recipients", to),
        ("fact_entry", str(checked.index)),
    )
    return visit.page("verify.html", title="verify_title", checked=Verdict(True, facts))
