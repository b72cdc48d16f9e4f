"""The node's loop: lease a step, do it, commit its output, only then let a byte leave (but for
encrypted rows, ADR 0013).

Who runs it: every node.  It dials out; nobody dials in.  architecture.md "The job engine",
rules 4 to 7 and 10.  What a step does is a handler, chosen by the text before the first '/'
of the step's id; the runner knows no protocol.

Learns: the party: the inputs of its own steps.
"""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import shutil
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from party_node.store import NodeStore, StoredOutput, instance_id
from party_node.transfer import Early, disk_words, keep, obtain, patiently, send
from protocol.defects import defect
from protocol.encoding import length_prefixed, sha256
from protocol.errors import AssentError, ErrorInfo, Failed, ProtocolViolation
from protocol.transport.digest import step_digest
from protocol.transport.port import (
    FAILED,
    WAITING,
    WORKING,
    ArtifactRef,
    CoordinatorPort,
    Instance,
    JobStatus,
    Progress,
    StepKey,
    StepLease,
)

log = logging.getLogger("assent.runner")
_JOB_ID = re.compile(r"[0-9a-f]{32}")
_ATTEMPTS = 3
# The step is over whatever this node does: the job ended, or started over, or is unknown.
_OVER = frozenset({"step_closed", "unknown_step", "unknown_job"})


@dataclass(frozen=True)
class LocalArtifact:
    """An input on this node's disk: digest and signature are verified already."""

    path: Path
    ref: ArtifactRef


@dataclass(frozen=True)
class StepTask:
    """What a handler gets.

    params: the step's public parameters.  inputs: by the name the protocol gave them.
    sealed: the requester's proposal to this party.  workdir: an empty folder that is removed
    after the step; write the output inside it.  progress(done, total): call it from any
    thread, it is cheap.  grew(path, size): the first `size` bytes of the output's file may
    leave before it is committed; only for what `steps.Outgoing.early` says.
    cancelled: set when the job ended; a long loop looks at it.
    """

    key: StepKey
    params: Mapping[str, Any]
    inputs: Mapping[str, LocalArtifact]
    requester: str
    parties: tuple[str, ...]
    recipient: str
    sealed: bytes
    workdir: Path
    progress: Callable[[int, int], None]
    grew: Callable[[Path, int], None]
    cancelled: threading.Event

    @property
    def job(self) -> str:
        return self.key.job

    @property
    def attempt(self) -> int:
        return self.key.attempt

    @property
    def step(self) -> str:
        return self.key.step


@dataclass(frozen=True)
class StepOutput:
    """path: the output file.  commit: joins the transaction that makes the output final
    (spend a reservation, keep a record); it runs once, before a byte leaves, on the node's
    own database, and must not commit by itself."""

    path: Path
    commit: Callable[[sa.Connection], None] | None = None


class WaitForApproval(Exception):
    """Raised by a handler: the owner has to decide first.  The step is tried again later."""


Handler = Callable[[StepTask], StepOutput]
Verify = Callable[[ArtifactRef], None]
"""Raises ProtocolViolation unless the reference's signature is its author's."""
Sign = Callable[[ArtifactRef], bytes]
"""Signs an own output; the reference has everything but the signature (and `id`)."""


@dataclass(frozen=True)
class Pace:
    """Durations in seconds; tests shorten them.  Heartbeats come from the coordinator's hello."""

    poll: float = 25.0
    retry: float = 0.2  # first pause after a lost call; doubles up to 5 s
    report: float = 0.5  # progress is reported this often, if it changed
    approval: float = 1.0  # how often a waiting step asks its owner's decision again


@dataclass
class _Active:
    """A step at work: its task, and what its handler thread says."""

    lease: StepLease
    cancelled: threading.Event = field(default_factory=threading.Event)
    progress: Progress = field(default_factory=Progress)
    task: asyncio.Task[None] | None = None


class Runner:
    """One node's loop.  `run` returns only by an error that nobody but the owner can mend.

    on_ended: wipe a job's keys, give back reservations; in a thread, after its last step here
    has stopped, once per job.  outgoing_error: what the coordinator may read of an error.
    """

    def __init__(
        self,
        *,
        party: str,
        port: CoordinatorPort,
        store: NodeStore,
        folder: Path,
        handlers: Mapping[str, Handler],
        sign: Sign,
        verify: Verify,
        on_ended: Callable[[JobStatus], None],
        outgoing_error: Callable[[StepKey, ErrorInfo], ErrorInfo] = lambda key, error: error,
        pace: Pace = Pace(),
        threads: int = 4,
    ) -> None:
        self._party, self._port, self._store = party, port, store
        self._work, self._outputs = folder / "work", folder / "outputs"
        self._handlers, self._sign, self._verify = handlers, sign, verify
        self._on_ended, self._outgoing_error, self._pace = on_ended, outgoing_error, pace
        self._instance = Instance(instance_id(folder), secrets.token_hex(16))
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="step")
        self._active: dict[StepKey, _Active] = {}
        self._ending: dict[str, asyncio.Task[None]] = {}
        self._heartbeat = 10.0

    async def run(self) -> None:
        """Until cancelled.  Raises Failed('second_instance') and other final refusals."""
        # What a crash left in the work folder was never committed: it is made again.
        shutil.rmtree(self._work, ignore_errors=True)
        try:
            hello = await patiently(
                lambda: self._port.hello(self._instance), pause=self._pace.retry
            )
            self._heartbeat = hello.heartbeat_seconds
            while True:
                await self._poll()
        finally:
            tasks = [active.task for active in self._active.values() if active.task is not None]
            for active in self._active.values():
                active.cancelled.set()
            for task in [*tasks, *self._ending.values()]:
                task.cancel()
            await asyncio.gather(*tasks, *self._ending.values(), return_exceptions=True)
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _poll(self) -> None:
        """One lease call and what came of it."""
        open_jobs = tuple(job for job in self._store.open_jobs() if job not in self._ending)
        answer = await patiently(
            lambda: self._port.lease(
                self._instance, tuple(self._active), open_jobs, self._pace.poll
            ),
            pause=self._pace.retry,
        )
        for status in answer.ended:
            if status.id in open_jobs and status.id not in self._ending:
                self._ending[status.id] = asyncio.create_task(self._end_job(status))
        if answer.step is not None and answer.step.key not in self._active:
            active = _Active(answer.step)
            self._active[answer.step.key] = active
            active.task = asyncio.create_task(self._attend(active))

    # -- one step --------------------------------------------------------------------------

    async def _attend(self, active: _Active) -> None:
        """Does the step while heartbeats say that it is wanted; reports what went wrong."""
        key = active.lease.key
        beats = asyncio.create_task(self._beat(active))
        try:
            await self._do(active)
        except AssentError as error:
            if error.info.code == "equivocation":
                self._distrust(active.lease, error.info)
            if error.info.code in _OVER or active.cancelled.is_set():
                log.info("%s is over: %s", key, error.info.code)
            else:
                await self._report(key, error.info, error.status)
        except Exception as error:  # a handler's bug ends its job in words, not the node
            log.error("step %s broke: %s", key, defect(error))
            words = "the node met an error in its own code; its log has the details"
            await self._report(key, ErrorInfo("internal", words), Failed.status)
        finally:
            beats.cancel()
            self._active.pop(key, None)
            shutil.rmtree(self._folder(key), ignore_errors=True)

    def _distrust(self, lease: StepLease, error: ErrorInfo) -> None:
        """Rule 4: the job is over at this node, whatever the coordinator says of it."""
        job = lease.key.job
        if job not in self._ending:
            status = JobStatus(
                job, lease.protocol, lease.protocol_version, lease.requester, lease.parties,
                FAILED, 0, lease.key.attempt, stage=lease.key.step, error=error,
            )  # fmt: skip
            self._ending[job] = asyncio.create_task(self._end_job(status))

    async def _report(self, key: StepKey, error: ErrorInfo, status: str) -> None:
        placed = replace(error, party=error.party or self._party, stage=error.stage or key.step)
        log.warning("%s: %s (%s)", key, placed.code, status)
        try:
            said = await asyncio.to_thread(self._outgoing_error, key, placed)
        except Exception as broken:  # the words may not leave then, that the step failed must
            log.error("sealing the error of %s broke: %s", key, defect(broken))
            said = replace(placed, cause="see this party's own record", next_step="")
        try:
            await patiently(lambda: self._port.fail(key, said, status), pause=self._pace.retry)
        except AssentError as answer:
            log.info("%s is over: %s", key, answer.info.code)
            if answer.info.code not in _OVER:
                # The coordinator is in trouble and will give the step again: not at once.
                await asyncio.sleep(self._heartbeat)

    async def _do(self, active: _Active) -> None:
        lease = active.lease
        self._check(lease)
        await asyncio.to_thread(self._store.open_job, lease.key.job)
        output = await asyncio.to_thread(self._store.output, lease.key, lease.input_digest)
        if output is None:
            output = await self._made(active)
        await send(self._port, lease.key, output, self._pace.retry)

    def _check(self, lease: StepLease) -> None:
        """1. its names are names; 2. it is ours; 3. the input digest is what its inputs give;
        4. we know how."""
        if not _JOB_ID.fullmatch(lease.key.job) or not 1 <= lease.key.attempt <= _ATTEMPTS:
            # A job id names folders here; a path in its place must not get that far.
            raise ProtocolViolation("bad_lease", "the coordinator sent a malformed job id")
        digest = step_digest(lease.key, lease.party, lease.recipient, lease.params, lease.inputs)
        if lease.party != self._party or digest != lease.input_digest:
            raise ProtocolViolation("bad_lease", "the coordinator sent a step that is not ours")
        if lease.kind not in self._handlers:
            raise Failed(
                "unknown_step_kind",
                f"this node does not know the step {lease.kind}",
                next_step="use the same version of assent at the coordinator and the companies",
            )

    async def _made(self, active: _Active) -> StoredOutput:
        """Inputs, handler, commit.  Nothing has left when this returns, but for the bytes of an
        output that its handler let go early."""
        lease = active.lease
        folder = self._folder(lease.key)
        with disk_words():
            shutil.rmtree(folder, ignore_errors=True)
            (folder / "inputs").mkdir(parents=True, mode=0o700)
        inputs = {}
        for ref in lease.inputs:
            if ref.job != lease.key.job:
                raise ProtocolViolation("bad_lease", "an input of another job")
            path = folder / "inputs" / sha256(ref.name.encode()).hex()[:32]
            # An own output, as big as a gigabyte, need not come back over the line.
            own = self._store.kept(ref.key, ref.sha256) if ref.author == self._party else None
            path = await obtain(self._port, lease.key, ref, own, path, self._pace.retry)
            await asyncio.to_thread(self._verify, ref)
            inputs[ref.name] = LocalArtifact(path, ref)
        async with Early(self._port, lease.key) as early:
            task = StepTask(
                key=lease.key,
                params=lease.params,
                inputs=inputs,
                requester=lease.requester,
                parties=lease.parties,
                recipient=lease.recipient,
                sealed=lease.sealed,
                workdir=folder,
                progress=lambda done, total: _note(active, Progress(WORKING, done, total)),
                grew=early.grew,
                cancelled=active.cancelled,
            )
            made = await self._handled(active, task)
            early.made()
            return await asyncio.to_thread(self._commit, active, made)

    async def _handled(self, active: _Active, task: StepTask) -> StepOutput:
        handler = self._handlers[active.lease.kind]
        while True:
            try:
                # Threads of their own: a long handler must not keep commits and ends waiting.
                return await asyncio.get_running_loop().run_in_executor(
                    self._threads, handler, task
                )
            except WaitForApproval:
                active.progress = Progress(WAITING)
            await asyncio.sleep(self._pace.approval)
            if active.cancelled.is_set():
                raise Failed("step_closed", "the job ended before it was approved")

    def _commit(self, active: _Active, made: StepOutput) -> StoredOutput:
        """Rule 4.  In a thread."""
        lease, key = active.lease, active.lease.key
        if active.cancelled.is_set():
            raise Failed("step_closed", "the job ended while the step was at work")
        target = self._outputs / key.job / _name(key)
        digest, size = keep(made.path, target)
        unsigned = ArtifactRef(
            "", "", key.job, key.attempt, key.step, self._party, lease.recipient, digest, size, b""
        )
        output = StoredOutput(lease.input_digest, target, digest, size, self._sign(unsigned))
        return self._store.commit(key, output, made.commit)

    async def _beat(self, active: _Active) -> None:
        """Heartbeats, sooner when there is progress to tell."""
        key, said, at = active.lease.key, Progress(), asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(min(self._pace.report, self._heartbeat))
            now, progress = asyncio.get_running_loop().time(), active.progress
            if progress == said and now - at < self._heartbeat:
                continue
            try:
                unwanted = await self._port.heartbeat(self._instance, key, progress)
            except AssentError as error:
                # A missed beat is made up by the next; a final refusal ends the lease loop.
                log.debug("heartbeat of %s: %s", key, error.info.code)
                continue
            said, at = progress, now
            if unwanted:
                active.cancelled.set()

    # -- the end of a job --------------------------------------------------------------------

    async def _end_job(self, status: JobStatus) -> None:
        """Stops the job's steps, then wipes what this node kept for it."""
        mine = [active for active in self._active.values() if active.lease.key.job == status.id]
        for active in mine:
            active.cancelled.set()
        running = [active.task for active in mine if active.task is not None]
        if running:
            # A handler in its thread cannot be stopped, only asked; what it writes must not
            # outlive the wipe, so the wipe waits for it.
            await asyncio.wait(running)
        try:
            await asyncio.to_thread(self._on_ended, status)
            await asyncio.to_thread(self._store.close_job, status.id)
        except Exception as error:  # the job stays open here and is wiped at the next start
            log.error("the end of job %s broke: %s", status.id, defect(error))
            return
        shutil.rmtree(self._outputs / status.id, ignore_errors=True)
        self._ending.pop(status.id, None)
        log.info("job %s %s", status.id, status.state)

    def _folder(self, key: StepKey) -> Path:
        return self._work / _name(key)


def _note(active: _Active, progress: Progress) -> None:
    active.progress = progress


def _name(key: StepKey) -> str:
    return sha256(length_prefixed(key.job, str(key.attempt), key.step)).hex()[:32]
