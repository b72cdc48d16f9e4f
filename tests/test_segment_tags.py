"""A company's own tags in the segments of a k-means: what stands out, and whose eyes it is for."""

from __future__ import annotations

import json
from collections import Counter

import pyarrow.parquet as pq

from assent.report import render
from assent.segment_cards import cards
from party_node.outcome import with_own
from tests.test_sums_kmeans import job, tables
from tests.world import World


def naive(labels, words, segment, least):
    """TGI by counting, one person after the other."""
    inside = Counter(w for near, w in zip(labels, words, strict=True) if near == segment)
    of_all, size = Counter(words), labels.count(segment)
    found = {}
    for word, count in inside.items():
        tgi = 100 * (count / size) / (of_all[word] / len(words))
        if count >= least and tgi > 100 and word not in ("false", "other", "unknown"):
            found[word] = (count, tgi)
    return found


def own_tgi(own):
    """Of gold where it stands out first."""
    return next(t["tgi"] for found in own for t in found if t["value"] == "gold")


async def test_own_tags_stand_out_where_they_do_and_stay_at_home(tmp_path):
    companies, x = tables(8, policy={"min_cohort": 5})
    shop = companies["shop"]
    words = ["gold" if row[2] > "2" else "silver" for row in shop.rows]
    words[0] = ""  # unknown describes nobody
    shop.columns += ["tier", "faith"]
    for row, word in zip(shop.rows, words, strict=True):
        row += [word, word]
    attribute = {"kind": "label", "category": "purchases", "values": ["gold", "silver"]}
    shop.config["attributes"]["tier"] = attribute | {"title": {"zh": "等级", "en": "Tier"}}
    spend = shop.config["attributes"]["spend"]
    shop.config["attributes"]["spend"] = spend | {"title": {"zh": "消费金额", "en": "Spending"}}
    # Nobody was asked whether what they read may be used for segments.
    shop.config["attributes"]["faith"] = attribute | {"category": "content"}
    async with World(tmp_path, companies) as world:
        outcome = await world.run(**job(init=x[[0, 50, 130, 250]].tolist()))
        path = world.folder / "shop" / "labels" / "groups.parquet"
    assert outcome.state == "released", outcome.error
    near = pq.read_table(path)["label"].to_pylist()
    active = ["true" if row[3] == "1" else "false" for row in shop.rows]
    assert "segment_tags" not in outcome.result
    assert not any(tag for found in outcome.own["web"]["segment_tags"] for tag in found
                   if tag["attribute"] != "active")  # fmt: skip
    own = outcome.own["shop"]["segment_tags"]
    for segment, found in enumerate(own):
        want = {("tier", w): v for w, v in naive(near, [w or "unknown" for w in words],
                                                 segment, 5).items()}  # fmt: skip
        want |= {("active", w): v for w, v in naive(near, active, segment, 5).items()}
        said = {(tag["attribute"], tag["value"]): (tag["people"], round(tag["tgi"], 9))
                for tag in found}  # fmt: skip
        assert said == {key: (n, round(tgi, 9)) for key, (n, tgi) in want.items()}
        tgis = [tag["tgi"] for tag in found]
        assert tgis == sorted(tgis, reverse=True)
    title = {"zh": "消费金额", "en": "Spending"}
    # A job over secure sums speaks of columns by their common names.
    assert outcome.result["titles"] == {"shop/spend": title, "spend": title}
    assert outcome.own["shop"]["titles"] == {"tier": {"zh": "等级", "en": "Tier"}}
    shown = json.loads(json.dumps(outcome.result))
    with_own(shown, "shop", outcome.own["shop"])
    assert any(card.tags for card in cards(shown))
    page = render([shown], title="t")
    assert f"<dt>Tier (shop)</dt><dd>gold <small>TGI {round(own_tgi(own))}<" in page
