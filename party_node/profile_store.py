"""A party's events, who did them, and its people's tags: one DuckDB file in the node's folder.

Who runs it: every node that declares events or tags.  The file is its owner's alone (0600);
nothing here leaves the node by itself.  Learns: nobody, anything.

An event sent twice counts once when its table has an `id`.  Without one, a changed source
replaces what came from it before, and what was pushed stays.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.events import EventField, EventTable, utc_offset
from catalog.federation import Attribute, Party
from party_node.attribute_columns import flags, number
from party_node.canonical import canonical_column
from party_node.event_moment import moment_sql
from party_node.one_id import Identity
from party_node.table_file import TextTable
from party_node.tag_sql import event_table, field_column
from party_node.tag_test_sql import quoted, text
from protocol.errors import BadInput, Failed

_TYPES = {"number": "bigint", "label": "varchar", "flag": "boolean"}


@dataclass(frozen=True)
class Ingested:
    """new: events that are there now and were not.  nobody: of these, of unknown people.
    people: persons (lowest row numbers) whose events changed.  trouble: why the tags of these
    people are not computed yet; the events are kept all the same."""

    event: str
    new: int
    again: int
    nobody: int
    people: int
    trouble: str = ""

    def sentence(self) -> str:
        return (
            f"{self.event}: {self.new:,} new events of {self.people:,} people, {self.again:,} "
            f"known already, {self.nobody:,} of nobody in the table"
            + (f"; their tags are not computed: {self.trouble}" if self.trouble else "")
        )


class ProfileStore:
    """Calls from any thread, one at a time."""

    def __init__(self, path: Path, party: Party) -> None:
        """path: the file, or an empty path for memory."""
        self.party = party
        self._lock = threading.RLock()
        if path.name:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            mask = os.umask(0o177)
        try:
            self._db = duckdb.connect(
                str(path) if path.name else ":memory:",
                config={"autoinstall_known_extensions": "false",
                        "autoload_known_extensions": "false"},
            )  # fmt: skip
        except duckdb.Error as error:
            raise BadInput(
                f"{path}: cannot be opened ({str(error).splitlines()[0]})",
                next_step="stop what has it open, or delete it: sources are read again",
            ) from error
        finally:
            if path.name:
                os.umask(mask)
        self._create()

    def close(self) -> None:
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[duckdb.DuckDBPyConnection]:
        """The connection, alone; everything in it happens or nothing does."""
        with self._lock:
            try:
                self._db.begin()
                try:
                    yield self._db
                except BaseException:
                    self._db.rollback()
                    raise
                self._db.commit()
            except (duckdb.IOException, duckdb.OutOfMemoryException, duckdb.ConnectionException,
                    duckdb.FatalException) as error:  # fmt: skip
                raise Failed(
                    "disk_error",
                    f"the events' file cannot be written ({str(error).splitlines()[0]})",
                    next_step="see that there is room on the node's disk; then send it again",
                ) from error

    def _create(self) -> None:
        with self.transaction() as db:
            db.execute(
                "create table if not exists identity (type varchar, value varchar, person bigint, "
                "reason varchar, source varchar)"
            )
            db.execute("create table if not exists sources (name varchar, version varchar)")
            db.execute("create table if not exists apart (type varchar, value varchar)")
            for name, event in self.party.events.items():
                self._create_events(db, name, event)

    def _create_events(self, db: duckdb.DuckDBPyConnection, name: str, event: EventTable) -> None:
        """The event's table; made anew when its declaration has changed."""
        wanted = [
            "person bigint",
            "seq bigint",
            "moment timestamp",
            "key varchar",
            "pushed boolean",
        ]
        wanted += [f"{id_column(kind)} varchar" for kind in event.ids]
        wanted += [f"{field_column(f)} {_TYPES[d.kind]}" for f, d in event.fields.items()]
        shape = "; ".join(wanted) + str([d.decimals for d in event.fields.values()])
        known = first(db, "select version from sources where name = ?", [f"shape {name}"])
        if known is not None and known[0] == shape:
            return
        if known is not None and self._pushed(db, name):
            raise BadInput(
                f"events {name}: the declaration has changed, and pushed events have the old one",
                next_step="give the new declaration another name",
            )
        db.execute(f"create or replace table {event_table(name)} ({', '.join(wanted)})")
        db.execute("delete from sources where name in (?, ?)", [f"shape {name}", name])
        db.execute("insert into sources values (?, ?)", [f"shape {name}", shape])

    def _pushed(self, db: duckdb.DuckDBPyConnection, name: str) -> bool:
        query = f"select 1 from {event_table(name)} where pushed limit 1"  # noqa: S608
        return first(db, query) is not None

    # -- people ----------------------------------------------------------------------------

    def set_people(self, people: pa.Table, identity: Identity) -> None:
        """people: row, and one column per attribute; kept in memory, for this run of the node."""
        table = people.append_column("person", pa.array(identity.person, pa.int64()))
        found = identity.identifiers
        with self.transaction() as db:
            # Temporary: the table's own file is where these rows stay.
            db.register("arrow_people", table)
            db.execute("create or replace temp table people as select * from arrow_people")
            db.unregister("arrow_people")
            db.register("arrow_identity", found)
            db.execute("create or replace table identity as select * from arrow_identity")
            db.unregister("arrow_identity")
            for name, event in self.party.events.items():
                self._resolve(db, name, event)

    def _resolve(self, db: duckdb.DuckDBPyConnection, name: str, event: EventTable) -> None:
        """Who did what, anew: identities may have merged or come apart."""
        table = event_table(name)
        others = "* exclude (person)"
        db.execute(
            f"create or replace table {table} as select {_person(event)} as person, e.{others} "  # noqa: S608
            f"from {table} e {_identities(event)}"
        )

    def apart(self) -> list[tuple[str, str]]:
        """Identifiers that the owner keeps from merging."""
        with self._lock:
            rows = self._db.execute("select type, value from apart order by all").fetchall()
        return [(str(kind), str(value)) for kind, value in rows]

    def keep_apart(self, kind: str, value: str, apart: bool) -> None:
        with self.transaction() as db:
            db.execute("delete from apart where type = ? and value = ?", [kind, value])
            if apart:
                db.execute("insert into apart values (?, ?)", [kind, value])

    def identity_of(self, kind: str, value: str) -> list[dict[str, object]]:
        """Every identifier of the person behind one, with reason and source; itself first."""
        query = """
            select type, value, person, reason, source from identity
            where (type = ? and value = ?) or person in (
                select person from identity where type = ? and value = ? and person >= 0)
            order by (type = ? and value = ?) desc, type, value"""
        with self._lock:
            cursor = self._db.execute(query, [kind, value] * 3)
            names = [column[0] for column in cursor.description or ()]
            return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    # -- events ----------------------------------------------------------------------------

    def source_version(self, name: str) -> str:
        with self._lock:
            row = first(self._db, "select version from sources where name = ?", [name])
        return "" if row is None else str(row[0])

    def ingest(self, name: str, table: TextTable, *, pushed: bool) -> Ingested:
        """Adds the events of `table`; leaves the persons they touch in `touched`."""
        event = self.party.events[name]
        staged = self._stage(name, event, table)
        target = event_table(name)
        with self.transaction() as db:
            db.execute("create temp table if not exists touched (person bigint)")
            db.execute("create temp table if not exists changed (person bigint)")
            db.execute("delete from changed")
            before = 0
            if event.id is None and not pushed:
                before = _one(db, f"select count(*) from {target} where not pushed")  # noqa: S608
                gone = f"from {target} where not pushed"
                db.execute(f"insert into changed select distinct person {gone}")
                db.execute(f"delete {gone}")
            db.register("staged", staged)
            added = self._insert(db, name, event, table, pushed)
            db.unregister("staged")
            if not pushed:
                db.execute("delete from sources where name = ?", [name])
                db.execute("insert into sources values (?, ?)", [name, table.version])
            db.execute("insert into touched select distinct person from changed "
                       "where person is not null")  # fmt: skip
            nobody = _one(db, "select count(*) from changed where person is null")
            people = _one(db, "select count(distinct person) from changed")
        if before:
            return Ingested(name, max(0, added - before), min(before, added), nobody, people)
        return Ingested(name, added, table.rows - added, nobody, people)

    def _insert(
        self, db: duckdb.DuckDBPyConnection, name: str, event: EventTable, table: TextTable,
        pushed: bool,
    ) -> int:  # fmt: skip
        target = event_table(name)
        offset = int(utc_offset(self.party.utc_offset).total_seconds())
        when = moment_sql(offset)
        unread = f"select min(number), count(*) from staged where {when} is null"  # noqa: S608
        wrong, count = first(db, unread) or (None, 0)
        if wrong is not None:
            others = f", and {count - 1} more rows" if count > 1 else ""
            raise BadInput(
                f'events {name}: {table.where(wrong)}: column "{event.time}": the value is no '
                f"moment{others}",
                next_step="write 2026-11-25T08:00:00, with +08:00 or Z where it is another time",
            )
        more = [id_column(kind) for kind in event.ids] + [field_column(f) for f in event.fields]
        fresh = ""
        if event.id is not None:
            # Of all keys only those that arrive: the small side, not everything ever ingested,
            # is what is kept to compare with.
            db.execute(
                "create or replace temp table known as select key "  # noqa: S608
                f"from {target} where key in (select key from staged)"
            )
            fresh = (
                "where e.key not in (select key from known) "
                "qualify row_number() over (partition by e.key order by e.number) = 1"
            )
        joined = f"from staged e {_identities(event)} {fresh}"
        columns = ", ".join(f"e.{column}" for column in more)
        db.execute(
            f"create or replace temp table arriving as select {_person(event)} as person, "
            f"e.number, {when} as moment, e.key, {columns} {joined}"
        )
        start = _one(db, f"select coalesce(max(seq), -1) + 1 from {target}")  # noqa: S608
        db.execute(
            f"insert into {target} (person, seq, moment, key, pushed, {', '.join(more)}) "  # noqa: S608
            f"select person, {start} + number, moment, key, {str(pushed).lower()}, "
            f"{', '.join(more)} from arriving order by number"
        )
        db.execute("insert into changed select person from arriving")
        return _one(db, "select count(*) from arriving")

    def _stage(self, name: str, event: EventTable, table: TextTable) -> pa.Table:
        """The arriving events as typed columns.  Raises BadInput with row and column."""
        columns: dict[str, pa.Array] = {
            "number": pa.array(np.arange(table.rows)),
            "time": table.columns[event.time],
            "key": table.columns[event.id] if event.id else pa.nulls(table.rows, pa.string()),
        }
        if event.id is not None and columns["key"].null_count:
            empty = int(pc.index(columns["key"].is_null(), True).as_py())
            raise BadInput(
                f'{table.where(empty)}: column "{event.id}" is empty, '
                f"in {columns['key'].null_count} rows",
                next_step=f"events {name} are known by it; fill it, or delete id:",
            )
        for kind, column in event.ids.items():
            found = canonical_column(kind, table.columns[column], self.party.default_region)
            columns[_bare(id_column(kind))] = found
        for field, declared in event.fields.items():
            value = _typed(table, event.column(field), declared)
            columns[_bare(field_column(field))] = value
        return pa.table(columns)


def id_column(kind: str) -> str:
    return quoted(f"id {kind}")


def wanted_columns(name: str, event: EventTable) -> dict[str, str]:
    """Column → what it is read for."""
    wanted = {column: f"ids.{kind} of events {name}" for kind, column in event.ids.items()}
    wanted.setdefault(event.time, f"time of events {name}")
    if event.id is not None:
        wanted.setdefault(event.id, f"id of events {name}")
    for field in event.fields:
        wanted.setdefault(event.column(field), f"field {field} of events {name}")
    return wanted


def _bare(column: str) -> str:
    return column[1:-1].replace('""', '"')


def _typed(table: TextTable, column: str, declared: EventField) -> pa.Array:
    if declared.kind == "label":
        return table.columns[column]
    if declared.kind == "flag":
        codes = pc.equal(pa.array(flags(table, column).codes), 1)
        return pc.if_else(pc.is_valid(table.columns[column]), codes, None)
    as_attribute = Attribute(
        kind="number", category="behaviour", bounds=declared.limits, decimals=declared.decimals
    )
    found = number(table, column, as_attribute)
    return pa.array(found.values, pa.int64(), mask=found.null)


def _identities(event: EventTable) -> str:
    return " ".join(
        f"left join identity i{n} on i{n}.type = {text(kind)} and i{n}.value = e.{id_column(kind)} "
        f"and i{n}.person >= 0"
        for n, kind in enumerate(event.ids)
    )


def _person(event: EventTable) -> str:
    """Of the first identifier type, in the order of the declaration, that leads to a person."""
    return f"coalesce({', '.join(f'i{n}.person' for n in range(len(event.ids)))})"


def first(
    db: duckdb.DuckDBPyConnection, query: str, values: Sequence[object] = ()
) -> tuple[Any, ...] | None:
    """The first row.  All are fetched: a result half read blocks the connection."""
    rows = db.execute(query, list(values)).fetchall()
    return rows[0] if rows else None


def _one(db: duckdb.DuckDBPyConnection, query: str) -> int:
    row = first(db, query)
    assert row is not None
    return int(row[0])
