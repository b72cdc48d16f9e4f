"""Subject tokens by number, and what the log says of each: arrays instead of people.

Who runs it: every node, over its replica.  Learns: the party, its own records.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from consent.purposes import NO_RECORD
from consent.records import RecordBatch, Scope

U8 = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int32]
Cell = tuple[str, str, str]  # purpose, recipient, category


class SubjectIndex:
    """The different tokens of a set, each with a number from 0."""

    def __init__(self, tokens: U8) -> None:
        """tokens: uint8[n, 32], repetitions allowed."""
        self._rows, _ = _sorted_distinct(tokens)
        self._prefixes = _prefix(self._rows)

    @classmethod
    def numbering(cls, tokens: U8) -> tuple[Self, Codes]:
        """The index of `tokens` and the number of each of them, int32[n]."""
        made = cls.__new__(cls)
        made._rows, codes = _sorted_distinct(tokens)
        made._prefixes = _prefix(made._rows)
        return made, codes

    def __len__(self) -> int:
        return len(self._rows)

    def tokens(self, codes: npt.NDArray[np.integer]) -> U8:
        """uint8[n, 32]: the tokens with these numbers."""
        found: U8 = self._rows[codes]
        return found

    def find(self, tokens: U8) -> Codes:
        """int32[n]: the number of each token, -1 for one that is not in the set."""
        tokens = np.ascontiguousarray(tokens)
        codes = np.full(len(tokens), -1, dtype=np.int32)
        if not len(self._rows):
            return codes
        wanted = _prefix(tokens)
        place = np.searchsorted(self._prefixes, wanted)
        open_ = np.arange(len(tokens))
        while len(open_):  # once, and once more per token that shares its 8 bytes with another
            inside = place[open_] < len(self._rows)
            open_ = open_[inside]
            open_ = open_[self._prefixes[place[open_]] == wanted[open_]]
            same = (self._rows[place[open_]] == tokens[open_]).all(axis=1)
            codes[open_[same]] = place[open_[same]]
            open_ = open_[~same]
            place[open_] += 1
        return codes


def _sorted_distinct(tokens: U8) -> tuple[U8, Codes]:
    """The different rows, sorted by their first 8 bytes, and the place of each row in them."""
    rows = np.ascontiguousarray(tokens)
    order = np.argsort(_prefix(rows), kind="stable")
    if _has_split_runs(rows[order]):
        # Two different tokens share 8 bytes (once in 10^7 tables of 10^6 people): sort by all.
        order = np.lexsort(rows.view("<u8").T[::-1])
    rows = rows[order]
    fresh = np.ones(len(rows), dtype=bool)
    fresh[1:] = (rows[1:] != rows[:-1]).any(axis=1)
    codes = np.empty(len(rows), dtype=np.int32)
    codes[order] = np.cumsum(fresh, dtype=np.int32) - 1
    return rows[fresh], codes


def _prefix(rows: U8) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(rows[:, :8]).view("<u8").ravel()


def _has_split_runs(rows: U8) -> bool:
    """Whether rows with equal prefixes differ; rows are sorted by prefix."""
    prefix = _prefix(rows)
    same = np.flatnonzero(prefix[1:] == prefix[:-1])
    return bool((rows[same] != rows[same + 1]).any())


class Events:
    """The log's events about the subjects of one index, in order; grows with the log."""

    def __init__(self, subjects: SubjectIndex) -> None:
        self._subjects = subjects
        self._scopes: dict[Scope, int] = {}
        self._codes: list[Codes] = []
        self._scope_codes: list[Codes] = []
        self._states: list[U8] = []

    def add(self, batch: RecordBatch) -> set[Scope]:
        """Adds the events about known subjects; returns the scopes of what was added."""
        codes = self._subjects.find(batch.subjects)
        known = codes >= 0
        if not known.any():
            return set()
        numbers = np.array(
            [self._scopes.setdefault(scope, len(self._scopes)) for scope in batch.scopes],
            dtype=np.int32,
        )
        local = batch.scope_codes[known]
        self._codes.append(codes[known])
        self._scope_codes.append(numbers[local])
        self._states.append(batch.states[known])
        return {batch.scopes[code] for code in np.unique(local)}

    @property
    def scopes(self) -> tuple[Scope, ...]:
        return tuple(self._scopes)

    def states(self, cell: Cell) -> U8:
        """uint8[subjects + 1]: the last state said of the cell, 0 where none; the last is 0.

        The extra place is what -1, "no subject", reads.
        """
        states = np.full(len(self._subjects) + 1, NO_RECORD, dtype=np.uint8)
        relevant = np.array([scope.covers(*cell) for scope in self._scopes], dtype=bool)
        if not relevant.any():
            return states
        for codes, scopes, said in zip(self._codes, self._scope_codes, self._states, strict=True):
            about = relevant[scopes]
            # With a repeated index numpy keeps the last value, which is the later event.
            states[codes[about]] = said[about]
        return states
