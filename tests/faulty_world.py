"""The in-memory world with a hand in it: kills at a chosen moment of a step, hostile outputs,
lying leases, full disks, clocks that differ.

A `Moment` names where a job is.  `on(moment)` is asked at every one and answers with what
happens there; it runs in the thread or task that does the step, so a kill there is a kill in
the middle of it.  What a killed node's threads still do is waited for or thrown away, as it
would be gone with the process.
"""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from coordinator.artifacts import ArtifactFiles
from coordinator.engine import ProtocolFunction
from coordinator.jobs import Coordinator
from coordinator.local import LocalCoordinator
from coordinator.main import signer
from coordinator.protocols import REGISTRY
from party_node.desk import Desk
from party_node.runner import StepOutput, StepTask
from protocol.errors import AssentError, Failed
from protocol.release.budget import Account
from protocol.transport.digest import step_digest
from protocol.transport.port import COORDINATOR, StepKey, StepLease
from tests.world import Company, Outcome, World

# In the order in which a step goes through them.
BEGIN = "begin"  # in the handler's thread, before it does anything
MADE = "made"  # in the handler's thread, its output is written and not committed
COMMITTED = "committed"  # before the first byte leaves
SENT = "sent"  # all bytes are at the coordinator, it has not been told that they are all
TOLD = "told"  # the coordinator has completed the step, the node has not heard it
PUT = "put"  # in a thread of the coordinator, before the output of its own step is written
MOMENTS = (BEGIN, MADE, COMMITTED, SENT, TOLD)
KILL_NODE, KILL_COORDINATOR = "kill node", "kill coordinator"


class Killed(BaseException):
    """Ends what a dead process was at.  Not an Exception: nobody may handle it."""


@dataclass(frozen=True)
class Moment:
    name: str
    party: str
    step: str
    attempt: int
    task: StepTask | None = None
    output: Path | None = None

    @property
    def kind(self) -> str:
        return self.step.split("/")[0]

    @property
    def id(self) -> tuple[str, str, str, int]:
        return (self.name, self.party, self.step, self.attempt)


Answer = str | None
On = Callable[[Moment], Answer]


@dataclass
class _Life:
    """One process of a node, from start to kill."""

    number: int
    over: threading.Event = field(default_factory=threading.Event)
    committing: int = 0


class FaultyWorld(World):
    """on: what happens at each moment.  lie: a coordinator's lease as the node gets it."""

    def __init__(
        self,
        folder: Path,
        companies: dict[str, Company],
        *,
        on: On = lambda moment: None,
        lie: Callable[[StepLease], StepLease] = lambda lease: lease,
        registry: dict[tuple[str, int], ProtocolFunction] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(folder, companies, **options)
        self.on, self.lie = on, lie
        self.registry = REGISTRY | (registry or {})
        self.skews: dict[str, float] = {}
        self.kills: list[tuple[str, str, str, int]] = []
        self.problems: list[BaseException] = []
        self._lives: dict[str, _Life] = {}
        self._restarting = asyncio.Lock()
        self._common = self.now
        self.fell = asyncio.Event()  # set when this coordinator is killed

    # -- processes -------------------------------------------------------------------------

    async def start_coordinator(self) -> None:
        folder = self._path("coordinator")
        self.coordinator = Coordinator(
            folder, frozenset(self.companies), self.registry, signer(self.keys["coordinator"]),
            timing=self.timing, clock=self._common, files=_Files(folder / "artifacts", self),
        )  # fmt: skip
        await self.coordinator.start()

    async def start_node(self, name: str) -> None:
        self.loop = asyncio.get_running_loop()
        self.now = lambda: self._common() + self.skews.get(name, 0.0)
        try:
            await super().start_node(name)
        finally:
            self.now = self._common
        # The task has not run yet: what it will call is put in place first.
        life = self._lives[name] = _Life(len(self.kills))
        node = self.nodes[name]
        runner: Any = node.runner
        port: Any = _Port(runner._port, self, name, life)
        runner._port, self.desks[name] = port, Desk(node.ctx, port, dict)
        runner._handlers = {
            kind: self._watched(name, life, handler) for kind, handler in runner._handlers.items()
        }
        commit = runner._commit

        def counted(*args: Any) -> Any:
            life.committing += 1
            try:
                return commit(*args)
            finally:
                life.committing -= 1

        runner._commit = counted

    def _watched(self, name: str, life: _Life, handler: Any) -> Any:
        def run(task: StepTask) -> StepOutput:
            key = task.key
            self._in_thread(Moment(BEGIN, name, key.step, key.attempt, task), life)
            made: StepOutput = handler(task)
            self._in_thread(Moment(MADE, name, key.step, key.attempt, task, made.path), life)
            return made

        return run

    def _in_thread(self, moment: Moment, life: _Life) -> None:
        if life.over.is_set():
            raise Killed
        answer = self.on(moment)
        if answer is None:
            return
        self.kills.append(moment.id)
        if answer == KILL_NODE:
            asyncio.run_coroutine_threadsafe(self.kill_node(moment.party, life), self.loop)
            life.over.wait(20)
            raise Killed
        self.now_in_loop(self.kill_coordinator())
        if moment.name == PUT:
            raise Killed

    async def in_task(self, moment: Moment, life: _Life) -> None:
        answer = self.on(moment)
        if answer is None:
            return
        self.kills.append(moment.id)
        if answer == KILL_NODE:
            self._reaper = asyncio.create_task(self.kill_node(moment.party, life))
            await asyncio.sleep(60)  # cancelled by the kill
        await self.kill_coordinator()
        raise Failed("unavailable", "the coordinator was killed")

    def now_in_loop(self, work: Awaitable[Any]) -> Any:
        """For a moment in a thread: does something asynchronous and waits for it."""
        return asyncio.run_coroutine_threadsafe(_awaited(work), self.loop).result(30)

    async def kill_node(self, name: str, life: _Life | None = None) -> None:
        """Kills and starts again; the second kill of one life is one kill."""
        async with self._restarting:
            life = life or self._lives[name]
            if life is not self._lives[name] or life.over.is_set():
                return
            try:
                task, runner = self.tasks.pop(name), self.nodes[name].runner
                life.over.set()
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
                await asyncio.to_thread(runner._threads.shutdown, True)
                while life.committing:
                    await asyncio.sleep(0.01)
                self.nodes.pop(name).close()
                self.gates.pop(name).close()
                await self.start_node(name)
            except BaseException as error:
                self.problems.append(error)
                raise

    async def kill_coordinator(self) -> None:
        async with self._restarting:
            fell, self.fell = self.fell, asyncio.Event()
            await self.stop_coordinator()
            fell.set()
            await asyncio.sleep(0.01)
            await self.start_coordinator()

    # -- jobs ------------------------------------------------------------------------------

    async def outcome(self, requester: str, job_id: str, limit: float = 60.0) -> Outcome:
        """As the analyst's command does: asks again while nobody answers."""
        async with asyncio.timeout(limit):
            while True:
                try:
                    found = await super().outcome(requester, job_id, limit)
                except AssentError as error:
                    if error.info.code != "unavailable":
                        raise
                    await asyncio.sleep(0.02)
                    continue
                assert not self.problems, self.problems
                return found

    def withdraw(self, party: str, kind: str, identifier: str) -> None:
        """From a moment in a thread: one person's withdrawal, as at a counter."""
        self.now_in_loop(self.gates[party].withdraw(kind, identifier))

    # -- how a bad end looks -----------------------------------------------------------------

    async def assert_over(self, outcome: Outcome) -> None:
        """However it ended: no step hangs, every job secret is wiped, artifacts are gone."""
        job = outcome.job_id
        for name in self.companies:
            await self.until(lambda name=name: not self._left_at(name, job), 10.0)
        assert self.coordinator is not None
        assert not [s for s in self.coordinator.store.open_steps() if s.key.job == job]
        assert not (self.folder / "coordinator" / "artifacts" / job).exists()

    def _left_at(self, name: str, job: str) -> list[str]:
        folder, node = self.folder / name, self.nodes.get(name)
        left = [str(path) for path in (folder / "jobs" / job, folder / "outputs" / job)
                if path.exists()]  # fmt: skip
        if node is None:
            return [*left, "restarting"]
        if job in node.store.open_jobs():
            left.append("open")
        return left

    async def assert_ended(
        self, outcome: Outcome, state: str, code: str, *words: str, party: str = "", spent: int = 0
    ) -> None:
        """A bad end ends well: state, code, words at the analyst, nothing released, budget back."""
        assert (outcome.state, outcome.code) == (state, code), outcome.error
        assert outcome.error is not None
        for word in words:
            assert word in outcome.error["cause"], outcome.error["cause"]
        assert not outcome.error["cause"].startswith("the words"), "the analyst reads no cause"
        if party:
            assert outcome.error["party"] == party
        assert outcome.error["stage"] or state == "failed"
        assert outcome.result is None
        await self.assert_over(outcome)
        for name, node in self.nodes.items():
            if not node.ctx.records.known(outcome.job_id):
                continue
            record = node.ctx.records.record(outcome.job_id)
            assert not {"result", "signed"} & set(record), name
        self.assert_spent(outcome.job_id, spent)

    def assert_spent(self, job: str, nano: int) -> None:
        """All of a job's reservations were spent or given back; `nano` was spent, in 1e-9 rho."""
        from sqlalchemy import text

        total = 0
        for node in self.nodes.values():
            with node.store.engine.connect() as db:
                query = text("SELECT attempt, kind, rho_nano FROM budget_entries WHERE job = :job")
                rows = db.execute(query, {"job": job}).all()
            reserved = {row.attempt for row in rows if row.kind == "reserve"}
            closed = {row.attempt for row in rows if row.kind in ("spend", "release")}
            assert reserved == closed
            total += sum(row.rho_nano for row in rows if row.kind == "spend")
        assert total == nano


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


class _Files(ArtifactFiles):
    """The coordinator's own steps have moments too."""

    def __init__(self, folder: Path, world: FaultyWorld) -> None:
        super().__init__(folder)
        self._world, self._life = world, _Life(0)

    def put(self, job: str, artifact: str, make: Callable[[Path], None], stage: str) -> bytes:
        self._world._in_thread(Moment(PUT, COORDINATOR, stage, 0), self._life)
        return super().put(job, artifact, make, stage)


class _Port:
    """A node's port that knows which step a call is about."""

    def __init__(self, port: LocalCoordinator, world: FaultyWorld, name: str, life: _Life) -> None:
        self._port, self._world, self._name, self._life = port, world, name, life

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    async def lease(self, *args: Any) -> Any:
        answer = await self._unless_killed(self._port.lease(*args))
        if answer.step is None:
            return answer
        return replace(answer, step=self._world.lie(answer.step))

    async def watch(self, *args: Any) -> Any:
        return await self._unless_killed(self._port.watch(*args))

    async def _unless_killed(self, call: Coroutine[Any, Any, Any]) -> Any:
        """A waiting call breaks off with the connection, not when it would have answered."""
        called = asyncio.create_task(call)
        fell = asyncio.create_task(self._world.fell.wait())
        try:
            await asyncio.wait({called, fell}, return_when=asyncio.FIRST_COMPLETED)
            if not called.done():
                raise Failed("unavailable", "the connection broke")
            return called.result()
        finally:
            fell.cancel()
            called.cancel()

    async def upload_state(self, key: StepKey, sha256: bytes, size: int) -> Any:
        await self._moment(COMMITTED, key)
        return await self._port.upload_state(key, sha256, size)

    async def complete(self, key: StepKey, *args: Any) -> None:
        await self._moment(SENT, key)
        await self._port.complete(key, *args)
        await self._moment(TOLD, key)

    async def _moment(self, name: str, key: StepKey) -> None:
        await self._world.in_task(Moment(name, self._name, key.step, key.attempt), self._life)


def once(name: str, answer: str) -> On:
    """`answer` at the first passing of moment `name` of every step."""
    passed: set[tuple[str, str, str, int]] = set()

    def on(moment: Moment) -> Answer:
        if moment.name != name or moment.id in passed:
            return None
        passed.add(moment.id)
        return answer

    return on


def lying(lease: StepLease, **changes: Any) -> StepLease:
    """A lease with other contents whose digest fits them, as a hostile coordinator makes it."""
    lied = replace(lease, **changes)
    digest = step_digest(lied.key, lied.party, lied.recipient, lied.params, lied.inputs)
    return replace(lied, input_digest=digest)


def fill_disk(patch: pytest.MonkeyPatch, folder: Path) -> None:
    """From here on nothing can be made durable under `folder`."""
    fsync = os.fsync

    def full(descriptor: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{descriptor}")).is_relative_to(folder):
            raise OSError(errno.ENOSPC, "No space left on device")
        fsync(descriptor)

    patch.setattr(os, "fsync", full)


def remaining(world: World, owner: str, recipient: str, purpose: str) -> int:
    """What the owner's ledger could still pay, in 1e-9 rho."""
    ctx = world.nodes[owner].ctx
    policy = ctx.party.policy
    account = Account(owner, recipient, purpose, policy.rho_nano, policy.rho_all_nano)
    return ctx.ledger.remaining(account)
