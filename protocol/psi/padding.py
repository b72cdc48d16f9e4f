"""Sizes that may leave a node: rounded up so that they say little about the true one.

Who runs it: every party, and H to check what was announced.
Learns: whoever sees a size learns it to about one part in sixteen (64 for small tables).
Source: protocols.md section 1.
"""

from __future__ import annotations

from protocol.psi.dummies import DummyRule


def padded(n: int) -> int:
    """⌈n/g⌉·g with g = 2^max(6, ⌊log₂ n⌋-4); an empty table looks like one of 64 rows."""
    if n < 0:
        raise ValueError("a size is not negative")
    g = 1 << max(6, n.bit_length() - 1 - 4)
    return max(1, -(-n // g)) * g


def handles_for(n_rows: int, n_types: int, dummies: DummyRule) -> int:
    """Handles that a party with `n_rows` eligible rows uploads when `n_types` are compared.

    Room for the most dummies that can be drawn, so that the number, announced before K
    exists, does not depend on how many are drawn.
    """
    if n_types < 1:
        raise ValueError("matching needs at least one identifier type")
    return padded(n_rows + dummies.most(n_types))
