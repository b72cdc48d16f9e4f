"""The party console: its owner only, on this machine only, whole in both languages."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from consent.audit_report import LogSummary, Report
from consent.findings import Finding
from party_node.console.app import Console
from party_node.console.words import LANGUAGES, WORDS, say
from protocol.errors import Failed
from protocol.secret import Secret

TOKEN = "t" * 64
LOG = {"origin": "assent/00/consent/shop", "size": 12, "age": 3.2, "evidence": 0, "refusal": ""}
JOBS = [{"job": "1", "name": "<b>tiers</b>", "requester": "shop", "state": "failed",
         "sentence": "shop asks", "since": 1_800_000_000.0}]  # fmt: skip
SAID = {"type": "job.closed", "job": "0123456789", "recipient": "shop", "outcome": "released",
        "time": 1_800_000_000_000}  # fmt: skip


class Sources:
    def __init__(self) -> None:
        self.log = dict(LOG)

    def log_state(self):  # type: ignore[no-untyped-def]
        return self.log

    def jobs(self):  # type: ignore[no-untyped-def]
        return JOBS

    def statements(self):  # type: ignore[no-untyped-def]
        return [(SAID, None), ({**SAID, "type": "job.admitted", "eligible": 7}, {"index": 4})]


class Page:
    def __init__(self, fails: bool = False) -> None:
        self.audits = 0
        self.sources = Sources()

        async def audit() -> Report:
            self.audits += 1
            if fails:
                raise Failed("unavailable", "the ledger is away")
            log = LogSummary("assent/00/jobs", 2, "ab", 1, 2, 0, 0, 5)
            return Report((Finding("file_cut"),), (log,))

        console = Console("shop", Secret(TOKEN.encode()), self.sources, audit, lambda: 0.0)
        self.client = TestClient(console.app(), base_url="http://127.0.0.1:1")

    def enter(self) -> None:
        assert self.client.get(f"/enter?token={TOKEN}").status_code == 200

    def token(self) -> str:
        return self.client.get("/").text.split('name="token" value="')[1].split('"')[0]


def test_without_the_token_there_is_nothing_to_see() -> None:
    page = Page()
    for path in ("/", "/enter", "/enter?token=", f"/enter?token={TOKEN[:-1]}x"):
        answer = page.client.get(path)
        assert answer.status_code == 403
        assert "tiers" not in answer.text
        assert "assent node console" in answer.text
    assert page.client.post("/verify", content=b"token=").status_code == 403
    page.client.cookies.set("assent_console", "0" * 64)
    assert page.client.get("/").status_code == 403
    assert page.audits == 0


def test_the_owner_sees_log_jobs_and_statements() -> None:
    page = Page()
    page.enter()
    answer = page.client.get("/", headers={"accept-language": "en"})
    assert "&lt;b&gt;tiers&lt;/b&gt;" in answer.text
    for words in ("12", "3 s ago", "Jobs may be admitted", "waits for the ledger", "shop asks"):
        assert words in answer.text, words
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    assert answer.headers["cache-control"] == "no-store"
    assert TOKEN not in answer.text
    page.sources.log |= {"refusal": "too old", "evidence": 2, "age": None}
    again = page.client.get("/", headers={"accept-language": "en"}).text
    assert "No job is admitted: too old" in again
    assert "kept as evidence: 2" in again
    chinese = page.client.get("/language?to=zh").text
    assert "同意日志" in chinese
    assert 'lang="zh-CN"' in chinese


def test_verify_runs_the_audit_for_the_form_only() -> None:
    page = Page()
    page.enter()
    assert page.client.post("/verify", content=b"token=wrong").status_code == 403
    assert page.client.get("/verify").status_code == 405
    assert page.audits == 0
    answer = page.client.post("/verify", content=f"token={page.token()}")
    assert answer.status_code == 200
    assert page.audits == 1
    assert "assent/00/jobs" in answer.text
    assert "NOT verified" in answer.text
    away = Page(fails=True)
    away.enter()
    assert "the ledger is away" in away.client.post("/verify", content=f"token={away.token()}").text


def test_another_name_for_this_address_gets_nothing() -> None:
    page = Page()
    page.enter()
    assert page.client.get("/", headers={"host": "evil.example"}).status_code == 400


def test_oversized_and_malformed_requests_are_refused() -> None:
    page = Page()
    page.enter()
    assert page.client.post("/verify", content=b"x" * 100_000).status_code == 413
    for body in (b"", b"\xff\x00", b"token=\xff"):
        assert page.client.post("/verify", content=body).status_code == 403
    assert page.client.get("/nowhere").status_code == 404


@pytest.mark.parametrize("key", WORDS)
def test_both_languages_say_everything(key: str) -> None:
    english, chinese = WORDS[key]
    fields = [{name for _, name, _, _ in string.Formatter().parse(text) if name}
              for text in (english, chinese)]  # fmt: skip
    assert fields[0] == fields[1]
    assert any("一" <= char <= "鿿" for char in chinese)
    for language in LANGUAGES:
        assert say(language, key, **dict.fromkeys(fields[0], "x"))


def test_every_word_that_a_page_asks_for_is_there() -> None:
    import re

    folder = Path(__file__).parents[3] / "party_node" / "console"
    asked = {
        key
        for page in folder.glob("*.html")
        for key in re.findall(r'(?<![a-z])t\("([a-z_]+)"', page.read_text("utf-8"))
    }
    assert asked
    assert asked <= set(WORDS)
