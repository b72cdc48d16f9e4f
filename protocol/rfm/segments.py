"""Scores from common edges, and the two naming schemes of RFM segments.

Who runs it: every party, over its own people.  Learns: nobody, anything.
Source: protocols.md section 4.  The names are the field's, in English and Chinese.

Every measure is turned so that larger is better (recency, days since the last purchase, by its
negative).  A score is 1 + the number of edges that the value reaches.  So equal values get the
same score, and an edge that equals the minimum empties the lowest bin.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

ROLES = ("recency", "frequency", "monetary")
REVERSED = frozenset({"recency"})
BINS = 5
EIGHT, TEN = "8", "5x5"
SCHEMES = (EIGHT, TEN)

# (R high, F high, M high), from all high to none; high means: at or over the median.
NAMES_8 = (
    ("important_value", "重要价值客户"),
    ("general_value", "一般价值客户"),
    ("important_develop", "重要发展客户"),
    ("general_develop", "一般发展客户"),
    ("important_keep", "重要保持客户"),
    ("general_keep", "一般保持客户"),
    ("important_win_back", "重要挽留客户"),
    ("general_win_back", "一般挽留客户"),
)
NAMES_10 = (
    ("champions", "冠军客户"),
    ("loyal", "忠诚客户"),
    ("potential_loyal", "潜在忠诚客户"),
    ("new", "新客户"),
    ("promising", "有希望客户"),
    ("need_attention", "需要关注客户"),
    ("about_to_sleep", "即将沉睡客户"),
    ("at_risk", "流失风险客户"),
    ("cannot_lose", "不可失去客户"),
    ("hibernating", "沉睡客户"),
)
# Rows: R score 1 to 5; columns: F score 1 to 5; entries: positions in NAMES_10.
_GRID_10 = np.array(
    [[9, 9, 7, 7, 8], [9, 9, 7, 7, 8], [6, 6, 5, 1, 1], [4, 2, 2, 1, 1], [3, 2, 2, 0, 0]],
    dtype=np.int64,
)

Integers = npt.NDArray[np.int64]


def oriented(role: str, values: Integers) -> Integers:
    """Larger is better."""
    return -values if role in REVERSED else values


def scores(values: Integers, edges: Sequence[int]) -> Integers:
    """1 to len(edges)+1 of oriented values; edges ascending, repeated ones allowed."""
    return 1 + np.searchsorted(np.array(edges, dtype=np.int64), values, side="right")


def names(scheme: str) -> tuple[tuple[str, str], ...]:
    return NAMES_8 if scheme == EIGHT else NAMES_10


def segments_8(high: Sequence[npt.NDArray[np.bool_]]) -> Integers:
    """Positions in NAMES_8; high: of R, F and M."""
    recency, frequency, monetary = (1 - part.astype(np.int64) for part in high)
    # Recency and frequency say the kind; money says whether it is important.
    kind = np.array([[0, 2], [4, 6]], dtype=np.int64)[recency, frequency]
    return np.asarray(kind + monetary, dtype=np.int64)


def segments_10(recency: Integers, frequency: Integers) -> Integers:
    """Positions in NAMES_10 from scores 1 to 5."""
    return np.asarray(_GRID_10[recency - 1, frequency - 1], dtype=np.int64)
