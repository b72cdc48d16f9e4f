"""The big-integer work, one chunk of rows at a time: bytes in, bytes out.

Who runs it: a worker process of `protocol.paillier.pool`, or the caller itself in tests.
Learns: whoever holds the private key can encrypt fast and decrypt; without it only sums.
Source: Paillier 1999; protocols.md section 0; the buckets are Pippenger's.

Each operation takes (keys, numbers, buffers): small integers that say how to cut the buffers
and byte strings of fixed-width little-endian rows.  Here, and only here, Python loops over
rows.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import gmpy2

from protocol.errors import ProtocolViolation
from protocol.paillier.fixed_base import FixedBase, best_window, work
from protocol.paillier.keys import PrivateKey, PublicKey

Big = Any  # gmpy2.mpz, for which there are no types
RandomBytes = Callable[[int], bytes]
DIGEST = 16


@dataclass
class Modulus:
    """What a worker keeps of a public key."""

    public: PublicKey
    n: Big = field(init=False)
    square: Big = field(init=False)
    width: int = field(init=False)
    plain_width: int = field(init=False)

    def __post_init__(self) -> None:
        self.n = gmpy2.mpz(self.public.n)
        self.square = self.n * self.n
        self.width = self.public.width
        self.plain_width = self.public.plaintext_width


class Owner:
    """What a worker keeps of a private key: CRT constants, and the tables once needed.

    random: the operating system's generator.
    """

    def __init__(self, key: PrivateKey, random: RandomBytes) -> None:
        self.key = key
        self.modulus = Modulus(key.public)
        self.random = random
        self.p, self.q = gmpy2.mpz(key.p), gmpy2.mpz(key.q)
        self.p_square, self.q_square = self.p * self.p, self.q * self.q
        self.p_square_inverse = gmpy2.invert(self.p_square, self.q_square)
        self.p_inverse = gmpy2.invert(self.p, self.q)
        # L((n+1)^(p-1) mod p²) = (p-1)·q = -q mod p.
        self.h_p = gmpy2.invert(-self.q % self.p, self.p)
        self.h_q = gmpy2.invert(-self.p % self.q, self.q)
        self.tables: tuple[FixedBase, FixedBase] | None = None

    def prepared(self, rows: int) -> tuple[FixedBase, FixedBase]:
        """Tables fit for about `rows` encryptions here; wider ones replace what is too small."""
        assert self.key.p_factors is not None
        assert self.key.q_factors is not None
        bits = self.p.bit_length()
        window = best_window(bits, rows)
        if self.tables is not None:
            kept = self.tables[0].window
            going_on = work(bits, kept, rows) - work(bits, kept, 0)
            if window <= kept or work(bits, window, rows) >= going_on:
                return self.tables
        self.tables = None  # the old ones make room first
        self.tables = (
            FixedBase(self.p, self.key.p_factors, window, self.random),
            FixedBase(self.q, self.key.q_factors, window, self.random),
        )
        return self.tables


@dataclass
class Keys:
    """The one key that a call works under; `owner` is None without the private key."""

    modulus: Modulus
    owner: Owner | None = None

    def private(self) -> Owner:
        if self.owner is None:
            raise ValueError("this needs the private key")
        return self.owner


Numbers = Sequence[int]
Buffers = Sequence[bytes]


def read(data: bytes, width: int) -> list[Big]:
    number = gmpy2.mpz.from_bytes
    return [number(data[at : at + width], "little") for at in range(0, len(data), width)]


def write(values: list[Big], width: int) -> bytes:
    return b"".join([value.to_bytes(width, "little") for value in values])


def prepare(keys: Keys, numbers: Numbers, buffers: Buffers) -> list[bytes]:
    """numbers: [rows to expect in this worker]."""
    owner = keys.private()
    if owner.key.factored:
        owner.prepared(numbers[0])
    return []


def encrypt(keys: Keys, numbers: Numbers, buffers: Buffers) -> list[bytes]:
    """numbers: [rows to expect in this worker]; buffers: [plaintexts] → [ciphertexts]."""
    owner, modulus = keys.private(), keys.modulus
    plain = read(buffers[0], modulus.plain_width)
    if plain and max(plain) >= modulus.n:
        raise ValueError("a plaintext is not below the modulus")
    if not owner.key.factored:
        return [write(_textbook(owner, plain), modulus.width)]
    base_p, base_q = owner.prepared(numbers[0])
    half_p = _half(base_p, owner.p, owner.q, plain)
    half_q = _half(base_q, owner.q, owner.p, plain)
    return [write(_recombine(owner, half_p, half_q), modulus.width)]


def _half(base: FixedBase, p: Big, q: Big, plain: list[Big]) -> list[Big]:
    """(1 + m·n)·r^n mod p²: 1 + m·n = 1 + p·(m·q), so both linear factors are one."""
    products, slopes = base.draw(len(plain))
    square = p * p
    rows = zip(products, slopes, plain, strict=True)
    return [s * (1 + p * ((slope + m * q) % p)) % square for s, slope, m in rows]


def _textbook(owner: Owner, plain: list[Big]) -> list[Big]:
    """r^n for r uniform in Z_n*, computed by CRT: the same number, a quarter of the time."""
    modulus = owner.modulus
    n = modulus.n
    halves: tuple[list[Big], list[Big]] = ([], [])
    for m in plain:
        r = draw_unit(n, owner.random)
        for half, p, square in zip(
            halves, (owner.p, owner.q), (owner.p_square, owner.q_square), strict=True
        ):
            half.append((1 + m * n) * gmpy2.powmod(r, n % (p * (p - 1)), square) % square)
    return _recombine(owner, *halves)


def _recombine(owner: Owner, half_p: list[Big], half_q: list[Big]) -> list[Big]:
    square_p, square_q, inverse = owner.p_square, owner.q_square, owner.p_square_inverse
    both = zip(half_p, half_q, strict=True)
    return [a + square_p * ((b - a) * inverse % square_q) for a, b in both]


def draw_unit(n: Big, random: RandomBytes) -> Big:
    """Uniform in Z_n*, by rejection."""
    bits = n.bit_length()
    while True:
        r = gmpy2.mpz.from_bytes(random(-(-bits // 8)), "little") & ((1 << bits) - 1)
        if 0 < r < n and gmpy2.gcd(r, n) == 1:
            return r


def decrypt(keys: Keys, numbers: Numbers, buffers: Buffers) -> list[bytes]:
    """buffers: [ciphertexts] → [plaintexts].

    powmod_sec: the exponent is the key; outputs are few, so the quarter that it costs is cheap.
    """
    owner, modulus = keys.private(), keys.modulus
    p, q = owner.p, owner.q
    plain = []
    for c in read(buffers[0], modulus.width):
        x = gmpy2.powmod_sec(c % owner.p_square, p - 1, owner.p_square) - 1
        y = gmpy2.powmod_sec(c % owner.q_square, q - 1, owner.q_square) - 1
        if x % p or y % q:
            raise _bad_ciphertext("a ciphertext shares a factor with the modulus")
        m_p, m_q = x // p * owner.h_p % p, y // q * owner.h_q % q
        plain.append(m_p + p * ((m_q - m_p) * owner.p_inverse % q))
    return [write(plain, modulus.plain_width)]


def check(keys: Keys, numbers: Numbers, buffers: Buffers) -> list[bytes]:
    """buffers: [ciphertexts] → [a digest per row, for finding equal rows].

    The product of all rows is coprime to n exactly if each is: one gcd is enough.
    """
    modulus = keys.modulus
    n, square, width = modulus.n, modulus.square, modulus.width
    product = gmpy2.mpz(1)
    for c in read(buffers[0], width):
        if not 0 < c < square:
            raise _bad_ciphertext("a ciphertext is not between 0 and n²")
        product = product * (c % n) % n
    if gmpy2.gcd(product, n) != 1:
        raise _bad_ciphertext("a ciphertext shares a factor with the modulus")
    data = buffers[0]
    rows = range(0, len(data), width)
    digests = [hashlib.blake2b(data[at : at + width], digest_size=DIGEST).digest() for at in rows]
    return [b"".join(digests)]


def multiply(keys: Keys, numbers: Numbers, buffers: Buffers) -> list[bytes]:
    """numbers: lengths of runs of rows; buffers: [ciphertexts] → [one product per run]."""
    modulus = keys.modulus
    square = modulus.square
    rows = read(buffers[0], modulus.width)
    found, start = [], 0
    for length in numbers:
        product = gmpy2.mpz(1)
        for c in rows[start : start + length]:
            product = product * c % square
        found.append(product)
        start += length
    return [write(found, modulus.width)]


def dot(keys: Keys, numbers: Numbers, buffers: Buffers) -> list[bytes]:
    """numbers: [weight bits, lengths of runs…]; buffers: [ciphertexts, uint64 weights].

    → [per run the product of c^weight].
    """
    modulus = keys.modulus
    rows = read(buffers[0], modulus.width)
    weights = memoryview(buffers[1]).cast("Q").tolist()
    found, start = [], 0
    for length in numbers[1:]:
        run = slice(start, start + length)
        found.append(_buckets(rows[run], weights[run], numbers[0], modulus.square))
        start += length
    return [write(found, modulus.width)]


def bucket_window(rows: int, bits: int) -> int:
    """Bits per digit with the fewest multiplications for `rows` exponents of `bits` bits."""
    return min(range(1, 17), key=lambda c: -(-bits // c) * (rows + 2 * min(1 << c, 1 << bits) + c))


def _buckets(rows: list[Big], weights: list[int], bits: int, square: Big) -> Big:
    """Π c_i^w_i: per digit each row goes into the bucket of its digit; then Π bucket_d^d."""
    window = bucket_window(len(rows), bits)
    mask = (1 << window) - 1
    total = gmpy2.mpz(1)
    for shift in range((-(-bits // window) - 1) * window, -1, -window):
        if total != 1:
            total = gmpy2.powmod(total, 1 << window, square)
        buckets: list[Big | None] = [None] * (mask + 1)
        for c, weight in zip(rows, weights, strict=True):
            digit = weight >> shift & mask
            if digit:
                held = buckets[digit]
                buckets[digit] = c if held is None else held * c % square
        total = total * _weighted(buckets, square) % square
    return total


def _weighted(buckets: list[Big | None], square: Big) -> Big:
    """Π bucket_d^d by running products from the top."""
    running: Big | None = None
    total = gmpy2.mpz(1)
    for held in reversed(buckets[1:]):
        if held is not None:
            running = held if running is None else running * held % square
        if running is not None:
            total = total * running % square
    return total


def linear(keys: Keys, numbers: Numbers, buffers: Buffers) -> list[bytes]:
    """numbers: one factor per term; buffers: [plaintexts mod n, then rows of each term].

    → [per row (1 + plaintext·n) · Π c_t^factor_t].
    """
    modulus = keys.modulus
    n, square = modulus.n, modulus.square
    plain = read(buffers[0], modulus.plain_width)
    found = [1 + m * n for m in plain]
    terms = [(f, read(d, modulus.width)) for f, d in zip(numbers, buffers[1:], strict=True)]
    shifts = sorted(
        ((f.bit_length() - 1, rows) for f, rows in terms if f > 0 and not f & (f - 1)),
        key=lambda term: -term[0],
    )
    others = [(f, rows) for f, rows in terms if f <= 0 or f & (f - 1)]
    for factor, rows in others:
        found = [
            a * gmpy2.powmod(c, factor, square) % square for a, c in zip(found, rows, strict=True)
        ]
    return [write(_shifted(shifts, found, square), modulus.width)]


def _shifted(shifts: list[tuple[int, list[Big]]], found: list[Big], square: Big) -> list[Big]:
    """found · Π c^(2^shift) by Horner: the squarings of the widest shift serve all terms."""
    if not shifts:
        return found
    products = shifts[0][1]
    for (shift, _), (following, rows) in zip(shifts, [*shifts[1:], (0, [])], strict=True):
        if shift > following:
            power = gmpy2.mpz(1) << (shift - following)
            products = [gmpy2.powmod(c, power, square) for c in products]
        if rows:
            products = [a * c % square for a, c in zip(products, rows, strict=True)]
    return [a * c % square for a, c in zip(found, products, strict=True)]


def rerandomise(keys: Keys, numbers: Numbers, buffers: Buffers) -> list[bytes]:
    """buffers: [ciphertexts, r per row] → [c · r^n], r drawn by the caller."""
    modulus = keys.modulus
    n, square = modulus.n, modulus.square
    rows = zip(read(buffers[0], modulus.width), read(buffers[1], modulus.plain_width), strict=True)
    return [write([c * gmpy2.powmod(r, n, square) % square for c, r in rows], modulus.width)]


def _bad_ciphertext(cause: str) -> ProtocolViolation:
    return ProtocolViolation(
        "bad_ciphertext",
        cause,
        next_step="a party or the coordinator did not keep the protocol; compare versions",
    )


OPERATIONS: dict[str, Callable[[Keys, Numbers, Buffers], list[bytes]]] = {
    "prepare": prepare,
    "encrypt": encrypt,
    "decrypt": decrypt,
    "check": check,
    "multiply": multiply,
    "dot": dot,
    "linear": linear,
    "rerandomise": rerandomise,
}
