"""The tab "My rights": the access file, requests to a party's people, erasure.

Who runs it: the portal's process.  Learns: what the person asks for passes through and is kept
by the party's node only.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from consent.cells import safe_cell
from consent.portal.account import Card, known
from consent.portal.limits import REQUESTS_PER_PERSON
from consent.portal.permissions import rows
from consent.portal.port import (
    ID_BYTES,
    MAX_WORDS,
    FileRequest,
    Person,
    ReadTickets,
    Tags,
    Ticket,
    Tickets,
    Uses,
)
from consent.portal.web import Visit
from protocol.errors import AssentError


async def show(visit: Visit) -> Response:
    query = visit.request.query_params
    asked = {"right": "correct" if "tag" in query else ""}
    return await _page(
        visit, {"party": query.get("party", ""), "tag": query.get("tag", "")} | asked
    )


async def _page(visit: Visit, typed: Mapping[str, str], problem: str = "") -> Response:
    """typed: what stands in the form.  problem: key of the words at the tag's field."""
    people = known(visit)
    answers = await asyncio.gather(
        *(visit.portal.ask(n, ReadTickets(who.subjects)) for n, who in people.items())
    )
    cards, tickets, tags = [], list[tuple[str, Ticket]](), set[str]()
    for party, answer in zip(people, answers, strict=True):
        right = isinstance(answer, Tickets)
        cards.append(Card(party, problem="" if right else "problem_silent"))
        if isinstance(answer, Tickets):
            tickets += [(party, ticket) for ticket in answer.items]
        kept = visit.person.kept.get((party, Tags.__name__))
        if kept is not None and isinstance(kept[1], Tags):
            tags |= {tag.attribute for tag in kept[1].items}
    tickets.sort(key=lambda pair: -pair[1].filed_ms)
    return visit.page(
        "rights.html", status=422 if problem else 200, tab="rights", parties=list(people),
        cards=cards, tickets=tickets, tags=sorted(tags), chosen_party=typed["party"],
        chosen_tag=typed["tag"][:64], chosen_right=typed["right"],
        words=typed.get("words", ""), problem=problem,
    )  # fmt: skip


async def file(visit: Visit) -> Response:
    portal, people = visit.portal, known(visit)
    party = visit.field("party", people)
    right = visit.field("right", ("correct", "hide", "object"))
    tag, words = visit.field("tag", limit=64).strip(), visit.field("words", limit=MAX_WORDS)
    if right != "object" and not tag:
        typed = {"party": party, "right": right, "tag": "", "words": words}
        return await _page(visit, typed, "missing_tag")
    who = people[party]
    if right == "object":
        said = await portal.said(party, who)
        batch = portal.author(party).object(who, said, visit.language)
        await portal.ledger.append_for(party, batch)
        visit.say("objected_recorded")
    await _file(visit, party, who, right, "" if right == "object" else tag, words)
    return visit.to("/rights#progress")


async def _file(visit: Visit, party: str, who: Person, right: str, tag: str, words: str) -> bool:
    """Hands a request to the party's node and says how that went."""
    person = who.subjects[0].hex()
    if not visit.portal.limits.allow(REQUESTS_PER_PERSON, "right", person):
        visit.say("too_many_requests", tone="bad")
        return False
    id = visit.portal.random(ID_BYTES)
    answer = await visit.portal.ask(party, FileRequest(who.subjects, id, right, tag, words))
    if isinstance(answer, Tickets):
        visit.say("filed_now", party=party)
        return True
    visit.say("problem_silent" if answer is None else "request_refused", party=party, tone="bad")
    return False


async def erase(visit: Visit) -> Response:
    """Withdraws, asks the party to delete its row, then erases what the ledger says."""
    portal, people = visit.portal, known(visit)
    party = visit.field("party", people)
    visit.field("sure", ("yes",))
    who = people[party]
    said = await portal.said(party, who)
    # A withdrawal first: it reaches every replica, also one that is behind with the erasure.
    await portal.ledger.append_for(
        party, portal.author(party).withdraw_all(who, said, visit.language)
    )
    id = portal.random(ID_BYTES)
    answer = await portal.ask(party, FileRequest(who.subjects, id, "erase"))
    for subject in who.subjects:
        await portal.ledger.erase_for(party, subject)
    visit.person.kept.clear()
    if isinstance(answer, Tickets):
        visit.say("erased_now", party=party)
    else:
        visit.say("erased_ledger", party=party, tone="warn")
    return visit.to("/rights#progress")


# -- the access file -----------------------------------------------------------------------


async def access_json(visit: Visit) -> Response:
    found = await _everything(visit)
    text = json.dumps(found, ensure_ascii=False, indent=1) + "\n"
    return visit.file(text, "my-data.json", "application/json")


async def access_csv(visit: Visit) -> Response:
    """One row per fact: party, part, name, value, more, time."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(["party", "part", "name", "value", "more", "time"])
    for party in (await _everything(visit))["parties"]:
        name = party["party"]
        table = [
            *((name, "permission", f"{p['purpose']} → {p['recipient']}",
               "on" if p["on"] else "off", ", ".join(p["on"] or p["categories"]), p["since"])
              for p in party["permissions"] or ()),
            *((name, "tag", t["attribute"], t["value"], f"{t['category']}, {t['source']}",
               t["since"]) for t in party["tags"] or ()),
            *((name, "use", u["purpose"], u["outcome"], u["requester"], u["time"])
              for u in party["uses"] or ()),
            *((name, "decision", e["said"], ", ".join(e["purposes"]),
               ", ".join(e["recipients"]), e["time"]) for e in party["decisions"] or ()),
            *((name, "request", r["right"], r["state"], r["attribute"], r["filed"])
              for r in party["requests"] or ()),
            *((name, "missing", part, "", "", "") for part in party["missing"]),
        ]  # fmt: skip
        writer.writerows([safe_cell(str(cell)) for cell in row] for row in table)
    return visit.file("\ufeff" + out.getvalue(), "my-data.csv", "text/csv; charset=utf-8")


async def _everything(visit: Visit) -> dict[str, Any]:
    """All that the portal can see of the person; what is missing is named, never left out."""
    people = known(visit)
    parties = await asyncio.gather(*(_of_party(visit, n, who) for n, who in people.items()))
    return {
        "made": visit.when(visit.portal.now_ms()),
        "parties": parties,
        "parties_that_did_not_answer": sorted(visit.person.silent),
    }


async def _of_party(visit: Visit, party: str, who: Person) -> dict[str, Any]:
    portal, person = visit.portal, visit.person
    tags, uses, tickets = await asyncio.gather(
        portal.recall(person, party, Tags), portal.recall(person, party, Uses),
        portal.ask(party, ReadTickets(who.subjects)),
    )  # fmt: skip
    try:
        said = await portal.said(party, who)
    except AssentError:
        said = None
    parts: dict[str, Any] = {
        "permissions": None if said is None else [
            {"purpose": r.purpose, "recipient": r.recipient, "categories": list(r.categories),
             "on": list(r.on), "since": _iso(r.since_ms), "until": _iso(r.until_ms)}
            for r in rows(who, said, portal.now_ms())
        ],
        "decisions": None if said is None else [
            {"entry": s.index, "said": s.word, "time": _iso(s.time_ms), "channel": s.channel,
             "by": s.actor, "purposes": list(s.scope.purposes),
             "recipients": list(s.scope.recipients), "categories": list(s.scope.categories)}
            for s in said
        ],
        "tags": [vars(t) | {"since": _iso(t.since_ms)} for t in tags.items]
        if isinstance(tags, Tags) else None,
        "uses": [vars(u) | {"time": _iso(u.time_ms)} for u in uses.items]
        if isinstance(uses, Uses) else None,
        "requests": [
            {"right": t.right, "attribute": t.attribute, "state": t.state,
             "filed": _iso(t.filed_ms), "due": _iso(t.due_ms), "answer": t.answer}
            for t in tickets.items
        ] if isinstance(tickets, Tickets) else None,
    }  # fmt: skip
    missing = [name for name, part in parts.items() if part is None]
    return {"party": party, **parts, "missing": missing}


def _iso(time_ms: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat() if time_ms else ""
