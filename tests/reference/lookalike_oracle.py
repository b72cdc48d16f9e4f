"""A lookalike by plain means: the joined table, standardised, given to scikit-learn.

Rows are dicts of what the tables say.  Independent of the product: labels per person instead of
sums, one-hot columns and standardisation by hand, another solver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from sklearn.linear_model import LogisticRegression

Row = dict[str, str]


def central(
    people: Mapping[int, Row],
    seeds: set[int],
    columns: Sequence[Callable[[Row], float | None]],
    l2: float,
) -> tuple[dict[int, float], list[float], float]:
    """(score by key of `people`, weights of the standardised columns, intercept).

    seeds: keys of those who are somebody's seed.  A column gives None where a person lacks it;
    such a person takes no part.
    """
    table = {i: [column(row) for column in columns] for i, row in people.items()}
    known = [i for i, line in table.items() if None not in line]
    x = np.array([table[i] for i in known], dtype=float)
    deviation = x.std(axis=0)
    z = (x - x.mean(axis=0)) / np.where(deviation == 0, 1, deviation)
    y = np.array([i in seeds for i in known], dtype=int)
    model = LogisticRegression(C=1 / l2, solver="newton-cg", tol=1e-12, max_iter=10_000)
    model.fit(z, y)
    scores = model.predict_proba(z)[:, 1]
    return (
        dict(zip(known, scores.tolist(), strict=True)),
        model.coef_[0].tolist(),
        float(model.intercept_[0]),
    )


def reach(scores: dict[int, float], seeds: set[int], bands: int) -> list[int]:
    """Seeds per band of equal size, best scores first; equal scores by row."""
    ranked = sorted(scores, key=lambda row: (-scores[row], row))
    counts = [0] * bands
    for place, row in enumerate(ranked):
        counts[place * bands // len(ranked)] += row in seeds
    return counts
