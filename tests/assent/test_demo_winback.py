"""The winback story's companies: the same for the same seed, and with something to find."""

from __future__ import annotations

import csv
import datetime
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from assent.demo_winback import definitions
from assent.demo_winback_data import Files, write_winback
from catalog.federation import Federation, load_federation
from party_node.dataset import Dataset
from party_node.profile import Profile

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


def test_there_are_people_to_win_back_and_they_buy_at_the_platform(
    federation: Federation, tmp_path: Path
) -> None:
    party = federation.parties["shop"]
    profile = Profile.open(party, Dataset.load(party), tmp_path, lambda: 0.0)
    assert profile is not None
    (run, *_) = profile.history("winback")
    assert all(count > 20 for count in run["counts"].values())
    assert profile.values is not None
    asked = profile.values.labels("winback")
    back = {asked.vocabulary.index(word) for word in ("call", "offer")}
    emails = [row["email"] for row in rows(party.table)]
    bought = {row["email"]: int(row["orders"] or 0)
              for row in rows(federation.parties["media"].table)}  # fmt: skip
    groups: dict[bool, list[int]] = {True: [], False: []}
    for email, code in zip(emails, asked.codes, strict=True):
        if email in bought:
            groups[int(code) in back].append(bought[email])
    assert len(groups[True]) + len(groups[False]) == 3000
    mean = {key: sum(found) / len(found) for key, found in groups.items()}
    assert mean[True] > 1.2 * mean[False]


def test_definitions_are_told_in_both_languages(federation: Federation) -> None:
    lines = list(definitions(federation.parties["shop"]))
    assert len(lines) == 3
    assert "“Win back” (a value tag" in lines[1]
    assert "“挽回”（价值标签" in lines[2]
    assert len(list(definitions(federation.parties["media"]))) == 1
