"""What this party states about jobs, in the job log.

Who runs it: every node.  A statement is kept before it is sent, so that it is sent again with
the same words after a crash, and a job's end is logged even if the ledger was away.
Learns: the party; the consent service what `consent.job_record` says.

`job.admitted` is kept, and logged if the ledger answers, before a row is read.  While the
ledger does not answer, jobs go on until the consent copy is too old to decide; the statement
carries its own time and follows when the ledger is back (docs/adr/0010).
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa
from pyroaring import BitMap

from consent.job_record import statement, statement_id
from consent.leaf import JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED
from consent.policy import CheckedCheckpoint
from consent.port import JobEvent, Recorded
from party_node.job_history import JobHistory
from protocol.encoding import canonical_json
from protocol.errors import AssentError, ErrorInfo, Failed
from protocol.identity import Keys

if TYPE_CHECKING:
    from party_node.session import Session

_META = sa.MetaData()
_STATEMENTS = sa.Table(
    "job_statements", _META,
    sa.Column("id", sa.LargeBinary, primary_key=True),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("type", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("logged", sa.Text),  # JSON: log, index, checkpoint; null while it waits
)  # fmt: skip
_WAIT = 20.0  # seconds that a step waits for the ledger
_RETRY = 5.0
_log = logging.getLogger("assent.node")
Send = Callable[[JobEvent], Awaitable[Recorded]]


class JobLog:
    """Blocking for step threads; `run` sends what waits, in the node's own loop."""

    def __init__(
        self,
        engine: sa.Engine,
        history: JobHistory,
        keys: Keys,
        send: Send,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        code_version: str,
    ) -> None:
        """engine: of the node's own database.  history: keeps the inputs of every attempt.
        send: `ConsentPort.log_job`.

        Made in the loop that `send` runs in.
        """
        self._engine, self._history, self._keys, self._send = engine, history, keys, send
        self._now, self._random, self._version = now, random, code_version
        self._loop = asyncio.get_running_loop()
        self._wake = asyncio.Event()
        with engine.begin() as db:
            _META.create_all(db)

    # -- statements ------------------------------------------------------------------------

    def admitted(
        self, session: Session, rows: BitMap, excluded: dict[str, int], head: CheckedCheckpoint,
        categories: Sequence[str], budget: int | None,
    ) -> tuple[BitMap, dict[str, object] | None]:  # fmt: skip
        """Before a row is read: the rows that may be, and where that is logged, None while the
        ledger does not answer.  After a crash the rows are at most those of before.

        Raises Refused('witness_quorum_missing') when no quorum would see it.
        """
        spec, policy = session.spec, session.ctx.party.policy
        use = {
            "time_ms": int(self._now() * 1000), "purpose": spec.purpose,
            "requester": spec.requester, "protocol": spec.protocol, "categories": list(categories),
        }  # fmt: skip
        inputs = self._history.keep(session.job_id, session.attempt, rows, use, self._random(32))
        fields: dict[str, object] = {
            "budget_before": budget,
            "categories": list(categories),
            "code_version": self._version,
            "consent": {
                "origin": head.checkpoint.origin,
                "size": head.checkpoint.size,
                "root": head.checkpoint.root.hex(),
                "quorum_time": head.quorum_time,
                "witnesses": dict(sorted(head.times.items())),
            },
            "eligible": len(rows),
            "eligible_set": inputs.digest,
            "excluded": {key: value for key, value in sorted(excluded.items()) if value},
            "job_hash": session.job_hash.hex(),
            "noise": "discrete_gaussian" if spec.noise else "off",
            "parties": list(spec.parties),
            "policy": hashlib.sha256(canonical_json(_plain(vars(policy)))).hexdigest(),
            "protocol": spec.protocol,
            "purpose": spec.purpose,
            "requester": spec.requester,
            "rho": spec.rho_nano if spec.noise else 0,
            "rows": session.ctx.dataset.rows,
            "thresholds": {
                "min_cohort": session.min_cohort, "window": int(session.ctx.freshness),
            },
        }  # fmt: skip
        return inputs.rows, self._say(JOB_ADMITTED, session.job_id, session.attempt, fields)

    def refused(self, session: Session, error: ErrorInfo) -> None:
        """A gate said no; logged when the ledger can be reached."""
        spec = session.spec
        fields: dict[str, object] = {
            "code": error.code,
            "purpose": spec.purpose,
            "requester": spec.requester,
            "stage": error.stage.partition("/")[0],
        }
        self._keep(JOB_REFUSED, session.job_id, session.attempt, fields)
        self._loop.call_soon_threadsafe(self._wake.set)

    def closed(
        self, job: str, outcome: str, code: str, facts: dict[str, Any], budget: int | None
    ) -> None:
        """The job has ended; said once for each attempt that was admitted here."""
        with self._engine.connect() as db:
            bodies = db.execute(
                sa.select(_STATEMENTS.c.body).where(
                    _STATEMENTS.c.job == job, _STATEMENTS.c.type == JOB_ADMITTED
                )
            ).all()
        admitted = {said["attempt"]: said for said in (json.loads(row.body) for row in bodies)}
        last = max(admitted, default=0)
        for attempt in self._history.attempts(job):
            said = admitted.get(attempt)
            if said is None:
                continue  # killed before the statement was kept: no row was read
            ended = outcome if attempt == last else "failed"
            released = facts.get("result") if ended == "released" else None
            fields: dict[str, object] = {
                "budget_after": budget,
                "code": code if attempt == last else "consent_changed",
                "eligible_set": said["eligible_set"],
                "job_hash": said["job_hash"],
                "outcome": ended,
                "output": (facts.get("signed") or {}).get("commitment") if released else None,
                "overlap": ((released or {}).get("overlap") or {}).get("count"),
                "rechecked": facts.get("log.rechecked"),
                "recipient": facts.get(RECIPIENT, said["requester"]),
                "stages": _stages(facts, attempt),
                "withdrawn_during_job": facts["own"].get("withdrawn_during_job", 0),
            }
            self._keep(JOB_CLOSED, job, attempt, fields)
            self._history.ended(job, attempt, ended)
        self._loop.call_soon_threadsafe(self._wake.set)

    def _say(
        self, type: str, job: str, attempt: int, fields: dict[str, object]
    ) -> dict[str, object] | None:
        event = self._keep(type, job, attempt, fields)
        sending = asyncio.run_coroutine_threadsafe(self._log(event), self._loop)
        try:
            return sending.result(_WAIT)
        except TimeoutError:
            sending.cancel()
        except Failed as error:
            if error.info.code not in ("unavailable", "storage_failed"):
                raise
            _log.warning("a statement about job %s waits for the ledger: %s", job, error)
        self._loop.call_soon_threadsafe(self._wake.set)
        return None

    def _keep(self, type: str, job: str, attempt: int, fields: dict[str, object]) -> JobEvent:
        """The event as it was kept first, whatever would be said now."""
        id = statement_id(self._keys.storage, job, attempt, type)
        event = statement(
            type, id, self._keys.card.name, job, attempt, int(self._now() * 1000), fields,
            self._keys.signing,
        )  # fmt: skip
        with self._engine.begin() as db:
            kept = db.execute(sa.select(_STATEMENTS.c.body).where(_STATEMENTS.c.id == id)).scalar()
            if kept is not None:
                return JobEvent(type, id, kept)
            db.execute(_STATEMENTS.insert().values(id=id, job=job, type=type, body=event.body))
        return event

    async def _log(self, event: JobEvent) -> dict[str, object]:
        done = await self._send(event)
        where = {"log": done.origin, "index": done.indexes[0], "checkpoint": done.checkpoint}
        with self._engine.begin() as db:
            db.execute(
                _STATEMENTS.update()
                .where(_STATEMENTS.c.id == event.id)
                .values(logged=json.dumps(where))
            )
        return where

    async def run(self) -> None:
        """Sends what waits, for ever; in the order in which it was said."""
        while True:
            self._wake.clear()
            pause: float | None = None
            for event in self.waiting():
                try:
                    await self._log(event)
                except AssentError as error:
                    _log.warning("statements about jobs wait for the ledger: %s", error)
                    pause = _RETRY
                    break
            try:
                async with asyncio.timeout(pause):
                    await self._wake.wait()
            except TimeoutError:
                continue

    def waiting(self) -> list[JobEvent]:
        """What is not logged yet, oldest first."""
        with self._engine.connect() as db:
            rows = db.execute(
                sa.select(_STATEMENTS.c.type, _STATEMENTS.c.id, _STATEMENTS.c.body)
                .where(_STATEMENTS.c.logged.is_(None))
                .order_by(sa.text("rowid"))
            ).all()
        return [JobEvent(row.type, row.id, row.body) for row in rows]

    def statements(self) -> list[tuple[dict[str, Any], dict[str, Any] | None]]:
        """(what was said, where it is logged), oldest first; for the party's own pages."""
        with self._engine.connect() as db:
            rows = db.execute(
                sa.select(_STATEMENTS.c.body, _STATEMENTS.c.logged).order_by(sa.text("rowid"))
            ).all()
        return [
            (json.loads(row.body), None if row.logged is None else json.loads(row.logged))
            for row in rows
        ]


RECIPIENT = "log.recipient"  # fact: who got what left, where that is not the requester
STAGE = "stage."  # facts `stage.<attempt>.<name>`: when a stage of this party was done


def _stages(facts: dict[str, Any], attempt: int) -> list[list[object]]:
    prefix = f"{STAGE}{attempt}."
    found = [(time, key[len(prefix) :]) for key, time in facts.items() if key.startswith(prefix)]
    return [[name, time] for time, name in sorted(found)]


def _plain(value: Any) -> Any:
    """Policy fields as canonical JSON can hold them."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return sorted((_plain(item) for item in value), key=str)
    return value if value is None or isinstance(value, bool | int | str) else str(value)
