"""Segment cards: what stands out by hand-made centres, names in two languages, withheld ones."""

from __future__ import annotations

import pytest

from assent.reader import Reader
from assent.report import render
from assent.report_lists import listings
from assent.segment_cards import cards

RESULT = {
    "job": "groups", "status": "released", "requester": "shop", "with": ["media"],
    "match": {"on": ["email"], "mode": "keyed", "reveal": "hidden"},
    "k": 3, "features": ["shop/spend", "shop/visit_days", "media/minutes"],
    "centres": [[100.0, 9.0, 50.0], [500.0, 1.0, 50.0], None],
    "sizes": [300, 100, None], "sizes_withheld": [None, None, "below_min_cohort"],
    "inertia": 9.0, "iterations": 4, "deviations": [200.0, 10.0, 20.0],
    "overlap": {"count": 403, "withheld": None}, "privacy": {"noise": "off", "min_cohort": 20},
}  # fmt: skip


def test_what_lies_furthest_from_everybody_makes_the_name():
    first, second, third = cards(RESULT)
    # Of all: spend 200, visit days 7, minutes 50; so apart by (-0.5, 0.2, 0) and (1.5, -0.6, 0).
    assert first.names == {"en": "low spend", "zh": "spend低"}
    assert second.names == {"en": "high spend, low visit days", "zh": "spend高、visit days低"}
    assert [(f.name, f.value, round(f.apart, 3)) for f in second.features] == [
        ("shop/spend", 500.0, 1.5),
        ("shop/visit_days", 1.0, -0.6),
    ]
    assert second.features[1].against_all(Reader()) == "0.6 deviations below average"
    assert (third.names["en"], third.people, third.features) == ("too small to describe", None, ())


def test_without_measured_deviations_the_spread_of_the_centres_is_the_yardstick():
    changed = {k: v for k, v in RESULT.items() if k != "deviations"}
    first, second, _ = cards(changed)
    assert [round(f.apart, 3) for f in second.features] == [1.732, -1.732]
    assert first.names["en"] == "low spend, high visit days"


def test_names_are_made_of_titles_in_each_language_where_there_are_some():
    titles = {"shop/spend": {"zh": "消费金额", "en": "Spending"},
              "shop/visit_days": {"zh": "到访天数", "en": "RFM days"},
              "media/minutes": {"zh": "消费金额", "en": "Minutes"}}  # fmt: skip
    first, second, _ = cards(RESULT | {"titles": titles})
    assert second.names["en"] == "high spending, low RFM days"
    # Two features of one title keep the company, here in Chinese only.
    assert second.names["zh"] == "消费金额（shop）高、到访天数低"
    assert first.names["zh"] == "消费金额（shop）低"


@pytest.mark.parametrize("party", ["shop", "media"])
def test_names_tell_segments_apart(party):
    alike = RESULT | {
        "features": ["shop/a", f"{party}/b", "media/a"],
        "centres": [[0.0, 0.0, 9.0], [0.0, 0.0, 1.0], [9.0, 9.0, 5.0]],
        "sizes": [100, 100, 200], "sizes_withheld": [None] * 3, "deviations": [4.0, 4.0, 4.0],
    }  # fmt: skip
    first, second, _ = cards(alike)
    assert first.names["en"] == "low shop/a, low b, high media/a"
    assert second.names["en"] == "low shop/a, low b, low media/a"
    same = cards(alike | {"centres": [[5.0, 5.0, 5.0]] * 3})
    assert [card.names["en"] for card in same] == [f"near the average ({n})" for n in range(3)]


def test_report_and_lists_show_names_and_withheld_sizes():
    page = render([RESULT], title="t")
    assert "1 · high spend, low visit days<" in page
    assert "1 · spend高、visit days低<" in page
    assert "size withheld: group too small" in page
    assert "means of the provider&#39;s groups" in page
    (clusters,) = listings(RESULT)
    assert clusters.header[:4] == ("segment", "people", "name", "名称")
    assert clusters.rows[2][:3] == ("2", "·", "too small to describe")
    assert clusters.rows[2][-1] == "group too small"
    refused = RESULT | {"status": "refused", "error": None}
    assert cards(refused) == ()
