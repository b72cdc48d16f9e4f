"""The demo's second half: one person withdraws in the portal, and what follows from it.

What: forty people who are customers of two companies; exact counts, because both policies allow
them; a count, a person who signs in and withdraws, the count again; then the auditor's bundle,
verified, and once more with one byte flipped.
Who runs it: `make demo`, the journey test, the bench (how fast a click acts).
Learns: this process plays everybody; see `assent.demo`.
"""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from assent.progress import Progress
from assent.sandbox import Sandbox, check
from protocol.errors import Failed

PEOPLE = 40
_PATIENCE = 60.0  # seconds: the aim of consent.md for a withdrawal
_FEDERATION = """\
federation: withdrawal
key_bits: 2048
parties:
  retailer: {table: retailer.csv, ids: {email: email}, consents: all, attributes: {},
             policy: {min_cohort: 1, noise: optional}}
  media: {table: media.csv, ids: {email: email}, consents: all, attributes: {},
          policy: {min_cohort: 1, noise: optional}}
"""
_JOB = """\
job: in_common
purpose: overlap_measurement
protocol: psi
requester: retailer
with: [media]
match: {on: [email], mode: keyed}
privacy: {noise: off}
"""


@dataclass(frozen=True)
class Story:
    """before, after: the exact counts.  seconds: from the click to the end of the first run
    without the person.  audit, flipped: exit code and text of the two audits."""

    before: int
    after: int
    seconds: float
    audit: tuple[int, str]
    flipped: tuple[int, str]


def tell(folder: Path, say: Callable[[str], None], progress: Progress | None = None) -> Story:
    """Runs the story in `folder`.  Raises Failed when a count is not what it must be."""
    folder.mkdir(parents=True, exist_ok=True)
    emails = [f"person{n:02d}@example.com" for n in range(PEOPLE)]
    for name in ("retailer", "media"):
        (folder / f"{name}.csv").write_text("email\n" + "\n".join(emails) + "\n", encoding="utf-8")
    (folder / "FEDERATION.yaml").write_text(_FEDERATION, encoding="utf-8")
    (folder / "JOB.yaml").write_text(_JOB, encoding="utf-8")
    federation, (job,) = check(folder / "FEDERATION.yaml", folder / "JOB.yaml")
    with Sandbox(
        federation, keep=None, progress=progress or Progress.quiet(), portal=True
    ) as sandbox:
        before = _count(sandbox.result(job))
        say(f"in common, exactly: {before} people")
        person = Person(sandbox.pages, sandbox.outbox)
        person.sign_in(emails[7])
        say(f"{emails[7]} signs in at {sandbox.pages} with a one-time code, and withdraws all")
        person.withdraw_all()
        clicked = time.monotonic()
        after = before
        while after == before:
            if time.monotonic() - clicked > _PATIENCE:
                raise Failed("withdrawal_ignored", f"still {after} people after a minute")
            after = _count(sandbox.result(job))
        seconds = time.monotonic() - clicked
        say(f"the same job again: {after} people, {seconds:.1f} s after the click, run included")
        if after != before - 1:
            raise Failed("wrong_count", f"{before} people became {after} when one withdrew")
        bundle = folder / "audit.bundle"
        asyncio.run(_fetch(sandbox, bundle))
        audits = [_audit(sandbox, bundle)]
        data = bytearray(bundle.read_bytes())
        data[data.index(b"given")] ^= 1  # in the first consent
        bundle.write_bytes(bytes(data))
        audits.append(_audit(sandbox, bundle))
    say("the auditor: " + audits[0][1].splitlines()[0])
    say("one byte of the bundle flipped: " + audits[1][1].splitlines()[0])
    for line in audits[1][1].splitlines():
        if " is not what was logged" in line:
            say("  " + line)
    return Story(before, after, seconds, audits[0], audits[1])


def _count(result: Mapping[str, Any]) -> int:
    if result["status"] != "released":
        error = result["error"]
        raise Failed(error["code"], error["cause"], party=error["party"], stage=error["stage"])
    return int(result["overlap"]["count"])


async def _fetch(sandbox: Sandbox, out: Path) -> None:
    from catalog.collaboration import load_collaboration
    from consent.auditor import auditor_keys
    from consent.client import AuditorClient

    shared = sandbox.root / "collaboration.yaml"
    keys = auditor_keys(shared, sandbox.root / "auditor" / "keys")
    client = AuditorClient(load_collaboration(shared).consent.card(), keys)
    try:
        out.write_bytes(b"".join([line async for line in client.bundle()]))
    finally:
        await client.close()


def _audit(sandbox: Sandbox, bundle: Path) -> tuple[int, str]:
    from catalog.collaboration import load_collaboration
    from consent.audit_files import default_policy, verify
    from consent.audit_jobs import JobRule
    from consent.audit_rules import ConsentRule
    from consent.trust import Trust

    collaboration = load_collaboration(sandbox.root / "collaboration.yaml")
    signers = {name: card.signing_key for name, card in collaboration.cards().items()}
    policy = default_policy(Trust.of(collaboration), bundle)
    report = verify(bundle, policy, [ConsentRule(), JobRule(signers)], None)
    return report.exit_code, report.to_text("en")


class Person:
    """Somebody with a browser that has no JavaScript: reads forms, sends them."""

    def __init__(self, pages: str, outbox: Path) -> None:
        import httpx

        self._outbox = outbox
        self._browser = httpx.Client(
            base_url=pages, follow_redirects=True, trust_env=False, timeout=30.0,
            headers={"Origin": pages},
        )  # fmt: skip

    def sign_in(self, address: str, code: Callable[[], str] | None = None) -> None:
        """code: waits for the message and reads it; None: from the outbox."""
        self._send("/sign-in", "/sign-in/code", address=address)
        self._send("/sign-in/enter", "/sign-in/enter", code=(code or self._code)())

    def text(self, page: str) -> str:
        return self._browser.get(page).text

    def withdraw_all(self) -> None:
        self._send("/permissions", "/permissions/withdraw-all")

    def _code(self) -> str:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            for file in self._outbox.glob("*.json"):
                return str(re.findall(r"\d{6}", json.loads(file.read_text("utf-8"))["text"])[0])
            time.sleep(0.05)
        raise Failed("no_code", "the portal sent no sign-in code", next_step="read its log")

    def _send(self, page: str, action: str, **typed: str) -> None:
        """Opens `page`, fills the first form that goes to `action`, sends it."""
        deadline = time.monotonic() + 30
        while True:
            form = _Form(action)
            form.feed(self._browser.get(page).text)
            if form.fields is not None:
                break
            if time.monotonic() > deadline:
                raise Failed("page_missing", f"the portal's page {page} has no form {action}")
            time.sleep(0.2)  # the companies' nodes are still being asked
        answer = self._browser.post(action, data=form.fields | typed)
        if answer.status_code != 200:
            raise Failed("page_refused", f"the portal answered {answer.status_code} at {action}")


class _Form(HTMLParser):
    """The fields of the first form with this action; None when there is no such form."""

    def __init__(self, action: str) -> None:
        super().__init__()
        self._action = action
        self._inside = False
        self.fields: dict[str, str] | None = None

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        if tag == "form" and found.get("action") == self._action and self.fields is None:
            self._inside, self.fields = True, {}
        elif tag == "input" and self._inside and self.fields is not None and found.get("name"):
            self.fields[str(found["name"])] = found.get("value") or ""

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False
