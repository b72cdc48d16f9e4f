"""The C extension of this package: Lloyd's step over rows in columns, eight at a time.

Who runs it: every party of a k-means whose installation has it.  Learns: nobody, anything.
Source: `native/*.h` and docs/adr/0014-native-lloyd.md for how and why.

Columns cross by the buffer protocol, as they lie in the table.  C releases the interpreter, so
the threads of `protocol.kmeans.lloyd` fill the cores.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

import numpy as np
import numpy.typing as npt

from protocol.kmeans.points import Floats, Labels, Points, Scores

Words = npt.NDArray[np.uint64]
Integers = npt.NDArray[np.int64]
Columns = tuple[Integers, ...]
REACH = 1 << 51  # C takes differences below this: they are added to the bits of a float64


class _Module(Protocol):
    """`protocol.kmeans._native`, as native/module.c defines it."""

    def engines(self) -> tuple[str, ...]: ...
    def nearest(
        self, engine: str, features: Columns, first: int, rows: int, middle: Integers,
        slopes: Floats, starts: Floats, labels: Labels, sums: Words,
    ) -> None: ...  # fmt: skip
    def gaps(
        self, features: Columns, first: int, rows: int, middle: Integers, centres: Floats,
        scale: Floats, labels: Labels, out: Floats,
    ) -> None: ...  # fmt: skip


def extension() -> _Module | None:
    """The built extension, None where the installation had no compiler."""
    try:
        return cast(_Module, import_module("protocol.kmeans._native"))
    except ImportError:
        return None


@dataclass(frozen=True)
class Native:
    """`protocol.kmeans.lloyd.Arithmetic` in C.  `load` says whether there is one."""

    native: _Module
    name: str

    @staticmethod
    def load(name: str = "") -> Native | None:
        """The named engine, or the fastest here."""
        native = extension()
        if native is None:
            return None
        here = native.engines()
        chosen = name or here[0]
        return Native(native, chosen) if chosen in here else None

    @property
    def threads(self) -> int:
        return len(os.sched_getaffinity(0))

    def takes(self, points: Points) -> bool:
        return points.reach < REACH

    def labels(self, points: Points, scores: Scores, start: int, end: int) -> Labels:
        found = np.empty(end - start, dtype=np.int32)
        self._nearest(points, scores, start, end, found, np.empty(0, dtype=np.uint64))
        return found

    def sums(self, points: Points, scores: Scores, start: int, end: int) -> list[int]:
        found = np.empty(scores.slopes.size + len(scores.starts), dtype=np.uint64)
        self._nearest(points, scores, start, end, np.empty(0, dtype=np.int32), found)
        return found.view(np.int64).tolist()

    def _nearest(
        self, points: Points, scores: Scores, start: int, end: int, labels: Labels, sums: Words
    ) -> None:
        self.native.nearest(
            self.name, _columns(points), start, end - start, _middle(points),
            scores.slopes, scores.starts, labels, sums,
        )  # fmt: skip

    def gaps(self, points: Points, centres: Floats, labels: Labels, start: int, end: int) -> Floats:
        found = np.empty(end - start)
        self.native.gaps(
            _columns(points), start, end - start, _middle(points),
            np.ascontiguousarray(centres, dtype=np.float64), points.scale, labels[start:end], found,
        )  # fmt: skip
        return found


def _columns(points: Points) -> Columns:
    return tuple(np.ascontiguousarray(feature, dtype=np.int64) for feature in points.features)


def _middle(points: Points) -> Integers:
    return np.array(points.middle, dtype=np.int64)
