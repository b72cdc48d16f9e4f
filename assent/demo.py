"""`python -m assent.demo`: two made-up companies, an overlap and a cross-tab, a report.

What: writes the companies into FOLDER/data, runs both jobs through `assent sandbox run`'s own
code (real processes, mTLS), prints what the retailer gets and what each side could see.  Then a
shop wins customers back (`assent.demo_winback`), and one person withdraws in the portal
(`assent.demo_consent`).  Leaves FOLDER/result.json and FOLDER/report.html, with all jobs.
Who runs it: whoever tries Assent; `make demo`.
Learns: this process starts the whole federation, so it could see both tables; a real company
sees its own side only, as the printed table says.
Section: contracts.md for the files; docs/DISCLOSURE.md for who learns what.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table as Grid
from rich.text import Text

from assent.demo_consent import tell
from assent.demo_data import write_demo
from assent.demo_winback import tell as win_back
from assent.reader import TERMINAL, number, size, words
from assent.report import write_report
from assent.report_lists import derived, listings
from assent.report_tables import flow_table, standing_out, tables
from assent.show import grids, listed
from assent.who_learns import who_learns
from protocol.errors import AssentError

_TITLE = {
    "en": "Customers in common, and whom to win back",
    "zh": "共同客户，以及该挽回谁",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the demo; returns the exit code of the jobs."""
    parser = argparse.ArgumentParser(
        prog="python -m assent.demo", description=__doc__.split("\n")[0]
    )
    parser.add_argument("--folder", type=Path, default=Path("demo"), help="where everything goes")
    parser.add_argument("--seed", type=int, default=7, help="another seed, other people")
    parser.add_argument(
        "--keep", action="store_true", help="leave every party's folder in FOLDER/parties"
    )
    options = parser.parse_args(arguments)
    console = Console(highlight=False)
    try:
        return _run(options.folder, options.seed, options.keep, console)
    except AssentError as error:
        sys.stderr.write(f"demo: {error}\n")
        return error.exit_code


def _run(folder: Path, seed: int, keep: bool, console: Console) -> int:
    from assent.progress import Progress
    from assent.results import exit_code, write_results
    from assent.sandbox import run

    started = time.monotonic()
    files = write_demo(folder / "data", seed)
    console.print(
        f"two made-up companies are in {folder / 'data'}; starting the federation …", soft_wrap=True
    )
    _, results = run(
        files.federation,
        files.job,
        out=folder / "result.json",
        keep=folder / "parties" if keep else None,
        progress=Progress.stderr(),
    )
    for result in results:
        show(result, console)
    show_sides(results, console)
    say = _line(console, "whom to win back")
    story = win_back(folder / "winback", seed, say, Progress.stderr())
    for result in story:
        show(result, console)
    results = [*results, *story]
    seconds = time.monotonic() - started
    write_results(folder / "result.json", results)
    write_report(
        results,
        folder / "report.html",
        title=_TITLE,
        extra=_about(seed, seconds),
        at=datetime.now().astimezone(),
    )
    tell(folder / "withdrawal", _line(console, "one person withdraws"), Progress.stderr())
    seconds = time.monotonic() - started
    console.print(f"\n{seconds:.1f} s in all. Report: {folder / 'report.html'}", soft_wrap=True)
    console.print(f"The same as data: {folder / 'result.json'}", soft_wrap=True)
    return exit_code(results)


def _about(seed: int, seconds: float) -> Mapping[str, Mapping[str, str]]:
    """By language."""
    return {
        "en": {
            "Companies": f"made up by the demo from seed {seed}; nobody in them exists",
            "Processes": "a node per company, coordinator, consent service; loopback, mutual TLS",
            "All runs": f"{seconds:.1f} s on this machine, data and start included",
        },
        "zh": {
            "公司": f"由演示程序按种子 {seed} 虚构，其中没有真实的人",
            "进程": "每家公司一个节点，另有协调方与同意服务；本机回环，双向 TLS",
            "全部运行": f"在这台机器上 {seconds:.1f} 秒，含造数与启动",
        },
    }


def _line(console: Console, heading: str) -> Callable[[str], None]:
    """A chapter's heading, and what says its lines."""
    console.print()
    console.rule(Text(heading, style="bold"), align="left")
    return lambda line: console.print(Text(line), soft_wrap=True)


def show(result: Mapping[str, Any], console: Console) -> None:
    """What the requester gets of one job."""
    console.print()
    console.rule(Text(f"{result['job']}: {result['status']}", style="bold"), align="left")
    if error := result.get("error"):
        who = " ".join(x for x in (error["party"], words(error["stage"])) if x)
        console.print(Text(f"{who}: {error['cause']} ({error['code']})", style="red"))
        if error["next_step"]:
            console.print(Text(f"next: {error['next_step']}"))
        return
    privacy = result.get("privacy") or {}
    if overlap := result.get("overlap"):
        text = f"withheld ({words(overlap['withheld'])})" if overlap["withheld"] else (
            f"{number(overlap['count'])} people" + _spread(privacy, "overlap")
        )  # fmt: skip
        console.print(Text(f"in common: {text}"))
    for warning in privacy.get("warnings") or []:
        console.print(Text(f"note: {warning}", style="yellow"))
    lists = listings(result)
    for table in tables([] if lists else result.get("cells") or [], result["requester"]):
        for grid in grids(table):
            console.print(grid)
    if moved := flow_table(result.get("flow") or []):
        for grid in grids(moved):
            console.print(grid)
    for part in lists or derived(result):
        console.print(Text(part.title))
        console.print(listed(part))
    if any(cell["withheld"] for cell in result.get("cells") or []):
        console.print(Text("no TGI in columns with withheld cells: the whole is not known there"))
    for cell in standing_out(result.get("cells") or [], result["requester"], most=1):
        way = "most above" if cell["more"] else "most below"
        console.print(
            Text(f"{way} the average: {cell['row']} × {cell['column']}, TGI {cell['tgi']:.0f}")
        )
    for party, counts in (result.get("consent") or {}).items():
        console.print(Text(f"{party}: {funnel_line(counts)}"))
    console.print(Text(cost_line(result)))


def funnel_line(counts: Mapping[str, Any]) -> str:
    left_out = ", ".join(
        f"{number(count)} {TERMINAL.excluded(reason)}"
        for reason, count in counts.get("excluded", {}).items()
    )
    line = f"{number(counts['rows'])} rows, {number(counts['eligible'])} may take part"
    return line + (f" (left out: {left_out})" if left_out else "")


def cost_line(result: Mapping[str, Any]) -> str:
    cost, privacy = result.get("cost") or {}, result.get("privacy") or {}
    parts = []
    if cost.get("seconds") is not None:
        parts.append(f"{cost['seconds']:.1f} s")
    parts += [f"{party} sent {size(count)}" for party, count in (cost.get("bytes") or {}).items()]
    if cost.get("ciphertexts"):
        parts.append(f"{number(cost['ciphertexts'])} ciphertexts")
    if privacy.get("rho"):
        parts.append(f"privacy: rho {privacy['rho']:g}")
    parts += [
        f"{left:g} of rho left at {party}"
        for party, left in (privacy.get("remaining_rho") or {}).items()
    ]
    return "cost: " + ", ".join(parts)


def show_sides(results: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Who could see what in the last job that was released."""
    released = [result for result in results if result["status"] == "released"]
    if not released:
        return
    result = released[-1]
    match, privacy = result.get("match") or {}, result.get("privacy") or {}
    grid = Grid(title=Text("what each side could see"), title_justify="left", box=box.SIMPLE_HEAD)
    for heading in ("message", "to", "learns", "does not learn"):
        grid.add_column(heading, overflow="fold")
    for line in who_learns(
        result["requester"],
        result["with"],
        mode=match.get("mode", "keyed"),
        noise=privacy.get("noise") != "off",
    ):
        grid.add_row(*(Text(x) for x in (line.message, line.reader, line.learns, line.never)))
    console.print()
    console.print(grid)


def _spread(privacy: Mapping[str, Any], output: str) -> str:
    sigma = (privacy.get("sigmas") or {}).get(output)
    return f" (± {1.96 * sigma:.0f}, 19 times in 20)" if sigma else ""


if __name__ == "__main__":
    sys.exit(main())
