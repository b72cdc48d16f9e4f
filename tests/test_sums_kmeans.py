"""Horizontal k-means over three parties is Lloyd's algorithm on the pooled table."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

from tests.reference.seeded_noise import SeededNoise
from tests.world import Company, World

PARTIES = ("shop", "web", "app")
FEATURES = ("age", "spend", "active")
BOUNDS = {"age": (0, 100), "spend": (-50, 5000)}
DECIMALS = {"shop": 2, "web": 1, "app": 2}


def tables(seed, sizes=(120, 90, 60), k=4, policy=None):
    """Companies, and the pooled table as float64."""
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    middles = rng.uniform((10, 0), (90, 4500), (k, 2))
    companies, pooled = {}, []
    for name, n in zip(PARTIES, sizes, strict=True):
        group = rng.integers(0, k, n)
        age = np.clip(rng.normal(middles[group, 0], 4), 0, 100).round(0)
        spend = np.clip(rng.normal(middles[group, 1], 150), -50, 5000).round(DECIMALS[name])
        active = rng.integers(0, 2, n)
        pooled.append(np.stack([age, spend, active], axis=1))
        companies[name] = Company(
            ["email", *FEATURES],
            [[f"{name}{i}@example.com", f"{age[i]:.0f}", f"{spend[i]:.2f}", str(active[i])]
             for i in range(n)],
            {
                "ids": {"email": "email"},
                "policy": {"min_cohort": 1, "noise": "optional", "rho_per_month": 500}
                | (policy or {}),
                "attributes": {
                    "age": {"kind": "number", "category": "demographics", "bounds": [0, 100]},
                    "spend": {"kind": "number", "category": "purchases", "bounds": [-50, 5000],
                              "decimals": DECIMALS[name]},
                    "active": {"kind": "flag", "category": "behaviour"},
                },
            },
        )  # fmt: skip
    return companies, np.concatenate(pooled)


def job(**changes):
    return {
        "job": "groups", "purpose": "segmentation", "protocol": "kmeans", "mode": "horizontal",
        "requester": "shop", "with": ["web", "app"], "k": 4, "iterations": 10,
        "features": {name: list(FEATURES) for name in PARTIES}, "privacy": {"noise": "off"},
    } | changes  # fmt: skip


def lloyd(x, init, iterations=10):
    """scikit-learn's own, from the same start and without its tolerance."""
    return KMeans(
        len(init), init=np.array(init), n_init=1, max_iter=iterations, tol=0, algorithm="lloyd"
    ).fit(x)


def labels(world, name="groups"):
    files = [pq.read_table(world.folder / p / "labels" / f"{name}.parquet") for p in PARTIES]
    return [label for file in files for label in file["label"].to_pylist()]


@pytest.mark.parametrize(("seed", "iterations"), [(1, 1), (2, 3), (3, 10)])
async def test_the_same_as_scikit_learn_on_the_pooled_table(tmp_path, seed, iterations):
    companies, x = tables(seed)
    init = x[np.random.default_rng(seed).choice(len(x), 4, replace=False)]
    want = lloyd(x, init, iterations)
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job(init=init.tolist(), iterations=iterations))
        found = labels(world)
    assert outcome.state == "released", outcome.error
    result = outcome.result
    assert np.abs(np.array(result["centres"]) - want.cluster_centers_).max() < 1e-6
    assert found == want.labels_.tolist()
    assert result["sizes"] == np.bincount(want.labels_, minlength=4).tolist()
    assert result["inertia"] == pytest.approx(want.inertia_, rel=1e-6)
    assert result["iterations"] == want.n_iter_


async def test_standardised_features(tmp_path):
    companies, x = tables(4)
    scaler = StandardScaler().fit(x)
    init = x[[0, 50, 130, 250]]
    want = lloyd(scaler.transform(x), scaler.transform(init))
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job(init=init.tolist(), scale="zscore"))
        found = labels(world)
    assert outcome.state == "released", outcome.error
    centres = scaler.inverse_transform(want.cluster_centers_)
    assert np.abs(np.array(outcome.result["centres"]) - centres).max() < 1e-6
    assert found == want.labels_.tolist()
    assert outcome.result["inertia"] == pytest.approx(want.inertia_, rel=1e-6)


async def test_a_number_of_clusters_is_chosen_by_inertia_and_people_without_a_value_wait(tmp_path):
    companies, x = tables(5)
    companies["web"].rows[7][2] = ""
    x = np.delete(x, 120 + 7, axis=0)
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job(k=[4, 2, 1], restarts=5, seed=3))
        found = labels(world)
    assert outcome.state == "released", outcome.error
    result = outcome.result
    inertia = {line["k"]: line["inertia"] for line in result["by_k"]}
    assert list(inertia) == [4, 2, 1]
    assert inertia[1] == pytest.approx(((x - x.mean(axis=0)) ** 2).sum(), rel=1e-6)
    assert inertia[4] < inertia[2] < inertia[1]
    assert inertia[4] == result["inertia"]
    assert result["k"] == 4
    assert found.pop(120 + 7) is None
    gaps = ((x[:, None] - np.array(result["centres"])[None]) ** 2).sum(axis=2)
    assert found == gaps.argmin(axis=1).tolist()


async def test_a_small_cluster_keeps_its_centre_and_its_size(tmp_path):
    companies, x = tables(6, k=3, policy={"min_cohort": 5})
    companies["app"].rows[0][1:3] = ["99", "-50.00"]
    x[210, :2] = (99, -50)
    init = [*x[[3, 60, 140]].tolist(), [100, -50, 0]]
    alone = np.argmin(((x[:, None] - np.array(init)[None]) ** 2).sum(axis=2), axis=1)
    assert 1 <= (alone == 3).sum() < 5
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job(init=init, iterations=1))
    assert outcome.result["centres"][3] == [100, -50, 0]
    assert outcome.result["sizes"][3] is None
    assert outcome.result["sizes_withheld"][3] == "below_min_cohort"


async def test_with_noise_every_iteration_is_paid_and_done(tmp_path):
    companies, x = tables(7, sizes=(1200, 900, 600))
    init = x[[0, 1, 2, 5]].tolist()
    async with World(tmp_path, companies, noise=SeededNoise(7)) as world:
        outcome = await world.run(**job(init=init, iterations=3, privacy={"rho": 20}))
    assert outcome.state == "released", outcome.error
    result = outcome.result
    assert result["cost"]["rounds"] == 4
    assert {own["remaining_rho"] for own in outcome.own.values()} == {480.0}
    # Formula 7: an iteration has 5 rho; counts get 1/(1+√9) of it, sums the rest over d = 3.
    sigmas = result["privacy"]["sigmas"]
    assert sigmas["count"] == pytest.approx(np.sqrt(3 / (2 * 5 / 4)), rel=1e-3)
    assert sigmas["sum:age"] == pytest.approx(50 * np.sqrt(3 * 3 / (2 * 5 * 3 / 4)), rel=1e-3)
    want = lloyd(x, init, 3)
    assert np.abs(np.array(result["centres"]) - want.cluster_centers_)[:, 0].max() < 2
    # Half of 5 rho over three parties, in units of the largest distance the bounds allow.
    unit = 100**2 + 5050**2 + 1
    assert result["inertia_sigma"] == pytest.approx(unit * np.sqrt(3 / (2 * 2.5)), rel=1e-3)
    assert abs(result["inertia"] - want.inertia_) < 4 * result["inertia_sigma"]


async def test_a_budget_that_rounds_to_nothing_is_refused(tmp_path):
    companies, _ = tables(8)
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job(privacy={"rho": 1e-9}, restarts=20))
    assert (outcome.state, outcome.code) == ("refused", "budget_too_small")
