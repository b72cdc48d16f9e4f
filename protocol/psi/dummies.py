"""How many dummies agree on which identifier types: what blurs the counts that H sees.

Who runs it: every party, from the same K, with the same result to the last dummy.
Learns: nobody anything; H, which lacks K, sees true match counts plus these numbers.
Source: protocols.md section 1, "Dummies".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, localcontext
from itertools import combinations

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from protocol.encoding import length_prefixed

# The longest output of HKDF-SHA-256.  A geometric draw reads eight bytes per success; all of
# them succeeding has probability exp(-1020·ε) and counts as 1020, which the clamp cuts anyway.
_STREAM = 255 * 32
_DIGITS = 60  # decimal digits carried; correctly rounded, so the same on every machine


@dataclass(frozen=True)
class DummyRule:
    """epsilon, delta: how well one person's match is hidden in each count that H sees.

    Decimals, not floats: both sides must come to the same integers.
    """

    epsilon: Decimal = Decimal("0.5")
    delta: Decimal = Decimal("0.000001")

    def __post_init__(self) -> None:
        if not (0 < self.epsilon <= 10 and 0 < self.delta < 1):
            raise ValueError("epsilon lies in (0, 10], delta in (0, 1)")

    @property
    def s(self) -> int:
        """⌈ln(2/δ)/ε⌉: the mean, half of the most."""
        with localcontext() as context:
            context.prec = _DIGITS
            ratio = (2 / self.delta).ln() / self.epsilon
            return int(ratio.to_integral_value(ROUND_CEILING))

    @property
    def threshold(self) -> int:
        """⌊2^64·e^-ε⌋: a 64-bit draw below it is a success."""
        with localcontext() as context:
            context.prec = _DIGITS
            return int(((-self.epsilon).exp() * 2**64).to_integral_value(ROUND_FLOOR))

    def most(self, n_types: int) -> int:
        """The most dummies that can be drawn for `n_types` identifier types."""
        return ((1 << n_types) - 1) * 2 * self.s

    def draw(self, k: bytes, types: Sequence[str]) -> dict[frozenset[str], int]:
        """Dummies per non-empty set of agreeing types: clamp(s + X, 0, 2s), X = G₁ - G₂.

        k: 32 bytes.  types: in the job's order, all different.  Sets come in a fixed order
        (small ones first, then the job's order), which is the order of the dummies.
        """
        s = self.s
        counts = {}
        for size in range(1, len(types) + 1):
            for agreeing in combinations(types, size):
                x = self._geometric(k, agreeing, "+") - self._geometric(k, agreeing, "-")
                counts[frozenset(agreeing)] = min(max(s + x, 0), 2 * s)
        return counts

    def _geometric(self, k: bytes, agreeing: Sequence[str], sign: str) -> int:
        # Sorted, so that the draw depends on the set and on nothing else.
        info = length_prefixed("assent/psi/dummies/v1", sign, *sorted(agreeing))
        stream = HKDF(SHA256(), _STREAM, salt=None, info=info).derive(k)
        threshold, successes = self.threshold, 0
        for at in range(0, _STREAM, 8):
            if int.from_bytes(stream[at : at + 8], "little") >= threshold:
                break
            successes += 1
        return successes
