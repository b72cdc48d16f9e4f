"""What a node promised: one output per step, for ever; and which jobs are open.

Who runs it: every node.  One SQLite file (WAL, synchronous=FULL) that the ledger and the
records share, so that an output and its spending are one transaction.  architecture.md,
engine rule 4.
Learns: nobody anything; the file holds digests, paths and signatures.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from protocol.errors import Failed, ProtocolViolation
from protocol.transport.port import StepKey

_META = sa.MetaData()
_OUTPUTS = sa.Table(
    "outputs",
    _META,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("step", sa.Text, primary_key=True),
    sa.Column("input_digest", sa.LargeBinary, nullable=False),
    sa.Column("path", sa.Text, nullable=False),
    sa.Column("sha256", sa.LargeBinary, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("signature", sa.LargeBinary, nullable=False),
)
_JOBS = sa.Table(
    "open_jobs",
    _META,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("ended", sa.Boolean, nullable=False),
)


@dataclass(frozen=True)
class StoredOutput:
    """A committed output: path of its file, digest, size in bytes, own signature."""

    input_digest: bytes
    path: Path
    sha256: bytes
    size: int
    signature: bytes


class NodeStore:
    """Short calls, each one transaction, from any thread."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        self.engine = sa.create_engine(
            f"sqlite:///{path}", connect_args={"timeout": 30, "check_same_thread": False}
        )
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)
        with self.engine.begin() as db:
            _META.create_all(db)

    def close(self) -> None:
        self.engine.dispose()

    def output(self, key: StepKey, input_digest: bytes) -> StoredOutput | None:
        """The committed output of the step, if any.

        Raises ProtocolViolation('equivocation') when it was made from another input.
        """
        with self.engine.connect() as db:
            row = db.execute(sa.select(_OUTPUTS).filter_by(**_where(key))).first()
        return _stored(row, key, input_digest) if row is not None else None

    def kept(self, key: StepKey, sha256: bytes) -> Path | None:
        """Where this node's own output of a step lies, if it has that digest."""
        with self.engine.connect() as db:
            row = db.execute(sa.select(_OUTPUTS).filter_by(**_where(key))).first()
        return Path(row.path) if row is not None and row.sha256 == sha256 else None

    def commit(
        self, key: StepKey, output: StoredOutput, hook: Callable[[sa.Connection], None] | None
    ) -> StoredOutput:
        """Makes `output` the step's output for ever, together with what `hook` writes.

        Returns the one that counts: an earlier commit wins and the hook does not run again.
        """
        values = {
            "input_digest": output.input_digest,
            "path": str(output.path),
            "sha256": output.sha256,
            "size": output.size,
            "signature": output.signature,
        }
        try:
            with self.engine.begin() as db:
                row = db.execute(sa.select(_OUTPUTS).filter_by(**_where(key))).first()
                if row is not None:
                    return _stored(row, key, output.input_digest)
                if hook is not None:
                    hook(db)
                db.execute(_OUTPUTS.insert().values(**_where(key), **values))
        except sa.exc.OperationalError as error:
            full = "full" in str(error.orig)
            raise Failed(
                "disk_full" if full else "disk_error",
                f"the node's database cannot be written ({error.orig})",
                next_step="make room in the node's data folder, then run the job again",
            ) from error
        return output

    def open_job(self, job: str) -> None:
        """Notes a job that has a step here.  Raises Failed('job_closed') when it has ended."""
        with self.engine.begin() as db:
            ended = db.execute(sa.select(_JOBS.c.ended).where(_JOBS.c.job == job)).scalar()
            if ended:
                raise Failed(
                    "job_closed", "this job has ended here; its keys are wiped", stage=job,
                    next_step="run a new job",
                )  # fmt: skip
            if ended is None:
                db.execute(_JOBS.insert().values(job=job, ended=False))

    def close_job(self, job: str) -> None:
        with self.engine.begin() as db:
            db.execute(_JOBS.update().where(_JOBS.c.job == job).values(ended=True))

    def open_jobs(self) -> tuple[str, ...]:
        with self.engine.connect() as db:
            rows = db.execute(sa.select(_JOBS.c.job).where(_JOBS.c.ended.is_(False)))
            return tuple(row.job for row in rows)


def instance_id(folder: Path) -> str:
    """The id of this data folder: 32 hex digits, made once."""
    path = folder / "instance"
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    made = secrets.token_hex(16)
    temporary = folder / "instance.part"
    with temporary.open("w") as file:
        file.write(made)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    return made


def _configure(connection: Any, _record: object) -> None:
    # The driver's own BEGIN comes with the first write: what was read before could be stale.
    connection.isolation_level = None
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA secure_delete=ON")  # who was erased leaves no byte here


def _begin(connection: sa.Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def _stored(row: Any, key: StepKey, input_digest: bytes) -> StoredOutput:
    if row.input_digest != input_digest:
        raise ProtocolViolation(
            "equivocation",
            f"the coordinator asked for {key.step} again with another input",
            stage=key.step,
            next_step="do not trust this coordinator until its operator explains it",
        )
    return StoredOutput(row.input_digest, Path(row.path), row.sha256, row.size, row.signature)


def _where(key: StepKey) -> dict[str, Any]:
    return {"job": key.job, "attempt": key.attempt, "step": key.step}
