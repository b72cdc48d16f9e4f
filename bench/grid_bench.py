"""k-means on a grid over the same people, as a whole job beside a cross-tab of as many.

    python -m bench --only grid

n people in common, 20 features, ten at each of two parties, k = 8, noise on.  The cross-tab
counts 16 × 16 cells of the same people, as the grid does, of labels that are there already.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from bench import exact_bench, service
from party_node.noise_opendp import OpenDPNoise
from protocol.kmeans.local_cells import CellsPlan, local_cells
from protocol.secure_sum.model import NumberScale

Row = dict[str, Any]
K, CELLS = exact_bench.K, 2 * exact_bench.K
GRID = f"""\
job: grid
purpose: segmentation
protocol: kmeans
mode: grid
requester: left
with: [right]
match: {{on: [email]}}
features: {{left: {{features}}, right: {{features}}}}
k: {K}
privacy: {{noise: on, rho: 0.1}}
""".replace("{features}", str([f"f{j}" for j in range(exact_bench.D // 2)]))
CROSSTAB = """\
job: crosstab
purpose: segmentation
protocol: crosstab
requester: left
with: [right]
match: {on: [email]}
rows: left/tag
columns: right/tag
privacy: {noise: on, rho: 0.1}
"""


def _with_tags(folder: Path, x: np.ndarray[Any, Any]) -> Path:
    """The tables of the grid, and one label of as many values as it has cells."""
    path = exact_bench.write_tables(folder, x)
    values = [f"c{cell}" for cell in range(CELLS)]
    for name in exact_bench.PARTIES:
        file = folder / f"{name}.parquet"
        table = pq.read_table(file)
        tags = np.array(values)[np.random.default_rng(13).integers(0, CELLS, len(table))]
        pq.write_table(table.append_column("tag", pa.array(tags)), file)
    tag = f"      tag: {{kind: label, category: behaviour, values: {values}}}\n"
    path.write_text(path.read_text().replace("    policy:", tag + "    policy:"))
    return path


def cells(x: np.ndarray[Any, Any]) -> list[Row]:
    """One party's own cells, with noise: what the job does beside counting."""
    half = exact_bench.D // 2
    scales = tuple(NumberScale(str(j), 0, exact_bench.MOST, 0) for j in range(half))
    plan = CellsPlan(scales, CELLS, 50_000_000, 20, False)
    features = [np.ascontiguousarray(x[:, j].astype(np.int64)) for j in range(half)]
    started = time.perf_counter()
    local_cells(plan, features, OpenDPNoise())
    seconds = time.perf_counter() - started
    name = f"k-means grid, {len(x):,} × {half}, {CELLS} cells, one party's own"
    return [{"name": name, "value": round(seconds, 3), "unit": "s",
             "peer": None, "peer_value": None, "ratio": None}]  # fmt: skip


def run(n: int) -> list[Row]:
    x, _ = exact_bench.people(n)
    measured = {}
    for asked, job in (("crosstab", CROSSTAB), ("grid", GRID)):
        measured[asked] = service.run_job(n, job, tables=lambda folder: _with_tags(folder, x))
        if measured[asked].status != "released":
            sys.exit(f"{asked} ended {measured[asked].status}: {measured[asked].error}")
    name = f"k-means grid service {n} x {exact_bench.D}, k = {K}"
    found = service.rows(name, measured["grid"])
    theirs = round(measured["crosstab"].seconds, 2)
    found[0] |= {"peer": f"a cross-tab of {CELLS} × {CELLS}", "peer_value": theirs,
                 "ratio": round(theirs / found[0]["value"], 2)}  # fmt: skip
    return cells(x) + found
