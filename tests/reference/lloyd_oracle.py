"""Lloyd's algorithm on one pooled table, in fractions: no rounding anywhere, so ties are ties."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

Table = Sequence[Sequence[Fraction]]


def lloyd(
    table: Table, start: Table, iterations: int, weights: Sequence[Fraction] | None = None
) -> list[tuple[list[int], list[list[Fraction]]]]:
    """Per iteration the labels, and the centres that follow from them; a tie goes to the lowest
    cluster, an empty one keeps its centre."""
    centres = [list(centre) for centre in start]
    weights = weights or [Fraction(1)] * len(centres[0])
    found = []
    for _ in range(iterations):
        labels = []
        for row in table:
            distances = [
                sum(w * (x - c) ** 2 for w, x, c in zip(weights, row, centre, strict=True))
                for centre in centres
            ]
            labels.append(distances.index(min(distances)))
        for c in range(len(centres)):
            members = [row for row, label in zip(table, labels, strict=True) if label == c]
            if members:
                centres[c] = [
                    sum(v, Fraction(0)) / len(members) for v in zip(*members, strict=True)
                ]
        found.append((labels, [list(centre) for centre in centres]))
    return found
