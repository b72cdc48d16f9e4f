"""CSV and Parquet files as columns of text, or one sentence about what is wrong with them.

Who runs it: every node, for its table and its file of consents.  Learns: nobody, anything.
architecture.md, Choices made: header by `csv`, then DuckDB with `auto_detect=false`, all
text, `strict_mode=true`; every error reworded.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.yaml import nearest
from consent import column_sql
from party_node.csv_scan import Scan, digest, scan
from protocol.errors import BadInput

_EXTENSIONS = {".csv": "csv", ".parquet": "parquet", ".pq": "parquet"}
_SCALARS = (
    "VARCHAR", "BOOLEAN", "TINYINT", "SMALLINT", "INTEGER", "BIGINT", "HUGEINT", "UTINYINT",
    "USMALLINT", "UINTEGER", "UBIGINT", "UHUGEINT", "FLOAT", "DOUBLE", "DECIMAL", "DATE", "TIME",
    "TIMESTAMP", "UUID", "ENUM",
)  # fmt: skip
# Wider numbers than these are not whole counts or identifiers that a float can hold.
_EXACT_FLOAT = 2**53


@dataclass(frozen=True)
class TextTable:
    """Columns as text, null where empty.  version: hex SHA-256 of the file's bytes.

    lines: what a row is called, and the number of each, where its own name says it better.
    """

    path: Path
    rows: int
    columns: Mapping[str, pa.StringArray]
    version: str
    plain_lines: bool
    lines: tuple[str, npt.NDArray[np.int64]] | None = None

    def where(self, row: int) -> str:
        """'FILE row 3 (line 4)' for the row with number `row` from 0."""
        if self.lines is not None:
            return f"{self.path} {self.lines[0]} {self.lines[1][row]}"
        line = f" (line {row + 2})" if self.plain_lines else ""
        return f"{self.path} row {row + 1}{line}"

    def __repr__(self) -> str:  # rows never reach a log by accident
        return f"TextTable({self.path.name}, rows={self.rows})"


def read_header(path: Path) -> tuple[str, ...]:
    """The names of the columns.  Raises BadInput as `read_columns` does."""
    return _scan(path).header if _kind(path) == "csv" else tuple(_parquet_types(path))


def read_columns(path: Path, wanted: Mapping[str, str]) -> TextTable:
    """The columns `wanted` (column → what the reader calls it) of a CSV or Parquet file.

    Raises BadInput with file, row or column, and what to do.
    """
    kind = _kind(path)
    before = _state(path)
    table = _read_csv(path, wanted) if kind == "csv" else _read_parquet(path, wanted)
    if _state(path) != before:
        raise BadInput(f"{path}: changed while it was read", next_step="run again when it is still")
    return table


def _kind(path: Path) -> str:
    kind = _EXTENSIONS.get(path.suffix.lower())
    if kind is None:
        raise BadInput(
            f"{path}: {path.suffix or 'a file without an ending'} is not supported",
            next_step="save it as .csv (UTF-8) or .parquet",
        )
    if not path.is_file():
        raise BadInput(
            f"{path}: {'is not a file' if path.exists() else 'does not exist'}",
            next_step="check the path; it is relative to the file that names it",
        )
    return kind


def _state(path: Path) -> tuple[int, int]:
    try:
        status = os.stat(path)
    except OSError as error:
        raise BadInput(f"{path}: cannot be read ({error.strerror})") from error
    return status.st_size, status.st_mtime_ns


def _check_columns(path: Path, names: tuple[str, ...], wanted: Mapping[str, str]) -> None:
    for column, purpose in wanted.items():
        if column not in names:
            raise BadInput(f'{path}: has no column "{column}" (for {purpose})',
                           next_step=_hint(column, names))  # fmt: skip
        if names.count(column) > 1:
            raise BadInput(f'{path}: two columns are named "{column}"', next_step="rename one")


def _hint(column: str, names: tuple[str, ...]) -> str:
    if len(names) == 1:
        for mark, word in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars")):
            if mark in names[0]:
                return f"the cells are separated by {word}; save it with commas"
    stripped = [name for name in names if name.strip() == column]
    if stripped:
        return f'the header has spaces around it ("{stripped[0]}"); delete them'
    return nearest(column, names)


# -- CSV -----------------------------------------------------------------------------------


def _scan(path: Path) -> Scan:
    try:
        return scan(path)
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror})", next_step="check the permissions"
        ) from error


def _read_csv(path: Path, wanted: Mapping[str, str]) -> TextTable:
    found = _scan(path)
    _check_columns(path, found.header, wanted)
    arrays: list[pa.StringArray] = []
    if wanted:
        arrays = _parse(path, found, [found.header.index(column) for column in wanted])
    columns = dict(zip(wanted, arrays, strict=True))
    return TextTable(path, found.rows, columns, found.version, found.plain_lines)


def _parse(path: Path, found: Scan, positions: list[int]) -> list[pa.StringArray]:
    # Strict mode refuses (or, with a line feed in a quoted header, loses) rows of files that
    # mix line ends.  The scan has found every cell in its place, so the lenient mode has
    # nothing left to be lenient about.  The header is read as a row, because DuckDB skips a
    # wrong one in some of these files: it must come back as it is, with every row below it.
    trouble = ""
    for strict in ("true", "false"):
        try:
            arrays = _parse_as(path, found, positions, strict)
        except duckdb.Error as error:
            trouble = str(error).splitlines()[0]
            continue
        if len(arrays[0]) != found.rows + 1:
            trouble = f"{len(arrays[0]) - 1} of {found.rows} rows were read"
        elif any(
            array[0].as_py() != (found.header[i] or None)
            for array, i in zip(arrays, positions, strict=True)
        ):
            trouble = "the header was not read as it is"
        else:
            return [array.slice(1) for array in arrays]
    raise BadInput(
        f"{path}: cannot be read as CSV ({trouble})",
        next_step="save it again as CSV UTF-8 with one kind of line end, or as .parquet",
    )


def _parse_as(path: Path, found: Scan, positions: list[int], strict: str) -> list[pa.StringArray]:
    schema = ", ".join(f"'c{i}': 'VARCHAR'" for i in range(len(found.header)))
    named = ", ".join(f"c{i}" for i in positions)
    limit = max(2 << 20, found.longest + 2)
    query = f"""
        select {named} from read_csv(?, columns = {{{schema}}}, auto_detect = false,
            header = false, delim = ',', quote = '"', escape = '"', comment = '',
            strict_mode = {strict}, parallel = false, max_line_size = {limit},
            buffer_size = {max(32 << 20, 2 * limit)})
    """  # noqa: S608 - only numbers and names made here
    with column_sql.connection() as connection:
        table = connection.sql(query, params=[str(path)]).to_arrow_table()
    return [_one(table.column(i)) for i in range(len(positions))]


def _one(column: pa.ChunkedArray) -> pa.StringArray:
    whole = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    return whole.cast(pa.string())


# -- Parquet -------------------------------------------------------------------------------


def _parquet_types(path: Path) -> dict[str, str]:
    """Column → DuckDB type, in the order of the file."""
    if path.stat().st_size == 0:
        raise BadInput(f"{path}: is empty", next_step="export the table again")
    try:
        with column_sql.connection() as connection:
            rows = connection.sql(
                "select column_name, column_type from (describe select * from read_parquet(?))",
                params=[str(path)],
            ).fetchall()
    except duckdb.Error as error:
        raise BadInput(
            f"{path}: is not a Parquet file ({str(error).splitlines()[0]})",
            next_step="export the table again, as Parquet or as CSV (UTF-8)",
        ) from error
    return dict(rows)


def _read_parquet(path: Path, wanted: Mapping[str, str]) -> TextTable:
    types = _parquet_types(path)
    _check_columns(path, tuple(types), wanted)
    for column in wanted:
        if types[column].split("(")[0].split(" ")[0] not in _SCALARS or "[" in types[column]:
            raise BadInput(
                f'{path}: column "{column}" holds {types[column]}, not single values',
                next_step="write it as text, numbers or booleans",
            )
    named = [f"{_selected(column, types[column])} as c{i}" for i, column in enumerate(wanted)]
    count = "select count(*) from read_parquet(?)"
    try:
        with column_sql.connection() as connection:
            ((rows,),) = connection.sql(count, params=[str(path)]).fetchall()
            arrays: list[pa.StringArray] = []
            if wanted:
                select = f"select {', '.join(named)} from read_parquet(?)"  # noqa: S608
                table = connection.sql(select, params=[str(path)]).to_arrow_table()
                arrays = [_as_text(table.column(i)) for i in range(len(named))]
    except duckdb.Error as error:
        raise BadInput(
            f"{path}: is damaged ({str(error).splitlines()[0]})",
            next_step="export the table again",
        ) from error
    if not rows:
        raise BadInput(f"{path}: has no row", next_step="export the table again, one row a person")
    columns = dict(zip(wanted, arrays, strict=True))
    return TextTable(path, int(rows), columns, digest(path), plain_lines=False)


def _selected(column: str, kind: str) -> str:
    """A SQL expression: floats as they are, for `_as_text`; all else as text."""
    quoted = '"' + column.replace('"', '""') + '"'
    if kind in ("FLOAT", "DOUBLE"):
        return quoted
    if kind.startswith("DECIMAL"):
        return f"regexp_replace(cast({quoted} as varchar), '\\.0+$', '')"
    return f"cast({quoted} as varchar)"


def _as_text(column: pa.ChunkedArray) -> pa.StringArray:
    """Text of one column.  Whole floats lose their point: a column of numbers with nulls is
    written as floats by common tools, and 13800000000.0 is no phone number.

    Not in SQL: DuckDB 2.0 trusts a Parquet file's statistics, which leave NaN out, and says
    that isnan() is false everywhere.
    """
    values = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_floating(values.type):
        return _empty_is_null(values.cast(pa.string()))
    values = pc.if_else(pc.is_nan(values), None, values)
    whole = pc.and_(
        pc.less(pc.abs(values), float(_EXACT_FLOAT)), pc.equal(values, pc.trunc(values))
    )
    digits = pc.if_else(whole, values, None).cast(pa.int64()).cast(pa.string())
    return pc.coalesce(digits, values.cast(pa.string()))


def _empty_is_null(column: pa.StringArray) -> pa.StringArray:
    return pc.if_else(pc.equal(column, ""), None, column)


def trimmed(text: pa.StringArray) -> pa.StringArray:
    """Without white space at the ends; null where nothing is left."""
    inner = pc.utf8_trim_whitespace(text)
    return pc.if_else(pc.equal(inner, ""), None, inner)
