"""Receipts as the portal needs them: one event to a text that proves it, and back.

Who runs it: the portal's process makes them for the signed-in person; anybody may have one
checked, there or offline with `assent consent verify-receipt`.
Learns: whoever holds a receipt learns the one decision that it is about.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from consent.port import SubjectEvent


@dataclass(frozen=True)
class Checked:
    """A receipt that verified: whose log, which entry, and the record's body."""

    party: str
    index: int
    body: bytes


class Receipts(Protocol):
    def make(self, party: str, event: SubjectEvent) -> str: ...

    def verify(self, text: str) -> Checked:
        """Raises an AssentError for a text that is no genuine receipt."""
        ...
