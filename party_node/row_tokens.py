"""From the rows of a table to the subject tokens that they carry.

Who runs it: every node, once at start.  Learns: the party, about its own rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consent.gate import RowSubjects
from consent.pseudonyms import Pseudonyms
from consent.subjects import SubjectIndex
from protocol.secret import Secret


class Identifiers(Protocol):
    """What the gate needs of `party_node.dataset.Dataset`."""

    @property
    def rows(self) -> int: ...

    def all_identifiers(self, kind: str) -> pa.StringArray:
        """Canonical identifiers of every row, ambiguous ones too, null where there is none."""
        ...


def tokens_of(
    pseudonyms: Pseudonyms, kind: str, identifiers: Identifiers
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    ids = identifiers.all_identifiers(kind)
    valid = pc.is_valid(ids)
    rows = np.flatnonzero(valid.to_numpy(zero_copy_only=False))
    return rows, pseudonyms.tokens(kind, ids.filter(valid))


def row_subjects(
    tokens: Mapping[str, tuple[npt.NDArray[np.int64], npt.NDArray[np.uint8]]], rows: int
) -> RowSubjects:
    index, codes = SubjectIndex.numbering(np.concatenate([found for _, found in tokens.values()]))
    columns = []
    start = 0
    for places, found in tokens.values():
        column = np.full(rows, -1, dtype=np.int32)
        column[places] = codes[start : start + len(found)]
        start += len(found)
        columns.append(column)
    return RowSubjects(index, tuple(columns), rows)


def derive(key: Secret, info: bytes) -> bytes:
    return HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(key.reveal())
