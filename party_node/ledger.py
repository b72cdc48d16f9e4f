"""The privacy ledger's file: an append-only table in the node's own database.

Who runs it: every owner's node.  The rules are `protocol.release.budget`; this is storage.
Learns: nobody anything; the table holds job ids, recipients, purposes and rho.
Source: protocols.md section 5, rule 3.

It shares the database with the node's outputs on purpose: budget is spent in the very
transaction that stores the output, so an output without its spending cannot exist.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sa

from protocol.release import budget
from protocol.release.budget import Account, Entry

_META = sa.MetaData()
_ENTRIES = sa.Table(
    "budget_entries",
    _META,
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("job", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("owner", sa.Text, nullable=False),
    sa.Column("recipient", sa.Text, nullable=False),
    sa.Column("purpose", sa.Text, nullable=False),
    sa.Column("rho_nano", sa.Integer, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    # One entry of a kind per reservation, whatever two threads do at once.
    sa.UniqueConstraint("job", "attempt", "kind"),
    sqlite_autoincrement=True,
)
_APPEND_ONLY = tuple(
    f"CREATE TRIGGER IF NOT EXISTS budget_entries_no_{word.lower()} BEFORE {word} "
    "ON budget_entries BEGIN SELECT RAISE(ABORT, 'the privacy ledger is append-only'); END"
    for word in ("UPDATE", "DELETE")
)


class Ledger:
    """One owner's ledger.  Calls are short; each but `spend` is its own transaction.

    engine: of the database that holds the node's outputs.  now: seconds since 1970.
    """

    def __init__(self, engine: sa.Engine, now: Callable[[], float]) -> None:
        self._engine = engine
        self._now = now
        with engine.begin() as db:
            _META.create_all(db)
            for trigger in _APPEND_ONLY:
                db.execute(sa.text(trigger))

    def remaining(self, account: Account, now: float | None = None) -> int:
        """What the account can still pay, in 1e-9 rho."""
        with self._engine.connect() as db:
            return budget.remaining(_entries(db, account.owner), account, self._at(now))

    def check(self, account: Account, rho_nano: int, now: float | None = None) -> None:
        """Raises Refused('budget_exhausted') unless it could be reserved now; writes nothing."""
        with self._engine.connect() as db:
            budget.check(_entries(db, account.owner), account, rho_nano, self._at(now))

    def reserve(
        self, account: Account, job: str, attempt: int, rho_nano: int, now: float | None = None
    ) -> None:
        """Sets `rho_nano` aside for (job, attempt); the same again changes nothing.

        Raises Refused('budget_exhausted') or Failed('ledger_conflict').
        """
        with self._exclusive() as db:
            entries = _entries(db, account.owner)
            entry = budget.reserve(entries, account, job, attempt, rho_nano, self._at(now))
            _append(db, entry)

    def spend(self, db: sa.Connection, account: Account, job: str, attempt: int) -> None:
        """Spends the reservation inside the caller's transaction, which stores the output.

        Raises Failed('ledger_conflict') when there is none, and then the output must not be
        stored either.
        """
        _lock(db)
        _append(db, budget.spend(_entries(db, account.owner), job, attempt, self._now()))

    def release(self, owner: str, job: str, before: int | None = None) -> None:
        """At the end of a job, or of its attempts earlier than `before`: gives back what was
        reserved and not spent.  What of them should come later finds nothing to spend."""
        with self._exclusive() as db:
            entries = _entries(db, owner)
            mine = {e.attempt for e in entries if e.job == job}
            for attempt in sorted(a for a in mine if before is None or a < before):
                _append(db, budget.release(entries, job, attempt, self._now()))

    def _at(self, now: float | None) -> float:
        return self._now() if now is None else now

    @contextmanager
    def _exclusive(self) -> Iterator[sa.Connection]:
        """Nobody else writes between what is read here and what is appended."""
        with self._engine.connect() as db:
            _lock(db)
            yield db
            db.commit()


def _lock(db: sa.Connection) -> None:
    """Takes SQLite's write lock before anything is read.  An insert of nothing does so on every
    driver setting, unlike BEGIN IMMEDIATE under pysqlite."""
    db.execute(sa.text("INSERT INTO budget_entries (job) SELECT 'x' WHERE 0"))


def _entries(db: sa.Connection, owner: str) -> list[Entry]:
    rows = db.execute(
        sa.select(_ENTRIES).where(_ENTRIES.c.owner == owner).order_by(_ENTRIES.c.sequence)
    )
    return [
        Entry(row.job, row.attempt, row.kind, row.owner, row.recipient, row.purpose,
              row.rho_nano, row.at)
        for row in rows
    ]  # fmt: skip


def _append(db: sa.Connection, entry: Entry | None) -> None:
    if entry is None:
        return
    db.execute(
        _ENTRIES.insert().values(
            job=entry.job,
            attempt=entry.attempt,
            kind=entry.kind,
            owner=entry.owner,
            recipient=entry.recipient,
            purpose=entry.purpose,
            rho_nano=entry.rho_nano,
            at=entry.at,
        )
    )
