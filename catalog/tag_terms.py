"""The words of a rule: what is measured, which tests it must pass, how tests are joined.

Who runs it: whoever reads a file of tags.  A closed vocabulary: every word that is not here is
refused with its line and the nearest known one.  Learns: nobody, anything.

Numbers are exact decimals and windows are whole hours, days or weeks: a month has no length.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

NUMBER_TESTS = ("at_least", "above", "at_most", "below")
TESTS = (*NUMBER_TESTS, "is", "in", "known")
JOINS = ("all", "any", "not")

OF_PERSON = ("attribute", "tag", "model")
COUNTING = ("count", "days")
OF_FIELD = ("sum", "avg", "min", "max", "top")
OF_EVENT = ("first", "last")  # of an event: days since; of a field: its value then
STAGED = ("lifecycle", "tier")  # a word for how much, seen over time
MEASURES = (*OF_PERSON, *COUNTING, *OF_FIELD, *OF_EVENT, "sequence", *STAGED)
OF_MODEL = ("job", "column")
OF_TIER = ("review", "since", "levels", "downgrade")
OPTIONS = ("where", "within", "ending", "span")

# What a job of each model leaves at its party: the folder of its file, and its columns with the
# kind of each, first the one that is meant when none is named.
MODELS: dict[str, tuple[str, dict[str, str]]] = {
    "kmeans": ("labels", {"label": "label"}),
    "lookalike": ("scores", {"score": "number"}),
    "ltv": (
        "scores",
        {"clv": "number", "p_alive": "number", "expected_purchases": "number",
         "expected_value": "number"},
    ),
    "recommendation": (
        "recommendations",
        {"item_1": "label", "item_2": "label", "item_3": "label", "item_4": "label",
         "item_5": "label", "basis": "label"},
    ),
    "rfm": (
        "scores",
        {"segment_8": "label", "segment_5x5": "label", "recency_score": "number",
         "frequency_score": "number", "monetary_score": "number"},
    ),
}  # fmt: skip
SCORE_DECIMALS = 6

_HOURS = {"hour": 1, "day": 24, "week": 168}
_SPAN = re.compile(r"([1-9][0-9]{0,4}) (hour|day|week)s?")


@dataclass(frozen=True)
class Span:
    """A length of time as written: 90 days."""

    number: int
    unit: str

    @property
    def hours(self) -> int:
        return self.number * _HOURS[self.unit]

    def __str__(self) -> str:
        return f"{self.number} {self.unit}{'s' if self.number > 1 else ''}"

    @classmethod
    def parse(cls, text: str) -> Span | None:
        match = _SPAN.fullmatch(text)
        return None if match is None else cls(int(match[1]), match[2])


Value = Decimal | str | bool | tuple[str, ...]


@dataclass(frozen=True)
class Test:
    """op: one of TESTS.  value: a Decimal for NUMBER_TESTS, words for `is` and `in`."""

    op: str
    value: Value

    __test__ = False  # not a test of ours, whatever pytest thinks of the name


@dataclass(frozen=True)
class Filter:
    """Which events count: `field` must pass every test."""

    field: str
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Level:
    """A tier.  at: reaches it; keep: stays in it; grace: how long it lasts without `keep`."""

    value: str
    at: Decimal | None = None  # None for the lowest, which everybody has
    keep: Decimal | None = None
    grace: Span | None = None


@dataclass(frozen=True)
class Tiers:
    """The rules of a membership.  levels: the lowest first.

    Looked at every `review` from `since` on, a moment in the party's own time.
    downgrade: "one" level at a time, or to what is "earned".
    """

    review: Span
    since: str
    levels: tuple[Level, ...]
    downgrade: str = "one"

    def reviews_in_grace(self, level: Level) -> int:
        """How many reviews without `keep` a person stays for."""
        return 0 if level.grace is None else -(-level.grace.hours // self.review.hours)


@dataclass(frozen=True)
class Measure:
    """One number or word per person.

    of: the attribute, tag, event, EVENT.FIELD; the steps of a sequence; a job and a column.
    model: the model's word, for how = model.
    within, ending: only events in [as-of - ending - within, as-of - ending); for a lifecycle
    the period that is compared with the one before; a tag as it was `ending` ago.
    span: the longest time from a sequence's first step to its last.
    tiers: for how = tier.
    """

    how: str
    of: tuple[str, ...]
    where: tuple[Filter, ...] = ()
    within: Span | None = None
    ending: Span | None = None
    span: Span | None = None
    model: str = ""
    tiers: Tiers | None = None

    @property
    def event(self) -> str:
        """The event it reads; '' for what is read of the person."""
        if self.how in OF_PERSON or self.how == "sequence":
            return ""
        return self.of[0].partition(".")[0]

    @property
    def field(self) -> str:
        return self.of[0].partition(".")[2] if self.event else ""

    @property
    def events(self) -> tuple[str, ...]:
        """Every event it reads."""
        return self.of if self.how == "sequence" else ((self.event,) if self.event else ())

    @property
    def dated(self) -> bool:
        """Whether its value can change with time alone."""
        return bool(self.events) and (
            self.within is not None
            or self.ending is not None
            or (self.how in OF_EVENT and not self.field)
        )


@dataclass(frozen=True)
class Compare:
    measure: Measure
    tests: tuple[Test, ...]


@dataclass(frozen=True)
class Join:
    """how: all, any, or not (of one part)."""

    how: str
    parts: tuple[Condition, ...]


Condition = Compare | Join


def measures_of(condition: Condition) -> tuple[Measure, ...]:
    """Every measure below `condition`, in order, repetitions too."""
    if isinstance(condition, Compare):
        return (condition.measure,)
    return tuple(m for part in condition.parts for m in measures_of(part))


def written(value: Any) -> Any:
    """A term as plain values of the YAML: what the parser reads back as the same term.

    Numbers are strings, so that the same value gives the same bytes everywhere.
    """
    if isinstance(value, Decimal):
        return number_text(value)
    if isinstance(value, Join):
        parts = [written(part) for part in value.parts]
        return {value.how: parts[0] if value.how == "not" else parts}
    if isinstance(value, Compare):
        return written(value.measure) | _tests(value.tests)
    if isinstance(value, Measure):
        return _measure(value)
    raise TypeError(type(value).__name__)


def _measure(measure: Measure) -> dict[str, Any]:
    of: Any = list(measure.of) if measure.how == "sequence" else measure.of[0]
    fields: dict[str, Any] = {measure.how: measure.model or of}
    if measure.model:
        fields |= {"job": of, "column": measure.of[1]}
    if measure.where:
        fields["where"] = {item.field: _tests(item.tests) for item in measure.where}
    for name in ("within", "ending", "span"):
        length = getattr(measure, name)
        if length is not None:
            fields[name] = f"{length} ago" if name == "ending" else str(length)
    return fields if measure.tiers is None else fields | _tiers(measure.tiers)


def _tiers(tiers: Tiers) -> dict[str, Any]:
    return {
        "review": str(tiers.review),
        "since": tiers.since,
        "levels": [_level(level) for level in tiers.levels],
        "downgrade": tiers.downgrade,
    }


def _level(level: Level) -> dict[str, str]:
    fields = {"value": level.value}
    if level.at is not None and level.keep is not None:
        fields |= {"at": number_text(level.at), "keep": number_text(level.keep)}
    return fields if level.grace is None else fields | {"grace": str(level.grace)}


def _tests(tests: tuple[Test, ...]) -> dict[str, Any]:
    return {test.op: _value(test.value) for test in tests}


def _value(value: Value) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value if isinstance(value, bool | str) else written(value)


def number_text(value: Decimal) -> str:
    """Digits without exponent or needless zeros; the same text for equal numbers."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
