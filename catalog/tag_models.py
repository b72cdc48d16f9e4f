"""Tags whose values a model fixes: lifecycle stages, membership tiers, RFM segments, snapshots.

Who runs it: `catalog.tag_file` and `catalog.tag_rules`.  Learns: nobody, anything.

`aipl:` is another spelling of ordered rules.  Of a model whose words are known, `values:` may be
left out, and the vocabulary has no `other`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import Any

from pydantic import Field

from catalog.lifecycle import AIPL, FIVE, NO_STAGE
from catalog.tag_numbers import number
from catalog.tag_terms import OF_TIER, Level, Span, Tiers
from catalog.tags import WORDS, Tag, TagValue, Title
from catalog.vocabulary import UNKNOWN
from catalog.yaml import Document, Strict, Text, Where, build, nearest
from protocol.rfm.segments import NAMES_8, NAMES_10

DOWNGRADES = ("one", "earned")
_SHORTEST = Span(1, "day")


# -- AIPL --------------------------------------------------------------------------------------


def spelled_out(document: Document) -> Document:
    """`document` with every tag's `aipl:` written as `values:`, the highest stage first."""
    value = document.value
    tags = value.get("tags") if isinstance(value, Mapping) else None
    if not isinstance(tags, Mapping):
        return document
    lines, made = dict(document.lines), dict(tags)
    for name, tag in tags.items():
        if isinstance(tag, Mapping) and "aipl" in tag:
            made[name] = _stages(tag, ("tags", name), document, lines)
    return replace(document, value={**value, "tags": made}, lines=lines)


def _stages(
    tag: Mapping[str, Any], at: Where, document: Document, lines: dict[Where, int]
) -> dict[str, Any]:
    rules, place = tag["aipl"], (*at, "aipl")
    words = [word for word, *_ in AIPL]
    if not isinstance(rules, Mapping) or not rules:
        raise document.error(place, "must be a block of stages", f"write {words[-1]}: {{…}}")
    for key in ("values", "measure", "bands", "map", "unknown"):
        if key in tag:
            raise document.error((*at, key), f"aipl and {key} exclude each other", "keep one")
    for word in rules:
        if word not in words:
            raise document.error(
                place, f'no stage "{word}"', nearest(str(word), words), at=(*place, word)
            )
    values: list[dict[str, Any]] = []
    for word, zh, en in AIPL:
        if word in rules:
            _moved(lines, (*place, word), (*at, "values", len(values), "when"))
            lines[(*at, "values", len(values))] = document.line((*place, word))
            values.append({"value": word, "title": {"zh": zh, "en": en}, "when": rules[word]})
    word, zh, en = NO_STAGE
    values.append({"value": word, "title": {"zh": zh, "en": en}, "otherwise": "yes"})
    return {key: item for key, item in tag.items() if key != "aipl"} | {"values": values}


def _moved(lines: dict[Where, int], old: Where, new: Where) -> None:
    """The lines below `old` hold for the same things below `new`."""
    for path, line in list(lines.items()):
        if path[: len(old)] == old:
            lines[(*new, *path[len(old) :])] = line


# -- tiers -------------------------------------------------------------------------------------


class _LevelFile(Strict):
    value: Text
    at: Any = None
    keep: Any = None
    grace: Text | None = None


class _TierFile(Strict):
    review: Text
    since: Text
    levels: tuple[Any, ...] = Field(min_length=2, max_length=20)
    downgrade: Text = "one"


def tiers_of(value: Mapping[str, Any], at: Where, document: Document) -> Tiers:
    """The rules of a membership beside `tier:`.  Raises BadInput with line, place and fix."""
    file = build(_TierFile, {k: value[k] for k in OF_TIER if k in value}, document, at)
    review = _span(file.review, (*at, "review"), document)
    if review.hours < _SHORTEST.hours:
        raise document.error((*at, "review"), "is under a day", "write 1 day or more")
    if file.downgrade not in DOWNGRADES:
        raise document.error(
            (*at, "downgrade"), f'no way down "{file.downgrade}"',
            nearest(file.downgrade, DOWNGRADES),
        )  # fmt: skip
    try:
        since = datetime.fromisoformat(file.since)
    except ValueError:
        since = None
    if since is None or since.tzinfo is not None:
        raise document.error(
            (*at, "since"), f'"{file.since}" is no moment', "write 2026-01-01 (the party's time)"
        )
    levels = tuple(
        _level(item, (*at, "levels", i), document, lowest=i == 0)
        for i, item in enumerate(file.levels)
    )
    _check_levels(levels, (*at, "levels"), document)
    return Tiers(review, since.isoformat(), levels, file.downgrade)


def _level(item: Any, at: Where, document: Document, *, lowest: bool) -> Level:
    file = build(_LevelFile, item, document, at)
    if lowest:
        if file.at is not None or file.keep is not None or file.grace is not None:
            raise document.error(
                at, "everybody has the lowest level", "delete at, keep and grace here"
            )
        return Level(file.value)
    if file.at is None:
        raise document.error(at, f'nothing says who reaches "{file.value}"', "add at: NUMBER")
    reach = number(file.at, (*at, "at"), document)
    keep = reach if file.keep is None else number(file.keep, (*at, "keep"), document)
    if not 0 < keep <= reach:
        raise document.error(
            (*at, "keep"), "is not above 0 and at most at", "lower it, or delete it for the same"
        )
    grace = None if file.grace is None else _span(file.grace, (*at, "grace"), document)
    return Level(file.value, reach, keep, grace)


def _check_levels(levels: tuple[Level, ...], at: Where, document: Document) -> None:
    names = [level.value for level in levels]
    for i, (below, above) in enumerate(pairwise(levels), start=1):
        if above.value in names[:i]:
            raise document.error((*at, i), f'the value "{above.value}" is here twice', "rename one")
        for key in ("at", "keep"):
            low, high = getattr(below, key) or Decimal(0), getattr(above, key)
            if low >= high:
                raise document.error(
                    (*at, i), f"{key} of {above.value} is not above that of {below.value}",
                    "write the lowest level first",
                )  # fmt: skip


def _span(text: str, at: Where, document: Document) -> Span:
    found = Span.parse(text)
    if found is None:
        raise document.error(at, f'"{text}" is no length of time', "write 30 days")
    return found


# -- words that are known ----------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """values: every word that a measure can give.  always: each person has one of them.

    unknown: the word for people without.
    """

    values: tuple[TagValue, ...]
    always: bool = False
    unknown: str | None = None


def known_words(measure: Any, tag_of: Callable[[str], Tag | None]) -> Known | None:
    """Of a measure as it is written; None where its words are not known or it is wrong.

    tag_of: a tag by name, as far as it is known.
    """
    if not isinstance(measure, Mapping):
        return None
    if "lifecycle" in measure:
        return Known(_titled(FIVE))
    if "tier" in measure:
        levels = measure.get("levels")
        named = [item for item in levels if isinstance(item, Mapping)] if isinstance(
            levels, list | tuple
        ) else []  # fmt: skip
        return Known(tuple(TagValue(str(i["value"])) for i in named if "value" in i), always=True)
    if measure.get("model") == "rfm":
        names = {"segment_8": NAMES_8, "segment_5x5": NAMES_10}.get(
            str(measure.get("column") or "segment_8"), ()
        )
        english = [(word, zh, word.replace("_", " ").capitalize()) for word, zh in names]
        return Known(_titled(tuple(english))) if english else None
    source = tag_of(str(measure["tag"])) if "tag" in measure else None
    return None if source is None or not source.values else _of_tag(source)


def filled(
    drafts: Mapping[str, Tag],
    measures: Mapping[str, Any],
    now: Callable[[Mapping[str, Tag], str], Tag | None],
) -> dict[str, Tag]:
    """Drafts with the values of models whose words are known; a snapshot has its tag's values.

    measures: by tag, as written.  now: the tag that stands for a name among others.
    """
    found = dict(drafts)
    for _ in drafts:  # a snapshot of a snapshot takes one more turn
        before = dict(found)
        for name, tag in drafts.items():
            if tag.form == WORDS and tag.mapping is None:
                known = known_words(measures[name], partial(now, before))
                found[name] = tag if known is None else _with_known(tag, known)
        if found == before:
            break
    return found


def _titled(words: tuple[tuple[str, str, str], ...]) -> tuple[TagValue, ...]:
    return tuple(TagValue(word, Title(zh, en)) for word, zh, en in words)


def _of_tag(source: Tag) -> Known:
    nothing = source.unknown or UNKNOWN
    titles = {value.value: value.title for value in source.values}
    words = [word for word in source.vocabulary if word != nothing]
    always = nothing not in source.vocabulary
    return Known(tuple(TagValue(w, titles.get(w)) for w in words), always, source.unknown)


def _with_known(tag: Tag, found: Known) -> Tag:
    """`tag` with the values that it left out, and what its vocabulary need not have."""
    values = tag.values or found.values
    named = {value.value for value in values}
    closed = all(value.value in named for value in found.values)
    return replace(
        tag, values=values, closed=closed, always=found.always and closed,
        unknown=tag.unknown if tag.unknown is not None else found.unknown,
    )  # fmt: skip
