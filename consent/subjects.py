"""Subject tokens by number: arrays instead of people.

Who runs it: every node, over its replica.  Learns: the party, its own records.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import numpy.typing as npt

from protocol.encoding import chunk_ranges

U8 = npt.NDArray[np.uint8]
Codes = npt.NDArray[np.int32]
Cell = tuple[str, str, str]  # purpose, recipient, category
_ROWS = 1 << 18  # looked for at once: three copies of their tokens are made


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

    @property
    def prefixes(self) -> npt.NDArray[np.uint64]:
        """uint64[n]: the first eight bytes of each token, by its number."""
        return self._prefixes

    def tokens(self, codes: npt.NDArray[np.integer]) -> U8:
        """uint8[n, 32]: the tokens with these numbers."""
        found: U8 = self._rows[codes]
        return found

    def find(self, tokens: U8) -> Codes:
        """int32[n]: the number of each token, -1 for one that is not in the set."""
        codes = np.full(len(tokens), -1, dtype=np.int32)
        for a, b in chunk_ranges(len(tokens) if len(self) else 0, _ROWS):
            self._look(np.ascontiguousarray(tokens[a:b]), codes[a:b])
        return codes

    def _look(self, tokens: U8, codes: Codes) -> None:
        """Writes what `find` returns over the -1 of `codes`."""
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


def _sorted_distinct(tokens: U8) -> tuple[U8, Codes]:
    """The different rows, sorted by their first 8 bytes, and the place of each row in them."""
    rows = np.ascontiguousarray(tokens)
    order = np.argsort(_prefix(rows), kind="stable")
    ordered = rows[order]
    if _has_split_runs(ordered):
        # Two different tokens share 8 bytes (once in 10^7 tables of 10^6 people): sort by all.
        order = np.lexsort(rows.view("<u8").T[::-1])
        ordered = rows[order]
    words = ordered.view("<u8")
    fresh = np.ones(len(rows), dtype=bool)
    fresh[1:] = False
    for word in words.T:  # one at a time: of whole rows a table of truths would be as large
        fresh[1:] |= word[1:] != word[:-1]
    codes = np.empty(len(rows), dtype=np.int32)
    codes[order] = np.cumsum(fresh, dtype=np.int32) - 1
    return ordered if fresh.all() else ordered[fresh], codes


def _prefix(rows: U8) -> npt.NDArray[np.uint64]:
    return np.ascontiguousarray(rows[:, :8]).view("<u8").ravel()


def _has_split_runs(rows: U8) -> bool:
    """Whether rows with equal prefixes differ; rows are sorted by prefix."""
    prefix = _prefix(rows)
    same = np.flatnonzero(prefix[1:] == prefix[:-1])
    return bool((rows[same] != rows[same + 1]).any())
