"""The job engine over the in-memory port: a whole job, then every way it can go wrong."""

from __future__ import annotations

from pathlib import Path

from tests.coordinator.engine_world import World, run, until


def test_a_job_runs_to_its_end_and_leaves_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        async with World(tmp_path) as world:
            job = await world.submit()
            status = await world.end_of(job)
            assert (status.state, status.error) == ("released", None)
            ann, bob = world.nodes["ann"], world.nodes["bob"]
            assert job in ann.results
            await until(lambda: bool(ann.ended and bob.ended))
            assert ann.ended[0].state == "released"
            await until(lambda: not (ann.folder / "outputs" / job).exists())
            assert not (world.folder / "coordinator" / "artifacts" / job).exists()

    run(main)
