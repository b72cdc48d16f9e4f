"""The consent service's store: one append-only sequence of records per party.

Who runs it: the consent service.  A record gets the next number of its party's log and
keeps it; nothing is changed or deleted, which the database itself refuses (triggers).
Learns: see proto/consent.proto; there is no identifier here to learn.
The verifiable log of consent.md takes the place of the plain numbers: its leaf index is
`sequence - 1`, its entries are made in `_insert`'s transaction.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from consent.body import batch_of, bodies
from consent.database import open_database, writing
from consent.port import Head, ReplicaPage
from consent.records import BATCH_ROWS, ID_BYTES, RecordBatch, empty_batch
from protocol.errors import ProtocolViolation

_META = sa.MetaData()
_SERVICE = sa.Table("service", _META, sa.Column("origin", sa.Text, primary_key=True))
_PARTIES = sa.Table(
    "parties", _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, unique=True, nullable=False),
)  # fmt: skip
_RECORDS = sa.Table(
    "records", _META,
    sa.Column("party", sa.ForeignKey("parties.id"), primary_key=True),
    sa.Column("sequence", sa.Integer, primary_key=True),
    sa.Column("record_id", sa.LargeBinary, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.UniqueConstraint("party", "record_id"),
    sqlite_with_rowid=False,
)  # fmt: skip
_CONTENT = ("record_id", "body")
_INSERT = "INSERT INTO records (party, sequence, record_id, body) VALUES (?,?,?,?)"
for _table in (_RECORDS, _PARTIES, _SERVICE):
    for _verb in ("UPDATE", "DELETE"):
        sa.event.listen(
            _table,
            "after_create",
            sa.DDL(  # type: ignore[no-untyped-call]  # SQLAlchemy's own omission
                f"CREATE TRIGGER {_table.name}_no_{_verb.lower()} BEFORE {_verb} ON {_table.name} "
                "BEGIN SELECT RAISE(ABORT, 'consent records are append-only'); END"
            ),
        )
_Row = tuple[bytes, bytes]


class ConsentStore:
    """Blocking; safe from several threads and several processes on one file."""

    def __init__(
        self, path: Path, clock: Callable[[], float], random: Callable[[int], bytes]
    ) -> None:
        """clock: seconds since 1970.  random: names the log when it is new."""
        self._clock = clock
        self._engine = open_database(path, _META)
        with writing(self._engine) as db:
            origin = db.execute(sa.select(_SERVICE.c.origin)).scalar()
            if origin is None:
                # Random, so that a log made anew never passes for the one that was lost.
                origin = f"assent/{random(8).hex()}/consent"
                db.execute(_SERVICE.insert().values(origin=origin))
        self._origin = str(origin)

    def close(self) -> None:
        self._engine.dispose()

    def head(self, party: str) -> Head:
        with self._engine.connect() as db:
            return self._head(party, self._size(db, self._party(db, party)))

    def append(self, party: str, batch: RecordBatch) -> Head:
        """Adds the records of `batch` that the log of `party` does not hold; on disk on return."""
        if len(batch) > BATCH_ROWS:
            raise ProtocolViolation("bad_record", f"a batch has over {BATCH_ROWS} records")
        ids = np.ascontiguousarray(batch.record_ids).view(f"V{ID_BYTES}").ravel()
        if len(np.unique(ids)) != len(batch):
            raise ProtocolViolation("record_conflict", "a batch has one record id twice")
        try:
            with writing(self._engine) as db:
                size = self._insert(db, party, batch, known=frozenset())
        except sa.exc.IntegrityError:
            # An id exists already: a batch sent again because its answer was lost, or a conflict.
            # Looked at only now, because asking first would cost every import the same again.
            with writing(self._engine) as db:
                size = self._insert(db, party, batch, self._known(db, party, batch))
        return self._head(party, size)

    def page(self, party: str, since: int, limit: int = BATCH_ROWS) -> ReplicaPage:
        """At most `limit` records after sequence number `since`; empty at the head."""
        with self._engine.connect() as db:
            number = self._party(db, party)
            head = self._head(party, self._size(db, number))
            if since > head.size:
                # The caller holds more than this log ever had: it compares heads and says so.
                return ReplicaPage(since + 1, empty_batch(), head)
            rows = db.execute(
                sa.select(*(_RECORDS.c[name] for name in _CONTENT))
                .where(_RECORDS.c.party == number, _RECORDS.c.sequence > since)
                .order_by(_RECORDS.c.sequence)
                .limit(limit)
            ).all()
            batch = batch_of([row.body for row in rows])
        return ReplicaPage(since + 1, batch, head)

    # -- one transaction's steps -----------------------------------------------------------

    def _insert(
        self, db: sa.Connection, party: str, batch: RecordBatch, known: frozenset[bytes]
    ) -> int:
        number = self._party(db, party, create=True)
        assert number is not None
        rows = _rows(batch)
        if known:
            rows = [row for row in rows if row[0] not in known]
        size = self._size(db, number)
        if rows:
            numbered = [(number, size + place, *row) for place, row in enumerate(rows, start=1)]
            # Plain tuples: the expression layer's dictionaries take longer than SQLite does.
            db.exec_driver_sql(_INSERT, numbered)
        return size + len(rows)

    def _known(self, db: sa.Connection, party: str, batch: RecordBatch) -> frozenset[bytes]:
        """Ids of `batch` in the log already; raises if one of them has other content."""
        number = self._party(db, party)
        if number is None:
            return frozenset()
        sent = {row[0]: row for row in _rows(batch)}
        found: set[bytes] = set()
        wanted = list(sent)
        for start in range(0, len(wanted), 500):  # bound variables per statement are limited
            some = wanted[start : start + 500]
            for row in db.execute(
                sa.select(*(_RECORDS.c[name] for name in _CONTENT)).where(
                    _RECORDS.c.party == number, _RECORDS.c.record_id.in_(some)
                )
            ):
                if tuple(row) != sent[row.record_id]:
                    raise ProtocolViolation(
                        "record_conflict",
                        "a consent record id exists with other content",
                        party=party,
                        stage="consent",
                    )
                found.add(row.record_id)
        return frozenset(found)

    def _party(self, db: sa.Connection, name: str, *, create: bool = False) -> int | None:
        number = db.execute(sa.select(_PARTIES.c.id).where(_PARTIES.c.name == name)).scalar()
        if number is None and create:
            number = db.execute(
                _PARTIES.insert().values(name=name).returning(_PARTIES.c.id)
            ).scalar_one()
        return number

    def _size(self, db: sa.Connection, number: int | None) -> int:
        last = sa.select(sa.func.max(_RECORDS.c.sequence)).where(_RECORDS.c.party == number)
        return db.execute(last).scalar() or 0

    def _head(self, party: str, size: int) -> Head:
        return Head(f"{self._origin}/{party}", size, int(self._clock() * 1000))


def _rows(batch: RecordBatch) -> list[_Row]:
    ids = np.ascontiguousarray(batch.record_ids).view(f"V{ID_BYTES}").ravel().tolist()
    return list(zip(ids, bodies(batch), strict=True))
