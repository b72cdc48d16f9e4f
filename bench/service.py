"""Whole jobs through the real service: seconds per stage, bytes per link, peak memory.

Who runs it: `make bench`.  Tables are made here, seeded; half of the people are common.
"""

from __future__ import annotations

import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from assent.progress import Progress
from assent.sandbox import Sandbox, check

FEDERATION = """\
federation: bench
key_bits: {bits}
parties:
  left:
    table: left.parquet
    default_region: CN
    ids: {{email: email}}
    attributes:
      tier: {{kind: label, category: purchases, values: [t0, t1, t2, t3, t4, t5, t6, t7]}}
    consents: all
    policy: {{min_cohort: 20, noise: optional, rho_per_month: 100.0}}
  right:
    table: right.parquet
    default_region: CN
    ids: {{email: email}}
    attributes:
      interest: {{kind: label, category: content, values: [i0, i1, i2, i3, i4, i5, i6, i7]}}
      minutes: {{kind: number, category: behaviour, bounds: [0, 600], decimals: 1}}
    consents: all
    policy: {{min_cohort: 20, noise: optional, rho_per_month: 100.0}}
"""
CROSSTAB = """\
job: crosstab
purpose: audience_insight
protocol: crosstab
requester: left
with: [right]
match: {on: [email], mode: keyed}
rows: left/tier
columns: right/interest
measures: [count, {sum: right/minutes}]
privacy: {noise: on, rho: 0.1}
"""
PSI = """\
job: members
purpose: overlap_measurement
protocol: psi
requester: left
with: [right]
match: {{on: [email], mode: {mode}, reveal: members}}
privacy: {{noise: off}}
"""


@dataclass
class Measured:
    """One job: seconds of its stages in order, bytes sent per party, peak MB per process.

    peak_mb: resident since the process started, with the pages of mapped files; the kernel takes
    those back when it needs memory.  own_mb: without them and during the job, the largest of
    several looks a second; resting_mb: the same before the job.
    processor: seconds of processors, of all processes together.
    """

    seconds: float = 0.0
    processor: float = 0.0
    stages: dict[str, float] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    peak_mb: dict[str, float] = field(default_factory=dict)
    own_mb: dict[str, float] = field(default_factory=dict)
    resting_mb: dict[str, float] = field(default_factory=dict)
    status: str = ""
    error: str = ""


def write_tables(folder: Path, n: int, bits: int, *, members: bool = False) -> Path:
    """Two tables of n people, half of them common; the path of FEDERATION.yaml."""
    rng = np.random.default_rng(7)
    ids = np.char.add(np.char.add("person", np.arange(n + n // 2).astype("U10")), "@example.com")
    left, right = rng.permutation(n), n // 2 + rng.permutation(n)
    tiers = np.char.add("t", rng.integers(0, 8, n).astype("U1"))
    interests = np.char.add("i", rng.integers(0, 8, n).astype("U1"))
    minutes = np.round(rng.gamma(2.0, 60.0, n), 1)
    pq.write_table(pa.table({"email": ids[left], "tier": tiers}), folder / "left.parquet")
    pq.write_table(
        pa.table({"email": ids[right], "interest": interests, "minutes": minutes}),
        folder / "right.parquet",
    )
    text = FEDERATION.format(bits=bits)
    if members:
        text = text.replace("noise: optional", "noise: optional, reveal: members")
    path = folder / "FEDERATION.yaml"
    path.write_text(text)
    return path


Tables = Callable[[Path], Path]  # writes them into a folder; the path of FEDERATION.yaml


def run_job(
    n: int,
    job: str,
    bits: int = 2048,
    tables: Tables | None = None,
    sandbox: type[Sandbox] = Sandbox,
) -> Measured:
    """One job over n × n people through real processes.

    tables: others than those of `write_tables`.
    """
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as name:
        folder = Path(name)
        if tables is not None:
            federation = tables(folder)
        else:
            federation = write_tables(folder, n, bits, members="members" in job)
        (folder / "JOB.yaml").write_text(job)
        loaded, (spec,) = check(federation, folder / "JOB.yaml")
        with sandbox(
            loaded,
            keep=folder / "kept",
            progress=Progress.stderr(),
            start_seconds=60 + n / 1e3,  # each of n people's consents is recorded first
        ) as running:
            found = Measured()
            pids = running.pids()
            found.resting_mb = {name: own_mb(pid) for name, pid in pids.items()}
            before = sum(map(_processor, pids.values()))
            over = threading.Event()
            watch = threading.Thread(target=_watch, args=(pids, found.own_mb, over))
            watch.start()
            started = last = time.perf_counter()
            node = running.node(spec.requester)
            job_id = node.submit(spec.canonical())
            stage = "start"
            try:
                for view in node.follow(job_id):
                    now = time.perf_counter()
                    found.stages[stage] = found.stages.get(stage, 0.0) + now - last
                    last, stage = now, view.stage.split("/")[0] or stage
                    found.status, found.error = view.state, view.error
            finally:
                over.set()
                watch.join()
            found.seconds = time.perf_counter() - started
            found.processor = sum(map(_processor, pids.values())) - before
            node.close()
            for party in (spec.requester, *spec.providers):
                client = running.node(party)
                found.sent[party] = client.record(job_id)["own"].get("bytes", 0)
                client.close()
            found.peak_mb = {name: peak_mb(pid) for name, pid in pids.items()}
        return found


def peak_mb(pid: int) -> float:
    """Largest resident set any process of the tree had, in MB: per process, not summed."""
    return max((_status(p, "VmHWM:") for p in _tree(pid)), default=0.0)


def own_mb(pid: int) -> float:
    """As `peak_mb`: what is resident now and no file's."""
    return max((_status(p, "RssAnon:") for p in _tree(pid)), default=0.0)


def _watch(pids: dict[str, int], peaks: dict[str, float], over: threading.Event) -> None:
    """Keeps the largest memory of each process that is not a file's."""
    while not over.wait(0.1):
        for name, pid in pids.items():
            peaks[name] = max(own_mb(pid), peaks.get(name, 0.0))


def _tree(pid: int) -> Iterator[int]:
    yield pid
    try:
        tasks = list(Path(f"/proc/{pid}/task").iterdir())
        for task in tasks:
            for child in (task / "children").read_text().split():
                yield from _tree(int(child))
    except OSError:
        return  # the process ended while we looked


def _processor(pid: int) -> float:
    """Seconds of processor time of the tree so far, without children that have ended."""
    ticks = 0
    for one in _tree(pid):
        try:
            words = Path(f"/proc/{one}/stat").read_text("ascii", "replace").rpartition(")")[2]
        except OSError:
            continue
        ticks += sum(map(int, words.split()[11:13]))
    return ticks / os.sysconf("SC_CLK_TCK")


def _status(pid: int, label: str) -> float:
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith(label):
                return int(line.split()[1]) / 1024
    except OSError:
        return 0.0
    return 0.0


def measured(name: str, n: int, job: str, bits: int = 2048) -> list[dict[str, Any]]:
    """One job as bench/results.json wants it; ends the bench when the job was not released."""
    found = run_job(n, job, bits)
    if found.status != "released":
        sys.exit(f"{name} ended {found.status}: {found.error}")
    return rows(name, found)


def rows(name: str, found: Measured) -> list[dict[str, Any]]:
    """As bench/results.json wants them."""
    made = [
        (f"{name} seconds", round(found.seconds, 2), "s"),
        (f"{name} processor seconds, all processes", round(found.processor, 2), "s"),
        (f"{name} peak memory of a process", round(max(found.peak_mb.values())), "MB"),
        (f"{name} the same without mapped files", round(max(found.own_mb.values())), "MB"),
    ]
    made += [
        (f"{name} of {process}", round(peak), f"MB, {found.resting_mb[process]:.0f} before the job")
        for process, peak in found.own_mb.items()
    ]
    made += [
        (f"{name} stage {stage}", round(seconds, 2), "s")
        for stage, seconds in found.stages.items()
        if seconds >= 0.05
    ]
    made += [(f"{name} sent by {party}", round(sent / 1e6, 2), "MB")
             for party, sent in found.sent.items()]  # fmt: skip
    return [
        {"name": one, "value": value, "unit": unit, "peer": None, "peer_value": None, "ratio": None}
        for one, value, unit in made
    ]
