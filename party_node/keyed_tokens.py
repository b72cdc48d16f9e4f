"""The keyed PRF over whole columns: HMAC-SHA-256 in SQL, on all cores.

Who runs it: every party in `keyed` mode.  A million identifiers take about a second; one
hash call per person would take several.  The key's two padded blocks are bound parameters,
so they appear in no query text or log.
Learns: nobody anything; see `protocol.psi.tokens`.
Source: protocols.md section 1; HMAC: RFC 2104, as nested SHA-256.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from consent import column_sql
from protocol.encoding import chunk_ranges
from protocol.psi.tokens import TOKEN, KeyedPrf, type_key
from protocol.secret import Secret

_BLOCK = 64  # SHA-256's input block
_ROWS = 1 << 19  # at once: DuckDB and Arrow hold some hundred bytes of each meanwhile
# sha256() answers in hex: 32 characters are the first 16 bytes.
_QUERY = """
SELECT unhex(sha256($outer || unhex(sha256($inner || encode(id))))[1:32]) AS token FROM ids
"""


@dataclass(frozen=True)
class DuckDbPrf:
    k: Secret

    def tokens(self, kind: str, ids: pa.StringArray) -> npt.NDArray[np.uint8]:
        """uint8[n, 16]; zeros where null."""
        key = type_key(self.k.reveal(), kind).reveal().ljust(_BLOCK, b"\0")
        blocks = {
            "inner": bytes(byte ^ 0x36 for byte in key),
            "outer": bytes(byte ^ 0x5C for byte in key),
        }
        out = np.zeros((len(ids), TOKEN), dtype=np.uint8)
        with column_sql.connection() as connection:  # the order of a table is kept by default
            for a, b in chunk_ranges(len(ids), _ROWS):
                connection.register("ids", pa.table({"id": ids[a:b]}))
                found = connection.sql(_QUERY, params=blocks).to_arrow_table()
                _place(found.column("token"), out[a:b])
        return out


def duckdb_prf(k: bytes) -> KeyedPrf:
    return DuckDbPrf(Secret(k))


def _place(column: pa.ChunkedArray, out: npt.NDArray[np.uint8]) -> None:
    """Puts a binary column of 16-byte values and nulls into uint8[n, 16]."""
    start = 0
    for chunk in column.chunks:
        fixed = chunk.cast(pa.binary(TOKEN))
        data = np.frombuffer(fixed.buffers()[1], dtype=np.uint8)
        rows = data.reshape(-1, TOKEN)[fixed.offset : fixed.offset + len(fixed)]
        if fixed.null_count:
            have = fixed.is_valid().to_numpy(zero_copy_only=False)
            out[start : start + len(fixed)][have] = rows[have]
        else:
            out[start : start + len(fixed)] = rows
        start += len(fixed)
