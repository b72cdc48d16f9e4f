"""Consent records as columns: one event = one pseudonym, what it is about, what it says.

Who runs it: a party makes batches and sends them to the consent service; the service
stores them; the party's own replica reads them back.  Nothing here is a person's identifier.
Learns: whoever holds a batch learns which pseudonyms permit or refuse which uses, and when.

Fields after ISO/IEC TS 27560:2023 (docs: consent.md, "Record"), those that the gate needs now.
A batch is columnar because a party imports a million records at a time; `Scope` is the
dictionary-encoded part that a million records share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
import numpy.typing as npt

from consent.purposes import CATEGORIES, CHANNELS, EVERY_RECIPIENT, PURPOSES, WILDCARD_STATES, State
from protocol.errors import ProtocolViolation

U8 = npt.NDArray[np.uint8]
ID_BYTES = 16
SUBJECT_BYTES = 32
MAX_NAME = 64  # characters of a party's name
# A message of about 1 MB: under gRPC's default limit, and a transaction of some 50 ms.
BATCH_ROWS = 16_384


@dataclass(frozen=True, order=True)
class Scope:
    """What a record speaks about: every combination of purpose, recipient and category.

    Words are checked and sorted when it is made, so that equal scopes are equal values.
    """

    purposes: tuple[str, ...]
    recipients: tuple[str, ...]
    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        known_words = {"purposes": PURPOSES, "recipients": None, "categories": CATEGORIES}
        for field, known in known_words.items():
            words = tuple(sorted(set(getattr(self, field))))
            if not words:
                raise _bad(f"a consent scope without {field}")
            for word in words:
                if word not in known if known is not None else not 0 < len(word) <= MAX_NAME:
                    raise _bad(f"{word!r} is not one of the {field} of consent records")
            object.__setattr__(self, field, words)

    def covers(self, purpose: str, recipient: str, category: str) -> bool:
        return (
            purpose in self.purposes
            and category in self.categories
            and (recipient in self.recipients or EVERY_RECIPIENT in self.recipients)
        )

    def cells(self) -> Iterator[tuple[str, str, str]]:
        """Its (purpose, recipient, category) combinations."""
        for purpose in self.purposes:
            for recipient in self.recipients:
                for category in self.categories:
                    yield purpose, recipient, category


@dataclass(frozen=True)
class RecordBatch:
    """n events in the order in which they hold; row i of each column is event i.

    record_ids: uint8[n, 16], UUIDv7.       subjects: uint8[n, 32], see consent.pseudonyms.
    key_versions: uint16[n].                scope_codes: uint32[n] into `scopes`.
    states: uint8[n], `State` values.       times_ms: int64[n] since 1970.
    channels: uint8[n], codes of `CHANNELS`.
    Shapes, words and codes are checked when it is made (ProtocolViolation 'bad_record').
    """

    scopes: tuple[Scope, ...]
    record_ids: U8
    subjects: U8
    key_versions: npt.NDArray[np.uint16]
    scope_codes: npt.NDArray[np.uint32]
    states: U8
    times_ms: npt.NDArray[np.int64]
    channels: U8

    def __post_init__(self) -> None:
        n = len(self.states)
        for name, dtype, shape in (
            ("record_ids", np.uint8, (n, ID_BYTES)),
            ("subjects", np.uint8, (n, SUBJECT_BYTES)),
            ("key_versions", np.uint16, (n,)),
            ("scope_codes", np.uint32, (n,)),
            ("states", np.uint8, (n,)),
            ("times_ms", np.int64, (n,)),
            ("channels", np.uint8, (n,)),
        ):
            column = getattr(self, name)
            if column.shape != shape or column.dtype != dtype:
                raise _bad(f"column {name} is {column.dtype}{list(column.shape)}")
        if n == 0:
            return
        if int(self.scope_codes.max()) >= len(self.scopes):
            raise _bad("a record names a scope that the batch does not have")
        if int(self.states.min()) < min(State) or int(self.states.max()) > max(State):
            raise _bad("a record has a state that is not one of the known ones")
        if int(self.channels.min()) < 1 or int(self.channels.max()) > len(CHANNELS):
            raise _bad("a record has an unknown channel")
        if not ((self.record_ids[:, 6] >> 4 == 7) & (self.record_ids[:, 8] >> 6 == 2)).all():
            raise _bad("a record id is not a UUIDv7")
        if int(self.times_ms.min()) < 0:
            raise _bad("a record is older than 1970")
        # A permit is always for named recipients (one consent per recipient, PIPL art. 23);
        # "everybody" exists only so that saying no to all cannot miss one.
        wild = np.array([EVERY_RECIPIENT in scope.recipients for scope in self.scopes], dtype=bool)
        if wild.any():
            denying = np.isin(self.states, [int(state) for state in WILDCARD_STATES])
            if (wild[self.scope_codes] & ~denying).any():
                raise _bad("only a refusal or withdrawal may be about every recipient")

    def __len__(self) -> int:
        return len(self.states)

    def __repr__(self) -> str:  # pseudonyms stay out of logs
        return f"RecordBatch(n={len(self)}, scopes={len(self.scopes)})"

    def take(self, rows: npt.NDArray[np.intp] | slice) -> Self:
        """The events at `rows`, with all scopes."""
        return type(self)(
            self.scopes,
            self.record_ids[rows],
            self.subjects[rows],
            self.key_versions[rows],
            self.scope_codes[rows],
            self.states[rows],
            self.times_ms[rows],
            self.channels[rows],
        )

    def pieces(self, rows: int = BATCH_ROWS) -> Iterator[Self]:
        """Itself in order, at most `rows` events at a time."""
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))


def empty_batch() -> RecordBatch:
    return RecordBatch(
        (),
        np.zeros((0, ID_BYTES), np.uint8),
        np.zeros((0, SUBJECT_BYTES), np.uint8),
        np.zeros(0, np.uint16),
        np.zeros(0, np.uint32),
        np.zeros(0, np.uint8),
        np.zeros(0, np.int64),
        np.zeros(0, np.uint8),
    )


def new_batch(
    subjects: U8,
    key_version: int,
    scopes: tuple[Scope, ...],
    scope_codes: npt.NDArray[np.uint32],
    states: U8,
    channel: str,
    now_ms: int,
    random: Callable[[int], bytes],
) -> RecordBatch:
    """New records, said now.  `random` gives the random part of their ids."""
    n = len(subjects)
    return RecordBatch(
        scopes,
        record_ids(n, now_ms, random),
        np.ascontiguousarray(subjects),
        np.full(n, key_version, np.uint16),
        scope_codes.astype(np.uint32),
        states.astype(np.uint8),
        np.full(n, now_ms, np.int64),
        np.full(n, CHANNELS.index(channel) + 1, np.uint8),
    )


def record_ids(n: int, now_ms: int, random: Callable[[int], bytes]) -> U8:
    """uint8[n, 16]: UUIDv7s that ascend within the call (RFC 9562 section 6.2, method 1).

    A 12-bit counter sits in rand_a; when it overflows the timestamp runs ahead, as the RFC
    allows: a million ids reach 0.25 s into the future.  62 bits of each are random.
    """
    ids = np.frombuffer(random(n * ID_BYTES), dtype=np.uint8).reshape(n, ID_BYTES).copy()
    count = np.arange(n, dtype=np.int64)
    stamp = (now_ms + (count >> 12)).astype(">i8").view(np.uint8).reshape(n, 8)
    ids[:, :6] = stamp[:, 2:]
    ids[:, 6] = 0x70 | ((count >> 8) & 0x0F).astype(np.uint8)
    ids[:, 7] = (count & 0xFF).astype(np.uint8)
    ids[:, 8] = 0x80 | (ids[:, 8] & 0x3F)
    return ids


def _bad(cause: str) -> ProtocolViolation:
    return ProtocolViolation("bad_record", cause, stage="consent")
