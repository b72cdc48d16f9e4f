"""Results and plans as a person reads them in a terminal."""

from __future__ import annotations

from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from assent.reader import TERMINAL
from assent.report_lists import Listing, derived, listing, listings
from assent.report_tables import Table as HeatMap
from assent.report_tables import flow_table, tables
from assent.segment_cards import cards

NUMBERS = ("count", "tgi")

# Terminal colours for the shades of the heat map; the number beside them says the same.
_COLOURS = {
    "b3": "bold blue",
    "b2": "blue",
    "b1": "cyan",
    "n0": "",
    "a1": "yellow",
    "a2": "dark_orange",
    "a3": "bold dark_orange",
    "w": "dim italic",
}
_WIDE = 1000  # a pipe or a file has no width: nothing is cut or wrapped for it


def console() -> Console:
    """As wide as the terminal, or as the text when there is none."""
    made = Console(highlight=False)
    return made if made.is_terminal else Console(highlight=False, width=_WIDE)


def result(found: dict[str, Any]) -> None:
    """Table with withheld cells marked, overlap, privacy, consent funnel, cost."""
    screen = console()
    screen.print(Text(f"{found['job']}: {found['status']}", style="bold"))
    if error := found.get("error"):
        where = " ".join(x for x in (error["party"], error["stage"]) if x)
        screen.print(Text(f"  {where}: {error['cause']} ({error['code']})"))
        if error["next_step"]:
            screen.print(Text(f"  next: {error['next_step']}"))
        return
    if overlap := found.get("overlap"):
        reason = overlap["withheld"]
        shown = f"withheld ({TERMINAL.withheld(reason)})" if reason else f"{overlap['count']:,}"
        screen.print(Text(f"  people in common: {shown}"))
    lists = listings(found)
    for part in lists:
        screen.print(Text(f"  {part.title}"))
        screen.print(listed(part))
    own = [
        {"cluster": card.number, "tag": tag.name, "value": tag.value, "TGI": round(tag.tgi)}
        for card in cards(found)
        for tag in card.tags
    ]
    if own:
        screen.print(Text("  Own tags that stand out"))
        screen.print(listed(listing("", own, TERMINAL)))
    if found.get("cells") and not lists:
        for table in _tables(found):
            screen.print(table)
        for part in derived(found):
            screen.print(Text(f"  {part.title}"))
            screen.print(listed(part))
    if privacy := found.get("privacy"):
        screen.print(Text("  " + privacy_line(privacy)))
        for warning in privacy.get("warnings", []):
            screen.print(Text(f"  note: {warning}"))
    if found.get("answered_from_store"):
        screen.print(Text("  asked before of the same data: the stored answer, at no new cost"))
    for party, funnel in found.get("consent", {}).items():
        out = ", ".join(
            f"{n:,} {TERMINAL.excluded(reason)}" for reason, n in funnel["excluded"].items()
        )
        line = f"  {party}: {funnel['rows']:,} rows, {funnel['eligible']:,} with consent"
        screen.print(Text(line + (f" (left out: {out})" if out else "")))
    cost = found.get("cost", {})
    sent = ", ".join(f"{p} sent {b / 1e6:.1f} MB" for p, b in cost.get("bytes", {}).items())
    if "seconds" in cost:
        screen.print(Text(f"  {cost['seconds']:.1f} s" + (f"; {sent}" if sent else "")))


def _tables(found: dict[str, Any]) -> list[Table]:
    """A heat map where people are counted only; with measures a line for each cell."""
    rows = found["cells"]
    flow = flow_table(found.get("flow") or [])
    if any(key.startswith(("sum:", "mean:")) for key in rows[0]):
        made = [cells(rows)]
    else:
        made = [grid for table in tables(rows, found["requester"]) for grid in grids(table)]
    return made + (grids(flow) if flow is not None else [])


def grids(table: HeatMap) -> list[Table]:
    """One terminal table per block of columns; a withheld cell says so and why."""
    made = []
    for block in table.blocks:
        title = f"{table.title}   ({table.rows_of} × {table.columns_of})"
        grid = Table(title=Text(title), title_justify="left", box=box.SIMPLE_HEAD)
        grid.add_column(Text(table.corner))
        for column in block.columns:
            grid.add_column(Text(column), justify="right")
        for row in block.rows:
            fields = [
                Text("\n".join((cell.text, *cell.lines)), style=_COLOURS.get(cell.shade, ""))
                for cell in row.cells
            ]
            grid.add_row(Text(row.name, style="bold"), *fields)
        made.append(grid)
    return made


def listed(part: Listing) -> Table:
    """A list of a job over secure sums."""
    table = Table(box=box.SIMPLE_HEAD)
    for name, numeric in zip(part.header, part.numeric, strict=True):
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold")
    for row in part.rows:
        table.add_row(*(Text(text) for text in row))
    return table


def cells(rows: list[dict[str, Any]]) -> Table:
    """Every cell of the cross-tab; withheld ones say why."""
    keys = [key for key in rows[0] if key != "withheld"]
    table = Table(box=box.SIMPLE_HEAD)
    for key in keys:
        numeric = key in NUMBERS or key.startswith(("sum:", "mean:"))
        table.add_column(Text(key), justify="right" if numeric else "left", overflow="fold")
    withheld = any(row["withheld"] for row in rows)
    if withheld:
        table.add_column("withheld", overflow="fold")
    for row in rows:
        reason = Text(TERMINAL.withheld(row["withheld"]) if row["withheld"] else "")
        table.add_row(*(_cell(key, row[key]) for key in keys), *([reason] if withheld else []))
    return table


def _cell(key: str, value: Any) -> Text:
    if value is None:
        return Text("·")
    if isinstance(value, float):
        return Text(f"{value:,.1f}" if key == "tgi" else f"{value:,.2f}")
    if isinstance(value, bool):
        return Text(str(value).lower())
    return Text(f"{value:,}" if isinstance(value, int) else str(value))


def privacy_line(privacy: dict[str, Any]) -> str:
    """One line on noise and group size."""
    if privacy.get("noise") == "discrete_gaussian":
        sigmas = ", ".join(f"{key} ±{sigma:,.1f}" for key, sigma in privacy["sigmas"].items())
        noise = f"noise: discrete Gaussian, rho {privacy['rho']:g}, epsilon "
        noise += f"{privacy['epsilon']:.2f} (σ: {sigmas})"
    else:
        noise = "noise: off"
    left = ", ".join(f"{p} {rho:g}" for p, rho in privacy.get("remaining_rho", {}).items())
    return f"{noise}; groups of at least {privacy['min_cohort']}" + (
        f"; rho left this month: {left}" if left else ""
    )


def plan(name: str, found: dict[str, Any]) -> None:
    """A dry run: costs, refusals and one sentence for each company."""
    screen = console()
    screen.print(Text(f"plan of {name}", style="bold"))
    rows = ", ".join(f"{p} {n:,}" for p, n in found["padded_rows"].items())
    screen.print(Text(f"  rows, padded and with dummies: {rows}"))
    if "seconds" in found:
        sent = ", ".join(f"{p} {b / 1e6:.1f} MB" for p, b in found["bytes"].items())
        seconds = found["seconds"]
        about = f"about {max(1, round(seconds))} s; " if seconds is not None else ""
        screen.print(Text(f"  {about}sent: {sent}"))
    left = ", ".join(f"{p} {rho:g}" for p, rho in found["remaining_rho"].items())
    screen.print(Text(f"  rho left this month: {left}"))
    for sentence in found["learns"].values():
        screen.print(Text(f"  {sentence}"))
    for warning in found["warnings"]:
        screen.print(Text(f"  note: {warning}"))
    for refusal in found["refusals"]:
        screen.print(
            Text(f"  {refusal['party']} would refuse: {refusal['cause']} ({refusal['code']})")
        )
    if not found["refusals"]:
        screen.print(Text("  nobody would refuse"))
