"""The report's tables: cells of a result.json laid out as rows, columns and colours.

What: pure layout of released cells; nothing is computed that is not in the result.
Who runs it: `assent.report`.
Learns: nothing new.
Section: contracts.md, result.json; protocols.md section 5 for what withheld means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

# Wider tables are cut into blocks, because paper does not scroll.
COLUMNS_PER_BLOCK = 8

_OWN_KEYS = frozenset({"count", "tgi", "withheld"})

# (upper end of TGI, class of the cell); darker = further from 100.  Text names the number,
# so that colour is never the only sign.
_SHADES = ((50.0, "b3"), (70.0, "b2"), (90.0, "b1"), (110.0, "n0"), (130.0, "a1"), (170.0, "a2"))
_LAST_SHADE = "a3"


WITHHELD = {
    "below_min_cohort": "group too small",
    "complement": "protects another cell",
}


@dataclass(frozen=True)
class Cell:
    """One field of a table; `lines` are the numbers below the first."""

    text: str
    lines: tuple[str, ...] = ()
    shade: str = ""
    withheld: str = ""


Show = Callable[[Mapping[str, Any]], Cell]  # a cell of the result as a field of a table


@dataclass(frozen=True)
class Row:
    name: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True)
class Block:
    """A part of a table that fits a page: at most COLUMNS_PER_BLOCK columns."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    first: int
    total: int


@dataclass(frozen=True)
class Table:
    title: str
    rows_of: str
    columns_of: str
    blocks: tuple[Block, ...]


# -- layout -------------------------------------------------------------------------------


def axes(cells: Sequence[Mapping[str, Any]], requester: str) -> tuple[list[str], list[str]]:
    """The attributes of the cells: the requester's are the rows, the others the columns."""
    if not cells:
        return [], []
    names = [key for key in cells[0] if key not in _OWN_KEYS and ":" not in key.split("/")[0]]
    rows = [name for name in names if name.split("/")[0] == requester]
    return rows, [name for name in names if name not in rows]


def tables(cells: Sequence[Mapping[str, Any]], requester: str) -> tuple[Table, ...]:
    """The heat map of counts and TGI, then one table per numeric attribute."""
    rows_of, columns_of = axes(cells, requester)
    if not cells or not (rows_of or columns_of):
        return ()
    places: dict[tuple[str, str], Mapping[str, Any]] = {}
    row_names: dict[str, None] = {}
    column_names: dict[str, None] = {}
    for cell in cells:
        row, column = _name(cell, rows_of), _name(cell, columns_of)
        row_names[row] = column_names[column] = None
        places[row, column] = cell
    measures = [key for key in cells[0] if key.startswith(("sum:", "mean:"))]
    attributes = list(dict.fromkeys(key.split(":", 1)[1] for key in measures))

    def table(title: str, show: Show) -> Table:
        return Table(
            title,
            " · ".join(rows_of),
            " · ".join(columns_of),
            tuple(_blocks(list(row_names), list(column_names), places, show)),
        )

    made = [table("People, and TGI", _heat)]
    for attribute in attributes:

        def show(cell: Mapping[str, Any], attribute: str = attribute) -> Cell:
            return _measure(cell, attribute)

        kinds = [kind for kind in ("mean", "sum") if f"{kind}:{attribute}" in measures]
        made.append(table(f"{attribute}: {' and '.join(kinds)}", show))
    return tuple(made)


def flow_table(lines: Sequence[Mapping[str, Any]]) -> Table | None:
    """Stages before (rows) and now (columns): people, and their share of the row."""
    if not lines:
        return None
    counts = {(line["before"], line["now"]): line["count"] for line in lines}
    stages = tuple(dict.fromkeys(line["before"] for line in lines))
    rows = []
    for before in stages:
        whole = sum(counts.get((before, now)) or 0 for now in stages)
        cells = tuple(_moved(counts.get((before, now)), whole) for now in stages)
        rows.append(Row(before, cells))
    block = Block(stages, tuple(rows), 1, len(stages))
    return Table("From one stage to another", "before", "now", (block,))


def _moved(count: int | None, whole: int) -> Cell:
    if count is None:
        return Cell("withheld", (WITHHELD["below_min_cohort"],), "w", "below_min_cohort")
    share = max(0, count) / whole if whole > 0 else 0.0
    dark = "a3" if share >= 0.5 else "a2" if share >= 0.2 else "a1" if share >= 0.05 else "n0"
    return Cell(number(count), (f"{share:.0%}",), dark)


def _blocks(
    rows: Sequence[str],
    columns: Sequence[str],
    places: Mapping[tuple[str, str], Mapping[str, Any]],
    show: Show,
) -> Iterator[Block]:
    for first in range(0, len(columns), COLUMNS_PER_BLOCK):
        part = tuple(columns[first : first + COLUMNS_PER_BLOCK])
        yield Block(
            part,
            tuple(
                Row(
                    row,
                    tuple(
                        _shown(places[row, column], show) if (row, column) in places else Cell("")
                        for column in part
                    ),
                )
                for row in rows
            ),
            first + 1,
            len(columns),
        )


def _shown(cell: Mapping[str, Any], show: Show) -> Cell:
    reason = cell.get("withheld")
    if reason:
        return Cell("withheld", (WITHHELD.get(reason, words(reason)),), "w", str(reason))
    return show(cell)


def _heat(cell: Mapping[str, Any]) -> Cell:
    tgi = cell.get("tgi")
    if tgi is None:
        return Cell(number(cell.get("count")))
    return Cell(number(cell.get("count")), (f"TGI {tgi:,.0f}",), shade(tgi))


def _measure(cell: Mapping[str, Any], attribute: str) -> Cell:
    mean, total = cell.get(f"mean:{attribute}"), cell.get(f"sum:{attribute}")
    if f"mean:{attribute}" not in cell:
        return Cell(number(total))
    return Cell(number(mean), () if total is None else (f"sum {number(total)}",))


def shade(tgi: float | None) -> str:
    if tgi is None:
        return ""
    return next((name for end, name in _SHADES if tgi < end), _LAST_SHADE)


def withheld_counts(cells: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    reasons = [str(cell["withheld"]) for cell in cells if cell.get("withheld")]
    return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}


def standing_out(
    cells: Sequence[Mapping[str, Any]], requester: str, most: int = 3
) -> tuple[dict[str, Any], ...]:
    """The cells whose TGI is furthest above and below 100, at most `most` of each."""
    rows_of, columns_of = axes(cells, requester)
    known = [cell for cell in cells if cell.get("tgi") is not None]
    ordered = sorted(known, key=lambda cell: -float(cell["tgi"]))
    high = [cell for cell in ordered if cell["tgi"] >= 110][:most]
    low = [cell for cell in reversed(ordered) if cell["tgi"] < 90][:most]
    return tuple(
        {
            "row": _name(cell, rows_of),
            "column": _name(cell, columns_of),
            "tgi": cell["tgi"],
            "more": cell["tgi"] >= 100,
            "shade": shade(cell["tgi"]),
        }
        for cell in (*high, *low)
    )


def _name(cell: Mapping[str, Any], attributes: Sequence[str]) -> str:
    return " · ".join(_label(attribute, cell[attribute]) for attribute in attributes) or "all"


def _label(attribute: str, value: Any) -> str:
    if isinstance(value, bool):  # a flag's value says nothing without the flag's name
        return f"{attribute.split('/')[-1]}: {'yes' if value else 'no'}"
    return "unknown" if value is None else str(value)


# -- numbers in words ----------------------------------------------------------------------


def number(value: Any) -> str:
    """1234567.5 → '1,234,568'; 49.40 → '49.4'; nothing → '–'."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def size(count: Any) -> str:
    """Bytes in words, in powers of 1000."""
    amount = float(count or 0)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:,.0f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} GB"


def words(code: Any) -> str:
    """'below_min_cohort' → 'below min cohort'."""
    return str(code).replace("_", " ")
