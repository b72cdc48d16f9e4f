"""What stands in the log for an event, and what opens it.

Who runs it: the log makes leaves; replicas and auditors read them; a person opens one with a
receipt.  Pure: salts and times are arguments.
Learns: a reader of the log learns of each event its party, kind and minute, nothing about whom
or what; who has an opening learns the body.

Leaf: canonical JSON {commitment, party, time, type, v}; commitment = HMAC-SHA-256(salt, body).
The salt is 32 fresh bytes per event, so that equal bodies look different and a deleted opening
cannot be guessed back.  `type` is `consent` for every event about a person and `time` is a
minute: finer ones would link one person's entries over several logs ("withdraw all").
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import time as _time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from consent.errors import ProofError
from protocol.encoding import canonical_json
from protocol.errors import BadInput

VERSION = 1
CONSENT, JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED, ERASED, MIGRATED = TYPES = (
    "consent", "job.admitted", "job.closed", "job.refused", "erasure.completed", "log.migrated",
)  # fmt: skip
# Erasures are filed under this in place of a pseudonym, which is never 7 bytes long.
ERASURE_MARK = b"erasure"
ID_BYTES = 16
SALT_BYTES = 32
MAX_BODY = 65_536
_MAX_PARTY = 256
_FOUR_BYTES = re.compile(b"[\xf0-\xff]")
_COMMITTED = re.compile(rb'\{"commitment":"([0-9a-f]{64})"')
_REST = len('{"commitment":""') + 64
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:00Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Event:
    """What is to be logged.  id: 16 bytes, the same when it is sent again.

    body: canonical JSON object with `id` (hex) and, when there is one, `subject`; `event` makes
    it.  subject: the pseudonym under which the person's openings are found again.
    """

    party: str
    type: str
    id: bytes
    body: bytes
    subject: bytes | None = None


@dataclass(frozen=True)
class Opening:
    """Salt and body of one leaf, in the erasable store and in exports."""

    salt: bytes
    body: bytes


@dataclass(frozen=True)
class Leaf:
    """A leaf, read.  time: 'YYYY-MM-DDTHH:MM:00Z'."""

    commitment: bytes
    party: str
    time: str
    type: str


def event(
    party: str, type: str, id: bytes, fields: dict[str, object], subject: bytes | None = None
) -> Event:
    """An event whose body is `fields` with its id and subject in it."""
    if len(id) != ID_BYTES:
        raise BadInput(f"an event id is {ID_BYTES} bytes")
    if type not in TYPES:
        raise BadInput(f"{type!r} is not a type of event")
    if not 0 < len(party.encode()) <= _MAX_PARTY:
        raise BadInput(f"a party's name has at most {_MAX_PARTY} bytes")
    named: dict[str, object] = {"id": id.hex()}
    if subject is not None:
        named["subject"] = subject_text(subject)
    body = canonical_json(fields | named)
    if len(body) > MAX_BODY:
        raise BadInput(f"an event's body has at most {MAX_BODY} bytes")
    return Event(party, type, id, body, subject)


def subject_text(subject: bytes) -> str:
    return base64.urlsafe_b64encode(subject).decode().rstrip("=")


def commit(salt: bytes, body: bytes) -> bytes:
    return hmac.digest(salt, body, "sha256")


def leaves(events: Sequence[Event], salts: bytes, time: str) -> list[bytes]:
    """One leaf per event; `salts` has 32 bytes for each, `time` is of `minute`."""
    around: dict[tuple[str, str], list[bytes]] = {}
    made = []
    for place, one in enumerate(events):
        frame = around.get((one.party, one.type))
        if frame is None:
            blank = {"commitment": "", "party": one.party, "time": time, "type": one.type,
                     "v": VERSION}  # fmt: skip
            frame = around[one.party, one.type] = canonical_json(blank).split(b'""', 1)
        salt = salts[place * SALT_BYTES : (place + 1) * SALT_BYTES]
        made.append(b'%s"%s"%s' % (frame[0], commit(salt, one.body).hex().encode(), frame[1]))
    return made


def minute(now: float) -> str:
    return _time.strftime("%Y-%m-%dT%H:%M:00Z", _time.gmtime(now))


def parse_leaf(data: bytes) -> Leaf:
    """The leaf that `data` is; raises ProofError unless it is one in canonical form."""
    fields = parse_object(data, "an entry")
    if (
        set(fields) != {"commitment", "party", "time", "type", "v"}
        or fields["v"] is True
        or fields["v"] != VERSION
    ):
        raise ProofError("an entry has other fields than a leaf, or an unknown version")
    commitment, party, time, kind = (fields[k] for k in ("commitment", "party", "time", "type"))
    if not (isinstance(party, str) and isinstance(kind, str) and isinstance(commitment, str)):
        raise ProofError("a field of an entry is not text")
    if kind not in TYPES:
        raise ProofError(f"an entry is of the unknown type {kind!r}")
    if not isinstance(time, str) or not _TIME.fullmatch(time):
        raise ProofError("an entry's time is not a minute")
    if not re.fullmatch("[0-9a-f]{64}", commitment, re.ASCII):
        raise ProofError("an entry's commitment is not 32 bytes of hex")
    return Leaf(bytes.fromhex(commitment), party, time, kind)


class LeafReader:
    """`parse_leaf` for many entries, most of which differ in their commitment only.

    In canonical JSON the commitment stands first, so that everything after it is the same for
    the entries of one party, type and minute; what was read once is compared, not read again.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._leaf: Leaf | None = None

    def read(self, data: bytes) -> Leaf:
        """Raises ProofError exactly where `parse_leaf` does."""
        commitment = _COMMITTED.match(data)
        if commitment is None or data[commitment.end() :] != self._rest or self._leaf is None:
            self._leaf = parse_leaf(data)  # canonical: its commitment is where _COMMITTED looks
            self._rest = data[_REST:]
            return self._leaf
        leaf = self._leaf
        return Leaf(bytes.fromhex(commitment[1].decode()), leaf.party, leaf.time, leaf.type)


def check_opening(leaf: Leaf, opening: Opening) -> None:
    """Raises ProofError unless `opening` is what `leaf` commits to."""
    if len(opening.salt) != SALT_BYTES:
        raise ProofError(f"an opening's salt is not {SALT_BYTES} bytes")
    if not hmac.compare_digest(commit(opening.salt, opening.body), leaf.commitment):
        raise ProofError("an opening does not fit the commitment of its entry")


def read_body(body: bytes) -> dict[str, object]:
    """The fields of a body; raises ProofError unless it is a canonical JSON object."""
    return parse_object(body, "a body")


def migrated_note(body: Mapping[str, object]) -> str | None:
    """The last checkpoint of the replaced log in a `log.migrated` body; None for another one."""
    note = body.get("checkpoint")
    return note if isinstance(note, str) and set(body) == {"checkpoint", "id"} else None


def parse_object(data: bytes, what: str) -> dict[str, object]:
    """The object of canonical JSON that `data` is; raises ProofError for every other bytes."""
    try:
        fields = _DECODER.decode(data.decode())
        if isinstance(fields, dict) and _canonical(fields, data):
            return fields
    except (ValueError, TypeError, RecursionError):
        pass  # said below, in one way for all of them
    raise ProofError(f"{what} is not a canonical JSON object")


def _canonical(fields: dict[str, object], data: bytes) -> bool:
    # The C encoder sorts keys by code point, canonical JSON by UTF-16 unit; that is the same
    # unless there are characters of four UTF-8 bytes.  It is five times faster.
    if not _FOUR_BYTES.search(data):
        return _ENCODER.encode(fields).encode() == data
    return canonical_json(fields) == data


def _no_number(text: str) -> object:
    raise ValueError(f"{text} is not a number of canonical JSON here")


_DECODER = json.JSONDecoder(parse_float=_no_number, parse_constant=_no_number)
_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
