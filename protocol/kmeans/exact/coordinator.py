"""The coordinator's part: of each anonymous row the column with the smallest sum.

Who runs it: H.  Learns: per row k-2 ratios of differences of distances, in an order of columns
that it does not know, and their size within a factor of 2^14; which rows of two iterations may
be one, once centres hardly move.  No distance, cluster, feature, person or number of people.
Source: protocols.md section 4 (k-means, vertical, exact).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protocol.kmeans.exact.secrets import BLOCK, Places, Words


def nearest(uploads: Sequence[Words]) -> npt.NDArray[np.uint8]:
    """uint8[rows]: position of the smallest V_j - V_0, read with its sign.

    uploads: per party uint64[rows, k], arrays or memory maps.
    """
    rows, k = uploads[0].shape
    found = np.zeros(rows, dtype=np.uint8)
    for start in range(0, rows, BLOCK):
        total = np.zeros((min(BLOCK, rows - start), k), dtype=np.uint64)
        for one in uploads:
            total += one[start : start + BLOCK]
        found[start : start + BLOCK] = (total - total[:, :1]).view(np.int64).argmin(axis=1)
    return found


def numbered(common: Sequence[Places], seed: bytes) -> list[Places]:
    """Per party int64[handles]: the numbers of common handles, shuffled.  Unshuffled ones would
    say on which identifier a person was found.

    common: as `protocol.psi.join.common_handles` found them.  seed: 32 fresh random bytes.
    """
    count = 1 + max(int(numbers.max(initial=-1)) for numbers in common)
    drawn = hashlib.shake_256(b"assent/kmeans-exact/places/v1" + seed).digest(8 * count)
    shuffled = np.append(np.argsort(np.frombuffer(drawn, dtype="<u8"), kind="stable"), -1)
    return [shuffled[numbers] for numbers in common]
