"""The proofs behind imported consents: where each came from, kept at the party.

Who runs it: a node.  Learns: the party, its own.  The consent service holds a digest of each,
salted with 16 bytes that only this file has: it can be shown to an auditor one by one and
guessed by nobody.  Rows are deleted with the person (`erase`), so SQLite overwrites them.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

EVIDENCE_FILE = "consent_evidence.sqlite"
SALT_BYTES = 16
U8 = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Proof:
    """What is shown of one record; `digest(salt, text)` is in its log entry."""

    salt: bytes
    text: str


def digest(salt: bytes, text: str) -> bytes:
    return hashlib.sha256(salt + text.encode()).digest()


def digests(salts: bytes, texts: Sequence[str]) -> U8:
    """uint8[n, 32]; salts: 16 bytes for each text."""
    made = b"".join(
        digest(salts[place * SALT_BYTES : (place + 1) * SALT_BYTES], text)
        for place, text in enumerate(texts)
    )
    return np.frombuffer(made, np.uint8).reshape(len(texts), 32)


class EvidenceStore:
    """Blocking; one connection per call."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with closing(self._open()) as db, db:
            db.execute(
                "CREATE TABLE IF NOT EXISTS proofs (record BLOB PRIMARY KEY, salt BLOB NOT NULL,"
                " text TEXT NOT NULL) WITHOUT ROWID"
            )
        os.chmod(path, 0o600)

    def add(self, record_ids: U8, salts: bytes, texts: Sequence[str]) -> None:
        ids = np.ascontiguousarray(record_ids).view("V16").ravel().tolist()
        cut = [salts[at : at + SALT_BYTES] for at in range(0, len(salts), SALT_BYTES)]
        with closing(self._open()) as db, db:
            db.executemany("INSERT INTO proofs VALUES (?,?,?)", zip(ids, cut, texts, strict=True))

    def of(self, record_id: bytes) -> Proof | None:
        with closing(self._open()) as db:
            row = db.execute(
                "SELECT salt, text FROM proofs WHERE record = ?", (record_id,)
            ).fetchone()
        return Proof(*row) if row else None

    def erase(self, record_ids: Sequence[bytes]) -> None:
        """No byte of these proofs is left in the file on return."""
        with closing(self._open()) as db, db:
            db.executemany("DELETE FROM proofs WHERE record = ?", ((one,) for one in record_ids))

    def _open(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=30.0)
        # Not WAL: a deleted row would live on in the log file.
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("PRAGMA secure_delete = ON")
        db.execute("PRAGMA synchronous = FULL")
        return db
