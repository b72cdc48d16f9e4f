"""Cards of the segments that a k-means found: size, what stands out, a name to begin with.

What: pure layout of a released result; a name says which features of the centre lie furthest
from those of everybody, and a person may well find a better one.
Who runs it: `assent.report`, `assent.show`.  Learns: nothing new.
Section: contracts.md, result.json (centres, sizes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

LEAST = 0.5  # deviations from the mean of all from which a feature is worth a word
IN_NAME = 2  # features that a name holds, more where two segments would have one name
ON_CARD = 4


@dataclass(frozen=True)
class Feature:
    """One feature of a centre.  apart: deviations above (or under) the mean of all."""

    name: str
    value: float
    apart: float

    @property
    def against_all(self) -> str:
        return f"{abs(self.apart):.1f} deviations {'above' if self.apart > 0 else 'under'} all"


@dataclass(frozen=True)
class OwnTag:
    """A tag that stands out among one company's own people of a segment, known to it alone."""

    name: str
    value: str
    tgi: float


@dataclass(frozen=True)
class Card:
    """number: the label of the segment's people.  people: None where withheld.

    tags: of the companies whose own part of the result this is.
    """

    number: int
    people: int | None
    withheld: str | None
    english: str
    chinese: str
    features: tuple[Feature, ...]
    tags: tuple[OwnTag, ...] = ()


def cards(result: Mapping[str, Any]) -> tuple[Card, ...]:
    """One for each segment of a released k-means; none for other results."""
    centres = result.get("centres")
    if not centres or result.get("status") != "released":
        return ()
    apart = _apart(result, centres)
    names = short_names(result["features"])
    orders = [_by_distance(line) for line in apart]
    found = []
    for number, (centre, order) in enumerate(zip(centres, orders, strict=True)):
        worth = [j for j in order if abs(apart[number][j]) >= LEAST]
        said = _enough(number, orders, apart)
        english, chinese = _name([(names[j], apart[number][j]) for j in said], centre is not None)
        features = tuple(Feature(names[j], centre[j], apart[number][j]) for j in worth[:ON_CARD])
        size, withheld = result["sizes"][number], result["sizes_withheld"][number]
        tags = tuple(_own_tags(result, number))
        found.append(Card(number, size, withheld, english, chinese, features, tags))
    return _told_apart(found)


def _own_tags(result: Mapping[str, Any], segment: int) -> Iterator[OwnTag]:
    for party, segments in sorted((result.get("segment_tags") or {}).items()):
        for tag in segments[segment] if segment < len(segments) else ():
            yield OwnTag(f"{party}/{tag['attribute']}", tag["value"], tag["tgi"])


def short_names(features: Sequence[str]) -> list[str]:
    """Without the party, where that leaves no two alike."""
    short = [feature.split("/")[-1] for feature in features]
    return [
        (name if short.count(name) == 1 else feature).replace("_", " ")
        for name, feature in zip(short, features, strict=True)
    ]


def _apart(
    result: Mapping[str, Any], centres: Sequence[Sequence[float] | None]
) -> list[list[float]]:
    """Per segment and feature, how many deviations its centre is from the mean of all.

    The deviation of people where the result has it, else that of the centres; a segment
    without a size counts for the mean as the smallest of those that have one.
    """
    sizes = [size for size in result["sizes"] if size]
    least = min(sizes, default=1)
    known = [
        (centre, size or least)
        for centre, size in zip(centres, result["sizes"], strict=True)
        if centre is not None
    ]
    people = sum(size for _, size in known)
    wide = range(len(result["features"]))
    means = [sum(size * centre[j] for centre, size in known) / (people or 1) for j in wide]
    deviations = result.get("deviations") or [
        (sum(size * (centre[j] - means[j]) ** 2 for centre, size in known) / (people or 1)) ** 0.5
        for j in wide
    ]
    return [
        [
            (centre[j] - means[j]) / deviations[j] if centre is not None and deviations[j] else 0.0
            for j in wide
        ]
        for centre in centres
    ]


def _by_distance(apart: Sequence[float]) -> list[int]:
    # Equal distances keep the order of the features, whatever the rounding.
    return sorted(range(len(apart)), key=lambda j: -round(abs(apart[j]), 9))


def _enough(
    number: int, orders: Sequence[Sequence[int]], apart: Sequence[Sequence[float]]
) -> list[int]:
    """The features of a name: as few as tell it from every other segment's."""

    def words(segment: int, count: int) -> list[tuple[int, bool]]:
        return [
            (j, apart[segment][j] > 0)
            for j in orders[segment][:count]
            if abs(apart[segment][j]) >= LEAST
        ]

    count = IN_NAME
    others = [segment for segment in range(len(orders)) if segment != number]
    while count < ON_CARD and any(words(o, count) == words(number, count) for o in others):
        count += 1
    return [j for j, _ in words(number, count)]


def _name(features: Sequence[tuple[str, float]], known: bool) -> tuple[str, str]:
    if not known:
        return "too small to describe", "人数过少"
    if not features:
        return "near the average", "接近平均"
    english = ", ".join(f"{'high' if apart > 0 else 'low'} {name}" for name, apart in features)
    chinese = "、".join(f"{name}{'高' if apart > 0 else '低'}" for name, apart in features)
    return english, chinese


def _told_apart(found: Sequence[Card]) -> tuple[Card, ...]:
    """Names that are still alike get the number of their segment."""
    names = [card.english for card in found]
    return tuple(
        replace(
            card,
            english=f"{card.english} ({card.number})",
            chinese=f"{card.chinese}（{card.number}）",
        )
        if names.count(card.english) > 1
        else card
        for card in found
    )
