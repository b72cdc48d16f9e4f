"""Matching on plain identifiers, one person at a time: what `protocol.psi` must equal."""

from __future__ import annotations

from collections.abc import Sequence

Person = tuple[str | None, ...]  # one canonical identifier per type, None where there is none


def waterfall(left: Sequence[Person], right: Sequence[Person], types: int) -> dict[int, int]:
    """right row → left row; identifiers are unique per side and type."""
    pairs: dict[int, int] = {}
    for kind in range(types):
        at = {person[kind]: i for i, person in enumerate(left) if person[kind] is not None}
        for j, person in enumerate(right):
            i = at.get(person[kind])
            if i is not None and j not in pairs and i not in pairs.values():
                pairs[j] = i
    return pairs


def common(parties: Sequence[Sequence[Person]], types: int) -> list[set[int]]:
    """Per party the rows that all parties share: types in order, among rows still unmatched."""
    matched: list[set[int]] = [set() for _ in parties]
    for kind in range(types):
        tables = [
            {p[kind]: i for i, p in enumerate(people) if p[kind] is not None} for people in parties
        ]
        for identifier, _ in list(tables[0].items()):
            rows = [table.get(identifier) for table in tables]
            if all(r is not None and r not in matched[n] for n, r in enumerate(rows)):
                for n, r in enumerate(rows):
                    assert r is not None
                    matched[n].add(r)
    return matched
