"""One pass over a table's bytes before anything parses them: digest, encoding, shape.

Who runs it: `party_node.table_file`, for every CSV.  Learns: nobody, anything.

DuckDB's CSV reader accepts some rows that are not the file's (a cell too many when it is
empty) and sometimes returns nothing without an error (some mixtures of line ends), so the
shape is checked here, strictly by RFC 4180, and the number of rows is compared afterwards.
Everything is a few numpy passes over 4 MB at a time; no loop over rows.
"""

from __future__ import annotations

import codecs
import csv
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt

from protocol.errors import BadInput

_CHUNK = 4 << 20
_MAX_HEADER = 1 << 20
_COMMA, _LF, _CR, _QUOTE = 44, 10, 13, 34

Bytes = npt.NDArray[np.uint8]
Mask = npt.NDArray[np.bool_]
Places = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Scan:
    """What the pass found.

    header: names of the columns.  rows: records below the header.  plain_lines: row r
    (from 1) stands in line r + 1.  longest: bytes of the longest record.  version: hex
    SHA-256 of the file.
    """

    header: tuple[str, ...]
    rows: int
    plain_lines: bool
    longest: int
    version: str


def digest(path: Path) -> str:
    """Hex SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def scan(path: Path) -> Scan:
    """Reads `path` once.  Raises BadInput for what is not UTF-8, RFC 4180, or has no row."""
    with path.open("rb") as file:
        header = _header(path, file)
        shape = _Shape(path, len(header))
        file.seek(0)
        if file.read(len(codecs.BOM_UTF8)) == codecs.BOM_UTF8:
            shape.digest.update(codecs.BOM_UTF8)
        else:
            file.seek(0)
        for chunk in _text_chunks(path, file, shape):
            shape.feed(np.frombuffer(chunk, dtype=np.uint8))
        shape.finish()
    if not shape.rows:
        raise BadInput(
            f"{path}: has a header but no row", next_step="export the table again, one row a person"
        )
    return Scan(header, shape.rows, shape.plain_lines, shape.longest, shape.digest.hexdigest())


def _header(path: Path, file: BinaryIO) -> tuple[str, ...]:
    start = file.read(_MAX_HEADER)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise _not_utf8(path, 1, "UTF-16")
    if not start.removeprefix(codecs.BOM_UTF8).strip():
        raise BadInput(f"{path}: is empty", next_step="export the table again, with a header")
    # An incomplete character at the cut is no fault of the file; others are found below.
    lines = start.decode("utf-8-sig", errors="replace").splitlines(keepends=True)
    try:
        names = next(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise BadInput(
            f"{path} line 1: the header is not CSV ({error})",
            next_step="save the file as CSV again",
        ) from error
    if not names:
        raise BadInput(
            f"{path} line 1: is blank", next_step="delete it: the first line names the columns"
        )
    return tuple(names)


def _text_chunks(path: Path, file: BinaryIO, shape: _Shape) -> Iterator[bytes]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    while chunk := file.read(_CHUNK):
        shape.digest.update(chunk)
        _check_text(path, decoder, chunk, shape.lines, final=False)
        yield chunk
    _check_text(path, decoder, b"", shape.lines, final=True)


def _check_text(
    path: Path, decoder: codecs.IncrementalDecoder, chunk: bytes, lines: int, *, final: bool
) -> None:
    held = len(decoder.getstate()[0])
    try:
        decoder.decode(chunk, final)
    except UnicodeDecodeError as error:
        at = max(error.start - held, 0)
        line = 1 + lines + chunk.count(b"\n", 0, at)
        raise _not_utf8(path, line, _guess(chunk, at)) from error
    if (at := chunk.find(b"\0")) >= 0:
        line = 1 + lines + chunk.count(b"\n", 0, at)
        raise BadInput(
            f"{path} line {line}: holds a zero byte, so it is not text",
            next_step="save it as CSV, UTF-8",
        )


def _not_utf8(path: Path, line: int, guess: str) -> BadInput:
    looks = f", it looks like {guess}" if guess else ""
    return BadInput(
        f"{path} line {line}: is not UTF-8{looks}",
        next_step='save the file as UTF-8 (in Excel: "CSV UTF-8")',
    )


def _guess(chunk: bytes, at: int) -> str:
    """What a Chinese spreadsheet writes when nobody asks it for UTF-8."""
    start = chunk.rfind(b"\n", 0, at) + 1
    end = chunk.find(b"\n", at)
    sample = chunk[start : end if end >= 0 else len(chunk)][:4096]
    for cut in (len(sample), len(sample) - 1):  # the sample may end inside a character
        try:
            text = sample[:cut].decode("gb18030")
        except UnicodeDecodeError:
            continue
        if any("\u4e00" <= c <= "\u9fff" for c in text):
            return "GB18030 (GBK)"
    return ""


class _Shape:
    """Counts records, cells and lines over chunks; raises at the first that does not fit."""

    def __init__(self, path: Path, width: int) -> None:
        self._path = path
        self._width = width
        self.digest = hashlib.sha256()
        self.lines = 0  # line feeds so far, quoted ones too
        self.rows = -1  # the header is the first record
        self.plain_lines = True
        self.longest = 0
        self._inside = False  # within quotes
        self._opened = 1  # line of the last opening quote
        self._previous = _LF
        self._closed = False  # the previous byte closed a quote
        self._commas = 0  # of the unfinished record
        self._length = 0  # of the unfinished record, in bytes

    def feed(self, data: Bytes) -> None:
        feeds = data == _LF
        previous = np.concatenate((np.array([self._previous], np.uint8), data[:-1]))
        inside = self._quotes(data, previous, feeds)
        ends, commas = feeds, data == _COMMA
        if inside is not None:
            self.plain_lines &= not bool((feeds & inside).any())
            ends, commas = feeds & ~inside, commas & ~inside
        self._carriage_returns(data, previous, inside)
        at = np.flatnonzero(ends)
        if len(at):
            self._records(data, previous, at, np.flatnonzero(commas), np.flatnonzero(feeds))
        else:
            self._commas += int(np.count_nonzero(commas))
            self._length += len(data)
        self.lines += int(np.count_nonzero(feeds))
        self._previous = int(data[-1])

    def finish(self) -> None:
        if self._inside:
            raise BadInput(
                f"{self._path} line {self._opened}: a quote is opened here and never closed",
                next_step='close it, or write a quote inside a cell twice ("")',
            )
        if self._previous == _CR:
            raise self._lone_return(1 + self.lines)
        if self._length:  # the last line has no line end
            self._count(np.array([self._commas]), np.array([False]), np.array([self.lines]))
            self.longest = max(self.longest, self._length)

    # -- quotes ------------------------------------------------------------------------------

    def _quotes(self, data: Bytes, previous: Bytes, feeds: Mask) -> Mask | None:
        """bool[n]: the byte stands within quotes; None where a chunk has none at all."""
        quotes = data == _QUOTE
        if not quotes.any():
            if self._closed:
                self._after_close(data[:1], np.array([0]), feeds)
                self._closed = False
            return np.ones(len(data), np.bool_) if self._inside else None
        before = np.cumsum(quotes, dtype=np.int64) - quotes + self._inside
        inside: Mask = (before & 1) == 1
        opening, closing = quotes & ~inside, quotes & inside
        allowed = np.isin(previous, (_COMMA, _LF, _QUOTE))
        if (stray := np.flatnonzero(opening & ~allowed)).size:
            raise self._stray(int(stray[0]), feeds)
        after = np.flatnonzero(np.concatenate((np.array([self._closed]), closing[:-1])))
        self._after_close(data[after], after, feeds)
        if (opened := np.flatnonzero(opening)).size:
            self._opened = 1 + self.lines + int(np.count_nonzero(feeds[: opened[-1]]))
        self._inside = bool((int(before[-1]) + int(quotes[-1])) & 1)
        self._closed = bool(closing[-1])
        return inside

    def _after_close(self, found: Bytes, at: Places, feeds: Mask) -> None:
        wrong = np.flatnonzero(~np.isin(found, (_COMMA, _LF, _CR, _QUOTE)))
        if wrong.size:
            raise self._stray(int(at[wrong[0]]), feeds)

    def _stray(self, at: int, feeds: Mask) -> BadInput:
        line = 1 + self.lines + int(np.count_nonzero(feeds[:at]))
        return BadInput(
            f"{self._path} line {line}: a quote stands in the middle of a cell",
            next_step='put the whole cell in quotes and write a quote inside it twice ("")',
        )

    # -- line ends ---------------------------------------------------------------------------

    def _carriage_returns(self, data: Bytes, previous: Bytes, inside: Mask | None) -> None:
        """Outside quotes a carriage return belongs to a line feed."""
        lone = (previous == _CR) & (data != _LF)
        if inside is not None:
            lone &= ~inside
        if lone.any():
            at = int(np.flatnonzero(lone)[0])
            raise self._lone_return(1 + self.lines + int(np.count_nonzero(data[:at] == _LF)))

    def _lone_return(self, line: int) -> BadInput:
        return BadInput(
            f"{self._path} line {line}: a carriage return without a line feed",
            next_step="save the file with line ends LF or CRLF",
        )

    # -- records -----------------------------------------------------------------------------

    def _records(
        self, data: Bytes, previous: Bytes, at: Places, commas: Places, feeds: Places
    ) -> None:
        """Every record that ends in this chunk, at `at`; what follows the last one is carried."""
        total = np.searchsorted(commas, at)
        counts = np.diff(total, prepend=0)
        counts[0] += self._commas
        lengths = np.diff(at, prepend=-1) - 1
        lengths[0] += self._length
        content = lengths - (previous[at] == _CR)
        lines = self.lines + np.searchsorted(feeds, at)
        self.longest = max(self.longest, int(lengths.max()))
        self._count(counts, (content <= 0) & (counts == 0), lines)
        self._commas = len(commas) - int(total[-1])
        self._length = len(data) - 1 - int(at[-1])

    def _count(self, commas: Places, blank: Mask, lines: Places) -> None:
        # A blank line is nothing, except in a table of one column, where it is an empty cell.
        if self._width == 1:
            blank = np.zeros_like(blank)
        ragged = np.flatnonzero((commas != self._width - 1) & ~blank)
        if ragged.size:
            cells, line = int(commas[ragged[0]]) + 1, int(lines[ragged[0]]) + 1
            raise BadInput(
                f"{self._path} line {line}: has {cells} cells, the header has {self._width}",
                next_step="add or delete cells; a comma inside a cell needs quotes around the cell",
            )
        self.plain_lines &= not bool(blank.any())
        self.rows += len(commas) - int(np.count_nonzero(blank))
