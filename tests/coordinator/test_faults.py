"""The fault list: each ends well — the right state, the cause in words, nothing hanging."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from coordinator.engine import JobContext
from coordinator.local import LOSE_ANSWER, LOSE_CALL, PASS, TWICE, LocalCoordinator
from coordinator.rows import STEPS, of_key
from coordinator.timing import Timing
from party_node.runner import StepOutput, StepTask, WaitForApproval
from party_node.transfer import disk_words
from protocol.errors import AssentError, ErrorInfo, Failed, Refused
from protocol.transport.digest import step_digest
from protocol.transport.port import Instance, JobRequest, Progress, StepKey
from tests.coordinator.engine_world import QUICK, World, run, until


def _slow(world: World, party: str, kind: str) -> asyncio.Event:
    """Makes a step wait (in its thread) until the job is cancelled; the event says it runs."""
    loop, started = asyncio.get_running_loop(), asyncio.Event()

    def handler(task: StepTask) -> StepOutput:
        loop.call_soon_threadsafe(started.set)
        task.cancelled.wait(10)
        raise Failed("cancelled", "asked to stop")

    world.nodes[party].handlers[kind] = handler
    return started


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


def test_a_full_disk_at_the_coordinator(tmp_path: Path) -> None:
    def full(descriptor: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    async def main() -> None:
        async with World(tmp_path, write=full) as world:
            status = await world.end_of(await world.submit())
            assert status.state == "failed"
            assert status.error is not None
            assert (status.error.code, status.error.party) == ("disk_full", "coordinator")
            assert "makes room" in status.error.next_step

    run(main)


def test_a_disk_that_takes_a_little_at_a_time(tmp_path: Path) -> None:
    async def main() -> None:
        def little(descriptor: int, data: bytes) -> int:
            return os.write(descriptor, data[:1000])

        async with World(tmp_path, write=little, rows=1000) as world:
            assert (await world.end_of(await world.submit())).state == "released"

    run(main)


def test_a_full_disk_at_the_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(source: Path, target: Path) -> tuple[bytes, int]:
        with disk_words():
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("party_node.runner.keep", full)

    async def main() -> None:
        async with World(tmp_path) as world:
            status = await world.end_of(await world.submit())
            assert status.error is not None
            assert status.error.code == "disk_full"
            assert status.error.party in ("ann", "bob")

    run(main)


@pytest.mark.parametrize("where", ["rows/ann", "copy"])
def test_a_corrupted_artifact_is_noticed_by_its_reader(tmp_path: Path, where: str) -> None:
    """A bit flips on the coordinator's disk after the upload was checked."""

    async def main() -> None:
        async with World(tmp_path) as world:
            core = world.core
            assert core is not None
            finish = core.files.finish

            def finish_and_flip(
                job: str, artifact: str, sha256: bytes, size: int, stage: str
            ) -> None:
                finish(job, artifact, sha256, size, stage)
                if stage == where:
                    path = core.files.path(job, artifact)
                    data = bytearray(path.read_bytes())
                    data[-1] ^= 1
                    path.write_bytes(data)

            core.files.finish = finish_and_flip  # type: ignore[method-assign]
            status = await world.end_of(await world.submit())
            assert status.state == "failed"
            assert status.error is not None
            assert status.error.code == "corrupt_artifact"
            assert not world.nodes["ann"].results

    run(main)


def test_an_artifact_with_another_signature_is_refused(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path) as world:
            core = world.core
            assert core is not None
            finish = core.store.finish_step

            def forge(
                key: StepKey, digest: bytes, size: int, signature: bytes, *more: object
            ) -> bool:
                return finish(key, digest, size, bytes(32), *more)  # type: ignore[arg-type]

            core.store.finish_step = forge  # type: ignore[method-assign, assignment]
            status = await world.end_of(await world.submit())
            assert status.error is not None
            assert status.error.code == "bad_signature"

    run(main)


def test_cancel_reaches_the_handler_and_everybody(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path) as world:
            started = _slow(world, "bob", "copy")
            job = await world.submit()
            await asyncio.wait_for(started.wait(), 5)
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


def test_an_equivocating_coordinator(tmp_path: Path) -> None:
    """H opens a finished step again with another input, to average the noise away: the node
    makes nothing, ends the job on its side, and does no further step of it."""

    async def main() -> None:
        async with World(tmp_path) as world:
            bob = world.nodes["bob"]
            started = _slow(world, "bob", "copy")
            job = await world.submit()
            await asyncio.wait_for(started.wait(), 5)
            key, core = StepKey(job, 1, "rows/bob"), world.core
            assert core is not None
            row = core.store.step(key)
            assert row is not None
            params = {"salt": "another"}
            digest = step_digest(key, "bob", row.recipient, params, ())
            with core.store._engine.begin() as db:
                db.execute(
                    STEPS.update()
                    .filter_by(**of_key(key))
                    .values(state="open", params=json.dumps(params), digest=digest,
                            upload_sha256=None)
                )  # fmt: skip
            core.parties.bell("bob").ring()
            status = await world.end_of(job)
            assert status.state == "failed"
            assert status.error is not None
            assert (status.error.code, status.error.party) == ("equivocation", "bob")
            assert bob.made.count(key) == 1
            await until(lambda: bool(bob.ended))
            await until(lambda: bob.store.open_jobs() == ())
            with pytest.raises(AssentError) as caught:
                bob.store.open_job(job)
            assert caught.value.info.code == "job_closed"

    run(main)


def test_a_node_giving_two_outputs_ends_the_job(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path) as world:
            started = _slow(world, "bob", "copy")
            job = await world.submit()
            await asyncio.wait_for(started.wait(), 5)
            port = LocalCoordinator(lambda: world.core, "bob")
            with pytest.raises(AssentError, match="two different outputs"):
                await port.complete(StepKey(job, 1, "rows/bob"), bytes(32), 5, bytes(64))
            status = await world.end_of(job)
            assert status.error is not None
            assert (status.error.code, status.error.party) == ("equivocation", "bob")

    run(main)


def test_a_second_live_instance_is_refused_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path) as world:
            started = _slow(world, "bob", "copy")
            job = await world.submit()
            await asyncio.wait_for(started.wait(), 5)
            port = LocalCoordinator(lambda: world.core, "bob")
            other = Instance("f" * 32, "boot")
            for call in (port.hello(other), port.lease(other, (), (), 0.1)):
                with pytest.raises(AssentError) as caught:
                    await call
                assert caught.value.info.code == "second_instance"
                assert "stop the other node" in caught.value.info.next_step
            # After the first is gone, the other may come — but its job's keys are not there.
            await world.nodes["bob"].kill()
            await asyncio.sleep(QUICK.lease * 1.2)
            await port.hello(other)
            answer = await port.lease(other, (), (), 0.1)
            assert answer.step is None
            assert not (await port.watch(job, 0, 0)).ended

    run(main)


def test_a_copied_data_folder_takes_over_and_the_first_is_told(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path) as world:
            bob = world.nodes["bob"]
            task = bob.task
            await until(lambda: world.core is not None and "bob" in world.core.store.parties())
            instance, _boot, _seen = world.core.store.parties()["bob"]  # type: ignore[union-attr]
            await LocalCoordinator(lambda: world.core, "bob").hello(Instance(instance, "copy"))
            assert task is not None
            with pytest.raises(AssentError) as caught:
                await asyncio.wait_for(task, 5)
            assert caught.value.info.code == "second_instance"

    run(main)


class _Clock:
    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        import time

        return time.time() + self.ahead


def _limits(code: str, ahead: float, **changes: float) -> Callable[[Path], None]:
    def test(tmp_path: Path) -> None:
        async def main() -> None:
            clock = _Clock()
            timing = Timing(**{**QUICK.__dict__, "absent": 3600.0, **changes})
            async with World(tmp_path, timing=timing, clock=clock) as world:
                if code == "party_absent":
                    await world.nodes["bob"].kill()
                started = _slow(world, "bob", "copy")
                if code == "approval_expired":
                    world.nodes["bob"].handlers["copy"] = _never
                job = await world.submit()
                if code in ("step_timeout", "job_timeout"):
                    await asyncio.wait_for(started.wait(), 5)
                elif code == "approval_expired":
                    await until(lambda: any(s.waiting_since for s in world.steps(job)))
                else:
                    await until(lambda: any(s.key.step == "rows/ann" and s.state == "done"
                                            for s in world.steps(job)))  # fmt: skip
                clock.ahead = ahead
                status = await world.end_of(job)
                assert status.error is not None
                assert status.error.code == code
                if code != "job_timeout":
                    assert status.error.party == "bob"
                expected = "refused" if code == "approval_expired" else "failed"
                assert status.state == expected

        run(main)

    return test


def _never(task: StepTask) -> StepOutput:
    raise WaitForApproval


test_an_absent_party = _limits("party_absent", 3700.0)
test_a_step_over_its_limit = _limits("step_timeout", 700.0)
test_a_job_over_a_day = _limits("job_timeout", 90_000.0, step_minimum=1e9, absent=1e9)
test_nobody_approves = _limits("approval_expired", 8 * 86_400.0, absent=1e9)


def test_waiting_for_approval_shows_and_does_not_count(tmp_path: Path) -> None:
    async def main() -> None:
        clock = _Clock()
        approved: list[bool] = []
        timing = Timing(**{**QUICK.__dict__, "absent": 1e9})
        async with World(tmp_path, timing=timing, clock=clock) as world:
            copy = world.nodes["bob"].handlers["copy"]

            def ask(task: StepTask) -> StepOutput:
                if not approved:
                    raise WaitForApproval
                return copy(task)

            world.nodes["bob"].handlers["copy"] = ask
            job = await world.submit()
            port = LocalCoordinator(lambda: world.core, "ann")
            async with asyncio.timeout(5):
                while (await port.watch(job, 0, 0.1)).progress.state != "waiting":
                    await asyncio.sleep(0.02)
            status = await port.watch(job, 0, 0)
            assert (status.party, status.stage) == ("bob", "copy")
            clock.ahead = 2 * 86_400.0  # two days: over a job's day, under approval's seven
            await asyncio.sleep(0.2)
            assert not (await port.watch(job, 0, 0)).ended
            approved.append(True)
            assert (await world.end_of(job)).state == "released"

    run(main)


def test_progress_reaches_the_analyst(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path) as world:
            copy = world.nodes["bob"].handlers["copy"]

            def steady(task: StepTask) -> StepOutput:
                for done in range(1, 6):
                    task.progress(done, 5)
                    task.cancelled.wait(0.05)
                return copy(task)

            world.nodes["bob"].handlers["copy"] = steady
            job = await world.submit()
            port = LocalCoordinator(lambda: world.core, "ann")
            seen: set[float] = set()
            version = 0
            while True:
                status = await port.watch(job, version, 1.0)
                version = status.version
                if status.ended:
                    break
                if status.stage == "copy":
                    seen.add(status.progress.fraction)
            assert len(seen) >= 3

    run(main)


def test_parties_see_their_own_jobs_and_steps_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path, parties=("ann", "bob", "eve")) as world:
            core = world.core
            assert core is not None
            started = _slow(world, "bob", "copy")
            request = JobRequest("a" * 32, "echo", 1, "ann", ("ann", "bob"), {})
            await LocalCoordinator(lambda: core, "ann").submit(request)
            await asyncio.wait_for(started.wait(), 5)
            eve = LocalCoordinator(lambda: core, "eve")
            key = StepKey(request.id, 1, "copy")
            ref = core.store.step(StepKey(request.id, 1, "rows/bob"))
            assert ref is not None
            for call in (
                eve.watch(request.id, 0, 0),
                eve.cancel(request.id, ""),
                eve.complete(key, bytes(32), 0, b""),
                eve.heartbeat(Instance("e", "e"), key, Progress()),
                eve.upload_state(key, bytes(32), 0),
            ):
                with pytest.raises(AssentError):
                    await call
            with pytest.raises(AssentError):
                async for _ in eve.download(key, ref.output.id, 0):
                    pass
            # Bob may read inputs of his step, and nothing else.
            bob = LocalCoordinator(lambda: core, "bob")
            with pytest.raises(AssentError) as caught:
                async for _ in bob.download(key, ref.output.id, 0):
                    pass
            assert caught.value.info.code == "not_allowed"
            assert await eve.list_jobs(10) == ()
            with pytest.raises(AssentError, match="in the name of"):
                await eve.submit(JobRequest("b" * 32, "echo", 1, "ann", ("ann", "eve")))
            with pytest.raises(AssentError, match="does not run"):
                await eve.submit(JobRequest("b" * 32, "other", 1, "eve", ("ann", "eve")))
            with pytest.raises(AssentError, match="not in the coordinator"):
                await eve.submit(JobRequest("b" * 32, "echo", 1, "eve", ("zoe", "eve")))

    run(main)


def test_submit_twice_is_one_job(tmp_path: Path) -> None:
    def faults(party: str, name: str) -> str:
        return TWICE if name == "submit" else PASS

    async def main() -> None:
        async with World(tmp_path) as world:
            port = LocalCoordinator(lambda: world.core, "ann", faults)
            request = JobRequest("c" * 32, "echo", 1, "ann", ("ann", "bob"), {"n": 1})
            await port.submit(request)
            assert (await world.end_of(request.id)).state == "released"
            assert len(await port.list_jobs(10)) == 1
            with pytest.raises(AssentError, match="taken"):
                await port.submit(JobRequest("c" * 32, "echo", 1, "ann", ("ann", "bob"), {"n": 2}))

    run(main)


def test_a_waiting_node_hears_of_a_step_within_50_ms(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path, timing=Timing()) as world:
            await asyncio.sleep(0.2)  # both nodes wait in a 25 s poll
            loop = asyncio.get_running_loop()
            begun: list[float] = []
            rows = world.nodes["bob"].handlers["rows"]

            def note(task: StepTask) -> StepOutput:
                begun.append(loop.time())
                return rows(task)

            world.nodes["bob"].handlers["rows"] = note

            async def one(ctx: JobContext) -> None:
                await ctx.party_step("rows/bob", "bob")

            world.registry["echo", 1] = one
            at = loop.time()
            await world.end_of(await world.submit())
            assert begun[0] - at < 0.05

    run(main)
