"""The party's own pages over real processes, in a real Chromium: axe, keyboard, both languages."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from assent.progress import Progress
from assent.sandbox import Sandbox, check
from tests.journeys import companies
from tests.journeys.conftest import Assent
from tests.journeys.portal.browser import chromium

pytestmark = pytest.mark.slow
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]}


def test_an_owner_looks_at_jobs_and_verifies_the_logs(tmp_path: Path, assent: Assent) -> None:
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    made = companies.write(tmp_path / "data", seed=22, rows=40)
    federation, jobs = check(made.federation, made.job)
    with (
        chromium() as browser,
        Sandbox(federation, keep=tmp_path / "kept", progress=Progress.quiet()) as up,
    ):
        result = up.result(jobs[0])
        assert result["status"] == "released"
        asker = jobs[0].requester
        printed = [line for line in up.addresses() if "its pages: http://127.0.0.1:" in line]
        assert len(printed) == len(federation.parties)

        def link() -> str:
            return assent("node", "console", "--node", str(up.root / asker)).out.strip()

        for language, width in (("en-US", 1280), ("zh-CN", 320)):
            page = browser.new_context(
                locale=language, viewport={"width": width, "height": 800}
            ).new_page()
            page.goto(link())
            home = re.match("http://[^/]+", page.url)
            assert home is not None
            for path in ("/", "/jobs", "/releases", "/verify"):
                page.goto(home[0] + path)
                if path == "/jobs":
                    assert jobs[0].name in page.content()
                    page.locator("summary").first.focus()
                    page.keyboard.press("Enter")
                    assert page.locator("details[open]").count() == 1
                if path == "/verify":
                    page.locator("form[action='/verify'] button").focus()
                    page.keyboard.press("Enter")
                    page.wait_for_selector("a[href='/audit.bundle']", timeout=60_000)
                    verdict = page.locator("#verdict").inner_text()
                    assert verdict.startswith("Verified" if language == "en-US" else "验证通过")
                found = axe.run(page, options=RULES)
                assert found.violations_count == 0, found.generate_report()
                assert page.evaluate("document.documentElement.scrollWidth") <= width
            with page.expect_download() as download:
                page.locator("a[href='/audit.bundle']").click()
            file = tmp_path / f"{language}.bundle"
            download.value.save_as(file)
            cards = ("--collaboration", str(up.root / "collaboration.yaml"))
            assert assent("audit", "verify", str(file), *cards).code == 0
            note = tmp_path / "note"
            note.write_text(json.loads(file.read_bytes().splitlines()[-2])["checkpoint"])
            assert assent("audit", "verify", str(file), *cards, "--kept", str(note)).code == 0
            note.write_text(note.read_text().replace("assent/", "assent/0", 1))
            assert assent("audit", "verify", str(file), *cards, "--kept", str(note)).code == 2
            data = bytearray(file.read_bytes())
            data[data.index(b'"leaf"') + 40] ^= 1
            file.write_bytes(data)
            assert assent("audit", "verify", str(file), *cards).code == 1
