"""What the portal refuses: forged, oversized, malformed and fuzzed requests to every address."""

from __future__ import annotations

import asyncio
import logging
import re

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from consent.portal.web import HEADERS, MAX_FORM, local
from tests.consent.portal.fakes import ANNA, BO, ROW, Made, make, sign_in, token, told

POSTS = (
    "/sign-in/code", "/sign-in/enter", "/sign-out", "/permissions/set",
    "/permissions/withdraw-all", "/verify", "/rights/file", "/rights/erase",
)  # fmt: skip
GETS = (
    "/", "/sign-in", "/sign-in/enter", "/sign-in/with/retailer", "/sign-in/back", "/permissions",
    "/data", "/uses", "/history", "/history/receipt/retailer/0", "/verify", "/rights",
    "/rights/access.json", "/rights/access.csv", "/language/en", "/style.css", "/nothing",
)  # fmt: skip
CSP = "Content-Security-Policy"
PRIVATE = [page for page in GETS if page.startswith(("/perm", "/data", "/uses", "/hist", "/righ"))]


def test_every_answer_has_the_headers_and_loads_nothing_from_outside() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        for page in GETS:
            answer = await browser.get(page)
            for name, value in HEADERS.items():
                if name != "Cache-Control":
                    assert answer.headers[name] == value, (page, name)
            assert answer.headers["Cache-Control"] == (
                "public, max-age=300" if page == "/style.css" else "no-store"
            )
            assert not re.search(r"""(src|href|action)=["']?(https?:)?//""", answer.text), page
            assert "<script" not in answer.text
            assert " style=" not in answer.text
            assert not re.search(r"\son\w+=", answer.text), page

    told(story)


def test_no_page_can_be_framed_scripted_sniffed_or_kept() -> None:
    """The words that browsers act on, written here once more: a test of HEADERS by itself
    agrees with whatever stands there."""
    rules = dict(rule.strip().partition(" ")[::2] for rule in HEADERS[CSP].split(";"))
    assert (rules["default-src"], rules["frame-ancestors"]) == ("'none'", "'none'")
    assert (rules["form-action"].split()[0], rules["base-uri"]) == ("'self'", "'none'")
    assert "unsafe" not in HEADERS[CSP]
    assert {rule for rule in rules if rule.startswith("script")} == set()
    assert HEADERS["X-Frame-Options"] == "DENY"
    assert HEADERS["X-Content-Type-Options"] == "nosniff"
    assert HEADERS["Cache-Control"] == "no-store"


def test_nothing_private_without_signing_in() -> None:
    async def run() -> None:
        made = make()
        async with made.browser() as browser:
            for page in PRIVATE:
                answer = await browser.get(page)
                assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")
            for page in POSTS[2:]:
                answer = await browser.post(page, data={"csrf": "x"})
                assert answer.status_code in (303, 403)
        assert made.ledger.appended == made.ledger.erased == []

    asyncio.run(run())


@pytest.mark.parametrize("page", POSTS)
def test_a_forged_form_changes_nothing(page: str) -> None:
    forged: list[tuple[dict[str, str], dict[str, str]]] = [
        ({}, {}),
        ({"csrf": ""}, {}),
        ({"csrf": "A" * 43}, {}),
        ({"csrf": "é"}, {}),
        ({"csrf": "RIGHT"}, {"origin": "https://evil.test"}),
        ({"csrf": "RIGHT"}, {"origin": "null"}),
        ({"csrf": "RIGHT"}, {"sec-fetch-site": "cross-site"}),
        ({"csrf": "RIGHT"}, {"sec-fetch-site": "same-site"}),
    ]
    more = {**ROW, "action": "give", "sure": "yes", "right": "object", "address": BO, "code": "1"}

    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        sent = len(made.inbox.messages)
        for fields, headers in forged:
            fields = {k: csrf if v == "RIGHT" else v for k, v in fields.items()}
            answer = await browser.post(page, data=more | fields, headers=headers)
            assert answer.status_code == 403, (fields, headers)
        assert len(made.inbox.messages) == sent
        assert made.ledger.appended == made.ledger.erased == []
        assert (await browser.get("/permissions")).status_code == 200  # still signed in

    told(story)


def test_another_sessions_token_is_not_good() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        async with made.browser() as other:
            theirs = token((await other.get("/sign-in")).text)
        form = {"csrf": theirs, **ROW, "action": "give"}
        assert (await browser.post("/permissions/set", data=form)).status_code == 403

    told(story)


@pytest.mark.parametrize("page", POSTS)
def test_oversized_and_malformed_bodies_are_refused(page: str) -> None:
    form = {"content-type": "application/x-www-form-urlencoded"}
    bodies: list[tuple[bytes, dict[str, str], int]] = [
        (b"csrf=" + b"a" * MAX_FORM, form, 413),
        (b"{}", {"content-type": "application/json"}, 415),
        (b"--x\r\n", {"content-type": "multipart/form-data; boundary=x"}, 415),
        (b"csrf=%ff%fe", form, 400),
        (b"csrf=\xff\xfe", form, 400),
        (b"csrf", form, 400),
        (b"csrf=a&csrf=b", form, 400),
        (b"csrf=%00", form, 400),
        (b"&".join(b"f%d=1" % i for i in range(50)), form, 400),
        (b"", {}, 415),
    ]

    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        for body, headers, status in bodies:
            answer = await browser.post(page, content=body, headers=headers)
            assert answer.status_code == status, body[:40]

    told(story)


def test_long_addresses_and_wrong_methods_are_refused() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        assert (await browser.get("/permissions?x=" + "a" * 3000)).status_code == 414
        for page in POSTS:
            assert (await browser.put(page)).status_code == 405
        for method in ("DELETE", "PATCH", "OPTIONS", "TRACE"):
            assert (await browser.request(method, "/permissions")).status_code == 405

    told(story)


def test_a_client_that_hammers_is_slowed() -> None:
    async def run() -> None:
        made = make()
        async with made.browser() as browser:
            answers = [(await browser.get("/sign-in")).status_code for _ in range(605)]
        assert answers.count(429) == 5
        async with made.browser("198.51.100.9") as other:
            assert (await other.get("/sign-in")).status_code == 200

    asyncio.run(run())


_names = st.sampled_from(
    ["csrf", "party", "purpose", "recipient", "action", "right", "tag", "words", "sure", "receipt",
     "code", "address", "x"]
)  # fmt: skip
_values = st.one_of(
    st.text(max_size=60),
    st.sampled_from(
        ["retailer", "media", "audience_insight", "give", "withdraw", "object", "correct", "*",
         "../../etc/passwd", "<script>alert(1)</script>", "' OR 1=1 --", "\r\nSet-Cookie: a=b",
         "a@b.c\nBcc: d@e.f", "{{7*7}}", "%00", "RIGHT"]
    ),
)  # fmt: skip


def test_fuzzed_forms_never_break_the_portal(caplog: pytest.LogCaptureFixture) -> None:
    """Any fields to any form, with and without a right token: never a 500, nothing logged."""
    caplog.set_level(logging.DEBUG)
    made = make()
    loop = asyncio.new_event_loop()

    @settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(st.sampled_from([p for p in POSTS if p != "/sign-out"]),
           st.dictionaries(_names, _values, max_size=8), st.booleans())  # fmt: skip
    def fuzz(page: str, form: dict[str, str], right: bool) -> None:
        made.portal.limits._seen.clear()

        async def send() -> None:
            fields = form | ({"csrf": csrf} if right else {})
            answer = await browser.post(page, data=fields)
            assert answer.status_code < 500, (page, form)
            assert "<script>alert" not in answer.text
            assert "set-cookie" not in answer.headers or "a=b" not in answer.headers["set-cookie"]

        loop.run_until_complete(send())

    try:
        browser = made.browser()
        loop.run_until_complete(sign_in(made, browser))
        csrf = token(loop.run_until_complete(browser.get("/permissions")).text)
        fuzz()
        loop.run_until_complete(browser.aclose())
    finally:
        loop.close()
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("assent")]
    assert ours
    for line in ours:
        for word in (ANNA, "<script>", "passwd", csrf):
            assert word not in line


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet=st.characters(codec="ascii"), min_size=1, max_size=60))
def test_fuzzed_addresses_never_break_the_portal(path: str) -> None:
    made = make()

    async def run() -> None:
        async with made.browser() as browser:
            try:
                answer = await browser.get("/" + path)
            except httpx.InvalidURL:
                return
            assert answer.status_code < 500

    asyncio.run(run())


@pytest.mark.parametrize(
    "to", ["//evil.test", "https://evil.test", "/\\evil.test", "javascript:x", "/a\r\nb", "evil"]
)
def test_the_language_switch_leads_nowhere_else(to: str) -> None:
    async def run() -> None:
        async with make().browser() as browser:
            answer = await browser.get("/language/en", params={"to": to})
            assert answer.headers["location"] == "/"

    asyncio.run(run())
    assert not local(to)
    assert local("/permissions")


def test_a_defect_of_ours_says_nothing_and_logs_no_value(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        async def broken(party: str, subject: bytes) -> None:
            raise RuntimeError(f"cannot read {ANNA}")

        made.ledger.subject = broken  # type: ignore[method-assign,assignment]
        answer = await browser.get("/history")
        assert answer.status_code == 500
        assert ANNA not in answer.text

    told(story)
    ours = [r.getMessage() for r in caplog.records if r.name.startswith("assent")]
    assert any("RuntimeError" in line for line in ours)
    assert not any(ANNA in line for line in ours)
