"""Values of tags beside the table, what each run found, and how far people have moved.

Who runs it: the node that owns the data.  Learns: nobody, anything: counts here are the owner's
and leave only through a job.  Drift is the population stability index between two runs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from catalog.tag_canonical import tag_id
from catalog.tag_rules import Sources
from catalog.tag_terms import MODELS, SCORE_DECIMALS, Measure
from catalog.tags import Tag, TagSet
from catalog.vocabulary import UNKNOWN
from party_node.attribute_columns import Labels
from party_node.profile_store import ProfileStore, first
from party_node.tag_sql import model_table, refresh_query, tag_column
from party_node.tag_test_sql import quoted, text
from protocol.errors import BadInput

# A share below this counts as this: an index over an empty value would be infinite.
_LEAST_SHARE = 1e-4


@dataclass(frozen=True)
class Run:
    """One tag in one run.  counts: people by value, in the order of the vocabulary.

    psi: against the run before, None where it cannot be compared.
    """

    tag: str
    id: str
    version: str
    as_of: datetime
    counts: Mapping[str, int]
    unknown: int
    psi: float | None

    @property
    def coverage(self) -> float:
        """Share of people with a value."""
        everyone = sum(self.counts.values())
        return 1 - self.unknown / everyone if everyone else 0.0

    def fields(self) -> dict[str, Any]:
        return {
            "tag": self.tag, "id": self.id, "version": self.version,
            "as_of": self.as_of.isoformat(), "counts": dict(self.counts),
            "coverage": round(self.coverage, 6), "null_rate": round(1 - self.coverage, 6),
            "psi": None if self.psi is None else round(self.psi, 6),
        }  # fmt: skip


class TagValues:
    """The table `tag_values` (row, one code per tag) and the table of runs."""

    def __init__(self, store: ProfileStore, tags: TagSet, sources: Sources, folder: Path) -> None:
        """folder: where jobs leave labels/JOB.parquet and scores/JOB.parquet."""
        self._store, self._tags, self._sources, self._folder = store, tags, sources, folder
        self._seen: dict[tuple[str, Path], int] = {}
        self._loaded: dict[str, int] = {}
        with store.transaction() as db:
            db.execute("create temp table if not exists touched (person bigint)")
            db.execute(
                "create table if not exists tag_runs (number bigint, tag varchar, id varchar, "
                "version varchar, as_of timestamp, counts varchar, unknown bigint, psi double)"
            )

    def refresh(self, names: Sequence[str], as_of: datetime) -> list[Run]:
        """These tags for everybody, in one query; what was found is noted."""
        names = list(dict.fromkeys(self._tags.now(name).name for name in names))
        query = refresh_query(self._tags, names, self._sources, as_of, touched=False)
        # Looked at before they are read: one that is written meanwhile is read next time.
        seen = {key: _written(key[1]) for key in self._files() if key[0] in names}
        with self._store.transaction() as db:
            loaded = self._models(db, names)
            kept = [column for column in self._columns(db) if column not in names]
            db.execute(f"create or replace temp table fresh as {query}")
            if kept:
                columns = ", ".join(f"v.{tag_column(name)}" for name in kept)
                db.execute(
                    f"create or replace table tag_values as select f.*, {columns} "  # noqa: S608
                    "from fresh f left join tag_values v on v.row = f.row order by f.row"
                )
            else:
                db.execute("create or replace table tag_values as select * from fresh order by row")
            if set(names) >= {tag.name for tag in self._tags.live}:
                db.execute("delete from touched")  # else the other tags of these people wait
            runs = [self._note(db, self._tags.tags[name], as_of) for name in names]
        self._seen |= seen
        self._loaded = loaded
        return runs

    def refresh_touched(self, as_of: datetime) -> int:
        """Every tag of the people whose events came in since; nobody else's row is written.

        Returns how many rows were.
        """
        loaded = self._loaded
        with self._store.transaction() as db:
            names = [name for name in self._columns(db) if name in self._tags.tags]
            if names:
                loaded = self._models(db, names)
                query = refresh_query(self._tags, names, self._sources, as_of, touched=True)
                db.execute(f"create or replace temp table fresh as {query}")
                # A hundred times as fast as an update of that many columns.
                db.execute("delete from tag_values where row in (select row from fresh)")
                db.execute("insert into tag_values by name select * from fresh")
            row = first(
                db, "select count(*) from people where person in (select person from touched)"
            )
            db.execute("delete from touched")
        self._loaded = loaded
        assert row is not None
        return int(row[0])

    def labels(self, name: str) -> Labels:
        """A tag as an attribute: codes by row; the vocabulary does not depend on the data."""
        tag = self._tags.now(name)
        query = f"select {tag_column(tag.name)} as code from tag_values order by row"  # noqa: S608
        with self._store.transaction() as db:
            found = db.execute(query).fetchnumpy()["code"]
        return Labels(np.asarray(found).astype(np.int32), tag.vocabulary, has_null=False)

    def history(self, name: str) -> list[Run]:
        """Runs of the tag and of those that it replaced, newest first."""
        now = self._tags.now(name).name
        names = [other for other in self._tags.tags if self._tags.now(other).name == now]
        with self._store.transaction() as db:
            rows = db.execute(
                "select tag, id, version, as_of, counts, unknown, psi from tag_runs "
                "where list_contains(?, tag) order by number desc",
                [names],
            ).fetchall()
        return [Run(r[0], r[1], r[2], r[3], json.loads(r[4]), r[5], r[6]) for r in rows]

    def last_as_of(self, name: str) -> datetime | None:
        runs = self.history(name)
        return runs[0].as_of if runs else None

    def _columns(self, db: duckdb.DuckDBPyConnection) -> list[str]:
        rows = db.execute(
            "select column_name from duckdb_columns() where table_name = 'tag_values' "
            "and column_name <> 'row' order by column_index"
        ).fetchall()
        names = [str(row[0]).removeprefix("tag ") for row in rows]
        return [n for n in names if n in self._tags.tags and self._tags.now(n).name == n]

    def stale(self) -> set[str]:
        """Tags that read a file which a job has written since they were computed."""
        return {key[0] for key in self._files() if _written(key[1]) != self._seen.get(key, 0)}

    def _files(self) -> list[tuple[str, Path]]:
        """Each tag with each file that it reads."""
        return [(tag.name, self._path(m)) for tag in self._tags.live for m in tag.measures
                if m.how == "model"]  # fmt: skip

    def _path(self, measure: Measure) -> Path:
        return self._folder / MODELS[measure.model][0] / f"{Path(measure.of[0]).name}.parquet"

    def _models(self, db: duckdb.DuckDBPyConnection, names: Sequence[str]) -> dict[str, int]:
        """What jobs left here for these tags and those they are made from, as tables; empty for
        a job that has not run.  Returns which tables hold what was written when."""
        needed = set(names)
        for tag in reversed(self._tags.live):
            if tag.name in needed:
                needed |= {self._tags.now(used).name for used in tag.uses}
        loaded = dict(self._loaded)
        for measure in (m for tag in self._tags.live if tag.name in needed for m in tag.measures):
            if measure.how == "model":
                # Files hold everybody: read for every event that comes in, they would be most
                # of the work.
                table, written = model_table(*measure.of), _written(self._path(measure))
                if loaded.get(table) != written:
                    _model(db, self._path(measure), measure)
                    loaded[table] = written
        return loaded

    def _note(self, db: duckdb.DuckDBPyConnection, tag: Tag, as_of: datetime) -> Run:
        column = tag_column(tag.name)
        rows = db.execute(
            f"select {column}, count(*) from tag_values group by all"  # noqa: S608
        ).fetchall()
        by_code = dict(rows)
        counts = {word: by_code.get(code, 0) for code, word in enumerate(tag.vocabulary)}
        unknown = counts.get(tag.unknown or UNKNOWN, 0)
        before = first(
            db,
            "select counts, version from tag_runs where tag = ? order by number desc limit 1",
            [tag.name],
        )
        psi = None
        if before is not None and before[1].split("-")[0] == str(tag.version.model):
            psi = stability(json.loads(before[0]), counts)
        run = Run(
            tag.name, tag_id(self._tags, tag.name), str(tag.version), as_of, counts, unknown, psi
        )
        db.execute(
            "insert into tag_runs select coalesce(max(number), 0) + 1, ?, ?, ?, ?, ?, ?, ? "
            "from tag_runs",
            [run.tag, run.id, run.version, as_of, json.dumps(counts, ensure_ascii=False), unknown,
             psi],
        )  # fmt: skip
        return run


def stability(before: Mapping[str, int], after: Mapping[str, int]) -> float | None:
    """Population stability index: Σ (q - p) ln(q / p) over the values of both runs."""
    totals = sum(before.values()), sum(after.values())
    if not all(totals):
        return None
    total = 0.0
    for word in {**before, **after}:
        p = max(before.get(word, 0) / totals[0], _LEAST_SHARE)
        q = max(after.get(word, 0) / totals[1], _LEAST_SHARE)
        total += (q - p) * math.log(q / p)
    return total


def _written(path: Path) -> int:
    """When, in nanoseconds since 1970; 0 for a file that is not there."""
    return path.stat().st_mtime_ns if path.is_file() else 0


def _model(db: duckdb.DuckDBPyConnection, path: Path, measure: Measure) -> None:
    job, column = measure.of
    table, kind = model_table(job, column), MODELS[measure.model][1][column]
    if not path.is_file():
        empty = "varchar" if kind == "label" else "bigint"
        db.execute(f"create or replace temp table {table} (row bigint, value {empty})")
        return
    value = f"cast({quoted(column)} as varchar)"
    if kind == "number":
        value = f"cast(round({quoted(column)} * {10**SCORE_DECIMALS}) as bigint)"
    source = f"read_parquet({text(str(path))})"
    try:
        db.execute(
            f"create or replace temp table {table} as select row, {value} as value from {source}"  # noqa: S608
        )
    except duckdb.Error as error:
        raise BadInput(
            f"{path}: has no {column} that can be read ({str(error).splitlines()[0]})",
            next_step=f"run the job {job} again, or name another column",
        ) from error
