"""The opened outputs of a cross-tab: noisy, not yet through the release rules.

Who holds it: A's node, in memory only; `protocol.release.rules` is its only reader.
Learns: A the table under B's noise (protocols.md section 2, step 7).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

Cells = npt.NDArray[np.int64]


@dataclass(frozen=True)
class NoisyTotals:
    """overlap: people in common.  The tables are int64[row values, column values].

    sums: per attribute Σ(v - mid) over the cell, in v·10^decimals.
    own_counts: per nullable attribute, the people of the cell who have a value.
    count is empty (0, 0) for an overlap-only job.
    """

    overlap: int
    count: Cells
    sums: Mapping[str, Cells] = field(default_factory=dict)
    own_counts: Mapping[str, Cells] = field(default_factory=dict)

    def __repr__(self) -> str:  # unreleased numbers never reach a log by accident
        return f"NoisyTotals(cells={self.count.shape})"
