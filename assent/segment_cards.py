"""Cards of the segments that a k-means found: size, what stands out, a name to begin with.

What: pure layout of a released result; a name says which features of the centre lie furthest
from those of everybody, and a person may well find a better one.  Names are made in every
language, of the titles that the result has in it.
Who runs it: `assent.report`, `assent.show`.  Learns: nothing new.
Section: contracts.md, result.json (centres, sizes).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from assent.reader import Reader
from assent.words import LANGUAGES

LEAST = 0.5  # deviations from the mean of all from which a feature is worth a word
IN_NAME = 2  # features that a name holds, more where two segments would have one name
ON_CARD = 4


@dataclass(frozen=True)
class Feature:
    """One feature of a centre.  apart: deviations above (or under) the mean of all."""

    name: str
    value: float
    apart: float

    def called(self, reader: Reader) -> str:
        return reader.attribute(self.name)

    def against_all(self, reader: Reader) -> str:
        key = "above" if self.apart > 0 else "under"
        return reader.say(key, deviations=f"{abs(self.apart):.1f}")


@dataclass(frozen=True)
class OwnTag:
    """A tag that stands out among one company's own people of a segment, known to it alone.

    value: "true" for a flag.
    """

    name: str
    value: str
    tgi: float

    def said(self, reader: Reader) -> str:
        yes = self.value == "true"
        return reader.say("yes") if yes else reader.value(self.name, self.value)


@dataclass(frozen=True)
class Card:
    """number: the label of the segment's people.  people: None where withheld.

    names: by language.  share: of the people of all segments, where no size is withheld.
    tags: of the companies whose own part of the result this is.
    """

    number: int
    people: int | None
    withheld: str | None
    share: float | None
    names: Mapping[str, str]
    features: tuple[Feature, ...]
    tags: tuple[OwnTag, ...] = ()


def cards(result: Mapping[str, Any]) -> tuple[Card, ...]:
    """One for each segment of a released k-means; none for other results."""
    centres = result.get("centres")
    if not centres or result.get("status") != "released":
        return ()
    apart = _apart(result, centres)
    features, sizes = result["features"], result["sizes"]
    orders = [_by_distance(line) for line in apart]
    readers = [Reader(language, result.get("titles") or {}) for language in LANGUAGES]
    whole = None if None in sizes else sum(sizes)
    found = []
    for number, (centre, order) in enumerate(zip(centres, orders, strict=True)):
        worth = [j for j in order if abs(apart[number][j]) >= LEAST]
        said = [(j, apart[number][j]) for j in _enough(number, orders, apart)]
        names = {r.language: _name(r, features, said, centre is not None) for r in readers}
        shown = tuple(Feature(features[j], centre[j], apart[number][j]) for j in worth[:ON_CARD])
        share = sizes[number] / whole if whole else None
        found.append(
            Card(
                number, sizes[number], result["sizes_withheld"][number], share, names, shown,
                tuple(_own_tags(result, number)),
            )
        )  # fmt: skip
    return _told_apart(found)


def _own_tags(result: Mapping[str, Any], segment: int) -> Iterator[OwnTag]:
    for party, segments in sorted((result.get("segment_tags") or {}).items()):
        for tag in segments[segment] if segment < len(segments) else ():
            yield OwnTag(f"{party}/{tag['attribute']}", tag["value"], tag["tgi"])


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


def _name(
    reader: Reader, features: Sequence[str], said: Sequence[tuple[int, float]], known: bool
) -> str:
    """said: the features of the name, and how far apart they are."""
    if not known:
        return reader.say("too_small")
    if not said:
        return reader.say("near_average")
    names = [_inside(reader, name) for name in reader.shortest(features)]
    return reader.say("name_between").join(
        reader.say("high" if apart > 0 else "low", name=names[j]) for j, apart in said
    )


def _inside(reader: Reader, name: str) -> str:
    """As it is written within a phrase: a title's capital goes, unless it is an abbreviation's."""
    name = name.replace("_", " ")
    capital = reader.language == "en" and name[:1].isupper() and not name[1:2].isupper()
    return name[:1].lower() + name[1:] if capital else name


def _told_apart(found: Sequence[Card]) -> tuple[Card, ...]:
    """Names that are still alike in a language get the number of their segment."""
    made = list(found)
    for language in LANGUAGES:
        reader = Reader(language)
        names = [card.names[language] for card in found]
        for at, (card, name) in enumerate(zip(made, names, strict=True)):
            if names.count(name) > 1:
                told = reader.say("numbered", name=name, number=card.number)
                made[at] = replace(card, names={**card.names, language: told})
    return tuple(made)
