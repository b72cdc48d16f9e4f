"""`make bench`: everything measured, printed, and written to bench/results.json.

python -m bench [--quick] [--large]
  [--only paillier|psi|jobs|gate|portal|tags|sums|exact|grid|lookalike|log|withdrawal]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
Row = dict[str, Any]


def paillier(quick: bool) -> list[Row]:
    from bench.paillier_bench import run

    return run([2048] if quick else [2048, 3072])


def psi(quick: bool) -> list[Row]:
    from bench import psi_bench, service

    n = 1 << (16 if quick else 20)
    found = psi_bench.run(1 << 16 if quick else 1 << 20)
    for mode, size in (("keyed", n), ("ecdh", n)):
        name = f"PSI service {mode} {size} x {size}"
        measured = service.run_job(size, service.PSI.format(mode=mode))
        found += service.rows(name, measured)
        _complain(name, measured.status, measured.error)
    return found


def jobs(quick: bool) -> list[Row]:
    from bench import service

    found = []
    sizes = [(5_000, 2048)] if quick else [(20_000, 2048), (100_000, 2048), (100_000, 3072)]
    for n, bits in sizes:
        name = f"crosstab service {n} x {n} {bits} bits"
        measured = service.run_job(n, service.CROSSTAB, bits)
        found += service.rows(name, measured)
        _complain(name, measured.status, measured.error)
    return found


def large() -> list[Row]:
    """Not part of `make bench`: several minutes and 10 GB of disk."""
    from bench import service

    found = []
    keyed = service.PSI.format(mode="keyed")
    for name, n, job in (
        ("crosstab service 1000000 x 1000000 2048 bits", 1_000_000, service.CROSSTAB),
        ("PSI service keyed 10000000 x 10000000", 10_000_000, keyed),
    ):
        measured = service.run_job(n, job)
        print(table(service.rows(name, measured)), file=sys.stderr, flush=True)
        found += service.rows(name, measured)
        _complain(name, measured.status, measured.error)
    return found


def gate(quick: bool) -> list[Row]:
    from bench.gate_bench import PEOPLE, run

    return run(PEOPLE // 10 if quick else PEOPLE)


def portal(quick: bool) -> list[Row]:
    from bench.portal_bench import run

    return run(2.0 if quick else 10.0)


def tags(quick: bool) -> list[Row]:
    from bench import tags_bench

    return tags_bench.run(50_000, 250_000) if quick else tags_bench.run(1_000_000, 5_000_000)


def _complain(name: str, status: str, error: str) -> None:
    if status != "released":
        sys.exit(f"{name} ended {status}: {error}")


def sums(quick: bool) -> list[Row]:
    from bench.sums_bench import run

    return run(quick)


def grid(quick: bool) -> list[Row]:
    from bench import grid_bench

    return grid_bench.run(10_000 if quick else 100_000)


def exact(quick: bool) -> list[Row]:
    from bench import exact_bench

    return exact_bench.run(10_000 if quick else 100_000)


def lookalike(quick: bool) -> list[Row]:
    from bench import lookalike_bench

    return lookalike_bench.run(5_000 if quick else 100_000)


def log(quick: bool) -> list[Row]:
    from bench import log_bench

    return log_bench.run(50_000 if quick else 1_000_000)


def withdrawal(quick: bool) -> list[Row]:
    from bench import withdrawal_bench

    return withdrawal_bench.run()


PARTS: dict[str, Callable[[bool], list[Row]]] = {
    "paillier": paillier, "psi": psi, "jobs": jobs, "gate": gate, "portal": portal,
    "tags": tags, "sums": sums, "exact": exact, "grid": grid, "lookalike": lookalike,
    "log": log, "withdrawal": withdrawal,
}  # fmt: skip


def machine() -> list[str]:
    """What the numbers were measured on."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux: the architecture's name has to do
    packages = []
    for name in ("gmpy2", "phe", "numpy", "duckdb", "grpcio", "rbcl", "sf-heu", "pypaillier"):
        try:
            packages.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            packages.append(f"{name} not installed")
    return [f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}",
            ", ".join(packages)]  # fmt: skip


def table(found: list[Row]) -> str:
    """Markdown."""
    lines = ["| what | value | unit | peer | peer's value | ratio |", "|---|--:|---|---|--:|--:|"]
    for row in found:
        peer = row["peer"] or ""
        theirs = "" if row["peer_value"] is None else f"{row['peer_value']:,}"
        ratio = "" if row["ratio"] is None else f"{row['ratio']:.1f} ×"
        lines.append(
            f"| {row['name']} | {row['value']:,} | {row['unit']} | {peer} | {theirs} | {ratio} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="small sizes, for trying it out")
    parser.add_argument("--only", choices=sorted(PARTS), action="append")
    parser.add_argument("--large", action="store_true", help="only the jobs of millions")
    arguments = parser.parse_args()
    found: list[Row] = large() if arguments.large else []
    for name in [] if arguments.large else arguments.only or list(PARTS):
        print(f"== {name}", file=sys.stderr, flush=True)
        found += PARTS[name](arguments.quick)
    print("\n".join(machine()))
    print(table(found))
    results = "results-large.json" if arguments.large else "results.json"
    (HERE / results).write_text(json.dumps(found, indent=1) + "\n")
    if arguments.large:
        load = ", ".join(f"{mean:.1f}" for mean in os.getloadavg())
        (HERE.parent / "docs" / "BENCHMARKS_LARGE.md").write_text(
            "# Jobs of millions\n\nWritten by `python -m bench --large`, "
            f"{date.today().isoformat()}; load of the machine over 1, 5 and 15 minutes at the "
            f"end: {load}.\n\n" + "\n\n".join(machine()) + "\n\n" + table(found) + "\n"
        )  # fmt: skip
    elif not arguments.quick and not arguments.only:
        page = HERE.parent / "docs" / "BENCHMARKS.md"
        page.write_text(
            "# Benchmarks\n\nWritten by `make bench`; ratio above 1 = better than the peer. "
            "Repeat it with `make bench`\n(optional peers: `.venv/bin/pip install sf-heu "
            "pypaillier`).\nJobs of millions: [BENCHMARKS_LARGE.md](BENCHMARKS_LARGE.md).\n\n"
            + "\n\n".join(machine()) + "\n\n" + table(found) + "\n"
        )  # fmt: skip


if __name__ == "__main__":
    main()
