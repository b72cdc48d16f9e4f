"""k-means `grid` over two companies as whole jobs: the same as one person's; gates; views."""

from __future__ import annotations

import asyncio
import json
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest

from party_node import handlers, steps_grid
from protocol.transport.port import StepKey
from protocol.wire import grid_pb2
from tests.reference import grid_oracle
from tests.reference.seeded_noise import SeededNoise
from tests.world import Company, World

POLICY = {"min_cohort": 5, "noise": "optional", "rho_per_month": 50}
FEATURES = {"media": ["minutes", "visits"], "shop": ["spend", "vip"]}
ORDER = ["media/minutes", "media/visits", "shop/spend", "shop/vip"]
STEPS = (
    "offer", "admit", "key", "tokens", "encrypt_cells", "recheck", "aggregate_cells", "segments",
    "label", "open_segments",
)  # fmt: skip
INIT = [[50, 5, 100, 0], [300, 20, 600, 1], [500, 40, 300, 0]]


def tables(seed, common=150, own=30, policy=None):
    """Companies that share `common` people, in another order at each; groups that both see."""
    print(f"seed {seed}")
    rng = np.random.default_rng(seed)
    group = rng.integers(0, 3, common + 2 * own)
    middle = np.array([[60, 6, 120, 0.1], [320, 22, 640, 0.8], [520, 38, 280, 0.3]])[group]
    minutes = np.clip(rng.normal(middle[:, 0], 60), 0, 600).round(1)
    visits = np.clip(rng.normal(middle[:, 1], 4), 0, 60).round()
    spend = np.clip(rng.normal(middle[:, 2], 70), 0, 1000).round(2)
    vip = (rng.random(len(group)) < middle[:, 3]).astype(int)
    shop = [[f"p{i}@example.com", f"{spend[i]:.2f}", str(vip[i])] for i in range(common + own)]
    media = [
        [f"p{i}@example.com", f"{minutes[i]:.1f}", f"{visits[i]:.0f}"]
        for i in [*range(common), *range(common + own, common + 2 * own)]
    ]
    shop[3][1] = ""  # no spend known: takes no part
    rng.shuffle(shop)
    rng.shuffle(media)
    number = {"kind": "number", "category": "purchases"}
    return {
        "shop": Company(
            ["email", "spend", "vip"], shop,
            {"ids": {"email": "email"}, "policy": POLICY | (policy or {}), "attributes": {
                "spend": number | {"bounds": [0, 1000], "decimals": 2},
                "vip": {"kind": "flag", "category": "purchases"},
                "tier": number | {"column": "spend", "kind": "label"}}},
        ),
        "media": Company(
            ["email", "minutes", "visits"], media,
            {"ids": {"email": "email"}, "policy": POLICY, "attributes": {
                "minutes": number | {"bounds": [0, 600], "decimals": 1},
                "visits": number | {"bounds": [0, 60]}}},
        ),
    }  # fmt: skip


class NotedNoise(SeededNoise):
    def __init__(self, seed):
        super().__init__(seed)
        self.drawn = []

    def sample(self, scale, n):
        self.drawn.append((scale, n))
        return super().sample(scale, n)


def job(**changes):
    return {
        "job": "segments", "purpose": "segmentation", "protocol": "kmeans", "mode": "grid",
        "requester": "shop", "with": ["media"], "match": {"on": ["email"]}, "k": 3, "cells": 5,
        "features": FEATURES, "privacy": {"noise": "off"}, "init": INIT,
    } | changes  # fmt: skip


def labels(world, party):
    file = pq.read_table(world.folder / party / "labels" / "segments.parquet")
    return dict(zip(file["row"].to_pylist(), file["label"].to_pylist(), strict=True))


def alone(companies, zscore):
    """The same job by one person with both tables open, to its end."""
    points, cells = {}, {}
    for party, company in companies.items():
        known = [i for i, row in enumerate(company.rows) if "" not in row]
        numbers = [[float(text) for text in company.rows[i][1:]] for i in known]
        codes, centres, deviation, around = grid_oracle.local_cells(numbers, 5, 5, zscore)
        of_row = dict(zip(known, codes, strict=True))
        points[party] = {company.rows[i][0]: code for i, code in of_row.items()}
        cells[party] = (of_row, centres, deviation, around)
    common = points["shop"].keys() & points["media"].keys()
    weights: dict[tuple[int, int], int] = {}
    for person in common:
        pair = points["media"][person], points["shop"][person]
        weights[pair] = weights.get(pair, 0) + 1
    around = (cells["media"][3], cells["shop"][3])
    at, left = grid_oracle.pair_points(cells["media"][1], cells["shop"][1], weights, around)
    grid = [at[pair] for pair in weights]
    deviation = cells["media"][2] + cells["shop"][2]
    weight = [1 / v**2 if zscore else 1.0 for v in deviation]
    people = list(weights.values())
    centres, segment, inertia = grid_oracle.lloyd(grid, people, INIT, weight)
    inertia += len(common) * sum(w * a for w, a in zip(weight, left, strict=True))
    sizes = [0, 0, 0]
    votes: dict[str, dict[int, list[int]]] = {"media": {}, "shop": {}}
    for (m, s), found in zip(weights, segment, strict=True):
        sizes[found] += weights[m, s]
        votes["media"].setdefault(m, [0, 0, 0])[found] += weights[m, s]
        votes["shop"].setdefault(s, [0, 0, 0])[found] += weights[m, s]
    said = {
        party: {row: votes[party][code].index(max(votes[party][code]))
                for row, code in cells[party][0].items()}
        for party in companies
    }  # fmt: skip
    return centres, sizes, inertia, said, len(common)


async def test_without_noise_it_is_what_one_person_would_find(tmp_path):
    companies = tables(1)
    async with World(tmp_path, companies) as world:
        for settings in ({}, {"scale": "zscore"}):
            outcome = await world.run(**job(**settings))
            assert outcome.state == "released", outcome.error
            check_equal(outcome.result, world, companies, zscore=bool(settings))
        record = world.nodes["media"].ctx.records.record(outcome.job_id)
        kept = b"".join(
            path.read_bytes() for path in (tmp_path / "coordinator").rglob("*") if path.is_file()
        )
    # The other company has no result and no centre; the coordinator not even the question.
    assert record.get("result") is None
    shown = json.dumps(record)
    for centre in outcome.result["centres"]:
        assert not any(repr(number) in shown for number in centre)
    for word in ("minutes", "spend", "vip"):
        assert word.encode() not in kept


def check_equal(result, world, companies, *, zscore):
    centres, sizes, inertia, said, common = alone(companies, zscore)
    assert result["features"] == ORDER
    assert np.abs(np.array(result["centres"]) - centres).max() < 1e-5
    assert result["sizes"] == sizes
    assert result["overlap"] == {"count": common, "withheld": None}
    assert result["inertia"] == pytest.approx(inertia, rel=1e-6)
    missing = next(i for i, row in enumerate(companies["shop"].rows) if row[1] == "")
    assert labels(world, "shop") == said["shop"] | {missing: None}
    assert labels(world, "media") == said["media"]
    assert result["privacy"]["noise"] == "off"
    assert result["match"]["reveal"] == "hidden"


async def test_with_noise_both_pay_and_nothing_but_what_the_page_says_crosses(
    tmp_path, monkeypatch
):
    companies = tables(2)
    heard: dict[str, list[bytes]] = {}
    noise, drawn = NotedNoise(5), {}
    for kind in ("aggregate_cells", "segments"):
        step = handlers.STEPS[kind]

        def watched(session, task, step=step, kind=kind):
            seal = type(session).seal

            def heard_seal(self, recipient, name, data):
                heard.setdefault(name, []).append(data)
                return seal(self, recipient, name, data)

            with monkeypatch.context() as inner:
                inner.setattr(type(session), "seal", heard_seal)
                before = len(noise.drawn)
                made = step(session, task)
                drawn[kind] = noise.drawn[before:]
                return made

        monkeypatch.setitem(handlers.STEPS, kind, watched)
    async with World(tmp_path, companies, noise=noise) as world:
        outcome = await world.run(**job(privacy={"rho": 10}, seed=1, init="auto"))
        plan = await world.run(dry_run=True, **job(privacy={"rho": 10}))
        # The stored answer: the same question of the same people is not paid twice.
        again = await world.run(**job(privacy={"rho": 10}, seed=1, init="auto"))
        spent = {
            party: node.ctx.records.record(outcome.job_id)["own"]["remaining_rho"]
            for party, node in world.nodes.items()
        }
    assert outcome.state == "released", outcome.error
    assert again.result["answered_from_store"] is True
    assert again.result["centres"] == outcome.result["centres"]
    assert spent == {"shop": 40.0, "media": 40.0}
    # To the requester: five means per feature, deviations and spreads; no count of people.
    assert set(heard) == {"aggregate_cells/media", "segments"}
    cells = grid_pb2.LocalCells.FromString(heard["aggregate_cells/media"][0])
    assert (len(cells.centres), len(cells.deviation), len(cells.spread)) == (10, 2, 2)
    # To the provider: a segment for each of its own cells, and nothing else.
    (said,) = heard["segments"]
    assert len(grid_pb2.CellSegments.FromString(said).segments) == 5
    assert len(said) == 2 + 5
    # Of counts under the noise of both: each draws for 5 × 5 cells and the overlap.
    rounds = [n for _, n in drawn["aggregate_cells"][:-2]]
    assert len(rounds) == 3 * (1 + 4 + 2)
    assert sorted(n for _, n in drawn["aggregate_cells"][-2:]) == [1, 25]
    assert sorted(n for _, n in drawn["segments"]) == [1, 25]
    assert {scale.rho for scale, _ in drawn["segments"]} == {Fraction(5, 2)}
    # σ: half of rho for the table, of two measures, by both parties; a quarter of 10 for each.
    sigmas = outcome.result["privacy"]["sigmas"]
    assert sigmas["count"] == pytest.approx(2**0.5 / (2 * 2.5) ** 0.5, rel=1e-5)
    assert set(sigmas) == {"overlap", "count", *(f"sum:{name}" for name in ORDER)}
    centres = np.array(outcome.result["centres"], dtype=float)
    assert sorted(centres[:, 0].round(-2).tolist()) == [100, 300, 500]
    assert plan.result["refusals"] == []
    assert plan.result["remaining_rho"] == {"shop": 40.0, "media": 40.0}
    assert "not the centres" in plan.result["learns"]["media"]


def sent(world, job_id):
    """(step, bytes) of every artifact, which is what the coordinator relays."""
    found = set()
    for node in world.nodes.values():
        for step in (*STEPS, *(f"{step}/{party}" for step in STEPS for party in world.nodes)):
            key = StepKey(job_id, 1, step)
            size = node.ctx.records.with_fact(f"sent.{key}").get(job_id)
            found |= {(step, size)} if size is not None else set()
    return found


async def test_what_the_coordinator_relays_has_the_same_size_for_other_people(tmp_path):
    """Nobody in common, everybody alike, so one cell each: no length says so."""
    sizes = []
    for name, seed in (("some", 8), ("none", 9)):
        companies = tables(seed, common=60, own=20)
        if name == "none":
            for number, row in enumerate(companies["media"].rows):
                row[:] = [f"other{number}@example.com", "77.0", "7"]
            for row in companies["shop"].rows:
                # Whether a column has a gap is in its offer, whose length shows it.
                row[1:] = ["50.00" if row[1] else "", "1"]
        async with World(tmp_path / name, companies, noise=SeededNoise(seed)) as world:
            outcome = await world.run(**job(privacy={"rho": 10}))
            assert outcome.state == "released", outcome.error
            sizes.append(sent(world, outcome.job_id))
    assert outcome.result["overlap"]["withheld"] == "below_min_cohort"
    assert outcome.result["sizes"] == [None] * 3
    assert outcome.result["centres"] == [None] * 3
    assert sizes[0] == sizes[1]
    assert {step.split("/")[0] for step, _ in sizes[0]} == set(STEPS)


async def test_what_is_not_allowed_or_cannot_be_is_refused(tmp_path, monkeypatch):
    companies = tables(4, common=40, own=2)
    companies["media"].config["policy"] = POLICY | {
        "noise": "required", "purposes": ["segmentation"],
    }  # fmt: skip
    said = steps_grid._said

    def outside(cells):
        message = grid_pb2.LocalCells.FromString(said(cells))
        message.centres[0] = 10_000.0
        return message.SerializeToString()

    async with World(tmp_path, companies) as world:
        exact = await world.run(**job())
        purpose = await world.run(**job(purpose="activation", privacy={"rho": 1}))
        monkeypatch.setattr(steps_grid, "_said", outside)
        lied = await world.run(**job(privacy={"rho": 1}))
    assert (exact.state, exact.code) == ("refused", "noise_required")
    assert (purpose.state, purpose.code) == ("refused", "purpose_not_allowed")
    assert (lied.state, lied.code) == ("failed", "bad_artifact")
    assert "local cells outside the bounds" in lied.error["cause"]


async def test_the_requesters_own_budget_and_exact_answers_are_gates_too(tmp_path):
    """The provider learns something of the requester's people, so the requester pays as well."""
    companies = tables(5, policy={"rho_per_month": 1})
    async with World(tmp_path, companies) as world:
        over = await world.run(**job(privacy={"rho": 2}))
        small = await world.run(**job(privacy={"rho": 0.0000001}))
        exact = await world.run(**job())
        await world.gates["shop"].withdraw("email", companies["shop"].rows[0][0])
        apart = await world.run(**job(job="next"))
        unfit = await world.run(
            **job(features={"shop": ["tier"], "media": ["visits"]}, init="auto")
        )
    assert (over.state, over.code) == ("refused", "budget_exhausted")
    assert over.error["party"] == "shop"
    assert (small.state, small.code) == ("refused", "budget_too_small")
    assert exact.state == "released", exact.error
    assert (apart.state, apart.code) == ("refused", "exact_difference")
    assert (unfit.state, unfit.code) == ("refused", "unknown_attribute")
    assert "shop/tier is a label" in unfit.error["cause"]


async def test_who_withdraws_before_the_sums_is_in_no_cell(tmp_path):
    companies = tables(6)
    gone = companies["media"].rows[0]
    async with World(tmp_path, companies) as world:
        loop, node = asyncio.get_running_loop(), world.nodes["media"]

        def withdrawing(session, task):
            leaving = world.gates["media"].withdraw("email", gone[0])
            asyncio.run_coroutine_threadsafe(leaving, loop).result(10)
            return steps_grid.aggregate_cells(session, task)

        node.runner._handlers["aggregate_cells"] = handlers._bound(node.ctx, withdrawing)
        outcome = await world.run(**job())
        found = labels(world, "media")
    before = alone(companies, zscore=False)[1]
    companies["media"].rows = companies["media"].rows[1:]
    centres, sizes, *_ = alone(companies, zscore=False)
    assert before != sizes
    assert outcome.state == "released", outcome.error
    assert np.abs(np.array(outcome.result["centres"]) - centres).max() < 1e-5
    assert outcome.result["sizes"] == sizes
    assert 0 not in found
