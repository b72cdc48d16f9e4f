"""The report: hostile labels stay text, nothing is loaded, withheld cells say so."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser
from typing import Any

import pytest

from assent.reader import number, size
from assent.report import render, write_report
from assent.report_tables import COLUMNS_PER_BLOCK, shade, standing_out
from assent.words import CATALOGUES
from consent.purposes import REASONS

HOSTILE = '"><script>alert(1)</script><img src=x onerror=alert(2)>'
VOID = {"meta", "rect", "br", "img", "link", "input", "hr"}


class Page(HTMLParser):
    """Counts tags and collects attributes; fails on tags that do not nest."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def cell(tier: Any, interest: str, count: int | None, withheld: str | None = None) -> dict:
    known = count is not None
    return {
        "retailer/tier": tier,
        "media/interest": interest,
        "count": count,
        "sum:media/minutes": count * 50.0 if known else None,
        "mean:media/minutes": 50.0 if known else None,
        "tgi": 131.4 if known else None,
        "withheld": withheld,
    }


def result(cells: list[dict] | None = None, **changes: Any) -> dict[str, Any]:
    return {
        "job": "tier_by_interest",
        "status": "released",
        "requester": "retailer",
        "with": ["media"],
        "cells": cells if cells is not None else [cell("high", "travel", 812)],
        "overlap": {"count": 7980, "withheld": None},
        "privacy": {
            "noise": "discrete_gaussian", "rho": 0.02, "epsilon": 1.07,
            "sigmas": {"overlap": 8.66, "count": 8.66}, "min_cohort": 20,
            "remaining_rho": {"media": 0.48}, "attempts": 1,
        },
        "consent": {
            "retailer": {"rows": 20000, "eligible": 16120,
                         "excluded": {"refused": 1900, "no_record": 1980}},
        },
        "match": {"on": ["phone", "email"], "mode": "keyed", "ambiguous": {"retailer": 3},
                  "unparsable": {"retailer": {"phone": 12}}},
        "cost": {"seconds": 9.1, "bytes": {"retailer": 31_000_000}, "ciphertexts": 60000},
    } | changes  # fmt: skip


def part(page: str, language: str = "en") -> str:
    """The page in one of its languages."""
    pages = re.split(r'(?=<div class="page )', page)[1:]
    (found,) = [one for one in pages if one.startswith(f'<div class="page {language}"')]
    return found


def text_of(page: str, language: str = "en") -> str:
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", part(page, language)))


def test_hostile_words_stay_words() -> None:
    hostile = result(
        [cell(HOSTILE, HOSTILE, 812), cell("low", HOSTILE, None, HOSTILE)],
        job=HOSTILE,
        requester="retailer",
        **{"with": [HOSTILE]},
        consent={HOSTILE: {"rows": 10, "eligible": 5, "excluded": {HOSTILE: 5}}},
        audit={HOSTILE: HOSTILE},
        titles={
            "retailer/tier": {"zh": HOSTILE, "en": HOSTILE, "values": {
                "low": {"zh": HOSTILE, "en": HOSTILE},
            }},
        },
    )  # fmt: skip
    bad = {"code": HOSTILE, "party": HOSTILE, "stage": HOSTILE, "cause": HOSTILE,
           "next_step": HOSTILE, "retryable": False}  # fmt: skip
    failed = result([], status="failed", error=bad)
    page = render([hostile, failed], title=HOSTILE, extra={"en": {HOSTILE: HOSTILE}})
    parsed = Page(page)
    assert {"script", "img"}.isdisjoint(parsed.tags)
    assert not [name for name, _ in parsed.attributes if name.startswith("on") or name == "style"]
    assert "alert(1)" in text_of(page)  # shown as it is, not dropped


def test_nothing_is_loaded() -> None:
    page = render([result()], title="winback")
    parsed = Page(page)
    assert {"script", "link", "img", "iframe", "object", "embed", "base", "form"}.isdisjoint(
        parsed.tags
    )
    for name, value in parsed.attributes:
        if name in ("href", "src", "action", "data", "xlink:href"):
            assert value.startswith("#"), (name, value)
    assert "://" not in page
    style = re.search(r"<style>(.*)</style>", page, re.S)
    assert style is not None
    assert "url(" not in style[1]
    assert "@import" not in style[1]


def test_policy_allows_exactly_the_stylesheet_in_the_page() -> None:
    page = render([result()], title="winback")
    style = re.search(r"<style>(.*)</style>", page, re.S)
    assert style is not None
    digest = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert f"default-src 'none'; style-src 'sha256-{digest}'" in page
    assert "unsafe-inline" not in page


def test_withheld_cells_are_marked_with_the_reason_and_never_zero() -> None:
    cells = [
        cell("high", "travel", 812),
        cell("high", "games", None, "below_min_cohort"),
        cell("low", "travel", None, "complement"),
        cell("low", "games", 40),
    ]
    page = render([result(cells)], title="winback")
    fields = re.findall(r'<td class="w"><b>(.*?)</b><span>(.*?)</span></td>', part(page))
    # once in the heat map and once in the table of minutes
    assert sorted(fields) == sorted(
        [("withheld", "group too small"), ("withheld", "protects another cell")] * 2
    )
    assert "2 of 4" in text_of(page)
    assert "Withheld is not zero" in page


def test_a_cell_without_tgi_shows_its_count_and_is_not_pointed_out() -> None:
    cells = [
        cell("high", "travel", 812),
        cell("low", "travel", 300) | {"tgi": 60.0},
        cell("high", "games", None, "below_min_cohort"),
        cell("low", "games", 60) | {"tgi": None},
    ]
    page = render([result(cells)], title="winback")
    assert "<td><b>60</b></td>" in page  # no colour either
    assert '<td class="b2"><b>300</b><span>TGI 60</span></td>' in page
    assert "A cell without TGI stands in a column with withheld cells" in page
    found = [(c["row"], c["column"]) for c in standing_out(cells, "retailer")]
    assert found == [("high", "travel"), ("low", "travel")]


def test_withheld_overlap_shows_no_number() -> None:
    page = render(
        [result([], overlap={"count": None, "withheld": "below_min_cohort"})], title="winback"
    )
    assert "People in common withheld group too small" in text_of(page)


def test_numbers_of_the_contract_are_shown() -> None:
    text = text_of(render([result()], title="winback"))
    for words in (
        "812", "TGI 131", "40,600", "7,980", "± 17, 19 times in 20", "ρ 0.02", "1.07", "8.66",
        "ρ 0.48 in 31 days", "20 people", "31 MB", "60,000", "9.1 s", "phone, then email (keyed)",
        "no consent on record 1,980 9.9%", "may take part 16,120 80.6%",
        "3 identifiers point to more than one row", "12 × phone could not be read",
    ):  # fmt: skip
        assert words in text, words


@pytest.mark.parametrize(
    ("status", "words"),
    [("refused", "A rule said no"), ("failed", "Something went wrong")],
)
def test_ends_without_result_are_told_in_words(status: str, words: str) -> None:
    error = {"code": "budget_exhausted", "party": "media", "stage": "admission",
             "cause": "0.02 asked, 0.013 left", "next_step": "wait", "retryable": True}  # fmt: skip
    ended = {"job": "j", "status": status, "requester": "retailer", "with": ["media"]}
    text = text_of(render([ended | {"error": error}], title="winback"))
    for expected in (words, "0.02 asked", "media", "admission", "wait", "budget_exhausted",
                     "may help"):  # fmt: skip
        assert expected in text
    assert "People in common" not in text
    assert "encrypted totals" not in text


def test_a_failed_job_shows_no_cells_even_if_it_carries_some() -> None:
    text = text_of(render([result(status="failed", overlap={"count": 4321})], title="winback"))
    assert "812" not in text
    assert "4,321" not in text


def test_wide_tables_are_cut_into_blocks_that_fit_a_page() -> None:
    cells = [cell("high", f"value {i}", 100 + i) for i in range(2 * COLUMNS_PER_BLOCK + 1)]
    page = render([result(cells)], title="winback")
    page = part(page)
    assert page.count('<table class="heat">') == 2 * 3  # heat map and minutes
    assert f"columns {COLUMNS_PER_BLOCK + 1}–{2 * COLUMNS_PER_BLOCK} of {len(cells)}" in page
    for i in range(len(cells)):
        assert f">{100 + i}</b>" in page


def test_joint_attributes_flags_and_nulls_are_named() -> None:
    cells = [
        {"retailer/tier": "high", "retailer/active": True, "media/interest": None, "count": 50,
         "tgi": 100.0, "withheld": None},
        {"retailer/tier": "high", "retailer/active": False, "media/interest": None, "count": 60,
         "tgi": 100.0, "withheld": None},
    ]  # fmt: skip
    text = text_of(render([result(cells)], title="winback"))
    assert "high · active: yes" in text
    assert "high · active: no" in text
    assert "unknown" in text


def test_what_followed_a_crosstab_is_shown_as_a_list_and_a_heat_map() -> None:
    def line(before: str, now: str, count: int | None) -> dict[str, Any]:
        return {"before": before, "now": now, "count": count, "cells": 2, "released": 1}

    changes = {
        "stages": [{"stage": "loyal", "count": 4321, "cells": 9, "released": 7, "withheld": None}],
        "flow": [line("loyal", "loyal", 300), line("loyal", "none", 100),
                 line("none", "loyal", None), line("none", "none", 7)],
    }  # fmt: skip
    page = render([result(**changes)], title="winback")
    text = text_of(page)
    assert "4,321" in text
    assert "7 of 9" in text
    assert '<td class="a3"><b>300</b><span>75%</span></td>' in page
    assert '<td class="a2"><b>100</b><span>25%</span></td>' in page
    assert "group too small" in text


def test_exact_results_say_so() -> None:
    privacy = {"noise": "off", "rho": 0, "sigmas": {"overlap": 0, "count": 0}, "min_cohort": 1}
    text = text_of(render([result(privacy=privacy)], title="winback"))
    assert "off: results are exact" in text
    assert "exact totals (noise is off)" in text
    assert "19 times in 20" not in text


def test_warnings_are_shown_and_what_is_not_there_yet_is_not() -> None:
    privacy = result()["privacy"] | {"warnings": ["k = 20 is under 3σ"]}
    text = text_of(render([result(privacy=privacy, audit={"log": None, "index": 12})], title="w"))
    assert "k = 20 is under 3σ" in text
    assert "Audit index 12" in text
    assert "Audit log" not in text


def test_modes_tell_different_stories() -> None:
    ecdh = text_of(render([result(match={"on": ["email"], "mode": "ecdh"})], title="w"))
    assert "blinded curve points" in ecdh
    assert "keyed match tokens" not in ecdh


def test_a_table_shown_before_is_not_repeated() -> None:
    page = render([result(job="first"), result(job="second")], title="winback")
    assert page.count("encrypted rows") == 1
    assert page.count("加密的数据行") == 1
    for language in CATALOGUES:  # contents, funnel and who learns what
        assert part(page, language).count(f'href="#{language}-job-1"') == 3


def test_the_smallest_result_still_makes_a_page(tmp_path: Any) -> None:
    write_report([{"job": "j", "status": "failed"}], tmp_path / "r.html", title="t")
    Page((tmp_path / "r.html").read_text("utf-8"))
    assert not (tmp_path / "r.html.part").exists()


def test_numbers_in_words() -> None:
    assert [number(x) for x in (None, 0, 1234567, 49.40, 1234.5, -3)] == [
        "–", "0", "1,234,567", "49.4", "1,234", "-3",
    ]  # fmt: skip
    assert [size(x) for x in (None, 999, 31_000_000, 2.5e9)] == [
        "0 bytes", "999 bytes", "31 MB", "2.5 GB",
    ]  # fmt: skip
    assert [shade(x) for x in (None, 49, 50, 100, 129.9, 500)] == ["", "b3", "b2", "n0", "a1", "a3"]


def test_every_reason_for_which_a_row_stays_out_has_words() -> None:
    for words in CATALOGUES.values():
        found = {key.removeprefix("excluded_") for key in words if key.startswith("excluded_")}
        assert found == set(REASONS)
