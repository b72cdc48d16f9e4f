"""What follows a cross-tab: RFM × RFM on tags that a job left, stages, flow, recommendations."""

from __future__ import annotations

import json
import random
from collections import Counter

import pyarrow.parquet as pq

from tests.reference import rfm_oracle
from tests.world import Company, World

ORDER = ["none", "aware", "loyal"]
GOODS, TOPICS = ["food", "sport", "tech"], ["travel", "games", "cooking", "finance"]
HEAD = {"class": "value", "aspect": "did", "category": "purchases", "owner": "o", "goal": "g"}
ROLES = ("recency", "frequency", "monetary")


def tags(other):
    measure = {"model": "rfm", "job": "shops", "column": "segment_8"}
    until = {"model": 1, "party": other, "purposes": ["audience_insight"], "until": "2099-01-01"}
    return {
        "catalogue": "c",
        "tags": {"segment": HEAD | {"title": {"zh": "层", "en": "Tier"}, "measure": measure}},
        "grants": [{"tag": "segment"} | until],
    }


def company(name, rows, words):
    label = {"kind": "label", "category": "purchases"}
    number = {"kind": "number", "category": "purchases", "bounds": [0, 1000]}
    return Company(
        ["email", *ROLES, "before", "now", "likes", "quiet"],
        rows,
        {
            "ids": {"email": "email"},
            "attributes": {
                **dict.fromkeys(ROLES, number),
                "before": label | {"values": ORDER},
                "now": label | {"values": ORDER},
                "likes": label | {"values": words},
                "quiet": {"kind": "flag", "category": "purchases"},
                "rfm": label | {"tag": "segment"},
            },
            "tags": "tags.yaml",
            "policy": {"min_cohort": 1, "noise": "optional"},
        },
    )


def drawn(seed):
    print(f"seed {seed}")
    rng = random.Random(seed)

    def person(i, words):
        numbers = [str(rng.randrange(0, 90)) for _ in ROLES]
        words = [*rng.choices([*ORDER, ""], k=2), rng.choice([*words, "rare"])]
        return [f"p{i}@example.com", *numbers, *words, str(int(rng.random() < 0.2))]

    shop = [person(i, GOODS) for i in range(60)]
    web = [person(i, TOPICS) for i in range(20, 90)]
    return {"shop": company("shop", shop, GOODS), "web": company("web", web, TOPICS)}


def crosstab(rows, columns, **more):
    return {
        "purpose": "audience_insight", "protocol": "crosstab", "requester": "shop",
        "with": ["web"], "match": {"on": ["email"]}, "rows": rows, "columns": columns,
        "privacy": {"noise": "off"},
    } | more  # fmt: skip


def both(tables):
    """Per common person its row at each company, by column."""
    rows = {
        name: {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}
        for name, table in tables.items()
    }
    return [
        (row, rows["web"][email]) for email, row in rows["shop"].items() if email in rows["web"]
    ]


def stage(*words):
    ranks = [ORDER.index(word) for word in words if word in ORDER]
    return ORDER[max(ranks)] if ranks else "unknown"


async def test_scores_stages_flow_and_recommendations(tmp_path):
    tables = drawn(3)
    for name, other in (("shop", "web"), ("web", "shop")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "tags.yaml").write_text(json.dumps(tags(other)))
    people = list(tables)
    rfm = {"job": "shops", "purpose": "segmentation", "protocol": "rfm", "requester": "shop",
           "people": people, "privacy": {"noise": "off"}}  # fmt: skip
    flow = {"before": ["shop/before", "web/before"], "now": ["shop/now", "web/now"]}
    moved = crosstab(
        ["shop/before", "shop/now"], ["web/before", "web/now"],
        job="moved", then={"highest": ORDER, "flow": flow},
    )  # fmt: skip
    shown = crosstab(
        "shop/likes", "web/likes", job="shown", purpose="personalisation",
        then={"recommend": 3, "non_personal": "shop/quiet"},
    )  # fmt: skip
    async with World(tmp_path, tables) as world:
        scored = await world.run(**rfm)
        # No node was told to compute its tags: the next job reads what this one left.
        crossed = await world.run(**crosstab("shop/rfm", "web/rfm", job="crossed"))
        moved = await world.run(**moved)
        switch = {"recommend": 3, "non_personal": "shop/likes"}
        wrong = await world.run(**(shown | {"job": "wrong", "then": switch}))
        assert (wrong.state, wrong.code) == ("refused", "unknown_attribute")
        shown = await world.run(**shown)
        file = pq.read_table(tmp_path / "shop" / "recommendations" / "shown.parquet").to_pylist()
    for outcome in (scored, crossed, moved, shown):
        assert outcome.state == "released", outcome.error
    common = both(tables)

    pooled = rfm_oracle.rfm(
        [{role: float(row[i]) for i, role in enumerate(ROLES, start=1)}
         for name in people for row in tables[name].rows]
    )["8"]  # fmt: skip
    emails = [(name, row[0]) for name in people for row in tables[name].rows]
    segment = dict(zip(emails, pooled, strict=True))
    want = Counter((segment["shop", a["email"]], segment["web", a["email"]]) for a, _ in common)
    cells = {(c["shop/rfm"], c["web/rfm"]): c["count"] for c in crossed.result["cells"]}
    assert {key: n for key, n in cells.items() if n} == dict(want)
    assert len(cells) == 81  # eight segments and unknown, on both sides

    want = Counter((stage(a["before"], b["before"]), stage(a["now"], b["now"])) for a, b in common)
    found = {(line["before"], line["now"]): line["count"] for line in moved.result["flow"]}
    assert {key: n for key, n in found.items() if n} == dict(want)
    want = Counter(stage(a["now"], b["now"]) for a, b in common)
    found = {line["stage"]: line["count"] for line in moved.result["stages"]}
    assert {key: n for key, n in found.items() if n} == dict(want)
    assert list(found)[:3] == ORDER[::-1]

    assert [line["row"] for line in file] == list(range(60))
    popular, personal = ranked(common)
    own = [dict(zip(tables["shop"].columns, row, strict=True)) for row in tables["shop"].rows]
    for line, row in zip(file, own, strict=True):
        likes = row["likes"] if row["likes"] in GOODS else "other"
        mine = row["quiet"] == "0" and personal.get(likes)
        items = [line[f"item_{n}"] for n in (1, 2, 3)]
        assert items == (personal[likes] if mine else popular)[:3], row
        assert line["basis"] == ("personal" if mine else "popular")
    assert {line["basis"] for line in file} == {"personal", "popular"}


def ranked(common):
    """Items by popularity; per own category by lift where it is above 1, then by popularity."""

    def shown(word, words):
        return word if word in words else "other"

    pairs = [(shown(a["likes"], GOODS), shown(b["likes"], TOPICS)) for a, b in common]
    items = Counter(b for _, b in pairs)
    popular = sorted(TOPICS, key=lambda word: -items[word])
    personal = {}
    for mine in {a for a, _ in pairs}:
        theirs = [b for a, b in pairs if a == mine]
        lift = {w: theirs.count(w) / len(theirs) / (items[w] / len(pairs)) for w in TOPICS}
        best = sorted((w for w in TOPICS if lift[w] > 1), key=lambda w: -lift[w])
        if best:
            personal[mine] = best + [w for w in popular if w not in best]
    return popular, personal
