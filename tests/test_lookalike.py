"""Whole lookalikes in the in-memory world, beside scikit-learn on the joined table.

Protects protocols.md section 4 (lookalike): without noise the scores are those of a central
logistic regression; the requester gets no score; both gates, both ledgers and the curve's rules.
"""

import asyncio
import random

import numpy as np
import pyarrow.parquet as pq
import pytest

from assent import show
from assent.report import render
from party_node import handlers, steps_lookalike
from tests.reference import job_oracle, lookalike_oracle
from tests.reference.seeded_noise import SeededNoise
from tests.world import Company, World

TOPICS = ["travel", "food", "games"]
BOUNDS = (-50, 600)


def companies(seed, n_left=90, n_right=150, *, policy=None, vips=0.6, bounds=BOUNDS):
    """Seeds like travel and many minutes; gaps in everything, an ambiguous e-mail."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    people = [(f"p{i}@example.com", f"+8613800{i:06d}") for i in range(max(n_left, n_right) + 20)]

    def ids(i):
        email, phone = people[i]
        return [email if rng.random() > 0.1 else "", phone if rng.random() > 0.1 else ""]

    taste = {i: rng.choice(TOPICS) for i in range(len(people))}
    left = [
        [*ids(i), "1" if rng.random() < vips * (1.5 if taste[i] == "travel" else 0.6) else "0"]
        for i in rng.sample(range(len(people)), n_left)
    ]
    right = [
        [*ids(i), "" if rng.random() < 0.05 else taste[i],
         "" if rng.random() < 0.1 else f"{rng.gauss(200, 150) + 80 * (taste[i] == 'travel'):.1f}",
         rng.choice(["1", "0", ""])]
        for i in rng.sample(range(len(people)), n_right)
    ]  # fmt: skip
    left[1][0] = left[0][0]
    policy = {"min_cohort": 1, "noise": "optional", "rho_per_month": 5} | (policy or {})
    common = {"default_region": "CN", "ids": {"email": "email", "phone": "phone"}, "policy": policy}
    return {
        "shop": Company(
            ["email", "phone", "vip"],
            left,
            common | {"attributes": {"vip": {"kind": "flag", "category": "purchases"}}},
        ),
        "media": Company(
            ["email", "phone", "topic", "minutes", "app"],
            right,
            common
            | {
                "attributes": {
                    "topic": {"kind": "label", "category": "content", "values": TOPICS},
                    "minutes": {"kind": "number", "category": "behaviour", "decimals": 1,
                                "bounds": list(bounds)},
                    "app": {"kind": "flag", "category": "device"},
                }
            },
        ),
    }  # fmt: skip


def job(**changes):
    return {
        "job": "vips", "purpose": "lookalike_modelling", "protocol": "lookalike",
        "requester": "shop", "with": ["media"], "seed_flag": "shop/vip",
        "features": ["media/minutes", "media/topic", "media/app"],
        "privacy": {"noise": "off"},
    } | changes  # fmt: skip


COLUMNS = [
    lambda row: min(max(float(row["minutes"]), BOUNDS[0]), BOUNDS[1]) if row["minutes"] else None,
    *(lambda row, word=word: float((row["topic"] or "unknown") == word)
      for word in [*TOPICS, "unknown"]),
    lambda row: float(row["app"] == "1"),
]  # fmt: skip


def rows_of(company):
    return [dict(zip(company.columns, row, strict=True)) for row in company.rows]


def central(tables, l2=1.0, without=None):
    """without: party → a row that takes no part."""
    left, right = rows_of(tables["shop"]), rows_of(tables["media"])
    out = without or {}
    inside = [[i != out.get(party) for i in range(len(tables[party].rows))] for party in tables]
    matched = job_oracle.pairs(left, right, ["phone", "email"], *inside)
    seeds = {right_row for left_row, right_row in matched if left[left_row]["vip"] == "1"}
    people = permitted(right)
    people.pop(out.get("media"), None)
    return lookalike_oracle.central(people, seeds, COLUMNS, l2), seeds


def permitted(rows):
    """`consents: all` is about people; a row without any identifier is nobody's."""
    return {i: row for i, row in enumerate(rows) if row["email"] or row["phone"]}


def scores_at(world, name="vips"):
    table = pq.read_table(world.folder / "media" / "scores" / f"{name}.parquet")
    return dict(zip(table["row"].to_pylist(), table["score"].to_pylist(), strict=True))


@pytest.mark.parametrize("mode", ["keyed", "ecdh"])
async def test_scores_equal_a_central_logistic_regression(tmp_path, mode):
    tables = companies(1)
    match = {"on": ["phone", "email"], "mode": mode}
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job(match=match, l2=0.5, curve=4))
        found = scores_at(world)
        record = world.desks["media"].record(outcome.job_id)
        assert not (world.folder / "shop" / "scores").exists()
    assert outcome.state == "released", outcome.error
    (scores, weights, intercept), seeds = central(tables, 0.5)
    assert len(seeds & set(scores)) >= 25
    # Everybody of the provider who may take part; null for who lacks a feature.
    assert set(found) == set(permitted(rows_of(tables["media"])))
    assert {row for row, score in found.items() if score is not None} == set(scores)
    assert max(abs(found[row] - score) for row, score in scores.items()) < 1e-6
    model = record["result"]["model"]
    assert model["seeds"] == len(seeds & set(scores))
    assert model["intercept"] == pytest.approx(intercept, abs=1e-6)
    assert list(model["weights"].values()) == pytest.approx(weights, abs=1e-6)
    # The requester gets the curve, and nothing of the model.
    assert "model" not in outcome.result
    assert "weights" not in str(outcome.result)
    counts = lookalike_oracle.reach(scores, seeds, 4)
    curve = outcome.result["curve"]
    assert [p["seeds"] for p in curve] == np.cumsum(counts).tolist()
    assert [p["reach"] for p in curve] == [0.25, 0.5, 0.75, 1.0]
    assert curve[0]["lift"] == pytest.approx(4 * counts[0] / sum(counts))
    shares = np.cumsum([0, *counts]) / sum(counts)
    assert outcome.result["auc"] == pytest.approx((shares[1:] + shares[:-1]).sum() / 8)
    assert outcome.result["auc"] > 0.55


async def test_noise_costs_both_ledgers_and_auc_and_lift_are_reported(tmp_path, capsys):
    tables = companies(2, 300, 500, policy={"noise": "required", "min_cohort": 10})
    asked = job(curve=5, privacy={"rho": 1.0})
    async with World(tmp_path, tables, noise=SeededNoise(2)) as world:
        outcome = await world.run(**asked)
        again = await world.run(**asked)
        record = world.desks["media"].record(outcome.job_id)
        found = scores_at(world)
    assert outcome.state == "released", outcome.error
    assert again.result["answered_from_store"]
    privacy = outcome.result["privacy"]
    sigma = (4 / (2 * 1.0)) ** 0.5  # m = 1 + 3 features, the label is one
    assert privacy["sigmas"]["seeds"] == pytest.approx(sigma, rel=1e-4)
    assert privacy["sigmas"]["sum:media/minutes"] == pytest.approx(325 * sigma, rel=1e-3)
    assert privacy["sigmas"]["curve"] == pytest.approx(1.0, rel=1e-4)  # overlap and count
    _, seeds = central(tables)
    model = record["result"]["model"]
    assert model["seeds"] != len(seeds)
    assert abs(model["seeds"] - len(seeds)) < 10 * sigma + len(seeds) / 4  # some lack minutes
    assert all(0 < score < 1 for score in found.values() if score is not None)
    assert outcome.result["curve"][-1]["reach"] == 1.0
    page = render([outcome.result, record["result"]], title="like the vips")
    assert "Reach and lift" in page
    assert "encrypted sums of seeds" in page
    show.result(outcome.result)
    show.result(record["result"])
    shown = capsys.readouterr().out
    assert f"{outcome.result['auc']:.2f}" in shown.partition("AUC, seeds against everybody")[2]
    assert "media/topic=travel" in shown.partition("Weights")[2]
    assert outcome.result["auc"] == pytest.approx(model["expected_auc"], abs=0.1)
    assert {p: own["remaining_rho"] for p, own in again.own.items() if "remaining_rho" in own} == {}
    assert (outcome.own["shop"]["remaining_rho"], outcome.own["media"]["remaining_rho"]) == (4, 4)


@pytest.mark.parametrize(
    ("change", "code", "party"),
    [
        ({"policy": {"noise": "required"}}, "noise_required", "media"),
        ({"vips": 0.2}, "too_few_seeds", "shop"),  # under 25 of the requester's own
        ({"policy": {"min_cohort": 70}, "vips": 0.5}, "too_few_seeds", "shop"),
        ({"n_right": 40}, "too_few_seeds", "media"),  # enough seeds, few of them in common
    ],
)
async def test_a_gate_refuses(tmp_path, change, code, party):
    change = dict(change)
    policy = change.pop("policy", {})
    tables = companies(4, **change, policy={k: v for k, v in policy.items() if k == "min_cohort"})
    tables["media"].config["policy"] = tables["media"].config["policy"] | policy
    if change.get("n_right"):
        # Strangers who are seeds: eligible at the requester, unknown to the provider.
        tables["shop"].rows += [[f"x{i}@example.com", "", "1"] for i in range(40)]
        for row in tables["shop"].rows[:75]:
            row[2] = "0"
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job())
        assert not (world.folder / "media" / "scores").exists()
    assert (outcome.state, outcome.code, outcome.error["party"]) == ("refused", code, party)


@pytest.mark.parametrize("party", ["shop", "media"])
async def test_who_withdraws_during_a_job_is_left_out(tmp_path, party):
    """The requester leaves the seed out of its sums; at the provider everything starts anew."""
    tables = companies(5)
    left, right = rows_of(tables["shop"]), rows_of(tables["media"])
    pairs = job_oracle.pairs(left, right, ["phone", "email"], [True] * 90, [True] * 150)
    # A seed in common whom the phone finds, so that nobody else is who has that phone.
    pair = next((a, b) for a, b in pairs if left[a]["vip"] == "1" and right[b]["minutes"]
                and left[a]["phone"] == right[b]["phone"])  # fmt: skip
    gone = pair[party == "media"]
    phone = tables[party].rows[gone][1]
    done = []
    async with World(tmp_path, tables) as world:
        loop, features = asyncio.get_running_loop(), handlers.STEPS["features"]

        def withdrawing(session, task):
            if not done:
                leaving = world.gates[party].withdraw("phone", phone)
                done.append(asyncio.run_coroutine_threadsafe(leaving, loop).result(10))
            return features(session, task)

        node = world.nodes["media"]
        node.runner._handlers["features"] = handlers._bound(node.ctx, withdrawing)
        outcome = await world.run(**job())
        found = scores_at(world)
    assert outcome.state == "released", outcome.error
    assert outcome.result["privacy"]["attempts"] == (2 if party == "media" else 1)
    (scores, _, _), _ = central(tables, without={party: gone})
    assert {row for row, score in found.items() if score is not None} == set(scores)
    assert max(abs(found[row] - score) for row, score in scores.items()) < 1e-6
    (everybody, _, _), _ = central(tables)
    assert max(abs(everybody[row] - score) for row, score in scores.items()) > 1e-4


async def test_a_key_without_its_proof_is_not_used(tmp_path, monkeypatch):
    def unproven(key, context):
        return [(2).to_bytes(key.public.plaintext_width, "little")] * 7

    monkeypatch.setattr(steps_lookalike.proof, "prove", unproven)
    async with World(tmp_path, companies(5)) as world:
        outcome = await world.run(**job())
    assert (outcome.code, outcome.error["party"]) == ("bad_key", "shop")


async def seen_by_coordinator(folder, tables):
    """Sizes of everything that lay at the coordinator at the job's end, and all its bytes."""
    sizes, data = [], []
    async with World(folder, tables, noise=SeededNoise(8)) as world:
        delete = type(world.coordinator.files).delete_job

        def keep(files, ended):
            for path in folder.glob("coordinator/**/*"):
                if path.is_file():
                    data.append(path.read_bytes())
                    sizes.extend([path.stat().st_size] if "artifacts" in path.parts else [])
            delete(files, ended)

        type(world.coordinator.files).delete_job = keep
        try:
            outcome = await world.run(**job(curve=3, privacy={"rho": 4}))
            await world.until(lambda: data)
        finally:
            type(world.coordinator.files).delete_job = delete
    assert outcome.state == "released", outcome.error
    return sorted(sizes), b"".join(data)


async def test_the_coordinator_sees_rounded_sizes_and_ciphertexts(tmp_path):
    """The same sizes for other seeds, features and matches; no word of the question, no score."""
    few, everybody = companies(8, vips=0.6), companies(9, vips=5)
    for row in everybody["media"].rows[1:]:
        row[3], row[4] = "17.0", "1"
    everybody["media"].rows[0][3] = ""  # that there are gaps is said in the offer
    one, data = await seen_by_coordinator(tmp_path / "few", few)
    other, _ = await seen_by_coordinator(tmp_path / "everybody", everybody)
    assert one == other
    assert max(one) > 50_000  # the features were among them
    for word in (b"vip", b"minutes", b"travel", b"score", b"example.com", b"+86138"):
        assert word not in data


async def test_plans_payment_and_exact_sums_that_differ_by_one_person(tmp_path):
    tables = companies(6, policy={"min_cohort": 5})
    async with World(tmp_path, tables, noise=SeededNoise(6)) as world:
        plan = await world.run(dry_run=True, **job())
        noisy = await world.run(dry_run=True, **job(curve=10, privacy={"rho": 0.5}))
        paid = await world.run(**job(privacy={"rho": 2.0}))
        over = await world.run(dry_run=True, **job(job="more", privacy={"rho": 3.5}))
        first = await world.run(**job())
        person = next(row[0] for row in tables["shop"].rows if row[2] == "1" and row[0])
        await world.desks["shop"].consent("email", person, "all", "all", "all", "withdrawn")
        second = await world.run(**job())
    # The plan says that exact sums show who the seeds are.
    assert plan.state == noisy.state == "released", plan.error
    assert "work out who of its customers the seeds are" in plan.result["learns"]["media"]
    assert any("who the seeds are" in warning for warning in plan.result["warnings"])
    assert "10 equal bands" in noisy.result["learns"]["shop"]
    assert noisy.result["ciphertexts"] > plan.result["ciphertexts"]
    assert set(noisy.result["learns"]) == {"shop", "media", "coordinator"}
    # Without a curve the requester pays alone.
    assert paid.state == "released", paid.error
    assert "curve" not in paid.result
    assert "remaining_rho" not in paid.own["media"]
    assert paid.own["shop"]["remaining_rho"] == 3
    assert [(r["party"], r["code"]) for r in over.result["refusals"]] == [
        ("shop", "budget_exhausted")
    ]
    assert first.state == "released", first.error
    assert (second.code, second.error["party"]) == ("exact_difference", "shop")
