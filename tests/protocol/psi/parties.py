"""Whole matchings in one process: eligible rows in, which rows met out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pytest
from hypothesis import strategies as st

from protocol.psi.dummies import DummyRule
from protocol.psi.ecdh import POINT, Curve, random_scalar
from protocol.psi.join import join_all, waterfall
from protocol.psi.members import matched_rows
from protocol.psi.native_curve import Ifma
from protocol.psi.padding import handles_for
from protocol.psi.tokens import TOKEN, HandleTable, assemble, hashlib_prf
from protocol.rows import EligibleRows
from tests.reference.psi_oracle import Person

TYPES = ("phone", "email", "member")


def curve() -> Curve:
    """By whatever arithmetic ASSENT_CURVE says now: tests run under each."""
    return Curve(workers=2)


NO_IFMA = pytest.mark.skipif(
    Ifma.load() is None, reason="no AVX-512 IFMA, or the extension is not built"
)
ARITHMETICS = ["sodium", pytest.param("ifma", marks=NO_IFMA)]


@contextmanager
def arithmetic_is(name: str) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ASSENT_CURVE", name)
        yield


def eligible(people: Sequence[Person], types: Sequence[str]) -> EligibleRows:
    return EligibleRows(
        index=np.arange(len(people), dtype=np.int64),
        identifiers={
            kind: pa.array([p[i] for p in people], pa.string()) for i, kind in enumerate(types)
        },
    )


@st.composite
def federations(
    draw: st.DrawFn, parties: int = 2, most: int = 12
) -> tuple[list[list[Person]], int]:
    """People of each party, few identifiers so that they meet, unique per party and type."""
    types = draw(st.integers(1, 3))
    sides = []
    for _ in range(parties):
        n = draw(st.integers(0, most))
        columns = []
        for kind in range(types):
            pool = [f"{TYPES[kind]}-{i}" for i in range(most + 4)]
            ids: list[str | None] = list(draw(st.permutations(pool)))[:n]
            missing = draw(st.sets(st.integers(0, most - 1)))
            columns.append([None if i in missing else v for i, v in enumerate(ids)])
        sides.append(list(zip(*columns, strict=True)))
    return sides, types


def keyed(people: Sequence[Person], types: int, k: bytes) -> HandleTable:
    rows, names = eligible(people, TYPES[:types]), TYPES[:types]
    found = [hashlib_prf(k).tokens(kind, rows.identifiers[kind]) for kind in names]
    handles = handles_for(len(rows), types, DummyRule())
    return assemble(rows, names, found, k, handles, os.urandom)


def ringed(sides: Sequence[Sequence[Person]], types: int, k: bytes) -> list[HandleTable]:
    """Every party's points after the ring: blinded by all."""
    scalars = [random_scalar(os.urandom) for _ in sides]
    tables = []
    for i, people in enumerate(sides):
        rows = eligible(people, TYPES[:types])
        handles = handles_for(len(rows), types, DummyRule())
        table = curve().assemble(rows, TYPES[:types], k, handles, scalars[i], os.urandom)
        points = table.tokens
        for other in scalars[i + 1 :] + scalars[:i]:
            points = curve().reblind(other, points)
        tables.append(HandleTable(points, table.row_of_handle))
    return tables


def paired(left: HandleTable, right: HandleTable, types: int) -> dict[int, int]:
    """right row → left row, dummies gone; refuses pairs of unlike handles."""
    width = left.tokens.shape[1] // types
    pairing = waterfall(left.tokens, right.tokens, types, width)
    out = {}
    for handle in np.flatnonzero(pairing >= 0):
        mine, yours = right.row_of_handle[handle], left.row_of_handle[pairing[handle]]
        assert (mine >= 0) == (yours >= 0), "a person met a dummy"
        assert -2 not in (mine, yours), "padding met somebody"
        if mine >= 0:
            out[int(mine)] = int(yours)
    return out


def shared(tables: Sequence[HandleTable], types: int) -> list[set[int]]:
    width = tables[0].tokens.shape[1] // types
    masks = join_all([t.tokens for t in tables], types, width)
    return [
        set(matched_rows(mask, table.row_of_handle).tolist())
        for mask, table in zip(masks, tables, strict=True)
    ]


def random_tokens(n: int, types: int, width: int = TOKEN) -> npt.NDArray[np.uint8]:
    return np.frombuffer(os.urandom(n * types * width), np.uint8).reshape(n, types * width).copy()


def all_distinct(tokens: npt.NDArray[np.uint8], width: int) -> bool:
    flat = [bytes(row) for row in tokens.reshape(-1, width)]
    return all(a != b for a, b in pairwise(sorted(flat)))


__all__ = ["NO_IFMA", "POINT", "TOKEN", "TYPES"]
