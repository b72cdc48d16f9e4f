"""The demo's companies: the same for the same seed, dirty where they should be, and telling."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from assent.demo_data import write_demo
from tests.reference.demo_oracle import Company, Expected, companies_of, expected, read


def digests(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("demo")
    write_demo(folder)
    return folder


@pytest.fixture(scope="module")
def companies(demo: Path) -> dict[str, Company]:
    return companies_of(demo)


@pytest.fixture(scope="module")
def truth(demo: Path, companies: dict[str, Company]) -> Expected:
    return expected(demo, companies)


def test_the_nodes_reader_sees_what_the_oracle_sees(
    demo: Path, companies: dict[str, Company], truth: Expected
) -> None:
    """50,000 dirty rows through the product's set-based rules and row by row: the same."""
    from catalog.federation import load_federation
    from party_node.dataset import Dataset

    for name, party in load_federation(demo / "FEDERATION.yaml").parties.items():
        table = Dataset.load(party)
        assert table.rows == truth.rows[name]
        for kind, ids in companies[name].ids.items():
            assert table.identifiers(kind).to_pylist() == ids
        assert table.counts.unparsable == truth.unparsable[name]
        assert sum(table.counts.ambiguous_by_type.values()) == truth.ambiguous[name]


def test_one_seed_one_world(tmp_path: Path) -> None:
    sizes = {"retailer_rows": 300, "media_rows": 400, "common": 100}
    for name, seed in (("a", 7), ("b", 7), ("c", 8)):
        write_demo(tmp_path / name, seed, **sizes)
    assert digests(tmp_path / "a") == digests(tmp_path / "b")
    assert digests(tmp_path / "a") != digests(tmp_path / "c")


def test_sizes_are_the_promised_ones(truth: Expected) -> None:
    assert truth.rows == {"retailer": 20_000, "media": 30_000}
    for (_, party), eligible in truth.eligible.items():
        assert 0.76 < eligible / truth.rows[party] < 0.84
    # 8,000 in common, four fifths consent at each side, a few lost to dirt.
    for overlap in truth.overlap.values():
        assert 4_400 < overlap < 5_200


def test_there_is_dirt_of_every_kind(truth: Expected, demo: Path) -> None:
    for party in ("retailer", "media"):
        assert truth.ambiguous[party] > 100
        assert all(count > 20 for count in truth.unparsable[party].values())
    phones = [row["phone"] for row in read(demo / "retailer/customers.csv")]
    for mark in ("+86", "0086", "-", " ", "１"):
        assert any(mark in phone for phone in phones), mark
    emails = [row["邮箱"] for row in read(demo / "media/profiles.csv")]
    for mark in ("＠", "QQ.COM", " ", "中国"):
        assert any(mark in email for email in emails), mark
    assert (demo / "media/profiles.csv").read_bytes().startswith(b"\xef\xbb\xbf")


def test_consent_states_are_all_there(demo: Path) -> None:
    for party in ("retailer", "media"):
        said = {row["status"] for row in read(demo / party / "consents.csv")}
        assert said == {"given", "renewed", "refused", "withdrawn", "expired", "requested"}


def test_the_cross_tab_has_something_to_show(truth: Expected) -> None:
    total = truth.overlap["tier_by_interest"]
    by_tier = {tier: sum(c for (t, _), (c, _) in truth.cells.items() if t == tier)
               for tier in ("high", "mid", "low")}  # fmt: skip
    by_interest = {i: sum(c for (_, j), (c, _) in truth.cells.items() if j == i)
                   for i in {key[1] for key in truth.cells}}  # fmt: skip
    assert sum(by_tier.values()) == total

    def tgi(tier: str, interest: str) -> float:
        share = truth.cells[tier, interest][0] / by_tier[tier]
        return 100 * share / (by_interest[interest] / total)

    assert tgi("high", "travel") > 130
    assert tgi("high", "games") < 75
    assert tgi("low", "games") > 110
    # and some cells small enough to be withheld, so that the demo shows that too
    assert 0 < min(count for count, _ in truth.cells.values()) < 50


def test_tags_follow_from_the_orders(demo: Path) -> None:
    spent: dict[str, int] = {}
    last: dict[str, str] = {}
    for order in read(demo / "retailer/orders.csv"):
        cents = int(order["amount"].replace(".", ""))
        spent[order["customer"]] = spent.get(order["customer"], 0) + cents
        last[order["customer"]] = max(last.get(order["customer"], ""), order["date"])
    customers = read(demo / "retailer/customers.csv")
    lowest = {"high": 10**12, "mid": 10**12, "low": 10**12}
    highest = {"high": 0, "mid": 0, "low": 0}
    for row in customers:
        cents = spent.get(row["customer"], 0)
        assert int(row["spend"].replace(".", "")) == cents
        assert (row["active"] == "1") == (last.get(row["customer"], "") >= "2025-08-02")
        assert bool(row["last_category"]) == (cents > 0)
        lowest[row["value_tier"]] = min(lowest[row["value_tier"]], cents)
        highest[row["value_tier"]] = max(highest[row["value_tier"]], cents)
    assert highest["low"] < lowest["mid"] <= highest["mid"] < lowest["high"]


def test_more_in_common_than_there_are_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rows of both"):
        write_demo(tmp_path, retailer_rows=10, media_rows=20, common=11)
