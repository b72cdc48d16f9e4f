"""The text of a checkpoint: which log, how many entries, which root (C2SP tlog-checkpoint).

Who runs it: the log writes it, everybody else reads it.  Pure.
Learns: how many entries a log has; nothing about any of them.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from consent.errors import NoteError
from consent.merkle import EMPTY_ROOT, HASH_BYTES, MAX_SIZE

_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}", re.ASCII)
_MAX_ORIGIN = 255  # what an ML-DSA cosignature can name


@dataclass(frozen=True)
class Checkpoint:
    """A tree head.  `extensions` are further lines that nobody can check: Assent writes none.

    Checked when made: NoteError for an empty origin, a bad size or root, and for a tree of
    size 0 whose root is not that of the empty tree.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not 0 < len(self.origin.encode()) <= _MAX_ORIGIN or "\n" in self.origin:
            raise NoteError("a checkpoint's origin is one line of 1 to 255 bytes")
        if type(self.size) is not int or not 0 <= self.size <= MAX_SIZE:
            raise NoteError(f"a checkpoint's size is a number from 0 to {MAX_SIZE}")
        if len(self.root) != HASH_BYTES:
            raise NoteError(f"a checkpoint's root is {HASH_BYTES} bytes")
        if self.size == 0 and self.root != EMPTY_ROOT:
            raise NoteError("a checkpoint of size 0 has another root than the empty tree")
        if any(not line or "\n" in line for line in self.extensions):
            raise NoteError("a checkpoint has an empty extension line")

    def to_text(self) -> str:
        root = base64.b64encode(self.root).decode()
        return "\n".join([self.origin, str(self.size), root, *self.extensions, ""])


def parse_checkpoint(text: str) -> Checkpoint:
    """The checkpoint that `text`, a note's text, is; raises NoteError for any other form."""
    if not text.endswith("\n"):
        raise NoteError("a checkpoint ends with a newline")
    lines = text[:-1].split("\n")
    if len(lines) < 3:
        raise NoteError("a checkpoint has at least three lines")
    return Checkpoint(
        lines[0], decimal(lines[1], "a tree size"), decode64(lines[2]), tuple(lines[3:])
    )


def decimal(text: str, what: str) -> int:
    """An ASCII number without leading zeroes; raises NoteError."""
    if not _DECIMAL.fullmatch(text):
        raise NoteError(f"{what} is not a decimal number without leading zeroes")
    return int(text)


def decode64(text: str) -> bytes:
    """Standard Base64 in its one canonical form: other spellings of the same bytes are refused."""
    try:
        data = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise NoteError("not Base64") from error
    if base64.b64encode(data).decode() != text:
        raise NoteError("not canonical Base64")
    return data
