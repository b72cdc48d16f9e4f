"""Results part by part: bench/results.json, and the pages of docs/ that are written from it.

Who runs it: `python -m bench`.  A part that is measured again replaces its own rows and nothing
else, so every part carries its date, its machine and what else the machine had to do.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bench import openmined

Row = dict[str, Any]
Part = dict[str, Any]
HERE = Path(__file__).parent
FILE, DOCS = HERE / "results.json", HERE.parent / "docs"
PACKAGES = ("gmpy2", "phe", "numpy", "duckdb", "grpcio", "rbcl", "sf-heu", "pypaillier")


@dataclass(frozen=True)
class Spent:
    """Seconds by the wall, of all processors, and of processors for this run and its children.

    busy is None where the system does not tell.
    """

    wall: float
    busy: float | None
    own: float

    @classmethod
    def now(cls) -> Spent:
        spent = os.times()
        own = spent.user + spent.system + spent.children_user + spent.children_system
        return cls(time.monotonic(), _busy(), own)

    def others_since(self, start: Spent) -> float | None:
        """How many processors other programs kept busy since `start`, on average."""
        if self.busy is None or start.busy is None or self.wall <= start.wall:
            return None
        others = self.busy - start.busy - (self.own - start.own)
        return max(0.0, others / (self.wall - start.wall))


def _busy() -> float | None:
    try:
        words = Path("/proc/stat").read_text("ascii").splitlines()[0].split()[1:]
    except OSError:
        return None
    user, nice, system, _idle, _waiting, irq, soft_irq, *_ = map(int, words)
    return (user + nice + system + irq + soft_irq) / os.sysconf("SC_CLK_TCK")


def machine() -> str:
    """What the numbers were measured on."""
    model = platform.processor() or platform.machine()
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    except OSError:
        pass  # not Linux: the architecture's name has to do
    return f"{model}, {os.cpu_count()} cores, Python {platform.python_version()}"


def packages() -> str:
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} not installed")
    found.append(f"{openmined.NAME} {openmined.version() or 'not installed'}")
    return ", ".join(found)


def part(rows: list[Row], load: float, others: float | None) -> Part:
    """What is kept of one part.  load: before it, over a minute.  others: see `Spent`."""
    return {
        "date": date.today().isoformat(),
        "machine": machine(),
        "packages": packages(),
        "load_before": round(load, 1),
        "cores_of_others": None if others is None else round(others, 2),
        "rows": rows,
    }


def kept() -> dict[str, Part]:
    """Every part that was measured, by name."""
    found: dict[str, Part] = json.loads(FILE.read_text("utf-8")) if FILE.exists() else {}
    return found


def keep(name: str, measured: Part, order: list[str]) -> dict[str, Part]:
    """Puts one part into the file, in its place, and returns all."""
    parts = kept() | {name: measured}
    ordered = {one: parts[one] for one in order if one in parts}
    FILE.write_text(json.dumps(ordered, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return ordered


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


def page(beginning: str, parts: Mapping[str, Part]) -> str:
    """A document: what all parts share once, then each part with what is its own."""
    about = {name: (one["machine"], one["packages"]) for name, one in parts.items()}
    shared = len(set(about.values())) == 1
    pieces = [beginning]
    if shared:
        pieces += next(iter(about.values()))
    for name, one in parts.items():
        pieces += [f"## {name}", circumstances(name, one)]
        if not shared:
            pieces += about[name]
        pieces.append(table(one["rows"]))
    return "\n\n".join(pieces) + "\n"


def circumstances(name: str, one: Part) -> str:
    """When, beside what, and how to do it again."""
    load, others = one["load_before"], one["cores_of_others"]
    before = "load not noted" if load is None else f"load before it {load:g}"
    beside = "" if others is None else f", other programs used {others:g} cores meanwhile"
    return f"{one['date']}; {before}{beside}. Again: `python -m bench --only {name}`"
