"""Guessing codes, asking for many, filing without end: each limit by itself."""

from __future__ import annotations

import asyncio

import httpx

from consent.portal import codes
from consent.portal.limits import (
    CODES_PER_CLIENT,
    REQUESTS_PER_PERSON,
    TRIES_PER_ADDRESS,
    TRIES_PER_CLIENT,
)
from tests.consent.portal.fakes import ANNA, Made, make, token, told

NOBODY = "nobody@example.com"


async def asked(made: Made, browser: httpx.AsyncClient, address: str) -> int:
    form = {"csrf": token((await browser.get("/sign-in")).text), "address": address}
    answer = await browser.post("/sign-in/code", data=form)
    while made.portal.background:
        await next(iter(made.portal.background))
    return answer.status_code


async def tried(browser: httpx.AsyncClient, code: str) -> httpx.Response:
    form = {"csrf": token((await browser.get("/sign-in/enter")).text), "code": code}
    return await browser.post("/sign-in/enter", data=form)


def test_tries_at_one_address_are_counted_over_all_clients() -> None:
    """Each of many machines has a code of its own; together they have twenty tries an hour."""

    async def run() -> None:
        made, answers = make(), []
        for number in range(TRIES_PER_ADDRESS.times // codes.MAX_TRIES):
            async with made.browser(f"198.51.100.{number}") as browser:
                assert await asked(made, browser, ANNA) == 303
                answers += [(await tried(browser, "wrong")).status_code for _ in range(5)]
        assert answers == [422] * TRIES_PER_ADDRESS.times
        async with made.browser("203.0.113.99") as browser:
            assert await asked(made, browser, ANNA) == 303
            assert (await tried(browser, made.inbox.code)).status_code == 429
            assert (await browser.get("/permissions")).status_code == 303

    asyncio.run(run())


def test_codes_and_tries_of_one_client_are_counted_over_all_addresses() -> None:
    async def run() -> None:
        made, tries, sent = make(), [], []
        for number in range(CODES_PER_CLIENT.times + 1):
            async with made.browser() as browser:  # the same machine, each time without cookies
                sent.append(await asked(made, browser, f"x{number}@example.com"))
                if len(tries) <= TRIES_PER_CLIENT.times:
                    tries += [(await tried(browser, "wrong")).status_code for _ in range(5)]
        assert sent == [303] * CODES_PER_CLIENT.times + [429]
        assert tries[: TRIES_PER_CLIENT.times + 1] == [422] * TRIES_PER_CLIENT.times + [429]
        async with made.browser("203.0.113.99") as browser:
            assert await asked(made, browser, "x0@example.com") == 303

    asyncio.run(run())


def test_the_right_code_of_an_address_that_nobody_knows_signs_nobody_in() -> None:
    """There is a code for every address, so that both cost the same; this one was never sent."""

    async def run() -> None:
        made = make(random=lambda n: b"\x07" * n)
        async with made.browser() as browser:
            assert await asked(made, browser, NOBODY) == 303
            answer = await tried(browser, codes.draw(made.portal.random))
            assert answer.status_code == 422
            assert (await browser.get("/permissions")).status_code == 303
        assert made.inbox.messages == []

    asyncio.run(run())


def test_a_person_files_a_bounded_number_of_requests() -> None:
    form = {"party": "retailer", "right": "correct", "tag": "value_tier", "words": "it is low"}

    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        for _ in range(REQUESTS_PER_PERSON.times + 3):
            await browser.post("/rights/file", data=form | {"csrf": csrf})
        assert len(made.nodes.tickets["retailer"]) == REQUESTS_PER_PERSON.times

    told(story)
