"""A job's secrets at one party: encrypted at rest, wiped at the end.

One folder per job; each secret is ChaCha20-Poly1305 under a key derived from the party's
storage key and bound to job, attempt and name, so that a file moved elsewhere does not
open.  Deleting the folder is the wipe: without it the storage key opens nothing.
"""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.encoding import length_prefixed
from protocol.errors import Failed
from protocol.secret import Secret

_NONCE = 12


@dataclass(frozen=True)
class Vault:
    """Secrets of (job, attempt) under `folder`."""

    folder: Path
    storage: Secret
    job: str
    attempt: int

    def put(self, name: str, value: bytes) -> None:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        nonce = os.urandom(_NONCE)
        sealed = self._cipher().encrypt(nonce, value, self._about(name))
        temporary = self.folder / f".{name}.part"
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(nonce)
            file.write(sealed)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(self._path(name))

    def get(self, name: str) -> bytes:
        try:
            sealed = self._path(name).read_bytes()
            return self._cipher().decrypt(sealed[:_NONCE], sealed[_NONCE:], self._about(name))
        except (OSError, InvalidTag) as error:
            raise Failed(
                "session_lost",
                "this node no longer has the keys of the job",
                next_step="run the job again; its keys were wiped or its data folder was changed",
            ) from error

    def has(self, name: str) -> bool:
        return self._path(name).exists()

    def put_array(self, name: str, array: npt.NDArray[np.int64]) -> None:
        self.put(name, np.ascontiguousarray(array, dtype="<i8").tobytes())

    def get_array(self, name: str) -> npt.NDArray[np.int64]:
        return np.frombuffer(self.get(name), dtype="<i8")

    def wipe(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)

    def _path(self, name: str) -> Path:
        return self.folder / f"{self.attempt}-{name}"

    def _about(self, name: str) -> bytes:
        return length_prefixed("assent/vault/v1", self.job, str(self.attempt), name)

    def _cipher(self) -> ChaCha20Poly1305:
        key = HKDF(hashes.SHA256(), 32, salt=None, info=b"assent/vault/v1").derive(
            self.storage.reveal()
        )
        return ChaCha20Poly1305(key)
