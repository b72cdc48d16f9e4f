"""Results of jobs over secure sums as plain lists: what the report and the terminal show.

What: pure layout of what was released; nothing is computed that is not in the result.
Who runs it: `assent.report`, `assent.show`.  Learns: nothing new.
Section: contracts.md, result.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.report_tables import WITHHELD, number


@dataclass(frozen=True)
class Listing:
    """A table without axes.  numeric: per column, whether it holds numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]


def listings(result: Mapping[str, Any]) -> tuple[Listing, ...]:
    """Of a released job that matches nobody; none for others, whose cells have axes."""
    if "match" in result or result.get("status") != "released":
        return ()
    return tuple(_listings(result))


def _listings(result: Mapping[str, Any]) -> Iterator[Listing]:
    if cells := result.get("cells"):
        yield listing("People", cells)
    if segments := result.get("segments"):
        yield listing("Segments", segments)
    if parameters := result.get("parameters"):
        yield listing("Parameters", list(_parameters(parameters)))
    if centres := result.get("centres"):
        yield listing("Clusters", list(_clusters(result, centres)))
    if by_k := result.get("by_k"):
        yield listing("Inertia by number of clusters", by_k)
    if edges := result.get("edges"):
        yield listing("Edges of the scores", list(_edges(edges)))


def derived(result: Mapping[str, Any]) -> tuple[Listing, ...]:
    """What a cross-tab's `then` made of the released cells."""
    if not (found := result.get("stages")):
        return ()
    lines = [
        {"stage": line["stage"], "people": line["count"],
         "cells counted": f"{line['released']} of {line['cells']}"}
        for line in found if line["cells"]
    ]  # fmt: skip
    return (listing("People by their highest stage at any company", lines),)


def _parameters(parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for model, found in parameters.items():
        for name, error in found["standard_errors"].items():
            line = {"model": model, "parameter": name, "value": found[name],
                    "standard error": error}  # fmt: skip
            noise = found.get("noise_errors")
            yield line | ({"error of the noise": noise[name]} if noise else {})


def _clusters(
    result: Mapping[str, Any], centres: Sequence[Sequence[float]]
) -> Iterator[dict[str, Any]]:
    sizes = zip(centres, result["sizes"], result["sizes_withheld"], strict=True)
    for number_, (centre, size, withheld) in enumerate(sizes):
        features = dict(zip(result["features"], centre, strict=True))
        yield {"cluster": number_, "people": size, **features, "withheld": withheld}


def _edges(edges: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for measure, found in edges.items():
        if isinstance(found, Mapping):
            scores = {f"{n} from": edge for n, edge in enumerate(found["quintiles"], start=2)}
            yield {"measure": measure, **scores, "median": found["median"]}


def listing(title: str, lines: Sequence[Mapping[str, Any]]) -> Listing:
    """One line per mapping; `withheld` last and in words, and only if something is."""
    keys = [key for key in lines[0] if not key.startswith("withheld")]
    withheld = any(line.get("withheld") for line in lines)
    rows = [
        (
            *(_text(line[key]) for key in keys),
            *([WITHHELD.get(line["withheld"] or "", "")] if withheld else []),
        )
        for line in lines
    ]
    numeric = [_is_number([line[key] for line in lines]) for key in keys]
    header = (*keys, *(["withheld"] if withheld else []))
    return Listing(title, header, tuple(rows), (*numeric, *([False] if withheld else [])))


def _is_number(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return all(isinstance(v, int | float) and not isinstance(v, bool) for v in known)


def _text(value: Any) -> str:
    if value is None:
        return "·"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        return f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.1f}"
    return str(value)
