"""The winback story's companies: the same for the same seed, and with something to find."""

from __future__ import annotations

import csv
import datetime
import io
import re
from collections import Counter, defaultdict
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from assent import demo
from assent.demo_winback import definitions, sizes
from assent.demo_winback_data import Files, write_winback
from catalog.federation import Federation, Party, load_federation
from party_node.dataset import Dataset
from party_node.profile import Profile
from protocol.release.rules import tgi, withheld_cells
from tests.reference.rfm_oracle import rfm

README = Path(__file__).parents[2] / "README.md"
COHORT = 15  # smallest group of both companies
TODAY = datetime.date(2025, 11, 1)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Files:
    return write_winback(tmp_path_factory.mktemp("story"))


@pytest.fixture(scope="module")
def federation(files: Files) -> Federation:
    return load_federation(files.federation)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_one_seed_one_world(tmp_path: Path, files: Files) -> None:
    again = write_winback(tmp_path)
    for name in ("shop/purchases.csv", "media/plays.csv", "media/users.csv", "shop/carts.csv"):
        written = (files.job.parent / name).read_bytes()
        assert (again.job.parent / name).read_bytes() == written


def test_tables_say_what_the_events_say(files: Files) -> None:
    for table, events in (("shop/customers", "shop/purchases"), ("media/users", "media/orders")):
        spent: dict[str, float] = defaultdict(float)
        orders: Counter[str] = Counter()
        latest: dict[str, str] = {}
        for event in rows(files.job.parent / f"{events}.csv"):
            spent[event["email"]] += float(event["amount"])
            orders[event["email"]] += 1
            latest[event["email"]] = max(latest.get(event["email"], ""), event["at"])
        for row in rows(files.job.parent / f"{table}.csv"):
            email = row["email"]
            if not orders[email]:
                assert row["orders"] == row["spent"] == row["days_since"] == ""
                continue
            assert int(row["orders"]) == orders[email]
            assert abs(float(row["spent"]) - spent[email]) < 0.51
            days = (TODAY - datetime.date.fromisoformat(latest[email])).days
            assert int(row["days_since"]) == days


@pytest.fixture(scope="module")
def profiles(
    federation: Federation, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Profile]:
    opened = {}
    for name, party in federation.parties.items():
        folder = tmp_path_factory.mktemp(name)
        opened[name] = Profile.open(party, Dataset.load(party), folder, lambda: 0.0)
    return opened


def labels(profiles: dict[str, Profile], party: Party, tag: str) -> dict[str, str]:
    """Whose value of a tag is what, by e-mail."""
    column = profiles[party.name].values.labels(tag)
    emails = [row["email"] for row in rows(party.table)]
    words = [column.vocabulary[code] for code in column.codes]
    return dict(zip(emails, words, strict=True))


def test_there_are_people_to_win_back_and_they_buy_at_the_platform(
    federation: Federation, profiles: dict[str, Profile]
) -> None:
    (run, *_) = profiles["shop"].history("winback")
    assert all(count > 20 for count in run["counts"].values())
    asked = labels(profiles, federation.parties["shop"], "winback")
    bought = {row["email"]: int(row["orders"] or 0)
              for row in rows(federation.parties["media"].table)}  # fmt: skip
    groups: dict[bool, list[int]] = {True: [], False: []}
    for email, word in asked.items():
        if email in bought:
            groups[word in ("call", "offer")].append(bought[email])
    assert len(groups[True]) + len(groups[False]) == 3000
    mean = {key: sum(found) / len(found) for key, found in groups.items()}
    assert mean[True] > 1.2 * mean[False]


def worth(federation: Federation) -> dict[str, dict[str, str]]:
    """By party and e-mail, from RFM over both tables pooled: what the story's tag `worth` says."""
    tables = {name: rows(party.table) for name, party in federation.parties.items()}
    measures = {"recency": "days_since", "frequency": "orders", "monetary": "spent"}
    people = [
        (name, row["email"], {role: float(row[column]) for role, column in measures.items()})
        for name, table in tables.items() for row in table if row["orders"]
    ]  # fmt: skip
    kinds = {"important_value": "good, active", "important_develop": "good, active",
             "important_keep": "good, asleep", "important_win_back": "good, asleep"}  # fmt: skip
    found = {name: dict.fromkeys((row["email"] for row in table), "never bought")
             for name, table in tables.items()}  # fmt: skip
    segments = rfm([person for _, _, person in people])["8"]
    for (name, email, _), segment in zip(people, segments, strict=True):
        found[name][email] = kinds.get(segment, "small")
    return found


def standing_out(shop: dict[str, str], media: dict[str, str], names: tuple[str, str]) -> str:
    """What the demo prints first of a cross-tab without noise, by its own code for it."""
    pairs = Counter((word, media[email]) for email, word in shop.items() if email in media)
    lines, columns = (list(dict.fromkeys(side.values())) for side in (shop, media))
    count = np.array([[pairs[line, column] for column in columns] for line in lines])
    reasons = withheld_cells(count, COHORT)
    index = tgi(count, reasons == 0)
    cells = [
        {names[0]: line, names[1]: column, "count": int(count[r, c]), "tgi": index[r][c],
         "withheld": None}
        for r, line in enumerate(lines) for c, column in enumerate(columns)
    ]  # fmt: skip
    out = io.StringIO()
    result = {"job": "j", "status": "released", "requester": "shop", "match": {}, "cells": cells}
    demo.show(result, Console(file=out, width=200, color_system=None))
    (line,) = re.findall("^most above the average: .*$", out.getvalue(), re.MULTILINE)
    return str(line)


def test_the_readme_tells_what_the_story_prints(
    federation: Federation, profiles: dict[str, Profile]
) -> None:
    """The story itself takes a minute of processes; here its lines are made without them, of the
    same tables by the same code.  Its cross-tabs carry noise, so an index may be a fifth away."""
    shop, media = federation.parties.values()
    (run, *_) = profiles["shop"].history("winback")
    made = [
        sizes(run),
        standing_out(
            labels(profiles, shop, "winback"), labels(profiles, media, "interest"),
            ("shop/winback", "media/interest"),
        ),
        standing_out(*worth(federation).values(), ("shop/worth", "media/worth")),
    ]  # fmt: skip
    (block,) = re.findall(r"```text\n(shop's customers by .*?)```", README.read_text("utf-8"), re.S)
    said = block.splitlines()
    masked = [re.sub(r"TGI \d+", "TGI", line) for line in (*said, *made)]
    assert masked[: len(said)] == masked[len(said) :]
    for line, own in zip(said[1:], made[1:], strict=True):
        shown, exact = (int(one.rsplit(" ", 1)[1]) for one in (line, own))
        assert 0.8 * exact < shown < 1.2 * exact, (line, own)


def test_definitions_are_told_in_both_languages(federation: Federation) -> None:
    lines = list(definitions(federation.parties["shop"]))
    assert len(lines) == 3
    assert "“Win back” (a value tag" in lines[1]
    assert "“挽回”（价值标签" in lines[2]
    assert len(list(definitions(federation.parties["media"]))) == 1
