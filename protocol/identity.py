"""A party's three key pairs, its public card, and what is done with them.

Who runs it: every process.  ECDSA P-256 for TLS (gRPC refuses Ed25519 certificates),
Ed25519 for signatures, X25519 for sealing (HPKE, RFC 9180).  Private keys are made at
the company and never leave it; a card holds only the public halves.

Learns: the reader of a card learns a party's name, role, address and public keys.
"""

from __future__ import annotations

import base64
import datetime
import hashlib
from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import InvalidSignature, InvalidTag
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, x25519
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from cryptography.x509.oid import NameOID

from protocol.encoding import length_prefixed
from protocol.errors import ProtocolViolation
from protocol.secret import Secret

ROLES = ("party", "coordinator", "consent", "portal", "auditor")
TLS_NAME = "assent"  # every certificate carries it; a peer is the hash of its certificate
_SUITE = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


@dataclass(frozen=True)
class Card:
    """The public half of a party's identity, compared by `fingerprint` out of band.

    signing_key, sealing_key: 32 raw bytes.  address: host:port, servers only.
    """

    name: str
    role: str
    tls_certificate: str  # PEM
    signing_key: bytes
    sealing_key: bytes
    address: str = ""

    @property
    def tls_fingerprint(self) -> str:
        """Hex SHA-256 of the certificate's DER."""
        certificate = x509.load_pem_x509_certificate(self.tls_certificate.encode())
        return certificate.fingerprint(hashes.SHA256()).hex()

    @property
    def fingerprint(self) -> str:
        """Hex SHA-256 over name, role and all three public keys: what two people compare."""
        return hashlib.sha256(
            length_prefixed(
                "assent/card/v1", self.name, self.role, bytes.fromhex(self.tls_fingerprint),
                self.signing_key, self.sealing_key,
            )
        ).hexdigest()  # fmt: skip

    def to_dict(self) -> dict[str, str]:
        fields = {
            "name": self.name,
            "role": self.role,
            "tls_certificate": self.tls_certificate,
            "tls_fingerprint": self.tls_fingerprint,
            "signing_key": base64.b64encode(self.signing_key).decode(),
            "sealing_key": base64.b64encode(self.sealing_key).decode(),
            "fingerprint": self.fingerprint,
        }
        return fields | ({"address": self.address} if self.address else {})


@dataclass(frozen=True)
class Keys:
    """All private keys of one process.  `repr` shows the name only."""

    card: Card
    tls_key: Secret  # PEM
    signing: Secret  # 32 raw bytes
    sealing: Secret  # 32 raw bytes
    storage: Secret  # 32 raw bytes: encrypts job keys at rest and keys the pseudonyms

    def __repr__(self) -> str:
        return f"Keys({self.card.name})"


def create_keys(
    name: str, role: str, *, storage: bytes, now: datetime.datetime, address: str = "",
    days: int = 3650,
) -> Keys:  # fmt: skip
    """New keys for `name`; `storage` is 32 random bytes, `now` the certificate's start.

    The three key pairs come from the operating system through `cryptography`.
    """
    if role not in ROLES:
        raise ValueError(f"role is one of {', '.join(ROLES)}")
    if len(storage) != 32:
        raise ValueError("storage key is 32 bytes")
    tls = ec.generate_private_key(ec.SECP256R1())
    # Each certificate its own subject: issuers are looked up in the trust bundle by name, and of
    # two with one name only the first would ever be tried.
    serial = x509.random_serial_number()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"assent {role} {serial:x}")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(tls.public_key())
        .serial_number(serial)
        .not_valid_before(now - datetime.timedelta(minutes=5))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(TLS_NAME)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(tls, hashes.SHA256())
    )
    signing, sealing = ed25519.Ed25519PrivateKey.generate(), x25519.X25519PrivateKey.generate()
    card = Card(
        name=name,
        role=role,
        tls_certificate=certificate.public_bytes(serialization.Encoding.PEM).decode(),
        signing_key=signing.public_key().public_bytes_raw(),
        sealing_key=sealing.public_key().public_bytes_raw(),
        address=address,
    )
    pem = tls.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return Keys(
        card,
        Secret(pem),
        Secret(signing.private_bytes_raw()),
        Secret(sealing.private_bytes_raw()),
        Secret(storage),
    )


def sign(key: Secret, message: bytes) -> bytes:
    """64-byte Ed25519 signature."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(key.reveal()).sign(message)


def verify(public: bytes, message: bytes, signature: bytes, what: str) -> None:
    """Raises ProtocolViolation('bad_signature') unless `signature` is `public`'s over `message`."""
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except (InvalidSignature, ValueError) as error:
        raise ProtocolViolation("bad_signature", f"the signature on {what} is wrong") from error


def seal(public: bytes, plaintext: bytes, info: bytes) -> bytes:
    """HPKE base mode to the X25519 key `public`; everything that must match goes into `info`."""
    key = x25519.X25519PublicKey.from_public_bytes(public)
    return _SUITE.encrypt(plaintext, key, info=info)


def unseal(private: Secret, sealed: bytes, info: bytes) -> bytes:
    """Inverse of `seal`; raises ProtocolViolation('bad_seal') for any other key, info or byte."""
    key = x25519.X25519PrivateKey.from_private_bytes(private.reveal())
    try:
        return _SUITE.decrypt(sealed, key, info=info)
    except (InvalidTag, ValueError) as error:
        raise ProtocolViolation(
            "bad_seal", "a sealed message does not open: it is for another party, job or step"
        ) from error
