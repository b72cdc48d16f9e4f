"""Verified records on a node's disk: a page is a row with a MAC under a key of the node.

Who runs it: every node's replica.  Learns: the party, its own records.

The log's hash tree does not cover this form of the records, and keeping leaves and salts
beside them would be three times the bytes.  The MAC says the same for less: that a page is
what was verified when it came.  It finds a changed, moved or missing page, not one that was
put back as it was before an erasure.
"""

from __future__ import annotations

import hmac
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import sqlalchemy as sa

from consent.codec import batch_from_bytes, batch_to_bytes
from consent.log_database import blob
from consent.replica_check import CheckedPage
from protocol.encoding import length_prefixed
from protocol.errors import Refused
from protocol.secret import Secret


def pages_table(metadata: sa.MetaData) -> sa.Table:
    return sa.Table(
        "pages", metadata,
        sa.Column("first", sa.Integer, primary_key=True),
        sa.Column("entries", sa.Integer, nullable=False),
        sa.Column("indexes", sa.LargeBinary, nullable=False),  # int64 little-endian
        sa.Column("batch", sa.LargeBinary, nullable=False),
        sa.Column("mac", sa.LargeBinary, nullable=False),
    )  # fmt: skip


@dataclass(frozen=True)
class Seal:
    """Between pages and rows of `pages_table`; raises Refused('consent_changed')."""

    party: str
    key: Secret

    def row(self, page: CheckedPage) -> dict[str, object]:
        row: dict[str, object] = {
            "first": page.first,
            "entries": page.entries,
            "indexes": page.indexes.astype("<i8").tobytes(),
            "batch": batch_to_bytes(page.batch),
        }
        return row | {"mac": self._mac(row)}

    def page(self, row: sa.Row[tuple[object, ...]]) -> CheckedPage:
        fields = row._asdict()
        if not hmac.compare_digest(blob(fields["mac"]), self._mac(fields)):
            raise self.changed(row.first)
        indexes = np.frombuffer(row.indexes, dtype="<i8")
        return CheckedPage(row.first, row.entries, batch_from_bytes(row.batch), indexes, ())

    def changed(self, first: object) -> Refused:
        return Refused(
            "consent_changed",
            f"this node's copy of the consent records, from entry {first} on, is not what was "
            "verified when it came",
            party=self.party,
            stage="consent",
            next_step="find out who changed the data folder or the storage key; then stop the "
            "node, delete consent_replica.sqlite in it and start it: the records come anew",
        )

    def _mac(self, row: Mapping[str, object]) -> bytes:
        numbers = f"{self.party} {row['first']} {row['entries']}".encode()
        parts = length_prefixed(numbers, blob(row["indexes"]), blob(row["batch"]))
        return hmac.digest(self.key.reveal(), parts, "sha256")
