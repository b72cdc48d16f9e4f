"""A protocol as one straight-line async function whose calls are durable steps.

Who runs it: the coordinator.  After a crash the function runs again from its first line and
every finished step answers from the store, so the function may look at nothing but the job,
step results, and `ctx.now` / `ctx.random`, which are steps themselves.  The rules are
numbered in architecture.md, "The job engine"; the numbers below are theirs.

Learns: the coordinator: step names, sizes, digests, times; no content that is sealed.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NoReturn, Protocol

from protocol.errors import Failed
from protocol.transport.digest import step_digest
from protocol.transport.port import COORDINATOR, EVERYONE, ArtifactRef, JobRequest, StepKey

MAX_ATTEMPTS = 3
MAX_READ = 4 << 20  # the function itself reads small things only; heavy work is a step (rule 2)

LocalFunction = Callable[[Mapping[str, Path], Path], None]
ProtocolFunction = Callable[["JobContext"], Awaitable[None]]


@dataclass(frozen=True)
class StepSpec:
    """A step as the function asks for it.  party is `COORDINATOR` for the coordinator's own."""

    key: StepKey
    party: str
    recipient: str
    params: Mapping[str, Any]
    inputs: tuple[ArtifactRef, ...]
    plan_seconds: float

    @property
    def digest(self) -> bytes:
        return step_digest(self.key, self.party, self.recipient, self.params, self.inputs)


class Steps(Protocol):
    """What the engine needs of the coordinator: durable steps of one job."""

    async def party_result(self, spec: StepSpec) -> ArtifactRef:
        """Opens the step unless it is stored; returns its output or raises its error."""
        ...

    async def local_result(
        self, spec: StepSpec, make: Callable[[Path], None], job_hash: bytes
    ) -> ArtifactRef:
        """As `party_result`, the output made by `make` in a thread, signed by the coordinator."""
        ...

    async def virtual_result(
        self,
        spec: StepSpec,
        base: ArtifactRef,
        index: ArtifactRef,
        row_width: int,
        head: bytes,
        job_hash: bytes,
    ) -> ArtifactRef: ...

    def path(self, ref: ArtifactRef) -> Path:
        """File of a stored, not virtual, artifact of this job."""
        ...

    def begin_attempt(self, attempt: int) -> None: ...

    def now(self) -> float: ...

    def random(self, size: int) -> bytes: ...


class StartOver(Exception):
    """Leaves the function; the engine calls it again with the next attempt's context."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


async def run_attempts(function: ProtocolFunction, job: JobRequest, steps: Steps) -> None:
    """Calls `function` until it returns; at most `MAX_ATTEMPTS` contexts.

    Each attempt has a context of its own, and the old one goes dead: a branch of a `gather`
    that was left behind can no longer open a step, least of all under the new attempt's name.
    """
    for attempt in range(1, MAX_ATTEMPTS + 1):
        ctx = JobContext(job, steps, attempt)
        try:
            await function(ctx)
            return
        except StartOver as again:
            if attempt == MAX_ATTEMPTS:
                raise Failed(
                    again.reason,
                    f"{MAX_ATTEMPTS} attempts ended with {again.reason}",
                    next_step="run the job again later",
                ) from again
            ctx.close()
            steps.begin_attempt(attempt + 1)
        finally:
            ctx.close()


class JobContext:
    """All that a protocol function may see and do.  One instance per attempt and run."""

    def __init__(self, job: JobRequest, steps: Steps, attempt: int = 1) -> None:
        self.job = job
        self._steps = steps
        self._attempt = attempt
        self._used: set[StepKey] = set()
        self._job_hash = b""
        self._closed = False

    def close(self) -> None:
        """From here on every call cancels the task that makes it."""
        self._closed = True

    @property
    def attempt(self) -> int:
        """From 1; part of every step's name."""
        return self._attempt

    def bind_job_hash(self, job_hash: bytes) -> None:
        """The hash all parties admitted; what the coordinator signs from here on is under it."""
        self._job_hash = job_hash

    async def party_step(
        self,
        step_id: str,
        party: str,
        inputs: Mapping[str, ArtifactRef] | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        recipient: str = EVERYONE,
        plan_seconds: float = 0.0,
    ) -> ArtifactRef:
        """Has `party` do the step; its handler is chosen by the text before the first '/'.

        recipient: who may read the output; part of what the author signs.
        Raises the error the party reported, or Failed when the step's limit has passed.
        """
        if party not in self.job.parties:
            raise Failed("internal", f"step {step_id} is for {party}, who is not in the job")
        spec = self._spec(step_id, party, recipient, params, inputs, plan_seconds)
        return await self._steps.party_result(spec)

    async def local_step(
        self,
        step_id: str,
        function: LocalFunction,
        inputs: Mapping[str, ArtifactRef] | None = None,
        params: Mapping[str, Any] | None = None,
        *,
        recipient: str = EVERYONE,
    ) -> ArtifactRef:
        """Runs `function(paths of inputs by name, path to write)` in a thread, once, for ever."""
        spec = self._spec(step_id, COORDINATOR, recipient, params, inputs)
        paths = {name: self._steps.path(ref) for name, ref in (inputs or {}).items()}
        return await self._steps.local_result(
            spec, lambda out: function(paths, out), self._job_hash
        )

    async def virtual(
        self,
        step_id: str,
        base: ArtifactRef,
        index: ArtifactRef,
        row_width: int,
        head: bytes,
        *,
        recipient: str = EVERYONE,
    ) -> ArtifactRef:
        """An artifact that is `head` + body rows of `base` in the order of `index`, never copied.

        base: a framed artifact whose body is uint8[n, row_width].  index: a file of int64
        little-endian row numbers, no header.  head: `frames.frame_head(...)` of what comes out.
        Streamed by gathering when downloaded (rule 9); its digest is computed here.
        Raises Failed('bad_artifact') for a row number outside the base.
        """
        params = {"row_width": row_width, "head": head.hex()}
        spec = self._spec(step_id, COORDINATOR, recipient, params, {"base": base, "index": index})
        return await self._steps.virtual_result(spec, base, index, row_width, head, self._job_hash)

    async def now(self, step_id: str) -> float:
        """Seconds since 1970 when the step ran first."""
        return float(await self._value(step_id, lambda: self._steps.now()))

    async def random(self, step_id: str, size: int) -> bytes:
        """`size` bytes of the operating system's generator, drawn once."""
        drawn = await self._value(step_id, lambda: self._steps.random(size).hex(), {"size": size})
        return bytes.fromhex(str(drawn))

    def path(self, ref: ArtifactRef) -> Path:
        """File of an artifact, for a look at its header; heavy reading belongs in a step."""
        return self._steps.path(ref)

    async def read(self, ref: ArtifactRef) -> bytes:
        """Bytes of a small artifact that the coordinator may read (an Admission)."""
        if ref.size > MAX_READ:
            raise Failed("bad_artifact", f"{ref.step} is {ref.size} bytes; {MAX_READ} is the most")
        return await asyncio.to_thread(self._steps.path(ref).read_bytes)

    def new_attempt(self, reason: str) -> NoReturn:
        """Leaves the function; it is called again from its first line with `attempt` + 1.

        A new attempt is new everything (protocols.md section 2 step 4): open steps of this one
        are closed.  After attempt 3 the job fails with code `reason`.
        """
        raise StartOver(reason)

    async def _value(
        self, step_id: str, draw: Callable[[], Any], params: Mapping[str, Any] | None = None
    ) -> Any:
        spec = self._spec(step_id, COORDINATOR, COORDINATOR, params, None)

        def write(out: Path) -> None:
            out.write_text(json.dumps(draw()))

        ref = await self._steps.local_result(spec, write, self._job_hash)
        return json.loads(self._steps.path(ref).read_text())

    def _spec(
        self,
        step_id: str,
        party: str,
        recipient: str,
        params: Mapping[str, Any] | None,
        inputs: Mapping[str, ArtifactRef] | None,
        plan_seconds: float = 0.0,
    ) -> StepSpec:
        if self._closed:
            raise asyncio.CancelledError("this attempt is over")
        key = StepKey(self.job.id, self._attempt, step_id)
        # Rule 1: the author's string, used once; a counter would hide a reordering.
        if key in self._used:
            raise Failed("nondeterministic", f"step {step_id} is asked for twice", stage=step_id)
        self._used.add(key)
        named = tuple(replace(ref, name=name) for name, ref in (inputs or {}).items())
        return StepSpec(key, party, recipient, dict(params or {}), named, plan_seconds)
