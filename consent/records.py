"""Consent records as columns: one event = one pseudonym, what it is about, what it says.

Who runs it: a party makes batches and sends them to the consent service; the service
logs them; the party's own replica reads them back.  Nothing here is a person's identifier.
Learns: whoever holds a batch learns which pseudonyms permit or refuse which uses, and when.

Fields after ISO/IEC TS 27560:2023 (docs: consent.md, "Record"); `consent.dpv` maps them,
`consent.body` writes each record as the JSON that the log commits to.
A batch is columnar because a party imports a million records at a time; `Scope` and `Terms`
are the dictionary-encoded parts that a million records share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt

from consent.purposes import (
    ACTORS,
    CHANNELS,
    EVERY_RECIPIENT,
    PERMITTING,
    UNCHANGED,
    WILDCARD_STATES,
    Flag,
    State,
)
from consent.terms import DEFAULT_TERMS, Terms, bad
from consent.terms import Scope as Scope

U8 = npt.NDArray[np.uint8]
ID_BYTES = 16
SUBJECT_BYTES = 32
EVIDENCE_BYTES = 32
MAX_TIME_MS = (1 << 48) - 1  # what a UUIDv7 can hold
# A message of about 2 MB: under gRPC's default limit, and a transaction of some 50 ms.
BATCH_ROWS = 16_384
_PERMITS = [int(state) for state in PERMITTING]


@dataclass(frozen=True)
class RecordBatch:
    """n events in the order in which they hold; row i of each column is event i.

    record_ids: uint8[n, 16], UUIDv7.       subjects: uint8[n, 32], see consent.pseudonyms.
    key_versions: uint16[n].                scope_codes: uint32[n] into `scopes`.
    states: uint8[n], `State` values, 0 when only flags change.   flags: uint8[n], `Flag` values.
    times_ms: int64[n] since 1970.          channels: uint8[n], codes of `CHANNELS`.
    terms_codes: uint32[n] into `terms`.    actors: uint8[n], codes of `ACTORS`.
    valid_until_ms: int64[n], 0 for no end; only what permits can have one.
    revisions: uint32[n] from 1.            previous: uint8[n, 16], the record that this one
    follows; zeros exactly where the revision is 1.
    evidence: uint8[n, 32], salted digest of what the party keeps as proof, zeros for none.
    Shapes, words and codes are checked when it is made (ProtocolViolation 'bad_record').
    """

    scopes: tuple[Scope, ...]
    terms: tuple[Terms, ...]
    record_ids: U8
    subjects: U8
    key_versions: npt.NDArray[np.uint16]
    scope_codes: npt.NDArray[np.uint32]
    terms_codes: npt.NDArray[np.uint32]
    states: U8
    flags: U8
    times_ms: npt.NDArray[np.int64]
    valid_until_ms: npt.NDArray[np.int64]
    channels: U8
    actors: U8
    revisions: npt.NDArray[np.uint32]
    previous: U8
    evidence: U8

    def __post_init__(self) -> None:
        n = len(self.states)
        for name, (dtype, width) in COLUMNS.items():
            column = getattr(self, name)
            if column.shape != ((n, width) if width else (n,)) or column.dtype != dtype:
                raise bad(f"column {name} is {column.dtype}{list(column.shape)}")
        if n:
            self._check_codes()
            self._check_states()
            self._check_links()

    def _check_codes(self) -> None:
        if int(self.scope_codes.max()) >= len(self.scopes):
            raise bad("a record names a scope that the batch does not have")
        if int(self.terms_codes.max()) >= len(self.terms):
            raise bad("a record names terms that the batch does not have")
        if int(self.states.max()) > max(State):
            raise bad("a record has a state that is not one of the known ones")
        if int(self.flags.max()) >= 2 * max(Flag):
            raise bad("a record has a flag that is not one of the known ones")
        if int(self.channels.min()) < 1 or int(self.channels.max()) > len(CHANNELS):
            raise bad("a record has an unknown channel")
        if int(self.actors.min()) < 1 or int(self.actors.max()) > len(ACTORS):
            raise bad("a record was said by nobody who is known")
        for what, times in (("time", self.times_ms), ("end", self.valid_until_ms)):
            if int(times.min()) < 0 or int(times.max()) > MAX_TIME_MS:
                raise bad(f"a record's {what} is before 1970 or out of all calendars")

    def _check_states(self) -> None:
        flags = self.flags
        if ((flags & (flags >> 2)) & 3).any():
            raise bad("a record sets a flag and ends it")
        if ((self.states == UNCHANGED) & (flags == 0)).any():
            raise bad("a record says nothing: neither a state nor a flag")
        ends = self.valid_until_ms != 0
        if (ends & ~np.isin(self.states, _PERMITS)).any():
            raise bad("only what permits can have an end")
        if (ends & (self.valid_until_ms <= self.times_ms)).any():
            raise bad("a record ends before it begins")
        # A permit is always for named recipients (one consent per recipient, PIPL art. 23);
        # "everybody" exists only so that saying no to all cannot miss one.
        wild = np.array([EVERY_RECIPIENT in scope.recipients for scope in self.scopes], dtype=bool)
        if wild.any():
            said = [UNCHANGED, *map(int, WILDCARD_STATES)]
            denying = np.isin(self.states, said) & (flags < Flag.OBJECTION_ENDED)
            if (wild[self.scope_codes] & ~denying).any():
                raise bad("only a refusal, withdrawal or objection may be about every recipient")

    def _check_links(self) -> None:
        for ids, what in ((self.record_ids, "a record id"), (self.previous, "a previous record")):
            right = (ids[:, 6] >> 4 == 7) & (ids[:, 8] >> 6 == 2)
            if ids is self.previous:
                first = ~ids.any(axis=1)
                if (first != (self.revisions == 1)).any():
                    raise bad("a record is the first and follows another, or neither")
                right |= first
            if not right.all():
                raise bad(f"{what} is not a UUIDv7")
        guarded = np.array([bool(terms.guardian) for terms in self.terms], dtype=bool)
        by_guardian = self.actors == ACTORS.index("guardian") + 1
        if (by_guardian & ~guarded[self.terms_codes]).any():
            raise bad("a guardian spoke, and the record does not say which kind of guardian")
        # A box ticked in advance is no consent (GDPR recital 32, PIPL art. 14: a voluntary act).
        ticked = np.array([terms.default_off is False for terms in self.terms], dtype=bool)
        if (ticked[self.terms_codes] & np.isin(self.states, _PERMITS)).any():
            raise bad("what was on by default is not a consent")

    def __len__(self) -> int:
        return len(self.states)

    def __repr__(self) -> str:  # pseudonyms stay out of logs
        return f"RecordBatch(n={len(self)}, scopes={len(self.scopes)})"

    def take(self, rows: npt.NDArray[np.intp] | slice) -> Self:
        """The events at `rows`, with all scopes and terms."""
        return type(self)(self.scopes, self.terms, *(getattr(self, name)[rows] for name in COLUMNS))

    def pieces(self, rows: int = BATCH_ROWS) -> Iterator[Self]:
        """Itself in order, at most `rows` events at a time."""
        for start in range(0, len(self), rows):
            yield self.take(slice(start, start + rows))


# Column → type and width; 0: one number per record.  In the order of `RecordBatch`'s fields.
COLUMNS: dict[str, tuple[type[Any], int]] = {
    "record_ids": (np.uint8, ID_BYTES),
    "subjects": (np.uint8, SUBJECT_BYTES),
    "key_versions": (np.uint16, 0),
    "scope_codes": (np.uint32, 0),
    "terms_codes": (np.uint32, 0),
    "states": (np.uint8, 0),
    "flags": (np.uint8, 0),
    "times_ms": (np.int64, 0),
    "valid_until_ms": (np.int64, 0),
    "channels": (np.uint8, 0),
    "actors": (np.uint8, 0),
    "revisions": (np.uint32, 0),
    "previous": (np.uint8, ID_BYTES),
    "evidence": (np.uint8, EVIDENCE_BYTES),
}


def empty_batch() -> RecordBatch:
    return RecordBatch(
        (),
        (),
        *(np.zeros((0, width) if width else 0, dtype) for dtype, width in COLUMNS.values()),
    )


def joined(batches: list[RecordBatch]) -> RecordBatch:
    """The events of all batches, one after the other."""
    scopes: dict[Scope, int] = {}
    terms: dict[Terms, int] = {}
    columns: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in COLUMNS}
    for batch in batches:
        numbers = {
            "scope_codes": [scopes.setdefault(scope, len(scopes)) for scope in batch.scopes],
            "terms_codes": [terms.setdefault(one, len(terms)) for one in batch.terms],
        }
        for name, parts in columns.items():
            part = getattr(batch, name)
            if name in numbers:
                part = np.array(numbers[name] or [0], np.uint32)[part]
            parts.append(part)
    if not batches:
        return empty_batch()
    return RecordBatch(
        tuple(scopes), tuple(terms), *(np.concatenate(parts) for parts in columns.values())
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
    *,
    terms: tuple[Terms, ...] = (DEFAULT_TERMS,),
    actor: str = "party",
    before: int = 0,
    **columns: npt.NDArray[Any],
) -> RecordBatch:
    """New records, said now.  `random` gives the random part of their ids; before: how many were
    made for this `now_ms` already, so that ids ascend over several batches.

    columns: any other column of `RecordBatch` by name; else: the first terms, no flags, no end,
    first revision, no evidence.
    """
    n = len(subjects)
    made: dict[str, npt.NDArray[Any]] = {
        name: np.zeros((n, width) if width else n, dtype)
        for name, (dtype, width) in COLUMNS.items()
    }
    made["revisions"] += 1
    given: dict[str, npt.NDArray[Any]] = {
        "record_ids": record_ids(n, now_ms, random, before),
        "subjects": np.ascontiguousarray(subjects),
        "key_versions": np.full(n, key_version),
        "scope_codes": scope_codes,
        "states": states,
        "times_ms": np.full(n, now_ms),
        "channels": np.full(n, CHANNELS.index(channel) + 1),
        "actors": np.full(n, ACTORS.index(actor) + 1),
    } | columns
    for name, column in given.items():
        made[name] = column.astype(COLUMNS[name][0], copy=False)
    return RecordBatch(scopes, terms, *made.values())


def record_ids(n: int, now_ms: int, random: Callable[[int], bytes], before: int = 0) -> U8:
    """uint8[n, 16]: UUIDv7s that ascend within the call (RFC 9562 section 6.2, method 1), and
    after those of calls for the same `now_ms` that made `before` of them.

    A 12-bit counter sits in rand_a; when it overflows the timestamp runs ahead, as the RFC
    allows: a million ids reach 0.25 s into the future.  62 bits of each are random.
    """
    ids = np.frombuffer(random(n * ID_BYTES), dtype=np.uint8).reshape(n, ID_BYTES).copy()
    count = np.arange(before, before + n, dtype=np.int64)
    stamp = (now_ms + (count >> 12)).astype(">i8").view(np.uint8).reshape(n, 8)
    ids[:, :6] = stamp[:, 2:]
    ids[:, 6] = 0x70 | ((count >> 8) & 0x0F).astype(np.uint8)
    ids[:, 7] = (count & 0xFF).astype(np.uint8)
    ids[:, 8] = 0x80 | (ids[:, 8] & 0x3F)
    return ids
