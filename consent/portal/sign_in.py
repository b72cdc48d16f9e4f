"""Signing in: by a one-time code, or at a party.

Who runs it: the portal's process.  Learns: the portal learns the address that was typed.

Whoever asks for a code gets the same page at the same moment, whether or not any party knows
the address: nodes are asked, and the message is sent, after the page has gone.  Without a
message nobody can guess the code: five tries of a million.
"""

from __future__ import annotations

import asyncio
import logging

from starlette.responses import Response

from consent.portal import codes
from consent.portal.limits import (
    CODES_PER_ADDRESS,
    CODES_PER_CLIENT,
    TRIES_PER_ADDRESS,
    TRIES_PER_CLIENT,
)
from consent.portal.port import Find
from consent.portal.portal import Portal
from consent.portal.senders import Message
from consent.portal.sessions import SignedIn, same
from consent.portal.web import Turned, Visit
from protocol.errors import AssentError
from protocol.psi.identifiers import EMAIL, PHONE, canonicalise

_log = logging.getLogger("assent.portal")


async def show(visit: Visit) -> Response:
    return _form(visit)


def _form(visit: Visit, typed: str = "", problem: str = "") -> Response:
    return visit.page(
        "sign_in.html", title="sign_in_title", kinds=tuple(visit.portal.senders), typed=typed,
        openids=list(visit.portal.openids), problem=problem, status=422 if problem else 200,
    )  # fmt: skip


async def ask_for_code(visit: Visit) -> Response:
    portal, typed = visit.portal, visit.field("address", limit=320).strip()
    kind = EMAIL if "@" in typed else PHONE
    address = canonicalise(kind, typed, portal.region) if typed else None
    if kind not in portal.senders or address is None:
        return _form(visit, typed, "bad_address")
    # Both are counted always, so that a refusal says nothing about the address.
    by_client = portal.limits.allow(CODES_PER_CLIENT, "code", visit.client)
    by_address = portal.limits.allow(CODES_PER_ADDRESS, "code", f"{kind}|{address}")
    if not (by_client and by_address):
        raise Turned(429, "error_often")
    session = visit.opened()
    code = codes.draw(portal.random)
    session.challenge = codes.Challenge.of(kind, address, code, portal.now(), portal.key)
    person = SignedIn(label=address, kind=kind, address=address)
    message = Message(
        kind, address, visit.t("mail_subject", code=code), visit.t("mail_text", code=code),
        visit.language,
    )  # fmt: skip
    task = asyncio.create_task(_look_up_and_send(portal, person, message))
    portal.background.add(task)
    task.add_done_callback(portal.background.discard)
    session.tasks = {"find": task, "person": person}
    return visit.to("/sign-in/enter")


async def _look_up_and_send(portal: Portal, person: SignedIn, message: Message) -> None:
    """Asks every party; sends the code as soon as one knows the address."""
    question = Find(person.kind, person.address)
    asked = [portal.find(person, party, question) for party in portal.parties]
    sent = False
    for answer in asyncio.as_completed(asked):
        if await answer and not sent:
            sent = True
            try:
                await portal.senders[message.kind].send(message)
            except AssentError as error:
                _log.error("a code was not sent: %s", error.info.sentence())


async def show_enter(visit: Visit) -> Response:
    return _enter(visit)


def _enter(visit: Visit, problem: str = "") -> Response:
    challenge = visit.session.challenge if visit.session else None
    if challenge is None:
        return visit.to("/sign-in")
    return visit.page(
        "enter.html", title="enter_title", kind=challenge.kind, address=challenge.address,
        problem=problem, left=max(codes.MAX_TRIES - challenge.tries, 0),
        status=422 if problem else 200,
    )  # fmt: skip


async def enter(visit: Visit) -> Response:
    portal, session = visit.portal, visit.opened()
    challenge, typed = session.challenge, visit.field("code", limit=32)
    if challenge is None:
        return visit.to("/sign-in")
    by_client = portal.limits.allow(TRIES_PER_CLIENT, "try", visit.client)
    who = f"{challenge.kind}|{challenge.address}"
    by_address = portal.limits.allow(TRIES_PER_ADDRESS, "try", who)
    if not (by_client and by_address):
        raise Turned(429, "error_often")
    if not challenge.accepts(typed, portal.now()):
        return _enter(visit, "wrong_code" if challenge.alive(portal.now()) else "dead_code")
    await session.tasks["find"]
    person: SignedIn = session.tasks["person"]
    if not any(who.subjects for who in person.people.values()):
        return _enter(visit, "dead_code")  # guessed, and nobody there knows them
    visit.rotate(person)
    return visit.to("/permissions")


async def leave(visit: Visit) -> Response:
    visit.rotate(None)
    visit.say("signed_out")
    return visit.to("/sign-in")


# -- at a party ----------------------------------------------------------------------------


async def begin_at_party(visit: Visit) -> Response:
    party = visit.request.path_params["party"]
    if party not in visit.portal.openids:
        raise Turned(404, "error_missing")
    if not visit.portal.limits.allow(CODES_PER_CLIENT, "openid", visit.client):
        raise Turned(429, "error_often")
    try:
        address, remembered = await visit.portal.openids[party].begin()
    except AssentError as error:
        _log.warning("sign-in at %s: %s", party, error.info.cause)
        raise Turned(503, "error_sign_in", party) from error
    visit.opened().oidc = remembered
    return visit.to(address)


async def back_from_party(visit: Visit) -> Response:
    portal, session = visit.portal, visit.opened()
    remembered, session.oidc = session.oidc, {}  # good for one return
    told = visit.request.query_params
    party = remembered.get("party", "")
    if not remembered or not same(told.get("state", ""), remembered["state"]):
        raise Turned(403, "error_forbidden")
    try:
        subject = await portal.openids[party].finish(told.get("code", ""), remembered)
    except AssentError as error:
        _log.warning("sign-in at %s: %s", party, error.info.cause)
        raise Turned(403, "error_sign_in", party) from error
    person = SignedIn(label=party)
    if not await portal.find(person, party, Find(subject=subject)):
        raise Turned(403, "error_sign_in", party)
    visit.rotate(person)
    return visit.to("/permissions")
