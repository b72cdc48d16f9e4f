"""One-time codes: made, kept as digests, compared in constant time, dead after five tries.

Who runs it: the portal's process.  Learns: nobody; a code is in the message that its sender
carries, and here as an HMAC under a key of this process.

A challenge exists whether or not anybody knows the address, and a wrong code costs the same
work in both cases; whether a message was really sent is not visible from outside.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from dataclasses import dataclass, field

DIGITS = 6
LIFE_SECONDS = 600.0
MAX_TRIES = 5


def draw(random: Callable[[int], bytes]) -> str:
    """Six digits, all equally likely: the bias of 2^64 mod 10^6 is under 10^-13."""
    return f"{int.from_bytes(random(8), 'big') % 10**DIGITS:0{DIGITS}d}"


def normal(typed: str) -> str:
    """What was typed without the spaces and full-width digits that people and phones add."""
    return "".join(
        str(int(character)) for character in typed if character.isdecimal() and len(typed) <= 32
    )


@dataclass
class Challenge:
    """One code for one address, bound to the browser session that asked for it."""

    kind: str
    address: str
    digest: bytes
    expires: float
    key: bytes = field(repr=False)
    tries: int = 0
    spent: bool = False

    @classmethod
    def of(cls, kind: str, address: str, code: str, now: float, key: bytes) -> Challenge:
        return cls(kind, address, _digest(key, kind, address, code), now + LIFE_SECONDS, key)

    def accepts(self, typed: str, now: float) -> bool:
        """Whether `typed` is the code, at most once and at most five tries long."""
        self.tries += 1
        right = hmac.compare_digest(
            self.digest, _digest(self.key, self.kind, self.address, normal(typed))
        )
        good = right and not self.spent and self.tries <= MAX_TRIES and now < self.expires
        self.spent |= good
        return good

    def alive(self, now: float) -> bool:
        return not self.spent and self.tries < MAX_TRIES and now < self.expires

    def __repr__(self) -> str:
        return f"Challenge(kind={self.kind}, tries={self.tries})"


def _digest(key: bytes, kind: str, address: str, code: str) -> bytes:
    return hmac.digest(key, f"{kind}\n{address}\n{code}".encode(), "sha256")
