"""Sums over several companies as one person would do them with all tables open.

Independent of the product on purpose: dictionaries, loops, Decimal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from tests.reference import job_oracle


def spread(
    rows: Sequence[tuple[Mapping[str, str], Sequence[str], int]], bounds: tuple[int, int]
) -> dict[tuple[str, bool], dict[str, Any]]:
    """(tier, active) → count, and sum and number of known spends."""
    lo, hi = Decimal(bounds[0]), Decimal(bounds[1])
    cells: dict[tuple[str, bool], dict[str, Any]] = {}
    for row, tiers, decimals in rows:
        key = (job_oracle.label(row["tier"], tiers), job_oracle.flag(row["active"]))
        cell = cells.setdefault(key, {"count": 0, "sum": Decimal(0), "known": 0})
        cell["count"] += 1
        spend = job_oracle.number(row["spend"], (lo, hi), decimals)
        if spend is not None:
            cell["sum"] += spend
            cell["known"] += 1
    return cells


def bins(
    values: Sequence[tuple[str, int]], bounds: tuple[int, int], edges: Sequence[str]
) -> dict[str, int]:
    """How many lie from each edge (inclusive) to the next."""
    lo, hi = Decimal(bounds[0]), Decimal(bounds[1])
    names = [f"under {edges[0]}"]
    names += [f"{edges[i]} to {edges[i + 1]}" for i in range(len(edges) - 1)]
    names += [f"{edges[-1]} and over", "unknown"]
    found = dict.fromkeys(names, 0)
    for text, decimals in values:
        value = job_oracle.number(text, (lo, hi), decimals)
        if value is None:
            found["unknown"] += 1
        else:
            found[names[sum(value >= Decimal(edge) for edge in edges)]] += 1
    return found
