"""The report in a real browser: the switch works without a script, in print and by keyboard."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from assent.report import write_report
from tests.assent.report_samples import CROSSTAB, LIKE, REFUSED, SEGMENTS
from tests.journeys.portal.browser import chromium

pytestmark = pytest.mark.slow
HEADINGS = {"en": "Samples", "zh": "样例"}


def test_both_languages_are_one_key_away_axe_clean_and_fit_a_phone(tmp_path: Path) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    file = tmp_path / "report.html"
    # Every kind of drawing and table once: axe takes a second per job and language.
    results = (CROSSTAB, SEGMENTS, LIKE, REFUSED)
    write_report(results, file, title=HEADINGS, language="zh", at=datetime.now(UTC))
    with chromium() as browser:
        page = browser.new_page(viewport={"width": 320, "height": 800})
        complaints: list[str] = []
        page.on("console", lambda message: complaints.append(message.text))
        page.goto(file.as_uri())
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        page.keyboard.press("Tab")  # to the switch
        for language, other in (("zh", "en"), ("en", "zh")):
            shown = page.locator("h1:visible")
            assert shown.all_inner_texts() == [HEADINGS[language]]
            assert page.locator(f"#{other}-job-1").is_hidden()
            assert page.evaluate("document.documentElement.scrollWidth") <= 320
            found = axe.run(page)
            assert found.violations_count == 0, found.generate_report()
            link = page.locator(f"a[href='#{language}-job-2']").first
            link.click()
            assert page.locator(f"#{language}-job-2").is_visible()
            page.emulate_media(media="print")
            assert page.locator("h1:visible").all_inner_texts() == [HEADINGS[language]]
            assert page.locator(".languages").is_hidden()
            page.emulate_media(media="screen")
            page.locator(f"#in-{language}").focus()
            page.keyboard.press("ArrowRight")
        assert complaints == []
