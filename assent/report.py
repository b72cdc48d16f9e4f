"""The report: one HTML file that shows results to people, on a screen and on paper.

What: turns result.json objects into a page with heat maps, cards, a curve and words, in Chinese
and in English; a switch on the page goes from one to the other.
Who runs it: `assent sandbox run --html`, `assent job … --html`, `assent report`, the demo.
Learns: nothing new; it shows what the results already hold.
Section: contracts.md, result.json; docs/DISCLOSURE.md for the table of who learns what.

The file needs no network and no script: the switch is two radio buttons and a rule of the
stylesheet, and without styles both languages stand below each other.  Two files with a link
between them were rejected: who is sent one of them could not change the language.
Its content security policy allows the one stylesheet that it carries, by hash, and nothing
else; so there are no style attributes, and colours are classes.  Labels come from other people's
tables: Jinja2 escapes all of them.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib import resources
from pathlib import Path
from typing import Any

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup

from assent import words
from assent.reader import Reader, number, percent, size
from assent.report_curve import curves
from assent.report_lists import listings, segment_name
from assent.report_tables import (
    attributes_of,
    flow_table,
    legend,
    standing_out,
    tables,
    withheld_counts,
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
_DRAWN = frozenset({"rfm"})  # lists that are bars here

Texts = str | Mapping[str, str]  # one for both languages, or one for each


@dataclass(frozen=True)
class Bar:
    """A bar: of the consent funnel, or of people by segment.  width: permille of the longest."""

    label: str
    count: str
    share: str
    width: int
    kind: str


def write_report(
    results: Sequence[Mapping[str, Any]],
    path: Path | str,
    *,
    title: Texts,
    extra: Mapping[str, Mapping[str, str]] | None = None,
    language: str = words.DEFAULT,
    at: datetime | None = None,
) -> None:
    """Writes the page for `results` (objects of result.json) to `path`; see `render`.

    Raises OSError when the file cannot be written.
    """
    target = Path(path)
    partial = target.with_name(target.name + ".part")
    page = render(results, title=title, extra=extra, language=language, at=at)
    partial.write_text(page, encoding="utf-8")
    partial.replace(target)


def render(
    results: Sequence[Mapping[str, Any]],
    *,
    title: Texts,
    extra: Mapping[str, Mapping[str, str]] | None = None,
    language: str = words.DEFAULT,
    at: datetime | None = None,
) -> str:
    """The page as text.

    title: the heading.  extra: language → label → text, shown as "About this run".
    language: the one that the page opens in.  at: when it is written, with an offset.
    """
    style = _source("report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode("ascii")
    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FunctionLoader(_source),
    )
    environment.filters |= {"number": number, "size": size, "percent": percent}
    order = sorted(words.LANGUAGES, key=lambda each: each != language)
    return environment.get_template("report.html").render(
        languages=[(each, words.TAGS[each], words.LANGUAGES[each]) for each in order],
        pages=[_page(each, results, title, extra or {}, at) for each in order],
        style=Markup(style),  # noqa: S704  ours, from the package; its hash is in the policy
        style_hash=digest,
    )


def _source(name: str) -> str:
    return resources.files("assent").joinpath(name).read_text(encoding="utf-8")


def _page(
    language: str,
    results: Sequence[Mapping[str, Any]],
    title: Texts,
    extra: Mapping[str, Mapping[str, str]],
    at: datetime | None,
) -> dict[str, Any]:
    """Everything that the template says in one language."""
    reader = Reader(language)
    return {
        "language": language,
        "tag": words.TAGS[language],
        "say": reader.say,
        "marked": lambda key, **named: words.say_marked(language, key, **named),
        "title": title if isinstance(title, str) else title[language],
        "written": reader.day(at) if at is not None else "",
        "jobs": _jobs(results, language),
        "legend": list(legend(reader)),
        "extra": dict(extra.get(language, {})),
    }


# -- one job -----------------------------------------------------------------------------


def _jobs(results: Sequence[Mapping[str, Any]], language: str) -> list[dict[str, Any]]:
    """Every job; a table that an earlier job showed already becomes a pointer to it."""
    jobs = [_job(index, result, language) for index, result in enumerate(results, start=1)]
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


def _job(index: int, result: Mapping[str, Any], language: str) -> dict[str, Any]:
    reader = Reader(language, result.get("titles") or {})
    requester = str(result.get("requester", ""))
    providers = [str(name) for name in result.get("with", ())]
    privacy = _PRIVACY | (result.get("privacy") or {})
    match = _MATCH | (result.get("match") or {})
    cells = result.get("cells") or []
    released = result.get("status") == "released"
    lists = listings(result, reader)
    crossed = cells if released and not lists else []
    return {
        "reader": reader,
        "anchor": f"{language}-job-{index}",
        "name": str(result.get("job", f"job {index}")),
        "status": _status(result),
        "subject": _subject(result, reader) if released else "",
        "requester": requester,
        "providers": providers,
        "error": _error(result, language),
        "overlap": result.get("overlap") if released else None,
        "overlap_margin": _margin(privacy, "overlap"),
        "tables": tables(crossed, requester, reader),
        "lists": [part for part in lists if part.kind not in _DRAWN],
        "bars": _bars(result, reader) if released else [],
        "flow": flow_table(result.get("flow") or [], reader) if released else None,
        "cards": cards(result),
        "curves": curves(result, reader),
        "own_tags": bool(result.get("segment_tags")),
        "count_margin": _margin(privacy, "count"),
        "withheld": withheld_counts(cells) if released else {},
        "cells": len(cells),
        "standing_out": standing_out(crossed, requester, reader=reader),
        "funnels": [
            (party, funnel(counts, reader))
            for party, counts in (result.get("consent") or {}).items()
        ],
        "match": match,
        "privacy": privacy,
        "warnings": _warnings(privacy["warnings"], language),
        "sigmas": _sigmas(privacy["sigmas"], reader),
        "cost": _COST | (result.get("cost") or {}),
        "audit": {k: v for k, v in (result.get("audit") or {}).items() if v is not None},
        "learns": _learns(requester, providers, result, language) if released else (),
    }


def _subject(result: Mapping[str, Any], reader: Reader) -> str:
    """What the job was about, in words: its name is for scripts."""
    if "lookalike" in result:
        return reader.say(
            "subject_lookalike", seeds=reader.attribute(result["lookalike"]["seed_flag"])
        )
    if "centres" in result:
        return reader.say(
            "subject_segments", features=reader.listed(reader.attributes(result["features"]))
        )
    if "segments" in result:
        return reader.say("rfm")
    if "parameters" in result:
        return reader.say("subject_ltv")
    if names := attributes_of((result.get("cells") or [{}])[0]):
        return " × ".join(reader.attributes(names))
    return reader.say("subject_overlap")


def _status(result: Mapping[str, Any]) -> str:
    status = str(result.get("status", "failed"))
    return status if status in ("released", "refused") else "failed"


def _error(result: Mapping[str, Any], language: str) -> dict[str, Any] | None:
    """said: the error in the reader's language, where its own words are in another one."""
    if not result.get("error"):
        return None
    found: dict[str, Any] = _ERROR | result["error"]
    return found | {"said": words.error(language, found["code"])}


def _warnings(texts: Sequence[str], language: str) -> list[tuple[str, str]]:
    """(text, language tag), the tag where it is not the page's own."""
    said = [(text, words.warning(language, text)) for text in texts]
    return [(known, "") if known else (text, "en") for text, known in said]


def _sigmas(sigmas: Mapping[str, float], reader: Reader) -> list[str]:
    """Standard deviations, the equal ones together."""
    outputs: dict[str, dict[str, None]] = {}
    for output, sigma in sigmas.items():
        if sigma:
            outputs.setdefault(number(sigma), {})[reader.output(output)] = None
    return [
        reader.say("sigma_of", sigma=sigma, outputs=reader.listed(named))
        for sigma, named in outputs.items()
    ]


def _learns(
    requester: str, providers: Sequence[str], result: Mapping[str, Any], language: str
) -> tuple[Disclosure, ...]:
    match = result.get("match") or {}
    privacy = result.get("privacy") or {}
    noise = privacy.get("noise") not in ("off", None, False)
    mode = str(match.get("mode", "keyed"))
    members = match.get("reveal") == "members"
    if "match" not in result:  # a job over secure sums: nobody is matched
        return who_learns_of_sum(requester, providers, noise=noise, language=language)
    if "lookalike" in result:
        (provider,) = providers
        return who_learns_of_lookalike(
            requester, provider, mode=mode, noise=noise, curve="curve" in result, language=language
        )
    if "centres" in result and members:
        return who_learns_of_exact(requester, providers, mode=mode, language=language)
    if "centres" in result:
        return who_learns_of_grid(requester, providers, mode=mode, noise=noise, language=language)
    return who_learns(
        requester, providers, mode=mode, members=members, noise=noise, language=language
    )


def _margin(privacy: Mapping[str, Any], output: str) -> str:
    """Half the width of the interval that holds 19 of 20 noisy values; '' without noise."""
    sigma = (privacy.get("sigmas") or {}).get(output) or 0
    return number(round(_WITHIN_95 * sigma)) if sigma else ""


# -- bars ----------------------------------------------------------------------------------


def funnel(counts: Mapping[str, Any], reader: Reader) -> tuple[Bar, ...]:
    """Rows, those who may take part, and those left out by reason."""
    rows = int(counts.get("rows", 0))
    excluded: Mapping[str, int] = counts.get("excluded") or {}
    bars = [
        (reader.say("funnel_rows"), rows, "rows"),
        (reader.say("funnel_eligible"), counts.get("eligible"), "yes"),
        *(
            (reader.excluded(reason), excluded[reason], "no")
            for reason in sorted(excluded, key=lambda name: -excluded[name])
        ),
    ]
    return tuple(
        Bar(
            label,
            number(count),
            f"{count / rows:.1%}" if rows and count is not None else "",
            round(1000 * (count or 0) / rows) if rows else 0,
            kind,
        )
        for label, count, kind in bars
    )


def _bars(result: Mapping[str, Any], reader: Reader) -> list[tuple[str, tuple[Bar, ...]]]:
    """People by stage or by RFM segment, drawn: (title, bars)."""
    if stages := [line for line in result.get("stages") or () if line["cells"]]:
        counted = [
            reader.say("counted_of", count=line["released"], all=line["cells"]) for line in stages
        ]
        names = [reader.word(line["stage"]) for line in stages]
        return [(reader.say("stages"), _people(names, stages, counted, reader))]
    if segments := result.get("segments"):
        counts = [line["count"] for line in segments]
        whole = 0 if None in counts else sum(counts)  # a share of an unknown whole says nothing
        shares = [percent(count / whole) if whole else "" for count in counts]
        names = [segment_name(line, reader) for line in segments]
        return [(reader.say("rfm"), _people(names, segments, shares, reader))]
    return []


def _people(
    names: Sequence[str],
    lines: Sequence[Mapping[str, Any]],
    shares: Sequence[str],
    reader: Reader,
) -> tuple[Bar, ...]:
    counts = [line["count"] for line in lines]
    longest = max((count for count in counts if count), default=1)
    return tuple(
        Bar(
            name,
            reader.say("withheld") if count is None else number(count),
            share,
            max(0, round(1000 * (count or 0) / longest)),
            "yes",
        )
        for name, count, share in zip(names, counts, shares, strict=True)
    )
