"""The portal with everything real: consent service, two nodes, a browser; codes from the outbox.

A person signs in, sees what a node knows, gives, withdraws, gets a receipt that verifies
offline, is erased; the owner answers a request and the person reads it.
"""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest

from catalog.collaboration import card_text, dump_collaboration, join_cards
from protocol.transport.kit import create_kit
from tests.architecture.sources import ROOT
from tests.journeys.portal.browser import chromium, press
from tests.journeys.shell import free_port, until

pytestmark = pytest.mark.slow

TABLES = {
    "retailer": ("email,tier,spend\nann@example.com,gold,12.50\nbob@example.com,silver,3\n"
                 "eve@example.com,gold,7\n"),
    "media": "email,interest\nann@example.com,travel\ncat@example.com,food\n",
}  # fmt: skip
PARTY = """\
name: {name}
table: table.csv
default_region: CN
ids: {{email: email}}
attributes: {attributes}
consents: consents.csv
policy: {{min_cohort: 1, noise: optional}}
"""
CONSENTS = (
    "email,purpose,recipient,category,status\nzoe@example.com,activation,media,device,refused\n"
)
ATTRIBUTES = {
    "retailer": "{tier: {kind: label, category: purchases, values: [gold, silver]}, "
    "spend: {kind: number, category: purchases, bounds: [0, 100], decimals: 2}}",
    "media": "{interest: {kind: label, category: content, values: [travel, food]}}",
}


@contextmanager
def _process(folder: Path, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "said.txt").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-m", "assent", *arguments], cwd=ROOT, stdout=said, stderr=said,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
        )  # fmt: skip
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _assent(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "assent", *arguments], cwd=ROOT, capture_output=True, text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)}, timeout=60,
    )  # fmt: skip


class Companies:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.web = f"127.0.0.1:{free_port()}"
        cards = []
        for name, role in (
            ("coordinator", "coordinator"), ("consent", "consent"), ("portal", "portal"),
            ("retailer", "party"), ("media", "party"),
        ):  # fmt: skip
            address = "" if role == "party" else f"127.0.0.1:{free_port()}"
            keys = create_kit(root / name / "keys", name, role, address=address)
            cards.append(root / name / "card.yaml")
            cards[-1].write_text(card_text(keys.card), encoding="utf-8")
        self.collaboration = root / "collaboration.yaml"
        self.collaboration.write_text(dump_collaboration(join_cards(cards)), encoding="utf-8")
        for name, table in TABLES.items():
            (root / name / "table.csv").write_text(table, encoding="utf-8")
            (root / name / "consents.csv").write_text(CONSENTS, encoding="utf-8")
            (root / name / "party.yaml").write_text(
                PARTY.format(name=name, attributes=ATTRIBUTES[name]), encoding="utf-8"
            )

    def start(self, stack: ExitStack, name: str) -> None:
        folder = self.root / name
        common = ("--collaboration", str(self.collaboration), "--data", str(folder), "--sandbox")
        what = {
            "coordinator": ("coordinator", "run"),
            "consent": ("consent", "run"),
            "portal": ("portal", "run", "--listen", self.web, "--outbox", str(self.outbox)),
        }.get(name, ("node", "run", "--party", str(folder / "party.yaml")))
        process = stack.enter_context(_process(folder, *what, *common))
        waits = {"portal": "pages at"}.get(name, "ready" if name in TABLES else "listening")

        def up() -> bool:
            assert process.poll() is None, self.said(name)
            return waits in self.said(name)

        until(up, 60, lambda: self.said(name))  # type: ignore[arg-type]

    @property
    def outbox(self) -> Path:
        return self.root / "outbox"

    def said(self, name: str) -> str:
        return (self.root / name / "said.txt").read_text("utf-8", "replace")

    def code(self) -> str:
        until(lambda: list(self.outbox.glob("*.json")), 20, lambda: self.said("portal"))  # type: ignore[arg-type]
        (file,) = self.outbox.glob("*.json")
        message = json.loads(file.read_text("utf-8"))
        file.unlink()
        return re.findall(r"\d{6}", message["text"])[0]


def _flip(page: Any, name: str) -> None:
    press(page, page.get_by_role("switch", name=name))


def test_a_person_sees_gives_withdraws_proves_and_is_erased(tmp_path: Path) -> None:
    made = Companies(tmp_path)
    with chromium() as browser, ExitStack() as stack:
        for name in ("consent", "coordinator", "portal", "retailer", "media"):
            made.start(stack, name)
        page = browser.new_context(locale="en").new_page()
        page.goto(f"http://{made.web}/sign-in")
        page.get_by_label("Your e-mail address").fill(" Ann@Example.com ")
        press(page, page.get_by_role("button", name="Send me a code"))
        page.get_by_label("Code of 6 digits").fill(made.code())
        page.get_by_role("button", name="Sign in").click()
        page.wait_for_url("**/permissions")

        # Everything is off; what is turned on is on at the ledger, not only on the page.
        switches = page.get_by_role("switch")
        assert switches.count() == 12
        assert {one.get_attribute("aria-checked") for one in switches.all()} == {"false"}
        counting = "Counting common customers: retailer to media"
        _flip(page, counting)
        assert (
            "Turned on and recorded" in page.locator("#p1-media-overlap_measurement").inner_text()
        )
        page.reload()
        on = page.get_by_role("switch", name=counting)
        assert on.get_attribute("aria-checked") == "true"

        # What they know.
        press(page, page.get_by_role("link", name="What they know about me"))
        known = page.locator("main").inner_text()
        for word in ("gold", "12.50", "travel"):
            assert word in known
        assert "silver" not in known

        # Withdraw, and the receipt of it proves it without the portal.
        press(page, page.get_by_role("link", name="My permissions").first)
        _flip(page, counting)
        off = page.get_by_role("switch", name=counting)
        assert off.get_attribute("aria-checked") == "false"
        press(page, page.get_by_role("link", name="History and receipts"))
        assert page.locator(".events > li").count() == 2
        with page.expect_download() as download:
            page.get_by_role("link", name="Download receipt").first.click()
        receipt = tmp_path / "receipt.jws"
        download.value.save_as(receipt)
        checked = _assent("consent", "verify-receipt", str(receipt),
                          "--collaboration", str(made.collaboration))  # fmt: skip
        assert checked.returncode == 0, checked.stdout + checked.stderr
        assert "ConsentWithdrawn" in checked.stdout
        token = _assent("node", "subject", "ANN@example.com", "--node",
                        str(made.root / "retailer"))  # fmt: skip
        payload = base64.urlsafe_b64decode(receipt.read_text().split(".")[1] + "==")
        assert token.stdout.strip() == "s1.1." + json.loads(payload)["body"]["subject"]
        press(page, page.get_by_role("link", name="Check a receipt"))
        page.get_by_role("textbox", name="Receipt").fill(receipt.read_text())
        press(page, page.get_by_role("button", name="Check"))
        assert "genuine" in page.locator("#verdict").inner_text()
        broken = receipt.read_text()[:-20] + "A" * 20
        page.get_by_role("textbox", name="Receipt").fill(broken)
        press(page, page.get_by_role("button", name="Check"))
        assert "does not verify" in page.locator("#verdict").inner_text()

        # A request, the owner's answer, and the person reads it.
        press(page, page.get_by_role("link", name="My rights"))
        page.get_by_text("Something they know about me is wrong.").click()
        page.get_by_label("About which tag?").fill("tier")
        page.get_by_label("In your words").fill("it is platinum")
        press(page, page.get_by_role("button", name="Send request"))
        assert "retailer has your request" in page.locator("main").inner_text()
        listed = _assent("node", "requests", "--node", str(made.root / "retailer"), "--json")
        (request,) = json.loads(listed.stdout)
        assert (request["right"], request["attribute"], request["rows"]) == ("correct", "tier", [0])
        assert request["words"] == "it is platinum"
        settled = _assent("node", "settle", request["id"], "done", "--answer", "You are right.",
                          "--node", str(made.root / "retailer"))  # fmt: skip
        assert settled.returncode == 0, settled.stderr
        page.reload()
        assert "You are right." in page.locator("main").inner_text()

        # Erased: the ledger has nothing to show any more, the old receipt still verifies.
        page.get_by_label("I understand that this cannot be undone.").check()
        press(page, page.get_by_role("button", name="Erase my record"))
        assert "are erased from the ledger" in page.locator("main").inner_text()
        press(page, page.get_by_role("link", name="History and receipts"))
        assert "There are no entries about you at retailer" in page.locator("main").inner_text()
        again = _assent("consent", "verify-receipt", str(receipt),
                        "--collaboration", str(made.collaboration))  # fmt: skip
        assert again.returncode == 0, again.stdout + again.stderr

        # No log holds an address, a code or a tag.
        for name in ("portal", "retailer", "media"):
            said = made.said(name).lower()
            for word in ("ann@", "gold", "platinum"):
                assert word not in said, name
