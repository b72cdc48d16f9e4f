"""RFM over three parties equals RFM over the pooled table: edges, scores, segments, ties."""

from __future__ import annotations

import random
from collections import Counter

import duckdb
import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.reference import rfm_oracle
from tests.reference.seeded_noise import SeededNoise
from tests.shared_data import shared
from tests.world import Company, World

ROLES = ("recency", "frequency", "monetary")


def companies(people, bounds, decimals, policy=None, columns=ROLES):
    """people: per company a list of (recency, frequency, monetary) texts."""
    found = {}
    for name, rows in people.items():
        attributes = {
            column: {"kind": "number", "category": "purchases", "bounds": list(bounds[role]),
                     "decimals": decimals[role]}
            for role, column in zip(ROLES, columns, strict=True)
        }  # fmt: skip
        found[name] = Company(
            ["email", *columns],
            [[f"{name}{i}@example.com", *row] for i, row in enumerate(rows)],
            {"ids": {"email": "email"}, "attributes": attributes,
             "policy": {"min_cohort": 1, "noise": "optional", "rho_per_month": 50}
             | (policy or {})},
        )  # fmt: skip
    return found


def job(people, **changes):
    return {
        "job": "segments", "purpose": "segmentation", "protocol": "rfm",
        "requester": next(iter(people)), "people": list(people), "privacy": {"noise": "off"},
    } | changes  # fmt: skip


def drawn(seed, n=150):
    print(f"seed {seed}")
    rng = random.Random(seed)
    return {
        name: [
            (str(rng.randrange(0, 400)), str(1 if rng.random() < 0.35 else rng.randrange(2, 40)),
             f"{rng.lognormvariate(5, 2):.2f}")
            for _ in range(n + 10 * i)
        ]
        for i, name in enumerate(("shop", "web", "app"))
    }  # fmt: skip


def pooled(people):
    return rfm_oracle.rfm(
        [dict(zip(ROLES, map(float, row), strict=True)) for rows in people.values() for row in rows]
    )


def files(world, people, name="segments"):
    tables = [pq.read_table(world.folder / p / "scores" / f"{name}.parquet") for p in people]
    return [line for table in tables for line in table.to_pylist()]


BOUNDS = {"recency": (0, 400), "frequency": (0, 500), "monetary": (0, 1_000_000)}
DECIMALS = {"recency": 0, "frequency": 0, "monetary": 2}


@pytest.mark.parametrize("scheme", ["8", "5x5"])
async def test_rfm_equals_the_pooled_table(tmp_path, scheme):
    people = drawn(1)
    want = pooled(people)
    tables = companies(people, BOUNDS, DECIMALS)
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job(people, scheme=scheme))
        lines = files(world, people)
    assert outcome.state == "released", outcome.error
    for role in ROLES:
        assert outcome.result["edges"][role]["quintiles"] == want["edges"][role]
        assert outcome.result["edges"][role]["median"] == want["medians"][role]
    sizes = {s["segment"]: s["count"] for s in outcome.result["segments"]}
    assert {k: v for k, v in sizes.items() if v} == dict(want["sizes"][scheme])
    assert len(sizes) == (8 if scheme == "8" else 10)
    assert [line["segment_8"] for line in lines] == want["8"]
    assert [line["segment_5x5"] for line in lines] == want["5x5"]
    for role in ROLES:
        assert [line[f"{role}_score"] for line in lines] == [s[role] for s in want["scores"]]
    assert [line["row"] for line in lines[:150]] == list(range(150))


async def test_other_names_and_people_without_a_value(tmp_path):
    people = drawn(2, 40)
    people["web"][3] = ("", "2", "5")
    people["web"][4] = ("7", "2", "")
    names = ("r", "f", "m")
    tables = companies(people, BOUNDS, DECIMALS, columns=names)
    columns = dict(zip(ROLES, names, strict=True))
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job(people, columns=columns))
        lines = files(world, people)
    known = {p: [row for row in rows if "" not in row] for p, rows in people.items()}
    want = pooled(known)
    assert outcome.state == "released", outcome.error
    sizes = {s["segment"]: s["count"] for s in outcome.result["segments"] if s["count"]}
    assert sizes == dict(want["sizes"]["5x5"])
    assert [i for i, line in enumerate(lines) if line["segment_8"] is None] == [43, 44]
    assert lines[43]["recency_score"] is None


def online_retail():
    """Customers of the public Online Retail data, each at one of three companies."""
    rows = duckdb.execute(
        f"""with bought as (
              select * from '{shared("online_retail.parquet")}'
              where customer_id is not null and invoice not like 'C%'
                and quantity > 0 and unit_price > 0)
            select customer_id,
                   datediff('day', max(invoiced_at)::date, (select max(invoiced_at)::date
                            from bought)) as recency,
                   count(distinct invoice) as frequency,
                   round(sum(quantity * unit_price), 2) as monetary
            from bought group by 1 order by 1"""
    ).fetchall()
    people = {"shop": [], "web": [], "app": []}
    for customer, recency, frequency, monetary in rows:
        name = list(people)[customer % 3]
        people[name].append((str(recency), str(frequency), f"{monetary:.2f}"))
    return people


async def test_online_retail_over_three_companies_with_the_tie_at_one_purchase(tmp_path):
    people = online_retail()
    want = pooled(people)
    tables = companies(people, BOUNDS, DECIMALS)
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job(people))
        lines = files(world, people)
    for role in ROLES:
        assert outcome.result["edges"][role]["quintiles"] == want["edges"][role]
    sizes = {s["segment"]: s["count"] for s in outcome.result["segments"] if s["count"]}
    assert sizes == dict(want["sizes"]["5x5"])
    # 34.4 % bought once: the first edge is the minimum, so all of them score 2 and nobody 1.
    frequency = Counter(line["frequency_score"] for line in lines)
    assert outcome.result["edges"]["frequency"]["quintiles"][0] == 1
    assert 1 not in frequency
    assert frequency[2] / len(lines) == pytest.approx(0.344, abs=0.0005)


async def test_with_noise_one_histogram_round_near_edges_and_a_quarter_of_rho_each(tmp_path):
    people = drawn(3, 2000)
    want = pooled(people)
    tables = companies(people, BOUNDS, DECIMALS)
    async with World(tmp_path, tables, noise=SeededNoise(3)) as world:
        outcome = await world.run(**job(people, privacy={"rho": 2}))
    assert outcome.state == "released", outcome.error
    assert outcome.result["cost"]["rounds"] == 2
    sigma = np.sqrt(3 / (2 * 0.5))
    assert outcome.result["privacy"]["sigmas"]["count"] == pytest.approx(sigma, rel=1e-3)
    recency = outcome.result["edges"]["recency"]["quintiles"]
    assert np.allclose(recency, want["edges"]["recency"], atol=20)
    assert sum(s["count"] for s in outcome.result["segments"]) == pytest.approx(6030, abs=40)
    assert {own["remaining_rho"] for own in outcome.own.values()} == {48.0}
