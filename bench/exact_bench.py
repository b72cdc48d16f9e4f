"""Exact k-means over the same people: its parts beside scikit-learn, and a whole job.

    python -m bench --only exact

n people in common, 20 features, ten at each of two parties, k = 8, ten iterations.  The parts
run in one process without a network, one party after the other.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench import service
from protocol.kmeans.exact import party, scale
from protocol.kmeans.exact.coordinator import nearest
from protocol.kmeans.exact.party import OwnFeatures, Role
from protocol.kmeans.exact.secrets import Secrets
from protocol.secret import Secret

Row = dict[str, Any]
K, D, MOST = 8, 20, 10_000
PARTIES = ("left", "right")


def people(n: int) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """float64[n, D] of whole numbers, and a start."""
    rng = np.random.default_rng(11)
    middles = rng.uniform(1000, 9000, (K, D))
    x = np.clip(middles[rng.integers(0, K, n)] + rng.normal(0, 2500, (n, D)), 0, MOST).round()
    return x, x[rng.choice(n, K, replace=False)]


def _row(name: str, value: float, unit: str, peer: str = "", theirs: float = 0.0) -> Row:
    return {
        "name": name, "value": round(value, 3), "unit": unit, "peer": peer or None,
        "peer_value": round(theirs, 3) if peer else None,
        "ratio": round(theirs / value, 2) if peer else None,
    }  # fmt: skip


def parts(n: int) -> list[Row]:
    """Seconds of each part over all iterations, checked against scikit-learn's labels."""
    from sklearn.cluster import KMeans

    x, start = people(n)
    half, real = D // 2, np.ones(n, dtype=np.bool_)
    low, high, ones = np.zeros(half), np.full(half, float(MOST)), np.ones(half)
    values = np.ascontiguousarray(x.T)
    owns = [OwnFeatures(part, real, ones, low, high) for part in (values[:half], values[half:])]
    unit = scale.unit(K, 2, sum(own.largest for own in owns))
    centres = [start[:, :half], start[:, half:]]
    seconds = dict.fromkeys(("masking", "nearest", "labels and centres"), 0.0)
    labels = before = np.full(n, -1)
    started, rounds, sent = time.perf_counter(), 0, 0
    for round_ in range(1, 12):
        secrets = Secrets(Secret(bytes(32)), str(round_).encode(), n, K)
        at = time.perf_counter()
        uploads = [
            np.concatenate(list(party.upload(own, mine, Role(p, 2, unit), secrets)))
            for p, (own, mine) in enumerate(zip(owns, centres, strict=True))
        ]
        masked = time.perf_counter()
        positions = nearest(uploads)
        found = time.perf_counter()
        labels = party.labels_of(positions, secrets)
        rounds, sent = round_, sent + uploads[0].nbytes
        if round_ <= 10 and (labels != before).any():
            centres = [party.moved(o, labels, c) for o, c in zip(owns, centres, strict=True)]
        seconds["masking"] += masked - at
        seconds["nearest"] += found - masked
        seconds["labels and centres"] += time.perf_counter() - found
        if (labels == before).all():
            break
        before = labels
    ours = time.perf_counter() - started
    started = time.perf_counter()
    plain = KMeans(K, init=start, n_init=1, max_iter=10, tol=0, algorithm="lloyd").fit(x)
    theirs = time.perf_counter() - started
    if (labels != plain.labels_).any():
        sys.exit("exact k-means differs from scikit-learn")
    name = f"k-means exact, {n:,} × {D}, k = {K}, {rounds} rounds, 2 parties"
    return [
        _row(f"{name}, one process", ours, "s", "scikit-learn on the pooled table", theirs),
        *(_row(f"{name}, of it {part}", spent, "s") for part, spent in seconds.items()),
        _row(f"{name}, bytes per party", sent, "bytes"),
    ]


def job(n: int) -> list[Row]:
    """The whole service: matching, rounds, labels at both parties."""
    x, start = people(n)

    def tables(folder: Path) -> Path:
        return write_tables(folder, x)

    features = {p: [f"f{j}" for j in range(D // 2)] for p in PARTIES}
    asked = f"""\
job: exact
purpose: segmentation
protocol: kmeans
mode: exact
requester: left
with: [right]
match: {{on: [email]}}
features: {features}
k: {K}
init: {start.tolist()}
privacy: {{noise: off}}
"""
    measured = service.run_job(n, asked, tables=tables)
    name = f"k-means exact service {n} x {D}, k = {K}"
    if measured.status != "released":
        sys.exit(f"{name} ended {measured.status}: {measured.error}")
    return service.rows(name, measured)


def write_tables(folder: Path, x: np.ndarray[Any, Any]) -> Path:
    """Everybody is common; each party has half of the features, in an order of its own."""
    rng, n = np.random.default_rng(12), len(x)
    ids = np.char.add(np.char.add("person", np.arange(n).astype("U10")), "@example.com")
    text = "federation: bench\nkey_bits: 2048\nparties:\n"
    for p, name in enumerate(PARTIES):
        order = rng.permutation(n)
        columns: dict[str, Any] = {"email": ids[order]}
        text += f"  {name}:\n    table: {name}.parquet\n    ids: {{email: email}}\n"
        text += "    consents: all\n    attributes:\n"
        for j in range(D // 2):
            columns[f"f{j}"] = x[order, p * D // 2 + j].astype(np.int64)
            text += f"      f{j}: {{kind: number, category: behaviour, bounds: [0, {MOST}]}}\n"
        text += "    policy: {min_cohort: 20, noise: optional, reveal: members}\n"
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    path = folder / "FEDERATION.yaml"
    path.write_text(text)
    return path


def run(n: int) -> list[Row]:
    return parts(n) + job(n)
