"""Paillier keys: made with a factored p-1, checked before a stranger's is used.

Who runs it: the party that will receive a result makes a key per job; everybody else gets
the modulus and checks it here, and its proof in `protocol.paillier.proof`.
Learns: a reader of the public key nothing; the private key never leaves its node.
Source: protocols.md section 0, "Key generation" and "A received public key".
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NoReturn

import gmpy2

from protocol.encoding import canonical_json
from protocol.errors import BadInput, ProtocolViolation
from protocol.secret import Secret

RandomBytes = Callable[[int], bytes]

MIN_BITS = 2048
SMALL_FACTOR_LIMIT = 1 << 20  # the proof's seven answers rely on it: 7 · log2(2^20) ≥ 128
COFACTOR_BITS = 25  # p = 2·p₁·t + 1 with p₁ this much shorter than p
PRIME_ROUNDS = 64  # when a prime is made: BPSW and 40 Miller-Rabin rounds in GMP
CHECK_ROUNDS = 25  # when an own key is loaded again, in every worker: BPSW and one round


@dataclass(frozen=True)
class PublicKey:
    """The modulus n = p·q; the base is always n + 1.

    Made from a received modulus by `from_bytes` only, which checks it.
    """

    n: int

    @property
    def bits(self) -> int:
        return self.n.bit_length()

    @property
    def width(self) -> int:
        """Bytes of a ciphertext, little-endian."""
        return 2 * self.plaintext_width

    @property
    def plaintext_width(self) -> int:
        """Bytes of a plaintext, little-endian."""
        return -(-self.bits // 8)

    def to_bytes(self) -> bytes:
        """n, little-endian, plaintext_width bytes."""
        return self.n.to_bytes(self.plaintext_width, "little")

    @classmethod
    def from_bytes(cls, data: bytes, bits: int) -> PublicKey:
        """A received key.  Raises ProtocolViolation('bad_key').

        These checks do not show that n is well-formed: `proof.verify` must follow.
        """
        if bits < MIN_BITS:
            raise _bad_key(f"a key of {bits} bits is under the floor of {MIN_BITS}")
        return cls.insecure_from_bytes(data, bits)

    @classmethod
    def insecure_from_bytes(cls, data: bytes, bits: int) -> PublicKey:
        """`from_bytes` without the floor on the size, for tests."""
        if len(data) != -(-bits // 8):
            raise _bad_key(f"a key of {bits} bits came as {len(data)} bytes")
        n = int.from_bytes(data, "little")
        if n.bit_length() != bits:
            raise _bad_key(f"a modulus of {n.bit_length()} bits was announced as {bits}")
        if n % 2 == 0:
            raise _bad_key("a modulus is even")
        if gmpy2.gcd(n, _small_primes() % n) != 1:
            raise _bad_key("a modulus has a prime factor under 2^20")
        return cls(n)


@dataclass(frozen=True, repr=False)
class PrivateKey:
    """n = p·q, and the distinct primes of p-1 and q-1 where they are known.

    A key made elsewhere (phe) has no factors: it encrypts the textbook way, more slowly.
    Raises ValueError for numbers that are no Paillier key.
    """

    p: int
    q: int
    p_factors: tuple[int, ...] | None = None
    q_factors: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        p, q = self.p, self.q
        if p == q or not gmpy2.is_prime(p, CHECK_ROUNDS) or not gmpy2.is_prime(q, CHECK_ROUNDS):
            raise ValueError("a Paillier key needs two different primes")
        if gmpy2.gcd(p * q, (p - 1) * (q - 1)) != 1:
            raise ValueError("n and φ(n) share a factor: decryption would be ambiguous")
        for prime, factors in ((p, self.p_factors), (q, self.q_factors)):
            if factors is not None:
                _check_factors(prime - 1, factors)

    @property
    def public(self) -> PublicKey:
        return PublicKey(self.p * self.q)

    @property
    def factored(self) -> bool:
        return self.p_factors is not None and self.q_factors is not None

    def to_secret(self) -> Secret:
        """For the owner's vault and its own workers; never for another party."""
        fields = {
            "p": hex(self.p),
            "q": hex(self.q),
            "p_factors": _hexes(self.p_factors),
            "q_factors": _hexes(self.q_factors),
        }
        return Secret(canonical_json(fields))

    @classmethod
    def from_secret(cls, secret: Secret) -> PrivateKey:
        """Raises ValueError for bytes that `to_secret` did not make."""
        fields = json.loads(secret.reveal())
        if not isinstance(fields, dict) or set(fields) != {"p", "q", "p_factors", "q_factors"}:
            raise ValueError("these bytes hold no Paillier key")
        return cls(
            int(fields["p"], 16),
            int(fields["q"], 16),
            _integers(fields["p_factors"]),
            _integers(fields["q_factors"]),
        )

    def __repr__(self) -> str:
        return "PrivateKey(…)"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a private key is not serialised; see to_secret")


def generate(bits: int, random: RandomBytes) -> PrivateKey:
    """A fresh key of `bits` bits.  Raises BadInput under 2048 bits."""
    if bits < MIN_BITS or bits % 16:
        raise BadInput(
            f"key_bits {bits} is not possible",
            code="bad_key_size",
            next_step="use 3072 (default) or 2048",
        )
    return insecure_generate(bits, random)


def insecure_generate(bits: int, random: RandomBytes) -> PrivateKey:
    """`generate` without the floor, for tests; at least 128 bits, a multiple of 16."""
    if bits < 128 or bits % 16:
        raise ValueError("a test key has at least 128 bits, a multiple of 16")
    while True:
        p, p_factors = _prime(bits // 2, random)
        q, q_factors = _prime(bits // 2, random)
        if p != q and gmpy2.gcd(p * q, (p - 1) * (q - 1)) == 1:
            return PrivateKey(p, q, p_factors, q_factors)


def _prime(bits: int, random: RandomBytes) -> tuple[int, tuple[int, ...]]:
    """p = 2·p₁·t + 1 of exactly `bits` bits with the top two set, and the primes of p-1.

    t is odd, so p = 3 mod 4; t is small, so trial division factors it.
    """
    size = bits - COFACTOR_BITS
    while True:
        p1 = _below(1 << size, random) | (1 << (size - 1)) | 1
        if gmpy2.is_prime(p1, PRIME_ROUNDS):
            break
    # The top two bits of p make n = p·q exactly twice as long.
    low = -(-((3 << (bits - 2)) - 1) // (2 * p1))
    high = ((1 << bits) - 2) // (2 * p1)
    while True:
        t = low + _below(high - low + 1, random)
        p = 2 * p1 * t + 1
        if t % 2 and gmpy2.is_prime(p, PRIME_ROUNDS):
            return p, tuple(sorted({2, p1, *_trial_division(t)}))


def _trial_division(number: int) -> set[int]:
    found = set()
    divisor = 3
    while divisor * divisor <= number:
        while number % divisor == 0:
            found.add(divisor)
            number //= divisor
        divisor += 2
    return found | ({number} if number > 1 else set())


def _below(bound: int, random: RandomBytes) -> int:
    """Uniform in [0, bound) by rejection."""
    bits = (bound - 1).bit_length()
    while True:
        value = int.from_bytes(random(-(-bits // 8)), "little") & ((1 << bits) - 1)
        if value < bound:
            return value


def _check_factors(number: int, factors: tuple[int, ...]) -> None:
    # A missing prime would let a non-generator pass, and r would miss part of the group.
    for factor in factors:
        if factor < 2 or number % factor or not gmpy2.is_prime(factor, CHECK_ROUNDS):
            raise ValueError("a declared factor of p-1 is not one")
        while number % factor == 0:
            number //= factor
    if number != 1:
        raise ValueError("the declared factors of p-1 are not all of them")


def _hexes(factors: tuple[int, ...] | None) -> list[str] | None:
    return None if factors is None else [hex(factor) for factor in factors]


def _integers(texts: Any) -> tuple[int, ...] | None:
    return None if texts is None else tuple(int(text, 16) for text in texts)


@lru_cache(maxsize=1)
def _small_primes() -> Any:
    """The product of all primes under 2^20 (about 1.5 million bits, made in milliseconds)."""
    return gmpy2.primorial(SMALL_FACTOR_LIMIT)


def _bad_key(cause: str) -> ProtocolViolation:
    return ProtocolViolation(
        "bad_key", cause, stage="key", next_step="the key's owner has to make a new one"
    )
