"""Whom an auditor, a node or a witness trusts: logs, witnesses and a quorum (C2SP tlog-policy).

Who runs it: everyone who acts on a checkpoint.  The file is the reader's own; nothing in a log
or a bundle can change it.  Pure.  Learns: nobody.

The quorum's time is the freshness clock of consent.md: the latest time at which enough
witnesses had seen this tree as the largest one.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from consent.checkpoint import Checkpoint, parse_checkpoint
from consent.errors import NoteError
from consent.note import Note, open_note, parse_note, signed_by
from consent.note_keys import LOG_ALGORITHMS, WITNESS_ALGORITHMS, VerifierKey, parse_key
from protocol.errors import BadInput

NO_QUORUM = "none"
_THRESHOLD = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)


@dataclass(frozen=True)
class Group:
    """Has witnessed a tree when at least `threshold` of its members have."""

    threshold: int
    members: tuple[str, ...]


@dataclass(frozen=True)
class Policy:
    """logs: accepted log keys.  witnesses and groups: by name.  quorum: one of them or 'none'."""

    logs: tuple[VerifierKey, ...]
    witnesses: Mapping[str, VerifierKey]
    groups: Mapping[str, Group]
    quorum: str

    def met_by(self, witnesses: Iterable[str]) -> bool:
        """Whether the quorum is reached when these witnesses, by name, have cosigned."""
        if self.quorum == NO_QUORUM:
            return True
        # Groups name earlier ones only, so one pass in their order decides all.
        witnessed = set(witnesses) & set(self.witnesses)
        for name, group in self.groups.items():
            if len(witnessed & set(group.members)) >= group.threshold:
                witnessed.add(name)
        return self.quorum in witnessed

    def quorum_time(self, times: Mapping[str, int]) -> int | None:
        """The latest time at or after which a quorum cosigned; None without a quorum.

        Also None when the policy asks for no witness: then there is no clock but the log's.
        """
        if self.quorum == NO_QUORUM:
            return None
        for time in sorted(set(times.values()), reverse=True):
            if self.met_by(name for name, at in times.items() if at >= time):
                return time
        return None


@dataclass(frozen=True)
class CheckedCheckpoint:
    """A checkpoint that an accepted log signed, and who has cosigned it when."""

    checkpoint: Checkpoint
    note: str
    times: Mapping[str, int]
    has_quorum: bool
    quorum_time: int | None


def check_checkpoint(
    note: str | bytes, policy: Policy, origin: str | None = None
) -> CheckedCheckpoint:
    """Verifies `note` against `policy`; whether the quorum is there is left to the caller.

    Raises NoteError: malformed; not signed by an accepted log of this very origin; any line of
    a known key wrong; another origin than the wanted one.
    """
    parts = parse_note(note)
    checkpoint = parse_checkpoint(parts.text)
    if origin is not None and checkpoint.origin != origin:
        raise NoteError(f"a checkpoint of {checkpoint.origin!r} where {origin!r} was wanted")
    log_keys = [key for key in policy.logs if key.name == checkpoint.origin]
    if not log_keys:
        raise NoteError(f"log {checkpoint.origin!r} is not in the policy")
    open_note(parts, log_keys)
    times = _cosignatures(parts, policy)
    return CheckedCheckpoint(
        checkpoint,
        note if isinstance(note, str) else note.decode(),
        times,
        policy.met_by(times),
        policy.quorum_time(times),
    )


def _cosignatures(parts: Note, policy: Policy) -> dict[str, int]:
    names = {key: name for name, key in policy.witnesses.items()}
    ids = {(key.name, key.key_id) for key in names}
    if not any((one.name, one.key_id) in ids for one in parts.signatures):
        return {}
    opened = open_note(parts, names)
    return {names[one.key]: one.time for one in opened.verified if one.time is not None}


def misnamed_witness(note: str | bytes, policy: Policy) -> str:
    """A witness whose cosignature stands under another name or key id than its own; else empty.

    To a reader such a line is of somebody unknown, and ignored.  Nobody signs like that: the
    note was changed after the witness had signed it.  (A key of before, under the same name,
    has another id altogether, and what it signed does not verify here.)
    """
    parts = parse_note(note)
    known = {(key.name, key.key_id) for key in policy.witnesses.values()}
    for one in parts.signatures:
        if (one.name, one.key_id) in known:
            continue
        for name, key in policy.witnesses.items():
            named, marked = one.name == key.name, one.key_id == key.key_id
            # One character of base64 holds the id's end and the signature's beginning.
            if named and one.key_id[:3] == key.key_id[:3]:
                return name
            if (named or marked) and signed_by(key, parts.text, one):
                return name
    return ""


def parse_policy(data: bytes) -> Policy:
    """A policy file; raises BadInput with the line for anything it may not hold."""
    logs: list[VerifierKey] = []
    witnesses: dict[str, VerifierKey] = {}
    groups: dict[str, Group] = {}
    quorum: str | None = None
    member_of_one: set[str] = set()
    if data and not data.endswith(b"\n"):
        raise BadInput("policy: the last line has no newline: the file may be cut off")
    for number, raw in enumerate(data.split(b"\n"), start=1):
        if any((byte < 0x20 and byte != 0x09) or byte == 0x7F for byte in raw):
            raise _bad(number, "a control character other than tab")
        # Names are octets by the specification, and most are somebody's, who wants to read it:
        # UTF-8, and what is no UTF-8 stays apart from everything else.
        items = [
            item.decode("utf-8", "surrogateescape")
            for item in raw.replace(b"\t", b" ").split(b" ")
            if item
        ]
        if not items or items[0].startswith("#"):
            continue
        keyword, rest = items[0], items[1:]
        if keyword == "log" and len(rest) in (1, 2):
            key = _key(number, rest[0], LOG_ALGORITHMS)
            # One key may sign several logs, each under the log's own name.
            if key in logs:
                raise _bad(number, "a log's key is listed twice")
            logs.append(key)
        elif keyword == "witness" and len(rest) in (2, 3):
            _new_name(number, rest[0], witnesses, groups)
            key = _key(number, rest[1], WITNESS_ALGORITHMS)
            if any(key.public == other.public for other in witnesses.values()):
                raise _bad(number, "a witness's key is listed twice")
            witnesses[rest[0]] = key
        elif keyword == "group" and len(rest) >= 3:
            _new_name(number, rest[0], witnesses, groups)
            members = tuple(rest[2:])
            for member in members:
                if member not in witnesses and member not in groups:
                    raise _bad(number, f"{member!r} is not defined above")
                if member in member_of_one:
                    raise _bad(number, f"{member!r} is a member twice")
                member_of_one.add(member)
            groups[rest[0]] = Group(_threshold(number, rest[1], len(members)), members)
        elif keyword == "quorum" and len(rest) == 1:
            if quorum is not None:
                raise _bad(number, "a second quorum line")
            if rest[0] != NO_QUORUM and rest[0] not in witnesses and rest[0] not in groups:
                raise _bad(number, f"{rest[0]!r} is not defined above")
            quorum = rest[0]
        else:
            raise _bad(number, f"not a log, witness, group or quorum line: {keyword!r}")
    if quorum is None:
        raise BadInput("policy: there is no quorum line")
    return Policy(tuple(logs), witnesses, groups, quorum)


def majority_policy(logs: Iterable[VerifierKey], witnesses: Mapping[str, VerifierKey]) -> str:
    """The text of Assent's default policy: more than half of those listed."""
    lines = [f"log {key}" for key in logs]
    lines += [f"witness {name} {key}" for name, key in witnesses.items()]
    if witnesses:
        lines += [f"group majority {len(witnesses) // 2 + 1} {' '.join(witnesses)}"]
    lines += [f"quorum {'majority' if witnesses else NO_QUORUM}", ""]
    return "\n".join(lines)


def _key(number: int, vkey: str, allowed: tuple[int, ...]) -> VerifierKey:
    try:
        vkey.encode("utf-8")
        key = parse_key(vkey)
    except (NoteError, UnicodeEncodeError) as error:
        raise _bad(number, f"not a verifier key: {error}") from error
    if key.algorithm not in allowed:
        raise _bad(number, f"key {key.name} is of a type that does not sign this")
    return key


def _new_name(
    number: int, name: str, witnesses: Mapping[str, VerifierKey], groups: Mapping[str, Group]
) -> None:
    if name == NO_QUORUM or name in witnesses or name in groups:
        raise _bad(number, f"{name!r} is taken")


def _threshold(number: int, word: str, members: int) -> int:
    if word in ("all", "any"):
        return members if word == "all" else 1
    if not _THRESHOLD.fullmatch(word) or int(word) > members:
        raise _bad(number, f"a group of {members} cannot ask for {word}")
    return int(word)


def _bad(number: int, cause: str) -> BadInput:
    return BadInput(f"policy, line {number}: {cause}")
