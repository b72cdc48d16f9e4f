"""Rules as they are written to terms that cannot be wrong: words, names and types checked.

Who runs it: `catalog.tags`, for every `when` and `measure` of a file.  Each refusal names the
line, the place and the fix.  Learns: nobody, anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from catalog.events import EventTable
from catalog.lifecycle import FIVE
from catalog.tag_models import tiers_of
from catalog.tag_numbers import NUMBER, number
from catalog.tag_terms import (
    COUNTING,
    JOINS,
    MEASURES,
    MODELS,
    NUMBER_TESTS,
    OF_EVENT,
    OF_FIELD,
    OF_MODEL,
    OPTIONS,
    SCORE_DECIMALS,
    STAGED,
    TESTS,
    Compare,
    Condition,
    Filter,
    Join,
    Measure,
    Span,
    Test,
    Value,
)
from catalog.yaml import Document, Where, nearest

_FLAG = {"yes": "yes", "true": "yes", "1": "yes", "no": "no", "false": "no", "0": "no"}
_DEEPEST = 16


@dataclass(frozen=True)
class Typed:
    """What a name stands for: kind label, number or flag; category where its data is of one."""

    kind: str
    decimals: int = 0
    category: str = ""


@dataclass(frozen=True)
class Sources:
    """What a party has declared: attributes of a person (no tags) and events."""

    attributes: Mapping[str, Typed]
    events: Mapping[str, EventTable]


@dataclass(frozen=True)
class Scope:
    """Names that a rule may use.  tags: name → its values.  sources: None when not known yet."""

    document: Document
    tags: Mapping[str, Sequence[str]]
    sources: Sources | None


# -- conditions ----------------------------------------------------------------------------


def condition(value: Any, at: Where, scope: Scope, depth: int = 0) -> Condition:
    """A `when`.  Raises BadInput with line, place and fix."""
    if not isinstance(value, Mapping) or not value:
        raise scope.document.error(at, "must be a test", "write {attribute: NAME, is: WORD} or …")
    if depth > _DEEPEST:
        raise scope.document.error(at, "is nested too deeply", "make a tag of a part of it")
    _known(value, (*JOINS, *MEASURES, *OPTIONS, *OF_MODEL, *TESTS), at, scope)
    joins = [word for word in JOINS if word in value]
    if not joins:
        found = measure(value, at, scope)
        return Compare(found, _tests(value, at, scope, found))
    if len(value) > 1:
        raise scope.document.error(
            at, f"{' and '.join(map(str, value))} stand side by side", "join them with all: or any:"
        )
    how, inner = joins[0], value[joins[0]]
    if how == "not":
        return Join("not", (condition(inner, (*at, "not"), scope, depth + 1),))
    if not isinstance(inner, list) or not inner:
        raise scope.document.error((*at, how), "must be a list of tests", "write one per line, - …")
    parts = (condition(part, (*at, how, i), scope, depth + 1) for i, part in enumerate(inner))
    return Join(how, tuple(parts))


def measure(value: Any, at: Where, scope: Scope) -> Measure:
    """The measure among the keys of `value`; tests beside it are left alone."""
    if not isinstance(value, Mapping):
        raise scope.document.error(at, "must be a measure", "write {count: EVENT} or another")
    found = [word for word in MEASURES if word in value]
    if len(found) != 1:
        said = "no measure" if not found else f"{len(found)} measures ({', '.join(found)})"
        raise scope.document.error(at, said, f"write one of {', '.join(MEASURES)}")
    how = found[0]
    within, ending, span = (_span(value, n, at, scope) for n in ("within", "ending", "span"))
    made = Measure(
        how, _of(how, value, at, scope), (), within, ending, span, _model(how, value, at, scope)
    )
    _check_options(made, value, at, scope)
    where = value.get("where")
    if where is not None:
        made = replace(made, where=_filters(where, (*at, "where"), scope, made))
    if how == "tier":
        made = replace(made, tiers=tiers_of(value, at, scope.document))
    return made


def _of(how: str, value: Mapping[str, Any], at: Where, scope: Scope) -> tuple[str, ...]:
    written, place = value[how], (*at, how)
    if how == "sequence":
        if not isinstance(written, list) or not 2 <= len(written) <= 8:
            raise scope.document.error(place, "must be a list of 2 to 8 events", "write [A, B]")
        for i, step in enumerate(written):
            _event(str(step), (*place, i), scope)
        return tuple(str(step) for step in written)
    if how == "model":
        job = value.get("job")
        if job is None:
            raise scope.document.error(at, "a model's result is that of a job", "add job: NAME")
        columns = MODELS[_model(how, value, at, scope)][1]
        column = str(value.get("column") or next(iter(columns)))
        if column not in columns:
            raise scope.document.error(
                (*at, "column"), f'no column "{column}"', nearest(column, columns)
            )
        return (str(job), column)
    if isinstance(written, list | Mapping) or written is None:
        raise scope.document.error(place, "must be a name")
    name = str(written)
    if how == "attribute":
        if scope.sources is not None and name not in scope.sources.attributes:
            raise scope.document.error(
                place, f'no attribute "{name}"', nearest(name, scope.sources.attributes)
            )
    elif how == "tag":
        if name not in scope.tags:
            raise scope.document.error(place, f'no tag "{name}"', nearest(name, scope.tags))
    else:
        _check_event(how, name, place, scope)
    return (name,)


def _check_event(how: str, name: str, place: Where, scope: Scope) -> None:
    event, dot, field = name.partition(".")
    if (how in COUNTING or how == "lifecycle") and dot:
        raise scope.document.error(place, f"{how} is of an event", f"write {event}")
    if how in OF_FIELD and not field:
        raise scope.document.error(place, f"{how} is of an event's field", f"write {event}.FIELD")
    _event(event, place, scope)
    if field:
        kind = _field(event, field, place, scope)
        numeric = ("sum", "avg", "min", "max", "tier")
        if kind is not None and how in numeric and kind.kind != "number":
            raise scope.document.error(
                place, f"{how} of a {kind.kind}", "use it on a number, or top on a label"
            )
        if kind is not None and how == "top" and kind.kind != "label":
            raise scope.document.error(place, f"top of a {kind.kind}", "use it on a label")


def _event(name: str, place: Where, scope: Scope) -> None:
    if scope.sources is not None and name not in scope.sources.events:
        fix = nearest(name, scope.sources.events)
        raise scope.document.error(place, f'no event "{name}"', fix)


def _field(event: str, field: str, place: Where, scope: Scope) -> Typed | None:
    if scope.sources is None:
        return None
    fields = scope.sources.events[event].fields
    if field not in fields:
        raise scope.document.error(place, f'{event} has no field "{field}"', nearest(field, fields))
    return Typed(fields[field].kind, fields[field].decimals)


def _model(how: str, value: Mapping[str, Any], at: Where, scope: Scope) -> str:
    if how != "model":
        return ""
    name = str(value["model"])
    if name not in MODELS:
        raise scope.document.error((*at, "model"), f'no model "{name}"', nearest(name, MODELS))
    return name


def _span(value: Mapping[str, Any], name: str, at: Where, scope: Scope) -> Span | None:
    written = value.get(name)
    if written is None:
        return None
    text = str(written)
    if name == "ending":
        text = text.removesuffix(" ago")
    found = Span.parse(text)
    if found is None:
        raise scope.document.error(
            (*at, name), f'"{written}" is no length of time',
            "write a number of hours, days or weeks, such as 90 days (months differ in length)",
        )  # fmt: skip
    return found


def _check_options(made: Measure, value: Mapping[str, Any], at: Where, scope: Scope) -> None:
    allowed: tuple[str, ...] = OF_MODEL if made.how == "model" else ()
    if made.events:
        allowed = ("within", "ending", "span") if made.how == "sequence" else OPTIONS[:3]
    if made.how == "tag":
        allowed = ("ending",)
    if made.how in STAGED and made.within is None:
        raise scope.document.error(at, f"{made.how} needs a length of time", "add within: 90 days")
    for word in (*OPTIONS, *OF_MODEL):
        if word in value and word not in allowed:
            raise scope.document.error((*at, word), f"{made.how} takes no {word}", f"delete {word}")


# -- tests ---------------------------------------------------------------------------------


def _filters(value: Any, at: Where, scope: Scope, of: Measure) -> tuple[Filter, ...]:
    if not isinstance(value, Mapping) or not value:
        raise scope.document.error(at, "must be a block of fields", "write {FIELD: {is: WORD}}")
    made = []
    for name, inner in value.items():
        place = (*at, name)
        kind = _field(of.event, name, place, scope)
        if not isinstance(inner, Mapping):
            raise scope.document.error(place, "must be a test", "write {is: WORD}")
        _known(inner, TESTS, place, scope)
        made.append(Filter(name, _typed_tests(inner, place, scope, kind, None)))
    return tuple(sorted(made, key=lambda item: item.field))


def _tests(value: Mapping[str, Any], at: Where, scope: Scope, of: Measure) -> tuple[Test, ...]:
    values = scope.tags[of.of[0]] if of.how == "tag" else None
    if of.how == "lifecycle":
        values = [word for word, *_ in FIVE]
    if scope.sources is None and (of.how == "attribute" or (of.event and of.field)):
        return _typed_tests(value, at, scope, None, values)
    return _typed_tests(value, at, scope, kind_of(of, scope.sources), values)


def kind_of(of: Measure, sources: Sources | None) -> Typed:
    """The type of a measure.  sources may be None where the measure names no field."""
    if of.how == "attribute":
        assert sources is not None
        return sources.attributes[of.of[0]]
    if of.how == "tag" or of.how in STAGED:
        return Typed("label")
    if of.how == "model":
        kind = MODELS[of.model][1][of.of[1]]
        return Typed(kind, SCORE_DECIMALS if kind == "number" else 0)
    if of.how in OF_FIELD or (of.how in OF_EVENT and of.field):
        if of.how == "top":
            return Typed("label")
        assert sources is not None
        field = sources.events[of.event].fields[of.field]
        return Typed(field.kind, field.decimals)
    return Typed("number")


def _typed_tests(
    value: Mapping[str, Any], at: Where, scope: Scope, kind: Typed | None,
    values: Sequence[str] | None,
) -> tuple[Test, ...]:  # fmt: skip
    found = [word for word in TESTS if word in value]
    if not found:
        raise scope.document.error(at, "no test", f"add one of {', '.join(TESTS)}")
    made = []
    for op in found:
        place = (*at, op)
        if kind is not None:
            _check_type(op, kind, place, scope)
        made.append(Test(op, _operand(op, value[op], place, scope, kind, values)))
    return tuple(made)


def _check_type(op: str, kind: Typed, place: Where, scope: Scope) -> None:
    if op in NUMBER_TESTS and kind.kind != "number":
        raise scope.document.error(
            place, f"{op} compares numbers, this is a {kind.kind}", "use is: or in:"
        )
    if op == "in" and kind.kind != "label":
        raise scope.document.error(
            place, f"in: lists words, this is a {kind.kind}", "use is:, at_least: or below:"
        )


def _operand(
    op: str, value: Any, place: Where, scope: Scope, kind: Typed | None,
    values: Sequence[str] | None,
) -> Value:  # fmt: skip
    if op in NUMBER_TESTS:
        return number(value, place, scope.document)
    if op == "known":
        word = _FLAG.get(str(value).lower())
        if word is None:
            raise scope.document.error(place, f'"{value}" is neither yes nor no', "write yes or no")
        return word == "yes"
    if op == "in":
        if not isinstance(value, list) or not value:
            raise scope.document.error(place, "must be a list of words", "write [A, B]")
        words = tuple(dict.fromkeys(_word(v, (*place, i), scope) for i, v in enumerate(value)))
        _check_words(words, place, scope, values)
        return words
    word = _word(value, place, scope)
    if kind is not None and kind.kind == "number" and not NUMBER.fullmatch(word):
        raise scope.document.error(place, f'"{word}" is a word, this is a number', "write digits")
    if kind is not None and kind.kind == "flag":
        if word.lower() not in _FLAG:
            raise scope.document.error(place, f'"{word}" is no flag', "write yes or no")
        return _FLAG[word.lower()]
    _check_words((word,), place, scope, values)
    return word


def _check_words(
    words: Iterable[str], place: Where, scope: Scope, values: Sequence[str] | None
) -> None:
    for word in words:
        if values is not None and word not in values:
            raise scope.document.error(place, f'there is no value "{word}"', nearest(word, values))


def _word(value: Any, place: Where, scope: Scope) -> str:
    if isinstance(value, Mapping | list) or value is None:
        raise scope.document.error(place, "must be a word")
    return str(value).lower() if isinstance(value, bool) else str(value)


def _known(value: Mapping[str, Any], words: Sequence[str], at: Where, scope: Scope) -> None:
    for key in value:
        if key not in words:
            raise scope.document.error(
                at, f'unknown word "{key}"', nearest(str(key), words), at=(*at, key)
            )
