"""Jobs: submit, run the protocol function, end; and what may end them from outside.

Who runs it: the coordinator, one instance per process.  `Coordinator` is the core that the
gRPC service and the in-memory port call; `peer` is always an authenticated party name.
architecture.md "The job engine".

Learns: the coordinator: job ids, protocols, parties, public parameters, step names, sizes.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import time
from collections.abc import Callable, Mapping
from pathlib import Path

from coordinator.artifacts import ArtifactFiles
from coordinator.engine import ProtocolFunction, run_attempts
from coordinator.parties import Bell, Parties
from coordinator.replay import JobSteps, Signer
from coordinator.rows import OPEN, JobRow, StepRow, request_digest
from coordinator.steps import StepBoard
from coordinator.store import Store
from coordinator.timing import Timing
from protocol.defects import defect
from protocol.errors import AssentError, BadInput, ErrorInfo, Failed, Refused
from protocol.transport.port import (
    ASKING,
    COORDINATOR,
    ENDED,
    FAILED,
    REFUSED,
    RELEASED,
    RUNNING,
    HelloAnswer,
    Instance,
    JobRequest,
    JobStatus,
    LeaseAnswer,
    Progress,
    StepKey,
)

log = logging.getLogger(__name__)
_ID = re.compile(r"[0-9a-f]{32}")


class Coordinator:
    """registry: (protocol, version) → function.  parties: names that may take part.

    Use as: `await start()` (runs unfinished jobs again), …, `await stop()`.
    """

    def __init__(
        self,
        folder: Path,
        parties: frozenset[str],
        registry: Mapping[tuple[str, int], ProtocolFunction],
        sign: Signer,
        *,
        timing: Timing = Timing(),  # noqa: B008  frozen
        clock: Callable[[], float] = time.time,
        random: Callable[[int], bytes] = os.urandom,
        version: str = "",
        files: ArtifactFiles | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.timing, self._clock, self._random, self._version = timing, clock, random, version
        self._names, self._registry, self._sign = parties, registry, sign
        self.store = Store(folder / "coordinator.sqlite")
        self.files = files or ArtifactFiles(folder / "artifacts")
        self.parties = Parties(self.store, timing.lease, clock)
        self.board = StepBoard(
            self.store, self.files, self.parties, timing, clock, self._change, self._end_from_step
        )
        self._versions: dict[str, int] = {}
        self._bells: dict[str, Bell] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._sweeper: asyncio.Task[None] | None = None

    async def start(self) -> None:
        running = self.store.running_jobs()
        kept = {row.request.id for row in running}
        for job in self.files.stored_jobs():
            if job not in kept:
                self.files.delete_job(job)
        for row in running:
            self._run(row)
        self._sweeper = asyncio.create_task(self._sweep_forever())

    async def stop(self) -> None:
        """As a crash would, but tidily: nothing is decided here."""
        tasks = [*self._runs.values(), *([self._sweeper] if self._sweeper else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.parties.save()
        self.store.close()

    # -- calls of a party --------------------------------------------------------------------

    def hello(self, peer: str, instance: Instance) -> HelloAnswer:
        if instance != ASKING and self.parties.hello(peer, instance):
            self.board.drop_leases(peer)
        timing = self.timing
        return HelloAnswer(self._version, self._clock(), peer, timing.lease, timing.heartbeat)

    def submit(self, peer: str, request: JobRequest) -> JobStatus:
        self._check_request(peer, request)
        now = self._clock()
        fresh = self.store.job(request.id) is None
        row = self.store.add_job(request, now, now + self.timing.job)
        if row.digest != request_digest(request):
            raise BadInput(f"job id {request.id} is taken by another job")
        if fresh:
            self._run(row)
        return self.status(row)

    async def lease(
        self,
        peer: str,
        instance: Instance,
        holding: tuple[StepKey, ...],
        open_jobs: tuple[str, ...],
        wait_seconds: float,
    ) -> LeaseAnswer:
        loop = asyncio.get_running_loop()
        until = loop.time() + min(wait_seconds, self.timing.poll)
        while True:
            self.parties.check(peer, instance)
            ended = tuple(self._ended(peer, job) for job in open_jobs if self._has_ended(job))
            step, soonest = self.board.take(peer, instance, holding)
            if step is not None:
                job = self.store.job(step.key.job)
                if job is not None:
                    return LeaseAnswer(self.board.as_lease(step, job), ended)
            left = until - loop.time()
            if ended or left <= 0:
                return LeaseAnswer(None, ended)
            await self.parties.bell(peer).wait(min(left, soonest))

    def heartbeat(self, peer: str, instance: Instance, key: StepKey, progress: Progress) -> bool:
        self.parties.check(peer, instance)
        return self.board.heartbeat(peer, instance, key, progress)

    async def watch(
        self, peer: str, job: str, since_version: int, wait_seconds: float
    ) -> JobStatus:
        loop = asyncio.get_running_loop()
        until = loop.time() + min(wait_seconds, self.timing.poll)
        while True:
            status = self.status(self._visible(peer, job))
            left = until - loop.time()
            if status.version != since_version or status.ended or left <= 0:
                return status
            await self._bells.setdefault(job, Bell()).wait(left)

    def list_jobs(self, peer: str, limit: int) -> tuple[JobStatus, ...]:
        rows = [row for row in self.store.jobs() if peer in row.request.parties]
        return tuple(self.status(row) for row in rows[: max(0, min(limit, 1000))])

    def cancel(self, peer: str, job: str, reason: str) -> JobStatus:
        """Any party of the job may: its rows are its own."""
        self._visible(peer, job)
        words = f"cancelled by {peer}" + (f": {reason[:200]}" if reason else "")
        self._end(job, FAILED, ErrorInfo("cancelled", words, party=peer))
        return self.status(self._visible(peer, job))

    # -- state -------------------------------------------------------------------------------

    def status(self, row: JobRow) -> JobStatus:
        job = row.request
        stage, party, progress = "", "", Progress()
        if row.state == RUNNING:
            current = self._current_step(row)
            if current is not None:
                stage, party = current.key.step, current.party
                progress = self.board.progress(current.key)
        elif row.error is not None:
            stage, party = row.error.stage, row.error.party
        return JobStatus(
            id=job.id,
            protocol=job.protocol,
            protocol_version=job.version,
            requester=job.requester,
            parties=job.parties,
            state=row.state,
            version=self._versions.get(job.id) or int(row.changed * 1e6),
            attempt=row.attempt,
            stage=stage,
            party=party,
            progress=progress,
            error=row.error,
            created=row.created,
            changed=row.changed,
        )

    def _current_step(self, row: JobRow) -> StepRow | None:
        """Of the open steps the one that says most: at work before waiting for its party."""
        steps = [step for step in self.store.steps(row.request.id) if step.state == OPEN]
        busy = [step for step in steps if self.board.leased(step.key)]
        return (busy or steps or [None])[0]  # type: ignore[list-item]

    def _visible(self, peer: str, job: str) -> JobRow:
        row = self.store.job(job)
        if row is None or peer not in row.request.parties:
            raise BadInput(f"no job {job}", code="unknown_job")
        return row

    def _has_ended(self, job: str) -> bool:
        row = self.store.job(job)
        return row is None or row.state in ENDED

    def _ended(self, peer: str, job: str) -> JobStatus:
        row = self.store.job(job)
        if row is not None and peer in row.request.parties:
            return self.status(row)
        # The coordinator lost its folder, or the node asks about somebody else's job.
        lost = ErrorInfo("unknown_job", "the coordinator does not know this job")
        return JobStatus(job, "", 0, "", (), FAILED, 0, 0, error=lost)

    def _check_request(self, peer: str, request: JobRequest) -> None:
        if not _ID.fullmatch(request.id):
            raise BadInput("a job id is 32 hex digits")
        if request.requester != peer:
            raise BadInput(f"{peer} cannot submit in the name of {request.requester}")
        if peer not in request.parties or len(set(request.parties)) != len(request.parties):
            raise BadInput("the parties of a job are distinct and include its requester")
        for party in (*request.parties, *request.sealed):
            if party not in self._names or party not in request.parties:
                raise BadInput(
                    f"{party} is not in the coordinator's collaboration.yaml",
                    code="unknown_party",
                    next_step="exchange cards with the coordinator's operator first",
                )
        if (request.protocol, request.version) not in self._registry:
            raise BadInput(
                f"the coordinator does not run {request.protocol} version {request.version}",
                code="unknown_protocol",
                next_step="use the same version of assent at the coordinator and the companies",
            )

    def _change(self, job: str) -> None:
        """A new version; larger than any earlier one, restarts included."""
        self._versions[job] = max(self._versions.get(job, 0) + 1, int(time.time() * 1e6))
        self._bells.setdefault(job, Bell()).ring()

    # -- running and ending ------------------------------------------------------------------

    def _run(self, row: JobRow) -> None:
        job = row.request.id
        self._runs[job] = asyncio.create_task(self._run_function(row), name=f"job {job}")
        self._change(job)

    async def _run_function(self, row: JobRow) -> None:
        request = row.request
        steps = JobSteps(
            request.id, self.store, self.files, self.board, self.timing, self._clock,
            self._random, self._sign, self._change,
        )  # fmt: skip
        try:
            function = self._registry.get((request.protocol, request.version))
            if function is None:
                raise Failed(
                    "code_changed",
                    f"the coordinator no longer runs {request.protocol} version {request.version}",
                    party=COORDINATOR,
                    next_step="run the job again",
                )
            await run_attempts(function, request, steps)
            steps.check_all_visited()
        except AssentError as error:
            state = REFUSED if error.status == REFUSED else FAILED
            self._end(request.id, state, error.info)
        except Exception as error:  # a protocol function's bug ends its job, not the coordinator
            log.error("job %s broke: %s", request.id, defect(error))
            words = "the coordinator met an error in its own code; its log has the details"
            info = ErrorInfo("internal", words, COORDINATOR, next_step="report it, run again")
            self._end(request.id, FAILED, info)
        else:
            self._end(request.id, RELEASED, None)

    def _end_from_step(self, job: str, error: ErrorInfo, status: str) -> None:
        self._end(job, REFUSED if status == REFUSED else FAILED, error)

    def _end(self, job: str, state: str, error: ErrorInfo | None) -> None:
        """Once; later ends change nothing.  Artifacts go, waiting calls are woken."""
        if not self.store.end_job(job, state, error, self._clock()):
            return
        log.info("job %s %s%s", job, state, f": {error.code}" if error is not None else "")
        self.board.forget(job)
        run = self._runs.pop(job, None)
        if run is not None and run is not asyncio.current_task():
            run.cancel()
        self.files.delete_job(job)
        self._change(job)
        row = self.store.job(job)
        for party in row.request.parties if row is not None else ():
            self.parties.bell(party).ring()

    # -- limits ------------------------------------------------------------------------------

    async def _sweep_forever(self) -> None:
        while True:
            await asyncio.sleep(self.timing.sweep)
            try:
                self.sweep()
            except Exception as error:  # one bad row must not switch all limits off
                log.error("looking for what has run out of time broke: %s", defect(error))

    def sweep(self) -> None:
        """Ends what has run out of time (rule 7)."""
        now = self._clock()
        waiting: set[str] = set()
        for step in self.store.open_steps():
            if step.waiting_since is not None:
                waiting.add(step.key.job)
            error = self._overdue(step, now)
            if error is not None:
                self._end_from_step(step.key.job, error.info, error.status)
        for row in self.store.running_jobs():
            run = self._runs.get(row.request.id)
            if run is None or run.done():
                # Its end could not be stored (a full disk): the replay gets to it again.
                self._run(row)
            if now > row.deadline and row.request.id not in waiting:
                hours = self.timing.job / 3600
                info = ErrorInfo("job_timeout", f"the job took longer than {hours:g} hours")
                self._end(row.request.id, FAILED, info)

    def _overdue(self, step: StepRow, now: float) -> AssentError | None:
        timing, name = self.timing, step.key.step
        if step.party == COORDINATOR:
            return None
        silent = now - max(step.opened, self.parties.last_seen(step.party))
        if silent > timing.absent:
            return Failed(
                "party_absent",
                f"its node has not called for {silent:.0f} s",
                party=step.party,
                stage=name,
                next_step="ask the company to start its node, then run the job again",
            )
        if step.waiting_since is not None:
            if now - step.waiting_since <= timing.approval:
                return None
            return Refused(
                "approval_expired",
                f"nobody approved within {timing.approval / 86400:g} days",
                party=step.party,
                stage=name,
                next_step="ask the company's data owner, then run the job again",
            )
        # A node that fell silent in the middle is `absent`'s matter, and starts anew when back.
        limit = timing.step_limit(step.plan_seconds)
        if step.started is not None and now - step.started > limit and silent < timing.lease:
            return Failed(
                "step_timeout",
                f"the step took longer than its limit of {limit:.0f} s",
                party=step.party,
                stage=name,
                next_step="see the party's log for what it was doing",
            )
        return None
