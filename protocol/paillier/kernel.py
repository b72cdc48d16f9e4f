"""The one small interface behind which Paillier arithmetic sits.

Who runs it: A encrypts and opens, B checks, sums and re-randomises.
Learns: nobody anything by itself; see protocols.md section 2 for who holds which key.
Source: protocols.md section 0; architecture.md, "Kernel interface": contiguous
`uint8[n, width]` in and out, no big integer outside it, because a native one will replace it.

Every ciphertext array is uint8[n, 2·bits/8], every plaintext array uint8[n, bits/8],
numbers little-endian.  Arrays may be memory maps; they are read chunk by chunk and never
copied whole.  `progress(done, total)` counts rows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import numpy.typing as npt

from protocol.paillier.keys import PrivateKey, PublicKey

Bytes = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]
RandomBytes = Callable[[int], bytes]


class Kernel(Protocol):
    """Implemented by `protocol.paillier.pool.PoolKernel`; every method may run in any thread."""

    def prepare(self, key: PrivateKey, rows: int) -> None:
        """Builds the tables for about `rows` encryptions in all; optional, `encrypt` does too."""
        ...

    def encrypt(
        self, key: PrivateKey, plaintexts: Bytes, progress: Progress | None = None
    ) -> Bytes:
        """Owner encryption of uint8[n, bits/8], each below the modulus (else ValueError)."""
        ...

    def encrypt_zero(self, key: PrivateKey, n: int, progress: Progress | None = None) -> Bytes:
        """n fresh encryptions of zero."""
        ...

    def decrypt(self, key: PrivateKey, cts: Bytes, progress: Progress | None = None) -> Bytes:
        """uint8[n, bits/8], values in [0, n).  Only ever called for the key's owner's own use."""
        ...

    def check(self, public: PublicKey, cts: Bytes, progress: Progress | None = None) -> None:
        """0 < c < n², gcd(c, n) = 1, no two rows equal.

        Raises ProtocolViolation('bad_ciphertext').
        """
        ...

    def sum_by_group(
        self,
        public: PublicKey,
        cts: Bytes,
        groups: npt.NDArray[np.int32],
        n_groups: int,
        progress: Progress | None = None,
    ) -> Bytes:
        """uint8[n_groups, width]: per group the product of its rows; group -1 takes no part.

        An empty group gives the integer 1, which is Enc(0) with r = 1: re-randomise before
        anything leaves.
        """
        ...

    def dot_by_group(
        self,
        public: PublicKey,
        cts: Bytes,
        groups: npt.NDArray[np.int32],
        n_groups: int,
        weights: npt.NDArray[np.uint64],
        weight_bits: int,
        progress: Progress | None = None,
    ) -> Bytes:
        """uint8[n_groups, width]: per group Π c^weight, weights below 2^weight_bits."""
        ...

    def linear(
        self, public: PublicKey, terms: list[tuple[Bytes, int]], plaintext: list[int]
    ) -> Bytes:
        """uint8[m, width]: per row Π c_t^factor_t · (1 + plaintext·n); factors may be negative."""
        ...

    def rerandomise(
        self,
        public: PublicKey,
        cts: Bytes,
        random: RandomBytes,
        progress: Progress | None = None,
        later: int = 0,
    ) -> Bytes:
        """Each row times r^n, r uniform in Z_n* from `random`.

        later: how many more rows will come soon, in other calls; a kernel may draw and raise
        some of theirs now, where that takes no longer.
        """
        ...

    def forget(self, public: PublicKey) -> None:
        """Drops the tables and the private key that belong to `public` from every worker."""
        ...
