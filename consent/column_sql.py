"""SQL over columns: one DuckDB in memory for the whole process, a connection for each use.

Who runs it: every node.  To start a DuckDB takes longer than most of what is asked of it.
Learns: nobody, anything; nothing of it is ever on a disk.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow as pa

from protocol.encoding import chunk_ranges

_ROWS = 1 << 19
_BLOCK = 64  # SHA-256's input block
_MAC = """
SELECT unhex(sha256($outer::BLOB || unhex(sha256($inner::BLOB || row)))) AS mac FROM rows
"""
_opening = threading.Lock()


@contextmanager
def connection() -> Iterator[duckdb.DuckDBPyConnection]:
    """What is registered with it, no other connection sees."""
    with _opening:
        found = _database(os.getpid()).cursor()
    with found:
        yield found


def hashes(column: pa.StringArray) -> npt.NDArray[np.uint64]:
    """uint64[n]: equal for equal texts, and hardly ever for others; nulls are alike."""
    out = np.zeros(len(column), dtype=np.uint64)
    with connection() as found:
        for a, b in chunk_ranges(len(column), _ROWS):
            found.register("texts", pa.table({"text": column[a:b]}))
            answer = found.sql("SELECT hash(text) AS h FROM texts").to_arrow_table()
            out[a:b] = answer.column("h").to_numpy()
    return out


def macs(key: bytes, rows: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """uint8[n, 32]: HMAC-SHA-256 of each of the rows; key: at most 64 bytes."""
    padded = key.ljust(_BLOCK, b"\0")
    blocks = {
        "outer": bytes(byte ^ 0x5C for byte in padded),
        "inner": bytes(byte ^ 0x36 for byte in padded),
    }
    n, width = rows.shape
    column = pa.FixedSizeBinaryArray.from_buffers(
        pa.binary(width), n, [None, pa.py_buffer(np.ascontiguousarray(rows))]
    )
    out = np.empty((n, 32), dtype=np.uint8)
    with connection() as found:  # the order of a table is kept by default
        for a, b in chunk_ranges(n, _ROWS):
            found.register("rows", pa.table({"row": column[a:b].cast(pa.binary())}))
            answer = found.sql(_MAC, params=blocks).to_arrow_table()
            fixed = answer["mac"].combine_chunks().cast(pa.binary(32))
            data = np.frombuffer(fixed.buffers()[1], dtype=np.uint8).reshape(-1, 32)
            out[a:b] = data[fixed.offset : fixed.offset + b - a]
    return out


@cache
def _database(process: int) -> duckdb.DuckDBPyConnection:
    """process: its threads do not live on in a fork."""
    # A table's path must never make DuckDB fetch code or data from elsewhere.
    return duckdb.connect(
        ":memory:",
        config={
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "temp_directory": "",
        },
    )
