"""What a protocol on top of secure sums is: rounds of questions, vectors and totals.

Who runs it: `begin` and `advance` the requester, between two rounds; `outputs`, `vector` and
`local` every party, over its own eligible rows.
Learns: the requester the noisy totals; every party the questions, all of which follow from
totals, and the released result.
Source: protocols.md sections 3 and 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from protocol.errors import Refused
from protocol.rows import EligibleRows
from protocol.secure_sum.party import Vector
from protocol.secure_sum.spec import Output

Json = dict[str, Any]
NUMBER = "number"


@dataclass(frozen=True)
class Column:
    """One party's attribute as it offered it.  vocabulary: of labels and flags."""

    attribute: str
    kind: str
    vocabulary: tuple[str | bool, ...] = ()
    lo: int = 0
    hi: int = 0
    decimals: int = 0
    nullable: bool = False


@dataclass(frozen=True)
class Ground:
    """The signed facts that every party derives a job's layout from.

    names: what each column holds.  columns: per party, in the order of `names`.
    handles: per party its padded number of rows.  rho_nano: of the whole job, 0 without noise.
    """

    names: tuple[str, ...]
    columns: Mapping[str, tuple[Column, ...]]
    handles: Mapping[str, int]
    rho_nano: int
    min_cohort: int
    settings: Mapping[str, Any]
    seed: int

    @property
    def noise(self) -> bool:
        return self.rho_nano > 0

    @property
    def people(self) -> int:
        """No more than this over all parties, from padded sizes."""
        return sum(self.handles.values())

    @property
    def parties(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def alike(self, name: str) -> list[Column]:
        """What every party has under `name`."""
        at = self.names.index(name)
        return [columns[at] for columns in self.columns.values()]

    def column(self, party: str, name: str) -> Column:
        return self.columns[party][self.names.index(name)]

    def scale(self, name: str) -> NumberScale:
        """The common unit of a number.  Raises Refused('unfit_column') if one is no number."""
        columns = self.alike(name)
        for party, column in zip(self.parties, columns, strict=True):
            if column.kind != NUMBER:
                raise unfit(f"{party}/{column.attribute} is a {column.kind}, {name} is a number")
        decimals = max(column.decimals for column in columns)
        lo = min(column.lo * 10 ** (decimals - column.decimals) for column in columns)
        hi = max(column.hi * 10 ** (decimals - column.decimals) for column in columns)
        return NumberScale(name, lo, hi, decimals)

    def values(self, party: str, name: str, rows: EligibleRows) -> tuple[Integers, Mask]:
        """A party's own values of `name` in the common unit, and which of them are null."""
        column = self.column(party, name)
        number = rows.numbers[column.attribute]
        factor = 10 ** (self.scale(name).decimals - column.decimals)
        if factor == 1:
            return number.values, number.null
        return number.values * np.int64(factor), number.null


Integers = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class NumberScale:
    """A number over all parties: public bounds in units of 10^-decimals."""

    name: str
    lo: int
    hi: int
    decimals: int

    def __post_init__(self) -> None:
        if max(abs(self.lo), abs(self.hi)) > 1 << 53:
            raise unfit(f"{self.name} has bounds that are too wide for its decimals")

    @property
    def mid(self) -> int:
        return (self.lo + self.hi) // 2

    @property
    def sensitivity(self) -> int:
        """The most that one person's value lies from the middle."""
        return max(self.hi - self.mid, self.mid - self.lo)

    @property
    def unit(self) -> int:
        return int(10**self.decimals)


@dataclass(frozen=True)
class Turn:
    """What the requester makes of a round.

    state: its own memory until the next round (JSON); never leaves it.
    question: what every party needs for the next round, or for its own file at the end.
    result: the released result at the end; None before.
    """

    state: Json
    question: Json
    result: Json | None = None


@dataclass(frozen=True)
class Local:
    """What a party writes for itself: folder, and columns of n values in the order of its rows."""

    folder: str
    columns: Mapping[str, npt.NDArray[Any]]


class Model(Protocol):
    """One protocol over secure sums, made from a Ground; all methods are pure."""

    @property
    def rounds(self) -> int:
        """The most sums that it asks."""
        ...

    def begin(self) -> Turn: ...

    def outputs(self, question: Json) -> tuple[Output, ...]: ...

    def vector(self, question: Json, party: str, rows: EligibleRows) -> Vector: ...

    def advance(self, turn: Turn, totals: Vector) -> Turn: ...

    def local(self, question: Json, party: str, rows: EligibleRows) -> Local | None: ...

    def sigmas(self) -> dict[str, float]:
        """Per reported number σ of all parties' noise together; empty without noise."""
        ...


def unfit(cause: str) -> Refused:
    return Refused(
        "unfit_column",
        cause,
        stage="admit",
        next_step="name columns that mean the same at every party",
    )
