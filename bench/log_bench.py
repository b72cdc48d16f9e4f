"""The consent log: durable events a second by batch and by callers, bulk import, offline audit,
a node's copy.

Durable means: openings, entries, tiles, head and the signed checkpoint are on the disk with
full sync, read back and recomputed, when the call returns.  The audit is all that
`assent audit verify` does; the copy is a new node's, from an empty folder to a head that
may decide.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.append_bench import Measured, ledger_rate, on_disk, sync_rate, writer_rate
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
from consent.note_keys import ED25519, Signer, VerifierKey
from consent.policy import majority_policy, parse_policy
from consent.purposes import State
from consent.records import BATCH_ROWS, RecordBatch, Scope, new_batch
from consent.replica import Replica
from consent.trust import Trust, witness_signer
from consent.witness import Witness
from protocol.identity import create_keys
from protocol.secret import Secret

# Tessera on a POSIX file system as its authors published it, of many writers at once; other
# hardware than this.
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


@dataclass(frozen=True)
class NewLog:
    log: Log
    key: VerifierKey
    source: Source


def new_log(folder: str) -> NewLog:
    signer = Signer(ORIGIN, ED25519, Secret(os.urandom(32)))
    storage = SqlLog(f"sqlite:///{folder}/log.db", ORIGIN)
    openings = SqlOpenings(f"sqlite:///{folder}/openings.db", ORIGIN)
    log = Log(storage, openings, signer, time.time, os.urandom)
    return NewLog(log, signer.key, Source(ORIGIN, storage, openings, ("retailer",)))


def append_rate(log: Log, made: list[Event], batch: int) -> float:
    """One caller that hands in a batch when the one before it is answered."""
    start = time.perf_counter()
    for place in range(0, len(made), batch):
        log.append(made[place : place + batch])
    return len(made) / (time.perf_counter() - start)


def run(bulk: int = 1_000_000) -> list[dict[str, Any]]:
    """Rows of bench/results.json."""
    return [*_appended(min(1.0, bulk / 1_000_000)), *_bulk(bulk), *_replayed(bulk)]


def _appended(part: float) -> Iterator[dict[str, Any]]:
    """part: of the usual number of events."""
    yield _row("disk: pages of 4 KiB, each synced before the next", sync_rate(), "syncs/s")
    for batch, n in ((1, 5_000), (50, 50_000), (500, 100_000)):
        with on_disk() as folder:
            rate = append_rate(new_log(folder).log, events(int(n * part)), batch)
        yield _row(f"log append, one caller, batches of {batch}", rate, "events/s")
    for callers, n in ((1, 5_000), (16, 25_000), (256, 100_000), (1_024, 100_000)):
        with on_disk() as folder:
            new = new_log(folder)
            found = writer_rate(new.log, new.key, events(int(n * part)), callers)
        yield from _of_callers("log append", callers, found, PEER)
    for callers, n in ((16, 5_000), (256, 25_000), (1_024, 50_000)):
        requests = [records(1) for _ in range(int(n * part))]
        with on_disk() as folder, _a_ledger(Path(folder)) as (ledger, _):
            found = ledger_rate(ledger, "retailer", requests, callers)
        yield from _of_callers("ledger, checked and cosigned", callers, found)


def _of_callers(
    name: str, callers: int, found: Measured, peer: str | None = None
) -> Iterator[dict[str, Any]]:
    """peer: what many at once are compared with."""
    name = f"{name}, {callers:,} {'caller' if callers == 1 else 'callers'}, one event each"
    fair = peer if callers >= 256 else None
    yield _row(name, found.rate, "events/s", fair, PEER_VALUE if fair else None)
    yield _row(f"{name}: median wait", 1000 * found.wait, "ms")


def _bulk(bulk: int) -> Iterator[dict[str, Any]]:
    with on_disk() as name:
        folder, new = Path(name), new_log(name)
        rate = append_rate(new.log, events(bulk), BATCH_ROWS)
        yield _row(f"log bulk import of {bulk}", rate, "events/s")
        start = time.perf_counter()
        with open(folder / "bundle", "wb") as out:
            export_bundle([new.source], out.write)
        yield _row("bundle export", bulk / (time.perf_counter() - start), "entries/s")
        policy = parse_policy(majority_policy([new.key], {}).encode())
        start = time.perf_counter()
        with open(folder / "bundle", "rb") as lines:
            report = audit_bundle(lines, policy, rules=[ConsentRule(), JobRule({})])
        if report.exit_code != 0 or report.logs[0].size != bulk:
            raise SystemExit("the bench's own bundle does not verify")
        yield _row("bundle audit", bulk / (time.perf_counter() - start), "entries/s")
        found = writer_rate(new.log, new.key, events(bulk // 20), 1_024)
        yield from _of_callers(f"log append after {bulk}", 1_024, found, PEER)


@contextmanager
def _a_ledger(folder: Path) -> Iterator[tuple[Ledger, Replica]]:
    """With one witness, and a node's copy that is empty yet."""
    start = datetime.datetime.now(datetime.UTC)
    consent, party = (
        create_keys(name, role, storage=os.urandom(32), now=start)
        for name, role in (("consent", "consent"), ("retailer", "party"))
    )
    trust = Trust(consent.card, {"retailer": party.card})
    signers = [witness_signer(party, "retailer")]
    witness = Witness(f"sqlite:///{folder}/witness.db", trust.logs(), signers, time.time)
    ledger = Ledger(
        Places.in_folder(folder), consent, trust, ["retailer"], {"retailer": witness},
        time.time, os.urandom,
    )  # fmt: skip
    replica = Replica(folder / "replica.sqlite", "retailer", trust, party.storage)
    try:
        yield ledger, replica
    finally:
        replica.close()
        ledger.close()
        witness.close()


def _replayed(n: int) -> Iterator[dict[str, Any]]:
    """Entries a second that a new node pulls, verifies and applies, without the network."""
    with on_disk() as folder, _a_ledger(Path(folder)) as (ledger, replica):
        started = time.perf_counter()
        for place in range(0, n, BATCH_ROWS):
            ledger.append("retailer", records(min(BATCH_ROWS, n - place))).result(60)
        seconds = time.perf_counter() - started
        yield _row(f"ledger bulk import of {n}, checked and cosigned", n / seconds, "events/s")
        started = time.perf_counter()
        asyncio.run(replica.sync(LocalConsent(ledger, "retailer")))
        replica.require_fresh(time.time())
        seconds = time.perf_counter() - started
        if replica.applied() != n:
            raise SystemExit("the bench's own copy is not whole")
        yield _row(f"replica replay of {n}", n / seconds, "entries/s")


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
