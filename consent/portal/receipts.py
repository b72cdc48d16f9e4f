"""Receipts as the portal needs them: one event to a text that proves it, and back.

Who runs it: the portal's process makes them for the signed-in person; anybody may have one
checked, there or offline with `assent consent verify-receipt`.
Learns: whoever holds a receipt learns the one decision that it is about.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from consent.port import SubjectEvent
from consent.receipt import claimed_origin, make_receipt, verify_receipt
from consent.trust import Trust
from protocol.identity import Card
from protocol.secret import Secret


@dataclass(frozen=True)
class Checked:
    """A receipt that verified: whose log, which entry, and the record's body."""

    party: str
    index: int
    body: bytes


class Receipts(Protocol):
    def make(self, event: SubjectEvent) -> str: ...

    def verify(self, text: str) -> Checked:
        """Raises an AssentError for a text that is no genuine receipt."""
        ...


@dataclass(frozen=True)
class LogReceipts:
    """Signed by the portal; what they prove rests on the log and its witnesses.

    signers: cards by name whose receipts are taken for genuine.
    """

    trust: Trust
    signing: Secret
    signers: Mapping[str, Card]

    def make(self, event: SubjectEvent) -> str:
        return make_receipt(event.leaf, event.opening, event.proof, self.signing)

    def verify(self, text: str) -> Checked:
        policy = self.trust.policy(claimed_origin(text))
        receipt = verify_receipt(text, policy, self.signers)
        return Checked(receipt.party, receipt.index, receipt.body)
