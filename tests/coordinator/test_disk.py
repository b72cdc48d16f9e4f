"""Full disks and corrupted bytes: noticed, said in words, nothing released."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from party_node.transfer import disk_words
from protocol.transport.port import StepKey
from tests.coordinator.engine_world import World, run


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
