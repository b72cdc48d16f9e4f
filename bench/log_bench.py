"""The consent log: durable events a second by batch, bulk import, offline audit, a node's copy.

Durable means: openings, entries, tiles, head and the signed checkpoint are on the disk with
full sync, read back and recomputed, when the call returns.  The audit is all that
`assent audit verify` does; the copy is a new node's, from an empty folder to a head that
may decide.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from consent.audit import audit_bundle
from consent.audit_jobs import JobRule
from consent.audit_rules import ConsentRule
from consent.body import bodies
from consent.bundle import Source, export_bundle
from consent.leaf import CONSENT, Event
from consent.ledger import Ledger, Places
from consent.local import LocalConsent
from consent.log import Log
from consent.log_sql import SqlLog, SqlOpenings
from consent.note_keys import ED25519, Signer
from consent.policy import majority_policy, parse_policy
from consent.purposes import State
from consent.records import BATCH_ROWS, RecordBatch, Scope, new_batch
from consent.replica import Replica
from consent.trust import Trust, witness_signer
from consent.witness import Witness
from protocol.identity import create_keys
from protocol.secret import Secret

# Tessera on a POSIX file system as its authors published it; other hardware than this.
PEER, PEER_VALUE = "tessera-posix (published)", 2900.0
ORIGIN = "assent.bench/consent/retailer"


def records(n: int) -> RecordBatch:
    """New people who permit one purpose and recipient."""
    people = np.frombuffer(os.urandom(32 * n), np.uint8).reshape(n, 32)
    scope = Scope(("audience_insight",), ("media",), ("purchases",))
    states = np.full(n, int(State.GIVEN), np.uint8)
    now = int(time.time() * 1000)
    return new_batch(people, 1, (scope,), np.zeros(n, np.uint32), states, "import", now, os.urandom)


def events(n: int) -> list[Event]:
    made = records(n)
    return [
        Event("retailer", CONSENT, id.tobytes(), body, subject.tobytes())
        for id, body, subject in zip(made.record_ids, bodies(made), made.subjects, strict=True)
    ]


def append_rate(folder: Path, made: list[Event], batch: int) -> tuple[float, Source, Signer]:
    signer = Signer(ORIGIN, ED25519, Secret(os.urandom(32)))
    storage = SqlLog(f"sqlite:///{folder}/log.db", ORIGIN)
    openings = SqlOpenings(f"sqlite:///{folder}/openings.db", ORIGIN)
    log = Log(storage, openings, signer, time.time, os.urandom)
    start = time.perf_counter()
    for place in range(0, len(made), batch):
        log.append(made[place : place + batch])
    return (
        len(made) / (time.perf_counter() - start),
        Source(ORIGIN, storage, openings, ("retailer",)),
        signer,
    )


def run(bulk: int = 1_000_000) -> list[dict[str, Any]]:
    """Rows of bench/results.json."""
    found = []
    for batch, n in ((1, 500), (50, 10_000), (500, 100_000)):
        with tempfile.TemporaryDirectory() as folder:
            rate, _, _ = append_rate(Path(folder), events(n), batch)
        found.append(_row(f"log append, batches of {batch}", rate, "events/s", PEER, PEER_VALUE))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        made = events(bulk)
        rate, source, signer = append_rate(folder, made, 16_384)
        del made
        found.append(_row(f"log bulk import of {bulk}", rate, "events/s", PEER, PEER_VALUE))
        start = time.perf_counter()
        with open(folder / "bundle", "wb") as out:
            export_bundle([source], out.write)
        found.append(_row("bundle export", bulk / (time.perf_counter() - start), "entries/s"))
        policy = parse_policy(majority_policy([signer.key], {}).encode())
        start = time.perf_counter()
        with open(folder / "bundle", "rb") as lines:
            report = audit_bundle(lines, policy, rules=[ConsentRule(), JobRule({})])
        if report.exit_code != 0 or report.logs[0].size != bulk:
            raise SystemExit("the bench's own bundle does not verify")
        found.append(_row("bundle audit", bulk / (time.perf_counter() - start), "entries/s"))
    found.append(_row(f"replica replay of {bulk}", replay_rate(bulk), "entries/s"))
    return found


def replay_rate(n: int) -> float:
    """Entries a second that a new node pulls, verifies and applies, without the network."""
    start = datetime.datetime.now(datetime.UTC)
    consent, party = (
        create_keys(name, role, storage=os.urandom(32), now=start)
        for name, role in (("consent", "consent"), ("retailer", "party"))
    )
    trust = Trust(consent.card, {"retailer": party.card})
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        signers = [witness_signer(party, "retailer")]
        witness = Witness(f"sqlite:///{folder}/witness.db", trust.logs(), signers, time.time)
        ledger = Ledger(
            Places.in_folder(folder), consent, trust, ["retailer"], {"retailer": witness},
            time.time, os.urandom,
        )  # fmt: skip
        replica = Replica(folder / "replica.sqlite", "retailer", trust, party.storage)
        try:
            for place in range(0, n, BATCH_ROWS):
                ledger.append("retailer", records(min(BATCH_ROWS, n - place))).result(60)
            started = time.perf_counter()
            asyncio.run(replica.sync(LocalConsent(ledger, "retailer")))
            replica.require_fresh(time.time())
            seconds = time.perf_counter() - started
            if replica.applied() != n:
                raise SystemExit("the bench's own copy is not whole")
        finally:
            replica.close()
            ledger.close()
            witness.close()
    return n / seconds


def _row(
    name: str, value: float, unit: str, peer: str | None = None, peer_value: float | None = None
) -> dict[str, Any]:
    ratio = value / peer_value if peer_value else None
    return {
        "name": name, "value": round(value, 1), "unit": unit,
        "peer": peer, "peer_value": peer_value, "ratio": ratio,
    }  # fmt: skip


if __name__ == "__main__":
    import json
    import sys

    print(json.dumps(run(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000), indent=1))
