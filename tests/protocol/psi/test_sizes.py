"""Padding and dummies: protocols.md section 1, in numbers."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.psi.dummies import DummyRule
from protocol.psi.padding import handles_for, padded

RULE = DummyRule()
SETS = [frozenset({"phone"}), frozenset({"email"}), frozenset({"phone", "email"})]


@given(st.integers(1, 10**12))
def test_padding_rounds_up_to_the_formula(n: int) -> None:
    g = 2 ** max(6, int(math.log2(n)) - 4) if n < 2**40 else 2 ** (n.bit_length() - 5)
    assert padded(n) == -(-n // g) * g
    assert n <= padded(n) <= n * 17 / 16 + 64


@pytest.mark.parametrize(
    "n, expected",
    [(0, 64), (1, 64), (64, 64), (65, 128), (2047, 2048), (2049, 2176), (100_000, 102_400)],
)
def test_padding_examples(n: int, expected: int) -> None:
    assert padded(n) == expected


def test_a_negative_size_is_a_bug() -> None:
    with pytest.raises(ValueError, match="negative"):
        padded(-1)
    with pytest.raises(ValueError, match="at least one"):
        handles_for(1, 0, RULE)


def test_handles_leave_room_for_the_most_dummies_whatever_is_drawn() -> None:
    assert RULE.s == 30
    assert handles_for(20_000, 2, RULE) == padded(20_000 + 3 * 60)
    assert handles_for(20_000, 3, RULE) == padded(20_000 + 7 * 60)


def test_the_threshold_is_exact() -> None:
    # The alternating series of e^(-1/2) brackets it between two partial sums.
    terms = [Fraction((-1) ** i, 2**i * math.factorial(i)) for i in range(41)]
    low, high = sum(terms[:40]), sum(terms)
    assert math.floor(low * 2**64) == math.floor(high * 2**64) == RULE.threshold


def test_both_sides_draw_the_same_and_order_does_not_matter() -> None:
    k = bytes(range(32))
    a, b = RULE.draw(k, ["phone", "email"]), RULE.draw(k, ["email", "phone"])
    assert a == b
    assert set(a) == set(SETS)
    assert RULE.draw(bytes(32), ["phone", "email"]) != a
    # Fixed, so that a change of the derivation is a change of the protocol's version.
    assert [a[s] for s in SETS] == [30, 30, 29]


def test_draws_have_the_discrete_laplace_distribution() -> None:
    counts: Counter[int] = Counter()
    for i in range(1500):
        counts.update(RULE.draw(hashlib.sha256(b"%d" % i).digest(), ["phone", "email"]).values())
    n = sum(counts.values())
    q = math.exp(-0.5)
    chi, degrees = 0.0, 0
    for x in range(-8, 9):
        expected = n * (1 - q) / (1 + q) * q ** abs(x)
        chi += (counts[30 + x] - expected) ** 2 / expected
        degrees += 1
    assert degrees == 17
    assert chi < 45  # 1 in 5,000 by chance; the keys are fixed
    assert all(0 <= c <= 60 for c in counts)


def test_the_clamp_holds_at_both_ends() -> None:
    # δ so large that the tail reaches both ends.
    rule = DummyRule(epsilon=Decimal("0.5"), delta=Decimal("0.5"))
    assert rule.s == 3
    drawn = {rule.draw(hashlib.sha256(b"%d" % i).digest(), ["a"])[frozenset("a")]
             for i in range(300)}  # fmt: skip
    assert drawn == set(range(7))


@pytest.mark.parametrize("epsilon, delta", [("0", "0.1"), ("-1", "0.1"), ("1", "0"), ("1", "1")])
def test_senseless_rules_are_refused(epsilon: str, delta: str) -> None:
    with pytest.raises(ValueError, match="epsilon"):
        DummyRule(Decimal(epsilon), Decimal(delta))
