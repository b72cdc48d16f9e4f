"""A lookalike through the real service: seconds per stage, bytes per link, memory.

Two tables, half of the people common; the model's own time beside scikit-learn, which is given
the joined table with its labels.

    python -m bench --only lookalike [--quick]
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

D = 20
_PARTY = """\
  {name}:
    table: {name}.parquet
    ids: {{email: email}}
    attributes:
{attributes}
    consents: all
    policy: {{min_cohort: 20, noise: optional, rho_per_month: 100.0}}
"""
_JOB = """\
job: lookalike
purpose: lookalike_modelling
protocol: lookalike
requester: left
with: [right]
match: {{on: [email], mode: keyed}}
seed_flag: left/vip
features: [{features}]
privacy: {{noise: on, rho: 1}}
"""


def people(n: int) -> tuple[np.ndarray, np.ndarray]:
    """(features of n people, who is a seed)."""
    rng = np.random.default_rng(5)
    x = np.clip(rng.normal(5000, 2000, (n, D)), 0, 10_000).round(2)
    chance = 1 / (1 + np.exp(3 - (x[:, :5] - 5000).sum(axis=1) / 4000))
    return x, rng.random(n) < chance


def write_tables(folder: Path, n: int, bits: int) -> Path:
    """The right one has the features, the left one the seeds; path of FEDERATION.yaml."""
    x, seeds = people(n)
    ids = np.char.add(np.char.add("person", np.arange(n + n // 2).astype("U10")), "@example.com")
    rng = np.random.default_rng(6)
    right, left = rng.permutation(n), n // 2 + rng.permutation(n)
    flags = np.where(left < n, seeds[np.minimum(left, n - 1)], rng.random(n) < 0.1)
    pq.write_table(pa.table({"email": ids[left], "vip": flags}), folder / "left.parquet")
    columns = {f"f{j}": x[right, j] for j in range(D)}
    pq.write_table(pa.table({"email": ids[right], **columns}), folder / "right.parquet")
    numbers = "\n".join(
        f"      f{j}: {{kind: number, category: behaviour, bounds: [0, 10000], decimals: 2}}"
        for j in range(D)
    )
    vip = "      vip: {kind: flag, category: purchases}"
    path = folder / "FEDERATION.yaml"
    path.write_text(
        f"federation: bench\nkey_bits: {bits}\nparties:\n"
        + _PARTY.format(name="left", attributes=vip)
        + _PARTY.format(name="right", attributes=numbers)
    )
    return path


def run(n: int, bits: int = 2048) -> list[dict[str, Any]]:
    name = f"lookalike service {n} x {n}, {D} features, {bits} bits"
    job = _JOB.format(features=", ".join(f"right/f{j}" for j in range(D)))
    measured = service.run_job(n, job, bits, lambda folder: write_tables(folder, n, bits))
    if measured.status != "released":
        sys.exit(f"{name} ended {measured.status}: {measured.error}")
    return [*service.rows(name, measured), fit_row(n)]


def fit_row(n: int) -> dict[str, Any]:
    """The fit from exact sums beside scikit-learn's from labels; both give the same model."""
    from sklearn.linear_model import LogisticRegression

    from protocol.lookalike.fit import fit

    x, seeds = people(n)
    values = np.rint(x * 100).astype(np.int64)
    started = time.perf_counter()
    ours = fit(values, int(seeds.sum()), values[seeds].sum(axis=0).tolist(), 1.0)
    seconds = time.perf_counter() - started
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    started = time.perf_counter()
    model = LogisticRegression(C=1.0, solver="newton-cholesky", tol=1e-10).fit(z, seeds)
    theirs = time.perf_counter() - started
    if np.abs(model.predict_proba(z)[:, 1] - ours.scores).max() > 1e-6:
        sys.exit("a lookalike differs from scikit-learn")
    return {
        "name": f"lookalike fit and scores, {n} x {D}", "value": round(seconds, 3), "unit": "s",
        "peer": "scikit-learn on the joined table", "peer_value": round(theirs, 3),
        "ratio": round(theirs / seconds, 2),
    }  # fmt: skip
