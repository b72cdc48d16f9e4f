"""k-means on a grid of local cells as one person would do it with both tables open, no noise.

Independent of the product on purpose: lists, loops, floats; matrices only where points move.
protocols.md section 4.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
from scipy.linalg import inv, sqrtm, svd

Point = list[float]


def gap(one: Point, other: Point, weight: Point) -> float:
    return sum(w * (a - b) ** 2 for a, b, w in zip(one, other, weight, strict=True))


def nearest(point: Point, centres: Sequence[Point], weight: Point) -> int:
    return min(range(len(centres)), key=lambda c: (gap(point, centres[c], weight), c))


def mean(points: Sequence[Point]) -> Point:
    return [sum(column) / len(points) for column in zip(*points, strict=True)]


def variance(points: Sequence[Point]) -> Point:
    middle = mean(points)
    return [sum((p[j] - middle[j]) ** 2 for p in points) / len(points) for j in range(len(middle))]


def local_cells(
    points: Sequence[Point], cells: int, min_cohort: int, zscore: bool
) -> tuple[list[int], dict[int, Point], Point, Point]:
    """Cell of each person, centres by cell, deviation and spread of each feature."""
    d = len(points[0])
    spread = variance(points)
    weight = [1 / v if v else 1.0 for v in spread] if zscore else [1.0] * d
    groups, centres = [list(points)], [mean(points)]

    def assigned(at: list[Point]) -> tuple[list[int], list[list[Point]]]:
        codes = [nearest(p, at, weight) for p in points]
        return codes, [
            [p for p, code in zip(points, codes, strict=True) if code == c] for c in range(len(at))
        ]

    def moved(at: list[Point], now: list[list[Point]]) -> list[Point]:
        return [mean(mine) if mine else before for before, mine in zip(at, now, strict=True)]

    rounds = 0
    while 2**rounds < cells:
        rounds += 1
    for _ in range(rounds + 1 if cells > 1 else 0):
        scatters = [[w * v for w, v in zip(weight, variance(g), strict=True)] if g else [0.0] * d
                    for g in groups]  # fmt: skip
        worth = [len(g) * sum(s) for g, s in zip(groups, scatters, strict=True)]
        at = list(centres)
        chosen = [c for c in sorted(range(len(groups)), key=lambda c: -worth[c])
                  if len(groups[c]) >= max(2 * min_cohort, 2)]  # fmt: skip
        for c in chosen[: cells - len(groups)]:
            if worth[c] <= 0:
                continue
            widest = max(scatters[c]) * (1 - 1e-9)
            axis = next(j for j in range(d) if scatters[c][j] >= widest)
            step = 0.8 * sqrt(variance(groups[c])[axis])
            right = list(at[c])
            at[c] = [x - step if j == axis else x for j, x in enumerate(at[c])]
            right[axis] += step
            at.append(right)
        codes, groups = assigned(at)
        centres = moved(at, groups)
    for _ in range(25):
        codes, groups = assigned(centres)
        before, centres = centres, moved(centres, groups)
        if before == centres:
            break
    size = [float(len(g)) for g in groups]
    left = set(range(len(groups)))
    into = list(range(len(groups)))
    while len(left) > 1:
        smallest = min(left, key=lambda c: (size[c], c))
        if size[smallest] >= max(1, min_cohort):
            break
        left.remove(smallest)
        target = min(sorted(left), key=lambda c: gap(centres[c], centres[smallest], weight))
        size[target] += size[smallest]
        into = [target if c == smallest else c for c in into]
    codes = [into[code] for code in codes]
    final = {c: mean([p for p, code in zip(points, codes, strict=True) if code == c]) for c in left}
    around = [
        sum((p[j] - final[code][j]) ** 2 for p, code in zip(points, codes, strict=True))
        / len(points)
        for j in range(d)
    ]
    return codes, final, [sqrt(v) for v in spread], around


def pair_points(
    one: dict[int, Point],
    two: dict[int, Point],
    weights: dict[tuple[int, int], int],
    around: tuple[Point, Point],
) -> tuple[dict[tuple[int, int], Point], Point]:
    """Where the people of each pair of cells are, as if all were jointly Gaussian; and of each
    feature what is left between them and that.  In the tables' units, matrix by matrix."""
    n = sum(weights.values())
    people = [(np.array(one[a]), np.array(two[b]), w) for (a, b), w in weights.items()]
    middle = [sum(w * person[s] for *person, w in people) / n for s in (0, 1)]
    x, y = ({c: np.array(at) - m for c, at in cells.items()}
            for cells, m in zip((one, two), middle, strict=True))  # fmt: skip
    sx = sum(w * np.outer(x[a], x[a]) for (a, _), w in weights.items()) / n
    sy = sum(w * np.outer(y[b], y[b]) for (_, b), w in weights.items()) / n
    cross = sum(w * np.outer(x[a], y[b]) for (a, b), w in weights.items()) / n
    wx, wy = np.diag(around[0]), np.diag(around[1])
    all_x, all_y = sx + wx, sy + wy
    both = all_x @ inv(sx) @ cross @ inv(sy) @ all_y
    roots = sqrtm(all_x), sqrtm(all_y)
    u, found, v = svd(inv(roots[0]) @ both @ inv(roots[1]))
    both = roots[0] @ u[:, : len(found)] @ np.diag([min(0.99, f) for f in found]) @ v @ roots[1]
    ahead, back = both.T @ inv(all_x), both @ inv(all_y)
    gain_x = wx @ ahead.T @ inv(ahead @ wx @ ahead.T + all_y - ahead @ both)
    gain_y = wy @ back.T @ inv(back @ wy @ back.T + all_x - back @ both.T)
    moves = {(a, b): (gain_x @ (y[b] - ahead @ x[a]), gain_y @ (x[a] - back @ y[b]))
             for a, b in weights}  # fmt: skip
    for side in (0, 1):
        for cell in {pair[side] for pair in weights}:
            mine = [pair for pair in weights if pair[side] == cell]
            off = sum(weights[p] * moves[p][side] for p in mine) / sum(weights[p] for p in mine)
            for pair in mine:
                moves[pair] = tuple(m - off if s == side else m for s, m in enumerate(moves[pair]))
    left = []
    for side in (0, 1):
        explained = sum(w * moves[pair][side] ** 2 for pair, w in weights.items()) / n
        left += [max(0.0, a - e) for a, e in zip(around[side], explained, strict=True)]
    at = {(a, b): [*(np.array(one[a]) + moves[a, b][0]), *(np.array(two[b]) + moves[a, b][1])]
          for a, b in weights}  # fmt: skip
    return at, left


def lloyd(
    points: Sequence[Point], people: Sequence[float], init: Sequence[Point], weight: Point
) -> tuple[list[Point], list[int], float]:
    """Weighted, from given centres, until nothing moves."""
    centres, segment = [list(c) for c in init], [-1] * len(points)
    while True:
        now = [nearest(p, centres, weight) for p in points]
        if now == segment:
            inertia = sum(
                n * gap(p, centres[s], weight)
                for p, n, s in zip(points, people, segment, strict=True)
            )
            return centres, segment, inertia
        segment = now
        for c in range(len(centres)):
            mine = [(p, n) for p, n, s in zip(points, people, segment, strict=True) if s == c]
            if total := sum(n for _, n in mine):
                centres[c] = [
                    sum(n * p[j] for p, n in mine) / total for j in range(len(centres[c]))
                ]
