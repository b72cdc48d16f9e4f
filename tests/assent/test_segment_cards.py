"""Segment cards: what stands out by hand-made centres, names in two languages, withheld ones."""

from __future__ import annotations

import pytest

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
    assert (first.english, first.chinese) == ("low spend", "spend低")
    assert (second.english, second.chinese) == (
        "high spend, low visit days",
        "spend高、visit days低",
    )
    assert [(f.name, f.value, round(f.apart, 3)) for f in second.features] == [
        ("spend", 500.0, 1.5),
        ("visit days", 1.0, -0.6),
    ]
    assert second.features[1].against_all == "0.6 deviations under all"
    assert (third.english, third.people, third.features) == ("too small to describe", None, ())


def test_without_measured_deviations_the_spread_of_the_centres_is_the_yardstick():
    changed = {k: v for k, v in RESULT.items() if k != "deviations"}
    first, second, _ = cards(changed)
    assert [round(f.apart, 3) for f in second.features] == [1.732, -1.732]
    assert first.english == "low spend, high visit days"


@pytest.mark.parametrize("party", ["shop", "media"])
def test_names_tell_segments_apart(party):
    alike = RESULT | {
        "features": ["shop/a", f"{party}/b", "media/a"],
        "centres": [[0.0, 0.0, 9.0], [0.0, 0.0, 1.0], [9.0, 9.0, 5.0]],
        "sizes": [100, 100, 200], "sizes_withheld": [None] * 3, "deviations": [4.0, 4.0, 4.0],
    }  # fmt: skip
    first, second, _ = cards(alike)
    assert first.english == "low shop/a, low b, high media/a"
    assert second.english == "low shop/a, low b, low media/a"
    same = cards(alike | {"centres": [[5.0, 5.0, 5.0]] * 3})
    assert [card.english for card in same] == [f"near the average ({n})" for n in range(3)]


def test_report_and_lists_show_names_and_withheld_sizes():
    page = render([RESULT], title="t")
    assert '1 · high spend, low visit days <span lang="zh">spend高、visit days低</span>' in page
    assert "size withheld: group too small" in page
    assert "means of the provider&#39;s groups" in page
    (clusters,) = listings(RESULT)
    assert clusters.header[:4] == ("cluster", "people", "name", "名称")
    assert clusters.rows[2][:3] == ("2", "·", "too small to describe")
    assert clusters.rows[2][-1] == "group too small"
    refused = RESULT | {"status": "refused", "error": None}
    assert cards(refused) == ()
