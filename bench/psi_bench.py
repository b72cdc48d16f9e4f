"""Matching without the service: rows per second of each part, memory of the join.

Every measurement runs in a process of its own, so that its peak memory is its own.

    python -m bench.psi_bench [rows per party]
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

Row = dict[str, Any]
JOIN_ROWS = 10_000_000
TYPES = ("phone", "email")


def run(n: int) -> list[Row]:
    """n: rows per party.  The join is also measured at 10 million when n is at least 2^20."""
    found = [*_measured("tokens", n), *_measured("upload", n), *_measured("join", n)]
    if n >= 1 << 20:
        found += _measured("join", JOIN_ROWS)
    return found + _measured("points", n)


def _measured(part: str, n: int) -> list[Row]:
    command = [sys.executable, "-m", "bench.psi_bench", "--part", part, str(n)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
    rows: list[Row] = json.loads(done.stdout)
    return rows


def _row(name: str, value: float, unit: str, peer: str = "", peer_value: float = 0.0) -> Row:
    ratio = round(value / peer_value, 2) if peer else None
    return {
        "name": name,
        "value": round(value, 2),
        "unit": unit,
        "peer": peer or None,
        "peer_value": round(peer_value, 2) if peer else None,
        "ratio": ratio,
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _peak() -> float:
    """Largest resident size of this process in MB, mapped files included."""
    # Not getrusage: a child's ru_maxrss starts at what its parent had when it forked.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    (line,) = (line for line in status.splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def _phones(n: int) -> pa.StringArray:
    numbers = pa.array(np.arange(13_000_000_000, 13_000_000_000 + n)).cast(pa.string())
    return pa.compute.binary_join_element_wise("+86", numbers, "")


def tokens(n: int) -> list[Row]:
    """The PRF in SQL beside one HMAC call per row."""
    import pyarrow.compute  # noqa: F401  # makes pa.compute

    from party_node.keyed_tokens import duckdb_prf
    from protocol.psi.tokens import hashlib_prf

    ids, k = _phones(n), os.urandom(32)
    ours = n / _seconds(lambda: duckdb_prf(k).tokens("phone", ids))
    peak = _peak()
    peer = n / _seconds(lambda: hashlib_prf(k).tokens("phone", ids))
    return [
        _row(f"PSI keyed tokens, {n} ids", ours, "ids/s", "hmac.digest per id", peer),
        _row(f"PSI keyed tokens, {n} ids, peak memory", peak, "MB"),
    ]


def upload(n: int) -> list[Row]:
    """Everything a party does in keyed mode from identifiers to the shuffled table, two types."""
    import pyarrow.compute  # noqa: F401  # makes pa.compute

    from party_node.keyed_tokens import duckdb_prf
    from protocol.psi.dummies import DummyRule
    from protocol.psi.padding import handles_for
    from protocol.psi.tokens import assemble
    from protocol.rows import EligibleRows

    k, ids = os.urandom(32), _phones(n)
    rows = EligibleRows(np.arange(n), dict.fromkeys(TYPES, ids))
    handles = handles_for(n, len(TYPES), DummyRule())

    def work() -> None:
        found = [duckdb_prf(k).tokens(kind, ids) for kind in TYPES]
        assemble(rows, TYPES, found, k, handles, os.urandom)

    rate = n / _seconds(work)
    return [
        _row(f"PSI keyed upload, {n} rows, 2 types", rate, "rows/s"),
        _row(f"PSI keyed upload, {n} rows, 2 types, peak memory", _peak(), "MB"),
    ]


def join(n: int) -> list[Row]:
    """H's join of two uploads of two types that lie in files; half of the people match."""
    from protocol.psi.join import waterfall

    half, width = n // 2, 16 * len(TYPES)
    with tempfile.TemporaryDirectory() as folder:
        for name in ("left", "right"):
            _write_tokens(Path(folder), name, n, half, width)
        maps = [
            np.memmap(Path(folder) / name, np.uint8, "r", shape=(n, width))
            for name in ("left", "right")
        ]
        found: list[np.ndarray[Any, np.dtype[np.int64]]] = []
        taken = _seconds(lambda: found.append(waterfall(maps[0], maps[1], len(TYPES), 16)))
        if int((found[0] >= 0).sum()) != half:
            raise AssertionError("the join lost somebody")
    return [
        _row(f"PSI join, {n} x {n}, 2 types", 2 * n / taken, "handles/s"),
        _row(f"PSI join, {n} x {n}, 2 types, seconds", taken, "s"),
        _row(f"PSI join, {n} x {n}, 2 types, peak memory", _peak(), "MB"),
    ]


def _write_tokens(folder: Path, name: str, n: int, shared: int, width: int) -> None:
    """n rows of random tokens in a file, the first `shared` in both; seeded, nothing secret."""
    block = 1 << 18
    with (folder / name).open("wb") as file:
        for start in range(0, n, block):
            rows = min(block, n - start)
            common = np.random.default_rng(start).bytes(rows * width)
            own = np.random.default_rng([start, len(name)]).bytes(rows * width)
            cut = min(max(shared - start, 0), rows) * width
            file.write(common[:cut] + own[cut:])


def points(n: int) -> list[Row]:
    """What one party multiplies in ecdh mode, one type: its own points, then its peer's."""
    import pyarrow.compute  # noqa: F401  # makes pa.compute

    from protocol.psi.ecdh import Curve, arithmetic, random_scalar

    workers, ids = os.cpu_count() or 1, _phones(n)
    mine, yours = random_scalar(os.urandom), random_scalar(os.urandom)

    def rates(curve: Curve, some: pa.StringArray) -> tuple[float, float]:
        made = [curve.hash_blinded("phone", some[:1], mine)]
        first = _seconds(lambda: made.append(curve.hash_blinded("phone", some, mine)))
        second = _seconds(lambda: curve.reblind(yours, made[1]))
        return len(some) / first, len(some) / second

    curve = Curve(workers)
    ours, peak = rates(curve, ids), _peak()
    if curve.arithmetic.name == "sodium":
        peer, theirs = "", (0.0, 0.0)
    else:  # a sample: libsodium's rate does not depend on the number
        peer, theirs = "libsodium", rates(Curve(workers, arithmetic("sodium")), ids[:8192])
    by = f"by {curve.arithmetic.name}, {workers} threads"
    return [
        _row(f"PSI ecdh hash and blind, {n} ids, {by}", ours[0], "ids/s", peer, theirs[0]),
        _row(f"PSI ecdh blind the peer's points, {n}, {by}", ours[1], "points/s", peer, theirs[1]),
        _row(f"PSI ecdh, {n} ids, peak memory", peak, "MB"),
    ]


PARTS: dict[str, Callable[[int], list[Row]]] = {
    "tokens": tokens,
    "upload": upload,
    "join": join,
    "points": points,
}

if __name__ == "__main__":
    if sys.argv[1:2] == ["--part"]:
        print(json.dumps(PARTS[sys.argv[2]](int(sys.argv[3]))))
    else:
        for measured in run(int(sys.argv[1]) if len(sys.argv) > 1 else 1 << 16):
            print(f"{measured['name']:60} {measured['value']:>14,} {measured['unit']}")
