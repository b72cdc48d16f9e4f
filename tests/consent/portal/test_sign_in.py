"""Signing in by code: brute force, enumeration, fixation."""

from __future__ import annotations

import asyncio
import hmac
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from consent.portal import codes
from consent.portal.limits import CODES_PER_ADDRESS, Limits, Rule, client_key
from consent.portal.sessions import IDLE_SECONDS, WHOLE_SECONDS, Sessions
from tests.consent.portal import fakes
from tests.consent.portal.fakes import ANNA, make, sign_in, token

NOBODY = "nobody@example.com"


async def _ask(made: fakes.Made, browser: httpx.AsyncClient, address: str) -> httpx.Response:
    page = await browser.get("/sign-in")
    form = {"csrf": token(page.text), "address": address}
    answer = await browser.post("/sign-in/code", data=form)
    while made.portal.background:
        await next(iter(made.portal.background))
    return answer


def test_a_code_signs_in_and_works_once() -> None:
    async def run() -> None:
        made = make()
        async with made.browser() as browser:
            await sign_in(made, browser)
            assert (await browser.get("/permissions")).status_code == 200
            assert made.inbox.messages[0].to == ANNA
        async with made.browser() as second:
            await _ask(made, second, ANNA)
            page = await second.get("/sign-in/enter")
            used = made.inbox.messages[0].subject[-6:]
            answer = await second.post(
                "/sign-in/enter", data={"csrf": token(page.text), "code": used}
            )
            assert answer.status_code == 422
            assert len(made.inbox.messages) == 2

    asyncio.run(run())


def test_five_wrong_tries_and_the_right_code_is_dead() -> None:
    async def run() -> None:
        made = make()
        async with made.browser() as browser:
            await _ask(made, browser, ANNA)
            page = await browser.get("/sign-in/enter")
            right = made.inbox.code
            wrong = f"{(int(right) + 1) % 1_000_000:06d}"
            for _ in range(codes.MAX_TRIES):
                form = {"csrf": token(page.text), "code": wrong}
                answer = await browser.post("/sign-in/enter", data=form)
                assert answer.status_code == 422
            form["code"] = right
            answer = await browser.post("/sign-in/enter", data=form)
            assert answer.status_code == 422
            assert (await browser.get("/permissions")).headers["location"] == "/sign-in"

    asyncio.run(run())


def test_a_code_expires() -> None:
    async def run() -> None:
        made = make()
        async with made.browser() as browser:
            await _ask(made, browser, ANNA)
            page = await browser.get("/sign-in/enter")
            made.clock[0] += codes.LIFE_SECONDS
            form = {"csrf": token(page.text), "code": made.inbox.code}
            assert (await browser.post("/sign-in/enter", data=form)).status_code == 422

    asyncio.run(run())


def test_brute_force_over_many_codes_and_addresses_runs_into_limits() -> None:
    async def run() -> None:
        made = make()
        refused = 0
        async with made.browser() as browser:
            for number in range(30):
                address = ANNA if number % 2 else f"x{number}@example.com"
                refused += (await _ask(made, browser, address)).status_code == 429
        assert refused >= 10
        assert len(made.inbox.messages) <= CODES_PER_ADDRESS.times
        # Many clients at one address: the address's own limit holds.
        sent = len(made.inbox.messages)
        for number in range(8):
            async with made.browser(f"198.51.100.{number}") as browser:
                await _ask(made, browser, ANNA)
        assert len(made.inbox.messages) <= max(sent, CODES_PER_ADDRESS.times)
        # An hour later it goes on.
        made.clock[0] += 3601
        async with made.browser() as browser:
            assert (await _ask(made, browser, ANNA)).status_code == 303

    asyncio.run(run())


def test_an_unknown_address_gets_the_very_same_pages() -> None:
    """Status, headers and bytes, but for the address itself, the token and the cookie."""

    async def seen(address: str) -> list[Any]:
        made, told = make(clock_ms=1_800_000_000_000), []
        async with made.browser() as browser:
            for answer in (await _ask(made, browser, address), await browser.get("/sign-in/enter")):
                told.append(_shape(answer, address))
            page = answer.text
            for _ in range(6):
                form = {"csrf": token(page), "code": "not it"}
                told.append(_shape(await browser.post("/sign-in/enter", data=form), address))
        return told

    async def run() -> None:
        known, unknown = await seen(ANNA), await seen(NOBODY)
        assert known == unknown
        made = make()
        async with made.browser() as browser:
            await _ask(made, browser, NOBODY)
        assert made.inbox.messages == []
        asked = [question for _, question in made.nodes.asked]
        assert len(asked) == len(fakes.PARTIES)

    asyncio.run(run())


def _shape(answer: httpx.Response, address: str) -> Any:
    text = answer.text.replace(address, "ADDRESS")
    if 'name="csrf"' in text:
        text = text.replace(token(text), "TOKEN")
    headers = {k: v for k, v in answer.headers.items() if k not in ("set-cookie", "content-length")}
    return answer.status_code, headers, text


def test_the_answer_does_not_wait_for_nodes_or_senders() -> None:
    """A known address costs a message; the page has gone before that begins."""

    async def run() -> None:
        made = make()
        gate = asyncio.Event()

        async def slow(message: object) -> None:
            await gate.wait()

        made.inbox.send = slow  # type: ignore[method-assign,assignment]
        async with made.browser() as browser:
            page = await browser.get("/sign-in")
            form = {"csrf": token(page.text), "address": ANNA}
            answer = await browser.post("/sign-in/code", data=form)
            assert answer.status_code == 303
            assert made.portal.background  # still under way
        gate.set()
        await asyncio.gather(*made.portal.background)

    asyncio.run(run())


def test_a_planted_session_is_not_the_signed_in_one() -> None:
    async def run() -> None:
        made = make()
        async with made.browser() as attacker, made.browser() as victim:
            await attacker.get("/sign-in")
            planted = attacker.cookies["session"]
            victim.cookies.set("session", planted, domain="portal.test")
            forms = token((await attacker.get("/sign-in")).text)
            await sign_in(made, victim)
            # Nor is what the attacker's pages carried good for the forms of the signed-in one.
            assert token((await victim.get("/permissions")).text) != forms
            cookies = {c.value for c in victim.cookies.jar if c.name == "session"}
            assert cookies != {planted}
            assert (await attacker.get("/permissions")).status_code == 303
        # An id that the portal never gave is not taken up either.
        async with made.browser() as browser:
            browser.cookies.set("session", "A" * 43, domain="portal.test")
            answer = await browser.get("/sign-in")
            assert "session=" in answer.headers["set-cookie"]
            assert "A" * 43 not in answer.headers["set-cookie"]

    asyncio.run(run())


def test_signing_out_ends_the_session_everywhere() -> None:
    async def run() -> None:
        made = make()
        async with made.browser() as browser, made.browser() as copy:
            await sign_in(made, browser)
            copy.cookies.set("session", browser.cookies["session"], domain="portal.test")
            page = await browser.get("/permissions")
            assert (await copy.get("/permissions")).status_code == 200
            await browser.post("/sign-out", data={"csrf": token(page.text)})
            assert (await copy.get("/permissions")).status_code == 303

    asyncio.run(run())


def test_cookies_are_strict_behind_https() -> None:
    async def run() -> None:
        made = make(public="https://portal.test")
        async with made.browser() as browser:
            answer = await browser.get("/sign-in")
        cookie = answer.headers["set-cookie"].lower()
        assert cookie.startswith("__host-session=")
        for word in ("secure", "httponly", "samesite=lax", "path=/"):
            assert word in cookie
        assert "domain" not in cookie
        assert "max-age=31536000" in answer.headers["strict-transport-security"]

    asyncio.run(run())


@given(st.binary(min_size=8, max_size=8))
def test_codes_are_six_digits(seed: bytes) -> None:
    code = codes.draw(lambda n: seed)
    assert len(code) == 6
    assert code.isdecimal()


@given(st.text(max_size=40))
def test_whatever_is_typed_is_no_code_unless_it_is(typed: str) -> None:
    challenge = codes.Challenge.of("email", ANNA, "123456", 0.0, b"k" * 32)
    assert challenge.accepts(typed, 1.0) == (codes.normal(typed) == "123456")


def test_codes_take_the_spaces_and_wide_digits_of_phones() -> None:
    for typed in ("123456", " 123 456 ", "１２３４５６", "123-456"):
        challenge = codes.Challenge.of("email", ANNA, "123456", 0.0, b"k" * 32)
        assert challenge.accepts(typed, 1.0)
        assert not challenge.accepts(typed, 1.0)


def test_every_try_is_compared_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Right, wrong, too late or too often: one HMAC and one constant-time comparison each."""
    compared = []
    real = hmac.compare_digest
    monkeypatch.setattr(codes.hmac, "compare_digest", lambda a, b: compared.append(1) or real(a, b))
    challenge = codes.Challenge.of("email", ANNA, "123456", 0.0, b"k" * 32)
    for typed, now in (("000000", 1.0), ("", 1.0), ("123456", 1e9), ("123456", 1.0), ("x", 1.0)):
        challenge.accepts(typed, now)
    assert len(compared) == 5


def test_limits_slide_and_forget() -> None:
    clock = [0.0]
    limits = Limits(lambda: clock[0], b"k" * 32)
    rule = Rule(2, 10.0)
    assert [limits.allow(rule, "x", "a") for _ in range(4)] == [True, True, False, False]
    assert limits.allow(rule, "x", "b")
    assert limits.allow(rule, "y", "a")
    clock[0] = 10.5
    assert limits.allow(rule, "x", "a")


def test_who_keeps_knocking_keeps_waiting() -> None:
    """A try that is refused counts as well."""
    clock = [0.0]
    limits = Limits(lambda: clock[0], b"k" * 32)
    rule = Rule(2, 10.0)
    for clock[0], allowed in ((0.0, True), (1.0, True), (9.0, False), (9.5, False), (11.5, False),
                              (22.0, True)):  # fmt: skip
        assert limits.allow(rule, "x", "a") == allowed, clock[0]


def test_an_ipv6_household_is_one_client() -> None:
    assert client_key("2001:db8::1") == client_key("2001:db8::ffff:1")
    assert client_key("2001:db8::1") != client_key("2001:db8:0:1::1")
    assert client_key("::ffff:192.0.2.1") == client_key("192.0.2.1")


def test_sessions_end_when_idle_and_at_last() -> None:
    clock, count = [0.0], iter(range(1000))
    sessions = Sessions(lambda: clock[0], lambda n: next(count).to_bytes(n, "big"))
    cookie, _ = sessions.create()
    clock[0] = IDLE_SECONDS
    assert sessions.find(cookie)
    clock[0] += IDLE_SECONDS + 1
    assert sessions.find(cookie) is None
    cookie, _ = sessions.create()
    born = clock[0]
    while clock[0] <= born + WHOLE_SECONDS:
        assert sessions.find(cookie)
        clock[0] += 600
    assert sessions.find(cookie) is None
