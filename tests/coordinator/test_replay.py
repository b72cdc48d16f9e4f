"""Engine rules 1 to 3: replay from every crash point, and what replay must not forgive."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from coordinator.engine import JobContext, ProtocolFunction
from party_node.runner import StepOutput, StepTask
from protocol.errors import Failed
from protocol.transport.port import StepKey
from tests.coordinator.engine_world import World, echo, run, until


async def _restart_at(world: World, number: int) -> tuple[asyncio.Event, dict[StepKey, bytes]]:
    """Restarts the coordinator at its `number`-th change of any kind, once."""
    done, seen = asyncio.Event(), {}
    core = world.core
    assert core is not None
    change, count = core._change, [0]

    def counted(job: str) -> None:
        change(job)
        count[0] += 1
        if count[0] == number:
            asyncio.get_running_loop().create_task(restart(job))

    async def restart(job: str) -> None:
        seen.update({row.key: row.digest for row in world.steps(job)})
        await world.restart_coordinator()
        done.set()

    core._change = core.board._changed = counted  # type: ignore[method-assign, assignment]
    return done, seen


async def _attempts(ctx: JobContext) -> None:
    """The first attempt ends because a consent changed; a branch of it is left behind."""
    first, second = ctx.job.parties

    async def branch() -> None:
        await ctx.party_step("rows/left", second)
        await ctx.party_step("rows/never", second)

    if ctx.attempt == 1:
        try:
            await asyncio.gather(branch(), ctx.party_step("recheck", first))
        except Failed as error:
            ctx.new_attempt(error.info.code)
    await ctx.party_step("rows/again", second)


def _attempt_handlers(world: World) -> None:
    ann = world.nodes["ann"]

    def recheck(task: StepTask) -> StepOutput:
        ann.made.append(task.key)
        raise Failed("consent_changed", "two people withdrew")

    ann.handlers["recheck"] = recheck


@pytest.mark.parametrize("function", [echo, _attempts], ids=["echo", "attempts"])
def test_replay_from_every_crash_point(tmp_path: Path, function: ProtocolFunction) -> None:
    """The coordinator restarts at its n-th change, for every n until there is none left."""

    async def once(number: int) -> bool:
        async with World(tmp_path / str(number), function=function) as world:
            _attempt_handlers(world)
            restarted, seen = await _restart_at(world, number)
            job = await world.submit()
            status = await world.end_of(job)
            assert status.state == "released", status.error
            if not restarted.is_set():
                await asyncio.sleep(0.05)
            for key, digest in seen.items():
                row = world.core.store.step(key) if world.core else None
                assert row is not None
                assert row.digest == digest
            made = [key for node in world.nodes.values() for key in node.made]
            assert len(made) == len(set(made))
            return restarted.is_set()

    async def main() -> None:
        number = 1
        while await once(number):
            number += 1
        assert number > 8

    run(main)


def test_a_new_attempt_is_new_everything(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path, function=_attempts) as world:
            _attempt_handlers(world)
            job = await world.submit()
            status = await world.end_of(job)
            assert (status.state, status.attempt) == ("released", 2)
            names = {(row.key.attempt, row.key.step) for row in world.steps(job)}
            assert (2, "rows/again") in names
            assert (1, "rows/again") not in names
            # The branch that was left behind opened nothing under the new attempt's name.
            assert not any(attempt == 2 and "never" in step for attempt, step in names)

    run(main)


def test_three_attempts_and_no_more(tmp_path: Path) -> None:
    async def restless(ctx: JobContext) -> None:
        await ctx.party_step("rows/x", ctx.job.requester)
        ctx.new_attempt("consent_changed")

    async def main() -> None:
        async with World(tmp_path, function=restless) as world:
            job = await world.submit()
            status = await world.end_of(job)
            assert status.state == "failed"
            assert status.error is not None
            assert status.error.code == "consent_changed"
            assert status.attempt == 3
            assert len(world.nodes["ann"].made) == 3

    run(main)


async def _replayed(tmp_path: Path, before: ProtocolFunction, after: ProtocolFunction) -> str:
    """The code of the error when the coordinator restarts with another function."""
    async with World(tmp_path, function=before) as world:
        blocked = asyncio.Event()
        loop = asyncio.get_running_loop()

        def stuck(task: StepTask) -> StepOutput:
            loop.call_soon_threadsafe(blocked.set)
            task.cancelled.wait(5)
            raise Failed("cancelled", "stopped")

        world.nodes["bob"].handlers["stuck"] = stuck
        job = await world.submit()
        await asyncio.wait_for(blocked.wait(), 5)
        world.registry["echo", 1] = after
        await world.restart_coordinator()
        status = await world.end_of(job)
        assert status.state == "failed"
        assert status.error is not None
        await until(lambda: bool(world.nodes["bob"].ended))
        return status.error.code


async def _plain(ctx: JobContext) -> None:
    await ctx.party_step("rows/ann", "ann", params={"n": 1})
    await ctx.party_step("stuck", "bob")


def test_another_input_on_replay(tmp_path: Path) -> None:
    async def changed(ctx: JobContext) -> None:
        await ctx.party_step("rows/ann", "ann", params={"n": 2})
        await ctx.party_step("stuck", "bob")

    async def main() -> None:
        assert await _replayed(tmp_path, _plain, changed) == "nondeterministic"

    run(main)


def test_a_new_step_on_replay(tmp_path: Path) -> None:
    async def changed(ctx: JobContext) -> None:
        await ctx.party_step("rows/other", "ann")
        await ctx.party_step("stuck", "bob")

    async def main() -> None:
        assert await _replayed(tmp_path, _plain, changed) == "nondeterministic"

    run(main)


def test_a_step_left_out_on_replay(tmp_path: Path) -> None:
    async def changed(ctx: JobContext) -> None:
        await ctx.party_step("rows/ann", "ann", params={"n": 1})

    async def main() -> None:
        assert await _replayed(tmp_path, _plain, changed) == "nondeterministic"

    run(main)


def test_code_that_changed_its_version(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path, function=_plain) as world:
            for node in world.nodes.values():
                await node.kill()
            job = await world.submit()
            world.registry[("echo", 2)] = world.registry.pop(("echo", 1))
            await world.restart_coordinator()
            status = await world.end_of(job)
            assert status.error is not None
            assert status.error.code == "code_changed"

    run(main)


def test_a_step_id_is_used_once(tmp_path: Path) -> None:
    async def twice(ctx: JobContext) -> None:
        await ctx.party_step("rows/x", "ann")
        await ctx.party_step("rows/x", "ann")

    async def main() -> None:
        async with World(tmp_path, function=twice) as world:
            status = await world.end_of(await world.submit())
            assert status.error is not None
            assert status.error.code == "nondeterministic"

    run(main)


def test_a_bug_in_a_protocol_function_ends_its_job_only(tmp_path: Path) -> None:
    async def bug(ctx: JobContext) -> None:
        raise KeyError("x")

    async def main() -> None:
        async with World(tmp_path, function=bug) as world:
            status = await world.end_of(await world.submit())
            assert status.error is not None
            assert status.error.code == "internal"
            world.registry["echo", 1] = echo
            assert (await world.end_of(await world.submit())).state == "released"

    run(main)
