"""Each gate that says no ends the job well: consent, approval, budget, policy, freshness.

Whole cross-tabs in the in-memory world (protocols.md sections 5 and 6): the right code and
party, the cause in words at the analyst, nothing released, unspent budget given back.
"""

from __future__ import annotations

import pytest

from consent.leaf import JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED
from protocol.errors import Refused
from tests.faulty_world import BEGIN, KILL_NODE, FaultyWorld, remaining
from tests.reference import job_oracle
from tests.test_job_log import all_said, entries
from tests.test_jobs import (
    BOUNDS,
    INTERESTS,
    TIERS,
    assert_equal,
    companies,
    crosstab_job,
    expected,
    rows_of,
)

NOISY = {"privacy": {"noise": "on", "rho": 0.02}}
COST = 20_000_000  # of NOISY, in 1e-9 rho


def everybody(tables):
    return [True] * len(tables["shop"].rows), [True] * len(tables["media"].rows)


def matched(tables):
    left, right = rows_of(tables["shop"]), rows_of(tables["media"])
    return job_oracle.pairs(left, right, ["phone", "email"], *everybody(tables))


def person(tables, party, row):
    """An identifier (type, value) that is this row's alone."""
    rows = rows_of(tables[party])
    found = job_oracle.usable(rows, ["email", "phone"])[row]
    return next(iter(found.items()))


def table_of(tables, pairs):
    left, right = rows_of(tables["shop"]), rows_of(tables["media"])
    cells = job_oracle.crosstab(
        pairs, left, right, ("tier", TIERS), ("interest", INTERESTS), {"minutes": (BOUNDS, 1)}
    )
    return len(pairs), cells


def at(step, do):
    """Calls do(moment) at the beginning of `step`, once per attempt."""
    done = set()

    def on(moment):
        if (moment.name, moment.step) == (BEGIN, step) and moment.attempt not in done:
            done.add(moment.attempt)
            return do(moment)
        return None

    return on


# -- consent that ends in the middle -----------------------------------------------------


@pytest.mark.parametrize("mode", ["keyed", "ecdh"])
async def test_a_withdrawal_at_the_provider_between_match_and_aggregation(tmp_path, mode):
    """Its row is left out of the sums; the pairing of the others stays as it was."""
    tables = companies(21)
    pairs = matched(tables)
    gone = {pairs[0][1], pairs[-1][1]}

    def withdraw(moment):
        for row in gone:
            world.withdraw("media", *person(tables, "media", row))

    async with FaultyWorld(tmp_path, tables, on=at("aggregate/media", withdraw)) as world:
        outcome = await world.run(**crosstab_job(match={"on": ["phone", "email"], "mode": mode}))
        await world.assert_over(outcome)
    assert outcome.result["privacy"]["attempts"] == 1
    assert outcome.own["media"]["withdrawn_during_job"] == len(gone)
    assert_equal(outcome, *table_of(tables, [(i, j) for i, j in pairs if j not in gone]))


@pytest.mark.parametrize("step", ["tokens/shop", "encrypt", "recheck"])
async def test_a_withdrawal_at_the_requester_before_layout(tmp_path, step):
    """A layout is never patched: everything anew, without that person."""
    tables = companies(22)
    gone = matched(tables)[0][0]

    def withdraw(moment):
        if moment.attempt == 1:
            world.withdraw("shop", *person(tables, "shop", gone))

    async with FaultyWorld(tmp_path, tables, on=at(step, withdraw)) as world:
        outcome = await world.run(**crosstab_job())
        await world.assert_over(outcome)
    assert outcome.result["privacy"]["attempts"] == 2
    left_in, right_in = everybody(tables)
    left_in[gone] = False
    assert_equal(outcome, *expected(tables, (left_in, right_in)))


async def test_a_new_attempt_pays_once(tmp_path):
    """Nothing left in the first attempt: its reservation does not stand in the second's way."""
    tables = companies(23, policy={"rho_per_month": 0.03})
    gone = matched(tables)[0][0]

    def withdraw(moment):
        if moment.attempt == 1:
            world.withdraw("shop", *person(tables, "shop", gone))

    async with FaultyWorld(tmp_path, tables, on=at("recheck", withdraw)) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        assert outcome.state == "released", outcome.error
        assert outcome.result["privacy"]["attempts"] == 2
        await world.assert_over(outcome)
        world.assert_spent(outcome.job_id, COST)


async def test_consent_that_changes_at_every_attempt(tmp_path):
    tables = companies(24)
    pairs = matched(tables)

    def withdraw(moment):
        world.withdraw("shop", *person(tables, "shop", pairs[moment.attempt][0]))

    async with FaultyWorld(tmp_path, tables, on=at("recheck", withdraw)) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "consent_changed", "3 attempts")
        assert "again" in outcome.error["next_step"]
        assert remaining(world, "media", "shop", "audience_insight") == 500_000_000


async def test_a_late_withdrawal_at_the_requester_acts_on_the_next_run(tmp_path):
    tables = companies(25)
    gone = matched(tables)[0][0]
    late = []

    def withdraw(moment):
        if not late:
            late.append(moment.step)
            world.withdraw("shop", *person(tables, "shop", gone))

    async with FaultyWorld(tmp_path, tables, on=at("aggregate/media", withdraw)) as world:
        first = await world.run(**crosstab_job())
        again = await world.run(**crosstab_job())
    assert_equal(first, *expected(tables))
    left_in, right_in = everybody(tables)
    left_in[gone] = False
    assert_equal(again, *expected(tables, (left_in, right_in)))


# -- a replica that is too old -----------------------------------------------------------


@pytest.mark.parametrize(
    ("party", "step"),
    [("shop", "offer/shop"), ("media", "offer/media"), ("media", "admit/media"),
     ("shop", "recheck"), ("media", "aggregate/media")],
)  # fmt: skip
async def test_a_stale_consent_replica(tmp_path, party, step):
    def age(moment):
        world.skews[party] = 400.0

    async with FaultyWorld(tmp_path, companies(26), on=at(step, age)) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "refused", "consent_stale", "consent", party=party)
        await all_said(world)
        told = [(kind, said["code"]) for p, kind, said in entries(world)
                if p == party and kind != JOB_ADMITTED]  # fmt: skip
        before = step.startswith(("offer", "admit"))
        assert told == [(JOB_REFUSED if before else JOB_CLOSED, "consent_stale")]


async def test_too_long_between_the_last_look_at_consent_and_release(tmp_path):
    def age(moment):
        world.skews["shop"] = 400.0

    async with FaultyWorld(tmp_path, companies(26), on=at("open", age)) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(
            outcome, "failed", "consent_stale", "window is 300 s", party="shop", spent=COST
        )


# -- approval ----------------------------------------------------------------------------


def manual(seed):
    tables = companies(seed)
    tables["media"].config["approval"] = "manual"
    return tables


async def waiting(world, job):
    async def says_so():
        view = await world.desks["shop"].watch(job, 0, 0.0)
        return view.state == "waiting for approval"

    await world.until(says_so, 10.0)


async def test_a_refused_approval(tmp_path):
    async with FaultyWorld(tmp_path, manual(27)) as world:
        job = await world.submit(**crosstab_job(**NOISY))
        await waiting(world, job)
        world.desks["media"].approve(job, False, "not before the contract is signed")
        outcome = await world.outcome("shop", job)
        await world.assert_ended(
            outcome, "refused", "approval_refused", "not before the contract is signed",
            party="media",
        )  # fmt: skip


async def test_a_pending_approval_that_is_given(tmp_path):
    tables = manual(28)
    async with FaultyWorld(tmp_path, tables) as world:
        job = await world.submit(**crosstab_job())
        await waiting(world, job)
        (listed,) = world.desks["media"].jobs()
        assert listed["state"] == "waiting for approval"
        assert "shop/tier, media/interest" in listed["sentence"]
        assert not (tmp_path / "coordinator" / "artifacts" / job / "tokens").exists()
        world.desks["media"].approve(job, True, "")
        outcome = await world.outcome("shop", job)
        await world.assert_over(outcome)
    assert_equal(outcome, *expected(tables))


async def test_an_approval_outlives_the_processes(tmp_path):
    tables = manual(29)
    async with FaultyWorld(tmp_path, tables) as world:
        job = await world.submit(**crosstab_job())
        await waiting(world, job)
        await world.kill_node("media")
        await world.kill_coordinator()
        await waiting(world, job)
        world.desks["media"].approve(job, True, "")
        await world.kill_node("media")
        outcome = await world.outcome("shop", job)
        await world.assert_over(outcome)
    assert_equal(outcome, *expected(tables))


async def test_an_approval_is_for_one_job(tmp_path):
    async with FaultyWorld(tmp_path, manual(30)) as world:
        first = await world.submit(**crosstab_job())
        await waiting(world, first)
        world.desks["media"].approve(first, True, "")
        assert (await world.outcome("shop", first)).state == "released"
        second = await world.submit(**crosstab_job(measures=["count"]))
        await waiting(world, second)
        world.desks["media"].approve(second, False, "")
        assert (await world.outcome("shop", second)).code == "approval_refused"


# -- budget ------------------------------------------------------------------------------


async def test_an_exhausted_budget(tmp_path):
    """Two questions fit, the third is refused with the arithmetic; its reservation is none."""
    tables = companies(31, 40, 45, policy={"rho_per_month": 0.05})
    async with FaultyWorld(tmp_path, tables) as world:
        for measures in (["count"], ["count", {"sum": "media/minutes"}]):
            spent = await world.run(**crosstab_job(measures=measures, **NOISY))
            assert spent.state == "released"
            await world.assert_over(spent)
            world.assert_spent(spent.job_id, COST)
        third = crosstab_job(measures=["count"], columns=[], rows=[], protocol="psi", **NOISY)
        outcome = await world.run(**third)
        await world.assert_ended(
            outcome, "refused", "budget_exhausted", "0.04 rho used", "0.02 rho asked",
            "0.05 rho allowed", party="media",
        )  # fmt: skip
        assert remaining(world, "media", "shop", "audience_insight") == 10_000_000
        small = await world.run(**(third | {"privacy": {"noise": "on", "rho": 0.01}}))
        assert small.state == "released"


async def test_a_job_that_fails_gives_its_reservation_back(tmp_path):
    tables = companies(32, policy={"rho_per_month": 0.02})

    def stop(moment):
        world.now_in_loop(world.desks["shop"].cancel(moment.task.job))

    async with FaultyWorld(tmp_path, tables, on=at("encrypt", stop)) as world:
        outcome = await world.run(**crosstab_job(**NOISY))
        await world.assert_ended(outcome, "failed", "cancelled", "cancelled by shop")
        world.on = lambda moment: None
        assert (await world.run(**crosstab_job(**NOISY))).state == "released"


@pytest.mark.slow
async def test_budget_spent_before_a_crash_is_spent_once(tmp_path):
    tables = companies(33, policy={"rho_per_month": 0.02})
    for name in ("begin", "made", "committed", "sent", "told"):
        done = []

        def on(moment, name=name, done=done):
            if (moment.name, moment.kind) == (name, "aggregate") and not done:
                done.append(moment)
                return KILL_NODE
            return None

        async with FaultyWorld(tmp_path / name, tables, on=on) as world:
            outcome = await world.run(**crosstab_job(**NOISY))
            assert outcome.state == "released"
            await world.assert_over(outcome)
            world.assert_spent(outcome.job_id, COST)
        assert done


# -- policy ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("policy", "job", "code", "words"),
    [
        ({"noise": "required"}, {}, "noise_required", "media has noise: required"),
        ({"requesters": ["bank"]}, {}, "requester_not_allowed", "requester shop"),
        ({"purposes": ["activation"]}, {}, "purpose_not_allowed", "purpose audience_insight"),
        (
            {},
            {"protocol": "psi", "purpose": "overlap_measurement", "rows": [], "columns": [],
             "measures": [], "match": {"on": ["phone"], "mode": "keyed", "reveal": "members"}},
            "reveal_not_allowed",
            "media has reveal: hidden",
        ),
    ],
)  # fmt: skip
async def test_a_question_against_the_providers_policy(tmp_path, policy, job, code, words):
    tables = companies(34)
    tables["shop"].config["policy"] = {"min_cohort": 1, "noise": "optional", "reveal": "members"}
    tables["media"].config["policy"] = {"min_cohort": 1, "noise": "optional"} | policy
    async with FaultyWorld(tmp_path, tables) as world:
        outcome = await world.run(**(crosstab_job() | job))
        await world.assert_ended(outcome, "refused", code, words, party="media")


async def test_a_question_against_the_requesters_own_policy(tmp_path):
    tables = companies(35)
    tables["shop"].config["policy"] = {"min_cohort": 1, "noise": "required"}
    async with FaultyWorld(tmp_path, tables) as world:
        outcome = await world.run(**crosstab_job())
        await world.assert_ended(outcome, "refused", "noise_required", "shop has", party="shop")


async def test_nobody_who_permits_is_nobody_in_the_table(tmp_path):
    """No record means no: a consent file about others gives an empty answer, not an error."""
    tables = companies(36)
    tables["media"].consents = [
        ["email", "purpose", "recipient", "category", "status"],
        ["somebody.else@example.com", "audience_insight", "shop", "content", "given"],
    ]
    async with FaultyWorld(tmp_path, tables) as world:
        outcome = await world.run(**crosstab_job())
    assert_equal(outcome, 0, {})
    consent = outcome.own["media"]["consent"]
    assert consent == {"rows": 70, "eligible": 0, "excluded": {"no_record": 70}}


def test_refusals_have_their_exit_code():
    assert Refused("a", "b").exit_code == 3
