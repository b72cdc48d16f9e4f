"""The cross-tab in plaintext, person by person: what the protocol must equal with noise off."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PersonPair:
    """One matched person: A's joint row value, B's joint column value, B's numbers or None."""

    row: int
    column: int
    numbers: tuple[int | None, ...] = ()


@dataclass
class PlainTable:
    overlap: int = 0
    count: dict[tuple[int, int], int] = field(default_factory=dict)
    sums: list[dict[tuple[int, int], int]] = field(default_factory=list)
    own: list[dict[tuple[int, int], int]] = field(default_factory=list)


def crosstab(pairs: list[PersonPair], measures: int) -> PlainTable:
    """Σ v (not centred) and the number of people with a value, per cell that has anybody."""
    table = PlainTable(sums=[{} for _ in range(measures)], own=[{} for _ in range(measures)])
    for pair in pairs:
        cell = (pair.row, pair.column)
        table.overlap += 1
        table.count[cell] = table.count.get(cell, 0) + 1
        for measure, value in enumerate(pair.numbers):
            if value is None:
                continue
            table.sums[measure][cell] = table.sums[measure].get(cell, 0) + value
            table.own[measure][cell] = table.own[measure].get(cell, 0) + 1
    return table


def withheld(count: list[list[int]], k: int) -> list[list[str | None]]:
    """Release rules of section 5 by the letter, cell by cell."""
    out: list[list[str | None]] = [[None for _ in line] for line in count]
    if k == 1:
        return out
    for r, line in enumerate(count):
        for c, cell in enumerate(line):
            rest = sum(other for position, other in enumerate(line) if position != c)
            if cell < k or (len(line) > 1 and rest < k):
                out[r][c] = "below_min_cohort"
    if not any(reason for line in out for reason in line):
        return out
    while True:
        hidden = [count[r][c] for r, line in enumerate(out) for c, why in enumerate(line) if why]
        shown = [
            (count[r][c], r, c)
            for r, line in enumerate(out)
            for c, why in enumerate(line)
            if not why
        ]
        if sum(hidden) >= k or not shown:
            return out
        _, r, c = min(shown)
        out[r][c] = "complement"
