"""The tag language: what a file says, its canonical form, its sentences, and each refusal."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given, settings

from catalog.tag_canonical import changes, compiled, reads, set_fields, set_yaml, tag_id
from catalog.tag_words import sentence
from catalog.tags import Tag, TagSet
from protocol.encoding import canonical_json, content_id
from protocol.errors import BadInput
from tests.catalog.tag_definitions import tags
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
    assert tags.tags["stage"].vocabulary == ("loyal", "purchase", "interest", "aware", "none")
    # A snapshot has the values of its tag; a model that knows its words needs no `other`.
    assert tags.tags["stage_before"].vocabulary == tags.tags["stage"].vocabulary
    assert tags.tags["rhythm"].vocabulary[-2:] == ("lost", "never")
    assert tags.tags["membership"].vocabulary == ("basic", "silver", "gold")
    assert tags.tags["segment"].vocabulary[0] == "champions"
    assert len(tags.tags["segment"].vocabulary) == 11
    assert tags.below("stage") == ("stage_before",)
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
    ("      loyal: {count", "      loyl: {count", 'no stage "loyl"', '"loyal"'),
    ("aware: {count: view,", "aware: {count: vews,", 'no event "vews"', '"view"'),
    ("{tag: stage, ending: 90 days ago}", "{tag: stage, within: 90 days}", "tag takes no within",
     "delete within"),
    ("{lifecycle: purchase, within: 90 days, ", "{lifecycle: purchase, ",
     "needs a length of time", "within: 90 days"),
    ("tier: purchase.amount", "tier: purchase.brand", "tier of a label", "number"),
    ("review: 30 days", "review: monthly", "no length of time", "30 days"),
    ("since: 2025-01-01", "since: January", '"January" is no moment', "2026-01-01"),
    ("at: 1000, keep: 500", "at: 1000, keep: 5000", "at most at", "lower it"),
    ("at: 1000, keep: 500", "at: 100, keep: 70", "at of gold is not above", "lowest level first"),
    ("{value: basic}", "{value: basic, at: 1}", "everybody has the lowest", "delete at"),
    ("downgrade: one", "downgrade: none", 'no way down "none"', '"one"'),
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
    assert sentence(tags, "membership", "zh").replace(" ", "") == (
        "“会员等级”（价值标签，说明人该为其做什么，每天更新）：取最近365天内purchase.amount的"
        "总和的会员等级（自2025-01-01起每30天评定一次，从“basic”开始：“silver”达到100升级，"
        "保持60.5；“gold”达到1000升级，保持500，宽限60天；逐级降级）。"
    )
    assert sentence(tags, "rhythm", "en").endswith(
        "the lifecycle stage by purchase (only where gift is “no”) (the last 90 days against those "
        "before)."
    )
    assert "as it was 90 days ago" in sentence(tags, "stage_before", "en")
    assert "90 天前的标签“阶段”" in sentence(tags, "stage_before", "zh")
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
