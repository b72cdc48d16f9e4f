"""RFM over one pooled table, as one would do it in a spreadsheet: sorted lists and loops."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

SEGMENTS_8 = {
    (True, True, True): "important_value", (True, True, False): "general_value",
    (True, False, True): "important_develop", (True, False, False): "general_develop",
    (False, True, True): "important_keep", (False, True, False): "general_keep",
    (False, False, True): "important_win_back", (False, False, False): "general_win_back",
}  # fmt: skip
# The usual table of ten, read as "recency score, frequency score".
SEGMENTS_10 = {
    "champions": ["54", "55"],
    "loyal": ["34", "35", "44", "45"],
    "potential_loyal": ["42", "43", "52", "53"],
    "new": ["51"],
    "promising": ["41"],
    "need_attention": ["33"],
    "about_to_sleep": ["31", "32"],
    "at_risk": ["13", "14", "23", "24"],
    "cannot_lose": ["15", "25"],
    "hibernating": ["11", "12", "21", "22"],
}


def quantile(values: Sequence[float], top: int, bottom: int) -> float:
    """The smallest value up to which top/bottom of all lie."""
    ordered = sorted(values)
    for position, value in enumerate(ordered, start=1):
        if position * bottom >= top * len(ordered):
            return value
    raise ValueError("no values")


def rfm(people: Sequence[Mapping[str, float]]) -> dict[str, Any]:
    """people: recency in days, frequency, monetary.  Edges, scores and segments per person."""
    turned = {
        role: [(-p[role] if role == "recency" else p[role]) for p in people]
        for role in ("recency", "frequency", "monetary")
    }
    edges = {role: [quantile(v, i, 5) for i in range(1, 5)] for role, v in turned.items()}
    medians = {role: quantile(v, 1, 2) for role, v in turned.items()}
    scores, eight, ten = [], [], []
    for i in range(len(people)):
        score = {role: 1 + sum(turned[role][i] >= e for e in edges[role]) for role in edges}
        scores.append(score)
        eight.append(SEGMENTS_8[tuple(turned[role][i] >= medians[role] for role in edges)])
        word = f"{score['recency']}{score['frequency']}"
        ten.append(next(name for name, words in SEGMENTS_10.items() if word in words))
    sign = {"recency": -1, "frequency": 1, "monetary": 1}
    return {
        "edges": {r: [sign[r] * e for e in found] for r, found in edges.items()},
        "medians": {r: sign[r] * m for r, m in medians.items()},
        "scores": scores, "8": eight, "5x5": ten,
        "sizes": {"8": Counter(eight), "5x5": Counter(ten)},
    }  # fmt: skip
