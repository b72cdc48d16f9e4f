"""Where k-means begins when nobody says: far apart inside the bounds, never on data.

Who runs it: the requester.  Learns: nobody, anything.
Source: protocols.md section 4; Su et al. 2016 (spread starts for private k-means).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

DRAWS = 32
Floats = npt.NDArray[np.float64]


def spread_starts(k: int, d: int, random: np.random.Generator) -> Floats:
    """float64[k, d] in [-1, 1]: of some draws the one whose closest two points are farthest."""
    best, widest = np.zeros((k, d)), -1.0
    for _ in range(DRAWS):
        drawn = random.uniform(-1.0, 1.0, (k, d))
        gaps = ((drawn[:, None] - drawn[None]) ** 2).sum(axis=2)
        gaps[np.arange(k), np.arange(k)] = np.inf
        if gaps.min() > widest:
            best, widest = drawn, float(gaps.min())
    return best
