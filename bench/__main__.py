"""`make bench`: everything measured, part by part; each part is written down as it ends.

python -m bench [--only PART]... [--large] [--quick]
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass

from bench import results
from bench.results import Row

USUAL, LARGE = "BENCHMARKS.md", "BENCHMARKS_LARGE.md"
BEGINNINGS = {
    USUAL: "# Benchmarks\n\nWritten by `make bench`, or part by part by `python -m bench --only "
    "PART`; ratio above 1 = better than the peer.\nOptional peers: `.venv/bin/pip install sf-heu "
    "pypaillier`, and `make bench-peers` for openmined-psi.\nJobs of millions: "
    f"[{LARGE}]({LARGE}).",
    LARGE: "# Jobs of millions\n\nWritten by `python -m bench --large`: some 40 minutes and 30 GB "
    "of disk.",
}


def paillier(quick: bool) -> list[Row]:
    from bench.paillier_bench import run

    return run([2048] if quick else [2048, 3072])


def psi(quick: bool) -> list[Row]:
    from bench import psi_bench

    return psi_bench.run(1 << (16 if quick else 20))


def psi_service(quick: bool) -> list[Row]:
    from bench import openmined

    n, found = 1 << (16 if quick else 20), []
    for mode in ("keyed", "ecdh"):
        found += openmined.beside(_service_psi(mode, n), mode, n)
    return found


def jobs(quick: bool) -> list[Row]:
    found = []
    sizes = [(5_000, 2048)] if quick else [(20_000, 2048), (100_000, 2048), (100_000, 3072)]
    for n, bits in sizes:
        found += _service_crosstab(n, bits)
    return found


def slow_link(quick: bool) -> list[Row]:
    from bench import slow_link

    return slow_link.run(5_000 if quick else 100_000)


def large_crosstab(quick: bool) -> list[Row]:
    return _service_crosstab(20_000 if quick else 1_000_000, 2048)


def large_keyed(quick: bool) -> list[Row]:
    return _service_psi("keyed", 100_000 if quick else 10_000_000)


def _service_psi(mode: str, n: int) -> list[Row]:
    from bench import service

    return service.measured(f"PSI service {mode} {n} x {n}", n, service.PSI.format(mode=mode))


def _service_crosstab(n: int, bits: int) -> list[Row]:
    from bench import service

    return service.measured(f"crosstab service {n} x {n} {bits} bits", n, service.CROSSTAB, bits)


def gate(quick: bool) -> list[Row]:
    from bench.gate_bench import PEOPLE, run

    return run(PEOPLE // 10 if quick else PEOPLE)


def portal(quick: bool) -> list[Row]:
    from bench.portal_bench import run

    return run(2.0 if quick else 10.0)


def tags(quick: bool) -> list[Row]:
    from bench import tags_bench

    return tags_bench.run(50_000, 250_000) if quick else tags_bench.run(1_000_000, 5_000_000)


def model_tags(quick: bool) -> list[Row]:
    from bench import model_tags_bench

    return model_tags_bench.run(50_000 if quick else 1_000_000)


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


@dataclass(frozen=True)
class Part:
    """run: takes `quick`, small sizes.  page: the document that its rows are written to."""

    run: Callable[[bool], list[Row]]
    page: str = USUAL


PARTS = {
    "paillier": Part(paillier), "psi": Part(psi), "psi-service": Part(psi_service),
    "jobs": Part(jobs), "slow-link": Part(slow_link), "gate": Part(gate), "portal": Part(portal),
    "tags": Part(tags), "model-tags": Part(model_tags), "sums": Part(sums), "exact": Part(exact),
    "grid": Part(grid), "lookalike": Part(lookalike), "log": Part(log),
    "withdrawal": Part(withdrawal),
    "large-crosstab": Part(large_crosstab, LARGE), "large-keyed": Part(large_keyed, LARGE),
}  # fmt: skip


def measure(name: str, quick: bool) -> None:
    """Runs one part, prints it, and, unless it was a quick one, writes file and page anew."""
    print(f"== {name}", file=sys.stderr, flush=True)
    load, start = os.getloadavg()[0], results.Spent.now()
    rows = PARTS[name].run(quick)
    measured = results.part(rows, load, results.Spent.now().others_since(start))
    print(results.page(f"# {name}", {name: measured}), flush=True)
    if quick:
        return
    parts = results.keep(name, measured, list(PARTS))
    page = PARTS[name].page
    mine = {one: part for one, part in parts.items() if PARTS[one].page == page}
    (results.DOCS / page).write_text(results.page(BEGINNINGS[page], mine), "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("--quick", action="store_true", help="small sizes, nothing is written")
    parser.add_argument("--only", choices=list(PARTS), action="append", help="may be repeated")
    parser.add_argument("--large", action="store_true", help="only the jobs of millions")
    arguments = parser.parse_args()
    wanted = LARGE if arguments.large else USUAL
    for name in arguments.only or [one for one, part in PARTS.items() if part.page == wanted]:
        measure(name, arguments.quick)


if __name__ == "__main__":
    main()
