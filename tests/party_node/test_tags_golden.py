"""Rule tags × hand-made people at two as-of dates; the expectations are worked out by hand."""

from __future__ import annotations

import csv
import shutil
from pathlib import Path

from party_node.profile import Profile
from tests.catalog.tag_samples import FILE
from tests.party_node.profile_world import again, values

VECTORS = Path(__file__).parents[1] / "vectors" / "tags"


def shop(folder: Path) -> Profile:
    shutil.copytree(VECTORS, folder, dirs_exist_ok=True)
    (folder / "tags.yaml").write_text(FILE, encoding="utf-8")
    return again(folder)


def test_golden(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    with (VECTORS / "golden.csv").open(encoding="utf-8") as file:
        golden = list(csv.DictReader(file))
    assert {row["as_of"] for row in golden} == {"2026-03-10", "2026-06-01"}
    for as_of in ("2026-03-10", "2026-06-01"):
        profile.refresh(as_of=as_of)
        for tag in ("spender", "recency", "topic", "basket", "hesitant", "winback", "similar"):
            expected = [row[tag] for row in golden if row["as_of"] == as_of]
            assert values(profile, tag) == expected, (as_of, tag)
    assert values(profile, "spending") == values(profile, "spender")
