"""The compiled query gives, for any definition and any people, what the naive reading gives."""

from __future__ import annotations

from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from catalog.federation import Party
from catalog.tag_terms import Compare, Measure, Test
from catalog.tags import Tag, TagSet, TagValue, Title, Version
from party_node import tag_stage_sql
from party_node.one_id import Records, resolve
from party_node.profile_store import ProfileStore
from party_node.table_file import TextTable
from party_node.tag_values import TagValues
from tests.catalog.tag_definitions import CONDITIONS, tags
from tests.catalog.tag_samples import SOURCES, one, read
from tests.reference.tag_oracle import Event, Person, value_of

AS_OF = datetime(2026, 3, 10, 6, 30)
PARTY = Party.model_validate(
    {"name": "shop", "table": Path("people.csv"), "consents": "all", "ids": {"email": "email"}}
).model_copy(
    update={
        "events": {
            name: event.model_copy(update={"ids": {"email": "email"}, "id": None})
            for name, event in SOURCES.events.items()
        }
    }
)


def random_people(rng: np.random.Generator, n: int) -> list[Person]:
    def sometimes(value: object) -> object:
        return None if rng.random() < 0.3 else value

    def when() -> datetime:
        # Coarse steps: many events at the same moment, and at the borders of windows.
        return AS_OF + timedelta(hours=6 * int(rng.integers(-40, 4)))

    def event(name: str) -> Event:
        fields = {
            "amount": sometimes(Decimal(int(rng.integers(-20, 20))).scaleb(-1)),
            "brand": sometimes(str(rng.choice(list("ABé")))),
            "gift": sometimes(bool(rng.integers(2))),
            "topic": sometimes(str(rng.choice(list("xy")))),
        }
        return Event(when(), {f: fields[f] for f in SOURCES.events[name].fields})

    return [
        Person(
            {"age": sometimes(Decimal(int(rng.integers(0, 5)))),
             "city": sometimes(str(rng.choice(list("ab")))),
             "member": bool(rng.integers(2))},
            {name: [event(name) for _ in range(rng.integers(0, 8))] for name in SOURCES.events},
        )
        for _ in range(n)
    ]  # fmt: skip


def loaded(people: list[Person]) -> ProfileStore:
    store = ProfileStore(Path(""), PARTY)
    emails = pa.array([f"p{i}@x" for i in range(len(people))])
    columns = {
        "row": pa.array(range(len(people)), pa.int64()),
        "attribute age": pa.array(
            [None if (a := p.attributes["age"]) is None else int(a) for p in people], pa.int64()
        ),
        "attribute city": pa.array([p.attributes["city"] for p in people], pa.string()),
        "attribute member": pa.array([p.attributes["member"] for p in people], pa.bool_()),
    }
    store.set_people(pa.table(columns), resolve(Records("table", {"email": emails}), []))
    for name, declared in PARTY.events.items():
        rows = [(i, e) for i, p in enumerate(people) for e in p.events[name]]
        text = {
            "email": [f"p{i}@x" for i, _ in rows],
            "at": [e.at.isoformat() for _, e in rows],
            **{f: [_text(e.fields[f]) for _, e in rows] for f in declared.fields},
        }
        table = {c: pa.array(v, pa.string()) for c, v in text.items()}
        store.ingest(name, TextTable(Path(name), len(rows), table, "v", False), pushed=False)
    return store


def _text(value: object) -> str | None:
    return None if value is None else str(value).lower() if isinstance(value, bool) else str(value)


PEOPLE = random_people(np.random.default_rng(20260310), 60)
STORE = loaded(PEOPLE)


def computed(made: TagSet, name: str, folder: Path, store: ProfileStore = STORE) -> list[str]:
    values = TagValues(store, made, SOURCES, folder)
    values.refresh([name], AS_OF)
    labels = values.labels(name)
    return [labels.vocabulary[code] for code in labels.codes]


@given(tags())
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
def test_any_tag(tag: Tag) -> None:
    made = TagSet("c", {"t": tag}, order=("t",))
    expected = [value_of(made, "t", person, AS_OF) for person in PEOPLE]
    assert computed(made, "t", Path("nowhere")) == expected


@given(CONDITIONS, st.booleans())
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_tag_made_from_another(condition: object, known: bool) -> None:
    title = Title("x", "x")
    fields = (title, "value", "did", "purchases", "o", "g", "once", Version(1, 0, 0), "rules")
    first = Tag("a", *fields, (TagValue("yes", None, condition),))  # type: ignore[arg-type]
    tests = (Test("known", known),)
    below = Compare(Measure("tag", ("a",)), tests)
    also = Compare(Measure("tag", ("a",)), (Test("is", "yes"),))
    second = Tag("b", *fields, (TagValue("p", None, below), TagValue("q", None, also)))
    made = TagSet("c", {"a": first, "b": second}, order=("a", "b"))
    expected = [value_of(made, "b", person, AS_OF) for person in PEOPLE]
    assert computed(made, "b", Path("nowhere")) == expected


MEMBERS = """\
    measure:
      tier: purchase.amount
      within: 60 days
      review: 30 days
      since: 2026-01-01
      levels:
        - {value: basic}
        - {value: silver, at: 100, keep: 50}
        - {value: gold, at: 1000, keep: 500, grace: 30 days}
        - {value: diamond, at: 5000}
      downgrade: DOWN
"""


@pytest.mark.parametrize("down", ["one", "earned"])
def test_tiers_go_up_at_once_and_down_after_their_grace(down: str) -> None:
    def bought(*when: tuple[str, int]) -> Person:
        nothing = {"age": None, "city": None, "member": False}
        events = [
            Event(datetime.fromisoformat(at), {"amount": Decimal(n), "brand": "A", "gift": None})
            for at, n in when
        ]
        return Person(nothing, {"purchase": events, "view": [], "cart": []})

    people = [
        bought(("2025-12-20", 6000)),  # diamond on 1 January, for 60 days, without grace
        bought(("2026-01-10", 1000)),  # gold on 31 January, kept to 2 March, then in grace
        bought(("2026-01-10", 1000), ("2026-04-01", 500)),  # kept in the grace of 1 April
        bought(("2026-01-10", 100), ("2026-02-20", 49)),  # silver, not kept
        bought(("2026-04-25", 99), ("2026-05-04", 9999)),  # too little, and too late
        bought(),
    ]
    made = read(one(MEMBERS.replace("DOWN", down)))
    store = loaded(people)
    values = TagValues(store, made, SOURCES, Path("nowhere"))
    seen = {}
    for as_of in (datetime(2026, 4, 1), datetime(2026, 5, 5, 12)):
        values.refresh(["t"], as_of)
        labels = values.labels("t")
        seen[as_of.month] = [labels.vocabulary[code] for code in labels.codes]
        assert seen[as_of.month] == [value_of(made, "t", person, as_of) for person in people]
    # Reviews fall on 1 and 31 January, 2 March, 1 April and 1 May.
    rest = ["gold", "basic", "basic", "basic"]
    if down == "one":
        assert seen == {4: ["gold", "gold", *rest], 5: ["silver", "silver", *rest]}
    else:
        assert seen == {4: ["basic", "gold", *rest], 5: ["basic", "basic", *rest]}


@pytest.mark.parametrize("down", ["one", "earned"])
@pytest.mark.parametrize("review", ["1 day", "5 days"])
def test_tiers_over_many_reviews_are_what_a_clerk_would_say(down: str, review: str) -> None:
    """Stretches of equal totals against one review after the other; refunds and gaps too."""
    rng = np.random.default_rng(3)
    since = datetime(2026, 1, 1)
    people = []
    for number in range(200):
        at = sorted(rng.integers(-10 * 24, 90 * 24, number % 7).tolist())  # on reviews and between
        amounts = rng.choice([-300, 40, 100, 600, 2500], len(at)).tolist()
        if number == 199:  # just old enough for the first review, and only for that
            at, amounts = [-8 * 24], [2500]
        events = [
            Event(
                since + timedelta(hours=hours), {"amount": Decimal(n), "brand": None, "gift": None}
            )
            for hours, n in zip(at, amounts, strict=True)
        ]
        nothing = {"age": None, "city": None, "member": False}
        people.append(Person(nothing, {"purchase": events, "view": [], "cart": []}))
    text = MEMBERS.replace("DOWN", down).replace("review: 30 days", f"review: {review}")
    text = text.replace("within: 60 days", "within: 8 days").replace("at: 5000", "at: 3000, "
                                                                     "grace: 6 days")  # fmt: skip
    made = read(one(text))
    values = TagValues(loaded(people), made, SOURCES, Path("nowhere"))
    seen = set()
    for as_of in (since, since + timedelta(days=33, hours=7), since + timedelta(days=80)):
        values.refresh(["t"], as_of)
        labels = values.labels("t")
        found = [labels.vocabulary[code] for code in labels.codes]
        assert found == [value_of(made, "t", person, as_of) for person in people]
        seen |= set(found)
    assert seen == {"basic", "silver", "gold", "diamond"}


def test_only_the_last_reviews_count(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever earned a level before the first of them begins at the lowest."""
    monkeypatch.setattr(tag_stage_sql, "MOST_REVIEWS", 3)
    bought = [Event(datetime(2026, 1, 20), {"amount": Decimal(1000), "brand": None, "gift": None})]
    nothing = {"age": None, "city": None, "member": False}
    person = Person(nothing, {"purchase": bought, "view": [], "cart": []})
    text = MEMBERS.replace("DOWN", "one").replace("grace: 30 days", "grace: 900 days")
    values = TagValues(loaded([person]), read(one(text)), SOURCES, Path("nowhere"))
    found = []
    for as_of in (datetime(2026, 5, 1), datetime(2026, 5, 31)):
        values.refresh(["t"], as_of)
        labels = values.labels("t")
        found.append(labels.vocabulary[labels.codes[0]])
    assert found == ["gold", "basic"]


def test_the_five_stages_and_a_snapshot_of_them() -> None:
    def bought(*days: int) -> Person:
        events = [Event(AS_OF - timedelta(days=n), {"amount": None, "brand": None, "gift": None})
                  for n in days]  # fmt: skip
        empty = {"age": None, "city": None, "member": False}
        return Person(empty, {"purchase": events, "view": [], "cart": []})

    people = [bought(5), bought(5, 6, 40), bought(5, 40), bought(40, 41, 5), bought(99), bought(),
              bought(5, 99), bought(30)]  # fmt: skip
    text = one("    measure: {lifecycle: purchase, within: 30 days}\n    unknown: never\n")
    head = text[text.index("    title") : text.index("    measure")]
    text += f"  u:\n{head}    measure: {{tag: t, ending: 30 days ago}}\n"
    made = read(text)
    values = TagValues(loaded(people), made, SOURCES, Path("nowhere"))
    values.refresh(["t", "u"], AS_OF)
    for name, expected in (
        ("t", "new growing mature declining lost never growing new"),
        ("u", "never new new new lost never lost never"),
    ):
        labels = values.labels(name)
        found = [labels.vocabulary[code] for code in labels.codes]
        assert found == expected.split()
        assert found == [value_of(made, name, person, AS_OF) for person in people]


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        # The window's first moment is in it, its last is not.
        ("{count: cart, within: 3 days, at_least: 1}", "yyn"),
        ("{count: cart, within: 3 days, ending: 3 days ago, at_least: 1}", "nny"),
        ("{count: cart, at_most: 0}", "nnn"),
        # A step must be later than the one before it.
        ("{sequence: [view, purchase], at_least: 1}", "nyn"),
        ("{sequence: [view, purchase], span: 1 hour, at_least: 1}", "nyn"),
        ("{sequence: [view, purchase], span: 1 hour, at_least: 2}", "nnn"),
        # Of equals: the one seen last, then the later in code points.
        ("{top: purchase.brand, is: A}", "nyn"),
        ("{top: purchase.brand, is: B}", "ynn"),
        # Of one moment: the one that arrived first, or last.
        ("{first: purchase.brand, is: A}", "ynn"),
        ("{last: purchase.brand, is: A}", "nyn"),
        ("{avg: purchase.amount, at_least: 0.1}", "yyn"),
        ("{avg: purchase.amount, at_most: 0.1}", "yyn"),
    ],
)
def test_borders_and_ties(rule: str, expected: str) -> None:
    def at(hours: int) -> datetime:
        return AS_OF - timedelta(hours=hours)

    def bought(hours: int, brand: str, amount: str = "0.1") -> Event:
        return Event(at(hours), {"brand": brand, "amount": Decimal(amount), "gift": None})

    def viewed(hours: int) -> Event:
        return Event(at(hours), {"topic": "x"})

    empty: dict[str, object] = {"age": None, "city": None, "member": False}
    events = [
        {"cart": [Event(at(72), {})], "view": [viewed(10)],
         "purchase": [bought(10, "A"), bought(10, "B"), bought(10, "B", "0.1")]},
        {"cart": [Event(at(1), {}), Event(at(0), {})], "view": [viewed(11)],
         "purchase": [bought(12, "B"), bought(10, "A")]},
        {"cart": [Event(at(73), {})], "view": [], "purchase": []},
    ]  # fmt: skip
    people = [Person(empty, found) for found in events]
    made = read(one("    values: [{value: y, when: " + rule + "}, {value: n, otherwise: yes}]\n"))
    assert [value_of(made, "t", person, AS_OF) for person in people] == list(expected)
    assert computed(made, "t", Path("nowhere"), loaded(people)) == list(expected)
