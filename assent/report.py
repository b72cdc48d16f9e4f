"""The report: one HTML file that shows results to people, on a screen and on paper.

What: turns result.json objects into a page with a heat map, tables and words.
Who runs it: `assent sandbox run --html` and the demo; later the requester's console.
Learns: nothing new; it shows what the results already hold.
Section: contracts.md, result.json; docs/DISCLOSURE.md for the table of who learns what.

The file needs no network and no script.  Its content security policy allows the one
stylesheet that it carries, by hash, and nothing else; so there are no style attributes, and
colours are classes.  Labels come from other people's tables: Jinja2 escapes all of them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from assent.report_lists import derived, listings
from assent.report_tables import (
    WITHHELD,
    flow_table,
    number,
    size,
    standing_out,
    tables,
    withheld_counts,
    words,
)
from assent.segment_cards import cards
from assent.who_learns import (
    Disclosure,
    who_learns,
    who_learns_of_exact,
    who_learns_of_grid,
    who_learns_of_sum,
)
from assent.who_learns_lookalike import who_learns_of_lookalike

# 95 % of a Gaussian lies within this many standard deviations.
_WITHIN_95 = 1.96

# What a result may leave out; the template names nothing that is not here.
_PRIVACY: dict[str, Any] = {
    "noise": None,
    "rho": None,
    "epsilon": None,
    "sigmas": {},
    "min_cohort": None,
    "remaining_rho": {},
    "attempts": None,
    "warnings": [],
}
_MATCH: dict[str, Any] = {"on": [], "mode": "", "ambiguous": {}, "unparsable": {}}
_COST: dict[str, Any] = {"seconds": None, "bytes": {}, "ciphertexts": None}
_ERROR: dict[str, Any] = {
    "code": "",
    "party": "",
    "stage": "",
    "cause": "",
    "next_step": "",
    "retryable": False,
}

EXCLUSIONS = {
    "no_record": "no consent on record",
    "refused": "refused",
    "withdrawn": "withdrawn",
    "revoked": "ended by the company",
    "objected": "objected",
    "restricted": "in dispute",
    "invalidated": "found invalid",
    "expired": "expired",
    "notice_outdated": "given under an older notice",
    "requested": "not answered yet",
    "deferred": "answer put off",
    "unknown": "not known",
}


@dataclass(frozen=True)
class Bar:
    """A bar of the consent funnel; width and offset in permille of the longest."""

    label: str
    count: int | None
    share: str
    width: int
    kind: str


def write_report(
    results: Sequence[Mapping[str, Any]],
    path: Path | str,
    *,
    title: str,
    extra: Mapping[str, str] | None = None,
) -> None:
    """Writes the page for `results` (objects of result.json) to `path`.

    title: the page's heading.  extra: label → text, shown as "About this run".
    Raises OSError when the file cannot be written.
    """
    target = Path(path)
    partial = target.with_name(target.name + ".part")
    partial.write_text(render(results, title=title, extra=extra), encoding="utf-8")
    partial.replace(target)


def render(
    results: Sequence[Mapping[str, Any]],
    *,
    title: str,
    extra: Mapping[str, str] | None = None,
) -> str:
    """The page as text."""
    package = resources.files("assent")
    style = package.joinpath("report.css").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"number": number, "size": size, "words": words}
    template = environment.from_string(package.joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(
        title=title,
        style=Markup(style),  # noqa: S704  ours, from the package; its hash is in the policy
        style_hash=digest,
        jobs=_jobs(results),
        extra=dict(extra or {}),
    )


# -- one job -----------------------------------------------------------------------------


def _jobs(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Every job; a table that an earlier job showed already becomes a pointer to it."""
    jobs = [_job(index, result) for index, result in enumerate(results, start=1)]
    for shared in ("learns", "funnels"):
        first: dict[str, str] = {}
        for job in jobs:
            job[f"{shared}_at"] = None
            if not job[shared]:
                continue
            same = first.setdefault(repr(job[shared]), job["anchor"])
            if same != job["anchor"]:
                job[f"{shared}_at"] = same
    return jobs


def _job(index: int, result: Mapping[str, Any]) -> dict[str, Any]:
    requester = str(result.get("requester", ""))
    providers = [str(name) for name in result.get("with", ())]
    privacy = _PRIVACY | (result.get("privacy") or {})
    match = _MATCH | (result.get("match") or {})
    cells = result.get("cells") or []
    released = result.get("status") == "released"
    lists = listings(result)
    crossed = cells if released and not lists else []
    return {
        "anchor": f"job-{index}",
        "name": str(result.get("job", f"job {index}")),
        "status": str(result.get("status", "failed")),
        "requester": requester,
        "providers": providers,
        "error": _ERROR | result["error"] if result.get("error") else None,
        "overlap": result.get("overlap") if released else None,
        "overlap_margin": _margin(privacy, "overlap"),
        "tables": tables(crossed, requester),
        "lists": lists or (derived(result) if released else ()),
        "flow": flow_table(result.get("flow") or []) if released else None,
        "cards": cards(result),
        "own_tags": bool(result.get("segment_tags")),
        "count_margin": _margin(privacy, "count"),
        "withheld": withheld_counts(cells) if released else {},
        "cells": len(cells),
        "standing_out": standing_out(crossed, requester),
        "funnels": [
            (party, funnel(counts), result.get("overlap") if released else None)
            for party, counts in (result.get("consent") or {}).items()
        ],
        "match": match,
        "privacy": privacy,
        "cost": _COST | (result.get("cost") or {}),
        "audit": {k: v for k, v in (result.get("audit") or {}).items() if v is not None},
        "learns": _learns(requester, providers, result) if released else (),
        "withheld_words": WITHHELD,
    }


def _learns(
    requester: str, providers: Sequence[str], result: Mapping[str, Any]
) -> tuple[Disclosure, ...]:
    match = result.get("match") or {}
    privacy = result.get("privacy") or {}
    noise = privacy.get("noise") not in ("off", None, False)
    if "match" not in result:  # a job over secure sums: nobody is matched
        return who_learns_of_sum(requester, providers, noise=noise)
    if "lookalike" in result:
        return who_learns_of_lookalike(
            requester,
            ", ".join(providers),
            mode=str(match.get("mode", "keyed")),
            noise=noise,
            curve="curve" in result,
        )
    if "centres" in result and match.get("reveal") == "members":
        return who_learns_of_exact(requester, providers, mode=str(match.get("mode", "keyed")))
    if "centres" in result:
        mode = str(match.get("mode", "keyed"))
        return who_learns_of_grid(requester, providers, mode=mode, noise=noise)
    return who_learns(
        requester,
        providers,
        mode=str(match.get("mode", "keyed")),
        members=match.get("reveal") == "members",
        noise=noise,
    )


def _margin(privacy: Mapping[str, Any], output: str) -> str:
    """Half the width of the interval that holds 19 of 20 noisy values; '' without noise."""
    sigma = (privacy.get("sigmas") or {}).get(output) or 0
    return number(round(_WITHIN_95 * sigma)) if sigma else ""


# -- the consent funnel ------------------------------------------------------------------


def funnel(counts: Mapping[str, Any]) -> tuple[Bar, ...]:
    """Rows, those who may take part, and those left out by reason."""
    rows = int(counts.get("rows", 0))
    bars = [("rows in the table", rows, "rows"), ("may take part", counts.get("eligible"), "yes")]
    excluded: Mapping[str, int] = counts.get("excluded") or {}
    for reason in sorted(excluded, key=lambda name: -excluded[name]):
        bars.append((EXCLUSIONS.get(reason, words(reason)), excluded[reason], "no"))
    return tuple(
        Bar(
            label,
            count,
            f"{count / rows:.1%}" if rows and count is not None else "",
            round(1000 * (count or 0) / rows) if rows else 0,
            kind,
        )
        for label, count, kind in bars
    )
