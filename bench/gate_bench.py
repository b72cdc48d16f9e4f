"""The consent gate at full size: one question over many people and many kinds of use.

Every (recipient, category) cell has a record of its own for every person, so nothing is shared
between cells; a tenth of the permits has an end.  In a process of its own, whose peak memory
is the number reported: the index of pseudonyms, the state of every person and the bitmaps.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from consent.gate import Gate, RowSubjects
from consent.purposes import CATEGORIES, State
from consent.records import RecordBatch, new_batch
from consent.subjects import SubjectIndex
from consent.terms import Scope

PEOPLE, CELLS = 10_000_000, 20
PURPOSE, RECIPIENTS, SOME = "audience_insight", ("a", "b", "c", "d"), CATEGORIES[:5]
NOW = 1_800_000_000
_PIECE = 500_000
_STATES = np.array([State.GIVEN] * 7 + [State.RENEWED, State.REFUSED, State.WITHDRAWN], np.uint8)


class Told:
    """A replica that was told everything and is always fresh."""

    def __init__(self, index: SubjectIndex) -> None:
        self._index = index
        self.later: list[RecordBatch] = []
        self._told = 0

    def require_fresh(self, now: float) -> None:
        pass

    def overlaid(self) -> list[RecordBatch]:
        return []

    def erasures(self) -> int:
        return 0

    def pages(self, since: int) -> Iterator[tuple[int, RecordBatch]]:
        if since == 0:
            rng = np.random.default_rng(1)
            for start in range(0, len(self._index), _PIECE):
                people = np.arange(start, min(start + _PIECE, len(self._index)))
                for recipient in RECIPIENTS:
                    for category in SOME:
                        since += 1
                        yield since, self._piece(people, recipient, category, rng)
        else:
            for batch in self.later:
                since += 1
                yield since, batch
            self.later = []

    def _piece(
        self, people: Any, recipient: str, category: str, rng: np.random.Generator
    ) -> RecordBatch:
        states = rng.choice(_STATES, len(people))
        ends = (rng.random(len(people)) < 0.1) & (states <= State.RENEWED)
        until = np.where(ends, (NOW + rng.integers(1, 3 * 10**7, len(people))) * 1000, 0)
        return new_batch(
            self._index.tokens(people), 1, (Scope((PURPOSE,), (recipient,), (category,)),),
            np.zeros(len(people), np.uint32), states, "import", NOW * 1000, rng.bytes,
            valid_until_ms=until,
        )  # fmt: skip

    def withdraw(self, person: int) -> None:
        one = self._index.tokens(np.array([person]))
        every = (Scope((PURPOSE,), ("*",), CATEGORIES),)
        code, state = np.zeros(1, np.uint32), np.array([State.WITHDRAWN], np.uint8)
        self.later.append(new_batch(one, 1, every, code, state, "portal", NOW * 1000, os.urandom))


def measure(people: int) -> dict[str, float]:
    tokens = np.random.default_rng(0).integers(0, 256, (people, 32), dtype=np.uint8)
    index, codes = SubjectIndex.numbering(tokens)
    del tokens
    told = Told(index)
    gate = Gate(told, RowSubjects(index, (codes,), people))  # type: ignore[arg-type]

    def ask(now: float) -> tuple[float, int]:
        started = time.perf_counter()
        rows = len(gate.eligible(PURPOSE, RECIPIENTS, SOME, now).rows)
        return time.perf_counter() - started, rows

    first, rows = ask(NOW)
    again = min(ask(NOW)[0] for _ in range(3))
    a_minute_on, _ = ask(NOW + 60)
    told.withdraw(int(codes[0]))
    withdrawn, after = ask(NOW + 60)
    if not 0 < after <= rows < people:
        raise SystemExit("the bench's own gate does not answer as it must")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "first": first, "again": again, "minute": a_minute_on, "withdrawn": withdrawn,
        "gigabytes": peak / 1e9,
    }  # fmt: skip


def run(people: int = PEOPLE) -> list[dict[str, Any]]:
    """Rows of bench/results.json."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.gate_bench", str(people)], check=True, capture_output=True
    )
    found = json.loads(done.stdout)
    what = f"consent gate, {people:,} people x {CELLS} cells"
    rows = (
        (f"{what}: a question", found["again"], "s"),
        (f"{what}: a question after permits have ended", found["minute"], "s"),
        (f"{what}: a question after a withdrawal", found["withdrawn"], "s"),
        (f"{what}: reading the whole log and the first question", found["first"], "s"),
        (f"{what}: peak memory", found["gigabytes"], "GB"),
    )
    return [
        {"name": name, "value": round(value, 3), "unit": unit, "peer": None, "peer_value": None,
         "ratio": None}
        for name, value, unit in rows
    ]  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]) if len(sys.argv) > 1 else PEOPLE)))
