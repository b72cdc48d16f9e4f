"""Jobs, steps and party instances on disk: SQLite, WAL, synchronous=FULL.

Who runs it: the coordinator.  Each method is one transaction and returns after the disk has
it.  Calls are synchronous on purpose: they take milliseconds, and a compare-and-swap that
cannot be interleaved by the event loop is easier to believe.

Learns: the coordinator's disk: ids, parties, step names, sizes, digests, times, errors.
"""

from __future__ import annotations

import base64
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from coordinator.engine import StepSpec
from protocol.encoding import canonical_json, sha256
from protocol.errors import ErrorInfo
from protocol.transport.port import RUNNING, ArtifactRef, JobRequest, StepKey

OPEN, DONE, BROKEN, CLOSED = "open", "done", "broken", "closed"

_META = sa.MetaData()
_JOBS = sa.Table(
    "jobs",
    _META,
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
_STEPS = sa.Table(
    "steps",
    _META,
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
_INSTANCES = sa.Table(  # which data folder holds a party's keys of a job (rule 6)
    "job_instances",
    _META,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("party", sa.Text, primary_key=True),
    sa.Column("instance", sa.Text, nullable=False),
)
_PARTIES = sa.Table(
    "parties",
    _META,
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


class Store:
    def __init__(self, path: Path) -> None:
        # StaticPool: one connection, all calls from the event loop's thread or handed to it.
        self._engine = sa.create_engine(
            f"sqlite:///{path}",
            poolclass=sa.StaticPool,
            connect_args={"check_same_thread": False, "timeout": 30},
        )
        with self._engine.connect() as db:
            db.exec_driver_sql("PRAGMA journal_mode=WAL")
            db.exec_driver_sql("PRAGMA synchronous=FULL")
        _META.create_all(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    # -- jobs ----------------------------------------------------------------------------

    def add_job(self, request: JobRequest, now: float, deadline: float) -> JobRow:
        """The stored job of this id, which is `request` unless the id was used before."""
        with self._engine.begin() as db:
            db.execute(
                _JOBS.insert()
                .prefix_with("OR IGNORE")
                .values(
                    id=request.id,
                    request=_request_text(request),
                    digest=request_digest(request),
                    state=RUNNING,
                    attempt=1,
                    created=now,
                    changed=now,
                    deadline=deadline,
                )
            )
            return _job(db.execute(sa.select(_JOBS).where(_JOBS.c.id == request.id)).one())

    def job(self, job: str) -> JobRow | None:
        with self._engine.connect() as db:
            row = db.execute(sa.select(_JOBS).where(_JOBS.c.id == job)).first()
        return _job(row) if row is not None else None

    def running_jobs(self) -> list[JobRow]:
        with self._engine.connect() as db:
            rows = db.execute(sa.select(_JOBS).where(_JOBS.c.state == RUNNING))
            return [_job(row) for row in rows]

    def jobs(self) -> list[JobRow]:
        """Newest first."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(_JOBS).order_by(_JOBS.c.created.desc()))
            return [_job(row) for row in rows]

    def end_job(self, job: str, state: str, error: ErrorInfo | None, now: float) -> bool:
        """Ends a running job and closes its steps; False when it had ended already."""
        text = json.dumps(asdict(error)) if error is not None else None
        with self._engine.begin() as db:
            ended = db.execute(
                _JOBS.update()
                .where(_JOBS.c.id == job, _JOBS.c.state == RUNNING)
                .values(state=state, error=text, changed=now)
            )
            if ended.rowcount == 0:
                return False
            db.execute(
                _STEPS.update()
                .where(_STEPS.c.job == job, _STEPS.c.state == OPEN)
                .values(state=CLOSED)
            )
            # The sealed proposal is of no more use; what is not kept cannot leak.
            row = db.execute(sa.select(_JOBS.c.request).where(_JOBS.c.id == job)).one()
            request = json.loads(row.request) | {"sealed": {}}
            db.execute(_JOBS.update().where(_JOBS.c.id == job).values(request=json.dumps(request)))
        return True

    def begin_attempt(self, job: str, attempt: int, now: float) -> None:
        """Records the attempt and closes open steps of earlier ones."""
        with self._engine.begin() as db:
            db.execute(
                _JOBS.update()
                .where(_JOBS.c.id == job, _JOBS.c.attempt < attempt)
                .values(attempt=attempt, changed=now)
            )
            db.execute(
                _STEPS.update()
                .where(_STEPS.c.job == job, _STEPS.c.attempt < attempt, _STEPS.c.state == OPEN)
                .values(state=CLOSED)
            )

    # -- steps ---------------------------------------------------------------------------

    def open_step(self, spec: StepSpec, now: float) -> bool:
        """Opens the step of a running job; False when the job has ended."""
        with self._engine.begin() as db:
            state = db.execute(sa.select(_JOBS.c.state).where(_JOBS.c.id == spec.key.job)).scalar()
            if state != RUNNING:
                return False
            db.execute(
                _STEPS.insert().values(
                    **_where(spec.key),
                    party=spec.party,
                    recipient=spec.recipient,
                    params=json.dumps(dict(spec.params)),
                    inputs=json.dumps([_ref_dict(ref) for ref in spec.inputs]),
                    digest=spec.digest,
                    plan_seconds=spec.plan_seconds,
                    state=OPEN,
                    opened=now,
                )
            )
        return True

    def step(self, key: StepKey) -> StepRow | None:
        with self._engine.connect() as db:
            row = db.execute(sa.select(_STEPS).filter_by(**_where(key))).first()
        return _step(row) if row is not None else None

    def steps(self, job: str) -> list[StepRow]:
        with self._engine.connect() as db:
            rows = db.execute(
                sa.select(_STEPS).where(_STEPS.c.job == job).order_by(_STEPS.c.opened)
            )
            return [_step(row) for row in rows]

    def open_steps(self, party: str | None = None) -> list[StepRow]:
        """Oldest first; of one party, or of all."""
        query = sa.select(_STEPS).where(_STEPS.c.state == OPEN)
        if party is not None:
            query = query.where(_STEPS.c.party == party)
        with self._engine.connect() as db:
            return [_step(row) for row in db.execute(query.order_by(_STEPS.c.opened))]

    def finish_step(
        self,
        key: StepKey,
        digest: bytes,
        size: int,
        signature: bytes,
        virtual: dict[str, Any] | None = None,
    ) -> bool:
        """Compare-and-swap open → done (rule 5); False when it was not open."""
        text = json.dumps(virtual) if virtual is not None else None
        return self._swap(
            key, state=DONE, sha256=digest, size=size, signature=signature, virtual=text
        )

    def break_step(self, key: StepKey, error: ErrorInfo, status: str) -> bool:
        return self._swap(key, state=BROKEN, error=json.dumps(asdict(error)), error_status=status)

    def change_step(self, key: StepKey, **values: float | int | bytes | None) -> bool:
        """Changes started, waiting_since, tries, not_before or upload_sha256 of an open step."""
        return self._swap(key, **values)

    def extend_deadline(self, job: str, seconds: float) -> None:
        with self._engine.begin() as db:
            db.execute(
                _JOBS.update().where(_JOBS.c.id == job).values(deadline=_JOBS.c.deadline + seconds)
            )

    def _swap(self, key: StepKey, **values: Any) -> bool:
        with self._engine.begin() as db:
            done = db.execute(
                _STEPS.update()
                .filter_by(**_where(key))
                .where(_STEPS.c.state == OPEN)
                .values(values)
            )
        return done.rowcount == 1

    # -- parties -------------------------------------------------------------------------

    def bind_instance(self, job: str, party: str, instance: str) -> str:
        """The instance that does this party's steps of the job: the first that took one."""
        where = (_INSTANCES.c.job == job) & (_INSTANCES.c.party == party)
        with self._engine.begin() as db:
            db.execute(
                _INSTANCES.insert()
                .prefix_with("OR IGNORE")
                .values(job=job, party=party, instance=instance)
            )
            return str(db.execute(sa.select(_INSTANCES.c.instance).where(where)).scalar_one())

    def bound_instances(self, party: str) -> dict[str, str]:
        """Job → instance, of running jobs."""
        with self._engine.connect() as db:
            rows = db.execute(
                sa.select(_INSTANCES.c.job, _INSTANCES.c.instance)
                .join(_JOBS, _JOBS.c.id == _INSTANCES.c.job)
                .where(_INSTANCES.c.party == party, _JOBS.c.state == RUNNING)
            )
            return {row.job: row.instance for row in rows}

    def save_party(self, name: str, instance: str, boot: str, seen: float) -> None:
        with self._engine.begin() as db:
            db.execute(
                _PARTIES.insert()
                .prefix_with("OR REPLACE")
                .values(name=name, instance=instance, boot=boot, seen=seen)
            )

    def parties(self) -> dict[str, tuple[str, str, float]]:
        """Name → (instance, boot, last seen)."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(_PARTIES))
            return {row.name: (row.instance, row.boot, row.seen) for row in rows}


def request_digest(request: JobRequest) -> bytes:
    sealed = {party: sha256(data).hex() for party, data in request.sealed.items()}
    return sha256(
        canonical_json(
            [request.id, request.protocol, request.version, request.requester,
             list(request.parties), request.params, sealed]
        )
    )  # fmt: skip


def _request_text(request: JobRequest) -> str:
    sealed = {party: base64.b64encode(data).decode() for party, data in request.sealed.items()}
    return json.dumps(asdict(request) | {"sealed": sealed, "params": dict(request.params)})


def _job(row: Any) -> JobRow:
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


def _step(row: Any) -> StepRow:
    return StepRow(
        key=StepKey(row.job, row.attempt, row.step),
        party=row.party,
        recipient=row.recipient,
        params=json.loads(row.params),
        inputs=tuple(_ref(value) for value in json.loads(row.inputs)),
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


def _where(key: StepKey) -> dict[str, Any]:
    return {"job": key.job, "attempt": key.attempt, "step": key.step}


def _ref_dict(ref: ArtifactRef) -> dict[str, Any]:
    return asdict(ref) | {"sha256": ref.sha256.hex(), "signature": ref.signature.hex()}


def _ref(value: dict[str, Any]) -> ArtifactRef:
    digest, signature = bytes.fromhex(value["sha256"]), bytes.fromhex(value["signature"])
    return ArtifactRef(**(value | {"sha256": digest, "signature": signature}))
