"""Bytes that two parties must compute alike: canonical JSON, length prefixes, digests.

Canonical JSON is RFC 8785 restricted to what Assent uses: objects with string
keys, arrays, strings, booleans, null and integers.  Floats are refused, because
their printed form is the part of RFC 8785 on which implementations differ; numbers
with decimals travel as strings or as scaled integers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from typing import Any


def canonical_json(value: Any) -> bytes:
    """UTF-8 bytes of `value`: keys sorted by UTF-16 code units, no spaces.

    Raises TypeError for floats, non-string keys and unknown types.
    """
    return _dump(value).encode("utf-8")


def _dump(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise TypeError("canonical JSON has string keys only")
        keys = sorted(value, key=lambda key: key.encode("utf-16-be"))
        return "{" + ",".join(f"{_dump(key)}:{_dump(value[key])}" for key in keys) + "}"
    if isinstance(value, list | tuple):
        return "[" + ",".join(_dump(item) for item in value) + "]"
    raise TypeError(f"canonical JSON does not hold {type(value).__name__}")


def length_prefixed(*parts: bytes | str) -> bytes:
    """Each part as an 8-byte big-endian length and its bytes: no two lists give the same bytes."""
    out = bytearray()
    for part in parts:
        data = part.encode("utf-8") if isinstance(part, str) else part
        out += len(data).to_bytes(8, "big") + data
    return bytes(out)


def sha256(*parts: bytes) -> bytes:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.digest()


def content_id(value: Any) -> str:
    """Hex SHA-256 of the canonical JSON: the name of a definition, the same at every party."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def chunk_ranges(total: int, size: int) -> Iterable[tuple[int, int]]:
    """[start, end) ranges of at most `size` that cover `total`."""
    for start in range(0, total, size):
        yield start, min(start + size, total)
