"""The line of an entry in a bundle, read without a JSON parser where one would say the same.

Who runs it: the auditor's verifier, for every line.  Pure.  Learns: what the line says.
"""

from __future__ import annotations

import re

from consent.errors import ProofError
from consent.leaf import Opening

MAX_LINE = 1_000_000
# An entry's line as bundles have it: strings in which nothing but quotation marks is escaped,
# so that this is their one canonical spelling.  Any other line is read by a JSON parser.
_TEXT = rb'([^"\\\x00-\x1f]*(?:\\"[^"\\\x00-\x1f]*)*)'
_ENTRY = re.compile(
    rb'\{"leaf":"' + _TEXT + rb'"'
    rb'(?:,"opening":\{"body":"' + _TEXT + rb'","salt":"([0-9a-f]{64})"\})?\}\n'
)


def entry_of(line: bytes) -> tuple[bytes, Opening | None] | None:
    """Leaf and opening of a line in the form of `_ENTRY`; None: read it the long way."""
    found = _ENTRY.fullmatch(line) if len(line) <= MAX_LINE else None
    if found is None:
        return None
    if not line.isascii():
        try:
            line.decode()
        except UnicodeDecodeError:
            return None
    leaf, body, salt = found.groups()
    leaf = leaf.replace(b'\\"', b'"')
    if body is None:
        return leaf, None
    return leaf, Opening(bytes.fromhex(salt.decode()), body.replace(b'\\"', b'"'))


def opening_of(fields: object) -> Opening:
    """An opening as a JSON parser gives it; raises ProofError for anything else."""
    if not isinstance(fields, dict) or set(fields) != {"body", "salt"}:
        raise ProofError("an opening has a body and a salt")
    body, salt = fields["body"], fields["salt"]
    if not isinstance(body, str) or not isinstance(salt, str):
        raise ProofError("an opening's body and salt are text")
    try:
        data = bytes.fromhex(salt)
    except ValueError as error:
        raise ProofError("an opening's salt is not hex") from error
    if data.hex() != salt:
        raise ProofError("an opening's salt is not lower-case hex")
    return Opening(data, body.encode())
