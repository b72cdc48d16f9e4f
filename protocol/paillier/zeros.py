"""Encryptions of zero made ahead of their use, in lanes and threads that would idle otherwise.

Who runs it: `protocol.paillier.native`, for parties that re-randomise a few rows in each of many
rounds.
Learns: nothing; what is kept is one-time, overwritten when it is used, and leaves once.
Source: docs/adr/0005-native-kernel.md: eight rows take as long as one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np

from protocol.paillier.kernel import Bytes, Progress, RandomBytes
from protocol.paillier.native_keys import LANES, SharedKey

Work = Callable[[int, int], None]  # on rows start to end


class Zeros:
    """r^n for fresh r under one public key.

    each: runs work over so many rows, on all threads.
    """

    def __init__(
        self,
        shared: SharedKey,
        threads: int,
        each: Callable[[int, Work, Progress | None], None],
    ) -> None:
        self._shared, self._threads, self._each = shared, threads, each
        self._lock = threading.Lock()
        self._random: RandomBytes | None = None
        self._kept = np.empty((0, shared.public.width), dtype=np.uint8)

    def take(
        self, n: int, later: int, random: RandomBytes, progress: Progress | None = None
    ) -> Bytes:
        """uint8[n, width], given to nobody else; drawn from `random`.

        later: how many more will be taken soon; those that cost no time are made now.
        """
        with self._lock:
            if self._random != random:
                self._kept[:] = 0
                self._kept, self._random = self._kept[:0], random
            old = self._kept
            missing = n - len(old)
            made = old[:0]
            if missing > 0:
                room = max(-(-missing // LANES), self._threads) * LANES
                made = self._made(min(room, missing + later), random, progress)
            both = np.concatenate([old, made])
            old[:] = made[:] = 0
            self._kept = both[n:]
            return both[:n]

    def _made(self, n: int, random: RandomBytes, progress: Progress | None) -> Bytes:
        units = self._shared.units(n, random)
        out = np.empty((n, self._shared.public.width), dtype=np.uint8)

        def part(start: int, end: int) -> None:
            self._shared.power(units[start:end], self._shared.public.n, out[start:end])

        self._each(n, part, progress)
        units[:] = 0
        return out
