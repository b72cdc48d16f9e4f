"""Tags: a refresh of 20 tags for everybody, one event, and the ingest of events.

Who runs it: `make bench`.  People and events are made here, seeded; ten events a person.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import sqlalchemy as sa

from bench.service import peak_mb

if TYPE_CHECKING:
    from party_node.profile import Profile

PARTY = """\
name: shop
table: people.parquet
ids: {email: email}
consents: all
tags: tags.yaml
as_of: 2026-03-10
attributes:
  age: {kind: number, category: demographics, bounds: [0, 120]}
  city: {kind: label, category: location, values: [c0, c1, c2, c3, c4, c5, c6, c7]}
  member: {kind: flag, category: purchases}
events:
  purchase:
    source: purchases.parquet
    category: purchases
    ids: {email: email}
    time: at
    id: order
    fields:
      amount: {kind: number, decimals: 2}
      brand: {kind: label}
  view: {source: views.parquet, category: content, ids: {email: email}, time: at,
         fields: {topic: {kind: label}}}
"""
BODY = 50_000  # events of one request
HEAD = (
    "{title: {zh: t, en: t}, class: behaviour, aspect: did, category: purchases, owner: o, goal: g"
)
TWO = "bands: [{value: a, below: 2}, {value: b, from: 2}]"
RULES = [
    "measure: {last: purchase}, bands: [{value: a, below: 30}, {value: b, from: 30}]",
    "measure: {count: purchase, within: 90 days}, " + TWO,
    "measure: {sum: purchase.amount}, bands: [{value: a, below: 500}, {value: b, from: 500}]",
    "measure: {avg: purchase.amount}, bands: [{value: a, below: 50}, {value: b, from: 50}]",
    "measure: {max: purchase.amount}, bands: [{value: a, below: 99}, {value: b, from: 99}]",
    "measure: {days: purchase, within: 52 weeks}, " + TWO,
    "measure: {first: purchase}, bands: [{value: a, below: 300}, {value: b, from: 300}]",
    "measure: {top: purchase.brand}, values: [b0, b1, b2, b3]",
    "measure: {top: view.topic, within: 8 weeks}, values: [t0, t1, t2, t3]",
    "measure: {last: view.topic}, values: [t0, t1, t2, t3]",
    "measure: {first: purchase.brand}, values: [b0, b1, b2, b3]",
    "measure: {count: view, within: 4 weeks}, bands: [{value: a, below: 2}, {value: b, from: 2}]",
    "measure: {count: view, where: {topic: {is: t1}}}, " + TWO,
    "measure: {sequence: [view, purchase], span: 7 days, within: 26 weeks}, "
    "bands: [{value: a, below: 1}, {value: b, from: 1}]",
    "measure: {attribute: age}, bands: [{value: a, below: 30}, {value: b, from: 30}]",
    "measure: {attribute: city}, values: [c0, c1]",
    "values: [{value: y, when: {all: [{tag: t0, is: a}, {tag: t2, is: b}]}}]",
    "values: [{value: y, when: {any: [{tag: t16, is: y}, {attribute: member, is: yes}]}}]",
    "values: [{value: y, when: {not: {count: purchase, ending: 30 days ago, within: 60 days, "
    "at_least: 1}}}, {value: n, otherwise: yes}]",
    "values: [{value: y, when: {min: purchase.amount, above: 10, below: 20}}]",
]


def write(folder: Path, people: int, events: int) -> None:
    """events: of each of the two kinds."""
    rng = np.random.default_rng(11)
    emails = pa.array(np.char.add(np.arange(people).astype("U8"), "@example.com"))
    table = {
        "email": emails,
        "age": rng.integers(15, 90, people),
        "city": np.char.add("c", rng.integers(0, 10, people).astype("U2")),
        "member": rng.integers(0, 2, people),
    }
    pq.write_table(pa.table(table), folder / "people.parquet")
    for name, field in (("purchases", "brand"), ("views", "topic")):
        seconds = rng.integers(1_700_000_000, 1_773_000_000, events)
        columns = {
            "email": emails.take(pa.array(rng.integers(0, people, events))),
            "at": pc.strftime(pa.array(seconds).cast(pa.timestamp("s")), "%Y-%m-%dT%H:%M:%S"),
            field: np.char.add(field[0], rng.integers(0, 6, events).astype("U1")),
        }
        if name == "purchases":
            columns["order"] = pa.array(np.arange(events)).cast(pa.string())
            columns["amount"] = np.round(rng.gamma(2.0, 30.0, events), 2)
        pq.write_table(pa.table(columns), folder / f"{name}.parquet")
    tags = "\n".join(f"  t{i}: {HEAD}, {rule}}}" for i, rule in enumerate(RULES))
    (folder / "tags.yaml").write_text(f"catalogue: bench\ntags:\n{tags}\n")
    (folder / "party.yaml").write_text(PARTY)


def posted(profile: Profile, folder: Path, people: int, events: int) -> tuple[float, float]:
    """Events a second over loopback, new ones, each of somebody; and by processor seconds of
    both ends, which other programs hardly change."""
    from party_node import ingest_http
    from party_node.profile_desk import ProfileDesk
    from party_node.records import Records

    rng = np.random.default_rng(12)
    bodies = [
        "".join(
            f'{{"order":"h{n}","email":"{who}@example.com","at":"2026-03-01T10:00:00",'
            f'"amount":12.50,"brand":"b1"}}\n'
            for n, who in enumerate(rng.integers(0, people, BODY), start=part * BODY)
        ).encode()
        for part in range(min(events, 1_000_000) // BODY)
    ]
    desk = ProfileDesk(profile, Records(sa.create_engine("sqlite://"), time.time))
    listening = ingest_http.bound(0)
    address = f"http://127.0.0.1:{listening.getsockname()[1]}/events/purchase"
    headers = {"authorization": f"Bearer {ingest_http.token(folder)}",
               "content-type": "application/x-ndjson"}  # fmt: skip

    async def post() -> tuple[float, float]:
        serving = asyncio.create_task(ingest_http.serve(desk, folder, listening))
        await asyncio.sleep(1)
        async with httpx.AsyncClient(trust_env=False, timeout=600) as client:
            started, processor = time.perf_counter(), time.process_time()
            for body in bodies:
                answer = await client.post(address, content=body, headers=headers)
                assert answer.json()["new"] == BODY, answer.text
            spent = time.perf_counter() - started, time.process_time() - processor
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return spent

    spent, processor = asyncio.run(post())
    return len(bodies) * BODY / spent, len(bodies) * BODY / processor


def run(people: int, events: int) -> list[dict[str, Any]]:
    import os

    from catalog.federation import load_party
    from party_node.dataset import Dataset
    from party_node.profile import Profile
    from party_node.table_file import read_columns

    with tempfile.TemporaryDirectory(prefix="assent-bench-") as name:
        folder = Path(name)
        write(folder, people, events)
        party = load_party(folder / "party.yaml")
        dataset = Dataset.load(party)
        started = time.perf_counter()
        profile = Profile.open(party, dataset, folder / "node", time.time)
        assert profile is not None
        opened = time.perf_counter() - started

        started = time.perf_counter()
        profile.refresh()
        full = time.perf_counter() - started

        body = folder / "one.csv"
        body.write_text("order,email,at,amount,brand\nnew,7@example.com,2026-03-09,5,b1\n")
        started = time.perf_counter()
        profile.ingest("purchase", read_columns(body, profile.wanted("purchase")))
        one = time.perf_counter() - started

        pushed = pq.read_table(folder / "purchases.parquet").slice(0, min(events, 1_000_000))
        fresh = pa.array(np.arange(len(pushed)) + events).cast(pa.string())
        pushed = pushed.set_column(pushed.column_names.index("order"), "order", fresh)
        pyarrow.csv.write_csv(pushed, folder / "million.csv")
        started = time.perf_counter()
        table = read_columns(folder / "million.csv", profile.wanted("purchase"))
        done = profile.store.ingest("purchase", table, pushed=True)
        ingest = time.perf_counter() - started
        assert done.new == len(pushed), done
        by_http, by_processor = posted(profile, folder, people, events)
        profile.close()
    size = f"{people} people, {2 * events} events"
    made = [
        (f"tags: first start, sources read, {size}", opened, "s"),
        (f"tags: refresh of {len(RULES)} tags, {size}", full, "s"),
        (f"tags: one event, its person's {len(RULES)} tags", one, "s"),
        ("tags: ingest of events from CSV", len(pushed) / ingest * 60, "events a minute"),
        (
            f"tags: JSON lines by HTTP, {BODY} a body, with their people's {len(RULES)} tags",
            by_http * 60,
            "events a minute",
        ),
        ("tags: the same by processor time", by_processor * 60, "events a minute of one core"),
        ("tags: peak memory of the process", peak_mb(os.getpid()), "MB"),
    ]
    return [
        {"name": what, "value": round(value, 3 if value < 10 else 0), "unit": unit,
         "peer": None, "peer_value": None, "ratio": None}
        for what, value, unit in made
    ]  # fmt: skip
