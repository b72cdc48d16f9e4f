"""A kernel in which a ciphertext is its plaintext: for layouts too large for small keys.

"Encryption" is m + 1 written down, so that 1 is Enc(0) as in the real one; sums are sums.
It proves packing, not secrecy.
"""

from __future__ import annotations

import os

import numpy as np
import numpy.typing as npt

from protocol.crosstab.coordinator import layout
from protocol.crosstab.provider import ProviderRows, aggregate
from protocol.crosstab.requester import encrypt_rows, open_outputs
from protocol.crosstab.spec import CrosstabSpec
from protocol.crosstab.totals import NoisyTotals
from protocol.release.noise import NoiseSource, NoNoise
from tests.protocol.crosstab.federation import Tables
from tests.protocol.crosstab.textbook import TextbookPublic
from tests.protocol.paillier.rows import array, numbers

Bytes = npt.NDArray[np.uint8]


class PlainKey:
    def __init__(self, bits: int) -> None:
        self.public = TextbookPublic((1 << bits) - 1)


class PlainKernel:
    def prepare(self, key, rows):  # type: ignore[no-untyped-def]
        pass

    def encrypt(self, key: PlainKey, plaintexts: Bytes) -> Bytes:
        return array([m + 1 for m in numbers(plaintexts)], key.public.width)

    def decrypt(self, key: PlainKey, cts: Bytes) -> Bytes:
        return array([c - 1 for c in numbers(cts)], key.public.bits // 8)

    def check(self, public: TextbookPublic, cts: Bytes, progress: object = None) -> None:
        assert cts.shape[1] == public.width

    def sum_by_group(self, public, cts, groups, n_groups, progress=None):  # type: ignore[no-untyped-def]
        return self.dot_by_group(
            public, cts, groups, n_groups, np.ones(len(groups), dtype=np.uint64), 1
        )

    def dot_by_group(self, public, cts, groups, n_groups, weights, bits, progress=None):  # type: ignore[no-untyped-def]
        found = [0] * n_groups
        for c, group, weight in zip(numbers(cts), groups.tolist(), weights.tolist(), strict=True):
            if group >= 0:
                found[group] += (c - 1) * weight
        return array([m % public.n + 1 for m in found], public.width)

    def linear(self, public, terms, plaintext):  # type: ignore[no-untyped-def]
        found = list(plaintext)
        for cts, factor in terms:
            for at, c in enumerate(numbers(cts)):
                found[at] += (c - 1) * factor
        return array([m % public.n + 1 for m in found], public.width)

    def rerandomise(self, public, cts, random):  # type: ignore[no-untyped-def]
        return cts


def plain_run(spec: CrosstabSpec, tables: Tables, noise: NoiseSource | None = None) -> NoisyTotals:
    kernel, key = PlainKernel(), PlainKey(spec.key_bits)
    uploaded = np.concatenate(list(encrypt_rows(spec, kernel, key, tables.codes_a, spec.handles_b)))
    laid = uploaded[layout(tables.pairing, spec.handles_a)]
    mine = ProviderRows(tables.codes_b, tables.numbers)
    outputs = aggregate(spec, kernel, key.public, laid, mine, noise or NoNoise(), os.urandom)
    return open_outputs(spec, kernel, key, outputs)
