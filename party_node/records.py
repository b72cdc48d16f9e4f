"""What a party remembers of jobs: decisions, its own counts, results, exact releases.

Who runs it: every node, in its own SQLite file.  Nothing here leaves the party by itself;
the command line and the sandbox read it through the 0600 socket.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

People = npt.NDArray[np.uint64]
_META = sa.MetaData()
_JOBS = sa.Table(
    "known_jobs",
    _META,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("requester", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("sentence", sa.Text, nullable=False),
    sa.Column("since", sa.Float, nullable=False),
    sa.Column("decision", sa.Text),  # approved, refused or null
    sa.Column("reason", sa.Text),
)
_FACTS = sa.Table(
    "facts",
    _META,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)
_ANSWERS = sa.Table(
    "answers",
    _META,
    sa.Column("question", sa.Text, primary_key=True),
    sa.Column("versions", sa.Text, primary_key=True),
    sa.Column("result", sa.Text, nullable=False),
)
_EXACT = sa.Table(
    "exact_releases",
    _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("attributes", sa.Text, nullable=False),
    sa.Column("people", sa.LargeBinary, nullable=False),
)


class Records:
    """Small synchronous calls, each its own transaction; safe from several threads."""

    def __init__(self, engine: sa.Engine, now: Callable[[], float]) -> None:
        """engine: of the node's own database.  now: seconds since 1970."""
        self._now = now
        self._engine = engine
        with engine.begin() as db:
            _META.create_all(db)

    # -- jobs and decisions --------------------------------------------------------------

    def seen(self, job: str, name: str, requester: str, sentence: str) -> None:
        """Notes a job at its first step here; later calls change nothing."""
        row = {"job": job, "name": name, "requester": requester, "state": "running",
               "sentence": sentence, "since": self._now()}  # fmt: skip
        with self._engine.begin() as db:
            if db.execute(sa.select(_JOBS.c.job).where(_JOBS.c.job == job)).first() is None:
                db.execute(_JOBS.insert().values(**row))

    def set_state(self, job: str, state: str) -> None:
        with self._engine.begin() as db:
            db.execute(_JOBS.update().where(_JOBS.c.job == job).values(state=state))

    def decide(self, job: str, approve: bool, reason: str) -> str | None:
        """Records the owner's decision; returns the one that holds, None for an unknown job."""
        word = "approved" if approve else "refused"
        with self._engine.begin() as db:
            db.execute(
                _JOBS.update()
                .where(_JOBS.c.job == job, _JOBS.c.decision.is_(None))
                .values(decision=word, reason=reason)
            )
        return self.decision(job)[0] if self.known(job) else None

    def known(self, job: str) -> bool:
        with self._engine.connect() as db:
            return db.execute(sa.select(_JOBS.c.job).where(_JOBS.c.job == job)).first() is not None

    def requester(self, job: str) -> str | None:
        with self._engine.connect() as db:
            return db.execute(sa.select(_JOBS.c.requester).where(_JOBS.c.job == job)).scalar()

    def decision(self, job: str) -> tuple[str | None, str]:
        with self._engine.connect() as db:
            row = db.execute(
                sa.select(_JOBS.c.decision, _JOBS.c.reason).where(_JOBS.c.job == job)
            ).first()
        return (row.decision, row.reason or "") if row is not None else (None, "")

    def jobs(self) -> list[dict[str, Any]]:
        """Newest first."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(_JOBS).order_by(_JOBS.c.since.desc()).limit(500))
            return [dict(row._mapping) for row in rows]

    def open_jobs(self) -> list[str]:
        ended = ("released", "refused", "failed")
        with self._engine.connect() as db:
            rows = db.execute(sa.select(_JOBS.c.job).where(_JOBS.c.state.not_in(ended)))
            return [row.job for row in rows]

    # -- facts -------------------------------------------------------------------------

    def put(self, job: str, key: str, value: Any) -> None:
        """Keeps `value` (JSON) as this party's `key` of the job; the last one counts."""
        text = json.dumps(value, ensure_ascii=False)
        with self._engine.begin() as db:
            db.execute(_FACTS.delete().where(_FACTS.c.job == job, _FACTS.c.key == key))
            db.execute(_FACTS.insert().values(job=job, key=key, value=text))

    def record(self, job: str) -> dict[str, Any]:
        """All facts of the job; facts named own.* are gathered under "own",
        with the bytes of all artifacts that this party sent."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(_FACTS.c.key, _FACTS.c.value).where(_FACTS.c.job == job))
            facts = {row.key: json.loads(row.value) for row in rows}
        own = {key[4:]: facts.pop(key) for key in sorted(facts) if key.startswith("own.")}
        sent = [facts.pop(key) for key in sorted(facts) if key.startswith("sent.")]
        return facts | {"own": own | {"bytes": sum(sent)}}

    def with_fact(self, key: str) -> dict[str, Any]:
        """Job → its fact of this key, for the jobs that have one."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(_FACTS.c.job, _FACTS.c.value).where(_FACTS.c.key == key))
            return {row.job: json.loads(row.value) for row in rows}

    # -- stored answers (section 5, rule 3) ------------------------------------------------

    def answer(self, question: str, versions: str) -> dict[str, Any] | None:
        with self._engine.connect() as db:
            row = db.execute(
                sa.select(_ANSWERS.c.result).where(
                    _ANSWERS.c.question == question, _ANSWERS.c.versions == versions
                )
            ).first()
        return json.loads(row.result) if row is not None else None

    def keep_answer(self, question: str, versions: str, result: dict[str, Any]) -> None:
        with self._engine.begin() as db:
            key = (_ANSWERS.c.question == question) & (_ANSWERS.c.versions == versions)
            db.execute(_ANSWERS.delete().where(key))
            db.execute(
                _ANSWERS.insert().values(
                    question=question,
                    versions=versions,
                    result=json.dumps(result, ensure_ascii=False),
                )
            )

    # -- exact releases (section 5, rule 4) -------------------------------------------------

    def exact_releases(self, recipient: str) -> list[tuple[frozenset[str], People]]:
        """(own attributes read, uint64 keys of the people) of every exact answer to them."""
        with self._engine.connect() as db:
            rows = db.execute(sa.select(_EXACT).where(_EXACT.c.recipient == recipient))
            return [
                (frozenset(json.loads(row.attributes)), np.frombuffer(row.people, dtype="<u8"))
                for row in rows
            ]

    def add_exact(
        self,
        db: sa.Connection,
        job: str,
        recipient: str,
        attributes: frozenset[str],
        people: People,
    ) -> None:
        """Inside the transaction that stores the answer: none without the other."""
        db.execute(
            _EXACT.insert().values(
                job=job,
                recipient=recipient,
                attributes=json.dumps(sorted(attributes)),
                people=np.sort(people).astype("<u8").tobytes(),
            )
        )
