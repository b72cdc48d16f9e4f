"""Paillier per second and core beside phe, and beside sf-heu and pypaillier when installed.

The kernel is the one that this machine's node would use; the others are measured beside it.

Who runs it: `make bench`.  Everything but the last row is processor time of one thread (of all
threads, for peers that start their own), so that rates are per core.  Our inputs and outputs
are arrays of bytes, conversions included; the peers keep their own objects, except pypaillier,
which has bytes too.  Both optional peers encrypt with short exponents, which
docs/ARCHITECTURE.md does not allow here: they are faster than their textbook scheme would be.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from phe import paillier as phe

from protocol.errors import BadInput
from protocol.paillier.choose import VARIABLE, Choice, choose
from protocol.paillier.keys import PrivateKey, generate
from protocol.paillier.native import NativeKernel
from protocol.paillier.pool import PoolKernel

Row = dict[str, Any]
ROWS = 8192
GROUPS = 64
WEIGHT_BITS = 16
HEU, PORTABLE = "sf-heu ZPaillier (short exponents)", "our portable kernel"


@dataclass(frozen=True)
class Rates:
    """Operations per second and core."""

    peer: str
    found: dict[str, float]


def _rate(work: Callable[[], object], count: int) -> float:
    started = time.process_time()
    work()
    return count / (time.process_time() - started)


def _ours(key: PrivateKey, kernel: NativeKernel | PoolKernel) -> Rates:
    public = key.public
    kernel.prepare(key, 200_000)
    plain = np.zeros((ROWS, public.plaintext_width), dtype=np.uint8)
    plain[:, 0] = 1
    plain = kernel.encrypt(key, plain)[:, : public.plaintext_width]  # warm, and no easy numbers
    plain = np.ascontiguousarray(plain)
    plain[:, -1] = 0
    groups = (np.arange(ROWS) % GROUPS).astype(np.int32)
    weights = (np.arange(ROWS) * 40_503 % (1 << WEIGHT_BITS)).astype(np.uint64)
    cts = kernel.encrypt(key, plain)
    few = cts[:128]
    kernel.check(public, few)  # a key's constants are made once
    return Rates(
        "",
        {
            "encrypt": _rate(lambda: kernel.encrypt(key, plain), ROWS),
            "add": _rate(lambda: kernel.sum_by_group(public, cts, groups, GROUPS), ROWS - GROUPS),
            "dot": _rate(
                lambda: kernel.dot_by_group(public, cts, groups, GROUPS, weights, WEIGHT_BITS), ROWS
            ),
            "check": _rate(lambda: kernel.check(public, cts), ROWS),
            "decrypt": _rate(lambda: kernel.decrypt(key, few), len(few)),
            "rerandomise": _rate(lambda: kernel.rerandomise(public, few, os.urandom), len(few)),
        },
    )


def _phe(key: PrivateKey) -> Rates:
    n = key.public.n
    public = phe.PaillierPublicKey(n)
    private = phe.PaillierPrivateKey(public, key.p, key.q)
    cts = [public.raw_encrypt(1) for _ in range(32)]
    one, other = (phe.EncryptedNumber(public, c) for c in cts[:2])

    def add() -> None:
        for _ in range(2048):
            one._raw_add(cts[0], cts[1])

    def scaled() -> None:
        for weight in range(60_000, 60_256):
            one._raw_add(cts[0], other._raw_mul(weight))

    return Rates(
        "phe",
        {
            "encrypt": _rate(lambda: [public.raw_encrypt(1) for _ in range(32)], 32),
            "add": _rate(add, 2048),
            "dot": _rate(scaled, 256),
            "decrypt": _rate(lambda: [private.raw_decrypt(c) for c in cts], 32),
            "rerandomise": _rate(lambda: [one.obfuscate() for _ in range(32)], 32),
        },
    )


def _heu(bits: int) -> Rates | None:
    try:
        from heu import phe as heu
    except ImportError:
        return None
    kit = heu.setup(heu.SchemaType.ZPaillier, bits)
    encryptor, evaluator, decryptor = kit.encryptor(), kit.evaluator(), kit.decryptor()
    one = encryptor.encrypt_raw(1)
    return Rates(
        HEU,
        {
            "encrypt": _rate(lambda: [encryptor.encrypt_raw(1) for _ in range(512)], 512),
            "add": _rate(lambda: [evaluator.add(one, one) for _ in range(2048)], 2048),
            "decrypt": _rate(lambda: [decryptor.decrypt_raw(one) for _ in range(64)], 64),
        },
    )


def _pypaillier(bits: int) -> Rates | None:
    try:
        import paillier  # the import name of pypaillier
    except ImportError:
        return None
    public, private = paillier.generate_keypair(bits)
    cts = [bytes(c) for c in paillier.encrypt_many(public, [1.0] * 1024)]
    return Rates(
        "pypaillier (short exponents)",
        {
            "encrypt": _rate(lambda: paillier.encrypt_many(public, [1.0] * 1024), 1024),
            "add": _rate(lambda: paillier.add_many(public, cts), 1024),
            "decrypt": _rate(lambda: [paillier.decrypt(private, c) for c in cts[:64]], 64),
        },
    )


NAMES = {
    "encrypt": "owner encryptions",
    "add": "sums by group",
    "dot": f"dot products by group, {WEIGHT_BITS}-bit weights",
    "check": "checks of received ciphertexts",
    "decrypt": "decryptions",
    "rerandomise": "re-randomisations",
}


def _all_cores(key: PrivateKey, bits: int, choice: Choice) -> list[Row]:
    plain = np.zeros((2 * ROWS, key.public.plaintext_width), dtype=np.uint8)
    with choice.start() as kernel:
        kernel.prepare(key, 200_000)
        started = time.perf_counter()
        kernel.encrypt(key, plain)
        rate = len(plain) / (time.perf_counter() - started)
    name = f"Paillier {bits} ({choice.name}): owner encryptions, all cores"
    return [_row(name, rate, "per second")]


def _row(name: str, value: float, unit: str, peer: str = "", theirs: float | None = None) -> Row:
    return {
        "name": name,
        "value": round(value, 1),
        "unit": unit,
        "peer": peer,
        "peer_value": None if theirs is None else round(theirs, 1),
        "ratio": None if theirs is None else round(value / theirs, 2),
    }


def run(bits_list: list[int]) -> list[Row]:
    """One row per operation and peer that has it, and the other kernels beside the chosen one."""
    found: list[Row] = []
    choice = choose(os.environ.get(VARIABLE, ""))
    for bits in bits_list:
        key = generate(bits, os.urandom)
        with choice.start(1) as kernel:
            ours = _ours(key, kernel).found
        peers = [rates for rates in (_phe(key), _heu(bits), _pypaillier(bits)) if rates]
        peers += _other_kernels(key, choice)
        for operation, words in NAMES.items():
            name = f"Paillier {bits} ({choice.name}): {words}"
            beside = [peer for peer in peers if operation in peer.found]
            for peer in beside:
                theirs = peer.found[operation]
                found.append(_row(name, ours[operation], "per second and core", peer.peer, theirs))
        found += _portable_beside_heu(bits, peers)
        found += _all_cores(key, bits, choice)
    return found


def _portable_beside_heu(bits: int, peers: list[Rates]) -> list[Row]:
    """What the portable path is worth by itself, on a machine without IFMA or with it."""
    rates = {peer.peer: peer.found["encrypt"] for peer in peers}
    mine, theirs = rates.get(PORTABLE), rates.get(HEU)
    if mine is None or theirs is None:
        return []
    name = f"Paillier {bits} (portable): {NAMES['encrypt']}"
    return [_row(name, mine, "per second and core", HEU, theirs)]


def _other_kernels(key: PrivateKey, choice: Choice) -> list[Rates]:
    found = []
    for name in ("gmpy2", "portable"):
        if name == choice.name:
            continue
        try:
            other = choose(name)
        except BadInput:
            continue  # not built here
        with other.start(1) as kernel:
            found.append(Rates(f"our {name} kernel", _ours(key, kernel).found))
    return found


if __name__ == "__main__":
    for measured in run([2048, 3072]):
        print(measured)
