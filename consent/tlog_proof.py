"""A proof in one text that an entry is in a log, verifiable offline (C2SP tlog-proof).

Who runs it: the log makes it; a person, a node or an auditor verifies it with a policy of
their own.  Pure.  Learns: the holder learns the checkpoint and hashes of other entries.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from consent.checkpoint import decimal, decode64
from consent.errors import NoteError, ProofError
from consent.merkle import HASH_BYTES, hash_leaf, verify_inclusion
from consent.policy import CheckedCheckpoint, Policy, check_checkpoint

HEADER = "c2sp.org/tlog-proof@v1"
_MAX_HASHES = 63


@dataclass(frozen=True)
class LogProof:
    """Taken apart, not verified.  extra: anything; nobody has signed it."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str
    extra: bytes | None = None

    def to_text(self) -> str:
        extra = [] if self.extra is None else [f"extra {_encode(self.extra)}"]
        lines = [HEADER, *extra, f"index {self.index}", *map(_encode, self.hashes), ""]
        return "\n".join(lines) + "\n" + self.checkpoint


def make_proof(index: int, hashes: Sequence[bytes], checkpoint: str) -> str:
    return LogProof(index, tuple(hashes), checkpoint).to_text()


def parse_proof(text: str) -> LogProof:
    """Raises ProofError or NoteError for every text that is not a proof in canonical form."""
    head, blank, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not blank or lines.pop(0) != HEADER:
        raise ProofError("not a tlog-proof")
    extra = None
    if lines and lines[0].startswith("extra "):
        extra = decode64(lines.pop(0).removeprefix("extra "))
    if not lines or not lines[0].startswith("index "):
        raise ProofError("a tlog-proof names the index of its entry")
    index = decimal(lines.pop(0).removeprefix("index "), "an index")
    if len(lines) > _MAX_HASHES:
        raise ProofError(f"a tlog-proof has at most {_MAX_HASHES} hashes")
    hashes = tuple(decode64(line) for line in lines)
    if any(len(node) != HASH_BYTES for node in hashes):
        raise ProofError("a hash of a tlog-proof has another length")
    return LogProof(index, hashes, checkpoint, extra)


def verify_proof(
    text: str, entry: bytes, policy: Policy, origin: str | None = None
) -> CheckedCheckpoint:
    """Raises ProofError or NoteError unless `entry` is in a log that `policy` accepts.

    1. the checkpoint is signed by an accepted log; 2. a quorum has cosigned it;
    3. the inclusion proof leads from the entry to its root.
    """
    proof = parse_proof(text)
    checked = check_checkpoint(proof.checkpoint, policy, origin)
    if not checked.has_quorum:
        raise NoteError("the checkpoint lacks the quorum of witnesses that the policy asks for")
    head = checked.checkpoint
    verify_inclusion(hash_leaf(entry), proof.index, head.size, proof.hashes, head.root)
    return checked


def _encode(data: bytes) -> str:
    return base64.b64encode(data).decode()
