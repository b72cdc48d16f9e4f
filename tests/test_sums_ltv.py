"""Lifetime value over three parties: the published fits of CDNOW, and what cannot be fitted."""

from __future__ import annotations

import csv

import numpy as np
import pyarrow.parquet as pq
import pytest

from tests.reference import ltv_oracle
from tests.reference.seeded_noise import SeededNoise
from tests.shared_data import shared
from tests.world import Company, World

PARTIES = ("shop", "web", "app")
BG_NBD = {"r": 0.243, "alpha": 4.414, "a": 0.793, "b": 2.426}  # Fader, Hardie, Lee 2005
GAMMA_GAMMA = {"p": 6.25, "q": 3.74, "v": 15.44}  # Fader, Hardie 2013
COLUMNS = ("frequency", "recency", "T", "monetary")


def companies(people, policy=None, lowest=0):
    """people: rows of COLUMNS as text, dealt out to three companies."""
    bounds = {"frequency": (0, 60, 0), "recency": (0, 40, 2), "T": (lowest, 40, 2),
              "monetary": (0, 300, 2)}  # fmt: skip
    found = {}
    for at, name in enumerate(PARTIES):
        found[name] = Company(
            ["email", *COLUMNS],
            [[f"{name}{i}@example.com", *row] for i, row in enumerate(people[at::3])],
            {
                "ids": {"email": "email"},
                "policy": {"min_cohort": 20, "noise": "optional", "rho_per_month": 500}
                | (policy or {}),
                "attributes": {
                    column: {"kind": "number", "category": "purchases", "bounds": [lo, hi],
                             "decimals": decimals}
                    for column, (lo, hi, decimals) in bounds.items()
                },
            },
        )  # fmt: skip
    return found


def job(**changes):
    return {
        "job": "value", "purpose": "segmentation", "protocol": "ltv", "requester": "shop",
        "people": list(PARTIES), "privacy": {"noise": "off"}, "horizon": 39,
    } | changes  # fmt: skip


def simulated(rng, r=0.8, alpha=5.0, a=0.9, b=2.5):
    """frequency, recency and T of one person who does as BG/NBD says."""
    rate, stop, age = rng.gamma(r, 1 / alpha), rng.beta(a, b), rng.uniform(25, 39)
    x, at, last = 0, 0.0, 0.0
    while (at := at + rng.exponential(1 / rate)) < age:
        x, last = x + 1, at
        if rng.random() < stop:
            break
    return [str(x), f"{last:.2f}", f"{age:.2f}"]


def cdnow():
    with shared("cdnow_sample_summary.csv").open(encoding="utf-8") as file:
        return [[row[column] for column in COLUMNS] for row in csv.DictReader(file)]


async def test_cdnow_over_three_parties_gives_the_published_parameters(tmp_path):
    people = cdnow()
    async with World(tmp_path, companies(people)) as world:
        outcome = await world.run(**job())
        files = [
            pq.read_table(world.folder / p / "scores" / "value.parquet").to_pylist()
            for p in PARTIES
        ]
    assert outcome.state == "released", outcome.error
    found = outcome.result["parameters"]
    for model, want in (("bg_nbd", BG_NBD), ("gamma_gamma", GAMMA_GAMMA)):
        for name, value in want.items():
            assert found[model][name] == pytest.approx(value, rel=0.01), name
    assert outcome.result["cost"]["rounds"] < 20
    # Each company's own people, in the order of its rows.
    parameters = [found["bg_nbd"][name] for name in BG_NBD]
    p, q, v = (found["gamma_gamma"][name] for name in GAMMA_GAMMA)
    for at, lines in enumerate(files):
        own = people[at::3]
        assert [line["row"] for line in lines] == list(range(len(own)))
        for line, texts in list(zip(lines, own, strict=True))[:60]:
            x, t, age, m = map(float, texts)
            alive = ltv_oracle.p_alive(parameters, x, t, age)
            bought = ltv_oracle.expected(parameters, x, t, age, 39)
            worth = p * (v + x * m) / (p * x + q - 1)
            assert line["p_alive"] == pytest.approx(alive, rel=1e-6)
            assert line["expected_purchases"] == pytest.approx(bought, rel=1e-6)
            assert line["expected_value"] == pytest.approx(worth, rel=1e-6)
            assert line["clv"] == pytest.approx(bought * worth, rel=1e-6)


async def test_cdnow_with_noise_reports_its_error(tmp_path):
    people = cdnow()
    tables = companies(people, lowest=25)
    async with World(tmp_path, tables, noise=SeededNoise(1)) as world:
        outcome = await world.run(**job(privacy={"rho": 10}, discount=0.002))
        lines = pq.read_table(world.folder / "web" / "scores" / "value.parquet").to_pylist()
    assert outcome.state == "released", outcome.error
    assert outcome.result["cost"]["rounds"] == 1
    assert {own["remaining_rho"] for own in outcome.own.values()} == {490.0}
    for model, want in (("bg_nbd", BG_NBD), ("gamma_gamma", GAMMA_GAMMA)):
        found = outcome.result["parameters"][model]
        for name, value in want.items():
            error = found[name] / value - 1
            said = found["noise_errors"][name]
            print(f"{model} {name}: {found[name]:.3f}, off by {error:+.1%}, said ± {said:.3f}")
            assert abs(error) < 0.6, name
            assert said > 0
    assert all(line["clv"] < line["expected_purchases"] * line["expected_value"] + 1e-9
               for line in lines)  # fmt: skip


async def test_without_monetary_only_how_often(tmp_path):
    rows = [[*simulated(np.random.default_rng(i)), ""] for i in range(600)]
    columns = {"frequency": "frequency", "recency": "recency", "age": "T"}
    async with World(tmp_path, companies(rows)) as world:
        outcome = await world.run(**job(columns=columns))
        lines = pq.read_table(world.folder / "app" / "scores" / "value.parquet").to_pylist()
    assert outcome.state == "released", outcome.error
    assert list(outcome.result["parameters"]) == ["bg_nbd"]
    assert list(lines[0]) == ["row", "p_alive", "expected_purchases"]


async def test_data_that_determines_nothing_is_said_to(tmp_path):
    """Nobody came back; what else does not determine a model is in tests/protocol/test_ltv.py."""
    async with World(tmp_path, companies([["0", "0", "30", "0"]] * 120)) as world:
        outcome = await world.run(**job())
    assert outcome.state in ("refused", "failed")
    assert outcome.code == "below_min_cohort", outcome.error
    assert outcome.result is None
