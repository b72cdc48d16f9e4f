"""Two companies whose files hold what people's files hold: BOM, Chinese names, gaps, Parquet."""

from __future__ import annotations

import csv
import random
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.reference import job_oracle

TIERS, INTERESTS = ["金卡", "银卡"], ["旅行", "美食", "travel, far"]
BOUNDS = (Decimal(-50), Decimal(600))

FEDERATION = """\
federation: 联合
key_bits: 2048
parties:
  零售商:
    table: 客户.csv
    default_region: CN
    ids: {email: 邮箱, phone: 手机}
    attributes:
      会员等级: {kind: label, category: purchases, values: [金卡, 银卡]}
    consents: all
    policy: {min_cohort: 1, noise: optional}
  media:
    table: users.parquet
    default_region: CN
    ids: {email: mail, phone: mobile}
    attributes:
      兴趣: {kind: label, category: content, column: 兴趣标签, values: [旅行, 美食, "travel, far"]}
      minutes: {kind: number, category: behaviour, bounds: [-50, 600], decimals: 1}
    consents: all
    policy: {min_cohort: 1, noise: optional, purposes: [audience_insight, overlap_measurement]}
"""
CROSSTAB = """\
job: 等级与兴趣
purpose: audience_insight
protocol: crosstab
requester: 零售商
with: [media]
match: {on: [phone, email], mode: keyed}
rows: 零售商/会员等级
columns: media/兴趣
measures: [count, {sum: media/minutes}, {mean: media/minutes}]
privacy: {noise: off}
"""
OVERLAP = """\
job: overlap
purpose: overlap_measurement
protocol: psi
requester: 零售商
with: [media]
match: {on: [phone, email], mode: ecdh}
privacy: {noise: off}
"""
REFUSED = OVERLAP.replace("job: overlap", "job: refused").replace(
    "overlap_measurement", "activation"
)


@dataclass(frozen=True)
class Companies:
    """The two files, and the rows as the oracle reads them."""

    federation: Path
    job: Path
    left: list[dict[str, str]]
    right: list[dict[str, str]]

    def expected(self) -> tuple[int, Mapping[tuple[str, str], dict[str, Any]]]:
        """How many are in common, and the cells."""
        everyone = [True] * len(self.left), [True] * len(self.right)
        matched = job_oracle.pairs(self.left, self.right, ["phone", "email"], *everyone)
        cells = job_oracle.crosstab(
            matched, self.left, self.right, ("tier", TIERS), ("interest", INTERESTS),
            {"minutes": (BOUNDS, 1)},
        )  # fmt: skip
        return len(matched), cells

    def assert_exact(self, result: Mapping[str, Any]) -> None:
        """`result` is CROSSTAB's, released, and says what the oracle says."""
        assert result["status"] == "released", result.get("error")
        people, cells = self.expected()
        assert result["overlap"] == {"count": people, "withheld": None}
        nobody = {"count": 0, "sum:minutes": Decimal(0), "mean:minutes": None}
        seen = set()
        for cell in result["cells"]:
            key = (cell["零售商/会员等级"], cell["media/兴趣"])
            wanted = cells.get(key, nobody)
            assert cell["withheld"] is None
            assert cell["count"] == wanted["count"], key
            assert Decimal(str(cell["sum:media/minutes"])) == wanted["sum:minutes"], key
            mean = cell["mean:media/minutes"]
            if wanted["mean:minutes"] is None:
                assert mean is None, key
            else:
                assert abs(mean - float(wanted["mean:minutes"])) < 1e-9, key
            seen.add(key)
        assert cells.keys() <= seen
        assert len(result["cells"]) == len(seen)


def write(folder: Path, seed: int, job: str = CROSSTAB, rows: int = 150) -> Companies:
    """Writes the companies into `folder`; about half of the people are common."""
    rng = random.Random(seed)
    people = [(f"p{i}@example.com", f"+86138{i:08d}") for i in range(2 * rows)]

    def one(i: int, **more: str) -> dict[str, str]:
        email, phone = people[i]
        return {
            "email": email if rng.random() > 0.2 else "",
            "phone": phone if rng.random() > 0.2 else "",
        } | more

    some = [rng.sample(range(int(1.4 * rows)), rows) for _ in range(2)]
    left = [one(i, tier=rng.choice([*TIERS, "普通", ""])) for i in some[0]]
    right = [
        one(
            i, interest=rng.choice([*INTERESTS, "游戏", ""]),
            minutes=rng.choice(["", str(rng.randint(-900, 9000) / 10)]),
        )
        for i in some[1]
    ]  # fmt: skip
    left[1]["email"] = left[0]["email"] or "p0@example.com"  # an ambiguous e-mail
    folder.mkdir(parents=True, exist_ok=True)
    _write_csv(folder / "客户.csv", left)
    _write_parquet(folder / "users.parquet", right)
    files = folder / "FEDERATION.yaml", folder / "JOB.yaml"
    for path, text in zip(files, (FEDERATION, job), strict=True):
        path.write_text(text, encoding="utf-8")
    return Companies(*files, left, right)


def _write_csv(path: Path, rows: list[dict[str, str]]) -> None:
    """As a spreadsheet saves "CSV UTF-8": with a byte order mark and CRLF."""
    with path.open("w", encoding="utf-8-sig", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["备注", "邮箱", "手机", "会员等级"])
        for row in rows:
            writer.writerow(['说 "好", 谢谢', row["email"], row["phone"], row["tier"]])


def _write_parquet(path: Path, rows: list[dict[str, str]]) -> None:
    """Numbers as numbers with nulls; text as a dictionary, as data frames write it."""
    minutes = [float(row["minutes"]) if row["minutes"] else None for row in rows]
    table = pa.table(
        {
            "mail": pa.array([row["email"] or None for row in rows]),
            "mobile": pa.array([row["phone"] or None for row in rows]),
            "兴趣标签": pa.array([row["interest"] or None for row in rows]).dictionary_encode(),
            "minutes": pa.array(minutes, pa.float64()),
        }
    )
    pq.write_table(table, path)
