"""A consent record as the JSON text that the log commits to, and back to columns.

Who runs it: the consent service, once per record that it logs; every replica and auditor, once
per opening; a person's receipt is verified over the same bytes.  Pure.
Learns: nobody more than the batch says.

A body is canonical JSON: {event: {actor, channel, flags, state, time}, evidence, id,
key_version, previous, revision, schema, subject, terms: {…}, valid_until}; times are
milliseconds since 1970, `null` is "none".  A million bodies share a handful of `event` and
`terms` texts, so these are written and parsed once each and the rest is filled in or cut out.
That is also how a body is checked: what is cut out must have its one right form, and the
shared texts must be what this module would write, so a body has no second spelling.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Sequence
from functools import cache
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from consent.errors import ProofError
from consent.leaf import parse_object
from consent.purposes import ACTORS, CHANNELS, UNCHANGED, Flag, State
from consent.records import ID_BYTES, RecordBatch, empty_batch
from consent.terms import NoticeRef, Scope, Terms, bad
from protocol.encoding import canonical_json

SCHEMA = "assent.consent/1"
_FILLED = (
    b'%b,"time":%d},"evidence":%b,"id":"%b","key_version":%d,"previous":%b,"revision":%d,'
    b'"schema":"' + SCHEMA.encode() + b'","subject":"%b","terms":%b,"valid_until":%b}'
)
_BASE64 = rb"[A-Za-z0-9_-]{43}"
_CUT = re.compile(
    rb'(\{"event":\{[^}]*),"time":(0|[1-9][0-9]{0,14})\},"evidence":(null|"' + _BASE64 + rb'"),'
    rb'"id":"([0-9a-f]{32})","key_version":([1-9][0-9]{0,4}),"previous":(null|"[0-9a-f]{32}"),'
    rb'"revision":([1-9][0-9]{0,9}),"schema":"' + re.escape(SCHEMA.encode()) + rb'",'
    rb'"subject":"(' + _BASE64 + rb')","terms":(\{.*\}),"valid_until":(null|[1-9][0-9]{0,14})\}',
    re.DOTALL,
)
_TERMS = {
    "categories", "default_off", "guardian", "jurisdiction", "legal_basis", "method", "notice",
    "processing", "purposes", "recipients", "withdrawal",
}  # fmt: skip
_NOTICE = {"class", "id", "language", "sha256", "version"}
U8 = npt.NDArray[np.uint8]


def bodies(batch: RecordBatch) -> list[bytes]:
    """One body per record, in their order."""
    n = len(batch)
    if not n:
        return []
    events = np.stack([batch.actors, batch.channels, batch.flags, batch.states], axis=1)
    event_words, event_codes = np.unique(events, axis=0, return_inverse=True)
    event_texts = [_event_text(*map(int, row)) for row in event_words]
    pairs = batch.scope_codes.astype(np.int64) * len(batch.terms) + batch.terms_codes
    pair_words, pair_codes = np.unique(pairs, return_inverse=True)
    terms_texts = [
        terms_text(batch.scopes[scope], batch.terms[terms])
        for scope, terms in (divmod(int(pair), len(batch.terms)) for pair in pair_words)
    ]
    return [
        _FILLED % fields
        for fields in zip(
            [event_texts[code] for code in event_codes.ravel().tolist()],
            batch.times_ms.tolist(),
            _or_null(batch.evidence, _base64(batch.evidence)),
            _hex(batch.record_ids),
            batch.key_versions.tolist(),
            _or_null(batch.previous, _hex(batch.previous)),
            batch.revisions.tolist(),
            _base64(batch.subjects),
            [terms_texts[code] for code in pair_codes.ravel().tolist()],
            [b"%d" % end if end else b"null" for end in batch.valid_until_ms.tolist()],
            strict=True,
        )
    ]


def batch_of(bodies: Sequence[bytes]) -> RecordBatch:
    """The records that `bodies` are; raises ProtocolViolation('bad_record') if one is not."""
    if not bodies:
        return empty_batch()
    cut = [_CUT.fullmatch(body) for body in bodies]
    for body, match in zip(bodies, cut, strict=True):
        if match is None:
            raise bad(_what_is_wrong(body))
    (
        events, times, evidence, ids, key_versions, previous, revisions, subjects, terms, ends,
    ) = zip(*(match.groups() for match in cut if match is not None), strict=True)  # fmt: skip
    states = np.array([_event_codes(event) for event in events], dtype=np.uint8)
    shared = _Shared()
    codes = np.array([shared.codes(text) for text in terms], dtype=np.uint32)
    return RecordBatch(
        tuple(shared.scopes),
        tuple(shared.terms),
        _from_hex(ids),
        _from_base64(subjects),
        _numbers(key_versions, np.uint16),
        np.ascontiguousarray(codes[:, 0]),
        np.ascontiguousarray(codes[:, 1]),
        np.ascontiguousarray(states[:, 3]),
        np.ascontiguousarray(states[:, 2]),
        _numbers(times, np.int64),
        _numbers([b"0" if end == b"null" else end for end in ends], np.int64),
        np.ascontiguousarray(states[:, 1]),
        np.ascontiguousarray(states[:, 0]),
        _numbers(revisions, np.uint32),
        _or_zeros(previous, b"0" * 2 * ID_BYTES, _from_hex),
        _or_zeros(evidence, b"A" * 43, _from_base64),
    )


# -- the shared texts --------------------------------------------------------------------------


def terms_text(scope: Scope, terms: Terms) -> bytes:
    """Canonical JSON of what many records share."""
    notice = terms.notice
    return canonical_json(
        {
            "categories": scope.categories,
            "default_off": terms.default_off,
            "guardian": terms.guardian,
            "jurisdiction": terms.jurisdiction,
            "legal_basis": terms.legal_basis,
            "method": terms.method,
            "notice": notice
            and {
                "class": notice.kind,
                "id": notice.id,
                "language": notice.language,
                "sha256": notice.sha256,
                "version": notice.version,
            },
            "processing": terms.processing,
            "purposes": scope.purposes,
            "recipients": scope.recipients,
            "withdrawal": terms.withdrawal,
        }
    )


def parse_terms(text: bytes) -> tuple[Scope, Terms]:
    """What `terms_text` wrote; raises ProtocolViolation('bad_record') for any other bytes."""
    try:
        said = parse_object(text, "the terms of a record")
        if set(said) != _TERMS:
            raise bad("the terms of a record have unknown fields")
        found = Scope(*(_words(said[key]) for key in ("purposes", "recipients", "categories")))
        terms = Terms(
            _notice(said["notice"]),
            _words(said["processing"]),
            _word(said["legal_basis"]),
            _word(said["jurisdiction"]),
            _words(said["withdrawal"]),
            _word(said["method"]),
            _word(said["guardian"]),
            said["default_off"],  # type: ignore[arg-type]  # checked by `Terms`
        )
    except ProofError as error:
        raise bad(error.info.cause) from error
    if terms_text(found, terms) != text:
        raise bad("the terms of a record are not in canonical order")
    return found, terms


class _Shared:
    """The different terms of some bodies, each parsed once."""

    def __init__(self) -> None:
        self.scopes: dict[Scope, int] = {}
        self.terms: dict[Terms, int] = {}
        self._known: dict[bytes, tuple[int, int]] = {}

    def codes(self, text: bytes) -> tuple[int, int]:
        known = self._known.get(text)
        if known is None:
            scope, terms = parse_terms(text)
            known = self._known[text] = (
                self.scopes.setdefault(scope, len(self.scopes)),
                self.terms.setdefault(terms, len(self.terms)),
            )
        return known


def _notice(said: object) -> NoticeRef | None:
    if said is None:
        return None
    if not isinstance(said, dict) or set(said) != _NOTICE:
        raise bad("a notice of a record has unknown fields")
    return NoticeRef(
        _word(said["id"]),
        said["version"],
        _word(said["language"]),
        _word(said["sha256"]),
        _word(said["class"]),
    )


def _word(said: object) -> str:
    if not isinstance(said, str):
        raise bad("a word of a record is not text")
    return said


def _words(said: object) -> tuple[str, ...]:
    if not isinstance(said, list):
        raise bad("some words of a record are not a list")
    return tuple(_word(word) for word in said)


def _event_text(actor: int, channel: int, flags: int, state: int) -> bytes:
    event = {
        "actor": ACTORS[actor - 1],
        "channel": CHANNELS[channel - 1],
        "flags": [flag.word for flag in Flag if flags & flag],
        "state": State(state).word if state else None,
    }
    return b'{"event":' + canonical_json(event)[:-1]


@cache
def _events() -> dict[bytes, tuple[int, int, int, int]]:
    """Every event text there is: a text that is not here has an unknown word."""
    return {
        _event_text(*codes): codes
        for codes in product(
            range(1, len(ACTORS) + 1),
            range(1, len(CHANNELS) + 1),
            range(2 * max(Flag)),
            (UNCHANGED, *map(int, State)),
        )
    }


def _event_codes(text: bytes) -> tuple[int, int, int, int]:
    codes = _events().get(text)
    if codes is None:
        raise bad("a record has an unknown state, flag, actor or channel")
    return codes


def _what_is_wrong(body: bytes) -> str:
    """Why `body` is no record of this version, as far as that can be told."""
    try:
        said = json.loads(body)
        schema = said["schema"]
    except (ValueError, TypeError, KeyError, RecursionError):
        return "the body of a consent entry is not a record"
    if schema != SCHEMA:
        return "a record has an unknown schema; a newer version of this software may read it"
    return "a record has other fields than its schema, or they are not in canonical form"


# -- columns and their texts -------------------------------------------------------------------


def _hex(rows: U8) -> list[bytes]:
    width = 2 * rows.shape[1]
    text = rows.tobytes().hex().encode()
    return [text[start : start + width] for start in range(0, len(text), width)]


def _from_hex(texts: Sequence[bytes]) -> U8:
    data = np.frombuffer(bytes.fromhex(b"".join(texts).decode()), dtype=np.uint8)
    return data.reshape(len(texts), -1)


def _base64(rows: U8) -> list[bytes]:
    """base64url without padding, 43 characters of 32 bytes each."""
    n, width = rows.shape
    padded = np.zeros((n, 33), np.uint8)  # 33 bytes are 44 characters: no row shares one
    padded[:, :width] = rows
    text = base64.urlsafe_b64encode(padded.tobytes())
    return [text[start : start + 43] for start in range(0, len(text), 44)]


def _from_base64(texts: Sequence[bytes]) -> U8:
    data = base64.urlsafe_b64decode(b"".join([text + b"A" for text in texts]))
    padded = np.frombuffer(data, dtype=np.uint8).reshape(len(texts), 33)
    if padded[:, 32].any():
        raise bad("32 bytes of a record are spelled in an unusual way")
    return np.ascontiguousarray(padded[:, :32])


def _or_null(rows: U8, texts: list[bytes]) -> list[bytes]:
    there: npt.NDArray[np.bool_] = np.any(rows, axis=1)
    if not there.any():
        return [b"null"] * len(rows)
    return [
        b'"' + text + b'"' if is_there else b"null"
        for text, is_there in zip(texts, there.tolist(), strict=True)
    ]


def _or_zeros(texts: Sequence[bytes], zeros: bytes, read: Callable[[Sequence[bytes]], U8]) -> U8:
    """Rows of quoted texts, zeros where there is none."""
    there = np.array([text != b"null" for text in texts])
    rows = read([text[1:-1] if text != b"null" else zeros for text in texts])
    if (there != rows.any(axis=1)).any():
        raise bad("a record spells out zeros where it has nothing")
    return rows


def _numbers(texts: Sequence[bytes], dtype: type[Any]) -> npt.NDArray[Any]:
    values = np.array(texts, dtype="S").astype(np.int64)
    if int(values.max()) > np.iinfo(dtype).max:
        raise bad("a number of a record is too large")
    return values.astype(dtype)
