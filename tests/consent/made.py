"""Made-up records, clocks and services for these tests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from consent.purposes import STATE_OF_WORD
from consent.records import RecordBatch, Scope, new_batch
from protocol.secret import Secret

SEAL = Secret(b"s" * 32)
START = 1_800_000_000.0
PURPOSE, CATEGORY = "audience_insight", "purchases"


class Clock:
    def __init__(self, now: float = START) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


def token(name: str) -> bytes:
    return hashlib.sha256(name.encode()).digest()


def tokens(names: Sequence[str]) -> npt.NDArray[np.uint8]:
    data = b"".join(token(name) for name in names)
    return np.frombuffer(data, np.uint8).reshape(len(names), 32)


def scope(recipient: str = "media", purpose: str = PURPOSE, category: str = CATEGORY) -> Scope:
    return Scope((purpose,), (recipient,), (category,))


def batch(
    names: Sequence[str],
    states: Sequence[str] | str = "given",
    about: Scope | None = None,
    channel: str = "import",
    now: float = START,
) -> RecordBatch:
    words = [states] * len(names) if isinstance(states, str) else states
    return new_batch(
        tokens(names),
        1,
        (about or scope(),),
        np.zeros(len(names), np.uint32),
        np.array([STATE_OF_WORD[word] for word in words], np.uint8),
        channel,
        int(now * 1000),
        os.urandom,
    )
