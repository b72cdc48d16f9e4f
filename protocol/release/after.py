"""What follows from the released cells of a cross-tab: stages, flows, rankings by lift.

Who runs it: the requester's node, after the release rules, and whoever shows a result.
Learns: the reader nothing that the released cells do not say; a withheld cell counts nowhere, and
each number says how many cells it is missing.
Source: protocols.md section 4 (lifecycle, recommendation); docs/adr/0004 for lift (TGI / 100).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from protocol.release.rules import BELOW

Cell = Mapping[str, Any]
NOT_ITEMS = ("other", "unknown")  # of a vocabulary, and nothing that could be shown to a person


# -- stages ------------------------------------------------------------------------------------


def highest(cell: Cell, attributes: Iterable[str], order: Sequence[str]) -> str | None:
    """The highest stage in `cell`; words that are no stage do not count, None if all are such."""
    ranks = [order.index(cell[name]) for name in attributes if cell[name] in order]
    return order[max(ranks)] if ranks else None


def stages(
    cells: Sequence[Cell], attributes: Sequence[str], order: Sequence[str]
) -> list[dict[str, Any]]:
    """People by the highest stage over all attributes, the highest first."""
    groups: dict[str | None, list[Cell]] = {stage: [] for stage in reversed(order)}
    for cell in cells:
        groups.setdefault(highest(cell, attributes, order), []).append(cell)
    return [{"stage": stage or NOT_ITEMS[1]} | _sum(group) for stage, group in groups.items()]


def flow(
    cells: Sequence[Cell], before: Sequence[str], now: Sequence[str], order: Sequence[str]
) -> list[dict[str, Any]]:
    """People by the highest stage of each moment."""
    keys = [(highest(cell, before, order), highest(cell, now, order)) for cell in cells]
    words: list[str | None] = list(reversed(order))
    if any(None in key for key in keys):
        words.append(None)
    groups: dict[tuple[str | None, str | None], list[Cell]] = {
        (a, b): [] for a in words for b in words
    }
    for key, cell in zip(keys, cells, strict=True):
        groups[key].append(cell)
    return [
        {"before": a or NOT_ITEMS[1], "now": b or NOT_ITEMS[1]} | _sum(group)
        for (a, b), group in groups.items()
    ]


def _sum(cells: Sequence[Cell]) -> dict[str, Any]:
    """count: of the released cells.  cells, released: how many there are, how many count."""
    released = [cell for cell in cells if cell["withheld"] is None]
    hidden = bool(cells) and not released
    return {
        "count": None if hidden else sum(int(cell["count"]) for cell in released),
        "cells": len(cells),
        "released": len(released),
        "withheld": BELOW if hidden else None,
    }


# -- recommendations -----------------------------------------------------------------------------


@dataclass(frozen=True)
class Rankings:
    """personal: row value(s) → items, the best first.  popular: items for everybody else."""

    personal: Mapping[tuple[Any, ...], tuple[str, ...]]
    popular: tuple[str, ...]


def rankings(cells: Sequence[Cell], rows: Sequence[str], column: str) -> Rankings:
    """By lift where it is above 1 and known, then by popularity.

    Lift alone would rank items that nearly nobody of the row takes by their noise.  Popularity is
    the released people of an item.  Equals keep the order of the vocabulary.
    """
    total: dict[str, int] = {}
    lifts: dict[tuple[Any, ...], dict[str, float]] = {}
    for cell in cells:
        item, row = cell[column], tuple(cell[name] for name in rows)
        lifts.setdefault(row, {})
        if item in NOT_ITEMS or cell["withheld"] is not None:
            continue
        total[item] = total.get(item, 0) + int(cell["count"])
        if cell["tgi"] is not None and cell["tgi"] > 100:
            lifts[row][item] = cell["tgi"]
    popular = tuple(sorted(total, key=lambda item: -total[item]))
    personal = {}
    for row, found in lifts.items():
        best = sorted(found, key=lambda item: -found[item])
        if best:  # without a lift there is nothing personal to say
            personal[row] = (*best, *(item for item in popular if item not in found))
    return Rankings(personal, popular)
