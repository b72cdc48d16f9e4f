"""The pages in a real browser: axe-clean, by keyboard alone, 320 px, without JavaScript."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from typing import Any

import pytest

from tests.consent.portal.fakes import ANNA, Made, make
from tests.journeys.portal.browser import chromium, press, served
from tests.journeys.shell import until

pytestmark = pytest.mark.slow
PAGES = ("permissions", "data", "uses", "history", "rights", "verify", "nothing")
WIDTHS = (320, 1200)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with chromium() as running:
        yield running


class Open:
    """A portal of its own and a browser window on it."""

    def __init__(self, browser: Any, made: Made, address: str, **context: Any) -> None:
        self.made, self.address = made, address
        self.page = browser.new_context(**{"locale": "en"} | context).new_page()
        self.asked: list[str] = []
        self.page.on("request", lambda request: self.asked.append(request.url))

    def go(self, path: str) -> None:
        self.page.goto(f"{self.address}/{path}")

    def sign_in(self) -> None:
        before = len(self.made.inbox.messages)
        self.go("sign-in")
        self.page.fill("#address", ANNA)
        press(self.page, self.page.locator("main button"))
        until(lambda: len(self.made.inbox.messages) > before, 10, "no code")
        self.page.fill("#code", self.made.inbox.code)
        self.page.click("main button")
        self.page.wait_for_url("**/permissions")


@pytest.fixture
def opened(browser: Any) -> Iterator[Any]:
    made = make()
    with served(made.app) as address:
        yield lambda **context: Open(browser, made, address, **context)


@pytest.mark.parametrize(("language", "width"), [("zh-CN", WIDTHS[1]), ("en", WIDTHS[0])])
def test_every_page_is_axe_clean_and_needs_no_sideways_scrolling(
    opened: Any, language: str, width: int
) -> None:
    """axe at one width for each language, English on the narrow screen: it has longer words."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    window = opened(locale=language, viewport={"width": width, "height": 800})
    page = window.page

    def check(name: str) -> None:
        assert page.locator("html").get_attribute("lang") == language
        for screen in (*WIDTHS, width):
            page.set_viewport_size({"width": screen, "height": 800})
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= screen, f"{name} is {wide} px wide"
        found = axe.run(page)
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"

    window.go("sign-in")
    check("sign-in")
    page.fill("#address", "nonsense")
    press(page, page.locator("main button"))
    check("sign-in with a problem")
    window.go("sign-in")
    page.fill("#address", ANNA)
    press(page, page.locator("main button"))
    check("enter")
    window.sign_in()
    press(page, page.get_by_role("switch").nth(1))
    check("permissions after giving")
    press(page, page.get_by_role("switch").nth(1))
    check("permissions after withdrawing")
    window.made.nodes.silent = {"media"}
    for name in PAGES:
        window.go(name)
        check(name)
    window.made.nodes.silent = set()
    window.made.ledger.silent = True
    window.go("permissions")
    check("permissions without the ledger")
    window.made.ledger.silent = False
    window.go("rights")
    page.get_by_role("radio").first.check()
    press(page, page.locator("#file button"))
    check("rights with a problem")
    page.goto(f"{window.address}/rights?party=retailer&tag=spend")
    page.get_by_role("radio").first.check()
    press(page, page.locator("#file button"))
    check("rights with a request")


def test_the_whole_story_by_keyboard_alone(opened: Any) -> None:
    """Nothing but Tab, Space, Enter and letters, and the focus can always be seen."""
    window = opened(viewport={"width": 900, "height": 700})
    page = window.page

    def tab_to(wanted: str) -> None:
        for _ in range(60):
            page.keyboard.press("Tab")
            text = page.evaluate(
                "(e => (e.getAttribute('aria-label') || e.innerText || e.id || '').trim())"
                "(document.activeElement)"
            )
            if page.evaluate("document.activeElement.tagName") == "BODY":
                continue  # past the last one; the next Tab begins at the top
            outline = page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
            assert outline != "none", f"the focus on {text!r} is not visible"
            if text.startswith(wanted):
                return
        pytest.fail(f"no way to {wanted!r} by Tab")

    window.go("sign-in")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    tab_to("address")
    page.keyboard.type(ANNA)
    page.keyboard.press("Enter")
    page.wait_for_url("**/enter")
    until(lambda: window.made.inbox.messages, 10, "no code")
    assert page.evaluate("document.activeElement.id") == "code"
    page.keyboard.type(window.made.inbox.code)
    page.keyboard.press("Enter")
    page.wait_for_url("**/permissions")

    switch = "Understanding groups of customers: retailer to media"
    tab_to(switch)
    page.keyboard.press("Space")
    page.wait_for_url("**#said")
    named = page.get_by_role("switch", name=switch)
    assert named.get_attribute("aria-checked") == "true"
    # The answer has the focus, so that a screen reader says it at once.
    focused = page.evaluate("document.activeElement.innerText")
    assert focused.startswith("Turned on and recorded")
    page.keyboard.press("Shift+Tab")  # back to the very switch: taking back is no further
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == switch
    page.keyboard.press("Enter")
    until(lambda: named.get_attribute("aria-checked") == "false", 10, "not withdrawn")
    tab_to("Sign out")
    page.keyboard.press("Enter")
    page.wait_for_url("**/sign-in")
    assert "forgotten" in page.locator("main").inner_text()


def test_everything_works_without_javascript_and_asks_nobody_else(opened: Any) -> None:
    window = opened(java_script_enabled=False)
    page = window.page
    window.sign_in()
    press(page, page.get_by_role("switch").nth(0))
    press(page, page.get_by_role("switch").nth(3))
    assert page.locator("[aria-checked=true]").count() == 2
    press(page, page.get_by_role("button", name="Withdraw all", exact=True))
    assert page.locator("[aria-checked=true]").count() == 0
    assert "No new use begins more than 60 seconds from now" in page.locator("main").inner_text()
    for name in PAGES:
        window.go(name)
    with page.expect_download() as download:
        window.go("rights")
        page.get_by_role("link", name="Download as table").click()
    rows = list(csv.reader(io.StringIO(download.value.path().read_text("utf-8-sig"))))
    assert ["retailer", "tag", "value_tier", "high"] in [row[:4] for row in rows]
    outside = [url for url in window.asked if not url.startswith(window.address)]
    assert outside == []


def test_withdrawing_is_no_harder_than_giving(opened: Any) -> None:
    """One click each, in the same place, of the same size; withdraw all is larger than any."""
    window = opened(viewport={"width": 1200, "height": 900})
    page = window.page
    window.sign_in()
    switch = page.get_by_role("switch").nth(2)
    giving = switch.bounding_box()
    press(page, switch)
    taking = page.get_by_role("switch").nth(2).bounding_box()
    assert (giving["width"], giving["height"]) == (taking["width"], taking["height"])
    assert giving["width"] >= 44
    assert giving["height"] >= 44
    press(page, page.get_by_role("switch").nth(2))
    assert page.locator("[aria-checked=true]").count() == 0
    everything = page.get_by_role("button", name="Withdraw all", exact=True).bounding_box()
    assert everything["width"] * everything["height"] > giving["width"] * giving["height"]
    assert everything["y"] < giving["y"]  # before any way to allow
    # There is no way to allow everything at once.
    assert page.get_by_role("button", name="Allow all").count() == 0


def test_the_language_can_be_changed_on_every_page(opened: Any) -> None:
    window = opened(locale="en")
    window.sign_in()
    for name in ("permissions", "data", "uses", "history", "rights"):
        window.go(name)
        press(window.page, window.page.get_by_role("link", name="中文"))
        assert window.page.url.endswith(f"/{name}")
        assert window.page.locator("html").get_attribute("lang") == "zh-CN"
        press(window.page, window.page.get_by_role("link", name="English"))
        assert window.page.locator("html").get_attribute("lang") == "en"
