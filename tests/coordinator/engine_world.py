"""A small world for engine tests: coordinator and nodes in one process, times shrunk.

The protocols here are toys; what is under test is the engine around them.
"""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from coordinator.artifacts import ArtifactFiles
from coordinator.engine import JobContext, ProtocolFunction
from coordinator.jobs import Coordinator
from coordinator.local import Faults, LocalCoordinator, no_faults
from coordinator.timing import Timing
from party_node.runner import Handler, Pace, Runner, StepOutput, StepTask
from party_node.store import NodeStore
from protocol.errors import ErrorInfo, Failed, ProtocolViolation
from protocol.frames import frame_head
from protocol.transport.port import ArtifactRef, JobRequest, JobStatus, StepKey
from protocol.wire import coordinator_pb2 as pb

QUICK = Timing(
    lease=0.6, heartbeat=0.05, poll=0.4, absent=60.0, backoff=0.02, sweep=0.05, replay_settle=0.3
)
PACE = Pace(poll=0.4, retry=0.01, report=0.02, approval=0.03)
ROW = 16


def sign(ref: ArtifactRef) -> bytes:
    """A stand-in signature: binds author, step, recipient and digest."""
    text = f"{ref.job}{ref.attempt}{ref.step}{ref.author}{ref.recipient}"
    return hashlib.sha256(text.encode() + ref.sha256).digest()


def verify(ref: ArtifactRef) -> None:
    if ref.signature != sign(ref):
        raise ProtocolViolation("bad_signature", f"{ref.step} is not signed by {ref.author}")


async def echo(ctx: JobContext) -> None:
    """Parties write rows, the coordinator joins and lays out, a party reads everything."""
    first, *others = ctx.job.parties
    await ctx.now("clock")
    drawn = await ctx.random("draw", 8)
    said = await asyncio.gather(
        *(ctx.party_step(f"rows/{p}", p, params={"salt": drawn.hex()}) for p in ctx.job.parties)
    )
    named = dict(zip(ctx.job.parties, said, strict=True))

    def index(paths: Mapping[str, Path], out: Path) -> None:
        import numpy as np

        n = (paths[first].stat().st_size - len(HEAD)) // ROW
        np.arange(n, dtype="<i8")[::-1].tofile(out)

    order = await ctx.local_step("index", index, {first: named[first]})
    layout = await ctx.virtual("layout", named[first], order, ROW, HEAD, recipient=others[0])
    backwards = await ctx.party_step("copy", others[0], {"layout": layout}, recipient=first)
    await ctx.party_step("last", first, {"copy": backwards, **named}, recipient="coordinator")


HEAD = frame_head(pb.StepKey(job="x", attempt=1, step="rows"))


class Node:
    """A party's node with toy handlers; `made` lists every handler run."""

    def __init__(self, world: World, party: str, folder: Path) -> None:
        self.world, self.party, self.folder = world, party, folder
        self.made: list[StepKey] = []
        self.ended: list[JobStatus] = []
        self.results: dict[str, bytes] = {}
        self.store = NodeStore(folder / "node.sqlite")
        self.task: asyncio.Task[None] | None = None
        self.handlers: dict[str, Handler] = {
            "rows": self.rows, "copy": self.copy, "last": self.last,
        }  # fmt: skip

    def port(self) -> LocalCoordinator:
        return LocalCoordinator(lambda: self.world.core, self.party, self.world.faults)

    def start(self, port: Any = None) -> asyncio.Task[None]:
        runner = Runner(
            party=self.party, port=port or self.port(), store=self.store, folder=self.folder,
            handlers=self.handlers, sign=sign, verify=self.world.verify, on_ended=self.ended.append,
            outgoing_error=self._outgoing, pace=PACE,
        )  # fmt: skip
        self.task = asyncio.create_task(runner.run())
        return self.task

    async def kill(self) -> None:
        if self.task is not None:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)

    def _outgoing(self, key: StepKey, error: ErrorInfo) -> ErrorInfo:
        return replace(error, next_step=error.next_step or "seen")

    def rows(self, task: StepTask) -> StepOutput:
        """Fresh randomness every time: a second answer would be another.  Leaves early."""
        self.made.append(task.key)
        out = task.workdir / "out"
        with out.open("wb") as file:
            file.write(HEAD)
            for start in range(0, self.world.rows, 10_000):
                file.write(secrets.token_bytes(ROW * min(10_000, self.world.rows - start)))
                file.flush()
                task.grew(out, file.tell())
        task.progress(1, 1)
        return StepOutput(out)

    def copy(self, task: StepTask) -> StepOutput:
        self.made.append(task.key)
        out = task.workdir / "out"
        out.write_bytes(task.inputs["layout"].path.read_bytes())
        return StepOutput(out)

    def last(self, task: StepTask) -> StepOutput:
        self.made.append(task.key)
        original = task.inputs[self.party].path.read_bytes()[len(HEAD) :]
        copied = task.inputs["copy"].path.read_bytes()[len(HEAD) :]
        split = [original[at : at + ROW] for at in range(0, len(original), ROW)]
        assert b"".join(reversed(split)) == copied
        self.results[task.job] = copied
        out = task.workdir / "out"
        out.write_bytes(b"done")
        return StepOutput(out)


class World:
    """Use as `async with World(tmp_path) as world`."""

    def __init__(
        self,
        folder: Path,
        *,
        function: ProtocolFunction = echo,
        parties: tuple[str, ...] = ("ann", "bob"),
        faults: Faults = no_faults,
        timing: Timing = QUICK,
        rows: int = 5,
        write: Callable[[int, bytes], int] | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.folder, self.parties, self.faults = folder, parties, faults
        self.timing, self.rows, self._write, self._clock = timing, rows, write, clock
        self.registry: dict[tuple[str, int], ProtocolFunction] = {("echo", 1): function}
        self.core: Coordinator | None = None
        self.verify: Callable[[ArtifactRef], None] = verify
        self.nodes = {name: Node(self, name, folder / name) for name in parties}

    async def __aenter__(self) -> World:
        await self.start_coordinator()
        for node in self.nodes.values():
            node.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for node in self.nodes.values():
            await node.kill()
            node.store.close()
        await self.stop_coordinator()

    async def start_coordinator(self) -> None:
        folder = self.folder / "coordinator"
        more: dict[str, Any] = {}
        if self._write is not None:
            more["files"] = ArtifactFiles(folder / "artifacts", write=self._write)
        if self._clock is not None:
            more["clock"] = self._clock
        core = Coordinator(
            folder, frozenset(self.parties), self.registry, lambda ref, _hash: sign(ref),
            timing=self.timing, **more,
        )  # fmt: skip
        await core.start()
        self.core = core

    async def stop_coordinator(self) -> None:
        core, self.core = self.core, None
        if core is not None:
            await core.stop()

    async def restart_coordinator(self) -> None:
        await self.stop_coordinator()
        await self.start_coordinator()

    async def submit(self, **params: Any) -> str:
        job = secrets.token_hex(16)
        request = JobRequest(job, "echo", 1, self.parties[0], self.parties, params)
        port = LocalCoordinator(lambda: self.core, self.parties[0])
        await port.submit(request)
        return job

    async def end_of(self, job: str, seconds: float = 20.0) -> JobStatus:
        """The job's end; a job that hangs is a failure."""
        port = LocalCoordinator(lambda: self.core, self.parties[0])

        async def wait() -> JobStatus:
            version = 0
            while True:
                if self.core is None:
                    await asyncio.sleep(0.01)
                    continue
                try:
                    status = await port.watch(job, version, 0.2)
                except Exception as error:
                    if getattr(getattr(error, "info", None), "code", "") != "unavailable":
                        raise
                    continue
                if status.ended:
                    return status
                version = status.version

        async with asyncio.timeout(seconds):
            return await wait()

    def steps(self, job: str) -> list[Any]:
        assert self.core is not None
        return self.core.store.steps(job)


async def until(condition: Callable[[], bool], seconds: float = 5.0) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)


def run(main: Callable[[], Awaitable[None]]) -> None:
    async def call() -> None:
        await main()

    asyncio.run(call())


def slow(world: World, party: str, kind: str) -> asyncio.Event:
    """Makes a step wait (in its thread) until the job is cancelled; the event says it runs."""
    loop, started = asyncio.get_running_loop(), asyncio.Event()

    def handler(task: StepTask) -> StepOutput:
        loop.call_soon_threadsafe(started.set)
        task.cancelled.wait(10)
        raise Failed("cancelled", "asked to stop")

    world.nodes[party].handlers[kind] = handler
    return started


async def stuck_job(world: World, party: str, kind: str) -> str:
    """A new job in which `party` is at a step of `kind` that goes on until it is cancelled."""
    started = slow(world, party, kind)
    job = await world.submit()
    await asyncio.wait_for(started.wait(), 5)
    return job
