"""Signed notes: a text and the signature lines under it (C2SP signed-note).

Who runs it: logs, witnesses and everyone who verifies what they said.  Pure.
Learns: nobody.

The text of a note means nothing until a trusted key has signed it, so there is no function
that returns the text of a note alone; `parse_note` gives the parts to `open_note`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

from consent.checkpoint import decode64
from consent.errors import NoteError
from consent.note_keys import ALGORITHMS, Signer, VerifierKey, check_name, parse_key

MAX_NOTE_BYTES = 1_000_000
MAX_SIGNATURES = 100  # the specification asks for at least 16
_MARK = "— "
_ID_BYTES = 4


@dataclass(frozen=True)
class Signature:
    """One line under a note: whose, and the bytes after the key id."""

    name: str
    key_id: bytes
    data: bytes
    line: str


@dataclass(frozen=True)
class Note:
    """A note taken apart, nothing of it verified."""

    text: str
    signatures: tuple[Signature, ...]


@dataclass(frozen=True)
class Verified:
    """A trusted key that signed, and the time that its signature commits to, if any."""

    key: VerifierKey
    time: int | None


@dataclass(frozen=True)
class OpenedNote:
    text: str
    verified: tuple[Verified, ...]


def verify_note(text: str | bytes, vkeys: Sequence[str]) -> tuple[str, list[str]]:
    """The text of the note and those of `vkeys` that signed it; raises NoteError.

    At least one key must have signed.  A line of a known key that does not verify refuses the
    whole note; lines of unknown keys are ignored, as the specification demands.
    """
    opened = open_note(text, [parse_key(vkey) for vkey in vkeys])
    return opened.text, [str(one.key) for one in opened.verified]


def open_note(note: str | bytes | Note, keys: Iterable[VerifierKey]) -> OpenedNote:
    """The same with keys as values, and with the times of cosignatures.

    A key that signed twice counts once, with the later time.
    """
    parts = note if isinstance(note, Note) else parse_note(note)
    known: dict[tuple[str, bytes], VerifierKey] = {}
    for key in keys:
        if known.setdefault((key.name, key.key_id), key) != key:
            raise NoteError(f"two different keys are called {key.name}+{key.key_id.hex()}")
    found: dict[VerifierKey, int | None] = {}
    for signature in parts.signatures:
        signer = known.get((signature.name, signature.key_id))
        if signer is None:
            continue
        time = _verify(signer, parts.text, signature)
        before = found.get(signer)
        found[signer] = time if before is None or time is None else max(time, before)
    if not found:
        raise NoteError("no trusted key has signed this note")
    return OpenedNote(parts.text, tuple(Verified(key, time) for key, time in found.items()))


def _verify(key: VerifierKey, text: str, signature: Signature) -> int | None:
    try:
        return ALGORITHMS[key.algorithm].verify(key.public, key.name, text, signature.data)
    except (InvalidSignature, ValueError) as error:
        raise NoteError(f"the signature of {key.name} is wrong") from error
    except UnsupportedAlgorithm as error:  # ML-DSA needs a recent OpenSSL
        raise NoteError(f"this machine cannot verify keys of the type of {key.name}") from error


def signed_by(key: VerifierKey, text: str, signature: Signature) -> bool:
    """Whether `signature` is one of `key`, whatever name and key id stand before it."""
    try:
        _verify(key, text, signature)
    except NoteError:
        return False
    return True


def parse_note(data: str | bytes) -> Note:
    """Text and signature lines of a note; raises NoteError for every other form."""
    if isinstance(data, bytes):
        try:
            data = data.decode("utf-8")
        except UnicodeDecodeError as error:
            raise NoteError("a note is UTF-8") from error
    try:
        size = len(data.encode("utf-8"))
    except UnicodeEncodeError as error:
        raise NoteError("a note is UTF-8") from error
    if size > MAX_NOTE_BYTES:
        raise NoteError(f"a note has at most {MAX_NOTE_BYTES} bytes")
    if any(char < " " and char != "\n" for char in data):
        raise NoteError("a note has no control characters but newlines")
    text, blank, lines = data.rpartition("\n\n")
    if not blank:
        raise NoteError("a note has signatures after an empty line")
    if not lines.endswith("\n"):
        raise NoteError("a note's signature lines end with a newline")
    signatures = [_signature(line) for line in lines[:-1].split("\n")]
    if len(signatures) > MAX_SIGNATURES:
        raise NoteError(f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(text + "\n", tuple(signatures))


def signature_lines(text: str) -> list[str]:
    """The lines of `text`, each a signature line with its newline (a witness's answer)."""
    if not text.endswith("\n") or len(text) > MAX_NOTE_BYTES:
        raise NoteError("an answer is signature lines, each with its newline")
    return [_signature(line).line for line in text[:-1].split("\n")]


def _signature(line: str) -> Signature:
    mark, name, encoded = line[: len(_MARK)], *_two(line[len(_MARK) :])
    if mark != _MARK:
        raise NoteError("a line under the note is not a signature")
    check_name(name)
    data = decode64(encoded)
    if len(data) <= _ID_BYTES:
        raise NoteError(f"the signature of {name!r} is empty")
    return Signature(name, data[:_ID_BYTES], data[_ID_BYTES:], line + "\n")


def _two(rest: str) -> tuple[str, str]:
    name, _, encoded = rest.partition(" ")
    return name, encoded


# -- signing ----------------------------------------------------------------------------------


def sign_note(text: str, signers: Sequence[Signer], time: int = 0) -> str:
    """The note of `text` signed by all of `signers`; `time` is for those that state one."""
    if not text.endswith("\n"):
        raise NoteError("the text of a note ends with a newline")
    note = f"{text}\n" + "".join(signer.line(text, time) for signer in signers)
    parse_note(note)  # control characters and the like are refused before they are published
    return note


def add_signatures(note: str, lines: Iterable[str]) -> str:
    """`note` with further signature lines under it; a line that it has already comes once.

    Lines of the same key replace each other, so that a cosignature can be renewed.
    """
    parts = parse_note(note)
    by_key = {(s.name, s.key_id): s.line for s in parts.signatures}
    for line in lines:
        signature = _signature(line.removesuffix("\n"))
        by_key[(signature.name, signature.key_id)] = signature.line
    return f"{parts.text}\n" + "".join(by_key.values())
