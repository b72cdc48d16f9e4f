"""Which pseudonyms the rows of a party's table carry.

Who runs it: every node, once per table, for its consent gate.
Learns: the party, about its own rows; nothing here leaves it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from consent.gate import RowSubjects
from consent.pseudonyms import Pseudonyms
from consent.subjects import SubjectIndex

# Rows that have an identifier of a type, and uint8[n, 32]: their tokens.
Tokens = tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]


class Identifiers(Protocol):
    """What the gate needs of `party_node.dataset.Dataset`."""

    @property
    def rows(self) -> int: ...

    def all_identifiers(self, kind: str) -> pa.StringArray:
        """Canonical identifiers of every row, ambiguous ones too, null where there is none."""
        ...


def tokens_of(pseudonyms: Pseudonyms, kind: str, identifiers: Identifiers) -> Tokens:
    ids = identifiers.all_identifiers(kind)
    valid = pc.is_valid(ids)
    rows = np.flatnonzero(valid.to_numpy(zero_copy_only=False))
    return rows, pseudonyms.tokens(kind, ids.filter(valid) if ids.null_count else ids)


def row_subjects(tokens: Mapping[str, Tokens], rows: int) -> RowSubjects:
    every = [found for _, found in tokens.values()]
    whole = every[0] if len(every) == 1 else np.concatenate(every)
    index, codes = SubjectIndex.numbering(whole)
    columns = []
    start = 0
    for places, found in tokens.values():
        column = np.full(rows, -1, dtype=np.int32)
        column[places] = codes[start : start + len(found)]
        start += len(found)
        columns.append(column)
    return RowSubjects(index, tuple(columns), rows)
