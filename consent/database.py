"""SQLite as the consent service and the replica open it: durable, one writer at a time.

Who runs it: the consent service and every node's replica.  Learns: nobody.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from protocol.errors import Failed

_BUSY_SECONDS = 30


def open_database(path: Path, metadata: sa.MetaData) -> sa.Engine:
    """An engine over `path` (0600) with the tables of `metadata`.

    WAL and synchronous=FULL: what is committed survives a killed process and a lost power line.
    """
    engine = sa.create_engine(
        f"sqlite:///{path}",
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )

    @event.listens_for(engine, "connect")
    def configure(connection: Any, _record: object) -> None:
        # The driver's own BEGIN comes too late: a transaction that reads the last sequence
        # number and then writes the next must hold the write lock from its first statement.
        connection.isolation_level = None
        for pragma in ("journal_mode=WAL", "synchronous=FULL", "cache_size=-65536"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begin(connection: sa.Connection) -> None:
        writes = connection.get_execution_options().get("assent_writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    path.touch(mode=0o600)
    with writing(engine) as db:
        metadata.create_all(db)
    return engine


@contextmanager
def writing(engine: sa.Engine) -> Iterator[sa.Connection]:
    """A transaction that holds the write lock; on disk when the block ends without an error."""
    try:
        with (
            engine.connect().execution_options(assent_writes=True) as connection,
            connection.begin(),
        ):
            yield connection
    except sa.exc.OperationalError as error:
        raise Failed(
            "storage_failed",
            f"the database cannot be written: {error.orig}",
            stage="consent",
            next_step="free space on the disk or stop the other writer, then try again",
        ) from error
