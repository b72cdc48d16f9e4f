"""Whole jobs in the in-memory world: exact against the naive oracle, gates, refusals."""

import random
from decimal import Decimal

import pytest

from tests.reference import job_oracle
from tests.world import Company, World

TIERS, INTERESTS = ["high", "mid", "low"], ["travel", "food", "games"]
BOUNDS = (Decimal(-50), Decimal(600))


def companies(seed, n_left=60, n_right=70, *, policy=None, consents="all"):
    """Two tables with missing, repeated and dirty entries; prints its seed for a failing test."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    people = [(f"p{i}@example.com", f"+8613800{i:06d}") for i in range(n_left + n_right)]

    def ids(i):
        email, phone = people[i]
        return [email if rng.random() > 0.2 else "", phone if rng.random() > 0.2 else ""]

    left_people = rng.sample(range(len(people)), n_left)
    right_people = rng.sample(range(len(people)), n_right)
    left = [[*ids(i), rng.choice([*TIERS, "rare", ""])] for i in left_people]
    right = [
        [*ids(i), rng.choice([*INTERESTS, "x", ""]), rng.choice(["", str(rng.randint(-90, 900))])]
        for i in right_people
    ]
    if n_left > 3:
        left[1][0] = left[0][0]  # an ambiguous e-mail
    if n_right > 3:
        right[2][1] = right[1][1]  # an ambiguous phone
    policy = {"min_cohort": 1, "noise": "optional"} | (policy or {})
    common = {"default_region": "CN", "ids": {"email": "email", "phone": "phone"}, "policy": policy}
    return {
        "shop": Company(
            ["email", "phone", "tier"],
            left,
            common
            | {"attributes": {"tier": {"kind": "label", "category": "purchases", "values": TIERS}}},
            consents,
        ),
        "media": Company(
            ["email", "phone", "interest", "minutes"],
            right,
            common
            | {
                "attributes": {
                    "interest": {"kind": "label", "category": "content", "values": INTERESTS},
                    "minutes": {
                        "kind": "number",
                        "category": "behaviour",
                        "bounds": [-50, 600],
                        "decimals": 1,
                    },
                }
            },
            consents,
        ),
    }


def crosstab_job(**changes):
    return {
        "job": "tiers",
        "purpose": "audience_insight",
        "protocol": "crosstab",
        "requester": "shop",
        "with": ["media"],
        "match": {"on": ["phone", "email"], "mode": "keyed"},
        "rows": "shop/tier",
        "columns": "media/interest",
        "measures": ["count", {"sum": "media/minutes"}, {"mean": "media/minutes"}],
        "privacy": {"noise": "off"},
    } | changes


def rows_of(company):
    return [dict(zip(company.columns, row, strict=True)) for row in company.rows]


def expected(world_companies, eligible=None):
    left, right = rows_of(world_companies["shop"]), rows_of(world_companies["media"])
    left_in, right_in = eligible or ([True] * len(left), [True] * len(right))
    matched = job_oracle.pairs(left, right, ["phone", "email"], left_in, right_in)
    cells = job_oracle.crosstab(
        matched, left, right, ("tier", TIERS), ("interest", INTERESTS), {"minutes": (BOUNDS, 1)}
    )
    return len(matched), cells


def assert_equal(outcome, people, cells):
    assert outcome.state == "released", outcome.error
    assert outcome.result["overlap"] == {"count": people, "withheld": None}
    seen = 0
    for cell in outcome.result["cells"]:
        key = (cell["shop/tier"], cell["media/interest"])
        want = cells.get(key, {"count": 0, "sum:minutes": Decimal(0), "mean:minutes": None})
        assert cell["count"] == want["count"], key
        assert Decimal(str(cell["sum:media/minutes"])) == want["sum:minutes"], key
        if want["mean:minutes"] is None:
            assert cell["mean:media/minutes"] is None
        else:
            assert cell["mean:media/minutes"] == pytest.approx(float(want["mean:minutes"]))
        seen += cell["count"]
    assert seen == people


@pytest.mark.parametrize("mode", ["keyed", "ecdh"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_a_crosstab_equals_the_plaintext_join(tmp_path, seed, mode):
    tables = companies(seed)
    async with World(tmp_path, tables) as world:
        match = {"on": ["phone", "email"], "mode": mode}
        outcome = await world.run(**crosstab_job(match=match))
    assert_equal(outcome, *expected(tables))
