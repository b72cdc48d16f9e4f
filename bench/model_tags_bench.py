"""Tags of models and packs of tags for everybody, and the file of a recommendation.

Who runs it: `make bench`.  People and events are made here, seeded.  Memory is the largest
resident set of the process while it happens.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from bench.service import peak_mb

# Event → how many a person has, and its fields.
PACKS = {
    "retail": {
        "purchase": (5, {"amount": "number", "goods": "label", "discount": "flag"}),
        "view": (5, {"goods": "label"}),
        "cart": (1, {}),
    },
    "media": {
        "play": (8, {"topic": "label", "minutes": "number"}),
        "share": (1, {}),
        "order": (2, {"amount": "number"}),
    },
    "bank": {
        "transaction": (8, {"amount": "number", "channel": "label", "kind": "label"}),
        "login": (2, {}),
        "enquiry": (1, {"product": "label"}),
    },
}  # fmt: skip
ATTRIBUTES = """\
  assets: {kind: number, category: finance, bounds: [0, 1000000]}
  risk: {kind: label, category: finance, values: [low, middle, high]}
"""
# Membership reviewed every day, over the longest history that is looked at.
DAILY = """\
tags:
  daily:
    title: {zh: t, en: t}
    class: value
    aspect: should
    category: purchases
    owner: o
    goal: g
    measure:
      tier: purchase.amount
      within: 365 days
      review: 1 day
      since: 2025-01-01
      levels: [{value: basic}, {value: silver, at: 100}, {value: gold, at: 300, grace: 60 days}]
      downgrade: one
"""
TIMES = 400
SINGLE = ("lifecycle", "stage", "stage_before", "membership", "daily", "segment")


def write(folder: Path, pack: str, people: int) -> None:
    """The table, the events, what a job `rfm` left, and both files of the party."""
    rng = np.random.default_rng(17)
    emails = pa.array(np.char.add(np.arange(people).astype("U8"), "@example.com"))
    table = {
        "email": emails,
        "assets": rng.integers(0, 10**6, people),
        "risk": np.array(["low", "middle", "high"])[rng.integers(0, 3, people)],
    }
    pq.write_table(pa.table(table), folder / "people.parquet")
    text = "name: shop\ntable: people.parquet\nids: {email: email}\nconsents: all\n"
    text += f"tags: tags.yaml\nas_of: 2026-03-10\nattributes:\n{ATTRIBUTES}events:\n"
    for name, (each, fields) in PACKS[pack].items():
        n = each * people
        seconds = rng.integers(1_700_000_000, 1_773_000_000, n)
        columns = {
            "email": emails.take(pa.array(rng.integers(0, people, n))),
            "at": pc.strftime(pa.array(seconds).cast(pa.timestamp("s")), "%Y-%m-%dT%H:%M:%S"),
        }
        declared = []
        for field, kind in fields.items():
            columns[field] = {
                "number": lambda n=n: np.round(rng.gamma(2.0, 30.0, n), 2),
                "label": lambda n=n: np.array(["food", "home", "sport", "x"])[
                    rng.integers(0, 4, n)
                ],
                "flag": lambda n=n: rng.integers(0, 2, n),
            }[kind]()
            declared.append(
                f"{field}: {{kind: {kind}{', decimals: 2' if kind == 'number' else ''}}}"
            )
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
        text += (
            f"  {name}: {{source: {name}.parquet, category: purchases, ids: {{email: email}}, "
            f"time: at, fields: {{{', '.join(declared)}}}}}\n"
        )
    (folder / "party.yaml").write_text(text)
    tags = f"catalogue: bench\nextends: {pack}\n" + (DAILY if pack == "retail" else "")
    (folder / "tags.yaml").write_text(tags)
    scores = folder / "node" / "scores"
    scores.mkdir(parents=True)
    words = np.array(["champions", "loyal", "at_risk"])[rng.integers(0, 3, people)]
    pq.write_table(pa.table({"row": np.arange(people), "segment_5x5": words}),
                   scores / "rfm.parquet")  # fmt: skip


def timed(what: str, run: Callable[[], object], rows: list[tuple[str, float, str]]) -> None:
    """Adds seconds and megabytes of `run` to `rows`."""
    with suppress(OSError):  # not Linux: the peak is that of the whole run
        Path("/proc/self/clear_refs").write_text("5")  # it begins anew
    started = time.perf_counter()
    run()
    rows.append((what, time.perf_counter() - started, "s"))
    rows.append((f"{what}, peak memory", peak_mb(os.getpid()), "MB"))


def pack(name: str, people: int) -> list[tuple[str, float, str]]:
    from catalog.federation import load_party
    from party_node.dataset import Dataset
    from party_node.profile import Profile

    rows: list[tuple[str, float, str]] = []
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as kept:
        folder = Path(kept)
        write(folder, name, people)
        party = load_party(folder / "party.yaml")
        profile = Profile.open(party, Dataset.load(party), folder / "node", time.time)
        assert profile is not None
        assert profile.tags is not None
        own = [tag.name for tag in profile.tags.live if tag.name != "daily"]
        events = sum(each for each, _ in PACKS[name].values()) * people
        size = f"{people} people, {events} events"
        timed(f"pack {name}: refresh of its {len(own)} tags, {size}", profile.refresh, rows)
        for tag in SINGLE if name == "retail" else ():
            what = f"membership, {TIMES} reviews" if tag == "daily" else tag
            timed(f"model tag {what}, {people} people", lambda tag=tag: profile.refresh(tag), rows)
        profile.close()
    return rows


def recommendation(people: int) -> list[tuple[str, float, str]]:
    from catalog.vocabulary import OTHER, UNKNOWN
    from party_node import local_files, recommendations
    from protocol.rows import EligibleRows

    rng = np.random.default_rng(5)
    mine = [f"r{i}" for i in range(12)]
    items = [f"i{i}" for i in range(20)]
    cells = [
        {"shop/taste": row, "media/item": item, "count": int(rng.integers(20, 900)),
         "withheld": None, "tgi": float(rng.uniform(50, 200))}
        for row in mine for item in (*items, OTHER, UNKNOWN)
    ]  # fmt: skip
    index = np.flatnonzero(rng.random(people) < 0.8)
    eligible = EligibleRows(
        index, {}, {"taste": rng.integers(0, len(mine), len(index)).astype(np.int32),
                    "no_ads": rng.integers(0, 2, len(index)).astype(np.int32)}, {},
    )  # fmt: skip
    spec = SimpleNamespace(
        rows=[SimpleNamespace(name="shop/taste", vocabulary=tuple(mine))],
        columns=[SimpleNamespace(name="media/item")],
    )
    then = SimpleNamespace(recommend=10, non_personal="shop/no_ads")
    rows: list[tuple[str, float, str]] = []
    with tempfile.TemporaryDirectory(prefix="assent-bench-") as kept:

        def write_file() -> None:
            found = recommendations.lists(spec, then, cells, eligible, people)
            local_files.write(Path(kept), "job", np.arange(people), found)

        timed(f"recommendation of 10 items, {people} people", write_file, rows)
    return rows


def run(people: int) -> list[dict[str, Any]]:
    made = [row for name in PACKS for row in pack(name, people)] + recommendation(people)
    return [
        {"name": what, "value": round(value, 2 if unit == "s" else 0), "unit": unit,
         "peer": None, "peer_value": None, "ratio": None}
        for what, value, unit in made
    ]  # fmt: skip
