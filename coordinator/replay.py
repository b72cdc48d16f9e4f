"""The steps of one run of one protocol function: stored results, or new work.

Who runs it: the coordinator's engine.  Engine rules 2 and 3: on replay a step must be known
with the same input digest, and every stored step must be asked for again; else the job
fails `nondeterministic`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from coordinator.artifacts import ArtifactFiles, VirtualReader, disk_words, file_digest
from coordinator.engine import StepSpec
from coordinator.rows import OPEN, StepRow, artifact_id
from coordinator.steps import StepBoard
from coordinator.store import Store
from coordinator.timing import Timing
from protocol.errors import AssentError, Failed
from protocol.transport.port import COORDINATOR, ArtifactRef, StepKey

Signer = Callable[[ArtifactRef, bytes], bytes]
"""The coordinator's signature over a reference, under a job hash (b"" before there is one)."""


class JobSteps:
    """Implements `engine.Steps` for one run."""

    def __init__(
        self,
        job: str,
        store: Store,
        files: ArtifactFiles,
        board: StepBoard,
        timing: Timing,
        clock: Callable[[], float],
        random: Callable[[int], bytes],
        sign: Signer,
        changed: Callable[[str], None],
    ) -> None:
        self._job, self._store, self._files, self._board = job, store, files, board
        self._timing, self._clock, self._random = timing, clock, random
        self._sign, self._changed = sign, changed
        self._unvisited = {row.key for row in store.steps(job)}
        self._all_visited = asyncio.Event()
        self._note_visits()

    def now(self) -> float:
        return self._clock()

    def random(self, size: int) -> bytes:
        return self._random(size)

    def path(self, ref: ArtifactRef) -> Path:
        row = self._store.step(ref.key)
        if row is None or row.virtual is not None:
            raise Failed("internal", f"{ref.step} has no file at the coordinator")
        return self._files.path(ref.job, ref.id)

    def begin_attempt(self, attempt: int) -> None:
        self._store.begin_attempt(self._job, attempt, self._clock())
        self._board.forget(self._job, attempt)
        # Branches that the earlier attempt left behind stopped somewhere, on replay perhaps
        # earlier: what they had opened is of no account.
        self._unvisited = {key for key in self._unvisited if key.attempt >= attempt}
        self._note_visits()
        self._changed(self._job)

    def check_all_visited(self) -> None:
        """At the function's end: it asked for everything it asked for before."""
        if self._unvisited:
            raise _nondeterministic(min(key.step for key in self._unvisited), "left out")

    async def party_result(self, spec: StepSpec) -> ArtifactRef:
        await self._stored_or_opened(spec)
        return await self._board.result(spec.key)

    async def local_result(
        self, spec: StepSpec, make: Callable[[Path], None], job_hash: bytes
    ) -> ArtifactRef:
        row = await self._stored_or_opened(spec)
        if row.state != OPEN:
            return await self._board.result(spec.key)
        artifact = artifact_id(spec.key)
        try:
            digest = await asyncio.to_thread(
                self._files.put, self._job, artifact, make, spec.key.step
            )
        except AssentError as error:
            # A function may catch it, so a replay has to meet the same error.
            self._store.break_step(spec.key, error.info, error.status)
            raise
        size = self._files.received(self._job, artifact)
        return self._finish(spec, digest, size, job_hash, None)

    async def virtual_result(
        self,
        spec: StepSpec,
        base: ArtifactRef,
        index: ArtifactRef,
        row_width: int,
        head: bytes,
        job_hash: bytes,
    ) -> ArtifactRef:
        row = await self._stored_or_opened(spec)
        if row.state != OPEN:
            return await self._board.result(spec.key)
        paths = self.path(base), self.path(index)
        with disk_words(spec.key.step):
            await asyncio.to_thread(_check_digest, paths[0], base)
            digest, size = await asyncio.to_thread(
                _virtual_digest, paths[0], paths[1], row_width, head
            )
        virtual = {
            "base": base.id, "index": index.id, "row_width": row_width, "head": head.hex(),
        }  # fmt: skip
        return self._finish(spec, digest, size, job_hash, virtual)

    def _finish(
        self,
        spec: StepSpec,
        digest: bytes,
        size: int,
        job_hash: bytes,
        virtual: dict[str, object] | None,
    ) -> ArtifactRef:
        unsigned = ArtifactRef(
            artifact_id(spec.key), "", self._job, spec.key.attempt, spec.key.step,
            COORDINATOR, spec.recipient, digest, size, b"",
        )  # fmt: skip
        signature = self._sign(unsigned, job_hash)
        if not self._store.finish_step(spec.key, digest, size, signature, virtual):
            raise Failed("step_closed", "the job has ended or started over", stage=spec.key.step)
        self._changed(self._job)
        return replace(unsigned, signature=signature)

    async def _stored_or_opened(self, spec: StepSpec) -> StepRow:
        key = spec.key
        row = self._store.step(key)
        if row is None:
            await self._settle_replay(key)
            if not self._store.open_step(spec, self._clock()):
                raise Failed("step_closed", "the job has ended", stage=key.step)
            self._changed(self._job)
            row = self._store.step(key)
        if row is None or row.digest != spec.digest:
            raise _nondeterministic(key.step, "asked for with another input")
        self._unvisited.discard(key)
        self._note_visits()
        return row

    def _note_visits(self) -> None:
        if not self._unvisited:
            self._all_visited.set()

    async def _settle_replay(self, key: StepKey) -> None:
        """A new step while stored ones are not yet asked for: other branches of a `gather` may
        still be on their way to theirs, so wait a little; then it is a changed function."""
        if key in self._unvisited or self._all_visited.is_set():
            return
        try:
            async with asyncio.timeout(self._timing.replay_settle):
                await self._all_visited.wait()
        except TimeoutError:
            raise _nondeterministic(key.step, "unknown, while stored steps are left out") from None


def _check_digest(path: Path, ref: ArtifactRef) -> None:
    """Nobody downloads the base of a layout whole, so its reader is the coordinator itself."""
    if file_digest(path) != ref.sha256:
        raise Failed(
            "corrupt_artifact",
            f"the coordinator's disk has other bytes of {ref.step} than {ref.author} signed",
            party=COORDINATOR,
            stage=ref.step,
            next_step="its operator checks the disk, then run the job again",
        )


def _virtual_digest(base: Path, index: Path, row_width: int, head: bytes) -> tuple[bytes, int]:
    reader = VirtualReader(base, index, row_width, head)
    return reader.digest(), reader.size


def _nondeterministic(step: str, what: str) -> Failed:
    return Failed(
        "nondeterministic",
        f"on replay the step {step} was {what}",
        party=COORDINATOR,
        stage=step,
        next_step="the coordinator's code changed without a new protocol version; run again",
    )
