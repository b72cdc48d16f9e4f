"""The proof that gcd(n, φ(n)) = 1: complete, bound to its job, and refused for crafted moduli."""

from __future__ import annotations

import os

import gmpy2
import pytest

from protocol.errors import ProtocolViolation
from protocol.paillier import proof
from protocol.paillier.keys import PrivateKey, PublicKey
from tests.protocol.paillier.rows import seeded, small_key

JOB = b"job hash"


def _refused(public: PublicKey, context: bytes, sigmas: list[bytes]) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        proof.verify(public, context, sigmas)
    assert caught.value.info.code == "bad_key"


@pytest.mark.parametrize("bits", [128, 256, 1024])
def test_an_honest_key_passes(bits: int) -> None:
    key = small_key(bits)
    sigmas = proof.prove(key, JOB)
    assert len(sigmas) == 7
    proof.verify(key.public, JOB, sigmas)


def test_a_key_made_elsewhere_passes_too() -> None:
    key = small_key()
    proof.verify(key.public, JOB, proof.prove(PrivateKey(key.p, key.q), JOB))


def test_a_proof_is_bound_to_job_key_and_place() -> None:
    key, other = small_key(seed=1), small_key(seed=2)
    sigmas = proof.prove(key, JOB)
    _refused(key.public, b"another job", sigmas)
    _refused(other.public, JOB, sigmas)
    _refused(key.public, JOB, [sigmas[1], sigmas[0], *sigmas[2:]])


def test_every_answer_counts() -> None:
    key = small_key()
    sigmas = proof.prove(key, JOB)
    for i in range(7):
        wrong = int.from_bytes(sigmas[i], "little") ^ 2
        data = wrong.to_bytes(len(sigmas[i]), "little")
        _refused(key.public, JOB, [*sigmas[:i], data, *sigmas[i + 1 :]])
    _refused(key.public, JOB, sigmas[:6])
    _refused(key.public, JOB, [*sigmas, sigmas[0]])
    _refused(key.public, JOB, [sigmas[0] + b"\0", *sigmas[1:]])


def test_an_answer_outside_the_group_is_refused() -> None:
    key = small_key()
    sigmas = proof.prove(key, JOB)
    zero = bytes(key.public.plaintext_width)
    above = int.from_bytes(sigmas[0], "little") + key.public.n
    _refused(key.public, JOB, [zero, *sigmas[1:]])
    if above.bit_length() <= 8 * len(zero):
        _refused(key.public, JOB, [above.to_bytes(len(zero), "little"), *sigmas[1:]])


def _best_effort(p: int, q: int) -> tuple[PublicKey, list[bytes]]:
    """What a cheating owner can do: take roots where they exist, in the part that permits it."""
    public = PublicKey(p * q)
    n = public.n
    order = (p - 1) * (q - 1) if p != q else p * (p - 1)
    while (shared := gmpy2.gcd(order, n)) != 1:
        order //= shared
    root = gmpy2.invert(n, order)
    sigmas = []
    for i in range(proof.ROUNDS):
        challenge = proof._challenge(public, JOB, i)
        sigmas.append(int(gmpy2.powmod(challenge, root, n)))
    width = public.plaintext_width
    return public, [sigma.to_bytes(width, "little") for sigma in sigmas]


def _with_factor_in_order(p: int) -> int:
    k = 2
    while not gmpy2.is_prime(k * p + 1):
        k += 2
    return k * p + 1


def test_crafted_bad_p_divides_q_minus_1() -> None:
    p = int(gmpy2.next_prime(int.from_bytes(os.urandom(16), "little") | 1 << 127))
    q = _with_factor_in_order(p)
    public, sigmas = _best_effort(p, q)
    # Every cheap check passes, which is why the proof is needed.
    PublicKey.insecure_from_bytes(public.to_bytes(), public.bits)
    _refused(public, JOB, sigmas)


def test_crafted_bad_square() -> None:
    p = int(gmpy2.next_prime(int.from_bytes(seeded(3)(16), "little") | 1 << 127))
    public, sigmas = _best_effort(p, p)
    PublicKey.insecure_from_bytes(public.to_bytes(), public.bits)
    _refused(public, JOB, sigmas)


def test_crafted_bad_small_subgroup() -> None:
    """p just above the trial-division limit: the worst case that the seven answers are for."""
    p = int(gmpy2.next_prime(1 << 20))
    k = 1 << 100
    while not gmpy2.is_prime(k * p + 1):
        k += 2
    public, sigmas = _best_effort(p, k * p + 1)
    PublicKey.insecure_from_bytes(public.to_bytes(), public.bits)
    _refused(public, JOB, sigmas)


def test_the_crafted_modulus_would_have_leaked() -> None:
    """Why: if p divides q-1, r^n misses most of the group, and a label shows through."""
    p, q = 23, 47
    n = p * q
    reached = {pow(r, n, n * n) % q for r in range(1, n) if r % p and r % q}
    assert len(reached) == (q - 1) // p  # a well-formed n reaches all q - 1
