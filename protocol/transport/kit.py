"""Key folders and cards on disk: `assent kit create` runs at each company.

Who runs it: every process at start.  Private keys are 0600 files in a 0700 folder and
never leave it; `card.yaml` beside them is public.  Learns: nobody, anything.
"""

from __future__ import annotations

import datetime
import os
from pathlib import Path

from protocol.errors import BadInput
from protocol.identity import Card, Keys, create_keys
from protocol.secret import Secret

_FILES = ("tls.pem", "signing.key", "sealing.key", "storage.key")


def write_private(path: Path, data: bytes) -> None:
    """A new 0600 file with `data`, on disk before this returns; refuses to overwrite."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def create_kit(folder: Path, name: str, role: str, *, address: str = "") -> Keys:
    """Makes keys for `name` in `folder`.  Raises BadInput if there are keys already."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    for file in _FILES:
        if (folder / file).exists():
            raise BadInput(
                f"{folder / file}: keys exist already",
                next_step="use them, or name another --folder; deleting keys ends every open job",
            )
    folder.chmod(0o700)
    keys = create_keys(
        name,
        role,
        storage=os.urandom(32),
        now=datetime.datetime.now(datetime.UTC),
        address=address,
    )
    secrets = (keys.tls_key, keys.signing, keys.sealing, keys.storage)
    for file, secret in zip(_FILES, secrets, strict=True):
        write_private(folder / file, secret.reveal())
    return keys


def load_kit(folder: Path, card: Card) -> Keys:
    """The private keys of `card` from `folder`.

    Raises BadInput when a file is missing, readable by others, or not `card`'s.
    """
    values = []
    for file in _FILES:
        path = folder / file
        try:
            mode = path.stat().st_mode
            data = path.read_bytes()
        except OSError as error:
            raise BadInput(
                f"{path}: cannot be read ({error.strerror})",
                next_step=f"run `assent kit create --name {card.name}` there, or name its folder",
            ) from error
        if mode & 0o077:
            raise BadInput(
                f"{path}: others may read this private key", next_step=f"run `chmod 600 {path}`"
            )
        values.append(Secret(data))
    keys = Keys(card, *values)
    _check_pair(keys, folder)
    return keys


def load_signing(folder: Path) -> bytes:
    """The public half of the signing key in `folder`: whose folder this is."""
    from cryptography.hazmat.primitives.asymmetric import ed25519

    path = folder / "signing.key"
    try:
        private = ed25519.Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except OSError as error:
        raise BadInput(
            f"{path}: cannot be read ({error.strerror})",
            next_step="name the folder that `assent kit create` made",
        ) from error
    except ValueError as error:
        raise BadInput(f"{path}: is not a key") from error
    return private.public_key().public_bytes_raw()


def _check_pair(keys: Keys, folder: Path) -> None:
    from cryptography import x509
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ed25519, x25519

    public = serialization.PublicFormat.SubjectPublicKeyInfo
    try:
        tls = serialization.load_pem_private_key(keys.tls_key.reveal(), None).public_key()
        certificate = x509.load_pem_x509_certificate(keys.card.tls_certificate.encode())
        same = (
            tls.public_bytes(serialization.Encoding.DER, public)
            == certificate.public_key().public_bytes(serialization.Encoding.DER, public)
            and ed25519.Ed25519PrivateKey.from_private_bytes(keys.signing.reveal())
            .public_key()
            .public_bytes_raw()
            == keys.card.signing_key
            and x25519.X25519PrivateKey.from_private_bytes(keys.sealing.reveal())
            .public_key()
            .public_bytes_raw()
            == keys.card.sealing_key
        )
    except ValueError as error:
        raise BadInput(f"{folder}: a private key is damaged ({error})") from error
    if not same:
        raise BadInput(
            f"{folder}: these private keys do not belong to the card of {keys.card.name}",
            next_step="name the folder that `assent kit create` made for this card",
        )
