"""Any definition that the tag language can write, for hypothesis."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import strategies as st

from catalog.lifecycle import FIVE
from catalog.tag_terms import (
    Compare,
    Filter,
    Join,
    Level,
    Measure,
    Span,
    Test,
    Tiers,
    number_text,
)
from catalog.tags import BANDS, RULES, WORDS, Band, Tag, TagValue, Title, Version

WORD = st.text(st.characters(codec="utf-8", exclude_categories=("C", "Z")), min_size=1, max_size=6)
# Words and numbers that the people of the comparison have, and any others.
NAMES = st.sampled_from(["A", "B", "é", "x", "y", "a", "b"]) | WORD
NUMBERS = st.integers(0, 4).map(Decimal) | st.decimals(-9999, 9999, places=2).map(
    lambda d: Decimal(number_text(d))
)
SPANS = st.builds(
    Span, st.integers(1, 40) | st.integers(1, 99999), st.sampled_from(["hour", "day", "week"])
)


def ops(kind: str) -> st.SearchStrategy[tuple[Test, ...]]:
    known = st.builds(Test, st.just("known"), st.booleans())
    if kind == "number":
        one_ = st.builds(Test, st.sampled_from(["at_least", "above", "at_most", "below"]), NUMBERS)
    elif kind == "flag":
        one_ = st.builds(Test, st.just("is"), st.sampled_from(["yes", "no"]))
    elif kind == "stage":
        one_ = st.builds(Test, st.just("is"), st.sampled_from([word for word, *_ in FIVE]))
    else:
        words = st.lists(NAMES, min_size=1, max_size=3, unique=True).map(tuple)
        one_ = st.one_of(
            st.builds(Test, st.just("is"), NAMES), st.builds(Test, st.just("in"), words)
        )
    order = ("at_least", "above", "at_most", "below", "is", "in", "known")
    return st.lists(st.one_of(one_, known), min_size=1, max_size=3, unique_by=lambda t: t.op).map(
        lambda found: tuple(sorted(found, key=lambda t: order.index(t.op)))
    )


FILTERS = st.lists(
    st.sampled_from([("amount", "number"), ("brand", "label"), ("gift", "flag")]).flatmap(
        lambda field: st.builds(Filter, st.just(field[0]), ops(field[1]))
    ),
    max_size=2, unique_by=lambda f: f.field,
).map(lambda found: tuple(sorted(found, key=lambda f: f.field)))  # fmt: skip
MAYBE = st.none() | SPANS


@st.composite
def measures(draw: st.DrawFn) -> tuple[Measure, str]:
    how, of, kind = draw(st.sampled_from([
        ("attribute", "age", "number"), ("attribute", "city", "label"),
        ("attribute", "member", "flag"), ("count", "purchase", "number"),
        ("days", "purchase", "number"), ("sum", "purchase.amount", "number"),
        ("avg", "purchase.amount", "number"), ("min", "purchase.amount", "number"),
        ("max", "purchase.amount", "number"), ("top", "purchase.brand", "label"),
        ("first", "purchase", "number"), ("last", "purchase.brand", "label"),
        ("sequence", "", "number"), ("model", "vips", "number"), ("lifecycle", "purchase", "stage"),
    ]))  # fmt: skip
    if how == "attribute":
        return Measure(how, (of,)), kind
    if how == "model":
        return Measure(how, (of, "p_alive"), model="ltv"), kind
    if how == "lifecycle":
        return Measure(how, (of,), draw(FILTERS), draw(SPANS), draw(MAYBE)), kind
    if how == "sequence":
        steps = tuple(draw(st.lists(st.sampled_from(["view", "cart"]), min_size=2, max_size=4)))
        return Measure(how, steps, (), draw(MAYBE), draw(MAYBE), draw(MAYBE)), kind
    return Measure(how, (of,), draw(FILTERS), draw(MAYBE), draw(MAYBE)), kind


@st.composite
def tiers(draw: st.DrawFn, names: list[str]) -> Measure:
    ends = st.integers(1, 60).map(lambda n: Decimal(n) / 10)
    count = len(names) - 1
    reach, keep = (
        sorted(draw(st.lists(ends, min_size=count, max_size=count, unique=True))) for _ in "ab"
    )
    levels = [Level(names[0])]
    for name, at, low in zip(names[1:], reach, keep, strict=True):
        grace = draw(st.none() | st.builds(Span, st.integers(1, 40), st.just("day")))
        levels.append(Level(name, at, min(at, low), grace))
    rules = Tiers(
        Span(draw(st.integers(4, 20)), "day"), f"2026-0{draw(st.integers(1, 4))}-01T00:00:00",
        tuple(levels), draw(st.sampled_from(["one", "earned"])),
    )  # fmt: skip
    of = draw(st.sampled_from(["purchase", "purchase.amount", "cart"]))
    where = () if of == "cart" else draw(FILTERS)
    within = Span(draw(st.integers(1, 60)), "day")
    return Measure("tier", (of,), where, within, draw(MAYBE), tiers=rules)


COMPARES = measures().flatmap(lambda m: st.builds(Compare, st.just(m[0]), ops(m[1])))
CONDITIONS = st.recursive(
    COMPARES,
    lambda inner: st.builds(
        Join, st.sampled_from(["all", "any"]), st.lists(inner, min_size=1, max_size=3).map(tuple)
    ) | st.builds(Join, st.just("not"), inner.map(lambda part: (part,))),
    max_leaves=6,
)  # fmt: skip
TITLES = st.builds(Title, WORD, WORD)


@st.composite
def tags(draw: st.DrawFn) -> Tag:
    names = draw(st.lists(NAMES, min_size=2, max_size=5, unique=True))
    form = draw(st.sampled_from([RULES, BANDS, WORDS, "tier"]))
    if form == "tier":
        rules = draw(tiers(names))
        assert rules.tiers is not None
        return Tag(
            "t", draw(TITLES), "value", "did", "purchases", "o", "g", "daily", Version(1, 0, 0),
            WORDS, tuple(TagValue(name) for name in names), rules, closed=True, always=True,
        )  # fmt: skip
    values = tuple(TagValue(name, draw(st.none() | TITLES)) for name in names)
    measure, bands, unknown = None, (), draw(st.none() | WORD)
    if form == RULES:
        unknown = None
        last = draw(st.none() | CONDITIONS)
        whens = [draw(CONDITIONS) for _ in names[1:]] + [last]
        values = tuple(
            TagValue(v.value, v.title, when) for v, when in zip(values, whens, strict=True)
        )
    elif form == BANDS:
        measure = draw(measures().filter(lambda m: m[1] == "number"))[0]
        count = len(names) - 1
        cuts = sorted(draw(st.lists(NUMBERS, min_size=count, max_size=count, unique=True)))
        ends = [None, *cuts, None]
        bands = tuple(Band(n, ends[i], ends[i + 1]) for i, n in enumerate(names))
    else:
        measure = draw(measures().filter(lambda m: m[1] == "label"))[0]
    return Tag(
        "t", draw(TITLES), draw(st.sampled_from(["static", "value"])), "did", "purchases",
        draw(WORD), draw(WORD), "weekly", Version(1, draw(st.integers(0, 9)), 0), form, values,
        measure, bands, unknown=unknown,
    )  # fmt: skip
