"""The gates of a whole job: policy, consent, budget, keys; each refuses by itself.

Protects docs/DISCLOSURE.md and docs/ATTACKS.md where they say "refused".  Every test here is
also what catches a gate that somebody takes out (tests/mutations).
"""

import asyncio
import json

import pytest

from party_node import handlers, steps_terms
from tests.test_jobs import assert_equal, companies, crosstab_job, expected
from tests.world import World

COUNTS = {"measures": ["count"]}


def members_job():
    match = {"on": ["phone", "email"], "reveal": "members"}
    return {
        "job": "common", "purpose": "overlap_measurement", "protocol": "psi",
        "requester": "shop", "with": ["media"], "match": match,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("policy", "job", "code"),
    [
        ({"purposes": ["activation"]}, crosstab_job(), "purpose_not_allowed"),
        ({"requesters": ["bank"]}, crosstab_job(), "requester_not_allowed"),
        ({"noise": "required"}, crosstab_job(), "noise_required"),
        ({"reveal": "hidden"}, members_job(), "reveal_not_allowed"),
        ({"reveal": "members"}, members_job() | {"purpose": "audience_insight"},
         "reveal_not_allowed"),
    ],
)  # fmt: skip
async def test_a_policy_refuses(tmp_path, policy, job, code):
    tables = companies(31)
    if policy == {"reveal": "members"}:
        tables["shop"].config["policy"] |= policy
    tables["media"].config["policy"] = tables["media"].config["policy"] | policy
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job)
    assert (outcome.state, outcome.code) == ("refused", code)
    assert outcome.result is None


async def test_only_people_who_permit_are_counted(tmp_path):
    tables = companies(32)
    said = {}
    for number, row in enumerate(tables["shop"].rows):
        said[row[0]] = ["given", "refused", "given", "withdrawn", "requested"][number % 5]
    del said[""]
    scope = ["audience_insight", "media", "purchases"]
    tables["shop"].consents = [
        ["email", "purpose", "recipient", "category", "status"],
        *([email, *scope, status] for email, status in said.items()),
    ]
    permitted = [said.get(row[0]) == "given" for row in tables["shop"].rows]
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**crosstab_job())
    everybody = [True] * len(tables["media"].rows)
    assert_equal(outcome, *expected(tables, (permitted, everybody)))
    assert outcome.own["shop"]["consent"]["eligible"] == sum(permitted)


async def test_a_months_budget_is_spent_once(tmp_path):
    async with World(tmp_path, companies(33)) as world:
        first = await world.run(**crosstab_job(privacy={"rho": 0.3}, **COUNTS))
        again = await world.run(**crosstab_job(privacy={"rho": 0.3}, **COUNTS))
        over = await world.run(**crosstab_job(privacy={"rho": 0.25}, **COUNTS))
        rest = await world.run(**crosstab_job(privacy={"rho": 0.2}, **COUNTS))
        none = await world.run(**crosstab_job(privacy={"rho": 0.001}, **COUNTS))
    assert [first.state, again.state, rest.state] == ["released"] * 3
    # The same question of the same data: the stored answer, not a second draw of noise.
    assert again.result["cells"] == first.result["cells"]
    assert (over.code, none.code) == ("budget_exhausted", "budget_exhausted")
    assert "0.3 rho used in 31 days + 0.25 rho asked > 0.5 rho" in over.error["cause"]


async def test_exact_answers_a_person_apart_are_refused(tmp_path):
    tables = companies(34, policy={"min_cohort": 5})
    async with World(tmp_path, tables) as world:
        first = await world.run(**crosstab_job())
        person = next(row[1] for row in tables["media"].rows[5:] if row[1])
        await world.gates["media"].withdraw("phone", person)
        second = await world.run(**crosstab_job())
    assert first.state == "released", first.error
    assert (second.state, second.code) == ("refused", "exact_difference")


async def test_a_key_without_its_proof_is_not_used(tmp_path, monkeypatch):
    def unproven(key, context):
        return [(2).to_bytes(key.public.plaintext_width, "little")] * 7

    monkeypatch.setattr(steps_terms.proof, "prove", unproven)
    async with World(tmp_path, companies(35)) as world:
        outcome = await world.run(**crosstab_job())
    assert (outcome.state, outcome.code) == ("failed", "bad_key")
    assert outcome.error["party"] == "media"


@pytest.mark.parametrize("party", ["shop", "media"])
async def test_who_withdraws_during_a_job_is_left_out(tmp_path, monkeypatch, party):
    """At the requester everything starts anew; the provider leaves the row out of its sums."""
    tables = companies(36)
    people = tables[party].rows
    number = next(i for i, row in enumerate(people) if i > 5 and row[1] and alone(tables, party, i))
    stay = {name: [True] * len(company.rows) for name, company in tables.items()}
    stay[party][number] = False
    done = []

    async with World(tmp_path, tables) as world:
        loop, encrypt = asyncio.get_running_loop(), handlers.STEPS["encrypt"]

        def withdrawing(session, task):
            if not done:
                leaving = world.gates[party].withdraw("phone", people[number][1])
                done.append(asyncio.run_coroutine_threadsafe(leaving, loop).result(10))
            return encrypt(session, task)

        for node in world.nodes.values():
            node.runner._handlers["encrypt"] = handlers._bound(node.ctx, withdrawing)
        outcome = await world.run(**crosstab_job())
    assert done[0].rows == 1
    assert_equal(outcome, *expected(tables, (stay["shop"], stay["media"])))
    assert outcome.result["privacy"]["attempts"] == (2 if party == "shop" else 1)


def alone(tables, party, number):
    """A person whose withdrawal changes the answer: it has a pair, and its phone is its own."""
    stay = {name: [True] * len(company.rows) for name, company in tables.items()}
    before = expected(tables, (stay["shop"], stay["media"]))[0]
    stay[party][number] = False
    phone = tables[party].rows[number][1]
    own = sum(row[1] == phone for row in tables[party].rows) == 1
    return own and expected(tables, (stay["shop"], stay["media"]))[0] < before


async def test_an_answer_that_took_longer_than_the_window_is_not_opened(tmp_path):
    async with World(tmp_path, companies(37)) as world:
        object.__setattr__(world.nodes["shop"].ctx, "freshness", 0.0)
        outcome = await world.run(**crosstab_job())
    assert (outcome.state, outcome.code) == ("failed", "consent_stale")
    assert outcome.result is None


async def test_a_plan_admits_nothing(tmp_path):
    async with World(tmp_path, companies(38)) as world:
        outcome = await world.run(dry_run=True, **crosstab_job(privacy={"rho": 0.5}))
        assert outcome.state == "released"
        assert json.dumps(outcome.result)  # a plan: sizes and sentences
        assert "cells" not in outcome.result
        after = await world.run(**crosstab_job(privacy={"rho": 0.5}))
        assert after.state == "released"
