"""Keyed tokens, and the shuffled table of handles that a party uploads.

Who runs it: every party.  `keyed` mode: one PRF value per identifier (Kamara, Mohassel,
Raykova, Sadeghian 2014, server-aided PSI); `ecdh` mode uses `fill` with points instead.
Learns: H, per handle and type, 16 bytes that look random to whoever lacks K; equal ones at
two parties are one person or one agreed dummy.  H with a party of the job can test guesses.
Source: protocols.md section 1.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.encoding import length_prefixed
from protocol.psi.dummies import DummyRule
from protocol.rows import EligibleRows
from protocol.secret import Secret

TOKEN = 16
DUMMY, PADDING = -1, -2
Random = Callable[[int], bytes]


class KeyedPrf(Protocol):
    """The PRF under one K.  Implementations: `hashlib_prf` here, set-based in the node."""

    def tokens(self, kind: str, ids: pa.StringArray) -> npt.NDArray[np.uint8]:
        """uint8[n, 16]: HMAC-SHA-256 under HKDF(K, kind), truncated; zeros where null."""
        ...


@dataclass(frozen=True)
class HandleTable:
    """What a party uploads, and what it alone knows about it.

    tokens: uint8[handles, types·width], shuffled; per handle one token per type.
    row_of_handle: int64[handles], position in the eligible rows, or DUMMY, or PADDING.
        Never leaves the node.
    """

    tokens: npt.NDArray[np.uint8]
    row_of_handle: npt.NDArray[np.int64]

    def __repr__(self) -> str:
        return f"HandleTable(handles={len(self.tokens)})"


def type_key(k: bytes, kind: str) -> Secret:
    """HKDF(K, type): 32 bytes that key the PRF of one identifier type."""
    info = length_prefixed("assent/psi/token/v1", kind)
    return Secret(HKDF(SHA256(), 32, salt=None, info=info).derive(k))


@dataclass(frozen=True)
class HashlibPrf:
    """One hash call per person: the reference that the set-based one must equal."""

    k: Secret

    def tokens(self, kind: str, ids: pa.StringArray) -> npt.NDArray[np.uint8]:
        key = type_key(self.k.reveal(), kind).reveal()
        values = ids.cast(pa.binary()).to_pylist()
        none = bytes(TOKEN)
        joined = b"".join(
            none if v is None else hmac.digest(key, v, "sha256")[:TOKEN] for v in values
        )
        return np.frombuffer(joined, dtype=np.uint8).reshape(len(values), TOKEN)


def hashlib_prf(k: bytes) -> KeyedPrf:
    return HashlibPrf(Secret(k))


def assemble(
    rows: EligibleRows, types: Sequence[str], found: Iterable[npt.NDArray[np.uint8]],
    k: bytes, handles: int, random: Random,
) -> HandleTable:  # fmt: skip
    """The keyed upload: rows, agreed dummies and padding, shuffled together.

    found: per type the tokens of all rows, uint8[n, 16], each asked for when the one before is
    placed; what stands where the identifier is null is replaced by a random token.
    handles: as announced (`padding.handles_for`).
    """

    def fresh(n: int) -> npt.NDArray[np.uint8]:
        return np.frombuffer(random(n * TOKEN), dtype=np.uint8).reshape(n, TOKEN)

    return fill(
        rows,
        types,
        TOKEN,
        found,
        k,
        handles,
        random,
        lambda kind, names: agreed_tokens(k, kind, names),
        fresh,
    )


def agreed_tokens(k: bytes, kind: str, names: Sequence[bytes]) -> npt.NDArray[np.uint8]:
    """uint8[n, 16]: what every holder of K gives the dummies `names` under one type.

    A key of its own: no identifier, whatever its text, can meet a dummy's token.
    """
    info = length_prefixed("assent/psi/dummy-token/v1", kind)
    key = HKDF(SHA256(), 32, salt=None, info=info).derive(k)
    joined = b"".join(hmac.digest(key, name, "sha256")[:TOKEN] for name in names)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(names), TOKEN)


def fill(
    rows: EligibleRows, types: Sequence[str], width: int,
    found: Iterable[npt.NDArray[np.uint8]], k: bytes, handles: int, random: Random,
    agreed: Callable[[str, list[bytes]], npt.NDArray[np.uint8]],
    fresh: Callable[[int], npt.NDArray[np.uint8]],
) -> HandleTable:  # fmt: skip
    """Places everything and shuffles it; the same for tokens and for points.

    agreed(type, names): the tokens of dummies that all parties make alike.
    fresh(n): n tokens that nobody else can hold.
    """
    n = len(rows)
    sets = [(s, c) for s, c in DummyRule().draw(k, types).items() if c]
    n_dummies = sum(count for _, count in sets)
    if n + n_dummies > handles:
        raise ValueError(f"{n} rows and {n_dummies} dummies do not fit {handles} handles")
    place = permutation(handles, random)  # place[i]: handle of the i-th of rows, dummies, padding
    tokens = np.empty((handles, len(types) * width), dtype=np.uint8)
    for position, (kind, own) in enumerate(zip(types, found, strict=True)):
        column = tokens[:, position * width : (position + 1) * width]
        have = np.ones(n, dtype=np.bool_)
        if rows.identifiers[kind].null_count:
            have = rows.identifiers[kind].is_valid().to_numpy(zero_copy_only=False)
        if have.all():
            column[place[:n]] = own
        else:
            column[place[:n][have]] = own[have]
        private = [place[:n][~have], place[n + n_dummies :]]
        start = n
        for agreeing, count in sets:
            where = place[start : start + count]
            start += count
            if kind in agreeing:
                label = length_prefixed(*sorted(agreeing))
                names = [label + i.to_bytes(4, "big") for i in range(count)]
                column[where] = agreed(kind, names)
            else:
                private.append(where)
        lonely = np.concatenate(private)
        column[lonely] = fresh(len(lonely))
    row_of_handle = np.full(handles, PADDING, dtype=np.int64)
    row_of_handle[place[:n]] = np.arange(n)
    row_of_handle[place[n : n + n_dummies]] = DUMMY
    return HandleTable(tokens, row_of_handle)


def permutation(n: int, random: Random) -> npt.NDArray[np.int64]:
    """A uniform permutation of 0…n-1: the order of n distinct 64-bit draws.

    Draws with a tie are thrown away as a whole, so what is left is exactly uniform.
    """
    while True:
        keys = np.frombuffer(random(8 * n), dtype="<u8")
        order = np.argsort(keys)
        ranked = keys[order]
        if n < 2 or not bool((ranked[1:] == ranked[:-1]).any()):
            return order
