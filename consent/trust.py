"""Whose signatures count: the keys of collaboration.yaml as keys of logs and witnesses.

Who runs it: the consent service, every node, the auditor, whoever verifies a receipt.  Pure.
Learns: nobody.

A log signs with the consent service's Ed25519 key under the log's own name; a witness is a
party's or the auditor's Ed25519 key.  One key may sign artifacts, notes and cosignatures,
because each begins with words of its own.  The default quorum is more than half of all
witnesses; who wants another one brings a policy file.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from catalog.collaboration import Collaboration
from consent.note_keys import COSIGNATURE_ED25519, ED25519, Signer, VerifierKey
from consent.policy import Policy, majority_policy, parse_policy
from protocol.identity import Card, Keys

AUDITOR = "auditor"
_ORIGIN = re.compile(r"assent/(?P<base>[0-9a-f]{16})/(?P<kind>consent/(?P<party>[^\s+/]+)|jobs)")


@dataclass(frozen=True)
class Trust:
    """consent: the service's card.  witnesses: cards of parties and auditor, by witness name.

    chosen: a policy of the reader's own in place of the default one; its log lines are not
    used, because a log's key is the pinned one of the service in any case.
    """

    consent: Card
    witnesses: Mapping[str, Card]
    chosen: Policy | None = None

    @classmethod
    def of(cls, collaboration: Collaboration) -> Trust:
        """All parties and, where there is one, the auditor are witnesses."""
        auditor = collaboration.auditor
        others = {AUDITOR: auditor.card()} if auditor else {}
        return cls(collaboration.consent.card(), collaboration.cards() | others)

    def log_key(self, origin: str) -> VerifierKey:
        return VerifierKey(origin, ED25519, self.consent.signing_key)

    def policy(self, *origins: str) -> Policy:
        """What a checkpoint of one of `origins` must have."""
        if self.chosen is not None:
            return replace(self.chosen, logs=tuple(map(self.log_key, origins)))
        return parse_policy(self.policy_text(*origins).encode())

    def policy_text(self, *origins: str) -> str:
        """The default policy as a file that other tools read too (C2SP tlog-policy)."""
        keys = {name: witness_key(name, card) for name, card in self.witnesses.items()}
        return majority_policy(map(self.log_key, origins), keys)

    def logs(self) -> Logs:
        return Logs(self)


class Logs(Mapping[str, tuple[VerifierKey, ...]]):
    """The logs that a witness watches: every one that the consent service may have.

    Names are not listed beforehand, because a log that replaces a lost one has a new name.
    """

    def __init__(self, trust: Trust) -> None:
        self._trust = trust

    def __getitem__(self, origin: str) -> tuple[VerifierKey, ...]:
        party = party_of(origin)
        if party is None or (party and party not in self._trust.witnesses):
            raise KeyError(origin)
        return (self._trust.log_key(origin),)

    def __iter__(self):  # type: ignore[no-untyped-def]  # there is no list of them
        return iter(())

    def __len__(self) -> int:
        return 0


def consent_origin(base: str, party: str) -> str:
    """The name of a party's consent log; base: 16 hex digits drawn when the service was new."""
    return f"assent/{base}/consent/{party}"


def jobs_origin(base: str) -> str:
    return f"assent/{base}/jobs"


def base_of(origin: str) -> str | None:
    found = _ORIGIN.fullmatch(origin)
    return found["base"] if found else None


def party_of(origin: str) -> str | None:
    """Whose consent log `origin` names; empty for a job log; None for any other text."""
    found = _ORIGIN.fullmatch(origin)
    return None if found is None else found["party"] or ""


def log_signer(keys: Keys, origin: str) -> Signer:
    return Signer(origin, ED25519, keys.signing)


def witness_signer(keys: Keys, name: str) -> Signer:
    return Signer(witness_name(name), COSIGNATURE_ED25519, keys.signing)


def witness_key(name: str, card: Card) -> VerifierKey:
    return VerifierKey(witness_name(name), COSIGNATURE_ED25519, card.signing_key)


def witness_name(name: str) -> str:
    return f"assent/witness/{name}"
