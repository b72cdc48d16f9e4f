"""The type that passes the gate: rows whose people permit this job at this party.

Made by `party_node.gates` only (an architecture test says so).  The matching and
encrypting functions accept nothing else, so the consent gate cannot be skipped.
Everything is columnar; `n` is the number of eligible rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa


@dataclass(frozen=True)
class Number:
    """A numeric attribute as fixed-point integers, already clipped to its bounds.

    values: int64[n], v·10^decimals (0 where null); null: bool[n].
    lo, hi: the bounds in the same units.
    """

    values: npt.NDArray[np.int64]
    null: npt.NDArray[np.bool_]
    lo: int
    hi: int
    decimals: int


@dataclass(frozen=True)
class EligibleRows:
    """What one job may use of one party's table.

    index: int64[n], row number in the table from 0, ascending.
    identifiers: type → pyarrow string array of n canonical identifiers, null where the
        identifier is missing, unparsable or ambiguous over the whole table.
    labels: attribute → int32[n] code into the attribute's vocabulary (flags: 0 or 1).
    numbers: attribute → Number.
    """

    index: npt.NDArray[np.int64]
    identifiers: Mapping[str, pa.StringArray]
    labels: Mapping[str, npt.NDArray[np.int32]] = field(default_factory=dict)
    numbers: Mapping[str, Number] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.index)

    def __repr__(self) -> str:  # rows never reach a log by accident
        return f"EligibleRows(n={len(self)})"
