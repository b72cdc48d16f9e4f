"""Each fault ends well: processes that die, calls that get lost, disks that fill.

Whole cross-tabs in the in-memory world.  What can be made good is made good, exactly; what
cannot ends as failed, in words, with nothing released (architecture.md "The job engine").
"""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from tests.faulty_world import (
    BEGIN,
    KILL_COORDINATOR,
    KILL_NODE,
    MOMENTS,
    PUT,
    FaultyWorld,
    once,
)
from tests.test_jobs import assert_equal, companies, crosstab_job, expected
from tests.world import QUICK

MODES = {mode: {"match": {"on": ["phone", "email"], "mode": mode}} for mode in ("keyed", "ecdh")}
STEPS = {
    "keyed": {
        ("shop", "offer/shop"), ("media", "offer/media"),
        ("shop", "admit/shop"), ("media", "admit/media"), ("shop", "key/media"),
        ("shop", "tokens/shop"), ("media", "tokens/media"),
        ("shop", "encrypt"), ("shop", "recheck"), ("media", "aggregate/media"), ("shop", "open"),
    },
    "ecdh": {
        ("shop", "offer/shop"), ("media", "offer/media"),
        ("shop", "admit/shop"), ("media", "admit/media"), ("shop", "key/media"),
        ("shop", "points/shop"), ("media", "points/media"),
        ("shop", "reblind/shop/of/media"), ("media", "reblind/media/of/shop"),
        ("shop", "encrypt"), ("shop", "recheck"), ("media", "aggregate/media"), ("shop", "open"),
    },
}  # fmt: skip
EVERY_MOMENT = pytest.mark.parametrize(
    ("moment", "mode"),
    [(moment, "keyed") for moment in MOMENTS]
    + [pytest.param(moment, "ecdh", marks=pytest.mark.slow) for moment in MOMENTS],
)


# -- processes that die ------------------------------------------------------------------------


@EVERY_MOMENT
async def test_a_node_killed_at_every_step_of_a_job(tmp_path, moment, mode):
    tables = companies(3, 40, 45)
    async with FaultyWorld(tmp_path, tables, on=once(moment, KILL_NODE)) as world:
        outcome = await world.run(**crosstab_job(**MODES[mode]))
        await world.assert_over(outcome)
        assert {(party, step) for _, party, step, _ in world.kills} == STEPS[mode]
    assert_equal(outcome, *expected(tables))


@EVERY_MOMENT
async def test_a_coordinator_killed_at_every_step_of_a_job(tmp_path, moment, mode):
    tables = companies(4, 40, 45)
    async with FaultyWorld(tmp_path, tables, on=once(moment, KILL_COORDINATOR)) as world:
        outcome = await world.run(**crosstab_job(**MODES[mode]))
        await world.assert_over(outcome)
        assert {(party, step) for _, party, step, _ in world.kills} == STEPS[mode]
    assert_equal(outcome, *expected(tables))


async def test_a_coordinator_killed_in_the_middle_of_its_own_steps(tmp_path):
    tables = companies(5, 40, 45)
    async with FaultyWorld(tmp_path, tables, on=once(PUT, KILL_COORDINATOR)) as world:
        outcome = await world.run(**crosstab_job())
        await world.assert_over(outcome)
        assert [step for _, _, step, _ in world.kills] == ["join"]
    assert_equal(outcome, *expected(tables))


async def test_a_node_that_is_killed_and_stays_away(tmp_path):
    """Nobody waits for ever: the job ends, and the node wipes its part when it is back."""
    away = asyncio.Event()

    def on(moment):
        if (moment.name, moment.step) == (BEGIN, "aggregate/media"):
            world.now_in_loop(_set(away))
        return None

    async with FaultyWorld(
        tmp_path, companies(6), on=on, timing=replace(QUICK, absent=0.5)
    ) as world:
        job = await world.submit(**crosstab_job(privacy={"noise": "on"}))
        await away.wait()
        await world.stop_node("media")
        outcome = await world.outcome("shop", job)
        await world.start_node("media")
        await world.assert_ended(outcome, "failed", "party_absent", "not called", party="media")


async def _set(event):
    event.set()
