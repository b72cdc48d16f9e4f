"""Checks what the consent service sends before a byte of it counts: entries, openings, root.

Who runs it: every node's replica.  Pure.  Learns: the party, its own records.

The party is in clear in every leaf, so that a withheld opening is noticed: a leaf that nobody
can open, and that no later entry of the same stretch lists as erased, fails closed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from consent.body import batch_of
from consent.errors import NoteError, ProofError
from consent.leaf import (
    CONSENT,
    ERASED,
    MIGRATED,
    SALT_BYTES,
    Leaf,
    Opening,
    check_opening,
    commit,
    parse_leaf,
    read_body,
)
from consent.merkle import CompactRange, hash_leaf
from consent.policy import CheckedCheckpoint, Policy, check_checkpoint
from consent.port import ReplicaPage
from consent.records import RecordBatch
from protocol.errors import ProtocolViolation

# Canonical JSON sorts its keys, so the commitment stands first: what is around it is the same
# for all events of one party and minute.
_BEFORE = b'{"commitment":"'
_AROUND = slice(len(_BEFORE), len(_BEFORE) + 64)


@dataclass(frozen=True)
class CheckedPage:
    """A page whose openings fit its leaves.

    batch: its records.  indexes: int64[len(batch)], the log index of each.  erased: indexes
    that an entry of this page lists as erased.
    """

    first: int
    entries: int
    batch: RecordBatch
    indexes: npt.NDArray[np.int64]
    erased: tuple[int, ...]

    def without(self, erased: npt.NDArray[np.int64]) -> CheckedPage:
        """Without the records at these indexes, whose openings were still on their way."""
        kept = np.flatnonzero(~np.isin(self.indexes, erased))
        if len(kept) == len(self.indexes):
            return self
        return replace(self, batch=self.batch.take(kept), indexes=self.indexes[kept])


@dataclass
class Stretch:
    """The pages since the last verified head, and the tree so far."""

    party: str
    tree: CompactRange
    time: str = ""
    missing: set[int] = field(default_factory=set)
    erased: set[int] = field(default_factory=set)

    def add(self, page: ReplicaPage) -> CheckedPage:
        """Raises ProtocolViolation for a gap and for anything that does not fit together."""
        if page.first != self.tree.size:
            raise self._bad("consent_gap", "the consent service left out or repeated entries")
        bodies, indexes, erased = [], [], list[int]()
        around: tuple[bytes, bytes, Leaf] | None = None
        for place, entry in enumerate(page.entries, start=page.first):
            data, opening = entry.leaf, entry.opening
            head, rest = data[: _AROUND.start], data[_AROUND.stop :]
            if around is None or around[:2] != (head, rest):
                around = (head, rest, self._leaf(data, place))
                known = None
            else:
                known = data[_AROUND]
            leaf = around[2]
            if opening is None:
                self.missing.add(place)
            elif known is None:
                self._check(leaf, opening, place)
            elif len(opening.salt) != SALT_BYTES or (
                commit(opening.salt, opening.body).hex().encode() != known
            ):
                raise self._wrong_opening(place)
            if opening is None:
                continue
            if leaf.type == CONSENT:
                bodies.append(opening.body)
                indexes.append(place)
            elif leaf.type == ERASED:
                erased += self._erased(opening, place)
        self.tree.extend(hash_leaf(entry.leaf) for entry in page.entries)
        self.erased.update(erased)
        return CheckedPage(
            page.first,
            len(page.entries),
            batch_of(bodies),
            np.array(indexes, np.int64),
            tuple(erased),
        )

    def close(self, note: str, policy: Policy, origin: str) -> CheckedCheckpoint:
        """The checkpoint that covers all pages added; nothing may be missing now."""
        try:
            checked = check_checkpoint(note, policy, origin)
        except NoteError as error:
            raise self._bad("consent_checkpoint", error.info.cause) from error
        head = checked.checkpoint
        if head.size < self.tree.size:
            raise self._bad("consent_rollback", "the consent log is shorter than it was")
        if head.size > self.tree.size:
            raise self._bad("consent_gap", "the consent service left out entries")
        if head.root != self.tree.root():
            raise self._bad(
                "consent_inconsistent",
                "the consent log does not continue the one that this node has verified",
            )
        if self.missing - self.erased:
            raise self._bad(
                "consent_opening_missing",
                f"the content of entry {min(self.missing - self.erased)} is missing and not "
                "listed as erased",
            )
        return checked

    def _leaf(self, data: bytes, place: int) -> Leaf:
        try:
            leaf = parse_leaf(data)
        except ProofError as error:
            raise self._bad("consent_entry", f"entry {place}: {error.info.cause}") from error
        if leaf.party != self.party or leaf.type not in (CONSENT, ERASED, MIGRATED):
            raise self._bad("consent_entry", f"entry {place} does not belong in this log")
        if leaf.time < self.time:
            raise self._bad("consent_entry", f"entry {place} is dated before the one above it")
        self.time = leaf.time
        return leaf

    def _check(self, leaf: Leaf, opening: Opening, place: int) -> None:
        try:
            check_opening(leaf, opening)
        except ProofError as error:
            raise self._wrong_opening(place) from error

    def _wrong_opening(self, place: int) -> ProtocolViolation:
        return self._bad("consent_opening_wrong", f"entry {place} is opened with another content")

    def _erased(self, opening: Opening, place: int) -> Sequence[int]:
        said = read_body(opening.body).get("indexes")
        if not isinstance(said, list) or any(
            type(index) is not int or not 0 <= index < place for index in said
        ):
            raise self._bad("consent_entry", f"entry {place} erases what cannot be erased")
        return said

    def _bad(self, code: str, cause: str) -> ProtocolViolation:
        return ProtocolViolation(
            code,
            cause,
            party=self.party,
            stage="consent",
            next_step="ask the operator of the consent service; what was sent is kept as evidence",
        )
