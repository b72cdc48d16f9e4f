"""Keys of signed notes and the signature algorithms that they name.

Who runs it: logs and witnesses sign; everybody verifies.  Pure: times are arguments.
Learns: nobody.  Sources: C2SP signed-note ("Verifier keys"), tlog-cosignature.

An algorithm is one object in `ALGORITHMS` under its type byte.  A key names its algorithm, so
that nothing is negotiated and no note chooses how it is verified.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ed25519, mldsa

from consent.checkpoint import decode64, parse_checkpoint
from consent.errors import NoteError
from consent.merkle import MAX_SIZE
from protocol.secret import Secret

ED25519, COSIGNATURE_ED25519, COSIGNATURE_MLDSA44 = 0x01, 0x04, 0x06
LOG_ALGORITHMS = (ED25519, COSIGNATURE_MLDSA44)
WITNESS_ALGORITHMS = (COSIGNATURE_ED25519, COSIGNATURE_MLDSA44)
_STAMP_BYTES = 8


class Algorithm(Protocol):
    """How a type of key signs the text of a note.

    `verify` returns the POSIX time that the signature commits to, None when it has none, and
    raises InvalidSignature.  `time` of `sign` is ignored by algorithms without one.
    """

    public_bytes: int

    def public(self, private: Secret) -> bytes: ...

    def sign(self, private: Secret, name: str, text: str, time: int) -> bytes: ...

    def verify(self, public: bytes, name: str, text: str, signature: bytes) -> int | None: ...


class _Ed25519:
    """A plain signature over the text (type 0x01)."""

    public_bytes = 32

    def public(self, private: Secret) -> bytes:
        return _ed25519(private).public_key().public_bytes_raw()

    def sign(self, private: Secret, name: str, text: str, time: int) -> bytes:
        return _ed25519(private).sign(text.encode())

    def verify(self, public: bytes, name: str, text: str, signature: bytes) -> int | None:
        _verify_ed25519(public, signature, text.encode())
        return None


class _CosignatureEd25519:
    """cosignature/v1: the text under a header with a time (type 0x04)."""

    public_bytes = 32

    def public(self, private: Secret) -> bytes:
        return _ed25519(private).public_key().public_bytes_raw()

    def sign(self, private: Secret, name: str, text: str, time: int) -> bytes:
        parse_checkpoint(text)  # a cosignature over anything else would say nothing
        return _stamp(time) + _ed25519(private).sign(_cosigned_v1(time, text))

    def verify(self, public: bytes, name: str, text: str, signature: bytes) -> int | None:
        time = _time_of(signature)
        _verify_ed25519(public, signature[_STAMP_BYTES:], _cosigned_v1(time, text))
        return time


class _CosignatureMldsa44:
    """subtree/v1 over the whole tree: also commits to the cosigner's name (type 0x06).

    Extension lines are not signed, so a checkpoint that has some is not cosigned this way.
    """

    public_bytes = 1312

    def public(self, private: Secret) -> bytes:
        key = mldsa.MLDSA44PrivateKey.from_seed_bytes(private.reveal())
        return key.public_key().public_bytes_raw()

    def sign(self, private: Secret, name: str, text: str, time: int) -> bytes:
        key = mldsa.MLDSA44PrivateKey.from_seed_bytes(private.reveal())
        return _stamp(time) + key.sign(_cosigned_subtree(name, time, text))

    def verify(self, public: bytes, name: str, text: str, signature: bytes) -> int | None:
        time = _time_of(signature)
        if time == 0:
            raise InvalidSignature  # such a statement is not about the newest tree
        key = mldsa.MLDSA44PublicKey.from_public_bytes(public)
        key.verify(signature[_STAMP_BYTES:], _cosigned_subtree(name, time, text))
        return time


ALGORITHMS: Mapping[int, Algorithm] = {
    ED25519: _Ed25519(),
    COSIGNATURE_ED25519: _CosignatureEd25519(),
    COSIGNATURE_MLDSA44: _CosignatureMldsa44(),
}


@dataclass(frozen=True)
class VerifierKey:
    """Who may sign and how.  `str(key)` is the specification's vkey text."""

    name: str
    algorithm: int
    public: bytes

    def __post_init__(self) -> None:
        check_name(self.name)
        known = ALGORITHMS.get(self.algorithm)
        if known is None:
            raise NoteError(f"key {self.name} is of an algorithm that is not known here")
        if len(self.public) != known.public_bytes:
            raise NoteError(f"key {self.name} is not {known.public_bytes} bytes")

    @cached_property
    def key_id(self) -> bytes:
        """Its first four bytes of SHA-256: an identifier, not a commitment to the key."""
        material = bytes([self.algorithm]) + self.public
        return hashlib.sha256(self.name.encode() + b"\n" + material).digest()[:4]

    def __str__(self) -> str:
        material = base64.b64encode(bytes([self.algorithm]) + self.public).decode()
        return f"{self.name}+{self.key_id.hex()}+{material}"


@dataclass(frozen=True)
class Signer:
    """A private key under a name; `key` is what others verify with.

    private: 32 bytes, an Ed25519 private key or an ML-DSA seed.
    """

    name: str
    algorithm: int
    private: Secret

    @cached_property
    def key(self) -> VerifierKey:
        public = ALGORITHMS[self.algorithm].public(self.private)
        return VerifierKey(self.name, self.algorithm, public)

    def line(self, text: str, time: int = 0) -> str:
        """The signature line over `text`, with its newline.  time: POSIX seconds."""
        signature = ALGORITHMS[self.algorithm].sign(self.private, self.name, text, time)
        return f"— {self.name} {base64.b64encode(self.key.key_id + signature).decode()}\n"


def parse_key(vkey: str) -> VerifierKey:
    """A vkey of the specification; raises NoteError unless its id is that of its key."""
    parts = vkey.split("+", 2)
    if len(parts) != 3:
        raise NoteError("a verifier key is name+id+key")
    name, key_id, material = parts
    data = decode64(material)
    if len(data) < 2:
        raise NoteError(f"verifier key {name!r} has no key")
    key = VerifierKey(name, data[0], data[1:])
    if key.key_id.hex() != key_id:
        raise NoteError(f"verifier key {name} has another id than its key")
    return key


def check_name(name: str) -> None:
    if not name or "+" in name or any(char.isspace() or ord(char) < 0x20 for char in name):
        raise NoteError("a key name is not empty and has no space, control character or plus")


def _ed25519(private: Secret) -> ed25519.Ed25519PrivateKey:
    return ed25519.Ed25519PrivateKey.from_private_bytes(private.reveal())


def _verify_ed25519(public: bytes, signature: bytes, message: bytes) -> None:
    ed25519.Ed25519PublicKey.from_public_bytes(public).verify(signature, message)


def _stamp(time: int) -> bytes:
    if not 0 < time <= MAX_SIZE:
        raise NoteError("a cosignature needs a time after 1970")
    return time.to_bytes(_STAMP_BYTES, "big")


def _time_of(signature: bytes) -> int:
    time = int.from_bytes(signature[:_STAMP_BYTES], "big")
    if len(signature) <= _STAMP_BYTES or time > MAX_SIZE:
        raise InvalidSignature
    return time


def _cosigned_v1(time: int, text: str) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()


def _cosigned_subtree(name: str, time: int, text: str) -> bytes:
    checkpoint = parse_checkpoint(text)
    if checkpoint.extensions:
        raise NoteError("an ML-DSA cosignature does not cover extension lines")
    if len(name.encode()) > 255:
        raise NoteError("a cosigner's name is at most 255 bytes")
    prefixed = [len(x.encode()).to_bytes(1, "big") + x.encode() for x in (name, checkpoint.origin)]
    return b"".join(
        [
            b"subtree/v1\n\x00",
            prefixed[0],
            time.to_bytes(8, "big"),
            prefixed[1],
            (0).to_bytes(8, "big"),
            checkpoint.size.to_bytes(8, "big"),
            checkpoint.root,
        ]
    )
