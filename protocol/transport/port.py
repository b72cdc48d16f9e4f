"""What a node and the coordinator say to each other, as plain types and one port.

Who runs it: every node through `CoordinatorPort`; the coordinator implements it, the gRPC
client (`client.py`) and the in-memory double carry it.  architecture.md "The job engine".

Learns: the coordinator learns what these types hold: ids, parties, step names, sizes,
digests and the public parameters of a job.  Contents of artifacts are the protocols' matter.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from protocol.errors import ErrorInfo

CHUNK = 1 << 20  # bytes of one upload or download message
COORDINATOR = "coordinator"  # author of what the coordinator computes itself
EVERYONE = "*"  # recipient of what every party of the job may read
RUNNING, RELEASED, REFUSED, FAILED = "running", "released", "refused", "failed"
ENDED = frozenset({RELEASED, REFUSED, FAILED})
WORKING, WAITING = "working", "waiting"  # states of a step's progress; waiting = for approval


@dataclass(frozen=True)
class StepKey:
    """Names one step for ever: its output never changes (engine rule 4)."""

    job: str
    attempt: int
    step: str

    def __str__(self) -> str:
        return f"{self.job}/{self.attempt}/{self.step}"


@dataclass(frozen=True)
class ArtifactRef:
    """A stored output: who made it where, for whom, and the digest its author signed.

    id: opaque, what `download` takes.  name: what the reading step calls it ("" elsewhere).
    sha256: 32 bytes of the whole file; size in bytes; signature: 64 bytes of Ed25519 by
    `author` over the transcript tuple (`b""` in a reference that is about to be signed).
    """

    id: str
    name: str
    job: str
    attempt: int
    step: str
    author: str
    recipient: str
    sha256: bytes
    size: int
    signature: bytes

    @property
    def key(self) -> StepKey:
        return StepKey(self.job, self.attempt, self.step)


@dataclass(frozen=True)
class JobRequest:
    """The part of a job that the coordinator sees.

    id: chosen by the requester's node (32 hex digits), so that a repeated submit is the
    same job.  parties includes the requester.  params: JSON object of integers, strings,
    booleans, lists and objects: public facts only (purpose, mode, types, rounded sizes).
    sealed: party → the proposal sealed to it, handed to that party with every step, unread.
    """

    id: str
    protocol: str
    version: int
    requester: str
    parties: tuple[str, ...]
    params: Mapping[str, Any] = field(default_factory=dict)
    sealed: Mapping[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Progress:
    """state: `WORKING` or `WAITING`; done of total in the step's own unit (0 of 0: unknown)."""

    state: str = WORKING
    done: int = 0
    total: int = 0

    @property
    def fraction(self) -> float:
        return min(1.0, self.done / self.total) if self.total > 0 else 0.0


@dataclass(frozen=True)
class JobStatus:
    """A job as its parties see it.  version differs after every change, progress included."""

    id: str
    protocol: str
    protocol_version: int
    requester: str
    parties: tuple[str, ...]
    state: str
    version: int
    attempt: int
    stage: str = ""
    party: str = ""
    progress: Progress = Progress()
    error: ErrorInfo | None = None
    created: float = 0.0
    changed: float = 0.0

    @property
    def ended(self) -> bool:
        return self.state in ENDED


@dataclass(frozen=True)
class StepLease:
    """A step that the receiving party is to do.

    input_digest: 32 bytes over step, params, inputs and recipient; the node computes it
    again (`step_digest`) and keeps it.  seconds: how long the lease lasts without heartbeat.
    """

    key: StepKey
    party: str
    protocol: str
    protocol_version: int
    requester: str
    parties: tuple[str, ...]
    params: Mapping[str, Any]
    inputs: tuple[ArtifactRef, ...]
    recipient: str
    input_digest: bytes
    seconds: float
    sealed: bytes = b""  # the requester's proposal to this party, as submitted

    @property
    def kind(self) -> str:
        """The text before the first '/': which handler does it."""
        return self.key.step.split("/", 1)[0]


@dataclass(frozen=True)
class Instance:
    """id: of the data folder, for ever; boot: of this process.  Both random hex."""

    id: str
    boot: str


ASKING = Instance("", "")
"""Says hello without taking the party's place: `assent doctor` beside a running node."""


@dataclass(frozen=True)
class HelloAnswer:
    """version: software version; time: the coordinator's clock, seconds since 1970."""

    version: str
    time: float
    party: str
    lease_seconds: float
    heartbeat_seconds: float


@dataclass(frozen=True)
class LeaseAnswer:
    """At most one step, and which of the node's open jobs have ended meanwhile."""

    step: StepLease | None
    ended: tuple[JobStatus, ...] = ()


@dataclass(frozen=True)
class UploadState:
    """received: bytes that are safe at the coordinator; continue from there."""

    received: int
    finished: bool


class CoordinatorPort(Protocol):
    """The coordinator, seen by one party.  Every call may be lost, repeated or late.

    All raise `AssentError`: `Failed('unavailable')` when the answer did not arrive (the call
    may have happened), `Failed('second_instance')` when another node holds this party's name.
    """

    async def hello(self, instance: Instance) -> HelloAnswer:
        """First call of a process; ends leases that an earlier process of it held."""
        ...

    async def submit(self, request: JobRequest) -> JobStatus:
        """Starts a job; the same request again is the same job."""
        ...

    async def lease(
        self,
        instance: Instance,
        holding: tuple[StepKey, ...],
        open_jobs: tuple[str, ...],
        wait_seconds: float,
    ) -> LeaseAnswer:
        """Waits up to `wait_seconds` for a step or for the end of one of `open_jobs`.

        A node makes one such call at a time; `holding` is what it works on, so that a step
        whose lease got lost on the way is given again at once.
        """
        ...

    async def heartbeat(self, instance: Instance, key: StepKey, progress: Progress) -> bool:
        """Extends a lease; True when the step is no longer wanted."""
        ...

    async def upload_state(self, key: StepKey, sha256: bytes, size: int) -> UploadState:
        """How much of this output has arrived."""
        ...

    async def upload(
        self, key: StepKey, sha256: bytes, size: int, offset: int, chunks: AsyncIterator[bytes]
    ) -> UploadState:
        """Appends from `offset`; Failed('upload_interrupted') when it is not what has arrived.

        An output that is still being made has an empty sha256 and size and offset 0; it is
        announced by `upload_state` once it is whole.
        """
        ...

    def download(self, key: StepKey, artifact: str, offset: int) -> AsyncIterator[bytes]:
        """Bytes of an input of the open step `key`, from `offset`."""
        ...

    async def complete(self, key: StepKey, sha256: bytes, size: int, signature: bytes) -> None:
        """The uploaded output is final; again with the same digest does nothing."""
        ...

    async def fail(self, key: StepKey, error: ErrorInfo, status: str) -> None:
        """The step ended badly; status is refused, bad_input or failed."""
        ...

    async def watch(self, job: str, since_version: int, wait_seconds: float) -> JobStatus:
        """The job's status once its version differs from `since_version`, or after the wait."""
        ...

    async def list_jobs(self, limit: int) -> tuple[JobStatus, ...]:
        """This party's jobs, newest first."""
        ...

    async def cancel(self, job: str, reason: str) -> JobStatus:
        """Ends a job as failed with code `cancelled`; an ended job stays as it is."""
        ...
