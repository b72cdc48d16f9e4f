"""A person's receipt: their record, what opens its entry in the log, and the proof, signed.

Who runs it: the portal makes one on request; the person, or whoever they show it to, verifies
it, offline, years later.
Learns: who holds a receipt learns that one record, and the heads and hashes in its proof.

A JWS in compact form (RFC 7515; `Ed25519`, RFC 9864) over canonical JSON
{body, leaf, proof, salt, v}.  Its header carries the signer's public key.  What the receipt proves
rests on the log, not on that signature: the body opens the entry, the entry is in the tree, the
tree is signed by the log and cosigned by a quorum that the reader's own policy names.  The
signature binds the parts together, so that no byte can change unseen, and says who handed it
out.  It outlives erasure: the log then has no opening any more, the person has.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ed25519
from joserfc import jws
from joserfc.errors import JoseError
from joserfc.jwk import OKPKey

from consent.body import batch_of
from consent.checkpoint import parse_checkpoint
from consent.errors import ProofError
from consent.leaf import CONSENT, Leaf, Opening, check_opening, parse_leaf, parse_object, read_body
from consent.note import parse_note
from consent.policy import CheckedCheckpoint, Policy
from consent.records import RecordBatch
from consent.tlog_proof import parse_proof, verify_proof
from consent.trust import party_of
from protocol.encoding import canonical_json
from protocol.identity import Card
from protocol.secret import Secret

VERSION = "assent.receipt/1"
MEDIA_TYPE = "assent-receipt+jws"
MAX_RECEIPT = 1 << 20
ALGORITHM = "Ed25519"
_FIELDS = {"body", "leaf", "proof", "salt", "v"}
_PART = re.compile(r"[A-Za-z0-9_-]+", re.ASCII)


@dataclass(frozen=True)
class Receipt:
    """A receipt that holds.  record: one event.  signer: whose card signed it, "" for a key
    that no card of the reader has.  index: of the entry in the log."""

    party: str
    leaf: Leaf
    body: bytes
    record: RecordBatch
    index: int
    checkpoint: CheckedCheckpoint
    signer: str
    signing_key: bytes


def make_receipt(leaf: bytes, opening: Opening, proof: str, signing: Secret) -> str:
    """The receipt of one entry; proof: its tlog-proof.  signing: 32 bytes, Ed25519.

    Raises what `verify_receipt` would raise about its parts, the log's signatures aside.
    """
    _entry(leaf, opening)
    parse_proof(proof)
    private = ed25519.Ed25519PrivateKey.from_private_bytes(signing.reveal())
    public = private.public_key().public_bytes_raw()
    payload = {
        "body": read_body(opening.body),
        "leaf": parse_object(leaf, "an entry"),
        "proof": proof,
        "salt": _encode(opening.salt),
        "v": VERSION,
    }
    return jws.serialize_compact(
        {"alg": ALGORITHM, "jwk": _jwk(public), "typ": MEDIA_TYPE},
        canonical_json(payload),
        OKPKey.import_key(private),
        algorithms=[ALGORITHM],
    )


def claimed_origin(text: str) -> str:
    """The log that a receipt says it is from.  Nothing is verified: for choosing a policy."""
    _, payload, _ = _parts(text.removesuffix("\n"))
    proof = parse_object(payload, "the receipt").get("proof")
    if not isinstance(proof, str):
        raise ProofError("the receipt has no proof")
    return parse_checkpoint(parse_note(parse_proof(proof).checkpoint).text).origin


def verify_receipt(text: str, policy: Policy, cards: Mapping[str, Card] | None = None) -> Receipt:
    """Raises ProofError or NoteError unless `text` is a receipt that `policy` accepts.

    cards: by name, whose signature is to be told from a stranger's; None: nobody's is known.
    """
    # 1. One spelling: the parts are what a decoder would write again.
    if len(text) > MAX_RECEIPT:
        raise ProofError("a receipt is not longer than a megabyte")
    header, payload, _ = _parts(text.removesuffix("\n"))
    # 2. The signature is the header's key's.
    public = _signing_key(header)
    try:
        key = OKPKey.import_key(ed25519.Ed25519PublicKey.from_public_bytes(public))
        jws.deserialize_compact(text.removesuffix("\n"), key, algorithms=[ALGORITHM])
    except (JoseError, ValueError) as error:
        raise ProofError("the signature of the receipt is wrong") from error
    # 3. The body opens the entry, and is a record of this version.
    said = parse_object(payload, "the receipt")
    if set(said) != _FIELDS or said["v"] != VERSION:
        raise ProofError("the receipt has other fields, or is of an unknown version")
    proof, salt = said["proof"], said["salt"]
    if not isinstance(proof, str) or not isinstance(salt, str):
        raise ProofError("a field of the receipt is not text")
    entry, body = canonical_json(said["leaf"]), canonical_json(said["body"])
    leaf, record = _entry(entry, Opening(_decode(salt), body))
    # 4. The entry is in a log of the record's party that the policy accepts, under a quorum.
    checked = verify_proof(proof, entry, policy)
    if party_of(checked.checkpoint.origin) != leaf.party:
        raise ProofError("the receipt's log is not the consent log of the record's party")
    # 5. Whoever handed it out is somebody, if the reader knows anybody.
    names = [name for name, card in (cards or {}).items() if card.signing_key == public]
    if cards and not names:
        raise ProofError("the receipt is signed by nobody of the collaboration")
    return Receipt(
        leaf.party, leaf, body, record, parse_proof(proof).index, checked,
        names[0] if names else "", public,
    )  # fmt: skip


def _entry(leaf: bytes, opening: Opening) -> tuple[Leaf, RecordBatch]:
    entry = parse_leaf(leaf)
    if entry.type != CONSENT:
        raise ProofError(f"an entry of type {entry.type} is no consent record")
    check_opening(entry, opening)
    return entry, batch_of([opening.body])


def _parts(text: str) -> tuple[bytes, bytes, bytes]:
    parts = text.split(".")
    if len(parts) != 3 or not all(map(_PART.fullmatch, parts)):
        raise ProofError("this is not a receipt: it is not a JWS in compact form")
    header, payload, signature = map(_decode, parts)
    return header, payload, signature


def _signing_key(header: bytes) -> bytes:
    try:
        said: Any = json.loads(header)
        public = _decode(said["jwk"]["x"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise ProofError("the receipt's header names no key") from error
    if said != {"alg": ALGORITHM, "jwk": _jwk(public), "typ": MEDIA_TYPE}:
        raise ProofError("the receipt's header is of another kind")
    return public


def _jwk(public: bytes) -> dict[str, str]:
    return {"crv": "Ed25519", "kty": "OKP", "x": _encode(public)}


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).decode().rstrip("=")


def _decode(text: str) -> bytes:
    """Raises ProofError for every spelling but `_encode`'s."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (ValueError, TypeError) as error:
        raise ProofError("a part of the receipt is not base64url") from error
    if _encode(data) != text:
        raise ProofError("a part of the receipt is not base64url in canonical form")
    return data
