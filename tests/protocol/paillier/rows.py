"""Between integers and the kernel's rows, and a slow kernel's worth of formulas."""

from __future__ import annotations

import random
from collections.abc import Callable

import gmpy2
import numpy as np
import numpy.typing as npt

from protocol.paillier.keys import PrivateKey, PublicKey, insecure_generate

Bytes = npt.NDArray[np.uint8]


def seeded(seed: int) -> Callable[[int], bytes]:
    return random.Random(seed).randbytes


def small_key(bits: int = 256, seed: int = 1) -> PrivateKey:
    return insecure_generate(bits, seeded(seed))


def array(values: list[int], width: int) -> Bytes:
    joined = b"".join(int(value).to_bytes(width, "little") for value in values)
    return np.frombuffer(joined, dtype=np.uint8).reshape(len(values), width)


def numbers(rows: Bytes) -> list[int]:
    return [int.from_bytes(row.tobytes(), "little") for row in rows]


def plain(key: PrivateKey, values: list[int]) -> Bytes:
    return array(values, key.public.plaintext_width)


def textbook_decrypt(key: PrivateKey, c: int) -> int:
    n, phi = key.public.n, (key.p - 1) * (key.q - 1)
    return (int(gmpy2.powmod(c, phi, n * n)) - 1) // n * pow(phi, -1, n) % n


def naive_dot(
    public: PublicKey, cts: list[int], groups: list[int], n_groups: int, weights: list[int]
) -> list[int]:
    square = public.n**2
    found = [1] * n_groups
    for c, group, weight in zip(cts, groups, weights, strict=True):
        if group >= 0:
            found[group] = found[group] * pow(c, weight, square) % square
    return found
