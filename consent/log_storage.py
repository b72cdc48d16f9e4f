"""What the log needs of a database: two ports, one for the tree and one for openings.

Who runs it: the consent service; `consent.log_sql` implements both over SQLite and PostgreSQL.
Learns: the tree's store holds what a reader of the log may see; the openings' store holds
bodies, and is the only place from which a person's data must be erased.

The two are separate databases, so that nothing erasable ever touches the one that may never
change.  They share no transaction: openings are committed first, under the lock of the tree's
transaction, and openings beyond the tree's size are leftovers of a crash.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from consent.leaf import Event, Opening
from consent.tiles import Tiles


@dataclass(frozen=True)
class StoredHead:
    """Size and root of the integrated tree.  epoch: which opening of the log may write."""

    size: int
    root: bytes
    epoch: int


@dataclass(frozen=True)
class Above:
    """What was written after a tree was signed, read back.

    edge: the tiles which that tree had not filled, and all to their right: what was appended to
    it changed no others.
    """

    head: StoredHead
    entries: list[bytes]
    edge: Tiles


class LogTransaction(Protocol):
    """Holds the log's write lock; everything in it becomes durable at once or not at all."""

    head: StoredHead

    def add(self, entries: Sequence[bytes], tiles: Tiles, size: int, root: bytes) -> None:
        """Appends `entries`, replaces the changed `tiles` and the head."""

    def put_checkpoint(self, size: int, note: str) -> None:
        """Keeps the note of this size; again with the same size: with newer cosignatures."""


class LogStorage(Protocol):
    """The tree of one log."""

    def take_over(self) -> StoredHead:
        """The head under a new epoch: writers of older epochs can write no more."""

    def writing(self, epoch: int) -> AbstractContextManager[LogTransaction]:
        """Raises Failed('second_writer') when `epoch` is not the newest."""

    def head(self) -> StoredHead: ...

    def entries(self, start: int, end: int) -> list[bytes]: ...

    def tile(self, level: int, index: int) -> bytes:
        """All hashes that the tile has now; empty when there is none."""

    def above(self, size: int) -> Above:
        """What the disk has beyond the tree of `size`."""

    def tiles(self) -> Iterator[tuple[int, int, bytes]]: ...

    def checkpoint(self) -> str | None:
        """The note of the largest size."""

    def checkpoint_between(self, above: int, most: int) -> tuple[int, str] | None:
        """(size, note) of the largest size over `above` and up to `most`; None without one."""

    def checkpoints(self) -> Iterator[tuple[int, str]]:
        """(size, note) in ascending order of size."""

    def faults(self) -> list[str]:
        """What is wrong with the database itself, in words; for `consent.log_check`."""


@dataclass(frozen=True)
class StoredOpening:
    """index: of the leaf.  opening and subject: None once erased."""

    index: int
    id: bytes
    subject: bytes | None
    opening: Opening | None


class Openings(Protocol):
    """Salts and bodies of one log's leaves, erasable."""

    def add(self, first: int, events: Sequence[Event], salts: bytes) -> None:
        """Of leaves `first`, `first + 1`, …; durable on return.

        Forgets what was there from `first` on.  Only for the holder of the log's write lock.
        """

    def find(self, ids: Sequence[bytes]) -> Mapping[bytes, StoredOpening]: ...

    def read(self, start: int, end: int) -> list[StoredOpening]: ...

    def of_subject(self, subject: bytes) -> list[int]: ...

    def of_subjects(self, subjects: Sequence[bytes]) -> list[StoredOpening]:
        """Of all these, in the order of the log."""
        ...

    def faults(self) -> list[str]:
        """What is wrong with the database itself, in words."""

    def erase(self, indexes: Sequence[int]) -> None:
        """No byte of salt, body or subject is left in any file on return."""
