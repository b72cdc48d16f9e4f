"""Secure sums under faults: processes that die, a coordinator that lies.

What can be made good is made good, exactly; what cannot ends as failed, in words, with nothing
released (architecture.md "The job engine"; docs/ATTACKS.md, "Sums over different people").
"""

from __future__ import annotations

import numpy as np
import pytest

from tests import test_sums_kmeans as kmeans
from tests.faulty_world import (
    BEGIN,
    COMMITTED,
    KILL_COORDINATOR,
    KILL_NODE,
    MADE,
    PUT,
    TOLD,
    FaultyWorld,
    lying,
    once,
)
from tests.test_sums import assert_equal, companies, expected, job

STEPS = {
    *((p, f"{step}/{p}") for p in ("shop", "web", "app")
      for step in ("offer", "admit", "sum/1", "finish/2")),
    ("shop", "seeds/shop"), ("web", "seeds/web"), ("shop", "proof/web"), ("shop", "proof/app"),
    ("shop", "ask/1"), ("shop", "ask/2"),
}  # fmt: skip


# What a sum adds are its steps; all moments of a step are in test_faults.
@pytest.mark.parametrize(
    ("moment", "answer"),
    [(BEGIN, KILL_NODE), (MADE, KILL_NODE), (COMMITTED, KILL_COORDINATOR), (TOLD, KILL_NODE)],
)
async def test_killed_at_every_step(tmp_path, moment, answer):
    tables = companies(21, (20, 25, 15))
    async with FaultyWorld(tmp_path, tables, on=once(moment, answer)) as world:
        outcome = await world.run(**job())
        await world.assert_over(outcome)
        assert {(party, step) for _, party, step, _ in world.kills} == STEPS
    assert_equal(outcome, expected(tables))


async def test_a_coordinator_killed_as_it_multiplies(tmp_path):
    tables = companies(22, (20, 25, 15))
    async with FaultyWorld(tmp_path, tables, on=once(PUT, KILL_COORDINATOR)) as world:
        outcome = await world.run(**job())
        assert [step for _, _, step, _ in world.kills] == ["total/1"]
    assert_equal(outcome, expected(tables))


def without(name):
    def change(inputs):
        return tuple(ref for ref in inputs if ref.name != name)

    return change


@pytest.mark.parametrize(
    ("step", "name"),
    [
        ("sum/1/web", "seeds/shop"),
        ("sum/1/web", "proof"),
        ("sum/1/app", "ask"),
        ("ask/2", "total"),
        ("finish/2/web", "ask"),
        ("ask/1", "admit/web"),
    ],
)
async def test_inputs_that_a_step_does_not_take(tmp_path, step, name):
    def lie(lease):
        if lease.key.step != step:
            return lease
        return lying(lease, inputs=without(name)(lease.inputs))

    async with FaultyWorld(tmp_path, companies(23, (20, 25, 15)), lie=lie) as world:
        outcome = await world.run(**job())
    assert (outcome.state, outcome.code) == ("failed", "equivocation")
    assert outcome.result is None


async def test_a_coordinator_that_leaves_a_party_out(tmp_path, monkeypatch):
    from coordinator.protocols import summed

    multiply = summed.multiply
    monkeypatch.setattr(summed, "multiply", lambda n, uploads: multiply(n, uploads[:-1]))
    async with FaultyWorld(tmp_path, companies(24, (20, 25, 15))) as world:
        outcome = await world.run(**job())
    assert (outcome.state, outcome.code) == ("failed", "out_of_range")
    assert outcome.result is None


@pytest.mark.parametrize("answer", [KILL_NODE, KILL_COORDINATOR])
async def test_many_rounds_survive_a_kill_in_each(tmp_path, answer):
    """State between rounds is on the requester's disk, and the answer is still Lloyd's."""
    tables, x = kmeans.tables(25, (30, 25, 20))
    init = x[[0, 20, 40, 60]].tolist()
    async with FaultyWorld(tmp_path, tables, on=once(MADE, answer)) as world:
        outcome = await world.run(**kmeans.job(init=init, iterations=2))
        await world.assert_over(outcome)
        killed = {step for _, _, step, _ in world.kills}
        assert killed >= {"ask/1", "ask/2", "ask/3", "ask/4", "sum/3/web", "finish/4/app"}
    want = kmeans.lloyd(x, init, 2)
    assert np.abs(np.array(outcome.result["centres"]) - want.cluster_centers_).max() < 1e-6
