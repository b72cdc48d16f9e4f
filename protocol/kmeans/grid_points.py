"""Where the people of two cells are: the points of the grid, moved by what the table says.

Who runs it: the requester, on the opened cross-tab, after both parties' noise.
Learns: nothing more; it reads the counts, centres and spreads that the requester has already.
Source: conditional means of a joint Gaussian (Anderson, An Introduction to Multivariate
Statistical Analysis, 2.5); protocols.md section 4.

A point at the two centres says that within a cell nothing goes with what the other party knows.
Where features of both are correlated that is wrong: of the people of a cell, those who lie in a
high cell of the other party lie higher in this one as well.  How strongly features go together is
seen in the table, across cells; each point moves by as much as that explains of the spread
within its cell.  The mean of a cell stays what it is.
"""

from __future__ import annotations

import numpy as np

from protocol.kmeans.points import Floats

_MOST = 0.99  # a canonical correlation; noise can make it larger than one
_LEAST = 1e-3  # of the largest variance of a direction: less is rounding


def moved(
    centres: tuple[Floats, Floats],
    deviation: tuple[Floats, Floats],
    spread: tuple[Floats, Floats],
    people: Floats,
) -> tuple[Floats, Floats]:
    """float64[rows, columns, d] per side: how far from its cell's centre each pair's people are.

    Per side: centres float64[cells, d], of unused cells any number; deviation and spread
    float64[d].  people: float64[rows, columns].
    """
    total = float(people.sum())
    if total <= 0:
        return (np.zeros((*people.shape, centres[0].shape[1])),
                np.zeros((*people.shape, centres[1].shape[1])))  # fmt: skip
    units = [np.where(d > 0, d, 1.0) for d in deviation]
    share = people / total
    own = [share.sum(axis=1), share.sum(axis=0)]
    x, y = ((c - p @ c) / u for c, p, u in zip(centres, own, units, strict=True))
    within_x, within_y = (np.diag(s / u**2) for s, u in zip(spread, units, strict=True))
    between_x, between_y = (x.T * own[0]) @ x, (y.T * own[1]) @ y
    # Centres of cells vary less than people, by what is within cells; so does what they share.
    root_x, root_y = _root(between_x + within_x), _root(between_y + within_y)
    shared = root_x @ _inverse(between_x) @ (x.T @ share @ y) @ _inverse(between_y) @ root_y
    left, correlation, right = np.linalg.svd(shared, full_matrices=False)
    shared = (left * np.minimum(correlation, _MOST)) @ right
    of_rows = _moved(x, y, within_x, shared, root_x, root_y)
    of_columns = _moved(y, x, within_y, shared.T, root_y, root_x).transpose(1, 0, 2)
    in_rows, in_columns = _mean(of_rows, people, 1), _mean(of_columns, people, 0)
    return (of_rows - in_rows[:, None]) * units[0], (of_columns - in_columns[None]) * units[1]


def _moved(
    x: Floats, y: Floats, within: Floats, shared: Floats, root_x: Floats, root_y: Floats
) -> Floats:
    """float64[cells of x, cells of y, d]: x of the people in a cell, given the other's centre."""
    slope = root_y @ shared.T @ _inverse(root_x)  # of y on x
    rest = root_y @ (np.eye(len(root_y)) - shared.T @ shared) @ root_y
    gain = within @ slope.T @ _inverse(slope @ within @ slope.T + rest)
    surprise = y[None] - (x @ slope.T)[:, None]
    found: Floats = surprise @ gain.T
    return found


def _mean(values: Floats, people: Floats, axis: int) -> Floats:
    counted = np.maximum(people.sum(axis=axis), 1e-300)
    return np.asarray((values * people[..., None]).sum(axis=axis) / counted[:, None])


def _root(matrix: Floats) -> Floats:
    """Symmetric square root of a covariance."""
    values, vectors = np.linalg.eigh(matrix)
    found: Floats = (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T
    return found


def _inverse(matrix: Floats) -> Floats:
    """Of a covariance or its root, in the directions in which anything varies."""
    return np.asarray(np.linalg.pinv(matrix, rcond=_LEAST, hermitian=True), dtype=np.float64)
