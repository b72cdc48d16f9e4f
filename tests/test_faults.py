"""Each fault ends well: processes that die, calls that get lost, disks that fill.

Whole cross-tabs in the in-memory world.  What can be made good is made good, exactly; what
cannot ends as failed, in words, with nothing released (architecture.md "The job engine").
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from dataclasses import replace

import pytest

from coordinator.local import LOSE_ANSWER, LOSE_CALL, PASS, TWICE, LocalCoordinator
from coordinator.rows import artifact_id
from party_node.runner import Runner
from party_node.store import NodeStore
from protocol.errors import BadInput, Failed
from protocol.transport.port import StepKey
from tests.faulty_world import (
    BEGIN,
    KILL_COORDINATOR,
    KILL_NODE,
    MADE,
    MOMENTS,
    PUT,
    SENT,
    TOLD,
    FaultyWorld,
    fill_disk,
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
# Another mode has other steps, not other moments.
EVERY_MOMENT = pytest.mark.parametrize(
    ("moment", "mode"), [(moment, "keyed") for moment in MOMENTS] + [(MADE, "ecdh"), (SENT, "ecdh")]
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

    async with FaultyWorld(tmp_path, companies(6), on=on) as world:
        job = await world.submit(**crosstab_job(privacy={"noise": "on"}))
        await away.wait()
        await world.stop_node("media")
        world.coordinator.timing = replace(QUICK, absent=0.5)
        outcome = await world.outcome("shop", job)
        await world.start_node("media")
        await world.assert_ended(outcome, "failed", "party_absent", "not called", party="media")


# -- calls and answers that get lost, and come twice ---------------------------------------------

CALLS = ("hello", "lease", "heartbeat", "submit", "watch", "upload_state", "upload",
         "upload.chunk", "download", "download.chunk", "complete")  # fmt: skip


class Losses:
    """Each (party, call) meets `fault` at its first and fifth time; counts the calls."""

    def __init__(self, fault, calls=CALLS):
        self.fault, self.calls, self.seen = fault, calls, Counter()

    def __call__(self, party, call):
        self.seen[party, call] += 1
        return self.fault if call in self.calls and self.seen[party, call] in (1, 5) else PASS


@pytest.mark.parametrize("mode", ["keyed", "ecdh"])
@pytest.mark.parametrize("fault", [LOSE_CALL, LOSE_ANSWER, TWICE])
async def test_every_kind_of_call_lost_or_doubled(tmp_path, fault, mode):
    tables, losses = companies(7, 40, 45), Losses(fault)
    async with FaultyWorld(tmp_path, tables, faults=losses) as world:
        outcome = await world.run(**crosstab_job(**MODES[mode]))
        await world.assert_over(outcome)
        assert len(await world.desks["shop"]._port.list_jobs(10)) == 1
    assert_equal(outcome, *expected(tables))
    met = {call for _, call in losses.seen}
    assert met >= set(CALLS) - {"heartbeat"}


@pytest.mark.parametrize("fault", [LOSE_CALL, LOSE_ANSWER, TWICE])
async def test_the_report_of_a_failure_lost_or_doubled(tmp_path, fault):
    tables = companies(8, policy={"noise": "required"})
    losses = Losses(fault, ("fail",))
    async with FaultyWorld(tmp_path, tables, faults=losses) as world:
        outcome = await world.run(**crosstab_job())
        await world.assert_ended(outcome, "refused", "noise_required", "noise: off")
    assert losses.seen["shop", "fail"] >= 1


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_calls_lost_and_doubled_at_random(tmp_path, seed):
    print(f"seed {seed}")
    rng, tables = random.Random(seed), companies(seed, 40, 45)

    def faults(party, call):
        return rng.choice([LOSE_CALL, LOSE_ANSWER, TWICE]) if rng.random() < 0.2 else PASS

    async with FaultyWorld(tmp_path, tables, faults=faults) as world:
        outcome = await world.run(**crosstab_job(**MODES["ecdh"]))
        await world.assert_over(outcome)
    assert_equal(outcome, *expected(tables))


# -- disks ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["tokens/media", "encrypt", "aggregate/media"])
async def test_a_full_disk_at_the_artifact_store(tmp_path, monkeypatch, step):
    full = []

    def on(moment):
        if (moment.name, moment.step) == (SENT, step) and not full:
            full.append(step)
            fill_disk(monkeypatch, tmp_path / "coordinator" / "artifacts")
        return None

    spent = 20_000_000 if step == "aggregate/media" else 0  # paid before the upload, for ever
    async with FaultyWorld(tmp_path, companies(9), on=on) as world:
        outcome = await world.run(**crosstab_job(privacy={"noise": "on"}))
        await world.assert_ended(
            outcome, "failed", "disk_full", "coordinator's disk is full",
            party="coordinator", spent=spent,
        )  # fmt: skip
        monkeypatch.undo()
        again = await world.run(**crosstab_job())
        assert again.state == "released"


@pytest.mark.parametrize(
    ("party", "step"),
    [("shop", "offer/shop"), ("media", "admit/media"), ("media", "tokens/media"),
     ("shop", "encrypt"), ("media", "aggregate/media")],
)  # fmt: skip
async def test_a_full_disk_at_a_node(tmp_path, monkeypatch, party, step):
    """Also where it keeps a job's secrets, not only where it writes what it sends."""
    full = []

    def on(moment):
        if (moment.name, moment.step) == (BEGIN, step) and not full:
            full.append(step)
            fill_disk(monkeypatch, tmp_path / party)
        return None

    async with FaultyWorld(tmp_path, companies(10), on=on) as world:
        outcome = await world.run(**crosstab_job(privacy={"noise": "on"}))
        await world.assert_ended(outcome, "failed", "disk_full", "disk", "full", party=party)
        assert "make room" in outcome.error["next_step"]
        monkeypatch.undo()
        again = await world.run(**crosstab_job())
        assert again.state == "released"


@pytest.mark.parametrize(
    ("step", "party"), [("offer/media", "shop"), ("admit/media", "shop"), ("key/media", "media")]
)
async def test_an_artifact_that_rots_at_the_coordinator(tmp_path, step, party):
    """Its reader finds it out before a byte is parsed."""
    done = []

    def on(moment):
        if (moment.name, moment.step) == (TOLD, step) and not done:
            key = StepKey(job[0], moment.attempt, step)
            rot(world.coordinator.files.path(job[0], artifact_id(key)))
            done.append(step)
        return None

    job = []
    async with FaultyWorld(tmp_path, companies(11), on=on) as world:
        job.append(await world.submit(**crosstab_job()))
        outcome = await world.outcome("shop", job[0])
        assert done
        await world.assert_ended(
            outcome, "failed", "corrupt_artifact", f"output of {step} arrived", party=party
        )


def rot(path):
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


# -- who takes part ------------------------------------------------------------------------------


async def test_a_party_that_is_not_in_the_collaboration(tmp_path):
    async with FaultyWorld(tmp_path, companies(12)) as world:
        with pytest.raises(BadInput, match=r"bank is not in collaboration\.yaml"):
            await world.submit(**crosstab_job(**{"with": ["bank"], "columns": "bank/tier",
                                                 "measures": ["count"]}))  # fmt: skip
        assert world.desks["shop"].jobs() == []


async def test_a_party_that_the_coordinator_does_not_know(tmp_path):
    async with FaultyWorld(tmp_path, companies(12)) as world:
        world.coordinator._names = frozenset({"shop"})
        with pytest.raises(
            BadInput, match=r"media is not in the coordinator's collaboration\.yaml"
        ):
            await world.submit(**crosstab_job())
        assert world.coordinator.store.jobs() == []


async def test_a_requester_that_the_provider_does_not_know(tmp_path):
    async with FaultyWorld(tmp_path, companies(12)) as world:
        world.nodes["media"].ctx.cards.pop("shop")
        outcome = await world.run(**crosstab_job())
        await world.assert_ended(
            outcome, "failed", "unknown_party", "collaboration.yaml", party="media"
        )


async def test_a_second_live_instance_of_a_node(tmp_path):
    """The second one is told in words; the job stays with the first and completes."""
    tables, told = companies(13, 40, 45), []

    def on(moment):
        if (moment.name, moment.step) == (BEGIN, "tokens/media") and not told:
            told.append(world.now_in_loop(second(world)))
        return None

    async def second(world):
        store = NodeStore(tmp_path / "second" / "node.sqlite")
        port = LocalCoordinator(lambda: world.coordinator, "media")
        runner = Runner(
            party="media", port=port, store=store, folder=tmp_path / "second", handlers={},
            sign=lambda ref: b"", verify=lambda ref: None, on_ended=lambda status: None,
        )  # fmt: skip
        try:
            async with asyncio.timeout(5):
                await runner.run()
        except Failed as error:
            return error
        finally:
            store.close()

    async with FaultyWorld(tmp_path, tables, on=on) as world:
        outcome = await world.run(**crosstab_job())
        await world.assert_over(outcome)
    assert_equal(outcome, *expected(tables))
    (error,) = told
    assert error.info.code == "second_instance"
    assert "another node with its own data folder is running" in error.info.cause


async def _set(event):
    event.set()
