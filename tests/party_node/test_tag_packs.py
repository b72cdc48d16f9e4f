"""Packs of tags: each computes what a naive reading says, and a company's file extends them."""

from __future__ import annotations

import random
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from assent.main import app
from catalog.tag_file import load_tags, parse_tags
from catalog.tag_packs import PACKS, needs, pack_text
from catalog.tag_words import sentence
from catalog.yaml import parse_documents
from protocol.errors import BadInput
from tests.party_node.profile_world import opened, values
from tests.reference.tag_oracle import Event, Person, value_of

AS_OF = datetime(2026, 6, 1)
# event → field → what it may hold, as text; a number's are drawn between two ends.
EVENTS: dict[str, dict[str, dict[str, Any]]] = {
    "retail": {
        "purchase": {"amount": (1, 900), "goods": ["food", "sport", "x"],
                     "discount": [True, False]},
        "view": {"goods": ["home", "beauty", "y"]},
        "cart": {},
    },
    "media": {
        "play": {"topic": ["travel", "film", "z"], "minutes": (1, 90)},
        "share": {},
        "order": {"amount": (1, 50)},
    },
    "bank": {
        "transaction": {"amount": (-90, 9000), "channel": ["app", "atm", "card", "q"],
                        "kind": ["salary", "rent"]},
        "login": {},
        "enquiry": {"product": ["fund", "mortgage", "w"]},
    },
}  # fmt: skip
CATEGORY = {"retail": "purchases", "media": "content", "bank": "finance"}


def party(pack: str) -> str:
    lines = ["name: p", "table: people.csv", "ids: {email: email}", "as_of: 2026-06-01",
             "consents: all", "tags: tags.yaml", "events:"]  # fmt: skip
    for name, fields in EVENTS[pack].items():
        declared = [
            f"{f}: {{kind: {'number' if isinstance(v, tuple) else _kind(v)}}}"
            for f, v in fields.items()
        ]
        lines.append(
            f"  {name}: {{source: {name}.csv, category: {CATEGORY[pack]}, ids: {{email: email}}, "
            f"time: at, fields: {{{', '.join(declared)}}}}}"
        )
    if pack == "bank":
        finance = "category: finance"
        lines += ["attributes:", f"  assets: {{kind: number, {finance}, bounds: [0, 9999999]}}",
                  f"  risk: {{kind: label, {finance}, values: [low, middle, high]}}"]  # fmt: skip
    return "\n".join(lines) + "\n"


def _kind(words: list[Any]) -> str:
    return "flag" if isinstance(words[0], bool) else "label"


def drawn(pack: str, n: int = 40) -> list[Person]:
    """From nobody who ever came to somebody who comes daily, now or long ago."""
    rng = random.Random(pack)

    def value(of: Any) -> Any:
        return Decimal(rng.randint(*of)) if isinstance(of, tuple) else rng.choice(of)

    people = []
    for _ in range(n):
        first, last = sorted(rng.choices(range(-500, 0), k=2))
        busy = rng.choice([0, 1, 4, 20, 60])
        last = rng.choice([0, last])
        attributes = {
            "assets": Decimal(rng.randrange(0, 900_000)),
            "risk": rng.choice(["low", "high"]),
        }
        events = {
            name: sorted(
                (Event(AS_OF + timedelta(days=rng.uniform(first, last)) // timedelta(hours=1)
                       * timedelta(hours=1), {f: value(of) for f, of in fields.items()})
                 for _ in range(rng.randint(0, busy))),
                key=lambda event: event.at,
            )
            for name, fields in EVENTS[pack].items()
        }  # fmt: skip
        people.append(Person(attributes, events))
    return people


def files(pack: str, people: list[Person]) -> dict[str, str]:
    rows = [
        f"p{i}@x.org,{p.attributes['assets']},{p.attributes['risk']}" for i, p in enumerate(people)
    ]
    found = {"people.csv": "\n".join(["email,assets,risk", *rows]) + "\n"}
    for name, fields in EVENTS[pack].items():
        lines = [",".join(["email", "at", *fields])]
        lines += [
            ",".join([f"p{i}@x.org", e.at.isoformat(), *(str(e.fields[f]).lower() if isinstance(
                e.fields[f], bool) else str(e.fields[f]) for f in fields)])
            for i, p in enumerate(people) for e in p.events[name]
        ]  # fmt: skip
        found[f"{name}.csv"] = "\n".join(lines) + "\n"
    return found


@pytest.mark.parametrize("pack", PACKS)
def test_a_pack_computes_what_it_says(tmp_path: Path, pack: str) -> None:
    people = drawn(pack)
    own = f"catalogue: ours\nextends: {pack}\ntags: {{}}\n"
    profile = opened(tmp_path, party(pack), own, files(pack, people))
    assert profile.tags is not None
    differs = 0
    for tag in profile.tags.live:
        found = values(profile, tag.name)
        if tag.name == "segment":  # no job has run
            assert set(found) == {"unknown"}
            continue
        assert found == [value_of(profile.tags, tag.name, p, AS_OF) for p in people], tag.name
        differs += len(set(found)) > 1
    assert differs == len(profile.tags.live) - 1  # the people are various enough to tell


@pytest.mark.parametrize("pack", PACKS)
def test_a_pack_is_clean_and_complete(pack: str, tmp_path: Path) -> None:
    (tmp_path / "pack.yaml").write_text(pack_text(pack), encoding="utf-8")
    (tmp_path / "people.csv").write_text("email\n")
    (tmp_path / "tags.yaml").write_text(pack_text(pack), encoding="utf-8")
    (tmp_path / "party.yaml").write_text(party(pack), encoding="utf-8")
    done = CliRunner().invoke(
        app, ["tags", "check", str(tmp_path / "pack.yaml"), "--party", str(tmp_path / "party.yaml")]
    )
    assert done.exit_code == 0, done.output
    tags = load_tags(tmp_path / "pack.yaml")
    for tag in tags.live:
        assert all(value.title is not None for value in tag.values) or tag.mapping, tag.name
        assert tag.under is not None
        assert sentence(tags, tag.name, "zh") != sentence(tags, tag.name, "en")
    declared = {f"{e}.{f}" for e, fields in EVENTS[pack].items() for f in fields} | set(
        EVENTS[pack]
    )
    assert set(needs(tags)) - {"attribute assets", "attribute risk"} == declared


# -- extending -----------------------------------------------------------------------------------

OWN = """\
catalogue: ours
extends: retail
without: [bargains]
mappings:
  goods: {words: {A1: food, B2: toys}}
tags:
  spending:
    title: {zh: 消费, en: Spending}
    class: value
    aspect: did
    category: purchases
    owner: us
    goal: Ours.
    measure: {sum: purchase.amount, within: 30 days}
    bands: [{value: low, below: 5}, {value: high, from: 5}]
  rich:
    title: {zh: 富, en: Rich}
    class: value
    aspect: who
    category: purchases
    owner: us
    goal: Ours.
    values: [{value: yes, when: {all: [{tag: membership, is: gold}, {tag: spending, is: high}]}}]
"""


def read(text: str) -> Any:
    return parse_tags(parse_documents(text, "tags.yaml")[0])


def test_a_file_replaces_leaves_out_and_builds_on_what_it_extends() -> None:
    tags = read(OWN)
    assert "bargains" not in tags.tags
    assert tags.tags["spending"].vocabulary == ("low", "high", "unknown")
    assert tags.tags["favourite"].vocabulary[:2] == ("food", "toys")
    assert tags.tags["rich"].uses == ("membership", "spending")
    assert tags.tags["stage"].under == "value"
    less = "[bargains, stage, stage_before, lifecycle, winback, keep, segment]"
    both = OWN.replace("extends: retail", "extends: [retail, bank]").replace("[bargains]", less)
    own = read(both)
    assert {"turnover", "recency"} <= set(own.tags)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("extends: retail", "extends: retial", 'line 2: extends: no pack "retial".*retail'),
        ("[bargains]", "[bargain]", 'no pack has a tag "bargain".*bargains'),
        ("[bargains]", "[lifecycle]", r'the pack retail line \d+: tags.winback.*"lifecycle".*'
         r"without: \[winback\]"),
        ("extends: retail", "extends: [retail, media]", 'two packs have a tag "stage"'),
        ("is: gold", "is: glod", r'tags.yaml line 23: tags.rich.*"glod".*gold'),
        ("extends: retail", "extends: {a: b}", "list of names"),
    ],
)  # fmt: skip
def test_what_is_wrong_names_the_file_or_the_pack(old: str, new: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read(OWN.replace(old, new))


def test_a_pack_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "group.yaml").write_text(pack_text("media"), encoding="utf-8")
    (tmp_path / "tags.yaml").write_text("catalogue: c\nextends: group.yaml\ntags: {}\n")
    assert "churn" in load_tags(tmp_path / "tags.yaml").tags
    (tmp_path / "group.yaml").write_text("catalogue: c\nmappings: [a]\ntags: {}\n")
    with pytest.raises(BadInput, match=r"group.yaml line 2: mappings: must be a block"):
        load_tags(tmp_path / "tags.yaml")
    (tmp_path / "group.yaml").write_text("catalogue: c\nextends: media\ntags: {}\n")
    with pytest.raises(BadInput, match=r"group.yaml line 2: extends: a pack extends nothing"):
        load_tags(tmp_path / "tags.yaml")
