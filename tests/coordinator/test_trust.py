"""Who may do what: instances, other parties' jobs, equivocation on either side."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from coordinator.local import PASS, TWICE, LocalCoordinator
from coordinator.rows import STEPS, of_key
from protocol.errors import AssentError
from protocol.transport.digest import step_digest
from protocol.transport.port import Instance, JobRequest, Progress, StepKey
from tests.coordinator.engine_world import QUICK, World, run, slow, stuck_job, until


def test_an_equivocating_coordinator(tmp_path: Path) -> None:
    """H opens a finished step again with another input, to average the noise away: the node
    makes nothing, ends the job on its side, and does no further step of it."""

    async def main() -> None:
        async with World(tmp_path) as world:
            bob = world.nodes["bob"]
            job = await stuck_job(world, "bob", "copy")
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
            job = await stuck_job(world, "bob", "copy")
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
            job = await stuck_job(world, "bob", "copy")
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


def test_parties_see_their_own_jobs_and_steps_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path, parties=("ann", "bob", "eve")) as world:
            core = world.core
            assert core is not None
            started = slow(world, "bob", "copy")
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
                eve.upload(key, b"", 0, 0, _blocks(b"x")),
            ):
                with pytest.raises(AssentError):
                    await call
            assert key not in core.board._locks  # nothing is kept of who asks in vain
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


def test_an_upload_without_a_digest_is_only_a_beginning(tmp_path: Path) -> None:
    """It replaces its own earlier try, and nothing that has been announced or is complete."""

    async def main() -> None:
        async with World(tmp_path) as world:
            core = world.core
            assert core is not None
            started = slow(world, "bob", "copy")
            request = JobRequest("a" * 32, "echo", 1, "ann", ("ann", "bob"), {})
            await LocalCoordinator(lambda: core, "ann").submit(request)
            await asyncio.wait_for(started.wait(), 5)
            bob, key = LocalCoordinator(lambda: core, "bob"), StepKey(request.id, 1, "copy")
            assert (await bob.upload(key, b"", 0, 0, _blocks(b"first try"))).received == 9
            assert (await bob.upload(key, b"", 0, 0, _blocks(b"sec", b"ond"))).received == 6
            for size, offset in ((6, 0), (0, 6)):
                with pytest.raises(AssentError) as caught:
                    await bob.upload(key, b"", size, offset, _blocks(b"x"))
                assert caught.value.info.code == "bad_artifact"
            whole = hashlib.sha256(b"second half").digest()
            assert (await bob.upload_state(key, whole, 11)).received == 6
            with pytest.raises(AssentError) as caught:
                await bob.upload(key, b"", 0, 0, _blocks(b"x"))
            assert caught.value.info.code == "upload_interrupted"
            assert (await bob.upload(key, whole, 11, 6, _blocks(b" half"))).received == 11
            await bob.complete(key, whole, 11, b"")
            done = StepKey(request.id, 1, "rows/bob")
            for over in (key, done):
                with pytest.raises(AssentError) as caught:
                    await bob.upload(over, b"", 0, 0, _blocks(b"x"))
                assert caught.value.info.code == "step_closed"

    run(main)


async def _blocks(*blocks: bytes) -> AsyncIterator[bytes]:
    for block in blocks:
        yield block


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
