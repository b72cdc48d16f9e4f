"""Looks for secrets in bytes, in every form in which programs write things down.

A pattern is the encoded secret itself, so a finding is a leak and not a guess.  All patterns
are searched in one pass: five bytes of each decide, by a bit table, which places are worth a
look, and there the whole pattern is compared.
"""

from __future__ import annotations

import base64
import hashlib
import json
import struct
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from urllib.parse import quote

import numpy as np

SHORTEST = 5  # shorter patterns would be met by chance in megabytes of ciphertext
_TABLE_BITS = 24
_BLOCK = 1 << 20
HASHES = ("md5", "sha1", "sha256", "sha512")
_DIGEST = 16  # bytes of a digest that are searched, so truncated ones are found too


@dataclass(frozen=True)
class Pattern:
    """what: whose secret.  form: how it is written."""

    what: str
    form: str
    data: bytes


@dataclass(frozen=True)
class Finding:
    what: str
    form: str
    where: str
    offset: int


# -- forms ---------------------------------------------------------------------------------


def written(what: str, data: bytes, form: str = "raw") -> Iterator[Pattern]:
    """Bytes as they are, in hex and in base64 at every alignment."""
    yield Pattern(what, form, data)
    yield Pattern(what, f"{form}, hex", data.hex().encode())
    yield Pattern(what, f"{form}, HEX", data.hex().upper().encode())
    for skipped in range(3):
        for alphabet, encode in (("", base64.b64encode), (" urlsafe", base64.urlsafe_b64encode)):
            yield Pattern(what, f"{form}, base64{alphabet}", _core(encode, data, skipped))


def _core(encode: object, data: bytes, skipped: int) -> bytes:
    """The characters that only `data` decides when `skipped` bytes (mod 3) stand before it."""
    text = encode(bytes(skipped) + data)  # type: ignore[operator]
    return text[-(-skipped * 8 // 6) : (skipped + len(data)) * 8 // 6]  # type: ignore[no-any-return]


def text(what: str, value: str) -> Iterator[Pattern]:
    """A word: written as bytes, UTF-16, escaped, and hashed."""
    data = value.encode()
    yield from written(what, data)
    for order in ("le", "be"):
        yield Pattern(what, f"utf-16-{order}", value.encode(f"utf-16-{order}"))
    escaped = json.dumps(value)[1:-1].encode()
    if escaped != data:
        yield Pattern(what, "json", escaped)
    if (percent := quote(value, safe="").encode()) != data:
        yield Pattern(what, "percent", percent)
    if value.upper() != value:
        yield Pattern(what, "upper case", value.upper().encode())
    yield from hashed(what, [data])


def identifier(kind: str, value: str) -> Iterator[Pattern]:
    """A word that names a person; hashed also with its type before it."""
    from protocol.encoding import length_prefixed

    yield from text(kind, value)
    before = [f"{kind}{mark}{value}".encode() for mark in ("", ":", "|", "/", "=")]
    yield from hashed(kind, [*before, length_prefixed(kind, value)], "with its type ")


def hashed(what: str, values: Iterable[bytes], how: str = "") -> Iterator[Pattern]:
    for value in values:
        for name in HASHES:
            digest = hashlib.new(name, value).digest()[:_DIGEST]
            yield from written(what, digest, f"{how}{name}")


def key(what: str, data: bytes) -> Iterator[Pattern]:
    """Secret bytes, and the same number in the other byte order."""
    yield from written(what, data)
    yield from written(what, data[::-1], "reversed")


def big(what: str, value: int) -> Iterator[Pattern]:
    """A secret number of many bits."""
    yield from key(what, value.to_bytes(-(-value.bit_length() // 8), "little"))
    yield Pattern(what, "decimal", str(value).encode())
    yield Pattern(what, "hex number", f"{value:x}".encode())


def number(what: str, value: str, decimals: int) -> Iterator[Pattern]:
    """A measured value, given as the text of the file: as text, integer and float."""
    from decimal import Decimal

    scaled = int(Decimal(value).scaleb(decimals))
    for digits in {value, str(scaled)}:
        yield from written(what, digits.encode())
        yield Pattern(what, "utf-16-le", digits.encode("utf-16-le"))
    for order in "<>":
        yield from written(what, struct.pack(order + "q", scaled), f"int64 {order}")
        yield from written(what, struct.pack(order + "d", float(value)), f"float64 {order}")
    yield Pattern(what, "varint", _varint(scaled % (1 << 64)))
    yield Pattern(what, "zigzag", _varint((scaled << 1) ^ (scaled >> 63)))


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


# -- search --------------------------------------------------------------------------------


class Scanner:
    """All patterns at once; those with too few bytes to mean anything are an error."""

    def __init__(self, patterns: Iterable[Pattern]) -> None:
        self._by_anchor: dict[int, list[tuple[Pattern, int]]] = defaultdict(list)
        seen: set[bytes] = set()
        for pattern in patterns:
            if len(pattern.data) < SHORTEST:
                raise ValueError(f"{pattern.what} as {pattern.form} is too short to search")
            if pattern.data not in seen:
                seen.add(pattern.data)
                at = _anchor(pattern.data)
                value = int.from_bytes(pattern.data[at : at + SHORTEST], "little")
                self._by_anchor[value].append((pattern, at))
        self.patterns = len(seen)
        self._anchors = np.array(sorted(self._by_anchor), dtype=np.uint64)
        self._table = np.zeros(1 << _TABLE_BITS, dtype=np.bool_)
        self._table[_slot(self._anchors)] = True

    def find(self, blob: bytes, where: str) -> list[Finding]:
        found = []
        for start in range(0, max(0, len(blob) - SHORTEST + 1), _BLOCK):
            for place in self._candidates(blob[start : start + _BLOCK + SHORTEST - 1]):
                at = start + place
                value = int.from_bytes(blob[at : at + SHORTEST], "little")
                for pattern, offset in self._by_anchor.get(value, ()):
                    begin = at - offset
                    if begin >= 0 and blob.startswith(pattern.data, begin):
                        found.append(Finding(pattern.what, pattern.form, where, begin))
        return found

    def _candidates(self, block: bytes) -> list[int]:
        data = np.frombuffer(block, dtype=np.uint8).astype(np.uint64)
        size = len(data) - SHORTEST + 1
        window = np.zeros(size, dtype=np.uint64)
        for byte in range(SHORTEST):
            window |= data[byte : byte + size] << np.uint64(8 * byte)
        maybe = np.flatnonzero(self._table[_slot(window)])
        at = np.searchsorted(self._anchors, window[maybe])
        at[at == len(self._anchors)] = 0
        return [int(i) for i in maybe[self._anchors[at] == window[maybe]]]


def _anchor(data: bytes) -> int:
    """Where the most telling bytes stand: zeros are everywhere in databases."""
    if len(set(data[:SHORTEST]) - {0}) > 2:
        return 0
    starts = range(min(len(data) - SHORTEST, 64) + 1)
    return max(starts, key=lambda i: (len(set(data[i : i + SHORTEST]) - {0}), -i))


def _slot(values: np.ndarray) -> np.ndarray:
    return (values * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - _TABLE_BITS)
