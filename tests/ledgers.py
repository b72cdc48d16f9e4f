"""A ledger in this process, with witnesses in this process."""

from __future__ import annotations

import datetime
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from catalog.collaboration import Endpoint
from consent.ledger import Ledger, Places
from consent.local import LocalConsent
from consent.log_writer import Cosigner, Pace
from consent.replaced import Replaced
from consent.trust import AUDITOR, Trust, witness_signer
from consent.witness import Witness
from protocol.identity import Keys, create_keys
from protocol.transport.kit import load_kit, write_private

QUICK = Pace(linger=0.0, grace=0.0)


def new_keys(name: str, role: str = "party", address: str = "") -> Keys:
    now = datetime.datetime.now(datetime.UTC)
    return create_keys(name, role, storage=os.urandom(32), now=now, address=address)


def simple(folder: Path, clock: Callable[[], float], *parties: str) -> Stand:
    """A stand of these parties with keys of its own."""
    keys = {name: new_keys(name) for name in parties}
    return stand(folder, clock, keys, new_keys("consent", "consent"))


@dataclass
class Stand:
    """A ledger and all who are around it."""

    folder: Path
    keys: Mapping[str, Keys]  # parties and auditor by name
    consent: Keys
    clock: Callable[[], float]
    trust: Trust
    witnesses: Mapping[str, Witness]
    ledger: Ledger

    def port(self, party: str) -> LocalConsent:
        return LocalConsent(self.ledger, party)

    def close(self) -> None:
        self.ledger.close()
        for witness in self.witnesses.values():
            witness.close()

    def again(self, cosigners: Mapping[str, Cosigner] | None = None) -> Stand:
        """The same ledger in a new process, so to say."""
        self.ledger.close()
        ledger = _ledger(self.folder, self.consent, self.trust, cosigners or self.witnesses,
                         self.clock, self.keys)  # fmt: skip
        return Stand(
            self.folder, self.keys, self.consent, self.clock, self.trust, self.witnesses, ledger
        )


def _ledger(
    folder: Path, consent: Keys, trust: Trust, cosigners: Mapping[str, Cosigner],
    clock: Callable[[], float], keys: Mapping[str, Keys], pace: Pace = QUICK,
    replaced: Replaced | None = None,
) -> Ledger:  # fmt: skip
    parties = [name for name in keys if name != AUDITOR]
    return Ledger(
        Places.in_folder(folder), consent, trust, parties, cosigners, clock, os.urandom, pace,
        replaced,
    )  # fmt: skip


def stand(
    folder: Path,
    clock: Callable[[], float],
    keys: Mapping[str, Keys],
    consent: Keys,
    pace: Pace = QUICK,
    cosigners: Mapping[str, Cosigner] | None = None,
) -> Stand:
    """keys: of every party, and of the auditor under that name where there is one.

    cosigners: how the ledger reaches its witnesses; None: directly.
    """
    trust = Trust(consent.card, {name: one.card for name, one in keys.items()})
    folder.mkdir(parents=True, exist_ok=True)
    witnesses = {
        name: Witness(
            f"sqlite:///{folder}/witness-{name}.db",
            trust.logs(),
            [witness_signer(one, name)],
            clock,
        )
        for name, one in keys.items()
    }
    ledger = _ledger(folder, consent, trust, cosigners or witnesses, clock, keys, pace)
    return Stand(folder, keys, consent, clock, trust, witnesses, ledger)


def keep(stand: Stand) -> None:
    """Everybody's keys beside the ledger, insecurely, so that another process is the same stand."""
    for name, one in (*stand.keys.items(), ("consent", stand.consent)):
        folder = stand.folder / "keys" / name
        folder.mkdir(parents=True)
        secrets = (one.tls_key, one.signing, one.sealing, one.storage)
        for file, secret in zip(_KEY_FILES, secrets, strict=True):
            write_private(folder / file, secret.reveal())
        (folder / "card.json").write_text(json.dumps(one.card.to_dict()))


def kept(folder: Path, clock: Callable[[], float]) -> Stand:
    """The stand that `keep` kept."""
    keys = {path.name: _kept_keys(path) for path in sorted((folder / "keys").iterdir())}
    consent = keys.pop("consent")
    return stand(folder, clock, keys, consent)


def _kept_keys(folder: Path) -> Keys:
    fields = json.loads((folder / "card.json").read_text())
    return load_kit(folder, Endpoint(**fields).card())


_KEY_FILES = ("tls.pem", "signing.key", "sealing.key", "storage.key")
