"""Between phe's objects and this project's keys and rows."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from phe import paillier as phe

from protocol.paillier.keys import PrivateKey
from tests.protocol.paillier.rows import array, numbers

Bytes = npt.NDArray[np.uint8]


def to_phe(key: PrivateKey) -> phe.PaillierPrivateKey:
    return phe.PaillierPrivateKey(phe.PaillierPublicKey(key.public.n), key.p, key.q)


def from_phe(key: phe.PaillierPrivateKey) -> PrivateKey:
    """Its p-1 is not factored: it encrypts the textbook way."""
    return PrivateKey(int(key.p), int(key.q))


def phe_encrypt(key: phe.PaillierPublicKey, values: list[int], width: int) -> Bytes:
    return array([key.raw_encrypt(value) for value in values], width)


def phe_decrypt(key: phe.PaillierPrivateKey, cts: Bytes) -> list[int]:
    return [key.raw_decrypt(c) for c in numbers(cts)]
