"""The party's pages: who gets in, what they show of real jobs, and the verify button."""

from __future__ import annotations

import asyncio
import json
import re
import stat
import string
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

import party_node.console
from consent.audit_report import Report
from consent.findings import Finding
from consent.purposes import REASONS
from consent.witness import Evidence
from party_node.console import words
from party_node.console.app import Console, create
from party_node.console.desk import ConsoleDesk
from party_node.console.door import IDLE_SECONDS, LINK_FILE, Door
from party_node.console.verifying import BUNDLE, KEPT, Verification, Verifier
from protocol.errors import Failed, Refused
from tests.test_jobs import companies, crosstab_job
from tests.world import World

PORT = 8791
HOME = f"http://127.0.0.1:{PORT}"


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def console_of(world, name="media", clock=None):
    """The pages of one node of the world."""
    ctx, witness = world.nodes[name].ctx, world.stand.witnesses[name]
    signers = {party: card.signing_key for party, card in ctx.cards.items()}
    console = Console(
        ConsoleDesk(name, ctx.gate, ctx.job_log, ctx.records, witness, ctx.now),
        Verifier(world.stand.port(name).bundle, world.stand.trust, signers, ctx.folder, ctx.now),
        Door(ctx.folder, clock or Clock()),
        0,
    )
    console.door.open(PORT)
    return console


def browser(console, language="en", host=HOME):
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(create(console)), base_url=host,
        headers={"accept-language": language}, follow_redirects=True,
    )  # fmt: skip


def token(html):
    return re.search(r'name="csrf" value="([^"]+)"', html)[1]


async def settled(world, entries=4):
    """Every statement about the jobs so far is in the log."""
    await world.until(lambda: all(len(n.ctx.job_log.statements()) * 2 >= entries
                                  and not n.ctx.job_log.waiting()
                                  for n in world.nodes.values()))  # fmt: skip


# -- the door ----------------------------------------------------------------------------------


async def test_a_link_opens_once_and_for_its_holder_only(tmp_path):
    async with World(tmp_path, companies(51)) as world:
        clock = Clock()
        console = console_of(world, clock=clock)
        file = world.folder / "media" / LINK_FILE
        link = file.read_text().strip()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert link == console.door.link
        async with browser(console) as stranger, browser(console) as owner:
            for path in ("/", "/jobs", "/releases", "/verify", "/audit.bundle"):
                assert (await stranger.get(path)).status_code == 403
            for guess in ("", "x", "é", "\ud800".encode("utf-8", "surrogatepass")):
                assert (await stranger.get("/enter", params={"token": guess})).status_code == 403
            page = await owner.get(link)
            assert (page.status_code, page.url.path) == (200, "/")
            cookie = page.history[0].headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=strict" in cookie
            assert (await stranger.get(link)).status_code == 403
            assert (await owner.get(link)).status_code == 200  # reloading does no harm
            assert file.read_text().strip() == console.door.link != link
            clock.now += IDLE_SECONDS + 1
            assert (await owner.get("/jobs")).status_code == 403
            page = await owner.get(console.door.link)
            left = await owner.post("/leave", data={"csrf": token(page.text)})
            assert "session is closed" in left.text
            assert (await owner.get("/")).status_code == 403


async def test_other_sites_and_other_names_get_nothing(tmp_path):
    async with World(tmp_path, companies(52)) as world:
        console = console_of(world)
        async with browser(console) as owner:
            page = await owner.get(console.door.link)
            csrf = token(page.text)
            for bad in ({}, {"csrf": ""}, {"csrf": "x"}, {"csrf": "é"}, {"csrf": csrf * 200}):
                assert (await owner.post("/verify", data=bad)).status_code in (403, 413)
            sent = await owner.post(
                "/verify", data={"csrf": csrf}, headers={"origin": "http://evil.test"}
            )
            assert sent.status_code == 403
            assert console.verifier.last is None
            for host in ("evil.test", f"evil.test:{PORT}", "127.0.0.1", f"127.0.0.1:{PORT + 1}"):
                answer = await owner.get("/", headers={"host": host})
                assert (answer.status_code, "retailer" in answer.text) == (421, False)
            assert (await owner.get("/nothing")).status_code == 404
            assert (await owner.put("/jobs")).status_code == 404
            away = await owner.get("/language/en?to=//evil.test/")
            assert str(away.url) == HOME + "/"
            for address in (
                "/language/fr",
                "/jobs?page=-1",
                "/jobs?page=99999999999",
                "/jobs?page=²",
            ):
                assert (await owner.get(address)).status_code in (200, 404)
            policy = page.headers["content-security-policy"]
            assert "default-src 'none'" in policy
            assert "script-src" not in policy
            assert page.headers["cache-control"] == "no-store"
            cookie = next(iter(owner.cookies.jar))
            assert cookie.name == f"console_{PORT}"


# -- the pages ---------------------------------------------------------------------------------


async def test_the_registers_show_what_was_stated_and_what_left(tmp_path):
    tables = companies(53)
    async with World(tmp_path, tables) as world:
        console = console_of(world, "shop")
        async with browser(console) as owner:
            await owner.get(console.door.link)
            assert "No job has asked" in (await owner.get("/jobs")).text
            assert "Nothing has been released" in (await owner.get("/releases")).text
            outcome = await world.run(**crosstab_job())
            await settled(world)
            page = (await owner.get("/jobs")).text
            for words_ in ("tiers", "Understanding groups of customers", "Released", "purchases",
                           outcome.job_id, "entry 0 of the job log"):  # fmt: skip
                assert words_ in page, words_
            own = outcome.own["shop"]["consent"]
            assert f"{own['eligible']} of {own['rows']} rows permitted" in page
            released = (await owner.get("/releases")).text
            (row,) = console.desk.releases()
            assert row.closed["output"][:16] in released
            assert f">{outcome.result['overlap']['count']}<" in released
        other = console_of(world, "media")
        async with browser(other, "zh-CN") as owner:
            await owner.get(other.door.link)
            page = (await owner.get("/releases")).text
            assert "本方不知" in page
            assert "由接收方保存" in page


async def test_a_refusal_is_in_the_register_and_not_among_the_releases(tmp_path):
    tables = companies(54)
    tables["media"].config["policy"] |= {"purposes": ["activation"]}
    async with World(tmp_path, tables) as world:
        await world.run(**crosstab_job())
        await world.until(lambda: world.nodes["media"].ctx.job_log.statements())
        console = console_of(world)
        async with browser(console) as owner:
            await owner.get(console.door.link)
            page = (await owner.get("/jobs")).text
            assert "Refused" in page
            assert "purpose_not_allowed" in page
            assert "Nothing has been released" in (await owner.get("/releases")).text


async def test_log_status_says_whether_jobs_are_decided(tmp_path, monkeypatch):
    async with World(tmp_path, companies(55)) as world:
        await world.run(**crosstab_job())
        await settled(world)
        console = console_of(world)
        async with browser(console) as owner:
            page = (await owner.get(console.door.link)).text
            assert "A quorum of witnesses saw the consent log" in page
            assert "Every statement about a job is in the log" in page
            assert page.index("media&#39;s consents (own)") < page.index("shop&#39;s consents")
            for origin in world.stand.ledger.origins:
                assert origin in page
            gate = world.nodes["media"].ctx.gate

            def stale(now):
                raise Refused("consent_stale", "old")

            monkeypatch.setattr(gate, "require_fresh", stale)
            state = gate.log_state() | {"evidence": 1}
            monkeypatch.setattr(gate, "log_state", lambda: state)
            two = [Evidence("x", "two stories", "a", "b")]
            monkeypatch.setattr(world.stand.witnesses["media"], "evidence", lambda: two)
            page = (await owner.get("/")).text
            assert "consent_stale" in page
            assert "no quorum has seen the log within the window" in page
            assert "2 pairs of notes" in page


async def test_many_jobs_come_in_pages(tmp_path):
    async with World(tmp_path, companies(56)) as world:
        console = console_of(world)
        said = {"attempt": 1, "code": "budget_exhausted", "purpose": "activation",
                "requester": "shop", "time": 1000, "type": "job.refused"}  # fmt: skip
        told = [({**said, "job": f"{n:032x}"}, None) for n in range(60)]
        object.__setattr__(
            console.desk, "_job_log", type("L", (), {"statements": lambda _: told})()
        )
        async with browser(console) as owner:
            await owner.get(console.door.link)
            first, last = await owner.get("/jobs"), await owner.get("/jobs?page=7")
            assert first.text.count("<details>") == 25
            assert f"{59:032x}" in first.text
            assert "Page 1 of 3" in first.text
            assert last.text.count("<details>") == 10
            assert f"{0:032x}" in last.text
            assert "waits for the consent service" in last.text


# -- verify ------------------------------------------------------------------------------------


async def verified(console, owner):
    page = await owner.get("/verify")
    await owner.post("/verify", data={"csrf": token(page.text)})
    async with asyncio.timeout(30):
        while console.verifier.last is None or console.verifier.last.running:
            await asyncio.sleep(0.02)
    return (await owner.get("/verify")).text


async def test_the_button_audits_the_own_bundle_and_a_flipped_byte_is_named(tmp_path):
    async with World(tmp_path, companies(57)) as world:
        await world.run(**crosstab_job())
        await settled(world)
        console = console_of(world)
        async with browser(console) as owner:
            await owner.get(console.door.link)
            page = await verified(console, owner)
            assert "Verified: nothing was changed" in page
            assert "2 entries of other companies" in page
            folder = world.folder / "media"
            assert stat.S_IMODE((folder / BUNDLE).stat().st_mode) == 0o600
            assert len(list((folder / KEPT).iterdir())) == 2
            bundle = (await owner.get("/audit.bundle")).content
            assert bundle == (folder / BUNDLE).read_bytes()
            assert json.loads(bundle.splitlines()[0]) == {"assent_bundle": 1}

            real = console.verifier._bundle

            async def bent():
                async for line in real():
                    yield line.replace(b'\\"state\\":\\"given', b'\\"state\\":\\"giveN', 1)

            console.verifier._bundle = bent
            page = await verified(console, owner)
            assert "NOT verified" in page
            assert "bad_opening" in page


async def test_an_audit_that_cannot_be_made_says_why_and_can_be_tried_again(tmp_path):
    async with World(tmp_path, companies(58)) as world:
        console = console_of(world)
        real = console.verifier._bundle

        async def away():
            raise Failed("unavailable", "the consent service is away")
            yield b""

        async def broken():
            raise ZeroDivisionError
            yield b""

        async with browser(console) as owner:
            await owner.get(console.door.link)
            for source, why in ((away, "does not answer"), (broken, "met an error")):
                console.verifier._bundle = source
                page = await verified(console, owner)
                assert "could not be made" in page
                assert why in page
            console.verifier._bundle = real
            assert "Verified: nothing" in await verified(console, owner)


async def test_every_verdict_has_its_page_in_both_languages(tmp_path):
    async with World(tmp_path, companies(59)) as world:
        console = console_of(world)
        broken = Finding("bad_opening", "x", {"index": 3, "cause": "<b>it</b>"})
        missing = Finding("no_checkpoint", "x")
        for findings, english, chinese in (
            ((), "Verified:", "验证通过"),
            ((broken,), "NOT verified", "验证不通过"),
            ((missing,), "Incomplete", "证据不完整"),
        ):
            console.verifier.last = Verification(1.0, False, Report(findings, ()))
            async with browser(console) as owner:
                await owner.get(console.door.link)
                page = (await owner.get("/verify")).text
                assert english in page
                assert "<b>it</b>" not in page
                await owner.get("/language/zh-CN?to=/verify")
                assert chinese in (await owner.get("/verify")).text
        console.verifier.last = replace(console.verifier.last, running=True)
        async with browser(console) as owner:
            await owner.get(console.door.link)
            assert 'http-equiv="refresh"' in (await owner.get("/verify")).text


# -- words -------------------------------------------------------------------------------------


def names(text):
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_both_languages_say_the_same_and_nothing_that_no_page_uses():
    chinese, english = words.CATALOGUES["zh-CN"], words.CATALOGUES["en"]
    assert chinese.keys() == english.keys()
    folder = Path(party_node.console.__file__).parent
    sources = "\n".join(
        path.read_text("utf-8")
        for path in [*folder.glob("*.py"), *folder.glob("pages/*")]
        if path.name != "words.py"
    )
    assert {f"reason_{one}" for one in REASONS} <= english.keys()
    made = ("tab_", "code_", "reason_", "outcome_", "entry_", "noise_")
    for key, text in english.items():
        assert names(text) == names(chinese[key]), key
        assert chinese[key] != text or key == "brand", key
        assert key.startswith(made) or f'"{key}"' in sources or f"'{key}'" in sources, key


@pytest.mark.parametrize(("nano", "said"), [(0, "0"), (20_000_000, "0.02"), (3 * 10**9, "3"),
                                            (1, "0.000000001")])  # fmt: skip
def test_rho_is_exact(nano, said):
    assert words.rho(nano) == said
