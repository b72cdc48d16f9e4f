"""Results without axes as plain lists: what the report and the terminal show.

What: pure layout of what was released; nothing is computed that is not in the result.
Who runs it: `assent.report`, `assent.show`.  Learns: nothing new.
Section: contracts.md, result.json.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from assent.reader import TERMINAL, Reader, number, percent
from assent.report_tables import attributes_of
from assent.segment_cards import cards
from assent.words import LANGUAGES, say

_WITHHELD = "withheld"  # the key of a line that says why it has no numbers
_SHOWN = re.compile(r"-?[\d,.]+%?")  # a number that is formatted already
_CENTRE = "centre:{}"  # the key of a feature, which may have the name of another column


@dataclass(frozen=True)
class Listing:
    """A table without axes.  numeric: per column, whether it holds numbers.

    kind: which list it is, for who draws it as something else.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numeric: tuple[bool, ...]
    kind: str = ""


def listings(result: Mapping[str, Any], reader: Reader = TERMINAL) -> tuple[Listing, ...]:
    """Of a released job whose result has no axes: sums, segments, lookalike; none for others."""
    if result.get("status") != "released":
        return ()
    if "lookalike" in result:
        return tuple(lookalike_listings(result, reader))
    crossed = "match" in result and "centres" not in result
    return () if crossed else tuple(_listings(result, reader))


def _listings(result: Mapping[str, Any], reader: Reader) -> Iterator[Listing]:
    say = reader.say
    if cells := result.get("cells"):
        lines = [_cell(cell, reader) for cell in cells]
        yield listing(say("people"), lines, reader, heads=_heads(cells[0], reader))
    if segments := result.get("segments"):
        lines = [_segment(line, reader) for line in segments]
        yield listing(say("rfm"), lines, reader, kind="rfm")
    if parameters := result.get("parameters"):
        yield listing(say("parameters"), list(_parameters(parameters, reader)), reader)
    if centres := result.get("centres"):
        names = result["features"]
        heads = dict(zip(map(_CENTRE.format, names), reader.attributes(names), strict=True))
        lines = list(_clusters(result, centres, reader))
        yield listing(say("clusters"), lines, reader, heads=heads)
    if by_k := result.get("by_k"):
        lines = [{say("k"): line["k"], say("inertia"): line["inertia"]} for line in by_k]
        yield listing(say("inertia_by_k"), lines, reader)
    if edges := result.get("edges"):
        yield listing(say("edges"), list(_edges(edges, reader)), reader)


def derived(result: Mapping[str, Any], reader: Reader = TERMINAL) -> tuple[Listing, ...]:
    """What a cross-tab's `then` made of the released cells."""
    if not (found := result.get("stages")):
        return ()
    say = reader.say
    lines = [
        {say("stage"): reader.word(line["stage"]), say("people"): line["count"],
         say("counted"): say("cells_of", count=line["released"], all=line["cells"])}
        for line in found if line["cells"]
    ]  # fmt: skip
    return (listing(say("stages"), lines, reader),) if lines else ()


def lookalike_listings(result: Mapping[str, Any], reader: Reader) -> Iterator[Listing]:
    """What was asked and, as far as this party has them, curve and model."""
    asked, say = result["lookalike"], reader.say
    file, _, party = asked["scores"].rpartition(" at ")
    facts: list[tuple[str, str]] = [
        ("seeds", reader.attribute(asked["seed_flag"])),
        ("features", reader.listed(reader.attribute(name) for name in asked["features"])),
        ("scores", say("scores_at", party=party, file=file)),
    ]
    if "curve" in result:
        reason = result["curve_withheld"]
        shown = reader.withheld(reason) if reason else number(round(result["auc"], 3))
        facts.append(("auc", shown))
    if model := result.get("model"):
        facts += [
            ("model_seeds", number(model["seeds"])),
            ("model_people", number(model["people"])),
            ("model_auc", number(round(model["expected_auc"], 3))),
        ]
    said = [{say("what"): say(key), say("value"): value} for key, value in facts]
    yield listing(say("lookalike"), said, reader)
    if curve := result.get("curve"):
        yield listing(say("curve"), [_point(p, reader) for p in curve], reader, kind="curve")
    if model:
        weights = [
            {say("feature"): _indicator(name, reader), say("weight"): weight}
            for name, weight in model["weights"].items()
        ]
        yield listing(say("weights"), weights, reader)
        expected = [_point(point, reader) for point in model["expected_curve"]]
        yield listing(say("curve_expected"), expected, reader, kind="expected_curve")


def _point(point: Mapping[str, float], reader: Reader) -> dict[str, Any]:
    say = reader.say
    return {
        say("curve_reach"): percent(point["reach"]),
        say("curve_seeds"): number(round(point["seeds"])),
        say("curve_share"): percent(point["share"]),
        say("curve_lift"): round(point["lift"], 2),
    }


def _indicator(name: str, reader: Reader) -> str:
    """'media/minutes', or 'media/interest=travel' of a label's value."""
    attribute, equals, value = name.partition("=")
    said = reader.attribute(attribute)
    if not equals:
        return said
    return reader.say("attribute_is", attribute=said, value=reader.value(attribute, value))


def _cell(cell: Mapping[str, Any], reader: Reader) -> dict[str, Any]:
    """A cell over different people, with its values as the reader calls them."""
    own = (_WITHHELD, "count", "sum:", "mean:")
    return {
        key: value if key.startswith(own) else reader.alone(key, value)
        for key, value in cell.items()
    }


def _heads(cell: Mapping[str, Any], reader: Reader) -> dict[str, str]:
    names = attributes_of(cell)
    measures = {key: reader.output(key) for key in cell if key.startswith(("sum:", "mean:"))}
    attributes = dict(zip(names, reader.attributes(names), strict=True))
    return {"count": reader.say("people"), **measures, **attributes}


def _segment(line: Mapping[str, Any], reader: Reader) -> dict[str, Any]:
    """A segment of RFM; in the terminal by the name that scripts know, and in Chinese."""
    said = {reader.say("rfm_segment"): segment_name(line, reader)}
    if reader.bilingual:
        said = {reader.say("rfm_segment"): line["segment"], say("zh", "name"): line["title"]}
    return said | {reader.say("people"): line["count"], _WITHHELD: line["withheld"]}


def segment_name(line: Mapping[str, Any], reader: Reader) -> str:
    """Of a segment of RFM, whose result has the Chinese name as its title."""
    if reader.language == "zh":
        return str(line["title"])
    return str(line["segment"]).replace("_", " ").capitalize()


def _parameters(parameters: Mapping[str, Any], reader: Reader) -> Iterator[dict[str, Any]]:
    say = reader.say
    for model, found in parameters.items():
        for name, error in found["standard_errors"].items():
            line = {
                say("model"): reader.known(f"model_{model}", model), say("parameter"): name,
                say("value"): found[name], say("standard_error"): error,
            }  # fmt: skip
            noise = found.get("noise_errors")
            yield line | ({say("noise_error"): noise[name]} if noise else {})


def _clusters(
    result: Mapping[str, Any], centres: Sequence[Sequence[float] | None], reader: Reader
) -> Iterator[dict[str, Any]]:
    languages = LANGUAGES if reader.bilingual else (reader.language,)
    features = [_CENTRE.format(name) for name in result["features"]]
    for card, centre in zip(cards(result), centres, strict=True):
        of_centre = centre if centre is not None else [None] * len(features)
        names = {say(language, "name"): card.names[language] for language in languages}
        yield {reader.say("cluster"): card.number, reader.say("people"): card.people, **names,
               **dict(zip(features, of_centre, strict=True)), _WITHHELD: card.withheld}  # fmt: skip


def _edges(edges: Mapping[str, Any], reader: Reader) -> Iterator[dict[str, Any]]:
    say = reader.say
    for role, found in edges.items():
        if isinstance(found, Mapping):
            ends = enumerate(found["quintiles"], start=2)
            scores = {say("score_from", score=score): edge for score, edge in ends}
            measure = reader.known(f"role_{role}", role)
            yield {say("measure"): measure, **scores, say("median"): found["median"]}


def listing(
    title: str,
    lines: Sequence[Mapping[str, Any]],
    reader: Reader,
    *,
    kind: str = "",
    heads: Mapping[str, str] | None = None,
) -> Listing:
    """One line per mapping; `withheld` last and in words, and only if something is.

    heads: of keys that are not their own heads.
    """
    keys = [key for key in lines[0] if not key.startswith(_WITHHELD)]
    withheld = any(line.get(_WITHHELD) for line in lines)
    rows = []
    for line in lines:
        reason = line.get(_WITHHELD)
        why = (reader.withheld(reason) if reason else "",) if withheld else ()
        rows.append((*(_text(line[key]) for key in keys), *why))
    numeric = [_is_number([line[key] for line in lines]) for key in keys]
    named = [(heads or {}).get(key, key) for key in keys]
    header = (*named, *([reader.say("withheld")] if withheld else []))
    columns = (*numeric, *([False] if withheld else []))
    return Listing(title, header, tuple(rows), columns, kind)


def _is_number(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return all(
        (isinstance(v, int | float) and not isinstance(v, bool)) or _SHOWN.fullmatch(str(v))
        for v in known
    )


def _text(value: Any) -> str:
    if value is None:
        return "·"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int):
        return number(value)
    if isinstance(value, float):
        if abs(value) >= 1000:
            return f"{value:,.1f}".removesuffix(".0")
        return f"{value:,.4g}"
    return str(value)
