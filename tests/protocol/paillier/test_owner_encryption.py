"""Owner encryption from tables is textbook encryption: proved by exhaustion on small primes."""

from __future__ import annotations

from collections import Counter
from itertools import product

import gmpy2
import numpy as np
import pytest

from protocol.paillier import chunks
from protocol.paillier.chunks import Keys, Owner
from protocol.paillier.fixed_base import FixedBase, best_window, generator
from protocol.paillier.keys import PrivateKey, insecure_generate
from tests.protocol.paillier.rows import array, numbers, seeded, textbook_decrypt

# (p, primes of p-1): 2·p₁ and 2·p₁·t shapes, and some with repeated primes.
PRIMES = [(23, (2, 11)), (59, (2, 29)), (31, (2, 3, 5)), (43, (2, 3, 7)), (163, (2, 3)),
          (199, (2, 3, 11))]  # fmt: skip


def _roots(base: FixedBase, p: int, exponents: list[int]) -> list[int]:
    size = -(-(p - 2).bit_length() // 8)
    data = b"".join(e.to_bytes(size, "little") for e in exponents)
    products, slopes = base.power(data, len(exponents))
    return [int(s * (1 + p * slope) % (p * p)) for s, slope in zip(products, slopes, strict=True)]


@pytest.mark.parametrize(("p", "factors"), PRIMES)
@pytest.mark.parametrize("window", [1, 2, 3, 5, 8])
def test_exponents_reach_every_nth_residue_exactly_once(
    p: int, factors: tuple[int, ...], window: int
) -> None:
    base = FixedBase(p, factors, window, seeded(p))
    roots = _roots(base, p, list(range(p - 1)))
    assert len(set(roots)) == p - 1
    q = 59 if p != 59 else 23
    textbook = Counter(pow(r, p * q, p * p) for r in range(1, p * p) if r % p)
    assert set(roots) == set(textbook)
    assert len(set(textbook.values())) == 1  # textbook is uniform over the same set


@pytest.mark.parametrize(("p", "factors"), PRIMES)
def test_exponents_are_uniform_by_rejection(p: int, factors: tuple[int, ...]) -> None:
    every = bytes(range(256))
    position = 0

    def source(n: int) -> bytes:
        nonlocal position
        found = bytes(every[(position + i) % 256] for i in range(n))
        position += n
        return found

    base = FixedBase(p, factors, 4, seeded(p))
    base._random = source
    counts = Counter(base.exponents(40 * (p - 1)))
    # Exactly as often as each other, but for the pass that the last exponent cuts off.
    assert set(counts) == set(range(p - 1))
    assert max(counts.values()) - min(counts.values()) <= 256 >> (p - 2).bit_length()


@pytest.mark.parametrize(("p", "factors"), PRIMES)
def test_only_generators_are_taken(p: int, factors: tuple[int, ...]) -> None:
    for seed in range(30):
        root = generator(p, factors, seeded(seed))
        omega = int(root.b * (1 + p * root.slope) % (p * p))
        assert len({pow(omega, e, p * p) for e in range(p - 1)}) == p - 1
        assert root.b * root.inverse % p == 1


def test_a_forgotten_factor_would_miss_residues() -> None:
    """The check in `generator` has a reason: with 3 left out, non-generators pass."""
    found = {
        len({pow(int(generator(31, (2, 5), seeded(s)).b), e, 31) for e in range(30)})
        for s in range(40)
    }
    assert found == {30, 10}


@pytest.mark.parametrize("m", [0, 1, 700, 1356])
def test_every_ciphertext_of_a_tiny_key_exactly_once(
    m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = PrivateKey(23, 59, (2, 11), (2, 29))
    public = key.public
    pairs = list(product(range(22), range(58)))
    columns = {23: bytes(a for a, _ in pairs), 59: bytes(b for _, b in pairs)}
    monkeypatch.setattr(FixedBase, "exponents", lambda self, rows: columns[int(self._p)])
    owner = Owner(key, seeded(5))
    rows = array([m] * len(pairs), public.plaintext_width)
    found = chunks.encrypt(Keys(owner.modulus, owner), [len(pairs)], [rows.tobytes()])
    width = public.width
    cts = numbers(np.frombuffer(found[0], np.uint8).reshape(-1, width))
    n = public.n
    units = [r for r in range(1, n) if gmpy2.gcd(r, n) == 1]
    textbook = [(1 + m * n) * pow(r, n, n * n) % (n * n) for r in units]
    assert sorted(cts) == sorted(textbook)


@pytest.mark.parametrize("factored", [True, False])
def test_a_drawn_sample_is_uniform(factored: bool) -> None:
    """Chi-square over all 1276 ciphertexts of zero, both ways of the owner; seeded."""
    factors = ((2, 11), (2, 29)) if factored else (None, None)
    key = PrivateKey(23, 59, *factors)
    owner = Owner(key, seeded(11))
    n, draws = key.public.n, 40_000
    rows = bytes(draws * key.public.plaintext_width)
    data = chunks.encrypt(Keys(owner.modulus, owner), [draws], [rows])[0]
    counts = Counter(numbers(np.frombuffer(data, np.uint8).reshape(draws, -1)))
    assert set(counts) == {pow(r, n, n * n) for r in range(1, n) if gmpy2.gcd(r, n) == 1}
    expected = draws / 1276
    chi = sum((count - expected) ** 2 / expected for count in counts.values())
    assert abs(chi - 1275) < 5 * (2 * 1275) ** 0.5


@pytest.mark.parametrize("window", range(1, 9))
@pytest.mark.parametrize("bits", [128, 144, 400])
def test_windows_that_do_not_divide_the_exponent(window: int, bits: int) -> None:
    key = insecure_generate(bits, seeded(bits))
    assert key.p_factors is not None
    base = FixedBase(key.p, key.p_factors, window, seeded(7))
    g = _roots(base, key.p, [1])[0]
    exponents = [0, 1, 2, key.p - 2, key.p // 3, (1 << (bits // 2 - 1)) - 1]
    assert _roots(base, key.p, exponents) == [pow(g, e, key.p**2) for e in exponents]
    assert pow(g, key.p - 1, key.p**2) == 1


def test_tables_grow_with_the_rows_and_keep_working() -> None:
    key = insecure_generate(256, seeded(1))
    owner = Owner(key, seeded(2))
    keys = Keys(owner.modulus, owner)
    sizes = []
    for rows in (1, 10, 100, 10_000, 1):
        plain = array([rows], key.public.plaintext_width).tobytes()
        c = chunks.encrypt(keys, [rows], [plain])[0]
        assert textbook_decrypt(key, int.from_bytes(c, "little")) == rows
        assert owner.tables is not None
        sizes.append(owner.tables[0].window)
    assert sizes[:4] == sorted(sizes[:4])
    assert sizes[0] < sizes[3] == sizes[4]
    assert sizes[3] == best_window(128, 10_000)
