"""Opening and writing the log's databases, alike for SQLite and PostgreSQL.

Who runs it: the consent service.  Every error of the database, the driver's included, leaves
here as one `Failed('storage_failed')`, so that the writer stops on any of them.
Learns: nobody.
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from protocol.errors import BadInput, Failed

_BUSY_SECONDS = 30
_WAL_TRIES, _WAL_PAUSE = 200, 0.02


def check_there(url: str) -> None:
    """Raises BadInput for a file that is not there: opening would make it, empty."""
    address = _address(url)
    file = address.database or ""
    if address.get_backend_name() == "sqlite" and not Path(file).is_file():
        raise BadInput(
            f"{file}: there is no such database", next_step="name the folder of the logs"
        )


def _address(url: str) -> sa.URL:
    try:
        return sa.make_url(url)
    except sa.exc.ArgumentError as error:
        raise BadInput(
            f"{url!r} is not the address of a database", next_step="use sqlite:/// or postgresql://"
        ) from error


def open_url(url: str, metadata: sa.MetaData, append_only: Sequence[str]) -> sa.Engine:
    """An engine with the tables of `metadata`; rows of `append_only` stay as they are for ever."""
    address = _address(url)
    with failing_closed():
        if address.get_backend_name() == "sqlite":
            engine = _sqlite(address)
        elif address.get_backend_name() == "postgresql":
            # A plain postgresql:// would be SQLAlchemy's driver of old.
            engine = sa.create_engine(address.set(drivername="postgresql+psycopg"))
        else:
            raise BadInput(f"a log lives in sqlite or postgresql, not {address.get_backend_name()}")
        with writing(engine) as db:
            serial_lock(db, "schema")
            metadata.create_all(db)
            for table in append_only:
                _refuse_changes(db, table)
    return engine


def _sqlite(address: sa.URL) -> sa.Engine:
    engine = sa.create_engine(
        address, connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False}
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # As in consent.database: BEGIN IMMEDIATE before the first read of a writer.
        connection.isolation_level = None
        _write_ahead(connection)
        # secure_delete: what is erased is overwritten in the file, not only unlinked.
        for pragma in ("synchronous=FULL", "secure_delete=ON", "cache_size=-65536"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("assent_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    if address.database:
        try:
            Path(address.database).touch(mode=0o600)
        except OSError as error:
            raise BadInput(
                f"{address.database}: cannot be written ({error.strerror})",
                next_step="check the path and the permissions",
            ) from error
    return engine


def _write_ahead(connection: sqlite3.Connection) -> None:
    """WAL.  SQLite does not wait for locks when it changes this, so of two that open a new
    file at once one would fail; it is changed once in a file's life."""
    for _ in range(_WAL_TRIES):
        try:
            if connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal":
                return
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if "locked" not in str(error):
                raise
            time.sleep(_WAL_PAUSE)
    connection.execute("PRAGMA journal_mode=WAL")


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that may write; durable when the block ends without an error."""
    with (
        failing_closed(),
        engine.connect().execution_options(assent_writes=True) as connection,
        connection.begin(),
    ):
        yield connection


@contextmanager
def failing_closed() -> Iterator[None]:
    try:
        yield
    except (sa.exc.SQLAlchemyError, sqlite3.Error, UnicodeDecodeError) as error:
        # The statement's parameters are bodies and salts: only the driver's own words go out,
        # and of a constraint not even those.
        words = "" if isinstance(error, sa.exc.IntegrityError) else _words(error)
        raise Failed(
            "storage_failed",
            f"the log's database failed: {type(error).__name__}{words}",
            stage="consent log",
            next_step="free space on the disk or bring the database back; the log reloads itself",
        ) from None


def _words(error: Exception) -> str:
    original = error if isinstance(error, sqlite3.Error) else getattr(error, "orig", None)
    return f": {str(original).splitlines()[0]}" if original and str(original) else ""


def blob(value: object) -> bytes:
    """A column of bytes.  SQLite gives text or a number where a damaged file says so."""
    if not isinstance(value, bytes | bytearray | memoryview):
        raise damaged()
    return bytes(value)


def damaged() -> Failed:
    return Failed(
        "storage_failed",
        "the log's database holds something else where bytes, a number or text should be",
        stage="consent log",
        next_step="keep the files as evidence; restore under a new origin",
    )


def broken_structure(engine: sa.Engine) -> list[str]:
    """What the database says of itself: SQLite compares its tables with their indexes.

    PostgreSQL has no such check without an extension, and keeps checksums of its own.
    """
    if engine.dialect.name != "sqlite":
        return []
    with failing_closed(), engine.connect() as db:
        said = [str(row[0]) for row in db.exec_driver_sql("PRAGMA integrity_check(20)")]
    return [] if said == ["ok"] else said


def serial_lock(db: sa.Connection, what: str) -> None:
    """One transaction at a time where there is no row to lock yet; SQLite has only one anyway."""
    if db.dialect.name == "postgresql":
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(sa.func.hashtext(f"assent {what}"))))


def insert(
    db: sa.Connection, table: sa.Table, rows: Sequence[tuple[object, ...]], conflict: str = ""
) -> None:
    """Rows as plain tuples: the expression layer's dictionaries cost more than the database."""
    if not rows:
        return
    mark = "?" if db.dialect.name == "sqlite" else "%s"
    names = [column.name for column in table.columns]
    values = ", ".join([mark] * len(names))
    db.exec_driver_sql(
        f"INSERT INTO {table.name} ({', '.join(names)}) VALUES ({values}) {conflict}",  # noqa: S608  # names of our own tables
        list(rows),
    )


def _refuse_changes(db: sa.Connection, table: str) -> None:
    if db.dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            db.exec_driver_sql(
                f"CREATE TRIGGER IF NOT EXISTS {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} are append-only'); END"
            )
        return
    db.exec_driver_sql(
        "CREATE OR REPLACE FUNCTION assent_append_only() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'append-only'; END $$"
    )
    db.exec_driver_sql(
        f"CREATE OR REPLACE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
        f"ON {table} EXECUTE FUNCTION assent_append_only()"
    )
