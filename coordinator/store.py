"""Jobs, steps and party instances on disk: SQLite, WAL, synchronous=FULL.

Who runs it: the coordinator.  Each method is one transaction and returns after the disk has
it.  Calls are synchronous on purpose: they take milliseconds, and a compare-and-swap that
cannot be interleaved by the event loop is easier to believe.

Learns: the coordinator's disk: ids, parties, step names, sizes, digests, times, errors.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from coordinator.engine import StepSpec
from coordinator.rows import (
    BROKEN,
    CLOSED,
    DONE,
    INSTANCES,
    JOBS,
    META,
    OPEN,
    PARTIES,
    STEPS,
    JobRow,
    StepRow,
    job_row,
    of_key,
    ref_dict,
    request_digest,
    request_text,
    step_row,
)
from protocol.errors import ErrorInfo
from protocol.transport.port import RUNNING, JobRequest, StepKey


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
        META.create_all(self._engine)

    def close(self) -> None:
        self._engine.dispose()

    # -- jobs ----------------------------------------------------------------------------

    def add_job(self, request: JobRequest, now: float, deadline: float) -> JobRow:
        """The stored job of this id, which is `request` unless the id was used before."""
        with self._engine.begin() as db:
            db.execute(
                JOBS.insert()
                .prefix_with("OR IGNORE")
                .values(
                    id=request.id,
                    request=request_text(request),
                    digest=request_digest(request),
                    state=RUNNING,
                    attempt=1,
                    created=now,
                    changed=now,
                    deadline=deadline,
                )
            )
            return job_row(db.execute(sa.select(JOBS).where(JOBS.c.id == request.id)).one())

    def job(self, job: str) -> JobRow | None:
        with self._engine.connect() as db:
            row = db.execute(sa.select(JOBS).where(JOBS.c.id == job)).first()
        return job_row(row) if row is not None else None

    def running_jobs(self) -> list[JobRow]:
        with self._engine.connect() as db:
            rows = db.execute(sa.select(JOBS).where(JOBS.c.state == RUNNING))
            return [job_row(row) for row in rows]

    def jobs(self) -> list[JobRow]:
        """Newest first."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(JOBS).order_by(JOBS.c.created.desc()))
            return [job_row(row) for row in rows]

    def end_job(self, job: str, state: str, error: ErrorInfo | None, now: float) -> bool:
        """Ends a running job and closes its steps; False when it had ended already."""
        text = json.dumps(asdict(error)) if error is not None else None
        with self._engine.begin() as db:
            ended = db.execute(
                JOBS.update()
                .where(JOBS.c.id == job, JOBS.c.state == RUNNING)
                .values(state=state, error=text, changed=now)
            )
            if ended.rowcount == 0:
                return False
            db.execute(
                STEPS.update().where(STEPS.c.job == job, STEPS.c.state == OPEN).values(state=CLOSED)
            )
            # The sealed proposal is of no more use; what is not kept cannot leak.
            row = db.execute(sa.select(JOBS.c.request).where(JOBS.c.id == job)).one()
            request = json.loads(row.request) | {"sealed": {}}
            db.execute(JOBS.update().where(JOBS.c.id == job).values(request=json.dumps(request)))
        return True

    def begin_attempt(self, job: str, attempt: int, now: float) -> None:
        """Records the attempt and closes open steps of earlier ones."""
        with self._engine.begin() as db:
            db.execute(
                JOBS.update()
                .where(JOBS.c.id == job, JOBS.c.attempt < attempt)
                .values(attempt=attempt, changed=now)
            )
            db.execute(
                STEPS.update()
                .where(STEPS.c.job == job, STEPS.c.attempt < attempt, STEPS.c.state == OPEN)
                .values(state=CLOSED)
            )

    # -- steps ---------------------------------------------------------------------------

    def open_step(self, spec: StepSpec, now: float) -> bool:
        """Opens the step of a running job; False when the job has ended."""
        with self._engine.begin() as db:
            state = db.execute(sa.select(JOBS.c.state).where(JOBS.c.id == spec.key.job)).scalar()
            if state != RUNNING:
                return False
            db.execute(
                STEPS.insert().values(
                    **of_key(spec.key),
                    party=spec.party,
                    recipient=spec.recipient,
                    params=json.dumps(dict(spec.params)),
                    inputs=json.dumps([ref_dict(ref) for ref in spec.inputs]),
                    digest=spec.digest,
                    plan_seconds=spec.plan_seconds,
                    state=OPEN,
                    opened=now,
                )
            )
        return True

    def step(self, key: StepKey) -> StepRow | None:
        with self._engine.connect() as db:
            row = db.execute(sa.select(STEPS).filter_by(**of_key(key))).first()
        return step_row(row) if row is not None else None

    def steps(self, job: str) -> list[StepRow]:
        with self._engine.connect() as db:
            rows = db.execute(sa.select(STEPS).where(STEPS.c.job == job).order_by(STEPS.c.opened))
            return [step_row(row) for row in rows]

    def open_steps(self, party: str | None = None) -> list[StepRow]:
        """Oldest first; of one party, or of all."""
        query = sa.select(STEPS).where(STEPS.c.state == OPEN)
        if party is not None:
            query = query.where(STEPS.c.party == party)
        with self._engine.connect() as db:
            return [step_row(row) for row in db.execute(query.order_by(STEPS.c.opened))]

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
                JOBS.update().where(JOBS.c.id == job).values(deadline=JOBS.c.deadline + seconds)
            )

    def _swap(self, key: StepKey, **values: Any) -> bool:
        with self._engine.begin() as db:
            done = db.execute(
                STEPS.update().filter_by(**of_key(key)).where(STEPS.c.state == OPEN).values(values)
            )
        return done.rowcount == 1

    # -- parties -------------------------------------------------------------------------

    def bind_instance(self, job: str, party: str, instance: str) -> str:
        """The instance that does this party's steps of the job: the first that took one."""
        where = (INSTANCES.c.job == job) & (INSTANCES.c.party == party)
        with self._engine.begin() as db:
            db.execute(
                INSTANCES.insert()
                .prefix_with("OR IGNORE")
                .values(job=job, party=party, instance=instance)
            )
            return str(db.execute(sa.select(INSTANCES.c.instance).where(where)).scalar_one())

    def bound_instances(self, party: str) -> dict[str, str]:
        """Job → instance, of running jobs."""
        with self._engine.connect() as db:
            rows = db.execute(
                sa.select(INSTANCES.c.job, INSTANCES.c.instance)
                .join(JOBS, JOBS.c.id == INSTANCES.c.job)
                .where(INSTANCES.c.party == party, JOBS.c.state == RUNNING)
            )
            return {row.job: row.instance for row in rows}

    def save_party(self, name: str, instance: str, boot: str, seen: float) -> None:
        with self._engine.begin() as db:
            db.execute(
                PARTIES.insert()
                .prefix_with("OR REPLACE")
                .values(name=name, instance=instance, boot=boot, seen=seen)
            )

    def parties(self) -> dict[str, tuple[str, str, float]]:
        """Name → (instance, boot, last seen)."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(PARTIES))
            return {row.name: (row.instance, row.boot, row.seen) for row in rows}
