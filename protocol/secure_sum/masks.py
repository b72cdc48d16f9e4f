"""Pairwise masks that cancel in the total: what hides a party's vector from the key's owner.

Who runs it: every party.  Learns: nobody anything: the numbers of one party are uniform to
everyone who lacks one of its seeds.
Source: protocols.md section 3; Bonawitz et al. 2017 (pairwise masks; no drop-out recovery here:
a changed set of parties is a new attempt with new seeds).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

from protocol.encoding import length_prefixed
from protocol.secret import Secret

SEED = 32
SPARE = 128  # bits drawn beyond |n|: the remainder mod n is uniform to 2^-128


def stream(seed: Secret, about: bytes, n: int, count: int) -> list[int]:
    """`count` numbers mod n from SHAKE-256 over seed and `about`.

    about: binds them to job hash, round and attempt: no mask is used twice.
    """
    size = -(-(n.bit_length() + SPARE) // 8)
    data = hashlib.shake_256(length_prefixed("assent/mask/v1", seed.reveal(), about)).digest(
        size * count
    )
    return [int.from_bytes(data[i * size : (i + 1) * size], "little") % n for i in range(count)]


def masks(
    me: str,
    parties: Sequence[str],
    seeds: Mapping[str, Secret],
    about: bytes,
    n: int,
    count: int,
) -> list[int]:
    """This party's masks mod n: plus what it shares with later parties, minus earlier ones.

    seeds: other party → the seed that the two share.
    """
    at = parties.index(me)
    total = [0] * count
    for position, other in enumerate(parties):
        if position == at:
            continue
        sign = 1 if at < position else -1
        shared = stream(seeds[other], about, n, count)
        total = [(mine + sign * value) % n for mine, value in zip(total, shared, strict=True)]
    return total
