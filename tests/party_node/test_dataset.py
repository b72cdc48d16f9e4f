"""The table as columns: what comes out, against plain Python, and one sentence per fault."""

from __future__ import annotations

import csv
from collections import Counter
from decimal import ROUND_HALF_EVEN, Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.federation import Attribute, Party, Policy
from party_node import table_file
from party_node.dataset import Dataset, check_party_files
from protocol.errors import BadInput

LABEL = Attribute(kind="label", category="purchases")
FLAG = Attribute(kind="flag", category="behaviour")


def number(low: Any, high: Any, decimals: int = 0) -> Attribute:
    bounds = (Decimal(str(low)), Decimal(str(high)))
    return Attribute(kind="number", category="purchases", bounds=bounds, decimals=decimals)


def party(table: Path, *, ids: dict[str, str] | None = None, min_cohort: int = 1,
          **attributes: Attribute) -> Party:  # fmt: skip
    return Party(
        name="shop", table=table, default_region="CN", ids=ids or {}, consents="all",
        attributes=attributes, policy=Policy(min_cohort=min_cohort),
    )  # fmt: skip


def write(path: Path, header: list[str], rows: list[list[str]]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([header, *rows])
    return path


@pytest.fixture
def csv_path(tmp_path: Path) -> Path:
    return tmp_path / "客户.csv"


# -- labels and flags ----------------------------------------------------------------------


def test_vocabulary_is_what_enough_rows_hold(csv_path: Path) -> None:
    cells = ["高"] * 3 + ["low"] * 4 + ["rare"] * 2 + [""] * 1 + ["High"] * 3
    write(csv_path, ["等级", "x"], [[c, "1"] for c in cells])
    data = Dataset.load(party(csv_path, min_cohort=3, 等级=LABEL))
    # By code point, not by count; rare is other; the null is unknown.
    assert data.vocabulary("等级") == ("High", "low", "高", "other", "unknown")
    assert data.nullable("等级")
    codes = data.labels("等级", np.arange(len(cells)))
    assert codes.dtype == np.int32
    named = [data.vocabulary("等级")[c] for c in codes]
    said = {"rare": "other", "": "unknown"}
    assert named == [said.get(c, c) for c in cells]


@pytest.mark.parametrize(
    ("cells", "values", "vocabulary"),
    [
        (["a", "b"], ("b", "a"), ("b", "a")),
        (["a", "c"], ("b", "a"), ("b", "a", "other")),
        (["a", ""], ("b", "a"), ("b", "a", "unknown")),
        (["other", "c"], ("other", "a"), ("other", "a")),
        (["unknown", ""], ("unknown",), ("unknown",)),
        (["", ""], None, ("unknown",)),
        (["other", ""], None, ("other", "unknown")),
        (["x" * 5000, "a"], ("a",), ("a", "other")),
    ],
)
def test_other_and_unknown_only_where_needed(
    csv_path: Path, cells: list[str], values: tuple[str, ...] | None, vocabulary: tuple[str, ...]
) -> None:
    write(csv_path, ["t", "x"], [[c, "1"] for c in cells])
    attribute = Attribute(kind="label", category="content", values=values)
    data = Dataset.load(party(csv_path, t=attribute))
    assert data.vocabulary("t") == vocabulary
    got = [vocabulary[c] for c in data.labels("t", np.arange(2))]
    assert got == [c if c in vocabulary else ("other" if c else "unknown") for c in cells]


def test_too_many_values(csv_path: Path) -> None:
    write(csv_path, ["t", "x"], [[f"v{i}", "1"] for i in range(65)])
    with pytest.raises(BadInput, match=r'column "t" has 65 values of at least 1 rows, .* values:'):
        check_party_files(party(csv_path, t=LABEL))
    # As a vocabulary that needs 2 rows each, nothing is left but `other`.
    assert Dataset.load(party(csv_path, min_cohort=2, t=LABEL)).vocabulary("t") == ("other",)


def test_flags(csv_path: Path) -> None:
    cells = ["1", "0", "true", "FALSE", "Yes", "nO", "", " 1 ", "1.0", "0.0"]
    write(csv_path, ["f", "x"], [[c, "1"] for c in cells])
    data = Dataset.load(party(csv_path, f=FLAG))
    assert data.labels("f", np.arange(10)).tolist() == [1, 0, 1, 0, 1, 0, 0, 1, 1, 0]
    assert data.vocabulary("f") == ("false", "true")


# -- numbers -------------------------------------------------------------------------------


NUMBERS = st.one_of(
    st.decimals(allow_nan=False, allow_infinity=False, min_value=-2000, max_value=2000, places=3)
    .map(lambda d: format(d, "f")),
    st.decimals(allow_nan=False, allow_infinity=False).map(str).filter(lambda t: len(t) < 300),
    st.integers(-(10**40), 10**40).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.sampled_from(["", "  ", "+5", "5.", ".5", "-.5", "-0", "1e3", " 7 ", "0.5", "1.5", "2.5",
                     "-2.5", "0.005", "0.015", "1.0050000000000000000000000000000001", "00012",
                     "1e-40", "-1e40", "9" * 60 + ".5"]),
)  # fmt: skip


@given(
    st.lists(NUMBERS, min_size=1, max_size=30),
    st.integers(-3000, 3000),
    st.integers(1, 4000),
    st.integers(0, 9),
)
@settings(max_examples=200, deadline=None)
def test_numbers_are_exact_decimals(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str], low: int, span: int, decimals: int
) -> None:
    """Against Decimal with all its digits: round half to even, then clip."""
    path = write(tmp_path_factory.mktemp("n") / "n.csv", ["v", "x"], [[c, "1"] for c in cells])
    attribute = number(low, low + span, decimals)
    got = Dataset.load(party(path, v=attribute)).number("v", np.arange(len(cells)))
    lo, hi = attribute.scaled_bounds
    assert (got.lo, got.hi, got.decimals) == (lo, hi, decimals)
    for cell, value, null in zip(cells, got.values.tolist(), got.null.tolist(), strict=True):
        assert null == (not cell.strip())
        assert value == (0 if null else plain(cell, lo, hi, decimals))


def plain(cell: str, lo: int, hi: int, decimals: int) -> int:
    import decimal

    with decimal.localcontext(decimal.Context(prec=1500, Emax=999999, Emin=-999999)):
        scaled = Decimal(cell.strip()) * 10**decimals
        bounded = max(Decimal(lo), min(Decimal(hi), scaled))
        return int(bounded.quantize(Decimal(1), rounding=ROUND_HALF_EVEN))


@pytest.mark.parametrize(
    "cell", ["abc", "1,5", "1 000", "12a", "nan", "inf", "-inf", "--1", "1e", "0x10", "１２", "1_0",
             "¥5", "."],
)  # fmt: skip
def test_what_is_no_number_is_named_by_row(csv_path: Path, cell: str) -> None:
    write(csv_path, ["spend", "x"], [["1", "1"], ["", "2"], [cell, "3"], ["2", "3"]])
    with pytest.raises(BadInput) as caught:
        check_party_files(party(csv_path, spend=number(0, 10)))
    sentence = str(caught.value)
    assert f'{csv_path} row 3 (line 4): column "spend": the value is no finite number' in sentence
    assert "write digits" in sentence
    assert cell == "." or cell not in sentence.replace(str(csv_path), "")  # it may be logged


# -- identifiers ---------------------------------------------------------------------------


def test_identifiers(csv_path: Path) -> None:
    rows = [
        [" Ann@Example.com ", "138-0000-0001", "A1"],
        ["bob@example.com", "+86 138 0000 0002", "A2"],
        ["ANN@example.COM", "n/a", "Ａ2"],  # the same e-mail, and A2 in full width
        ["not an email", "", "  "],
        ["", "008613800000001", ""],
        ["eve@example.com", "12", "a1"],
    ]
    write(csv_path, ["e-mail", "电话", "card"], rows)
    ids = {"email": "e-mail", "phone": "电话", "card": "card"}
    data = Dataset.load(party(csv_path, ids=ids))
    assert data.rows == 6
    assert data.all_identifiers("email").to_pylist() == [
        "ann@example.com", "bob@example.com", "ann@example.com", None, None, "eve@example.com",
    ]  # fmt: skip
    assert data.identifiers("email").to_pylist() == [
        None, "bob@example.com", None, None, None, "eve@example.com",
    ]  # fmt: skip
    assert data.identifiers("phone").to_pylist() == [None, "+8613800000002", *[None] * 4]
    assert data.identifiers("card").to_pylist() == ["A1", None, None, None, None, "a1"]
    assert data.counts.unparsable == {"email": 1, "phone": 2, "card": 0}
    assert data.counts.ambiguous_by_type == {"email": 1, "phone": 1, "card": 1}
    assert data.counts.ambiguous == 3
    assert "example" not in repr(data)


def test_ambiguity_is_over_the_whole_table(csv_path: Path) -> None:
    """Else a withdrawal of one person would change whether another one matches."""
    write(csv_path, ["email", "t"], [["a@x.com", "1"], ["a@x.com", "2"], ["b@x.com", "3"]])
    data = Dataset.load(party(csv_path, ids={"email": "email"}, t=LABEL, n=number(0, 9)).model_copy(
        update={"attributes": {"t": LABEL}}))  # fmt: skip
    rows = data.eligible_rows(np.array([0, 2]), ["email"], ["t"])
    assert rows.identifiers["email"].to_pylist() == [None, "b@x.com"]
    assert rows.labels["t"].tolist() == [0, 2]
    assert len(rows) == 2
    assert "x.com" not in repr(rows)


@given(
    st.lists(
        st.sampled_from(["a@x.com", "A@X.com", "b@x.com", "bad", "", "c@x.com "]),
        min_size=1,
        max_size=12,
    )
)
@settings(max_examples=60, deadline=None)
def test_ambiguity_against_counting(
    tmp_path_factory: pytest.TempPathFactory, cells: list[str]
) -> None:
    path = write(tmp_path_factory.mktemp("a") / "a.csv", ["e", "x"], [[c, "1"] for c in cells])
    data = Dataset.load(party(path, ids={"email": "e"}))
    canonical = [c.strip().lower() if "@" in c else None for c in cells]
    count = Counter(c for c in canonical if c)
    expected = [c if c and count[c] == 1 else None for c in canonical]
    assert data.identifiers("email").to_pylist() == expected
    assert data.counts.ambiguous == sum(1 for n in count.values() if n > 1)
    assert data.counts.unparsable["email"] == cells.count("bad")


def test_eligible_rows_take_labels_flags_numbers(csv_path: Path) -> None:
    write(csv_path, ["e", "t", "f", "n"],
          [[f"p{i}@x.com", "ab"[i % 2], str(i % 2), f"{i}.5"] for i in range(6)])  # fmt: skip
    declared = party(csv_path, ids={"email": "e"}, t=LABEL, f=FLAG, n=number(0, 100, 1))
    data = Dataset.load(declared)
    rows = data.eligible_rows(np.array([1, 4]), ["email"], ["t", "f", "n"])
    assert rows.identifiers["email"].to_pylist() == ["p1@x.com", "p4@x.com"]
    assert set(rows.labels) == {"t", "f"}
    assert rows.labels["f"].tolist() == [1, 0]
    assert rows.numbers["n"].values.tolist() == [15, 45]
    empty = data.eligible_rows(np.zeros(0, np.int64), ["email"], ["t", "n"])
    assert len(empty) == 0
    assert len(empty.identifiers["email"]) == 0


# -- Parquet -------------------------------------------------------------------------------


def test_parquet_gives_what_csv_gives(tmp_path: Path) -> None:
    rows = {
        "email": ["a@x.com", None, "C@x.com"],
        "phone": [13800000001.0, None, 13800000003.0],  # numbers with a null, as pandas writes
        "tier": pa.array(["x", "y", None]).dictionary_encode(),
        "level": [1, 2, 3],
        "vip": [True, False, None],
        "seen": [1.0, 0.0, float("nan")],
        "spend": pa.array([Decimal("1.25"), Decimal("-7.00"), None], pa.decimal128(10, 2)),
        "minutes": [2.5, 1e300, float("nan")],
        "空": ["", "b", ""],
    }
    path = tmp_path / "t.parquet"
    pq.write_table(pa.table(rows), path)
    plain = [["a@x.com", "13800000001", "x", "1", "true", "1", "1.25", "2.5", ""],
             ["", "", "y", "2", "false", "0", "-7", "1e300", "b"],
             ["C@x.com", "13800000003", "", "3", "", "", "", "", ""]]  # fmt: skip
    twin = write(tmp_path / "t.csv", list(rows), plain)
    attributes = {"tier": LABEL, "level": LABEL, "vip": FLAG, "seen": FLAG, "空": LABEL,
                  "spend": number(-5, 5, 2), "minutes": number(0, 600)}  # fmt: skip
    every = np.arange(3)
    seen = []
    for file in (path, twin):
        data = Dataset.load(party(file, ids={"email": "email", "phone": "phone"}, **attributes))
        seen.append([
            [data.identifiers(kind).to_pylist() for kind in ("email", "phone")],
            [(data.vocabulary(n), data.labels(n, every).tolist(), data.nullable(n))
             for n in ("tier", "level", "vip", "seen", "空")],
            [(data.number(n, every).values.tolist(), data.number(n, every).null.tolist())
             for n in ("spend", "minutes")],
        ])  # fmt: skip
    assert seen[0] == seen[1]
    assert seen[0][2] == [
        ([125, -500, 0], [False, False, True]),
        ([2, 600, 0], [False, False, True]),
    ]


def test_bad_parquet(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    for data, said in [(b"", "is empty"), (b"email\na\n", "is not a Parquet file"),
                       (b"PAR1" + b"x" * 100 + b"PAR1", "is not a Parquet file")]:  # fmt: skip
        path.write_bytes(data)
        with pytest.raises(BadInput, match=said):
            check_party_files(party(path, t=LABEL))
    pq.write_table(pa.table({"t": [[1], [2]]}), path)
    with pytest.raises(BadInput, match=r'column "t" holds .*, not single values'):
        check_party_files(party(path, t=LABEL))
    pq.write_table(pa.table({"t": pa.array([], pa.string())}), path)
    with pytest.raises(BadInput, match="has no row"):
        check_party_files(party(path, t=LABEL))
    pq.write_table(pa.table({"t": ["a"]}), path)
    with pytest.raises(BadInput, match=r'has no column "tt" .* did you mean "t"'):
        check_party_files(party(path, tt=LABEL))
    pq.write_table(pa.table({"n": ["1", "x"]}), path)
    with pytest.raises(BadInput, match=r"t.parquet row 2: column"):
        check_party_files(party(path, n=number(0, 9)))


# -- one sentence per fault ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        (
            "t.csv",
            "email,tierr\na,b\n",
            'has no column "tier" (for attribute tier of shop) — did you',
        ),
        ("t.csv", "email, tier\na,b\n", "the header has spaces around it"),
        (
            "t.csv",
            "email;tier\na;b\n",
            "the cells are separated by semicolons; save it with commas",
        ),
        ("t.csv", "email\ttier\na\tb\n", "the cells are separated by tabs"),
        ("t.csv", "email,tier,tier\na,b,c\n", 'two columns are named "tier"'),
        ("t.csv", "x,tier\na,b\n", 'has no column "email" (for ids.email of shop)'),
        ("t.csv", "email,tier\na,b\nc\n", "line 3: has 1 cells, the header has 2"),
        ("t.csv", "", "is empty"),
        ("t.csv", "email,tier\n", "has a header but no row"),
        ("t.xlsx", "email,tier\na,b\n", ".xlsx is not supported — save it as .csv"),
        ("t", "email,tier\na,b\n", "a file without an ending is not supported"),
        ("missing.csv", None, "does not exist — check the path"),
    ],
)
def test_faults(tmp_path: Path, name: str, data: str | None, said: str) -> None:
    path = tmp_path / name
    if data is not None:
        path.write_text(data, encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        check_party_files(party(path, ids={"email": "email"}, tier=LABEL))
    assert said in str(caught.value)
    assert str(caught.value).startswith(str(path))
    assert "\n" not in str(caught.value)


def test_a_folder_is_no_table(tmp_path: Path) -> None:
    (tmp_path / "d.csv").mkdir()
    with pytest.raises(BadInput, match="is not a file"):
        check_party_files(party(tmp_path / "d.csv", tier=LABEL))


def test_bad_flag_is_named_by_row(csv_path: Path) -> None:
    csv_path.write_text('f,x\n1,"a\nb"\nmaybe,c\n2,d\n', encoding="utf-8")
    with pytest.raises(BadInput) as caught:
        check_party_files(party(csv_path, f=FLAG))
    # A quoted line feed above: the row has a number, its line is not said.
    assert f'{csv_path} row 2: column "f": the value is no flag, and 1 more rows' in str(
        caught.value
    )


def test_version_is_the_content(csv_path: Path) -> None:
    write(csv_path, ["t", "x"], [["a", "1"]])
    first = Dataset.load(party(csv_path, t=LABEL)).version
    assert Dataset.load(party(csv_path, t=LABEL)).version == first
    write(csv_path, ["t", "x"], [["a", "2"]])
    assert Dataset.load(party(csv_path, t=LABEL)).version != first


def test_a_table_that_changes_under_the_reader(
    csv_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(csv_path, ["t", "x"], [["a", "1"]])
    parse = table_file._parse

    def and_then_append(path: Path, *rest: Any) -> Any:
        out = parse(path, *rest)
        path.write_text("t,x\na,1\nb,2\n")
        return out

    monkeypatch.setattr(table_file, "_parse", and_then_append)
    with pytest.raises(BadInput, match="changed while it was read"):
        check_party_files(party(csv_path, t=LABEL))


def test_names_that_mean_something_to_the_reader(tmp_path: Path) -> None:
    """Globs, quotes and SQL in paths and headers are names, nothing else."""
    folder = tmp_path / "a'b*[1]"
    folder.mkdir()
    column = 'x"; drop table t; --'
    write(folder / "t?*.csv", [column, "y"], [["1", "2"]])
    write(folder / "tt.csv", [column, "y"], [["3", "4"], ["5", "6"]])
    data = Dataset.load(party(folder / "t?*.csv", v=LABEL.model_copy(update={"column": column})))
    assert data.vocabulary("v") == ("1",)
    pq.write_table(pa.table({column: ["7"]}), folder / "t*.parquet")
    pq.write_table(pa.table({column: ["8"]}), folder / "tt.parquet")
    attribute = LABEL.model_copy(update={"column": column})
    assert Dataset.load(party(folder / "t*.parquet", v=attribute)).vocabulary("v") == ("7",)
