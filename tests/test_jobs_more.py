"""Whole jobs at their edges: many parties, odd tables, wide tables, plans, stored answers.

Everything is exact against the naive oracle where noise is off (protocols.md sections 1, 2
and 5).
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np
import pyarrow.parquet as pq
import pytest

from protocol.frames import parse_head
from protocol.wire import psi_pb2
from tests.faulty_world import MADE, FaultyWorld
from tests.many import FREE, TYPES, Case, as_dicts, company, people, person, several
from tests.reference import job_oracle
from tests.test_jobs import assert_equal, companies, crosstab_job, expected
from tests.world import Company, World

NOISY = {"privacy": {"noise": "on", "rho": 0.02}}
COST = 20_000_000
OFF = {"privacy": {"noise": "off"}}


def psi_job(**changes):
    return {
        "job": "common", "purpose": "overlap_measurement", "protocol": "psi", "requester": "shop",
        "with": ["media"], "match": {"on": ["phone", "email"], "mode": "keyed"}, **OFF,
    } | changes  # fmt: skip


# -- any table, any question -------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(100, 108))
async def test_a_random_question_over_random_tables(tmp_path, seed):
    """Joint labels and flags, nulls, negative bounds, 0 to 3 measures, both modes."""
    case = Case.draw(seed)
    async with World(tmp_path, case.companies) as world:
        case.assert_answered(await world.run(**case.job))


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(206, 216))
async def test_more_random_questions(tmp_path, seed):
    case = Case.draw(seed, largest=90)
    async with World(tmp_path, case.companies) as world:
        case.assert_answered(await world.run(**case.job))


def test_the_cases_hold_what_they_promise():
    cases = [Case.draw(seed) for seed in [*range(100, 108), *range(206, 216)]]
    joint = [len(c.job["rows"]) + len(c.job["columns"]) for c in cases]
    measures = Counter(len(c.job["measures"]) // 2 for c in cases)
    assert {2, 3, 4} <= set(joint)
    assert set(measures) == {0, 1, 2, 3}
    assert {c.job["match"]["mode"] for c in cases} == {"keyed", "ecdh"}
    assert any(len(c.companies["media"].rows) == 1 for c in cases)
    assert sum(len(c.matched()) > 5 for c in cases) > 8
    assert any("flag2" in name for c in cases for name in c.job["columns"])


def labelled(rows, name, values, words):
    attribute = {name: {"kind": "label", "category": "content", "values": words}}
    return company(rows, attribute, {name: values})


def two(left, right, words=("a", "b")):
    """shop and media over given people's numbers, with one label each, in turn."""
    ids = [[[person(i)[kind] for kind in TYPES] for i in side] for side in (left, right)]
    return {
        name: labelled(rows, "tag", [words[i % len(words)] for i in range(len(rows))], list(words))
        for name, rows in zip(("shop", "media"), ids, strict=True)
    }


def tag_job(**changes):
    return psi_job(
        protocol="crosstab", rows="shop/tag", columns="media/tag", measures=["count"], **changes
    )


@pytest.mark.parametrize("mode", ["keyed", "ecdh"])
@pytest.mark.parametrize(
    ("left", "right"), [(range(10), range(20, 35)), ([4], [4]), ([4], range(9)), ([4], [5])]
)
async def test_nobody_in_common_and_tables_of_one_row(tmp_path, left, right, mode):
    tables = two(left, right)
    case = Case(tables, tag_job(match={"on": list(TYPES), "mode": mode}))
    case.job |= {"rows": ["shop/tag"], "columns": ["media/tag"]}
    async with World(tmp_path, tables) as world:
        case.assert_answered(await world.run(**case.job))
    assert len(case.matched()) == len(set(left) & set(right))


@pytest.mark.slow
async def test_64_labels_on_each_side(tmp_path):
    """4,096 cells, a real key size, one sum."""
    rng, words = random.Random(7), [f"v{i:02d}" for i in range(64)]
    tables = {}
    for name in ("shop", "media"):
        rows = people(rng, 150, 200)
        values = {"tag": [rng.choice(words) for _ in rows]}
        attributes = {"tag": {"kind": "label", "category": "content", "values": words}}
        if name == "media":
            values["n"] = [str(rng.randint(-5, 40)) for _ in rows]
            attributes["n"] = {"kind": "number", "category": "content", "bounds": [-3, 30],
                               "decimals": 0}  # fmt: skip
        tables[name] = company(rows, attributes, values)
    case = Case(tables, tag_job() | {"rows": ["shop/tag"], "columns": ["media/tag"],
                                     "measures": ["count", {"sum": "media/n"}]})  # fmt: skip
    async with World(tmp_path, tables, bits=2048) as world:
        outcome = await world.run(**case.job)
    case.assert_answered(outcome)
    assert len(outcome.result["cells"]) == 64 * 64


async def test_what_exceeds_the_limits_is_refused_with_the_arithmetic(tmp_path):
    words = [f"v{i:02d}" for i in range(64)]
    tables = {}
    for name in ("shop", "media"):
        rows = [[person(i)[kind] for kind in TYPES] for i in range(3)]
        attributes = {key: {"kind": "label", "category": "content", "values": words}
                      for key in ("tag", "other")}  # fmt: skip
        tables[name] = company(rows, attributes, {key: ["v00"] * 3 for key in attributes})
    job = tag_job() | {"columns": ["media/tag", "media/other"]}
    async with FaultyWorld(tmp_path, tables) as world:
        outcome = await world.run(**job)
        await world.assert_ended(
            outcome, "refused", "crosstab_too_large", "64 row values × 4096 column values"
        )
        job = tag_job() | {"rows": ["shop/tag", "shop/other"], "columns": ["media/tag"]}
        plan = await world.run(dry_run=True, **job)
        (refusal,) = plan.result["refusals"]
        assert refusal["code"] == "crosstab_too_large"
        assert "the limit is 4096" in refusal["cause"]


# -- members -----------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["keyed", "ecdh"])
@pytest.mark.parametrize("sizes", [(30, 40), (30, 1, 25), (40, 30, 35), (25, 30, 35, 30)])
async def test_members_of_two_to_four_parties(tmp_path, sizes, mode):
    """Each party's file holds exactly its own rows that all have in common."""
    tables = several(sum(sizes), sizes, 50)
    names, types = list(tables), ["email", "phone"]
    wanted = job_oracle.members([as_dicts(table) for table in tables.values()], types)
    job = psi_job(requester="p0", match={"on": types, "mode": mode, "reveal": "members"})
    async with FaultyWorld(tmp_path, tables) as world:
        outcome = await world.run(**(job | {"with": names[1:]}))
        await world.assert_over(outcome)
    assert outcome.state == "released", outcome.error
    for name, rows in zip(names, wanted, strict=True):
        path = tmp_path / name / "members" / "common.parquet"
        assert pq.read_table(path)["row"].to_pylist() == sorted(rows), name
        assert outcome.own[name]["members"] == len(rows)
    assert outcome.result["overlap"] == {"count": len(wanted[0]), "withheld": None}
    assert outcome.result["privacy"]["noise"] == "off"
    assert len(wanted[0]) > 0 or 1 in sizes


async def test_hidden_overlap_writes_no_member(tmp_path):
    tables = two(range(20), range(10, 40))
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**psi_job())
    assert outcome.result["overlap"] == {"count": 10, "withheld": None}
    assert "cells" not in outcome.result
    assert not list(tmp_path.glob("*/members"))


# -- noise ---------------------------------------------------------------------------------------


class Told:
    """A source of noise that a test knows: the same number everywhere, its scales kept."""

    def __init__(self, value):
        self.value, self.sigmas = value, []

    def sample(self, scale, n):
        self.sigmas.append(scale.sigma)
        return np.full(n, self.value, dtype=np.int64)


async def test_overlap_with_noise(tmp_path):
    """σ = 5.0 at rho 0.02, one measure; what comes out is the truth plus what was drawn."""
    noise, tables = Told(7), two(range(30), range(10, 60))
    async with FaultyWorld(tmp_path, tables, noise=noise) as world:
        outcome = await world.run(**psi_job(**NOISY))
        await world.assert_over(outcome)
        world.assert_spent(outcome.job_id, COST)
    assert outcome.result["overlap"] == {"count": 20 + 7, "withheld": None}
    privacy = outcome.result["privacy"]
    assert privacy["noise"] == "discrete_gaussian"
    assert privacy["sigmas"] == {"overlap": pytest.approx(5.0)}
    assert privacy["epsilon"] == pytest.approx(1.07, abs=0.005)
    assert noise.sigmas == [pytest.approx(5.0)]


async def test_real_noise_is_fresh_and_of_the_right_size(tmp_path):
    """Different every run (rho differs by a little, so that no answer is stored)."""
    tables, seen = two(range(30), range(10, 60)), []
    async with World(tmp_path, tables) as world:
        for i in range(4):
            privacy = {"privacy": {"noise": "on", "rho": round(0.02 + i * 1e-6, 6)}}
            seen.append((await world.run(**psi_job(**privacy))).result["overlap"]["count"])
    assert len(set(seen)) > 1  # all equal by chance: under 1 in 1,000
    assert all(abs(count - 20) < 45 for count in seen)  # 9 σ


async def test_cells_with_noise_are_withheld_by_their_noisy_count(tmp_path):
    tables = two(range(40), range(40))
    for table in tables.values():
        table.config["policy"] = FREE | {"min_cohort": 15}
    async with World(tmp_path, tables, noise=Told(-4)) as world:
        outcome = await world.run(**tag_job(**NOISY))
    by_tag = {(c["shop/tag"], c["media/tag"]): c for c in outcome.result["cells"]}
    assert by_tag["a", "a"]["count"] is None  # 20 - 4 ≥ 15, but the rest of its row is -4
    assert by_tag["a", "b"]["withheld"] == "below_min_cohort"
    assert outcome.result["overlap"]["count"] == 36


# -- questions asked again ---------------------------------------------------------------------


async def test_a_repeated_question_is_answered_from_the_store(tmp_path):
    """The same numbers, noise included; nothing is asked of the provider, nothing is spent."""
    async with FaultyWorld(tmp_path, companies(61)) as world:
        first = await world.run(**crosstab_job(**NOISY))
        again = await world.run(**crosstab_job(job="another_name", **NOISY))
        await world.assert_over(again)
        world.assert_spent(first.job_id, COST)
        world.assert_spent(again.job_id, 0)
        assert "remaining_rho" not in again.own["media"]
    assert again.state == "released"
    assert again.result["answered_from_store"] is True
    assert again.result["job"] == "another_name"
    for key in ("cells", "overlap", "privacy"):
        assert again.result[key] == first.result[key]


@pytest.mark.parametrize("changed", ["media", "shop"])
async def test_after_the_data_changed_a_question_is_asked_anew(tmp_path, changed):
    tables = companies(62)
    async with FaultyWorld(tmp_path, tables) as world:
        first = await world.run(**crosstab_job())
        assert_equal(first, *expected(tables))
        tables[changed].rows[:] = tables[changed].rows[:-8]
        await world.kill_node(changed)
        again = await world.run(**crosstab_job())
    assert "answered_from_store" not in again.result
    assert_equal(again, *expected(tables))


async def test_another_question_is_not_answered_from_the_store(tmp_path):
    tables = companies(63)
    async with World(tmp_path, tables) as world:
        await world.run(**crosstab_job())
        other = await world.run(**crosstab_job(measures=["count"]))
        swapped = await world.run(**crosstab_job(match={"on": ["email", "phone"]}))
    for outcome in (other, swapped):
        assert "answered_from_store" not in outcome.result


# -- rule 4: exact answers that differ by a few people -------------------------------------------


async def test_two_exact_answers_that_differ_by_one_person(tmp_path):
    """The difference would be that person's row; enough people apart it is a group again."""
    tables = two(range(40), range(10, 60))
    tables["media"].config["policy"] = FREE | {"min_cohort": 5}
    async with FaultyWorld(tmp_path, tables) as world:
        assert (await world.run(**tag_job())).state == "released"
        await world.gates["media"].withdraw("email", "p12@example.com")
        outcome = await world.run(**tag_job())
        await world.assert_ended(
            outcome, "refused", "exact_difference", "fewer than 5", party="media"
        )
        plan = await world.run(dry_run=True, **tag_job())
        assert [r["code"] for r in plan.result["refusals"]] == ["exact_difference"]
        # Another table over the same people tells the overlap just as well.
        assert (await world.run(**psi_job())).code == "exact_difference"
        # With noise the difference says nothing.
        assert (await world.run(**tag_job(**NOISY))).state == "released"
        for i in range(13, 17):
            await world.gates["media"].withdraw("email", f"p{i}@example.com")
        assert (await world.run(**tag_job())).state == "released"


# -- the plan ------------------------------------------------------------------------------------


async def test_a_plan_says_what_would_happen_and_spends_nothing(tmp_path):
    async with FaultyWorld(tmp_path, companies(64)) as world:
        plan = await world.run(dry_run=True, **crosstab_job(**NOISY))
        assert plan.state == "released", plan.error
        await world.assert_over(plan)
        world.assert_spent(plan.job_id, 0)
        job = await world.run(**crosstab_job(**NOISY))
        assert job.result.get("answered_from_store") is None
    said = plan.result
    assert said["refusals"] == []
    assert said["remaining_rho"] == {"media": 0.5}
    assert said["padded_rows"] == {"shop": 256, "media": 256}
    assert said["outputs"] == job.result["cost"]["outputs"]
    assert said["ciphertexts"] == job.result["cost"]["ciphertexts"]
    for party in ("shop", "media"):
        planned, sent = said["bytes"][party], job.own[party]["bytes"]
        assert planned <= sent < planned + 8192, party
    assert said["seconds"] > 0
    assert set(said["learns"]) == {"shop", "media", "coordinator"}
    assert "shop/tier" in said["learns"]["shop"]
    assert "learns nothing about shop's customers" in said["learns"]["media"]


async def test_a_plan_names_every_rule_that_would_refuse(tmp_path):
    tables = companies(65)
    tables["media"].config["policy"] = {"min_cohort": 1, "rho_per_month": 0.01}
    tables["shop"].config["policy"] = {"min_cohort": 1, "noise": "required"}
    async with FaultyWorld(tmp_path, tables) as world:
        plan = await world.run(dry_run=True, **crosstab_job())
        assert plan.state == "released"
        codes = {r["party"]: r["code"] for r in plan.result["refusals"]}
        assert codes == {"shop": "noise_required", "media": "noise_required"}
        plan = await world.run(dry_run=True, **crosstab_job(**NOISY))
        (refusal,) = plan.result["refusals"]
        assert (refusal["party"], refusal["code"]) == ("media", "budget_exhausted")
        assert "0.02 rho asked > 0.01 rho allowed" in refusal["cause"]
        world.assert_spent(plan.job_id, 0)


async def test_a_plan_waits_for_nobodys_approval(tmp_path):
    tables = companies(66)
    tables["media"].config["approval"] = "manual"
    async with FaultyWorld(tmp_path, tables) as world:
        plan = await world.run(dry_run=True, **crosstab_job())
        assert plan.state == "released"
        assert plan.result["refusals"] == []


# -- what cannot be linked -----------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["keyed", "ecdh"])
async def test_tokens_of_two_jobs_cannot_be_linked(tmp_path, mode):
    """Of one job the coordinator finds the pairs; between two jobs it finds nothing."""
    seen: dict[str, dict[str, set[bytes]]] = {}

    def on(moment):
        last = "tokens" if mode == "keyed" else "reblind"
        if moment.name == MADE and moment.kind in ("tokens", "points", "reblind"):
            data = moment.output.read_bytes()
            head, offset = parse_head(data, psi_pb2.TokenUpload)
            body = [data[i : i + head.width] for i in range(offset, len(data), head.width)]
            kept = seen.setdefault(moment.task.job, {"all": set(), "matched": set()})
            if moment.kind == last:
                kept["matched"] |= set(body) & kept.get("joined", set())
                kept["joined"] = kept.get("joined", set()) | set(body)
            kept["all"] |= set(body)

    tables = two(range(30), range(30))
    match = {"on": list(TYPES), "mode": mode}
    async with FaultyWorld(tmp_path, tables, on=on) as world:
        await world.run(**psi_job(match=match))
        await world.run(**tag_job(match=match))
    first, second = seen.values()
    assert len(first["matched"]) >= 90  # 30 people with three identifiers each, and dummies
    assert len(second["matched"]) >= 90
    assert not first["all"] & second["all"]


async def test_two_providers_of_one_requester_cannot_link_its_people(tmp_path):
    """Two jobs with different providers: other keys, other tokens, other ciphertexts."""
    tokens: list[set[bytes]] = []

    def on(moment):
        if (moment.name, moment.step) == (MADE, "tokens/shop"):
            data = moment.output.read_bytes()
            head, offset = parse_head(data, psi_pb2.TokenUpload)
            tokens.append({data[i : i + 16] for i in range(offset, len(data), head.width)})

    tables = two(range(20), range(20))
    tables["bank"] = Company(tables["media"].columns, tables["media"].rows, tables["media"].config)
    async with FaultyWorld(tmp_path, tables, on=on) as world:
        for provider in ("media", "bank"):
            outcome = await world.run(**(psi_job() | {"with": [provider]}))
            assert outcome.result["overlap"]["count"] == 20
    assert not tokens[0] & tokens[1]
