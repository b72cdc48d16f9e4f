"""Steps that parties do: leases, uploads, completion, retries.

Who runs it: the coordinator.  Engine rules 4 to 8.  Leases and progress live in memory: a
coordinator that restarts simply gives an open step again, and a node that already works on
it says so.  What is final (output, error) is in the store.

Learns: the coordinator: sizes, digests and times of each step.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace

from coordinator.artifacts import ArtifactFiles, FileReader, Reader, VirtualReader
from coordinator.parties import Parties
from coordinator.rows import BROKEN, DONE, OPEN, JobRow, StepRow, artifact_id
from coordinator.store import Store
from coordinator.timing import Timing
from protocol.errors import AssentError, ErrorInfo, Failed, ProtocolViolation, from_info
from protocol.transport.port import (
    CHUNK,
    WAITING,
    ArtifactRef,
    Instance,
    Progress,
    StepKey,
    StepLease,
    UploadState,
)

MAX_ARTIFACT = 1 << 38  # 256 GiB: a declared size above it is a mistake or an attack
MAX_WORDS = 8192  # a party's words about an error travel to others, sealed ones as base64


@dataclass
class _Lease:
    instance: Instance
    until: float


class StepBoard:
    """All open steps of all jobs.  on_end(job, error, status) ends a job."""

    def __init__(
        self,
        store: Store,
        files: ArtifactFiles,
        parties: Parties,
        timing: Timing,
        clock: Callable[[], float],
        changed: Callable[[str], None],
        on_end: Callable[[str, ErrorInfo, str], None],
    ) -> None:
        self._store, self._files, self._parties = store, files, parties
        self._timing, self._clock = timing, clock
        self._changed, self._on_end = changed, on_end
        self._leases: dict[StepKey, _Lease] = {}
        self._progress: dict[StepKey, Progress] = {}
        self._results: dict[StepKey, asyncio.Future[ArtifactRef]] = {}
        self._writers: dict[StepKey, object] = {}
        self._locks: dict[StepKey, asyncio.Lock] = {}

    # -- for the engine --------------------------------------------------------------------

    async def result(self, key: StepKey) -> ArtifactRef:
        """Waits for the end of an open step; answers at once for an ended one."""
        row = self._require(key)
        if row.state == DONE:
            return row.output
        if row.state == BROKEN and row.error is not None:
            raise from_info(row.error, row.error_status)
        # Closed: an earlier attempt left it behind, nobody got an answer then, nobody gets one
        # now; `forget` cancels the wait when that attempt ends again.
        future = self._results.setdefault(key, asyncio.get_running_loop().create_future())
        self._parties.bell(row.party).ring()
        return await asyncio.shield(future)

    def forget(self, job: str, before_attempt: int | None = None) -> None:
        """Drops what is in memory of a job's steps (of its earlier attempts)."""

        def gone(key: StepKey) -> bool:
            return key.job == job and (before_attempt is None or key.attempt < before_attempt)

        for future in [self._results[key] for key in list(self._results) if gone(key)]:
            future.cancel()
        tables = (self._leases, self._progress, self._results, self._writers, self._locks)
        for table in tables:
            for key in [key for key in table if gone(key)]:
                del table[key]

    def progress(self, key: StepKey) -> Progress:
        return self._progress.get(key, Progress())

    def leased(self, key: StepKey) -> bool:
        lease = self._leases.get(key)
        return lease is not None and lease.until > self._clock()

    # -- leases ----------------------------------------------------------------------------

    def drop_leases(self, party: str) -> None:
        """The party's process has been replaced: what it held is free again."""
        for row in self._store.open_steps(party):
            self._leases.pop(row.key, None)

    def take(
        self, party: str, instance: Instance, holding: tuple[StepKey, ...]
    ) -> tuple[StepRow | None, float]:
        """The party's oldest free step, leased; and in how many seconds one may become free."""
        now, held = self._clock(), set(holding)
        bound = self._store.bound_instances(party)
        soonest = self._timing.poll
        for row in self._store.open_steps(party):
            key = row.key
            if bound.get(key.job, instance.id) != instance.id:
                continue  # rule 6: its keys are in another data folder
            if key in held:
                self._lease(key, instance)
                continue
            if row.not_before > now:
                soonest = min(soonest, row.not_before - now)
                continue
            # A lease of this very process that it does not hold was lost on the way: the node
            # makes one call at a time.  Any other is respected until it runs out.
            lease = self._leases.get(key)
            if lease is not None and lease.until > now and lease.instance != instance:
                soonest = min(soonest, lease.until - now)
                continue
            if self._store.bind_instance(key.job, party, instance.id) != instance.id:
                continue
            self._store.change_step(key, started=now)
            self._lease(key, instance)
            self._changed(key.job)
            return row, 0.0
        return None, soonest

    def as_lease(self, row: StepRow, job: JobRow) -> StepLease:
        return StepLease(
            key=row.key,
            party=row.party,
            protocol=job.request.protocol,
            protocol_version=job.request.version,
            requester=job.request.requester,
            parties=job.request.parties,
            params=row.params,
            inputs=row.inputs,
            recipient=row.recipient,
            input_digest=row.digest,
            seconds=self._timing.lease,
            sealed=job.request.sealed.get(row.party, b""),
        )

    def heartbeat(self, party: str, instance: Instance, key: StepKey, progress: Progress) -> bool:
        """Extends the lease; True when the step is no longer wanted."""
        row = self._owned(party, key)
        if row.state != OPEN:
            return True
        self._lease(key, instance)
        if self._progress.get(key) != progress:
            self._note_waiting(row, progress)
            self._progress[key] = progress
            self._changed(key.job)
        return False

    def _lease(self, key: StepKey, instance: Instance) -> None:
        self._leases[key] = _Lease(instance, self._clock() + self._timing.lease)

    def _note_waiting(self, row: StepRow, progress: Progress) -> None:
        now = self._clock()
        if progress.state == WAITING and row.waiting_since is None:
            self._store.change_step(row.key, waiting_since=now)
        elif progress.state != WAITING and row.waiting_since is not None:
            # The owner's thinking time is nobody's fault: neither the step's nor the job's.
            self._store.change_step(row.key, waiting_since=None, started=now)
            self._store.extend_deadline(row.key.job, now - row.waiting_since)

    # -- outputs ---------------------------------------------------------------------------

    async def upload_state(self, party: str, key: StepKey, sha256: bytes, size: int) -> UploadState:
        row = self._owned(party, key)
        if row.state == DONE:
            self._same_output(row, sha256)
            return UploadState(row.size or 0, finished=True)
        self._admit_upload(row, sha256, size)
        async with self._lock(key):
            received = await asyncio.to_thread(self._files.received, key.job, artifact_id(key))
        return UploadState(received, finished=False)

    async def upload(
        self,
        party: str,
        key: StepKey,
        sha256: bytes,
        size: int,
        offset: int,
        chunks: AsyncIterator[bytes],
    ) -> UploadState:
        row = self._owned(party, key)
        if sha256:
            if row.state == DONE:
                self._same_output(row, sha256)
                return UploadState(row.size or 0, finished=True)
            self._admit_upload(row, sha256, size)
        else:
            size = await self._begin_early(row, size, offset)
        # The newest stream writes; one that a dead connection left behind stops at its next chunk.
        writer = self._writers[key] = object()
        received = offset
        async for chunk in chunks:
            if self._writers.get(key) is not writer:
                raise Failed("upload_interrupted", "a newer upload of this output took over")
            if received + len(chunk) > size:
                raise ProtocolViolation("bad_artifact", "more bytes than announced", party=party)
            async with self._lock(key):
                received = await self._append(row, received, chunk)
            self._parties.seen(party)
        return UploadState(received, finished=False)

    async def _begin_early(self, row: StepRow, size: int, offset: int) -> int:
        """Replaces what an earlier try of an unfinished output left; how large it may get."""
        if size or offset:
            raise ProtocolViolation("bad_artifact", "an upload without a digest begins at 0")
        async with self._lock(row.key):
            row = self._require(row.key)
            if row.state != OPEN:
                raise _closed(row.key)
            if row.upload_sha256 is not None:
                raise Failed("upload_interrupted", "this output has been announced already")
            await asyncio.to_thread(self._files.drop, row.key.job, artifact_id(row.key))
        return MAX_ARTIFACT

    async def complete(
        self, party: str, key: StepKey, sha256: bytes, size: int, signature: bytes
    ) -> None:
        """Rule 5: compare-and-swap; late and repeated completions are accepted."""
        self._owned(party, key)  # no lock is kept for a step that does not exist
        async with self._lock(key):
            row = self._owned(party, key)
            if row.state == DONE:
                self._same_output(row, sha256)
                return
            self._admit_upload(row, sha256, size)
            artifact = artifact_id(key)
            try:
                await asyncio.to_thread(
                    self._files.finish, key.job, artifact, sha256, size, key.step
                )
            except Failed as error:
                self._end_if_ours(key, error)
                raise
            self._note_waiting(row, Progress())
            if not self._store.finish_step(key, sha256, size, signature):
                raise _closed(key)
        self.settle(key)

    def fail(self, party: str, key: StepKey, error: ErrorInfo, status: str) -> None:
        """Rule 8: retryable codes give the step again with backoff, others end it."""
        row = self._owned(party, key)
        if row.state != OPEN:
            return
        self._note_waiting(row, Progress())
        error = replace(
            error,
            cause=error.cause[:MAX_WORDS],
            next_step=error.next_step[:MAX_WORDS],
            party=error.party or party,
            stage=error.stage or key.step,
        )
        if error.retryable and row.tries < self._timing.retries:
            pause = self._timing.backoff * 2**row.tries
            self._store.change_step(key, tries=row.tries + 1, not_before=self._clock() + pause)
            self._leases.pop(key, None)
            self._parties.bell(party).ring()
            return
        if self._store.break_step(key, error, status):
            self.settle(key)
        if error.code == "equivocation":
            # Whether or not the function still waits for this step: nothing here is to be trusted.
            self._on_end(key.job, error, status)

    def settle(self, key: StepKey) -> None:
        """Gives a step's end to whoever waits for it."""
        row = self._require(key)
        self._leases.pop(key, None)
        self._progress.pop(key, None)
        self._writers.pop(key, None)
        future = self._results.pop(key, None)
        self._changed(key.job)
        if future is None or future.done():
            return
        if row.state == DONE:
            future.set_result(row.output)
        elif row.error is not None:
            future.set_exception(from_info(row.error, row.error_status))

    async def download(
        self, party: str, key: StepKey, artifact: str, offset: int
    ) -> AsyncIterator[bytes]:
        """Only an input of an own, open step."""
        row = self._owned(party, key)
        if row.state != OPEN:
            raise _closed(key)
        if artifact not in {ref.id for ref in row.inputs}:
            raise Failed("not_allowed", "that artifact is not an input of this step", party=party)
        (ref, *_) = [ref for ref in row.inputs if ref.id == artifact]
        source = self._require(ref.key)
        reader = await asyncio.to_thread(self._open, source)
        try:
            if offset > reader.size:
                raise ProtocolViolation("bad_message", "a download begins behind its end")
            while block := await asyncio.to_thread(reader.read, offset, CHUNK):
                yield block
                offset += len(block)
                self._parties.seen(party)
        finally:
            reader.close()

    def _open(self, source: StepRow) -> Reader:
        """Off the event loop; touches files only, never the store."""
        job, virtual = source.key.job, source.virtual
        try:
            if virtual is None:
                return FileReader(self._files.path(job, artifact_id(source.key)))
            return VirtualReader(
                self._files.path(job, virtual["base"]),
                self._files.path(job, virtual["index"]),
                virtual["row_width"],
                bytes.fromhex(virtual["head"]),
            )
        except FileNotFoundError as error:
            raise Failed("artifact_gone", f"the output of {source.key.step} is gone") from error

    # -- shared checks -----------------------------------------------------------------------

    def _lock(self, key: StepKey) -> asyncio.Lock:
        """One writer of an output at a time."""
        return self._locks.setdefault(key, asyncio.Lock())

    async def _append(self, row: StepRow, offset: int, chunk: bytes) -> int:
        key = row.key
        if self._require(key).state != OPEN:
            raise _closed(key)
        artifact = artifact_id(key)
        try:
            return await asyncio.to_thread(
                self._files.append, key.job, artifact, offset, chunk, key.step
            )
        except Failed as error:
            self._end_if_ours(key, error)
            raise

    def _end_if_ours(self, key: StepKey, error: AssentError) -> None:
        """A disk of ours that is full ends the job: no retry by the party mends it."""
        if error.info.code in ("disk_full", "disk_error"):
            self._on_end(key.job, error.info, error.status)

    def _admit_upload(self, row: StepRow, sha256: bytes, size: int) -> None:
        if row.state != OPEN:
            raise _closed(row.key)
        if len(sha256) != 32 or not 0 <= size <= MAX_ARTIFACT:
            raise ProtocolViolation("bad_artifact", "an upload's digest or size is out of range")
        if row.upload_sha256 is None:
            self._store.change_step(row.key, upload_sha256=sha256)
        elif row.upload_sha256 != sha256:
            self._equivocation(row)

    def _same_output(self, row: StepRow, sha256: bytes) -> None:
        if row.sha256 != sha256:
            self._equivocation(row)

    def _equivocation(self, row: StepRow) -> None:
        """Rule 4: one step, one output."""
        error = ProtocolViolation(
            "equivocation",
            f"{row.party} gave two different outputs for {row.key.step}",
            party=row.party,
            stage=row.key.step,
            next_step="was its data folder restored from a backup? run the job again",
        )
        self._on_end(row.key.job, error.info, error.status)
        raise error

    def _owned(self, party: str, key: StepKey) -> StepRow:
        row = self._store.step(key)
        if row is None or row.party != party:
            # One answer for both: a party learns nothing about other parties' steps.
            raise Failed("unknown_step", f"{party} has no step {key.step}", party=party)
        self._parties.seen(party)
        return row

    def _require(self, key: StepKey) -> StepRow:
        row = self._store.step(key)
        if row is None:
            raise Failed("internal", f"step {key.step} is not stored")
        return row


def _closed(key: StepKey) -> Failed:
    return Failed("step_closed", "the job has ended or started over", stage=key.step)
