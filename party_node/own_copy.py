"""Where a node's own copy of its consent log lies, and under which keys.

Who runs it: every node.  Learns: the party, its own records.
"""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consent.replica import WINDOW_SECONDS, Replica
from consent.trust import Trust
from protocol.secret import Secret

REPLICA = "consent_replica.sqlite"


def own_key(storage: Secret, use: str) -> Secret:
    """A key of one use of its own, of the kit's storage key."""
    info = f"assent/{use}/v1".encode()
    return Secret(
        HKDF(algorithm=hashes.SHA256(), length=32, salt=None, info=info).derive(storage.reveal())
    )


def replica_at(
    path: Path, party: str, trust: Trust, storage: Secret, window: float = WINDOW_SECONDS
) -> Replica:
    return Replica(path, party, trust, own_key(storage, "consent-replica"), window)
