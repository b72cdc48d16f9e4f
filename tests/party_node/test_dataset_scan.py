"""The pass over a CSV's bytes, and DuckDB's surprises."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from party_node import csv_scan, table_file
from protocol.errors import BadInput

CELL = st.text(alphabet='ab,"\n\r 中é#;', max_size=5)


@st.composite
def tables(draw: st.DrawFn) -> tuple[list[str], list[list[str]], str, bool]:
    width = draw(st.integers(2, 4))
    header = [f"列{i}" if draw(st.booleans()) else f"c\n{i}" for i in range(width)]
    cells = st.lists(CELL, min_size=width, max_size=width)
    rows = draw(st.lists(cells, min_size=1, max_size=6))
    return header, rows, draw(st.sampled_from(["\n", "\r\n"])), draw(st.booleans())


def written(header: list[str], rows: list[list[str]], end: str, quote_all: bool) -> bytes:
    """RFC 4180; csv.writer before Python 3.13 leaves a lone carriage return bare."""

    def cell(text: str) -> str:
        bare = not quote_all and not any(c in text for c in ',"\r\n')
        return text if bare else '"' + text.replace('"', '""') + '"'

    return "".join(",".join(map(cell, row)) + end for row in [header, *rows]).encode()


@given(tables(), st.booleans(), st.booleans(), st.sampled_from([1, 2, 3, 7, 64, 1 << 22]))
@settings(max_examples=250, deadline=None)
def test_whole_tables_come_back(
    tmp_path_factory: pytest.TempPathFactory,
    table: tuple[list[str], list[list[str]], str, bool],
    bom: bool,
    last_end: bool,
    chunk: int,
) -> None:
    """Every cell comes back, whatever the size of the chunks of the scan."""
    header, rows, end, quote_all = table
    data = (b"\xef\xbb\xbf" if bom else b"") + written(header, rows, end, quote_all)
    if not last_end:
        data = data.removesuffix(end.encode())
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_scan, "_CHUNK", chunk)
        found = csv_scan.scan(path)
    assert found.header == tuple(header)
    assert found.rows == len(rows)
    assert found.version == hashlib.sha256(data).hexdigest()
    if found.plain_lines:
        assert data.count(b"\n") == len(rows) + (1 if last_end else 0)
    read = table_file.read_columns(path, dict.fromkeys(header, "x"))
    got = [list(row) for row in zip(*(read.columns[h].to_pylist() for h in header), strict=True)]
    assert got == [[cell or None for cell in row] for row in rows]


@given(tables(), st.data(), st.sampled_from([1, 5, 1 << 22]))
@settings(max_examples=150, deadline=None)
def test_a_ragged_row_is_found_in_its_line(
    tmp_path_factory: pytest.TempPathFactory,
    table: tuple[list[str], list[list[str]], str, bool],
    data: st.DataObject,
    chunk: int,
) -> None:
    header, rows, end, quote_all = table
    at = data.draw(st.integers(0, len(rows) - 1))
    # An extra cell, also an empty one: DuckDB takes `1,2,` for two cells.
    extra = data.draw(st.sampled_from(["", "x"]))
    ragged = [[*row, extra] if i == at else row for i, row in enumerate(rows)]
    path = tmp_path_factory.mktemp("t") / "t.csv"
    path.write_bytes(written(header, ragged, end, quote_all))
    before = written(header, ragged[: at + 1], end, quote_all)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(csv_scan, "_CHUNK", chunk)
        with pytest.raises(BadInput) as caught:
            csv_scan.scan(path)
    # The line in which the row ends.
    line = before.count(b"\n")
    assert f"{path} line {line}: has {len(header) + 1} cells, the header has {len(header)}" in str(
        caught.value
    )


@pytest.mark.parametrize("chunk", [1, 3, 1 << 22])
@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"\xef\xbb\xbf", "is empty"),
        (b"\n \n", "is empty"),
        (b"a,b\n", "has a header but no row"),
        (b"a,b", "has a header but no row"),
        (b"a,b\n\n\r\n\n", "has a header but no row"),
        (b"\na,b\n1,2\n", "line 1: is blank"),
        (b"a,b\n1,2\n3\n", "line 3: has 1 cells, the header has 2"),
        (b"a,b\n1,2\n\n3,4,5\n", "line 4: has 3 cells, the header has 2"),
        (b"a,b\n1,2\n3,4,", "line 3: has 3 cells, the header has 2"),
        (b"a,b\n1,2,\n", "line 2: has 3 cells, the header has 2"),
        (b'a,b\n"1,2\n3,4\n', "line 2: a quote is opened here and never closed"),
        (b'a,b\n1,2\n"x\ny","\n', "line 4: a quote is opened here and never closed"),
        (b'a,b\n"1"x,2\n', "line 2: a quote stands in the middle of a cell"),
        (b'a,b\n1,2\n5",2\n', "line 3: a quote stands in the middle of a cell"),
        (b'a,b\n1, "2"\n', "line 2: a quote stands in the middle of a cell"),
        (b"a,b\r1,2\r3,4\r", "line 1: a carriage return without a line feed"),
        (b"a,b\n1,2\r3,4\n", "line 2: a carriage return without a line feed"),
        (b"a,b\n1,2\r", "line 2: a carriage return without a line feed"),
        (b"a,b\n1,2\n\xff,4\n", "line 3: is not UTF-8"),
        (b"a,b\n1,\xe4\xb8", "line 2: is not UTF-8"),
        ("a,b\n1,2\n姓名,4\n".encode("gb18030"), "line 3: is not UTF-8, it looks like GB18030"),
        ("a,b\n1,2\n".encode("utf-16"), "line 1: is not UTF-8, it looks like UTF-16"),
        (b"a,b\n1,\x002\n", "line 2: holds a zero byte"),
    ],
)
def test_bad_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, chunk: int, data: bytes, said: str
) -> None:
    monkeypatch.setattr(csv_scan, "_CHUNK", chunk)
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        csv_scan.scan(path)
    sentence = str(caught.value)
    if chunk == 1 and "GB18030" in said:
        said = "line 3: is not UTF-8"  # a guess needs to see the line
    assert sentence.startswith(f"{path}")
    assert said in sentence
    assert " — " in sentence  # what to do
    assert "\n" not in sentence


@pytest.mark.parametrize(
    ("data", "rows"),
    [
        (b"a,b\n1,2\n\n3,4\n\n\n", [("1", "2"), ("3", "4")]),  # blank lines are nothing
        (b"a,b\r\n1,2\n3,4\r\n", [("1", "2"), ("3", "4")]),  # mixed line ends
        (b'"a",b\r\n"x\ny",2\r\n', [("x\ny", "2")]),
        (b'a,b\n"x\r\ny",2\n', [("x\r\ny", "2")]),
        (b'"a",b\n"say ""hi""",\n', [('say "hi"', None)]),
        (b"a,b\nNULL,nan\n#1,'\n", [("NULL", "nan"), ("#1", "'")]),
        (b"a,b\n 1 ,2\n", [(" 1 ", "2")]),
    ],
)
def test_good_files(tmp_path: Path, data: bytes, rows: list[tuple[str, str]]) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(data)
    read = table_file.read_columns(path, {"a": "x", "b": "y"})
    assert list(zip(*(read.columns[c].to_pylist() for c in "ab"), strict=True)) == rows


def test_a_header_with_line_feeds_in_a_crlf_file(tmp_path: Path) -> None:
    """DuckDB in strict mode returns no row here, without an error."""
    path = tmp_path / "t.csv"
    path.write_bytes(b'"a\nz",b\r\n1,2\r\n3,4\r\n')
    read = table_file.read_columns(path, {"a\nz": "x"})
    assert read.columns["a\nz"].to_pylist() == ["1", "3"]


def test_one_column_has_empty_cells(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a\n1\n\n3\n")
    assert table_file.read_columns(path, {"a": "x"}).columns["a"].to_pylist() == ["1", None, "3"]


def test_a_very_long_cell(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n" + b"x" * 3_000_000 + b",2\n")
    (cell,) = table_file.read_columns(path, {"a": "x"}).columns["a"].to_pylist()
    assert len(cell) == 3_000_000


def test_lost_rows_are_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(b"a,b\n1,2\n3,4\n")
    parse = table_file._parse_as
    monkeypatch.setattr(table_file, "_parse_as", lambda *a: [c[:2] for c in parse(*a)])
    with pytest.raises(BadInput, match="1 of 2 rows were read"):
        table_file.read_columns(path, {"a": "x"})
