"""The fault list: lost and repeated calls, failures, kills; each ends well, nothing hangs."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from coordinator.local import LOSE_ANSWER, LOSE_CALL, PASS, TWICE, LocalCoordinator
from party_node.runner import StepOutput, StepTask
from protocol.errors import ErrorInfo, Failed, Refused
from protocol.transport.port import StepKey
from tests.coordinator.engine_world import QUICK, World, run, stuck_job, until


@pytest.mark.parametrize("fault", [LOSE_CALL, LOSE_ANSWER, TWICE])
@pytest.mark.parametrize(
    "call",
    ["hello", "lease", "heartbeat", "upload_state", "upload", "upload.chunk", "download",
     "download.chunk", "complete"],
)  # fmt: skip
def test_any_call_may_be_lost_or_repeated(tmp_path: Path, call: str, fault: str) -> None:
    """The first three of every kind and party go wrong; each step is made once all the same."""
    count: dict[tuple[str, str], int] = {}

    def faults(party: str, name: str) -> str:
        count[party, name] = count.get((party, name), 0) + 1
        return fault if name == call and count[party, name] <= 3 else PASS

    async def main() -> None:
        async with World(tmp_path, faults=faults) as world:
            job = await world.submit()
            assert (await world.end_of(job)).state == "released"
            made = [key for node in world.nodes.values() for key in node.made]
            assert len(made) == len(set(made)) == 4
            assert call == "heartbeat" or count["ann", call] > 0

    run(main)


@pytest.mark.parametrize("seed", range(6))
def test_a_storm_of_faults(tmp_path: Path, seed: int) -> None:
    """A fifth of all calls and chunks goes wrong in a random way (the seed is the test's id)."""
    dice = random.Random(seed)

    def faults(party: str, name: str) -> str:
        return dice.choice([LOSE_CALL, LOSE_ANSWER, TWICE]) if dice.random() < 0.2 else PASS

    async def main() -> None:
        async with World(tmp_path, faults=faults, rows=200_000) as world:
            jobs = [await world.submit() for _ in range(2)]
            for job in jobs:
                assert (await world.end_of(job)).state == "released"
            made = [key for node in world.nodes.values() for key in node.made]
            assert len(made) == len(set(made)) == 8

    run(main)


def test_a_failed_step_ends_the_job_with_its_words(tmp_path: Path) -> None:
    def broken(task: StepTask) -> StepOutput:
        raise Failed("bad_ciphertext", "ciphertext 3 is zero")

    async def main() -> None:
        async with World(tmp_path) as world:
            world.nodes["bob"].handlers["copy"] = broken
            status = await world.end_of(await world.submit())
            assert status.state == "failed"
            assert status.error == ErrorInfo(
                "bad_ciphertext", "ciphertext 3 is zero", "bob", "copy", "seen"
            )

    run(main)


def test_a_refusal_ends_the_job_as_refused(tmp_path: Path) -> None:
    def refused(task: StepTask) -> StepOutput:
        raise Refused("consent_stale", "the replica is 400 s old", party="bob", stage="admit")

    async def main() -> None:
        async with World(tmp_path) as world:
            world.nodes["bob"].handlers["rows"] = refused
            status = await world.end_of(await world.submit())
            assert status.state == "refused"
            assert status.error is not None
            assert (status.error.code, status.error.stage) == ("consent_stale", "admit")
            assert not world.nodes["ann"].results

    run(main)


def test_a_bug_in_a_handler_says_nothing_of_its_data(tmp_path: Path) -> None:
    def bug(task: StepTask) -> StepOutput:
        raise ValueError("alice@example.com is not a number")

    async def main() -> None:
        async with World(tmp_path) as world:
            world.nodes["bob"].handlers["copy"] = bug
            status = await world.end_of(await world.submit())
            assert status.error is not None
            assert status.error.code == "internal"
            assert "alice" not in status.error.sentence()

    run(main)


def test_retryable_codes_are_tried_five_times_and_no_more(tmp_path: Path) -> None:
    calls: list[int] = []

    def flaky(task: StepTask) -> StepOutput:
        calls.append(1)
        raise Failed("lease_lost", "again please")

    async def main() -> None:
        async with World(tmp_path) as world:
            world.nodes["bob"].handlers["copy"] = flaky
            status = await world.end_of(await world.submit())
            assert status.error is not None
            assert status.error.code == "lease_lost"
            assert len(calls) == 1 + QUICK.retries

    run(main)


def test_cancel_reaches_the_handler_and_everybody(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path) as world:
            job = await stuck_job(world, "bob", "copy")
            port = LocalCoordinator(lambda: world.core, "ann")
            status = await port.cancel(job, "changed my mind")
            assert status.state == "failed"
            assert status.error is not None
            assert (status.error.code, status.error.party) == ("cancelled", "ann")
            assert "changed my mind" in status.error.cause
            await until(lambda: all(node.ended for node in world.nodes.values()))
            again = await port.cancel(job, "again")
            assert again.error == status.error

    run(main)


def test_a_killed_node_resumes_with_the_same_output(tmp_path: Path) -> None:
    """Killed after the commit, before the upload: the bytes that leave are the stored ones."""

    async def main() -> None:
        lost = {"on": True}

        def faults(party: str, name: str) -> str:
            blocked = party == "bob" and name in ("upload", "upload_state") and lost["on"]
            return LOSE_CALL if blocked else PASS

        async with World(tmp_path, faults=faults) as world:
            bob = world.nodes["bob"]
            job = await world.submit()
            key = StepKey(job, 1, "rows/bob")
            await until(lambda: _stored(world, key))
            before = bob.store.output(key, world.core.store.step(key).digest)  # type: ignore[union-attr]
            await bob.kill()
            lost["on"] = False
            bob.start()
            assert (await world.end_of(job)).state == "released"
            assert bob.made.count(key) == 1
            row = world.core.store.step(key)  # type: ignore[union-attr]
            assert before is not None
            assert row is not None
            assert row.sha256 == before.sha256

    run(main)


def _stored(world: World, key: StepKey) -> bool:
    step = world.core.store.step(key) if world.core is not None else None
    return step is not None and world.nodes["bob"].store.output(key, step.digest) is not None


@pytest.mark.parametrize("victim", ["ann", "bob"])
def test_a_node_killed_again_and_again(tmp_path: Path, victim: str) -> None:
    async def main() -> None:
        async with World(tmp_path, rows=100_000) as world:
            node = world.nodes[victim]
            job = await world.submit()
            end = asyncio.create_task(world.end_of(job))
            for _ in range(6):
                await asyncio.sleep(0.03)
                await node.kill()
                node.start()
            assert (await end).state == "released"

    run(main)
