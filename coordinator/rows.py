"""Tables of the coordinator's database and the rows as types.

Who runs it: `coordinator.store`, which is the only reader and writer.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa

from protocol.encoding import canonical_json, sha256
from protocol.errors import ErrorInfo
from protocol.transport.port import ArtifactRef, JobRequest, StepKey

OPEN, DONE, BROKEN, CLOSED = "open", "done", "broken", "closed"

META = sa.MetaData()
JOBS = sa.Table(
    "jobs",
    META,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("request", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("error", sa.Text),
    sa.Column("created", sa.Float, nullable=False),
    sa.Column("changed", sa.Float, nullable=False),
    sa.Column("deadline", sa.Float, nullable=False),
)
STEPS = sa.Table(
    "steps",
    META,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("party", sa.Text, nullable=False, index=True),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("params", sa.Text, nullable=False),
    sa.Column("inputs", sa.Text, nullable=False),
    sa.Column("digest", sa.LargeBinary, nullable=False),
    sa.Column("plan_seconds", sa.Float, nullable=False),
    sa.Column("state", sa.Text, nullable=False, index=True),
    sa.Column("opened", sa.Float, nullable=False),
    sa.Column("started", sa.Float),
    sa.Column("waiting_since", sa.Float),
    sa.Column("tries", sa.Integer, nullable=False, default=0),
    sa.Column("not_before", sa.Float, nullable=False, default=0.0),
    sa.Column("upload_sha256", sa.LargeBinary),
    sa.Column("sha256", sa.LargeBinary),
    sa.Column("size", sa.Integer),
    sa.Column("signature", sa.LargeBinary),
    sa.Column("virtual", sa.Text),
    sa.Column("error", sa.Text),
    sa.Column("error_status", sa.Text),
)
INSTANCES = sa.Table(  # which data folder holds a party's keys of a job (rule 6)
    "job_instances",
    META,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("party", sa.Text, primary_key=True),
    sa.Column("instance", sa.Text, nullable=False),
)
PARTIES = sa.Table(
    "parties",
    META,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("instance", sa.Text, nullable=False),
    sa.Column("boot", sa.Text, nullable=False),
    sa.Column("seen", sa.Float, nullable=False),
)


@dataclass(frozen=True)
class JobRow:
    request: JobRequest
    digest: bytes
    state: str
    attempt: int
    error: ErrorInfo | None
    created: float
    changed: float
    deadline: float


@dataclass(frozen=True)
class StepRow:
    key: StepKey
    party: str
    recipient: str
    params: dict[str, Any]
    inputs: tuple[ArtifactRef, ...]
    digest: bytes
    plan_seconds: float
    state: str
    opened: float
    started: float | None
    waiting_since: float | None
    tries: int
    not_before: float
    upload_sha256: bytes | None
    sha256: bytes | None
    size: int | None
    signature: bytes | None
    virtual: dict[str, Any] | None
    error: ErrorInfo | None
    error_status: str

    @property
    def output(self) -> ArtifactRef:
        """Reference to the output of a step that is done."""
        if self.sha256 is None or self.size is None or self.signature is None:
            raise ValueError(f"{self.key} has no output yet")
        return ArtifactRef(
            id=artifact_id(self.key),
            name="",
            job=self.key.job,
            attempt=self.key.attempt,
            step=self.key.step,
            author=self.party,
            recipient=self.recipient,
            sha256=self.sha256,
            size=self.size,
            signature=self.signature,
        )


def artifact_id(key: StepKey) -> str:
    """Derived, so that a repeated step writes to the same place."""
    return sha256(canonical_json([key.job, key.attempt, key.step])).hex()[:40]


def request_digest(request: JobRequest) -> bytes:
    sealed = {party: sha256(data).hex() for party, data in request.sealed.items()}
    return sha256(
        canonical_json(
            [request.id, request.protocol, request.version, request.requester,
             list(request.parties), request.params, sealed]
        )
    )  # fmt: skip


def request_text(request: JobRequest) -> str:
    sealed = {party: base64.b64encode(data).decode() for party, data in request.sealed.items()}
    return json.dumps(asdict(request) | {"sealed": sealed, "params": dict(request.params)})


def job_row(row: Any) -> JobRow:
    request = json.loads(row.request)
    sealed = {party: base64.b64decode(text) for party, text in request["sealed"].items()}
    return JobRow(
        JobRequest(**(request | {"parties": tuple(request["parties"]), "sealed": sealed})),
        row.digest,
        row.state,
        row.attempt,
        ErrorInfo(**json.loads(row.error)) if row.error else None,
        row.created,
        row.changed,
        row.deadline,
    )


def step_row(row: Any) -> StepRow:
    return StepRow(
        key=StepKey(row.job, row.attempt, row.step),
        party=row.party,
        recipient=row.recipient,
        params=json.loads(row.params),
        inputs=tuple(ref_of(value) for value in json.loads(row.inputs)),
        digest=row.digest,
        plan_seconds=row.plan_seconds,
        state=row.state,
        opened=row.opened,
        started=row.started,
        waiting_since=row.waiting_since,
        tries=row.tries,
        not_before=row.not_before,
        upload_sha256=row.upload_sha256,
        sha256=row.sha256,
        size=row.size,
        signature=row.signature,
        virtual=json.loads(row.virtual) if row.virtual else None,
        error=ErrorInfo(**json.loads(row.error)) if row.error else None,
        error_status=row.error_status or "",
    )


def of_key(key: StepKey) -> dict[str, Any]:
    return {"job": key.job, "attempt": key.attempt, "step": key.step}


def ref_dict(ref: ArtifactRef) -> dict[str, Any]:
    return asdict(ref) | {"sha256": ref.sha256.hex(), "signature": ref.signature.hex()}


def ref_of(value: dict[str, Any]) -> ArtifactRef:
    digest, signature = bytes.fromhex(value["sha256"]), bytes.fromhex(value["signature"])
    return ArtifactRef(**(value | {"sha256": digest, "signature": signature}))
