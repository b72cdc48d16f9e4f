"""The pages over a ledger and nodes in memory: what they do, and what they refuse."""

from __future__ import annotations

import asyncio
import csv
import io
from dataclasses import replace

import httpx
import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from consent.cells import safe_cell
from consent.purposes import CATEGORIES, Flag, State
from tests.consent import made as records
from tests.consent.portal.fakes import BO, ROW, Made, make, subject_of, told


async def _switched_on(browser: httpx.AsyncClient) -> int:
    return (await browser.get("/permissions")).text.count('aria-checked="true"')


# -- consent ---------------------------------------------------------------------------------


def test_everything_is_off_until_it_is_turned_on_and_off_again() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        assert await _switched_on(browser) == 0
        form = {"csrf": csrf, **ROW}
        answer = await browser.post("/permissions/set", data=form | {"action": "give"})
        assert answer.status_code == 303
        assert await _switched_on(browser) == 1
        party, batch = made.ledger.appended[-1]
        assert party == "retailer"
        assert batch.scopes[0].recipients == ("media",)
        assert batch.scopes[0].categories == ("demographics", "purchases")
        assert batch.terms[0].default_off is True
        assert batch.terms[0].notice is not None
        assert batch.terms[0].notice.language == "en"
        made.clock[0] += 1
        await browser.post("/permissions/set", data=form | {"action": "withdraw"})
        assert await _switched_on(browser) == 0
        _, batch = made.ledger.appended[-1]
        assert batch.states.tolist() == [State.WITHDRAWN]
        assert batch.scopes[0].categories == tuple(sorted(CATEGORIES))
        assert batch.revisions.tolist() == [2]

    told(story)


def test_withdraw_all_reaches_every_party_and_every_recipient() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        for party, recipient in (("retailer", "media"), ("media", "retailer")):
            form = {"csrf": csrf, "party": party, "recipient": recipient, "action": "give"}
            await browser.post("/permissions/set", data=form | {"purpose": "activation"})
        assert await _switched_on(browser) == 2
        await browser.post("/permissions/withdraw-all", data={"csrf": csrf})
        page = (await browser.get("/permissions")).text
        assert page.count('aria-checked="true"') == 0
        assert "Everything is withdrawn and recorded at: retailer, media." in page
        assert {party for party, _ in made.ledger.appended[-2:]} == {"retailer", "media"}
        assert all(batch.scopes[0].recipients == ("*",) for _, batch in made.ledger.appended[-2:])

    told(story)


def test_a_withdrawal_that_was_not_recorded_is_not_called_one() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        made.ledger.silent = True
        await browser.post("/permissions/withdraw-all", data={"csrf": csrf})
        page = (await browser.get("/permissions")).text
        assert "No confirmation came from: retailer, media" in page
        assert "Everything is withdrawn" not in page
        # What is not known is not called "nothing", and withdrawing stays as near as ever.
        for wrong in ("0 of 0 on", "on now: 0", "nothing for you to decide"):
            assert wrong not in page
        assert "Withdraw all at retailer" in page
        form = {"csrf": csrf, **ROW, "action": "withdraw"}
        answer = await browser.post("/permissions/set", data=form)
        assert answer.status_code == 503
        assert "whether it was recorded" in answer.text

    told(story)


def test_without_a_quorum_the_person_hears_that_the_proof_follows() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        made.ledger.pending = True
        await browser.post("/permissions/set", data={"csrf": csrf, **ROW, "action": "withdraw"})
        assert "independent confirmation follows" in (await browser.get("/permissions")).text

    told(story)


def test_withdrawing_works_while_the_partys_node_is_silent() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        made.nodes.silent = {"retailer", "media"}
        await browser.post("/permissions/withdraw-all", data={"csrf": csrf})
        assert len(made.ledger.appended) == 2

    told(story)


def test_an_objection_holds_until_the_person_allows_something() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        form = {"csrf": csrf, **ROW}
        await browser.post("/permissions/set", data=form | {"action": "give"})
        objecting = {"csrf": csrf, "party": "retailer", "right": "object", "tag": "", "words": ""}
        await browser.post("/rights/file", data=objecting)
        assert made.ledger.appended[-1][1].flags.tolist() == [Flag.OBJECTED]
        page = (await browser.get("/permissions")).text
        assert page.count('aria-checked="true"') == 0
        assert "you object to this use" in page
        await browser.post("/permissions/set", data=form | {"action": "give"})
        assert await _switched_on(browser) == 1

    told(story)


def test_a_request_without_its_tag_says_so_and_keeps_what_was_written() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        form = {"csrf": csrf, "party": "media", "right": "hide", "tag": " ", "words": "to my boss"}
        answer = await browser.post("/rights/file", data=form)
        assert answer.status_code == 422
        assert 'aria-invalid="true"' in answer.text
        assert ">to my boss</textarea>" in answer.text
        assert "<option selected>media" in answer.text
        assert 'value="hide" required checked' in answer.text
        assert made.nodes.tickets == {}

    told(story)


def test_what_a_company_says_was_allowed_names_its_source_and_a_rare_value_its_word() -> None:
    made = make()
    subject = np.frombuffer(subject_of("retailer", BO), np.uint8).reshape(1, 32)
    said = replace(records.batch(["x"], "given", records.scope("media")), subjects=subject)
    asyncio.run(made.ledger.append_for("retailer", said))
    (tag,) = made.nodes.people["retailer", BO]
    made.nodes.people["retailer", BO] = [replace(tag, value="other")]

    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        page = (await browser.get("/permissions")).text
        assert page.count("<span>from the company&#39;s records</span>") == 1
        await browser.post("/permissions/set", data={"csrf": csrf, **ROW, "action": "give"})
        assert "company&#39;s records" not in (await browser.get("/permissions")).text
        assert "something else" in (await browser.get("/data")).text

    told(story, made, BO)


def test_a_session_that_ended_is_said_where_one_signs_in_again() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        made.clock[0] += 3601
        form = {"csrf": csrf, **ROW, "action": "give"}
        answer = await browser.post("/permissions/set", data=form)
        assert answer.headers["location"] == "/sign-in"
        assert "Your session has ended." in (await browser.get("/sign-in")).text
        assert "Your session has ended." not in (await browser.get("/sign-in")).text
        assert made.ledger.appended == []

    told(story)


def test_the_receipt_is_ones_own_only() -> None:
    made = make()

    async def bo(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        await browser.post("/permissions/set", data={"csrf": csrf, **ROW, "action": "give"})
        receipt = await browser.get("/history/receipt/retailer/0")
        assert receipt.status_code == 200
        assert "attachment" in receipt.headers["content-disposition"]
        answer = await browser.post("/verify", data={"csrf": csrf, "receipt": receipt.text})
        assert "This receipt is genuine" in answer.text
        changed = receipt.text.replace("audience", "audiencf")
        answer = await browser.post("/verify", data={"csrf": csrf, "receipt": changed})
        assert answer.status_code == 422

    async def anna(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        for place in ("retailer/0", "retailer/99", "nobody/0", "bank/0"):
            assert (await browser.get(f"/history/receipt/{place}")).status_code == 404

    told(bo, made, BO)
    told(anna, made)


def test_erasing_takes_everything_back_first_and_needs_a_yes() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        await browser.post("/permissions/set", data={"csrf": csrf, **ROW, "action": "give"})
        form = {"csrf": csrf, "party": "retailer"}
        assert (await browser.post("/rights/erase", data=form)).status_code == 400
        assert made.ledger.erased == []
        await browser.post("/rights/erase", data=form | {"sure": "yes"})
        assert made.ledger.appended[-1][1].states.tolist() == [State.WITHDRAWN]
        assert len(made.ledger.erased) == 1
        assert "There are no entries about you at retailer" in (await browser.get("/history")).text
        assert "Erase" in (await browser.get("/rights")).text

    told(story)


def test_who_is_no_customer_any_more_sees_what_was_decided_and_can_take_it_back() -> None:
    made = make()
    made.nodes.absent = {"media", "bank"}
    subject = np.frombuffer(subject_of("media", BO), np.uint8).reshape(1, 32)
    said = replace(records.batch(["x"], "given", records.scope("retailer")), subjects=subject)
    asyncio.run(made.ledger.append_for("media", said))

    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        page = (await browser.get("/permissions")).text
        assert "media has no record of you in its table any more" in page
        assert 'aria-checked="true"' in page
        assert "Does not know this address: bank." in page  # nothing is kept there either
        assert "media has no record of you" in (await browser.get("/data")).text
        assert "/history/receipt/media/0" in (await browser.get("/history")).text
        await browser.post("/permissions/withdraw-all", data={"csrf": csrf, "party": ""})
        assert 'aria-checked="true"' not in (await browser.get("/permissions")).text
        await browser.post("/rights/erase", data={"csrf": csrf, "party": "media", "sure": "yes"})
        assert ("media", subject.tobytes()) in made.ledger.erased
        assert "Erase" in (await browser.get("/rights")).text

    told(story, made, BO)


def test_a_shared_address_shows_no_tags() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        page = (await browser.get("/data")).text
        assert "Several customers of retailer share this address" in page
        assert "1204.50" not in page

    made = make()
    made.nodes.shared = {"retailer"}
    told(story, made)


def test_a_silent_party_is_said_not_left_out() -> None:
    made = make()
    made.nodes.silent = {"media"}

    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        assert "media does not answer right now" in (await browser.get("/permissions")).text
        told = (await browser.get("/rights/access.json")).json()
        assert told["parties_that_did_not_answer"] == ["media"]
        made.nodes.silent = set()
        assert ">media</h2>" in (await browser.get("/permissions?again=1")).text

    told(story, made)


# -- formula injection -------------------------------------------------------------------------


@given(st.text(max_size=30))
def test_no_cell_begins_like_a_formula(text: str) -> None:
    cell = safe_cell(text)
    assert not cell.lstrip(" ").startswith(tuple("=+-@\t\r\n＝＋－＠"))
    assert cell in (text, "'" + text)


def test_the_access_table_runs_nothing_in_a_spreadsheet() -> None:
    async def story(made: Made, browser: httpx.AsyncClient, csrf: str) -> None:
        answer = await browser.get("/rights/access.csv")
        cells = [cell for row in csv.reader(io.StringIO(answer.text)) for cell in row]
        assert "'=cmd|' /C calc'!A0" in cells
        assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r\n")]

    told(story)
