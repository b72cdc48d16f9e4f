"""How large distances become before they are masked, so that nothing wraps.

Who runs it: every party, from the signed offers alone; all come to the same number.
Learns: nobody, anything.
Source: protocols.md section 4 (k-means, vertical, exact) and section 7, formula 6.

With c < k, k·ΣD + c < 2^40, r < 2^22 and e < r the difference of two columns is below 2^62 in
size, so the coordinator reads it from 64 bits with its sign.
"""

from __future__ import annotations

import math

from protocol.errors import Refused

DISTANCE_BITS = 40
FACTOR_BITS = 22  # of r
LEAST_FACTOR_BITS = 8
MAX_CLUSTERS = 64


def unit(k: int, parties: int, largest: float) -> float:
    """u: integer steps per unit of squared distance.

    largest: D_max, which no squared distance over all features exceeds.  Of all u up to
    (⌊2^40/k⌋ - P - 2)/D_max the largest power of two: distances between whole numbers then stay
    whole numbers, and people who are as near to two centres at several parties together are so
    after rounding too.
    """
    if not 1 <= k <= MAX_CLUSTERS or parties < 2 or not largest >= 0:
        raise ValueError("exact k-means has 1 to 64 clusters, two parties, and bounds")
    if largest == 0:
        return 1.0
    most = ((1 << DISTANCE_BITS) // k - parties - 2) / largest
    if not 1e-280 < most < 1e280:
        raise Refused(
            "unfit_column",
            "the bounds of the features are too wide or too narrow to compare distances",
            stage="admit",
            next_step="declare bounds nearer to what the columns hold",
        )
    return math.ldexp(1.0, math.frexp(most)[1] - 1)
