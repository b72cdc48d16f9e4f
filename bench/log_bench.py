"""The consent log: durable events a second by batch, bulk import, offline audit.

Durable means: openings, entries, tiles, head and the signed checkpoint are on the disk with
full sync, read back and recomputed, when the call returns.
"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

from consent.audit import audit_bundle
from consent.bundle import Source, export_bundle
from consent.leaf import CONSENT, Event, event
from consent.log import Log
from consent.log_sql import SqlLog, SqlOpenings
from consent.note_keys import ED25519, Signer
from consent.policy import majority_policy, parse_policy
from consent.records import record_ids
from protocol.secret import Secret

# Tessera on a POSIX file system as its authors published it; other hardware than this.
PEER, PEER_VALUE = "tessera-posix (published)", 2900.0
ORIGIN = "assent.bench/consent/retailer"


def events(n: int) -> list[Event]:
    ids = record_ids(n, int(time.time() * 1000), os.urandom)
    fields: dict[str, object] = {
        "categories": ["purchases"], "channel": "import", "purposes": ["audience_insight"],
        "recipients": ["media"], "schema": "assent-consent/1", "state": "given",
        "time": "2027-01-15T08:00:00Z",
    }  # fmt: skip
    return [event("retailer", CONSENT, row.tobytes(), fields, os.urandom(32)) for row in ids]


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
            report = audit_bundle(lines, policy)
        if report.exit_code != 0 or report.logs[0].size != bulk:
            raise SystemExit("the bench's own bundle does not verify")
        found.append(_row("bundle audit", bulk / (time.perf_counter() - start), "entries/s"))
    return found


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
