"""From an address or a token to the rows of the table that it names, and their tokens.

Who runs it: every node, for the portal's questions.  Learns: the party, about its own rows.

Whoever proves to hold an address speaks for the row that has it, so for that row's other
identifiers too, but only where each of them names this one row: a phone number that two
customers share must not let one speak for the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from consent.gate import RowSubjects
from consent.pseudonyms import Pseudonyms
from consent.records import SUBJECT_BYTES, U8

Rows = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Found:
    """subjects: tokens that this person speaks for.  rows: ascending; none: not in the table,
    where the token may still be one that something is kept of."""

    subjects: tuple[bytes, ...]
    rows: Rows

    @property
    def shared(self) -> bool:
        """The address stands in several rows: which one is this person's is not known."""
        return len(self.rows) > 1

    def __repr__(self) -> str:
        return f"Found(known={bool(len(self.rows))})"


NOBODY = Found((), np.zeros(0, np.int64))


@dataclass(frozen=True)
class PersonLookup:
    """pseudonyms: of this party's log.  subjects: which tokens each row carries."""

    pseudonyms: Pseudonyms
    subjects: RowSubjects

    def of_address(self, kind: str, canonical: str) -> Found:
        made = self.pseudonyms.tokens(kind, pa.array([canonical], type=pa.string()))
        return self.of_subject(made[0].tobytes())

    def of_subject(self, subject: bytes) -> Found:
        code = self._code(subject)
        if code < 0:
            return Found((subject,), NOBODY.rows)
        rows = self._rows(code)
        if len(rows) != 1:
            return Found((subject,), rows)
        others = [int(column[rows[0]]) for column in self.subjects.columns]
        codes = [c for c in others if c >= 0 and c != code and len(self._rows(c)) == 1]
        tokens = self.subjects.index.tokens(np.array(codes, dtype=np.int64))
        return Found((subject, *(token.tobytes() for token in tokens)), rows)

    def with_others(self, subjects: U8) -> U8:
        """uint8[n, 32]: these tokens, and all that each of these people speaks for, as
        `of_subject` finds them one by one."""
        index, columns = self.subjects.index, self.subjects.columns
        rows_of = sum(np.bincount(c[c >= 0], minlength=len(index)) for c in columns)
        alone = np.append(rows_of == 1, False)  # the last is of -1
        asked = index.find(subjects)
        asked = asked[alone[asked]]
        rows = self.subjects.with_any(asked)
        theirs = np.unique(np.concatenate([column[rows] for column in columns]))
        theirs = np.setdiff1d(theirs[alone[theirs]], asked)
        return np.concatenate([subjects, index.tokens(theirs.astype(np.int64))])

    def rows_of(self, subjects: Sequence[bytes]) -> Rows:
        """Every row that carries one of the tokens, ascending."""
        codes = [code for subject in subjects if (code := self._code(subject)) >= 0]
        return np.unique(np.concatenate([NOBODY.rows, *map(self._rows, codes)]))

    def _code(self, subject: bytes) -> int:
        token = np.frombuffer(subject, np.uint8).reshape(1, SUBJECT_BYTES)
        return int(self.subjects.index.find(token)[0])

    def _rows(self, code: int) -> Rows:
        hit = np.zeros(self.subjects.rows, dtype=bool)
        for column in self.subjects.columns:
            hit |= column == code
        return np.flatnonzero(hit).astype(np.int64)
