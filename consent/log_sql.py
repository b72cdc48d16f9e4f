"""The log's two stores in SQL: SQLite files by default, PostgreSQL by URL.

Who runs it: the consent service.  SQLite: WAL, synchronous=FULL; PostgreSQL: its defaults
(synchronous_commit on).  Several logs share a database; each has its own rows and lock.
Learns: see consent.log_storage.

Entries and checkpoints are append-only, which the database itself refuses to break (triggers);
a tile's row grows, and a partial tile of the specification is a prefix of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import sqlalchemy as sa

from consent.leaf import SALT_BYTES, Event, Opening
from consent.log_database import (
    blob,
    broken_structure,
    damaged,
    failing_closed,
    insert,
    open_url,
    serial_lock,
    writing,
)
from consent.log_storage import Above, StoredHead, StoredOpening
from consent.merkle import EMPTY_ROOT, MAX_SIZE
from consent.tiles import HEIGHT, Tiles
from protocol.errors import Failed

TREE = sa.MetaData()
LOGS = sa.Table(
    "logs", TREE,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("origin", sa.Text, unique=True, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("root", sa.LargeBinary, nullable=False),
    sa.Column("epoch", sa.BigInteger, nullable=False),
)  # fmt: skip
ENTRIES = sa.Table(
    "entries", TREE,
    sa.Column("log", sa.Integer, primary_key=True),
    sa.Column("place", sa.BigInteger, primary_key=True),
    sa.Column("leaf", sa.LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)  # fmt: skip
TILES = sa.Table(
    "tiles", TREE,
    sa.Column("log", sa.Integer, primary_key=True),
    sa.Column("level", sa.Integer, primary_key=True),
    sa.Column("place", sa.BigInteger, primary_key=True),
    sa.Column("hashes", sa.LargeBinary, nullable=False),
)  # fmt: skip
CHECKPOINTS = sa.Table(
    "checkpoints", TREE,
    sa.Column("log", sa.Integer, primary_key=True),
    sa.Column("size", sa.BigInteger, primary_key=True),
    sa.Column("note", sa.Text, nullable=False),
)  # fmt: skip
PRIVATE = sa.MetaData()
OPENINGS = sa.Table(
    "openings", PRIVATE,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("place", sa.BigInteger, primary_key=True),
    sa.Column("event", sa.LargeBinary, nullable=False),
    sa.Column("subject", sa.LargeBinary),
    sa.Column("salt", sa.LargeBinary),
    sa.Column("body", sa.LargeBinary),
    sa.Index("openings_event", "origin", "event", unique=True),
    sa.Index("openings_subject", "origin", "subject"),
)  # fmt: skip
APPEND_ONLY = ("entries",)
_LAST = (
    sa.select(CHECKPOINTS.c.log, sa.func.max(CHECKPOINTS.c.size).label("size"))
    .group_by(CHECKPOINTS.c.log)
    .subquery()
)
# Each log's name and its newest note.
_NEWEST_NOTES = sa.select(LOGS.c.origin, CHECKPOINTS.c.note).where(
    LOGS.c.id == CHECKPOINTS.c.log,
    CHECKPOINTS.c.log == _LAST.c.log,
    CHECKPOINTS.c.size == _LAST.c.size,
)
# What every commit asks is built once: making a statement costs more than asking it.
_LOG: sa.BindParameter[int] = sa.bindparam("log")
_START: sa.BindParameter[int] = sa.bindparam("start")
_END: sa.BindParameter[int] = sa.bindparam("end")
_HEAD = sa.select(LOGS.c.size, LOGS.c.root, LOGS.c.epoch).where(LOGS.c.id == _LOG)
_LOCKED_HEAD = _HEAD.with_for_update()
_NEW_HEAD = (
    LOGS.update()
    .where(LOGS.c.id == _LOG, LOGS.c.size == _START, LOGS.c.epoch == sa.bindparam("writer"))
    .values(size=_END, root=sa.bindparam("head"))
)
_ENTRIES = (
    sa.select(ENTRIES.c.leaf)
    .where(ENTRIES.c.log == _LOG, ENTRIES.c.place >= _START, ENTRIES.c.place < _END)
    .order_by(ENTRIES.c.place)
)
_TILE = sa.select(TILES.c.hashes).where(
    TILES.c.log == _LOG, TILES.c.level == sa.bindparam("level"), TILES.c.place == _START
)
_LEVELS = range(-(-MAX_SIZE.bit_length() // HEIGHT))
# One statement a level, put together: with "or" SQLite walks through all tiles of a log.
_EDGE = sa.union_all(
    *(
        sa.select(TILES.c.level, TILES.c.place, TILES.c.hashes).where(
            TILES.c.log == _LOG,
            TILES.c.level == level,
            TILES.c.place >= sa.bindparam(f"from_{level}"),
        )
        for level in _LEVELS
    )
)


def origins(url: str) -> list[str]:
    """The names of the logs in a database; none when it is new."""
    engine = open_url(url, TREE, APPEND_ONLY)
    try:
        with failing_closed(), engine.connect() as db:
            return [str(row[0]) for row in db.execute(sa.select(LOGS.c.origin))]
    finally:
        engine.dispose()


def opened_origins(url: str) -> list[str]:
    """As `origins`, of the logs that have openings in a database."""
    engine = open_url(url, PRIVATE, ())
    try:
        with failing_closed(), engine.connect() as db:
            found = db.execute(sa.select(OPENINGS.c.origin).distinct())
            return [str(row[0]) for row in found]
    finally:
        engine.dispose()


class SqlLog:
    """`LogStorage` of one log.  Blocking; safe from several threads and processes."""

    def __init__(self, url: str, origin: str) -> None:
        """url: of SQLAlchemy, 'sqlite:///…' or 'postgresql://…'; made when absent."""
        self._engine = open_url(url, TREE, APPEND_ONLY)
        with writing(self._engine) as db:
            serial_lock(db, "logs")
            number = db.execute(sa.select(LOGS.c.id).where(LOGS.c.origin == origin)).scalar()
            if number is None:
                row = {"origin": origin, "size": 0, "root": EMPTY_ROOT, "epoch": 0}
                number = db.execute(LOGS.insert().values(row).returning(LOGS.c.id)).scalar_one()
        self._log = int(number)

    def close(self) -> None:
        self._engine.dispose()

    def take_over(self) -> StoredHead:
        with writing(self._engine) as db:
            head = self._head(db, lock=True)
            db.execute(LOGS.update().where(LOGS.c.id == self._log).values(epoch=head.epoch + 1))
        return StoredHead(head.size, head.root, head.epoch + 1)

    @contextmanager
    def writing(self, epoch: int) -> Iterator[SqlTransaction]:
        with writing(self._engine) as db:
            head = self._head(db, lock=True)
            if head.epoch != epoch:
                raise Failed(
                    "second_writer",
                    "another process has opened this log for writing",
                    stage="consent log",
                    next_step="run one consent service per log; this one has stopped writing",
                )
            yield SqlTransaction(db, self._log, head)

    def head(self) -> StoredHead:
        with self._reading() as db:
            return self._head(db)

    def entries(self, start: int, end: int) -> list[bytes]:
        with self._reading() as db:
            return self._entries(db, start, end)

    def tile(self, level: int, index: int) -> bytes:
        asked = {"log": self._log, "level": level, "start": index}
        with self._reading() as db:
            found = db.execute(_TILE, asked).scalar()
        return b"" if found is None else blob(found)

    def above(self, size: int) -> Above:
        first = {f"from_{level}": size >> (HEIGHT * (level + 1)) for level in _LEVELS}
        with self._reading() as db:
            head = self._head(db)
            entries = self._entries(db, size, head.size)
            rows = db.execute(_EDGE, {"log": self._log} | first).all()
        edge = {(level, place): blob(hashes) for level, place, hashes in rows}
        return Above(head, entries, edge)

    def tiles(self) -> Iterator[tuple[int, int, bytes]]:
        with self._reading() as db:
            columns = (TILES.c.level, TILES.c.place, TILES.c.hashes)
            query = sa.select(*columns).where(TILES.c.log == self._log)
            for level, place, hashes in db.execute(query.order_by(TILES.c.level, TILES.c.place)):
                yield level, place, blob(hashes)

    def checkpoint(self) -> str | None:
        with self._reading() as db:
            query = sa.select(CHECKPOINTS.c.note).where(CHECKPOINTS.c.log == self._log)
            return db.execute(query.order_by(CHECKPOINTS.c.size.desc()).limit(1)).scalar()

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        with self._reading() as db:
            query = sa.select(CHECKPOINTS.c.size, CHECKPOINTS.c.note)
            query = query.where(CHECKPOINTS.c.log == self._log).order_by(CHECKPOINTS.c.size)
            for size, note in db.execute(query):
                if type(size) is not int or not isinstance(note, str):
                    raise damaged()
                yield size, note

    def checkpoint_between(self, above: int, most: int) -> tuple[int, str] | None:
        """The note of the largest size over `above` and up to `most`."""
        with self._reading() as db:
            query = sa.select(CHECKPOINTS.c.size, CHECKPOINTS.c.note)
            query = query.where(CHECKPOINTS.c.log == self._log)
            query = query.where(CHECKPOINTS.c.size > above, CHECKPOINTS.c.size <= most)
            found = db.execute(query.order_by(CHECKPOINTS.c.size.desc()).limit(1)).one_or_none()
        return None if found is None else (int(found.size), str(found.note))

    def faults(self) -> list[str]:
        found = broken_structure(self._engine)
        with self._reading() as db:
            for table in (ENTRIES, TILES, CHECKPOINTS):
                ours = sa.select(table.c.log).where(~table.c.log.in_(sa.select(LOGS.c.id)))
                if db.execute(ours.limit(1)).first() is not None:
                    found.append(f"table {table.name} has rows of a log that does not exist")
            # A log under a name that is not its own would be made anew when it is asked for.
            if any(
                str(note).partition("\n")[0] != origin for origin, note in db.execute(_NEWEST_NOTES)
            ):
                found.append("a log is filed under another name than its checkpoints have")
        return found

    @contextmanager
    def _reading(self) -> Iterator[sa.Connection]:
        with failing_closed(), self._engine.connect() as db:
            yield db

    def _entries(self, db: sa.Connection, start: int, end: int) -> list[bytes]:
        asked = {"log": self._log, "start": start, "end": end}
        return [blob(row[0]) for row in db.execute(_ENTRIES, asked)]

    def _head(self, db: sa.Connection, *, lock: bool = False) -> StoredHead:
        query = _LOCKED_HEAD if lock else _HEAD
        size, root, epoch = db.execute(query, {"log": self._log}).one()
        if type(size) is not int or type(epoch) is not int:
            raise damaged()
        return StoredHead(size, blob(root), epoch)


@dataclass
class SqlTransaction:
    """`LogTransaction` over one open transaction."""

    db: sa.Connection
    log: int
    head: StoredHead

    def add(self, entries: Sequence[bytes], tiles: Tiles, size: int, root: bytes) -> None:
        first = self.head.size
        rows = [(self.log, place, leaf) for place, leaf in enumerate(entries, start=first)]
        insert(self.db, ENTRIES, rows)
        upsert = "ON CONFLICT (log, level, place) DO UPDATE SET hashes = excluded.hashes"
        insert(self.db, TILES, [(self.log, *at, hashes) for at, hashes in tiles.items()], upsert)
        head = {"log": self.log, "start": first, "writer": self.head.epoch, "end": size}
        if self.db.execute(_NEW_HEAD, head | {"head": root}).rowcount != 1:
            raise Failed("storage_failed", "the log's head changed under its lock")

    def put_checkpoint(self, size: int, note: str) -> None:
        upsert = "ON CONFLICT (log, size) DO UPDATE SET note = excluded.note"
        insert(self.db, CHECKPOINTS, [(self.log, size, note)], upsert)


_ORIGIN: sa.BindParameter[str] = sa.bindparam("origin")
_FROM = OPENINGS.delete().where(OPENINGS.c.origin == _ORIGIN, OPENINGS.c.place >= _START)
_NEWEST = (
    sa.select(OPENINGS.c.event)
    .where(OPENINGS.c.origin == _ORIGIN)
    .order_by(OPENINGS.c.event.desc())
    .limit(1)
)


class SqlOpenings:
    """`Openings` of one log, in a database of its own with `secure_delete`."""

    def __init__(self, url: str, origin: str) -> None:
        self._engine = open_url(url, PRIVATE, ())
        self._origin = origin
        self._ours = OPENINGS.c.origin == origin

    def close(self) -> None:
        self._engine.dispose()

    def add(self, first: int, events: Sequence[Event], salts: bytes) -> None:
        rows = [
            (
                self._origin,
                first + n,
                one.id,
                one.subject,
                salts[n * SALT_BYTES : (n + 1) * SALT_BYTES],
                one.body,
            )
            for n, one in enumerate(events)
        ]
        with writing(self._engine) as db:
            db.execute(_FROM, {"origin": self._origin, "start": first})
            insert(db, OPENINGS, rows)

    def find(self, ids: Sequence[bytes]) -> Mapping[bytes, StoredOpening]:
        # Ids begin with their time, so that those of new events are above all that are stored,
        # and an import need not look for each of a million.
        with failing_closed(), self._engine.connect() as db:
            newest = db.execute(_NEWEST, {"origin": self._origin}).scalar()
        old = [] if newest is None else [one for one in ids if one <= blob(newest)]
        found = {}
        for start in range(0, len(old), 500):  # bound variables per statement are limited
            some = old[start : start + 500]
            for one in self._select(OPENINGS.c.event.in_(some)):
                found[one.id] = one
        return found

    def read(self, start: int, end: int) -> list[StoredOpening]:
        return self._select(OPENINGS.c.place >= start, OPENINGS.c.place < end)

    def at(self, indexes: Sequence[int]) -> list[StoredOpening]:
        """As `read`, of places anywhere; those that are missing are left out."""
        found: list[StoredOpening] = []
        for start in range(0, len(indexes), 500):
            found += self._select(OPENINGS.c.place.in_(list(indexes[start : start + 500])))
        return found

    def of_subject(self, subject: bytes) -> list[int]:
        return [one.index for one in self._select(OPENINGS.c.subject == subject)]

    def of_subjects(self, subjects: Sequence[bytes]) -> list[StoredOpening]:
        found: list[StoredOpening] = []
        for start in range(0, len(subjects), 500):
            found += self._select(OPENINGS.c.subject.in_(subjects[start : start + 500]))
        return sorted(found, key=lambda one: one.index)

    def faults(self) -> list[str]:
        return broken_structure(self._engine)

    def erase(self, indexes: Sequence[int]) -> None:
        with writing(self._engine) as db:
            for start in range(0, len(indexes), 500):
                some = list(indexes[start : start + 500])
                db.execute(
                    OPENINGS.update()
                    .where(self._ours, OPENINGS.c.place.in_(some))
                    .values(subject=None, salt=None, body=None)
                )
        # Pages that were overwritten live on in the write-ahead log (SQLite) or as dead rows
        # (PostgreSQL) until these are cleared.
        with failing_closed(), self._engine.connect() as db:
            if db.dialect.name == "sqlite":
                busy = db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").one()[0]
                if busy:
                    raise Failed(
                        "erasure_pending",
                        "the data is deleted, but a reader still holds its old pages",
                        stage="consent log",
                        next_step="erase again",
                    )
            else:
                db.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql(
                    "VACUUM FULL openings"
                )

    def _select(self, *conditions: sa.ColumnElement[bool]) -> list[StoredOpening]:
        columns = (OPENINGS.c[name] for name in ("place", "event", "subject", "salt", "body"))
        # Sorted here: told to sort, SQLite walks the whole log in order of place instead of
        # looking a person or an id up in its index.
        query = sa.select(*columns).where(self._ours, *conditions)
        with failing_closed(), self._engine.connect() as db:
            found = [_opening(*row) for row in db.execute(query)]
        return sorted(found, key=lambda one: one.index)


def _opening(
    place: int, id: bytes, subject: bytes | None, salt: bytes | None, body: bytes | None
) -> StoredOpening:
    opening = None if salt is None or body is None else Opening(blob(salt), blob(body))
    return StoredOpening(place, blob(id), None if subject is None else blob(subject), opening)
