"""A naive reading of the tag language, person by person, for comparison only.

Follows docs/TAGS.md in fractions and plain loops; nothing of the compiler is used.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any

from catalog.tag_terms import Compare, Condition, Measure, Test
from catalog.tags import BANDS, RULES, Tag, TagSet


@dataclass(frozen=True)
class Event:
    """fields: Decimal, str, bool or None."""

    at: datetime
    fields: Mapping[str, Any]


@dataclass(frozen=True)
class Person:
    attributes: Mapping[str, Any]
    events: Mapping[str, Sequence[Event]]  # in the order in which they arrived


def value_of(tags: TagSet, name: str, person: Person, as_of: datetime) -> str:
    tag = tags.now(name)
    nothing = tag.unknown or "unknown"
    if tag.form == RULES:
        for value in tag.values:
            if value.when is None or holds(tags, value.when, person, as_of):
                return value.value
        return nothing
    assert tag.measure is not None
    found = measured(tags, tag.measure, person, as_of)
    if found is None or (tag.measure.how == "tag" and found == _nothing(tags, tag.measure.of[0])):
        return nothing
    if tag.form == BANDS:
        for band in tag.bands:
            if (band.low is None or found >= band.low) and (band.high is None or found < band.high):
                return band.value
        raise AssertionError("bands are exhaustive")
    return _word(tags, tag, found)


def _nothing(tags: TagSet, name: str) -> str | None:
    """The word of another tag that says: not known."""
    word = tags.now(name).unknown or "unknown"
    return word if word in tags.now(name).vocabulary else None


def _word(tags: TagSet, tag: Tag, found: Any) -> str:
    if tag.mapping is not None:
        mapping = tags.mappings[tag.mapping]
        return mapping.words.get(found, mapping.otherwise or "other")
    return found if found in [value.value for value in tag.values] else "other"


def holds(tags: TagSet, term: Condition, person: Person, as_of: datetime) -> bool:
    if isinstance(term, Compare):
        found = measured(tags, term.measure, person, as_of)
        if term.measure.how == "tag":
            tag = tags.now(term.measure.of[0])
            unknown = tag.unknown or "unknown"
            if found == unknown and unknown in tag.vocabulary:
                return all(_of_unknown(test, found) for test in term.tests)
        return all(passes(test, found) for test in term.tests)
    parts = [holds(tags, part, person, as_of) for part in term.parts]
    return {"all": all(parts), "any": any(parts), "not": not parts[0]}[term.how]


def _of_unknown(test: Test, found: str) -> bool:
    return not test.value if test.op == "known" else passes(test, found)


def passes(test: Test, found: Any) -> bool:
    if test.op == "known":
        return (found is not None) == test.value
    if found is None:
        return False
    if isinstance(found, bool):
        return found == (test.value == "yes")
    if test.op == "is":
        return found == (test.value if isinstance(found, str) else Fraction(str(test.value)))
    if test.op == "in":
        return found in test.value
    want = test.value
    return {"at_least": found >= want, "above": found > want,
            "at_most": found <= want, "below": found < want}[test.op]  # fmt: skip


def measured(tags: TagSet, term: Measure, person: Person, as_of: datetime) -> Any:
    if term.how == "attribute":
        return person.attributes.get(term.of[0])
    if term.how == "tag":
        return value_of(tags, term.of[0], person, _before(as_of, _hours(term)))
    if term.how == "sequence":
        return _sequence(term, person, as_of)
    events = list(person.events.get(term.event, ()))
    if term.how not in ("lifecycle", "tier"):
        events = _window(term, events, as_of)
    tests = [(item.field, test) for item in term.where for test in item.tests]
    events = [e for e in events if all(passes(t, e.fields.get(name)) for name, t in tests)]
    if term.how == "lifecycle":
        return _stage(term, events, _before(as_of, _hours(term)))
    if term.how == "tier":
        return _tier(term, events, _before(as_of, _hours(term)))
    if term.how == "count":
        return len(events)
    if term.how == "days":
        return len({event.at.date() for event in events})
    if term.how in ("first", "last") and not term.field:
        if not events:
            return None
        at = (min if term.how == "first" else max)(event.at for event in events)
        return (as_of - at) // timedelta(days=1)
    held = [(e.at, i, e.fields[term.field]) for i, e in enumerate(events)
            if e.fields.get(term.field) is not None]  # fmt: skip
    values = [value for _, _, value in held]
    if term.how == "sum":
        return sum((Fraction(value) for value in values), Fraction(0))
    if not values:
        return None
    if term.how == "top":
        return max(values, key=lambda v: (values.count(v), max(a for a, _, w in held if w == v), v))
    if term.how in ("first", "last"):
        return (min if term.how == "first" else max)(held, key=lambda h: h[:2])[2]
    if term.how == "avg":
        return sum(Fraction(value) for value in values) / len(values)
    return min(values) if term.how == "min" else max(values)


def _hours(term: Measure) -> int:
    return 0 if term.ending is None else term.ending.hours


def _stage(term: Measure, events: list[Event], end: datetime) -> str | None:
    """By the number of events in the last period, in the one before, and ever before."""
    assert term.within is not None
    start = _before(end, term.within.hours)
    older = _before(start, term.within.hours)
    now = sum(start <= e.at < end for e in events)
    before = sum(older <= e.at < start for e in events)
    ever = sum(e.at < start for e in events)
    if now + ever == 0:
        return None
    if now == 0 and before == 0:
        return "lost"
    if now < before:
        return "declining"
    if ever == 0:
        return "new"
    return "growing" if now > before else "mature"


def _tier(term: Measure, events: list[Event], end: datetime) -> str:
    """One review after the other, as a clerk would."""
    tiers = term.tiers
    assert tiers is not None
    assert term.within is not None
    at, missed, moment = 0, 0, datetime.fromisoformat(tiers.since)
    while moment <= end:
        seen = [e for e in events if _before(moment, term.within.hours) <= e.at < moment]
        had = sum((Fraction(e.fields.get(term.field) or 0) for e in seen), Fraction(0))
        had = had if term.field else Fraction(len(seen))
        reached = [i for i, level in enumerate(tiers.levels) if i == 0 or had >= level.at]
        kept = [i for i, level in enumerate(tiers.levels) if i == 0 or had >= level.keep]
        level = tiers.levels[at]
        if max(reached) > at:
            at, missed = max(reached), 0
        elif at in kept:
            missed = 0
        else:
            missed += 1
            grace = level.grace.hours if level.grace else 0
            if (missed - 1) * tiers.review.hours >= grace:
                at, missed = (at - 1 if tiers.downgrade == "one" else max(kept)), 0
        moment += timedelta(hours=tiers.review.hours)
    return tiers.levels[at].value


def _window(term: Measure, events: Sequence[Event], as_of: datetime) -> list[Event]:
    end = _before(as_of, 0 if term.ending is None else term.ending.hours)
    start = None if term.within is None else _before(end, term.within.hours)
    return [e for e in events if e.at < end and (start is None or e.at >= start)]


def _before(moment: datetime, hours: int) -> datetime:
    try:
        return moment - timedelta(hours=hours)
    except OverflowError:
        return datetime.min


def _sequence(term: Measure, person: Person, as_of: datetime) -> int:
    """Last steps that some chain of strictly later events leads to, within the span."""
    chains = [(e.at, e.at) for e in _window(term, person.events.get(term.of[0], ()), as_of)]
    for step in term.of[1:]:
        events = _window(term, person.events.get(step, ()), as_of)
        chains = [(max(began), e.at) for e in events
                  if (began := [b for b, at in chains if at < e.at])]  # fmt: skip
    if term.span is None:
        return len(chains)
    return sum(at - began <= timedelta(hours=term.span.hours) for began, at in chains)
