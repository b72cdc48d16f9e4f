"""Results without axes as plain lists: what the report and the terminal show.

What: pure layout of what was released; nothing is computed that is not in the result.
Who runs it: `assent.report`, `assent.show`.  Learns: nothing new.
Section: contracts.md, result.json.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.report_tables import WITHHELD, number
from assent.segment_cards import cards


@dataclass(frozen=True)
class Listing:
    """A table without axes.  numeric: per column, whether it holds numbers."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]


def listings(result: Mapping[str, Any]) -> tuple[Listing, ...]:
    """Of a released job whose result has no axes: sums, segments, lookalike; none for others."""
    if result.get("status") != "released":
        return ()
    if "lookalike" in result:
        return tuple(lookalike_listings(result))
    crossed = "match" in result and "centres" not in result
    return () if crossed else tuple(_listings(result))


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


def lookalike_listings(result: Mapping[str, Any]) -> Iterator[Listing]:
    """What was asked and, as far as this party has them, curve and model."""
    asked = result["lookalike"]
    facts = [
        {"what": "seeds", "value": asked["seed_flag"]},
        {"what": "features", "value": ", ".join(asked["features"])},
        {"what": "scores", "value": asked["scores"]},
    ]
    if "curve" in result:
        reason = result["curve_withheld"]
        shown = WITHHELD.get(reason, reason) if reason else number(round(result["auc"], 3))
        facts.append({"what": "AUC, seeds against everybody", "value": shown})
    if model := result.get("model"):
        facts += [
            {"what": "seeds among these people", "value": number(model["seeds"])},
            {"what": "people scored", "value": number(model["people"])},
            {
                "what": "AUC that the model expects",
                "value": number(round(model["expected_auc"], 3)),
            },
        ]
    yield listing("Lookalike", facts)
    if curve := result.get("curve"):
        yield listing("Reach and lift", [_point(point) for point in curve])
    if model:
        weights = [{"feature": k, "weight": w} for k, w in model["weights"].items()]
        yield listing("Weights, per standard deviation", weights)
        expected = [_point(point) for point in model["expected_curve"]]
        yield listing("Reach and lift that the model expects", expected)


def _point(point: Mapping[str, float]) -> dict[str, Any]:
    return {
        "best-scored": f"{100 * point['reach']:.0f} %",
        "seeds among them": number(round(point["seeds"])),
        "of all seeds": f"{100 * point['share']:.1f} %",
        "lift": round(point["lift"], 2),
    }


def _parameters(parameters: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    for model, found in parameters.items():
        for name, error in found["standard_errors"].items():
            line = {"model": model, "parameter": name, "value": found[name],
                    "standard error": error}  # fmt: skip
            noise = found.get("noise_errors")
            yield line | ({"error of the noise": noise[name]} if noise else {})


def _clusters(
    result: Mapping[str, Any], centres: Sequence[Sequence[float] | None]
) -> Iterator[dict[str, Any]]:
    for card, centre in zip(cards(result), centres, strict=True):
        of_centre = centre if centre is not None else [None] * len(result["features"])
        features = dict(zip(result["features"], of_centre, strict=True))
        yield {"cluster": card.number, "people": card.people, "name": card.english,
               "名称": card.chinese, **features, "withheld": card.withheld}  # fmt: skip


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
