"""Whole secure sums in the in-memory world: three companies with people of their own.

Protects protocols.md section 3: the total is exact without noise, whatever the parties' units
and vocabularies; nobody's own numbers come out; the gates are those of every job.
"""

import json
import random

import numpy as np
import pytest

from party_node.session import Session
from protocol.paillier.keys import PrivateKey
from protocol.secret import Secret
from tests.reference import sum_oracle
from tests.reference.seeded_noise import SeededNoise
from tests.world import Company, World

TIERS = {"shop": ["gold", "silver"], "web": ["silver", "gold", "bronze"], "app": ["bronze"]}
DECIMALS = {"shop": 2, "web": 0, "app": 1}


def companies(seed, sizes=(60, 75, 50), policy=None, nulls=0.1):
    print(f"seed {seed}")
    rng, found, start = random.Random(seed), {}, 0
    for (name, tiers), n in zip(TIERS.items(), sizes, strict=True):
        rows = []
        for i in range(n):
            spend = "" if rng.random() < nulls else f"{rng.uniform(-20, 620):.3f}"
            rows.append(
                [f"p{start + i}@example.com", rng.choice([*tiers, "odd", ""]), spend,
                 rng.choice(["1", "0", ""])]
            )  # fmt: skip
        start += n
        found[name] = Company(
            ["email", "tier", "spend", "active"],
            rows,
            {
                "ids": {"email": "email"},
                "policy": {"min_cohort": 1, "noise": "optional", "rho_per_month": 5}
                | (policy or {}),
                "attributes": {
                    f"{name}_tier": {"kind": "label", "category": "purchases", "values": tiers,
                                     "column": "tier"},
                    "spend": {"kind": "number", "category": "purchases", "bounds": [0, 500],
                              "decimals": DECIMALS[name]},
                    "active": {"kind": "flag", "category": "behaviour"},
                },
            },
        )  # fmt: skip
    return found


def job(**changes):
    return {
        "job": "spread", "purpose": "audience_insight", "protocol": "secure_sum",
        "requester": "shop", "people": ["shop", "web", "app"],
        "columns": {name: [f"{name}_tier", "active", "spend"] for name in TIERS},
        "privacy": {"noise": "off"},
    } | changes  # fmt: skip


def expected(tables, eligible=None):
    rows = []
    for name, company in tables.items():
        for i, row in enumerate(company.rows):
            if eligible is None or eligible(name, i):
                cells = dict(zip(company.columns, row, strict=True))
                rows.append((cells, TIERS[name], DECIMALS[name]))
    return sum_oracle.spread(rows, (0, 500))


def assert_equal(outcome, cells):
    assert outcome.state == "released", outcome.error
    found = {(c["shop_tier"], c["active"]): c for c in outcome.result["cells"]}
    assert set(cells) <= set(found)
    for key, cell in found.items():
        want = cells.get(key, {"count": 0, "sum": 0, "known": 0})
        assert cell["count"] == want["count"], key
        assert cell["sum:spend"] == pytest.approx(float(want["sum"]), abs=1e-9), key
        mean = float(want["sum"]) / want["known"] if want["known"] else None
        assert cell["mean:spend"] == (mean if mean is None else pytest.approx(mean)), key


@pytest.mark.parametrize("seed", [1, 2])
async def test_a_sum_over_three_parties_equals_the_pooled_tables(tmp_path, seed):
    tables = companies(seed)
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job())
        records = {name: world.desks[name].record(outcome.job_id) for name in tables}
    assert_equal(outcome, expected(tables))
    assert outcome.result["cost"]["rounds"] == 1
    for record in records.values():  # the rest goes to every party
        assert record["result"]["cells"] == outcome.result["cells"]


async def test_two_parties_and_a_number_in_bins(tmp_path):
    tables = companies(3)
    del tables["app"]
    asked = job(people=["shop", "web"], columns=["spend"], bins={"spend": [0.5, 100, 499.5]})
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**asked)
    assert outcome.state == "released", outcome.error
    counts = {cell["spend"]: cell["count"] for cell in outcome.result["cells"]}
    assert counts == sum_oracle.bins(
        [(row[2], DECIMALS[name]) for name, c in tables.items() for row in c.rows],
        (0, 500), ["0.5", "100", "499.5"],
    )  # fmt: skip


async def test_only_people_who_permit_are_summed(tmp_path):
    tables = companies(4)
    web = tables["web"]
    said = ["email", "purpose", "recipient", "category", "status"]
    web.consents = [said] + [
        [row[0], "audience_insight", recipient, category, "given"]
        for i, row in enumerate(web.rows)
        for recipient in (["shop", "app"] if i % 3 else ["shop"])
        for category in ("purchases", "behaviour")
    ]
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job())
    assert_equal(outcome, expected(tables, lambda name, i: name != "web" or i % 3))
    assert outcome.own["web"]["consent"]["eligible"] == 50


async def test_every_party_pays_and_adds_noise(tmp_path):
    tables = companies(5, nulls=0)
    tables["web"].config["policy"]["rho_per_month"] = 0.5
    async with World(tmp_path, tables, noise=SeededNoise(5)) as world:
        outcome = await world.run(**job(columns=[], privacy={"rho": 0.3}))
        again = await world.run(
            **job(columns=[], privacy={"rho": 0.3}, seed=1, purpose="activation")
        )
        spent = {name: node.ctx.ledger for name, node in world.nodes.items()}
        assert len(spent) == 3
    assert outcome.state == "released", outcome.error
    ((cell),) = outcome.result["cells"]
    sigma = (3 / (2 * 0.3)) ** 0.5
    assert outcome.result["privacy"]["sigmas"]["count"] == pytest.approx(sigma, rel=1e-3)
    assert abs(cell["count"] - 185) < 10 * sigma
    assert {name: own["remaining_rho"] for name, own in outcome.own.items()} == {
        "shop": 4.7, "web": 0.2, "app": 4.7,
    }  # fmt: skip
    # web's cap over all purposes; it pays towards shop and app at once, and once
    assert (again.state, again.code, again.error["party"]) == (
        "refused", "budget_exhausted", "web",
    )  # fmt: skip


async def test_small_cells_are_withheld(tmp_path):
    tables = companies(6, policy={"min_cohort": 12})
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job())
    want = expected(tables)
    for cell in outcome.result["cells"]:
        true = want.get((cell["shop_tier"], cell["active"]), {"count": 0})["count"]
        assert (cell["count"] is None) == (cell["withheld"] is not None)
        if cell["withheld"] is None:
            assert cell["count"] == true >= 12
        elif cell["withheld"] == "below_min_cohort":
            assert true < 12
    assert any(cell["withheld"] for cell in outcome.result["cells"])
    assert any(cell["count"] for cell in outcome.result["cells"])


@pytest.mark.parametrize(
    ("policy", "code"),
    [({"noise": "required"}, "noise_required"), ({"purposes": ["activation"]},
     "purpose_not_allowed"), ({"requesters": ["app"]}, "requester_not_allowed")],
)  # fmt: skip
async def test_a_policy_refuses(tmp_path, policy, code):
    tables = companies(7)
    tables["web"].config["policy"] |= policy
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**job())
    assert (outcome.state, outcome.code) == ("refused", code)


async def test_exact_sums_that_differ_by_one_person_are_refused(tmp_path):
    tables = companies(8, policy={"min_cohort": 5})
    async with World(tmp_path, tables) as world:
        first = await world.run(**job())
        assert first.state == "released"
        person = tables["shop"].rows[0][0]  # the requester's own people are protected as well
        await world.desks["shop"].consent("email", person, "all", "all", "all", "withdrawn")
        second = await world.run(**job())
    assert (second.state, second.code, second.error["party"]) == (
        "refused", "exact_difference", "shop",
    )  # fmt: skip


async def test_columns_that_do_not_fit_are_refused_in_words(tmp_path):
    tables = companies(9)
    asked = job(columns={"shop": ["spend"], "web": ["web_tier"], "app": ["spend"]})
    async with World(tmp_path, tables) as world:
        outcome = await world.run(**asked)
    assert (outcome.state, outcome.code) == ("refused", "unfit_column")
    assert "web_tier is a label" in outcome.error["cause"]


async def test_an_own_upload_is_uniform_to_the_owner_of_the_key(tmp_path):
    """Even the requester together with the coordinator finds no one's numbers in an upload."""
    tables, seen = companies(10), {}
    async with World(tmp_path, tables) as world:
        put = type(world.coordinator.files).delete_job

        def keep(files, ended):
            for path in files.path(ended, "x").parent.glob("*"):
                seen[path.name] = path.read_bytes()
            key = Session(world.nodes["shop"].ctx, ended, 1).vault.get("paillier")
            seen["key"] = key
            put(files, ended)

        type(world.coordinator.files).delete_job = keep
        try:
            outcome = await world.run(**job(columns=[]))
            await world.until(lambda: "key" in seen)
        finally:
            type(world.coordinator.files).delete_job = put
    assert outcome.state == "released"
    key = PrivateKey.from_secret(Secret(seen.pop("key")))
    width = key.public.width
    opened = {}
    for name, data in seen.items():
        if data[:4] == b"AST1" and len(data) > width:
            cts = np.frombuffer(data[-width:], dtype=np.uint8).reshape(1, width)
            if int.from_bytes(data[-width:], "little") < key.public.n**2:
                plain = world.kernel.decrypt(key, cts)[0]
                opened[name] = int.from_bytes(plain.tobytes(), "little")
    small = [value for value in opened.values() if value.bit_length() < 64]
    large = [value for value in opened.values() if value.bit_length() > key.public.bits - 40]
    assert len(small) == 1  # the total: 185 people and the biases
    assert len(large) >= 3  # each upload


async def test_the_same_question_is_answered_from_the_store(tmp_path):
    async with World(tmp_path, companies(11)) as world:
        first = await world.run(**job(privacy={"rho": 0.1}))
        second = await world.run(**job(privacy={"rho": 0.1}))
    assert second.result["answered_from_store"]
    assert json.dumps(second.result["cells"]) == json.dumps(first.result["cells"])


async def test_a_plan_says_costs_and_who_learns_what(tmp_path):
    async with World(tmp_path, companies(12)) as world:
        plan = await world.run(dry_run=True, **job(privacy={"rho": 0.1}))
    assert plan.state == "released", plan.error
    assert plan.result["rounds"] == 1
    assert set(plan.result["learns"]) == {"shop", "web", "app", "coordinator"}
    assert plan.result["refusals"] == []
