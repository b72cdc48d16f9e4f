"""Tables of events and links from where a party keeps them, as columns of text.

Who runs it: every node, for its own sources: CSV, Parquet, DuckDB files, and databases by URL.
Learns: nobody, anything; a URL's password is never part of a message.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import sqlalchemy as sa

from catalog.events import is_url, shown, with_secrets
from catalog.yaml import nearest
from party_node.table_file import TextTable, read_columns
from protocol.errors import BadInput

_ROWS = 50_000  # fetched at a time from a database


def read_source(
    source: str,
    table: str | None,
    wanted: Mapping[str, str],
    environment: Mapping[str, str] = os.environ,
) -> TextTable:
    """The columns `wanted` (column → what the reader calls it).  Raises BadInput in words."""
    if is_url(source):
        assert table is not None
        return _from_url(source, table, wanted, environment)
    path = Path(source)
    if path.suffix.lower() == ".duckdb":
        assert table is not None
        return _from_duckdb(path, table, wanted)
    return read_columns(path, wanted)


def _from_duckdb(path: Path, table: str, wanted: Mapping[str, str]) -> TextTable:
    if not path.is_file():
        raise BadInput(f"{path}: does not exist", next_step="check the path")
    try:
        with duckdb.connect(str(path), read_only=True) as connection:
            found = connection.table(_quoted(table))
            _check_columns(f"{path} {table}", found.columns, wanted)
            named = ", ".join(f"cast({_quoted(c)} as varchar)" for c in dict.fromkeys(wanted))
            arrow = found.project(named).to_arrow_table() if wanted else pa.table({})
            count = len(found)
    except duckdb.Error as error:
        raise BadInput(
            f"{path}: table {table} cannot be read ({str(error).splitlines()[0]})",
            next_step="check the table's name, and that no other program has the file open",
        ) from error
    columns = [column.combine_chunks().cast(pa.string()) for column in arrow.columns]
    return _text_table(path, count, dict(zip(dict.fromkeys(wanted), columns, strict=True)))


def _from_url(
    source: str, table: str, wanted: Mapping[str, str], environment: Mapping[str, str]
) -> TextTable:
    try:
        address = sa.make_url(with_secrets(source, environment))
        if address.drivername == "postgresql":  # else SQLAlchemy takes the driver of old
            address = address.set(drivername="postgresql+psycopg")
        engine = sa.create_engine(address)
        with engine.connect() as db:
            schema, _, name = table.rpartition(".")
            found = [c["name"] for c in sa.inspect(db).get_columns(name, schema or None)]
            _check_columns(f"{shown(source)} {table}", found, wanted)
            names = list(dict.fromkeys(wanted))
            query: sa.Select[*tuple[Any, ...]] = sa.select(
                *(sa.column(c) for c in names)
            ).select_from(sa.table(name, schema=schema or None))
            columns: dict[str, list[pa.Array]] = {c: [] for c in names}
            count = 0
            rows = db.execution_options(stream_results=True).execute(query)
            for part in rows.partitions(_ROWS):
                count += len(part)
                # The driver hands out Python values; they become arrays here, once.
                for c, values in zip(names, zip(*part, strict=True), strict=True):
                    columns[c].append(pa.array(map(_text, values), pa.string()))
        engine.dispose()
    except (sa.exc.SQLAlchemyError, ImportError) as error:
        # The driver's own words may hold the URL, and with it the password.
        raise BadInput(
            f"{shown(source)}: table {table} cannot be read ({type(error).__name__})",
            next_step="check address, user, password, table and that the driver is installed",
        ) from None
    whole = {c: pa.chunked_array(parts, pa.string()).combine_chunks()
             for c, parts in columns.items()}  # fmt: skip
    return _text_table(Path(shown(source).replace("/", "_")), count, whole)


def _text(value: Any) -> str | None:
    if value is None:
        return None
    if isinstance(value, datetime | date):
        return value.isoformat()
    return str(value)


def _check_columns(where: str, names: list[str], wanted: Mapping[str, str]) -> None:
    for column, purpose in wanted.items():
        if column not in names:
            raise BadInput(
                f'{where}: has no column "{column}" (for {purpose})',
                next_step=nearest(column, names),
            )


def _text_table(path: Path, rows: int, columns: dict[str, pa.StringArray]) -> TextTable:
    digest = hashlib.sha256()
    for name, column in columns.items():
        digest.update(name.encode())
        for buffer in column.buffers():
            digest.update(buffer or b"")
    empty = {name: pa.compute.if_else(pa.compute.equal(c, ""), None, c)
             for name, c in columns.items()}  # fmt: skip
    return TextTable(path, rows, empty, digest.hexdigest(), plain_lines=False)


def _quoted(name: str) -> str:
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split("."))
