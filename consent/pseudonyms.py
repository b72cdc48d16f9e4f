"""Subject tokens: how the ledger names a person without knowing who it is.

Who runs it: a party's node; the key M never leaves it.  Learns: the consent service sees
that two records of one party are about the same identifier, not which, and cannot link
parties or logs, because the key depends on both (consent.md, "Pseudonyms").

K = HKDF-SHA-256(M, salt = log origin, info = "consent-subject/v1" | party | key version)
token = s1.<version>.<base64url HMAC-SHA-256(K, length-prefixed customer key)>

The customer key of this version is "identifier type:canonical identifier".
"""

from __future__ import annotations

import base64
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consent import column_sql
from consent.records import SUBJECT_BYTES
from protocol.encoding import chunk_ranges, length_prefixed
from protocol.secret import Secret

KEY_VERSION = 1
_BLOCK = 64  # of SHA-256, in bytes
_ROWS = 1 << 19  # at once: DuckDB and Arrow hold some hundred bytes of each meanwhile

# HMAC written out, because DuckDB has sha256 and no hmac: a million tokens in under a second
# and both cores busy, where one Python call per person takes longer and holds the GIL.
_HMAC = """
SELECT unhex(sha256($outer::BLOB || unhex(sha256(
    $inner::BLOB || unhex(lpad(to_hex(strlen(key)), 16, '0')) || encode(key))))) AS token
FROM (SELECT $kind || ':' || id AS key FROM ids)
"""


@dataclass(frozen=True)
class Pseudonyms:
    """Makes the subject tokens of one party in one log.

    key: M, 32 bytes.  origin: the log's name.  version: of M, from 1.
    """

    key: Secret
    origin: str
    party: str
    version: int = KEY_VERSION

    def tokens(self, kind: str, ids: pa.StringArray) -> npt.NDArray[np.uint8]:
        """uint8[n, 32] for n canonical identifiers of type `kind`; none may be null."""
        if ids.null_count:
            raise ValueError("a null identifier has no pseudonym")
        if len(ids) == 0:
            return np.zeros((0, SUBJECT_BYTES), np.uint8)
        padded = self._derived().ljust(_BLOCK, b"\0")
        params = {
            "outer": bytes(byte ^ 0x5C for byte in padded),
            "inner": bytes(byte ^ 0x36 for byte in padded),
            "kind": kind,
        }
        out = np.empty((len(ids), SUBJECT_BYTES), dtype=np.uint8)
        # order of an unordered scan is the order of the table (preserve_insertion_order)
        with column_sql.connection() as connection:
            for a, b in chunk_ranges(len(ids), _ROWS):
                connection.register("ids", pa.table({"id": ids[a:b]}))
                found = connection.sql(_HMAC, params=params).to_arrow_table()
                fixed = pc.cast(found["token"].combine_chunks(), pa.binary(SUBJECT_BYTES))
                data = np.frombuffer(fixed.buffers()[1], dtype=np.uint8).reshape(-1, SUBJECT_BYTES)
                out[a:b] = data[fixed.offset : fixed.offset + b - a]
        return out

    def text(self, digest: bytes) -> str:
        """The token as people and receipts see it."""
        return f"s1.{self.version}.{base64.urlsafe_b64encode(digest).rstrip(b'=').decode()}"

    def _derived(self) -> bytes:
        return HKDF(
            algorithm=hashes.SHA256(),
            length=32,
            salt=self.origin.encode(),
            info=length_prefixed("consent-subject/v1", self.party, str(self.version)),
        ).derive(self.key.reveal())
