"""Events as JSON, a list of objects or one object a line, as columns of text.

Who runs it: the node, for events that other programs of its company send.
Learns: nobody, anything; no value of an event is part of a message.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import pyarrow as pa

from party_node.table_file import TextTable
from protocol.errors import BadInput

_PIECE = 1 << 16  # events at a time: as objects they are ten times as large as their text
_SEND = "send objects whose values are text, numbers, true, false or null, one object a line"


def _no_number(word: str) -> NoReturn:
    raise ValueError(f"{word} is not JSON")


# Numbers with a point stay the text that they are; one decoder, for making it costs more than a
# line does.
_decode: Callable[[str], Any] = json.JSONDecoder(
    parse_float=str, parse_constant=_no_number
).decode  # fmt: skip


@dataclass(frozen=True)
class _Row:
    """at: the line, or in a list the event, from 1."""

    at: int
    fields: Any


def json_table(body: bytes, wanted: Mapping[str, str], path: Path) -> TextTable:
    """The columns `wanted` (column → what the reader calls it).

    path: what messages call the body.  Raises BadInput that names the first bad line; then
    nothing of the body was taken.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = body.count(b"\n", 0, error.start) + 1
        raise BadInput(f"{path} line {line}: is not UTF-8", next_step="send UTF-8") from None
    listed = text.lstrip().startswith("[")
    word, rows = ("event", _of_list(text, path)) if listed else ("line", _of_lines(text, path))
    pieces: dict[str, list[pa.Array]] = {column: [] for column in wanted}
    at, seen, piece = list[int](), set[str](), list[_Row]()

    def take() -> None:
        for column, made in pieces.items():
            made.append(_column(piece, column, f"{path} {word}"))
        at.extend(row.at for row in piece)
        piece.clear()

    for row in rows:
        if not isinstance(row.fields, dict):
            raise BadInput(f"{path} {word} {row.at}: is no object", next_step=_SEND)
        if len(seen) < len(wanted):
            seen |= row.fields.keys() & wanted.keys()
        piece.append(row)
        if len(piece) == _PIECE:
            take()
    take()
    if not at:
        raise BadInput(f"{path} holds no events", next_step=_SEND)
    for column, purpose in wanted.items():
        if column not in seen:
            raise BadInput(f'{path}: no event has "{column}" (for {purpose})', next_step="add it")
    columns = {column: pa.concat_arrays(made) for column, made in pieces.items()}
    numbers = np.array(at, dtype=np.int64)
    return TextTable(path, len(at), columns, "", plain_lines=False, lines=(word, numbers))


def _of_list(text: str, path: Path) -> Iterator[_Row]:
    try:
        found = _decode(text)
    except (ValueError, RecursionError) as error:
        line = f" line {error.lineno}" if isinstance(error, json.JSONDecodeError) else ""
        raise BadInput(f"{path}{line}: is not JSON", next_step=_SEND) from None
    return (_Row(at, fields) for at, fields in enumerate(found, start=1))


def _of_lines(text: str, path: Path) -> Iterator[_Row]:
    # By line feeds alone: a text may hold any of the other characters that Python ends lines at.
    for at, line in enumerate(text.split("\n"), start=1):
        if not line or line.isspace():
            continue
        try:
            fields = _decode(line)
        except (ValueError, RecursionError):
            raise BadInput(f"{path} line {at}: is not JSON", next_step=_SEND) from None
        yield _Row(at, fields)


def _column(rows: Sequence[_Row], column: str, where: str) -> pa.Array:
    values = [row.fields.get(column) for row in rows]
    try:
        return pa.array([_text(value) for value in values], pa.string())
    except (TypeError, UnicodeEncodeError):
        for row, value in zip(rows, values, strict=True):
            if isinstance(value, dict | list) or not _writable(value):
                cause = f'{where} {row.at}: "{column}" holds no single value'
                raise BadInput(cause, next_step=_SEND) from None
        raise


def _text(value: Any) -> str | None:
    if type(value) is str:
        return value or None
    if value is None:
        return None
    if isinstance(value, dict | list):
        raise TypeError
    return str(value).lower() if isinstance(value, bool) else str(value)


def _writable(value: Any) -> bool:
    """Half of a pair of surrogates is a text in JSON and nowhere else."""
    try:
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return True
