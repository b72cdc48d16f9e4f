"""What binds an artifact to its place: the signed tuple, and the job hash.

protocols.md section 0: every artifact is signed over ("assent/artifact/v1", job hash,
step, attempt, author, recipient, sha256 of the bytes as sent); the same tuple, without
the digest, is HPKE's and HKDF's info.  So an honest-but-for-one-lie coordinator cannot
replay an artifact, mix two attempts, or show two parties different jobs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocol import identity
from protocol.encoding import canonical_json, length_prefixed, sha256
from protocol.errors import ProtocolViolation
from protocol.secret import Secret

EVERYONE = "*"  # the recipient of an artifact that every party of the job may read


@dataclass(frozen=True)
class ArtifactTag:
    """job_hash: 32 bytes; before admission, when no hash exists yet, `proposal_hash` stands in."""

    job_hash: bytes
    step: str
    attempt: int
    author: str
    recipient: str

    def info(self) -> bytes:
        """The tuple as bytes: HPKE's and HKDF's info."""
        return length_prefixed(
            "assent/artifact/v1", self.job_hash, self.step, str(self.attempt),
            self.author, self.recipient,
        )  # fmt: skip


def sign(tag: ArtifactTag, digest: bytes, signing_key: Secret) -> bytes:
    return identity.sign(signing_key, length_prefixed(tag.info(), digest))


def verify(tag: ArtifactTag, digest: bytes, signature: bytes, public_key: bytes) -> None:
    """Raises ProtocolViolation, naming the author and the step, when anything differs."""
    try:
        identity.verify(public_key, length_prefixed(tag.info(), digest), signature, tag.step)
    except ProtocolViolation as error:
        raise ProtocolViolation(
            "bad_signature",
            f"{tag.step} is not what {tag.author} signed for this job, attempt and recipient",
            party=tag.author,
            stage=tag.step,
            next_step="the coordinator or the network changed it; ask its operator, then run again",
        ) from error


def proposal_hash(
    job_id: str, job: Mapping[str, Any], *, nonce: bytes = b"", dry_run: bool = False
) -> bytes:
    """Binds what is said before the parties' nonces are known: job id, canonical job, and
    whether only a plan is asked for.

    nonce: 32 fresh bytes of the requester, which the coordinator never sees.  It holds
    signatures over this hash, and a question is soon guessed.
    """
    kind = "plan" if dry_run else "run"
    return sha256(length_prefixed("assent/proposal/v1", job_id, kind, nonce, canonical_json(job)))


def job_hash(job_id: str, job: Mapping[str, Any], offers: Mapping[str, bytes]) -> bytes:
    """SHA-256 over the canonical job and every party's offer (keys, policy, catalog, nonce).

    offers: party → the canonical bytes of its opened offer.
    """
    parts: list[bytes | str] = ["assent/job/v1", job_id, canonical_json(job)]
    for party in sorted(offers):
        parts += [party, offers[party]]
    return sha256(length_prefixed(*parts))
