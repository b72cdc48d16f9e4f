"""A whole cross-tab as one person would do it with both tables open: no arrays, no sharing.

Independent of the product on purpose: dictionaries, loops, Decimal.  Identifiers are taken as
they stand (tests write them canonical).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from decimal import ROUND_HALF_EVEN, Decimal
from typing import Any

Row = Mapping[str, str]


def usable(rows: Sequence[Row], types: Sequence[str]) -> list[dict[str, str]]:
    """Per row its identifiers without missing and ambiguous ones."""
    seen = {t: Counter(row[t] for row in rows if row[t]) for t in types}
    return [{t: row[t] for t in types if row[t] and seen[t][row[t]] == 1} for row in rows]


def pairs(
    left: Sequence[Row], right: Sequence[Row], types: Sequence[str],
    left_in: Sequence[bool], right_in: Sequence[bool],
) -> list[tuple[int, int]]:  # fmt: skip
    """The waterfall over eligible rows; ambiguity is decided over the whole tables."""
    a, b = usable(left, types), usable(right, types)
    free_a = {i for i in range(len(left)) if left_in[i]}
    free_b = {j for j in range(len(right)) if right_in[j]}
    found = []
    for kind in types:
        holders = {b[j][kind]: j for j in free_b if kind in b[j]}
        for i in sorted(free_a):
            j = holders.get(a[i].get(kind, ""))
            if j is not None:
                found.append((i, j))
        for i, j in found:
            free_a.discard(i)
            free_b.discard(j)
    return found


def members(tables: Sequence[Sequence[Row]], types: Sequence[str]) -> list[set[int]]:
    """Per party the rows common to all, by waterfall over all parties at once."""
    ids = [usable(table, types) for table in tables]
    free = [set(range(len(table))) for table in tables]
    found: list[set[int]] = [set() for _ in tables]
    for kind in types:
        holders = [
            {ids[p][i][kind]: i for i in free[p] if kind in ids[p][i]} for p in range(len(tables))
        ]
        common = set(holders[0]).intersection(*holders[1:])
        for value in common:
            for p, holder in enumerate(holders):
                found[p].add(holder[value])
                free[p].discard(holder[value])
    return found


def label(text: str, vocabulary: Sequence[str]) -> str:
    if not text:
        return "unknown"
    return text if text in vocabulary else "other"


def number(text: str, bounds: tuple[Decimal, Decimal], decimals: int) -> Decimal | None:
    if not text:
        return None
    clipped = min(max(Decimal(text), bounds[0]), bounds[1])
    return clipped.quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)


def crosstab(
    matched: Sequence[tuple[int, int]],
    left: Sequence[Row], right: Sequence[Row],
    row: tuple[str, Sequence[str]], column: tuple[str, Sequence[str]],
    measures: Mapping[str, tuple[tuple[Decimal, Decimal], int]],
) -> dict[tuple[str, str], dict[str, Any]]:  # fmt: skip
    """(row value, column value) → count and, per measure, sum and mean (None over nobody)."""
    cells: dict[tuple[str, str], dict[str, Any]] = {}
    for i, j in matched:
        key = (label(left[i][row[0]], row[1]), label(right[j][column[0]], column[1]))
        cell = cells.setdefault(key, {"count": 0, "values": {m: [] for m in measures}})
        cell["count"] += 1
        for name, (bounds, decimals) in measures.items():
            value = number(right[j][name], bounds, decimals)
            if value is not None:
                cell["values"][name].append(value)
    for cell in cells.values():
        for name, values in cell.pop("values").items():
            cell[f"sum:{name}"] = sum(values, Decimal(0))
            cell[f"mean:{name}"] = sum(values, Decimal(0)) / len(values) if values else None
    return cells


FLAGS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False, "": False}


def flag(text: str) -> bool:
    return FLAGS[text.lower()]


def joint(
    matched: Sequence[tuple[int, int]],
    left: Sequence[Row], right: Sequence[Row],
    rows: Sequence[Callable[[Row], Any]], columns: Sequence[Callable[[Row], Any]],
    measures: Mapping[str, Callable[[Row], Decimal | None]],
) -> dict[tuple[Any, ...], dict[str, Any]]:  # fmt: skip
    """As `crosstab` over several attributes a side; keys are the values of rows, then columns."""
    cells: dict[tuple[Any, ...], dict[str, Any]] = {}
    for i, j in matched:
        key = (*(read(left[i]) for read in rows), *(read(right[j]) for read in columns))
        cell = cells.setdefault(key, {"count": 0, "values": {name: [] for name in measures}})
        cell["count"] += 1
        for name, read in measures.items():
            value = read(right[j])
            if value is not None:
                cell["values"][name].append(value)
    for cell in cells.values():
        for name, values in cell.pop("values").items():
            total = sum(values, Decimal(0))
            cell[f"sum:{name}"] = total
            cell[f"mean:{name}"] = total / len(values) if values else None
    return cells
