"""Results and plans as a person reads them in a terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

NUMBERS = ("count", "tgi")


def _console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def result(found: dict[str, Any]) -> None:
    """Table with withheld cells marked, overlap, privacy, consent funnel, cost."""
    console = _console()
    console.print(Text(f"{found['job']}: {found['status']}", style="bold"))
    if error := found.get("error"):
        where = " ".join(x for x in (error["party"], error["stage"]) if x)
        console.print(Text(f"  {where}: {error['cause']} ({error['code']})"))
        if error["next_step"]:
            console.print(Text(f"  next: {error['next_step']}"))
        return
    if overlap := found.get("overlap"):
        shown = "withheld: " + overlap["withheld"] if overlap["withheld"] else overlap["count"]
        console.print(Text(f"  people in common: {shown}"))
    if found.get("cells"):
        console.print(cells(found["cells"]))
    if privacy := found.get("privacy"):
        console.print(Text("  " + privacy_line(privacy)))
    for party, funnel in found.get("consent", {}).items():
        out = ", ".join(f"{n} {reason}" for reason, n in funnel["excluded"].items())
        line = f"  {party}: {funnel['rows']} rows, {funnel['eligible']} with consent"
        console.print(Text(line + (f" (left out: {out})" if out else "")))
    cost = found.get("cost", {})
    sent = ", ".join(f"{p} sent {b / 1e6:.1f} MB" for p, b in cost.get("bytes", {}).items())
    if "seconds" in cost:
        console.print(Text(f"  {cost['seconds']:.1f} s" + (f"; {sent}" if sent else "")))


def cells(rows: list[dict[str, Any]]) -> Table:
    """Every cell of the cross-tab; withheld ones say why."""
    keys = [key for key in rows[0] if key != "withheld"]
    table = Table()
    for key in keys:
        numeric = key in NUMBERS or key.startswith(("sum:", "mean:"))
        table.add_column(key, justify="right" if numeric else "left")
    table.add_column("withheld")
    for row in rows:
        table.add_row(*(_cell(row[key]) for key in keys), Text(row["withheld"] or ""))
    return table


def _cell(value: Any) -> Text:
    if value is None:
        return Text("·")
    if isinstance(value, float):
        return Text(f"{value:,.1f}")
    return Text(str(value))


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
    console = _console()
    console.print(Text(f"plan of {name}", style="bold"))
    rows = ", ".join(f"{p} {n}" for p, n in found["padded_rows"].items())
    console.print(Text(f"  rows (padded): {rows}"))
    if "seconds" in found:
        sent = ", ".join(f"{p} {b / 1e6:.1f} MB" for p, b in found["bytes"].items())
        seconds = found["seconds"]
        about = f"about {seconds:.0f} s; " if seconds is not None else ""
        console.print(Text(f"  {about}sent: {sent}"))
    left = ", ".join(f"{p} {rho:g}" for p, rho in found["remaining_rho"].items())
    console.print(Text(f"  rho left: {left}"))
    for sentence in found["learns"].values():
        console.print(Text(f"  {sentence}"))
    for warning in found["warnings"]:
        console.print(Text(f"  note: {warning}"))
    for refusal in found["refusals"]:
        console.print(
            Text(f"  {refusal['party']} would refuse: {refusal['cause']} ({refusal['code']})")
        )
    if not found["refusals"]:
        console.print(Text("  nobody would refuse"))
