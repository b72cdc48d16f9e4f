"""The report's tables: cells of a result.json laid out as rows, columns and colours.

What: pure layout of released cells; nothing is computed that is not in the result.
Who runs it: `assent.report`, `assent.show`.
Learns: nothing new.
Section: contracts.md, result.json; protocols.md section 5 for what withheld means.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.reader import TERMINAL, Reader, number

# Wider tables are cut into blocks, because paper does not scroll.
COLUMNS_PER_BLOCK = 8

_OWN_KEYS = frozenset({"count", "tgi", "withheld", "withheld_measures"})

# (upper end of TGI, class of the cell); darker = further from 100.  Text names the number,
# so that colour is never the only sign.
SHADES = ((50, "b3"), (70, "b2"), (90, "b1"), (110, "n0"), (130, "a1"), (170, "a2"))
LAST_SHADE = "a3"


@dataclass(frozen=True)
class Cell:
    """One field of a table; `lines` are the numbers below the first."""

    text: str
    lines: tuple[str, ...] = ()
    shade: str = ""


Key = tuple[Any, ...]  # the values of a row or column, as the result has them
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
    """rows_of, columns_of: what is crossed.  corner: the same of the rows, short."""

    title: str
    rows_of: str
    columns_of: str
    corner: str
    blocks: tuple[Block, ...]


# -- layout -------------------------------------------------------------------------------


def attributes_of(cell: Mapping[str, Any]) -> list[str]:
    """The keys of a cell that say whose cell it is; the others are what was counted and why not."""
    return [key for key in cell if key not in _OWN_KEYS and ":" not in key.split("/")[0]]


def axes(cells: Sequence[Mapping[str, Any]], requester: str) -> tuple[list[str], list[str]]:
    """The attributes of the cells: the requester's are the rows, the others the columns."""
    if not cells:
        return [], []
    names = attributes_of(cells[0])
    rows = [name for name in names if name.split("/")[0] == requester]
    return rows, [name for name in names if name not in rows]


def tables(
    cells: Sequence[Mapping[str, Any]], requester: str, reader: Reader = TERMINAL
) -> tuple[Table, ...]:
    """The heat map of counts and TGI, then one table per numeric attribute."""
    rows_of, columns_of = axes(cells, requester)
    if not cells or not (rows_of or columns_of):
        return ()
    places = {(_key(cell, rows_of), _key(cell, columns_of)): cell for cell in cells}
    row_names = _names({row: cell for (row, _), cell in places.items()}, rows_of, reader)
    column_names = _names({at: cell for (_, at), cell in places.items()}, columns_of, reader)
    measures = [key for key in cells[0] if key.startswith(("sum:", "mean:"))]
    attributes = list(dict.fromkeys(key.split(":", 1)[1] for key in measures))

    def table(title: str, show: Show) -> Table:
        return Table(
            title,
            _crossed(rows_of, reader),
            _crossed(columns_of, reader),
            reader.say("joined").join(reader.short(name) for name in rows_of),
            tuple(_blocks(row_names, column_names, places, show, reader)),
        )

    made = [table(reader.say("heat"), lambda cell: _heat(cell, reader))]
    for attribute in attributes:

        def show(cell: Mapping[str, Any], attribute: str = attribute) -> Cell:
            return _measure(cell, attribute, reader)

        kinds = [kind for kind in ("mean", "sum") if f"{kind}:{attribute}" in measures]
        key = "mean_and_sum" if len(kinds) == 2 else f"{kinds[0]}_only"
        made.append(table(reader.say(key, attribute=reader.attribute(attribute)), show))
    return tuple(made)


def _crossed(attributes: Sequence[str], reader: Reader) -> str:
    return reader.say("joined").join(reader.attribute(name) for name in attributes)


def flow_table(lines: Sequence[Mapping[str, Any]], reader: Reader = TERMINAL) -> Table | None:
    """Stages before (rows) and now (columns): people, and their share of the row."""
    if not lines:
        return None
    counts = {(line["before"], line["now"]): line["count"] for line in lines}
    stages = tuple(dict.fromkeys(line["before"] for line in lines))
    rows = []
    for before in stages:
        whole = sum(counts.get((before, now)) or 0 for now in stages)
        cells = tuple(_moved(counts.get((before, now)), whole, reader) for now in stages)
        rows.append(Row(reader.word(before), cells))
    block = Block(tuple(reader.word(stage) for stage in stages), tuple(rows), 1, len(stages))
    before, now = reader.say("before"), reader.say("now")
    return Table(reader.say("flow"), before, now, before, (block,))


def _moved(count: int | None, whole: int, reader: Reader) -> Cell:
    if count is None:
        return _hidden("below_min_cohort", reader)
    share = max(0, count) / whole if whole > 0 else 0.0
    dark = "a3" if share >= 0.5 else "a2" if share >= 0.2 else "a1" if share >= 0.05 else "n0"
    return Cell(number(count), (f"{share:.0%}",), dark)


def _blocks(
    rows: Mapping[Key, str],
    columns: Mapping[Key, str],
    places: Mapping[tuple[Key, Key], Mapping[str, Any]],
    show: Show,
    reader: Reader,
) -> Iterator[Block]:
    keys = list(columns)
    for first in range(0, len(keys), COLUMNS_PER_BLOCK):
        part = keys[first : first + COLUMNS_PER_BLOCK]
        lines = [
            Row(name, tuple(_shown(places.get((row, at)), show, reader) for at in part))
            for row, name in rows.items()
        ]
        yield Block(tuple(columns[at] for at in part), tuple(lines), first + 1, len(keys))


def _shown(cell: Mapping[str, Any] | None, show: Show, reader: Reader) -> Cell:
    if cell is None:
        return Cell("")
    reason = cell.get("withheld")
    return _hidden(str(reason), reader) if reason else show(cell)


def _hidden(reason: str, reader: Reader) -> Cell:
    return Cell(reader.say("withheld"), (reader.withheld(reason),), "w")


def _heat(cell: Mapping[str, Any], reader: Reader) -> Cell:
    tgi = cell.get("tgi")
    if tgi is None:
        return Cell(number(cell.get("count")))
    below = reader.say("tgi", tgi=f"{tgi:,.0f}")
    return Cell(number(cell.get("count")), (below,), shade(tgi))


def _measure(cell: Mapping[str, Any], attribute: str, reader: Reader) -> Cell:
    mean, total = cell.get(f"mean:{attribute}"), cell.get(f"sum:{attribute}")
    if f"mean:{attribute}" not in cell:
        return Cell(number(total))
    below = () if total is None else (reader.say("sum_below", sum=number(total)),)
    return Cell(number(mean), below)


def shade(tgi: float | None) -> str:
    if tgi is None:
        return ""
    return next((name for end, name in SHADES if tgi < end), LAST_SHADE)


def legend(reader: Reader) -> Iterator[tuple[str, str]]:
    """(class, words) of every colour of the heat map."""
    low = 0
    for end, name in SHADES:
        yield name, reader.say("tgi_under", end=end) if not low else f"{low}–{end}"
        low = end
    yield LAST_SHADE, reader.say("tgi_over", end=low)
    yield "w", reader.say("withheld")


def withheld_counts(cells: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    reasons = [str(cell["withheld"]) for cell in cells if cell.get("withheld")]
    return {reason: reasons.count(reason) for reason in dict.fromkeys(reasons)}


def standing_out(
    cells: Sequence[Mapping[str, Any]],
    requester: str,
    most: int = 3,
    reader: Reader = TERMINAL,
) -> tuple[dict[str, Any], ...]:
    """The cells whose TGI is furthest above and below 100, at most `most` of each."""
    rows_of, columns_of = axes(cells, requester)
    known = [cell for cell in cells if cell.get("tgi") is not None]
    ordered = sorted(known, key=lambda cell: -float(cell["tgi"]))
    high = [cell for cell in ordered if cell["tgi"] >= 110][:most]
    low = [cell for cell in reversed(ordered) if cell["tgi"] < 90][:most]
    return tuple(
        {
            "row": _name(cell, rows_of, reader),
            "column": _name(cell, columns_of, reader),
            "tgi": cell["tgi"],
            "more": cell["tgi"] >= 100,
            "shade": shade(cell["tgi"]),
        }
        for cell in (*high, *low)
    )


def _key(cell: Mapping[str, Any], attributes: Sequence[str]) -> Key:
    return tuple(cell[attribute] for attribute in attributes)


def _names(
    cells: Mapping[Key, Mapping[str, Any]], attributes: Sequence[str], reader: Reader
) -> dict[Key, str]:
    """What the rows or columns are called; two that have one title, by the words of jobs."""
    said = {key: _name(cell, attributes, reader) for key, cell in cells.items()}
    called = list(said.values())
    return {
        key: name if called.count(name) == 1 else _name(cells[key], attributes, TERMINAL)
        for key, name in said.items()
    }


def _name(cell: Mapping[str, Any], attributes: Sequence[str], reader: Reader) -> str:
    names = [reader.value(attribute, cell[attribute]) for attribute in attributes]
    return reader.say("joined").join(names) or reader.say("all")
