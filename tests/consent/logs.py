"""Made-up keys, events and logs for these tests."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from consent.bundle import Source, export_bundle
from consent.leaf import CONSENT, Event, event
from consent.log import Log
from consent.log_sql import SqlLog, SqlOpenings
from consent.note_keys import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519, Signer
from consent.policy import Policy, majority_policy, parse_policy
from consent.witness import Witness
from protocol.secret import Secret
from tests.consent.made import START, Clock

PARTY = "retailer"
ORIGIN = f"assent.test/consent/{PARTY}"


def secret(name: str) -> Secret:
    return Secret(hashlib.sha256(name.encode()).digest())


def log_key(origin: str = ORIGIN) -> Signer:
    return Signer(origin, ED25519, secret(origin))


def witness_key(name: str, algorithm: int = COSIGNATURE_ED25519) -> Signer:
    return Signer(f"witness.test/{name}", algorithm, secret(name))


def mldsa_key(name: str) -> Signer:
    return witness_key(name, COSIGNATURE_MLDSA44)


def policy(*witnesses: str, origin: str = ORIGIN) -> Policy:
    keys = {name: witness_key(name).key for name in witnesses}
    return parse_policy(majority_policy([log_key(origin).key], keys).encode())


def id_of(name: str) -> bytes:
    return hashlib.sha256(f"id {name}".encode()).digest()[:16]


def subject_of(name: str) -> bytes:
    return hashlib.sha256(f"subject {name}".encode()).digest()


def consent(name: str, state: str = "given", party: str = "retailer") -> Event:
    """An event about person `name`; the same name and state make the same event."""
    fields: dict[str, object] = {"state": state, "purpose": "audience_insight", "who": name}
    return event(party, CONSENT, id_of(f"{name} {state}"), fields, subject_of(name))


def consents(prefix: str, n: int) -> list[Event]:
    return [consent(f"{prefix}-{i}") for i in range(n)]


@dataclass
class Stores:
    """The two databases of a log by URL; opened anew as often as a test likes."""

    tree: str
    private: str
    origin: str = ORIGIN

    def storage(self) -> SqlLog:
        return SqlLog(self.tree, self.origin)

    def openings(self) -> SqlOpenings:
        return SqlOpenings(self.private, self.origin)

    def log(self, clock: Clock | None = None) -> Log:
        return Log(
            self.storage(), self.openings(), log_key(self.origin), clock or Clock(), os.urandom
        )

    def source(self) -> Source:
        return Source(self.origin, self.storage(), self.openings(), (PARTY,))


def sqlite(folder: Path, origin: str = ORIGIN) -> Stores:
    folder.mkdir(exist_ok=True)
    return Stores(f"sqlite:///{folder}/log.db", f"sqlite:///{folder}/openings.db", origin)


def witness(folder: Path, name: str, clock: Clock | None = None, origin: str = ORIGIN) -> Witness:
    logs = {origin: [log_key(origin).key]}
    return Witness(
        f"sqlite:///{folder}/witness-{name}.db", logs, [witness_key(name)], clock or Clock()
    )


def exported(*sources: Source) -> bytes:
    out: list[bytes] = []
    export_bundle(sources, out.append)
    return b"".join(out)


def lines(data: bytes) -> list[bytes]:
    return data.splitlines(keepends=True)


def cosigned(stores: Stores, names: Sequence[str], now: float = START) -> str:
    """The newest note under the cosignatures of `names`, published."""
    log = stores.log()
    text = log.note.partition("\n\n")[0] + "\n"
    return log.publish([witness_key(name).line(text, int(now)) for name in names])
