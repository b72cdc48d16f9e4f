"""Exact k-means over the same people through the whole service: labels of the pooled table at
both companies, centres and sizes through the gate, refusals in words."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from sklearn.cluster import KMeans
from sklearn.preprocessing import StandardScaler

from coordinator.protocols import exact
from protocol.errors import BadInput
from tests.faulty_world import KILL_NODE, MADE, FaultyWorld, once
from tests.reference.lloyd_oracle import lloyd
from tests.test_faults_gates import at
from tests.world import Company, World

POLICY = {"min_cohort": 1, "noise": "optional", "reveal": "members"}
FEATURES = {"media": ["minutes", "clicks"], "shop": ["spend", "vip"]}
NAMES = ["media/minutes", "media/clicks", "shop/spend", "shop/vip"]


def tables(seed, common=60, policy=None):
    """Two companies, and of the people in common the pooled table and the rows at each.

    Two people lack a feature, at one company each, and so take part nowhere.
    """
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    middle = rng.integers(0, 3, common)
    minutes = np.clip(rng.normal(100 + 200 * middle, 40), 0, 600).round(0)
    clicks = rng.integers(0, 50, common)
    spend = np.clip(rng.normal(100 + 150 * middle, 60), 0, 900).round(2)
    vip = rng.integers(0, 2, common)
    shop = [[f"p{i}@example.com", f"{spend[i]:.2f}", str(vip[i])] for i in range(common)]
    media = [[f" P{i}@Example.com", f"{minutes[i]:.0f}", str(clicks[i])] for i in range(common)]
    shop[3][1], media[5][2] = "", ""
    shop += [[f"s{i}@example.com", "10", "0"] for i in range(11)]
    media += [[f"m{i}@example.com", "20", "3"] for i in range(17)]
    orders = {"shop": rng.permutation(len(shop)), "media": rng.permutation(len(media))}
    companies = {
        "shop": Company(
            ["email", "spend", "vip"],
            [shop[i] for i in orders["shop"]],
            {
                "ids": {"email": "email"}, "policy": POLICY | (policy or {}),
                "attributes": {
                    "spend": {"kind": "number", "category": "purchases", "bounds": [0, 900],
                              "decimals": 2},
                    "vip": {"kind": "flag", "category": "purchases"},
                },
            },
        ),
        "media": Company(
            ["mail", "minutes", "clicks"],
            [media[i] for i in orders["media"]],
            {
                "ids": {"email": "mail"}, "policy": POLICY,
                "attributes": {
                    "minutes": {"kind": "number", "category": "behaviour", "bounds": [0, 600]},
                    "clicks": {"kind": "number", "category": "behaviour", "bounds": [0, 50]},
                },
            },
        ),
    }  # fmt: skip
    both = [i for i in range(common) if i not in (3, 5)]
    x = np.stack([minutes, clicks, spend, vip], axis=1)[both]
    rows = {name: np.argsort(order)[both] for name, order in orders.items()}
    return companies, x, rows


def job(**changes):
    return {
        "job": "groups", "purpose": "segmentation", "protocol": "kmeans", "mode": "exact",
        "requester": "shop", "with": ["media"], "k": 3, "features": FEATURES,
        "match": {"on": ["email"]}, "privacy": {"noise": "off"},
    } | changes  # fmt: skip


def labels(world, party):
    """Row → label."""
    file = pq.read_table(world.folder / party / "labels" / "groups.parquet")
    rows = file["row"].to_pylist()
    assert rows == sorted(rows)
    return dict(zip(rows, file["label"].to_pylist(), strict=True))


def assert_labels(world, rows, expected):
    for name, places in rows.items():
        assert labels(world, name) == dict(zip(places.tolist(), expected, strict=True))


@pytest.mark.parametrize(
    ("iterations", "mode", "requester"), [(1, "ecdh", "media"), (10, "keyed", "shop")]
)
async def test_the_same_as_lloyd_on_the_pooled_table(tmp_path, iterations, mode, requester):
    companies, x, rows = tables(iterations + 4)
    start = x[[0, 1, 2]]
    exact = [[[Fraction(str(v)) for v in row] for row in table.tolist()] for table in (x, start)]
    steps = lloyd(*exact, iterations + 1)
    want = KMeans(3, init=start, n_init=1, max_iter=iterations, tol=0, algorithm="lloyd").fit(x)
    async with World(tmp_path, companies) as world:
        outcome = await world.run(
            **job(init=start.tolist(), iterations=iterations, requester=requester,
                  match={"on": ["email"], "mode": mode},
                  **{"with": [({"shop", "media"} - {requester}).pop()]})
        )  # fmt: skip
        assert outcome.state == "released", outcome.error
        assert_labels(world, rows, want.labels_.tolist())
    result = outcome.result
    assert want.labels_.tolist() == steps[want.n_iter_][0]
    assert result["features"] == NAMES
    assert result["overlap"] == {"count": len(x), "withheld": None}
    assert np.abs(np.array(result["centres"]) - want.cluster_centers_).max() < 1e-9
    assert result["sizes"] == np.bincount(want.labels_, minlength=3).tolist()
    assert result["inertia"] == pytest.approx(want.inertia_, rel=1e-9)
    assert result["iterations"] == want.n_iter_
    assert result["privacy"]["noise"] == "off"


async def test_standardised_features_and_a_start_that_nobody_chose(tmp_path):
    companies, x, rows = tables(4)
    scaler = StandardScaler().fit(x)
    start = x[[0, 10, 20]]
    want = KMeans(3, init=scaler.transform(start), n_init=1, max_iter=10, tol=0,
                  algorithm="lloyd").fit(scaler.transform(x))  # fmt: skip
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job(init=start.tolist(), scale="zscore"))
        assert outcome.state == "released", outcome.error
        assert_labels(world, rows, want.labels_.tolist())
        chosen = await world.run(**job(job="again", k=8, seed=3, iterations=1))
    centres = scaler.inverse_transform(want.cluster_centers_)
    assert np.abs(np.array(outcome.result["centres"]) - centres).max() < 1e-9
    assert outcome.result["inertia"] == pytest.approx(want.inertia_, rel=1e-9)
    assert chosen.state == "released", chosen.error
    assert sum(chosen.result["sizes"]) == len(x)


async def test_small_clusters_stay_inside_and_their_centres_with_them(tmp_path):
    companies, x, _ = tables(6, policy={"min_cohort": 5})
    start = [*x[[0, 1]].tolist(), [0, 50, 900, 1]]
    gaps = ((x[:, None] - np.array(start)[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert np.bincount(gaps, minlength=3)[2] < 5
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job(init=start, iterations=1))
        assert outcome.state == "released", outcome.error
        # Rule 4, at the requester too, whose features the labels speak of.
        await world.desks["shop"].consent(
            "email", "p9@example.com", "all", "media", "all", "withdrawn"
        )
        again = await world.run(**job(job="again", init=start, iterations=1))
    result = outcome.result
    assert result["sizes"][2] is None
    assert result["sizes_withheld"][2] == "below_min_cohort"
    assert result["centres"][2] is None
    assert (again.state, again.code) == ("refused", "exact_difference")


@pytest.mark.parametrize(
    ("policy", "code"),
    [({"noise": "required"}, "noise_required"), ({"reveal": "hidden"}, "reveal_not_allowed")],
)
async def test_every_policy_must_allow_it(tmp_path, policy, code):
    companies, _, _ = tables(7, common=12)
    companies["media"].config["policy"] = POLICY | policy
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job())
        assert not (world.folder / "shop" / "labels").exists()
    assert (outcome.state, outcome.code) == ("refused", code)
    assert outcome.error["party"] == "media"
    assert outcome.error["next_step"]


async def test_a_withdrawal_on_the_way_starts_the_job_again_without_that_person(tmp_path):
    companies, x, rows = tables(8)
    start = x[[0, 1, 2]]
    gone = 17
    want = KMeans(3, init=start, n_init=1, max_iter=2, tol=0, algorithm="lloyd").fit(
        np.delete(x, gone, axis=0)
    )
    mail = companies["media"].rows[rows["media"][gone]][0].strip().lower()

    def withdraw(moment):
        if moment.attempt == 1:
            world.withdraw("media", "email", mail)

    async with FaultyWorld(tmp_path, companies, on=at("distances/2/media", withdraw)) as world:
        outcome = await world.run(**job(init=start.tolist(), iterations=2))
        assert outcome.state == "released", outcome.error
        kept = {name: np.delete(places, gone) for name, places in rows.items()}
        assert_labels(world, kept, want.labels_.tolist())
    assert outcome.result["privacy"]["attempts"] == 2


async def test_plans_say_what_is_learned_and_bad_jobs_do_not_run(tmp_path):
    companies, _, _ = tables(9, common=12)
    async with World(tmp_path, companies) as world:
        plan = await world.run(dry_run=True, **job())
        other = await world.run(dry_run=True, **job(purpose="audience_insight"))
        with pytest.raises(BadInput, match="shop has no attribute nothing"):
            await world.run(**job(features={"shop": ["nothing"], "media": ["clicks"]}))
    learns = plan.result["learns"]
    assert "in which of 3 segments" in learns["media"]
    assert "without noise" in learns["shop"]
    assert "the other's distances" in learns["coordinator"]
    assert {refusal["code"] for refusal in other.result["refusals"]} == {"reveal_not_allowed"}
    assert plan.result["bytes"]["shop"] > 11 * 64 * 3 * 8


async def test_nodes_killed_at_every_step_make_the_same(tmp_path):
    companies, x, rows = tables(10, common=24)
    start = x[[0, 1, 2]]
    want = KMeans(3, init=start, n_init=1, max_iter=1, tol=0, algorithm="lloyd").fit(x)
    async with FaultyWorld(tmp_path, companies, on=once(MADE, KILL_NODE)) as world:
        outcome = await world.run(**job(init=start.tolist(), iterations=1))
        await world.assert_over(outcome)
        killed = {step for _, _, step, _ in world.kills}
        assert_labels(world, rows, want.labels_.tolist())
    assert {"distances/1/media", "distances/2/shop", "closing/2/media", "conclude/2"} <= killed
    assert outcome.result["sizes"] == np.bincount(want.labels_, minlength=3).tolist()


async def test_a_coordinator_that_ends_early_gets_no_centres(tmp_path, monkeypatch):
    companies, x, _ = tables(11, common=24)
    monkeypatch.setattr(exact, "_agreed", lambda heads: (True, False))
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job(init=x[[0, 1, 2]].tolist()))
    assert (outcome.state, outcome.code) == ("failed", "equivocation")
    assert "before the last round" in outcome.error["cause"]
