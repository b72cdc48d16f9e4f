"""The tag language: what a file says, its canonical form, its sentences, and each refusal."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from catalog.tag_canonical import changes, compiled, reads, set_fields, set_yaml, tag_id
from catalog.tag_terms import Compare, Filter, Join, Measure, Span, Test, number_text
from catalog.tag_words import sentence
from catalog.tags import BANDS, RULES, WORDS, Band, Tag, TagSet, TagValue, Title, Version
from protocol.encoding import canonical_json, content_id
from protocol.errors import BadInput
from tests.catalog.tag_samples import FILE, SOURCES, one, read


def test_says_what_it_says() -> None:
    tags = read()
    assert tags.tags["spender"].vocabulary == ("high", "gifts", "low")
    assert tags.tags["recency"].vocabulary == ("active", "cooling", "lost", "never")
    assert tags.tags["topic"].vocabulary == ("travel", "film", "rest", "other", "unknown")
    assert tags.tags["winback"].vocabulary[-1] == "unknown"
    assert tags.mappings["topics"].words["007"] == "film"
    assert tags.now("spending").name == "spender"
    assert tags.path("spender") == ("person", "buying")
    assert tags.order.index("spender") < tags.order.index("winback")
    assert tags.below("recency") == ("winback",)
    assert set(reads(tags, "winback", SOURCES)) == {"purchases", "demographics", "location"}


def test_yaml_to_canonical_to_yaml_of_the_sample() -> None:
    tags = read()
    again = read(set_yaml(tags))
    assert again == tags
    assert canonical_json(set_fields(again)) == canonical_json(set_fields(tags))


def test_the_id_covers_the_rule_and_nothing_else() -> None:
    tags = read()
    assert tag_id(tags, "winback") == content_id(compiled(tags, "winback"))
    words = read(FILE.replace("Whom to win back.", "Other words.").replace("en: High", "en: Top"))
    assert tag_id(words, "winback") == tag_id(tags, "winback")
    # What a tag is made from is part of what it means.
    deeper = read(FILE.replace("within: 365 days", "within: 364 days"))
    assert tag_id(deeper, "winback") != tag_id(tags, "winback")
    assert tag_id(deeper, "recency") == tag_id(tags, "recency")
    # The same rule in other spelling is the same rule.
    spelled = read(
        FILE.replace("at_least: 1000}", "at_least: 1000.00}").replace("8 weeks", "8 week")
    )
    assert tag_id(spelled, "winback") == tag_id(tags, "winback")
    assert tag_id(spelled, "topic") == tag_id(tags, "topic")


REFUSED = [
    ("sum: purchase.amount", "sums: purchase.amount", 'unknown word "sums"', 'did you mean "sum"'),
    ("count: purchase, within", "count: purchases, within", 'no event "purchases"', '"purchase"'),
    ("sum: purchase.amount", "sum: purchase.amont", 'has no field "amont"', '"amount"'),
    ("sum: purchase.amount", "sum: purchase.brand", "sum of a label", "top on a label"),
    ("top: view.topic", "top: purchase.gift", "top of a flag", "on a label"),
    ("attribute: age, at_least: 40", "attribute: city, at_least: 40",
     "at_least compares numbers, this is a label", "is:"),
    ("attribute: age, at_least: 40", "attribute: age, at_least: old", '"old" is a word', "digits"),
    ("attribute: member, is: yes", "attribute: member, is: often", "is no flag", "yes or no"),
    ("tag: spender, is: high", "tag: spender, is: hihg", 'no value "hihg"', '"high"'),
    ("tag: spender, is: high", "tag: spendr, is: high", 'no tag "spendr"', '"spender"'),
    ("attribute: age, known: no", "attribute: ages, known: no", 'no attribute "ages"', '"age"'),
    ("within: 365 days", "within: 12 months", "no length of time", "hours, days or weeks"),
    ("class: value", "class: values", '"values" is not known', 'did you mean "value"'),
    ("goal: Whom to wake.", "gaol: Whom to wake.", 'unknown key "gaol"', 'did you mean "goal"'),
    ("from: 30, below: 90", "from: 25, below: 90", "active and cooling overlap from 25",
     "below: 25"),
    ("from: 30, below: 90", "from: 31, below: 90", "nothing covers 30 up to 31", "from: 30"),
    ("{value: lost, from: 90}", "{value: lost, from: 90, below: 99}",
     "nothing covers numbers from 99", "delete below"),
    ("{value: active, below: 30}", "{value: active, from: 0, below: 30}",
     "nothing covers numbers below 0", "delete from"),
    ("measure: {last: purchase}", "measure: {last: purchase.brand}", "bands are of numbers",
     "values"),
    ("measure: {last: purchase}", "measure: {last: purchase, at_least: 3}",
     'unknown word "at_least" in a measure', ""),
    ("measure: {top: view.topic, within: 8 weeks}", "measure: {attribute: member}",
     "attribute gives a flag; a label is needed", "when"),
    ("measure: {top: view.topic, within: 8 weeks}", "measure: {attribute: age}",
     "attribute gives a number; a label is needed", "bands"),
    ("map: topics", "map: topic", 'no mapping "topic"', "mappings:"),
    ("model: lookalike", "model: lookalikes", 'no model "lookalikes"', '"lookalike"'),
    ("job: vips}", "job: vips, column: scores}", 'no column "scores"', '"score"'),
    ("replaced_by: spender", "replaced_by: spenders", 'no tag "spenders"', '"spender"'),
    ("replaced_by: spender", "replaced_by: spending", "a circle: spending → spending", ""),
    ("sum: purchase.amount, within: 365 days, at_least: 1000", "tag: winback, is: first",
     "a circle: ", "cannot be made from itself"),
    ("under: person", "under: buying", "a circle: buying → buying", "under"),
    ("version: 1-0-0", "version: 1.0", "is no version", "MODEL-REVISION-ADDITION"),
    ("- {value: low, otherwise: yes}", "- {value: low}", 'who is "low"', "otherwise"),
    ("until: 2027-06-30", "until: soon", '"soon" is no day', "2027-12-31"),
    ("purposes: [segmentation]", "purposes: [selling]", '"selling" is not known', ""),
    ("- not: {count", "- not: {tag: spender, count", "2 measures", "one of"),
    ("{tag: recency, in: [cooling, lost]}", "{tag: recency}", "no test", "at_least"),
    ("span: 7 days, ", "where: {a: {is: b}}, ", "sequence takes no where", "delete where"),
    ("- value: gifts", "- value: high", '"high" is here twice', "rename"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "cause", "fix"), REFUSED, ids=[r[1][:40] for r in REFUSED])
def test_what_is_wrong_is_refused_with_place_and_fix(
    old: str, new: str, cause: str, fix: str
) -> None:
    assert old in FILE
    text = FILE.replace(old, new, 1)
    line = FILE[: FILE.index(old)].count("\n") + 1
    with pytest.raises(BadInput) as caught:
        read(text)
    said = str(caught.value)
    assert cause in said
    assert fix in said
    named = int(said.split("line ")[1].split(":")[0])
    # In the line itself, or (a circle) at the tag it starts from.
    assert named == line or "circle" in cause or named == line + new.count("\n") - 1, said


def test_bands_that_are_fine_in_any_order() -> None:
    text = one(
        "    measure: {count: cart}\n    bands: [{value: b, from: 2}, {value: a, below: 2}]\n"
    )
    assert [band.value for band in read(text).tags["t"].bands] == ["b", "a"]


def test_a_file_is_checked_without_sources_as_far_as_it_goes() -> None:
    assert read(FILE, None).tags.keys() == read().tags.keys()
    with pytest.raises(BadInput, match="overlap"):
        read(FILE.replace("from: 30", "from: 3"), None)


# -- versions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "tag", "needs"),
    [
        ("goal: Whom to wake.", "goal: Whom to call.", "recency", "ADDITION"),
        ("below: 30}", "below: 31}", "recency", "REVISION"),
        ("within: 365 days", "within: 300 days", "spender", "REVISION"),
        ("unknown: never", "unknown: none", "recency", "MODEL"),
        ("class: preference", "class: behaviour", "topic", "MODEL"),
        ("measure: {last: purchase}", "measure: {last: cart}", "recency", "MODEL"),
    ],
)
def test_a_change_says_which_part_of_the_version_must_grow(
    old: str, new: str, tag: str, needs: str
) -> None:
    text = FILE.replace(old, new, 1)
    if "31" in new:
        text = text.replace("from: 30", "from: 31")
    (change, *_) = [c for c in changes(read(), read(text), SOURCES) if c.tag == tag]
    assert change.needs == needs
    assert not change.enough
    if new.endswith("{last: cart}"):
        assert change.consent == ("behaviour",)


def test_a_version_that_grew_enough_is_enough() -> None:
    text = FILE.replace("within: 365 days", "within: 300 days").replace("1-0-0", "1-1-0", 1)
    by_name = {change.tag: change for change in changes(read(), read(text), SOURCES)}
    assert by_name["spender"].enough
    # Made from it: people move there too.
    assert by_name["winback"].needs == "REVISION"
    assert changes(read(), read(), SOURCES) == ()


def test_grants_end_with_their_day_their_model_and_hold_for_what_replaced_a_tag() -> None:
    tags = read()
    day = date(2027, 6, 30)
    assert tags.allows("spender", "media", "audience_insight", day)
    assert not tags.allows("spender", "media", "audience_insight", date(2027, 7, 1))
    assert not tags.allows("spender", "media", "activation", day)
    assert not tags.allows("recency", "media", "audience_insight", day)
    assert tags.allows("spender", "bank", "segmentation", date(2026, 6, 30))  # given for the older
    newer = read(FILE.replace("version: 1-0-0", "version: 2-0-0"))
    assert not newer.allows("spender", "media", "audience_insight", day)


# -- sentences -------------------------------------------------------------------------------


def test_sentences_say_the_rule_in_both_languages() -> None:
    tags = read()
    assert sentence(tags, "recency", "en") == (
        "“Recency” (a behaviour tag: what people did; refreshed daily): by the days since the last "
        "purchase: “active” below 30, “cooling” from 30 below 90, “lost” from 90; “never” without "
        "one."
    )
    assert sentence(tags, "recency", "zh") == (
        "“最近购买”（行为标签，说明人做过什么，每天更新）：按距最近一次 purchase 的天数："
        "低于 30为“active”、不低于 30且低于 90为“cooling”、不低于 90为“lost”；没有该值则为“never”。"
    )
    said = sentence(tags, "spender", "en")
    assert "“High” if the sum of purchase.amount in the last 365 days is at least 1000 and" in said
    assert said.endswith("otherwise “low”.")
    assert "replaced by “Spender”" in sentence(tags, "spending", "en")
    for name in tags.tags:
        for language in ("zh", "en"):
            assert "None" not in sentence(tags, name, language)


def test_different_rules_have_different_sentences() -> None:
    for language in ("zh", "en"):
        seen = {sentence(read(FILE.replace(old, new, 1)), tag, language) for old, new, tag in (
            ("", "", "spender"),
            ("365 days", "364 days", "spender"),
            ("at_least: 1000", "above: 1000", "spender"),
            ("- not: {count: purchase", "- not: {count: cart", "spender"),
            ("[A, B]", "[A, C]", "spender"),
        )}  # fmt: skip
        assert len(seen) == 5


# -- any definition --------------------------------------------------------------------------

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
        ("sequence", "", "number"), ("model", "vips", "number"),
    ]))  # fmt: skip
    if how == "attribute":
        return Measure(how, (of,)), kind
    if how == "model":
        return Measure(how, (of, "p_alive"), model="ltv"), kind
    if how == "sequence":
        steps = tuple(draw(st.lists(st.sampled_from(["view", "cart"]), min_size=2, max_size=4)))
        return Measure(how, steps, (), draw(MAYBE), draw(MAYBE), draw(MAYBE)), kind
    return Measure(how, (of,), draw(FILTERS), draw(MAYBE), draw(MAYBE)), kind


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
    form = draw(st.sampled_from([RULES, BANDS, WORDS]))
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


@given(tags())
@settings(max_examples=200, deadline=None)
def test_any_definition_survives_yaml_to_canonical_to_yaml(tag: Tag) -> None:
    made = TagSet("c", {"t": tag}, order=("t",))
    again = read(set_yaml(made))
    assert again == made
    assert canonical_json(set_fields(again)) == canonical_json(set_fields(made))
    assert tag_id(again, "t") == tag_id(made, "t")
    for language in ("zh", "en"):
        assert sentence(again, "t", language)
