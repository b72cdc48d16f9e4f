"""Proof that gcd(n, φ(n)) = 1, so that encryption under n hides what it should.

Who runs it: the key's owner proves, every party that will encrypt or add under n verifies.
Learns: the verifier that n is well-formed, nothing about its factors.
Source: Goldberg, Reyzin, Sagga, Baldimtsi 2019, "Efficient Noninteractive Certification of
RSA Moduli and Beyond", the permutation proof with e = n; protocols.md section 0.

Without it a crafted n passes every cheap check, and r^n no longer covers the group: noise
and re-randomisation would leave row labels readable.  If gcd(n, φ(n)) > 1 and n has no prime
factor under 2^20, a random ρ has an n-th root with probability under 2^-20; seven in a row
under 2^-140.
"""

from __future__ import annotations

import hashlib

import gmpy2

from protocol.encoding import length_prefixed
from protocol.errors import ProtocolViolation
from protocol.paillier.keys import PrivateKey, PublicKey

ROUNDS = 7
_EXTRA_BITS = 128  # beyond |n|, so that reduction mod n leaves ρ uniform to 2^-128
_DOMAIN = "assent/paillier-key/v1"


def prove(key: PrivateKey, context: bytes) -> list[bytes]:
    """Seven σ_i with σ_i^n = Hash(context, n, i) mod n, each plaintext_width bytes.

    context: the job hash, so that a proof is worth nothing in another job.
    """
    public = key.public
    n = public.n
    root = gmpy2.invert(n, (key.p - 1) * (key.q - 1))
    return [
        int(gmpy2.powmod_sec(_challenge(public, context, i), root, n)).to_bytes(
            public.plaintext_width, "little"
        )
        for i in range(ROUNDS)
    ]


def verify(public: PublicKey, context: bytes, sigmas: list[bytes]) -> None:
    """Raises ProtocolViolation('bad_key') unless all seven answers hold."""
    n = public.n
    if len(sigmas) != ROUNDS:
        raise _bad_proof(f"{len(sigmas)} answers instead of {ROUNDS}")
    for i, data in enumerate(sigmas):
        sigma = int.from_bytes(data, "little")
        if len(data) != public.plaintext_width or not 0 < sigma < n:
            raise _bad_proof(f"answer {i} is no number modulo n")
        if gmpy2.powmod(sigma, n, n) != _challenge(public, context, i):
            raise _bad_proof(f"answer {i} is wrong")


def _challenge(public: PublicKey, context: bytes, i: int) -> int:
    seed = length_prefixed(_DOMAIN, context, public.to_bytes(), bytes([i]))
    data = hashlib.shake_256(seed).digest(-(-(public.bits + _EXTRA_BITS) // 8))
    return int.from_bytes(data, "little") % public.n


def _bad_proof(cause: str) -> ProtocolViolation:
    return ProtocolViolation(
        "bad_key",
        f"the proof that a key is well-formed fails: {cause}",
        stage="key",
        next_step="the key's owner has to make a new one",
    )
