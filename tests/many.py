"""Random companies and questions for whole jobs, with the answer a naive join gives.

A `Case` is drawn from a seed: tables with missing, repeated and dirty identifiers, labels
outside the vocabulary, nulls, numbers outside their bounds; a question over some of it.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from functools import partial
from typing import Any

from tests.reference import job_oracle
from tests.world import Company, Outcome

TYPES = ("phone", "email", "card")
WORDS = ("red", "green", "blue", "紫", "white, black")
FREE = {"min_cohort": 1, "noise": "optional", "reveal": "members", "rho_per_month": 5}
Rows = list[dict[str, str]]


def person(i: int) -> dict[str, str]:
    """Identifiers as a careful company writes them: canonical already."""
    return {"phone": f"+8613800{i:06d}", "email": f"p{i}@example.com", "card": f"C-{i:05d}"}


def people(
    rng: random.Random, n: int, of: int, *, missing: float = 0.2, repeated: int = 1
) -> list[list[str]]:
    """n rows of identifiers out of `of` people; `repeated` pairs of rows share one."""
    chosen = rng.sample(range(of), n)
    rows = [["" if rng.random() < missing else person(i)[kind] for kind in TYPES] for i in chosen]
    for _ in range(repeated if n > 3 else 0):
        a, b = rng.sample(range(n), 2)
        kind = rng.randrange(len(TYPES))
        rows[a][kind] = rows[b][kind]
    return rows


def company(
    ids: list[list[str]], attributes: dict[str, dict[str, Any]], values: dict[str, list[str]]
) -> Company:
    columns = [*TYPES, *values]
    rows = [[*row, *(values[name][i] for name in values)] for i, row in enumerate(ids)]
    config = {
        "default_region": "CN", "ids": {kind: kind for kind in TYPES}, "policy": FREE,
        "attributes": attributes,
    }  # fmt: skip
    return Company(columns, rows, config)


def as_dicts(company: Company) -> Rows:
    return [dict(zip(company.columns, row, strict=True)) for row in company.rows]


# -- attributes ------------------------------------------------------------------------------


def label(rng: random.Random, n: int) -> tuple[dict[str, Any], list[str]]:
    vocabulary = rng.sample(WORDS, rng.randint(1, 4))
    dirt = rng.choice([[], [""], ["odd"], ["", "odd"]])
    declared = {"kind": "label", "category": "content", "values": vocabulary}
    return declared, [rng.choice([*vocabulary, *dirt]) for _ in range(n)]


def flag(rng: random.Random, n: int) -> tuple[dict[str, Any], list[str]]:
    words = ["1", "0", "true", "No", "YES", "false", ""]
    return {"kind": "flag", "category": "behaviour"}, [rng.choice(words) for _ in range(n)]


def number(rng: random.Random, n: int) -> tuple[dict[str, Any], list[str]]:
    lo = rng.choice([-1000, -3, 0, 5])
    hi = lo + rng.choice([1, 10, 2000])
    decimals, nulls = rng.randint(0, 2), rng.choice([0.0, 0.3])
    declared = {
        "kind": "number", "category": "behaviour", "bounds": [lo, hi], "decimals": decimals,
    }  # fmt: skip
    return declared, [
        "" if rng.random() < nulls else f"{rng.uniform(lo - 20, hi + 20):.3f}" for _ in range(n)
    ]


def reader(name: str, declared: dict[str, Any]) -> Any:
    """How the oracle reads attribute `name` of a row."""
    kind = declared["kind"]
    if kind == "flag":
        return lambda row: job_oracle.flag(row[name])
    if kind == "label":
        return lambda row: job_oracle.label(row[name], declared["values"])
    lo, hi = (Decimal(bound) for bound in declared["bounds"])
    return lambda row: job_oracle.number(row[name], (lo, hi), declared["decimals"])


# -- a case ------------------------------------------------------------------------------------


@dataclass
class Case:
    """companies: shop (rows) and media (columns).  job: its fields."""

    companies: dict[str, Company]
    job: dict[str, Any]

    @classmethod
    def draw(cls, seed: int, *, largest: int = 40) -> Case:
        print(f"seed {seed}")
        rng = random.Random(seed)
        makers = {"label": label, "flag": flag, "number": number}
        companies = {}
        for name, kinds in (
            ("shop", ["label", "label", "flag"]),
            ("media", ["label", "label", "flag", "number", "number", "number"]),
        ):
            n = rng.choice([1, rng.randint(2, largest), largest])
            made = {f"{kind}{i}": makers[kind](rng, n) for i, kind in enumerate(kinds)}
            companies[name] = company(
                people(rng, n, largest + 20),
                {key: declared for key, (declared, _) in made.items()},
                {key: values for key, (_, values) in made.items()},
            )
        rows = rng.sample(["label0", "label1", "flag2"], rng.randint(1, 2))
        columns = rng.sample(["label0", "label1", "flag2"], rng.randint(1, 2))
        summed = rng.sample(["number3", "number4", "number5"], rng.randint(0, 3))
        measures: list[Any] = ["count"]
        for name in summed:
            measures += [{kind: f"media/{name}"} for kind in ("sum", "mean")]
        job = {
            "job": f"case_{seed}", "purpose": "segmentation", "protocol": "crosstab",
            "requester": "shop", "with": ["media"],
            "match": {"on": rng.sample(TYPES, rng.randint(1, 3)),
                      "mode": rng.choice(["keyed", "ecdh"])},
            "rows": [f"shop/{name}" for name in rows],
            "columns": [f"media/{name}" for name in columns],
            "measures": measures, "privacy": {"noise": "off"},
        }  # fmt: skip
        return cls(companies, job)

    def matched(self) -> list[tuple[int, int]]:
        left, right = as_dicts(self.companies["shop"]), as_dicts(self.companies["media"])
        everybody = [True] * len(left), [True] * len(right)
        return job_oracle.pairs(left, right, self.job["match"]["on"], *everybody)

    def cells(self) -> dict[tuple[Any, ...], dict[str, Any]]:
        def read(name: str) -> Any:
            party, attribute = name.split("/")
            return reader(attribute, self.companies[party].config["attributes"][attribute])

        summed = [m["sum"] for m in self.job["measures"] if isinstance(m, dict) and "sum" in m]
        return job_oracle.joint(
            self.matched(),
            as_dicts(self.companies["shop"]), as_dicts(self.companies["media"]),
            [read(name) for name in self.job["rows"]],
            [read(name) for name in self.job["columns"]],
            {name: read(name) for name in summed},
        )  # fmt: skip

    def assert_answered(self, outcome: Outcome) -> None:
        """Exactly the oracle's table: overlap, every cell's count, sums and means."""
        assert outcome.state == "released", outcome.error
        assert outcome.result is not None
        assert outcome.result["overlap"] == {"count": len(self.matched()), "withheld": None}
        names, wanted = [*self.job["rows"], *self.job["columns"]], self.cells()
        for cell in outcome.result["cells"]:
            key = tuple(cell[name] for name in names)
            self._assert_cell(cell, wanted.pop(key, {"count": 0}))
        assert not wanted, "cells are missing"

    def _assert_cell(self, cell: dict[str, Any], want: dict[str, Any]) -> None:
        assert cell["count"] == want["count"], cell
        asked = {f"{k}:{a}" for m in self.job["measures"] if m != "count" for k, a in m.items()}
        assert {key for key in cell if ":" in key} == asked
        for key in asked:
            value = want.get(key, Decimal(0) if key.startswith("sum:") else None)
            if value is None:
                assert cell[key] is None
            elif key.startswith("sum:"):
                assert Decimal(str(cell[key])) == value, key
            else:
                assert abs(cell[key] - float(value)) < 1e-9, key


# -- several parties ---------------------------------------------------------------------------


def several(seed: int, sizes: Sequence[int], of: int) -> dict[str, Company]:
    """Companies p0, p1, … over `of` people, each with identifiers only."""
    print(f"seed {seed}")
    rng = random.Random(seed)
    draw = partial(people, rng, of=of)
    return {f"p{i}": company(draw(n), {}, {}) for i, n in enumerate(sizes)}
