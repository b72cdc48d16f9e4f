"""Both languages of the report say everything, and only in their own words."""

from __future__ import annotations

import ast
import re
import string
from datetime import UTC, datetime, timedelta, timezone
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from assent import learns_en, words, words_en
from assent.errors_zh import ERRORS
from assent.reader import Reader
from assent.report import render
from assent.report_curve import HEIGHT, WIDTH, curves
from protocol.release import rules
from tests.assent import report_samples as samples
from tests.assent.test_report import VOID, part, text_of

ROOT = Path(__file__).parents[2]
# Names of things, the same in every language; everything else in the Chinese page is Chinese.
NAMES = {"Assent", "TGI", "AUC", "BG/NBD", "Gamma-Gamma", "RFM", "MB", "UTC", "English",
         "docs/DISCLOSURE.md", "reveal", "members", "keyed", "ecdh"}  # fmt: skip
OF_SAMPLES = {"shop", "media", "shop/visits", "visits", "active", "parquet", "scores/like",
              "alpha", "Samples"} | {str(result["job"]) for result in samples.ALL}  # fmt: skip


def fields(sentence: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(sentence) if name is not None}


def test_the_catalogues_say_the_same() -> None:
    english, chinese = words.CATALOGUES["en"], words.CATALOGUES["zh"]
    assert english.keys() == chinese.keys()
    for key, sentence in english.items():
        assert fields(sentence) == fields(chinese[key]), key
    same = {key for key in english if english[key] == chinese[key]}
    assert same <= {"joined", "tgi", "attribute_is"}, "not translated"
    assert words_en.WORDS.keys().isdisjoint(learns_en.WORDS)


def test_every_sentence_is_said_somewhere() -> None:
    """Whole keys, and beginnings of keys that are put together with a code."""
    files = [*ROOT.glob("assent/*.py"), *ROOT.glob("assent/report*.html")]
    source = "\n".join(
        file.read_text("utf-8")
        for file in files
        if not re.search(r"(words|learns)_\w\w\.py", file.name)
    )
    # A key of a dictionary ("name":) says nothing.
    said = set(re.findall(r"""["']([a-z_0-9]+)["'](?!:)""", source))
    begun = ("learns_", "warning_", "mean_", "sum_")
    begun = (*begun, *re.findall(r"""["']([a-z]+_)(?:["'] ~|\{)""", source))
    ends = ("_learns", "_never", "_learns_exact", "_never_exact")
    for key in words.CATALOGUES["en"]:
        of_message = any(key.endswith(end) and key.removesuffix(end) in said for end in ends)
        assert key in said or key.startswith(begun) or of_message, f"nobody says {key}"


class Foreign(HTMLParser):
    """Text and spoken attributes of a page in Chinese that are not marked as another language."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[tuple[str, str]] = []
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        language = given.get("lang") or (self.open[-1][1] if self.open else "zh-CN")
        if tag not in VOID:
            self.open.append((tag, language))
        if language == "zh-CN":
            self.found += [
                given[key] or "" for key in ("aria-label", "data-name", "title") if key in given
            ]

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        pass  # shapes of drawings

    def handle_endtag(self, tag: str) -> None:
        self.open.pop()

    def handle_data(self, data: str) -> None:
        tag, language = self.open[-1] if self.open else ("", "zh-CN")
        if language == "zh-CN" and tag not in ("code", "pre"):
            self.found.append(data)


def test_nothing_english_is_left_in_the_chinese_report() -> None:
    title = {"en": "Samples", "zh": "样例"}
    page = render(
        samples.ALL, title=title, language="zh", at=datetime(2026, 11, 25, 8, 5, tzinfo=UTC)
    )
    left = set()
    for text in Foreign(part(page, "zh")).found:
        for word in re.findall(r"[A-Za-z][A-Za-z_/.-]+", text):
            if word.rstrip(".") not in NAMES | OF_SAMPLES:
                left.add(word)
    assert left <= {"like_our_best.parquet", "scores/like_our_best.parquet"}
    # The test sees what it is for: an error's own words, once they are not marked.
    unmarked = part(page, "zh").replace(' lang="en"', "")
    assert any("0.02 asked" in text for text in Foreign(unmarked).found)
    assert page.startswith('<!DOCTYPE html>\n<html lang="zh-CN">')
    assert "<title>样例 – Assent 报告</title>" in page
    english = part(page, "en")
    assert not re.search("[\u4e00-\u9fff]", english.replace("样例", ""))


def test_titles_are_shown_where_there_are_some_and_names_where_not() -> None:
    page = render([samples.CROSSTAB, samples.SEGMENTS], title="t")
    english, chinese = text_of(page), text_of(page, "zh")
    assert "Good × Travel : more than expected, TGI 131" in english
    assert "高价值 × 旅游 ：高于预期，TGI 131" in chinese
    assert "Worth (shop) (rows) × Interest (media) (columns)" in english
    assert "Minutes watched (media): mean and sum" in english
    assert "消费金额高、visits低" in chinese  # no title of shop/visits
    assert "Worth (shop) Small TGI 152" in english
    assert "最佳客户（shop） 是 TGI 421" in chinese
    assert "shop/worth" not in english + chinese


def test_values_of_one_title_stay_apart() -> None:
    titles = {"media/interest": {"zh": "兴趣", "en": "Interest", "values": {
        word: {"zh": "其他", "en": "The rest"} for word in ("travel", "rest")}}}  # fmt: skip
    cells = [samples.CELLS[0], samples.CELLS[0] | {"media/interest": "rest", "count": 4711}]
    page = part(render([samples.CROSSTAB | {"cells": cells, "titles": titles}], title="t"), "zh")
    assert "4,711" in page
    assert '<th scope="col">travel</th><th scope="col">rest</th>' in page


def test_a_value_without_a_title_among_others_stays_as_it_is() -> None:
    reader = Reader("en", samples.TITLES)
    assert [reader.value("media/interest", word) for word in ("travel", "iPhone", "other")] == [
        "Travel", "iPhone", "Other",
    ]  # fmt: skip
    assert Reader("en").value("media/interest", "other") == "other"
    assert Reader("zh").value("media/interest", "other") == "其他"


def test_dates_in_words() -> None:
    moment = datetime(2026, 3, 5, 8, 5, tzinfo=timezone(timedelta(hours=8)))
    assert Reader("en").day(moment) == "5 March 2026, 08:05 (UTC+08:00)"
    assert Reader("zh").day(moment) == "2026 年 3 月 5 日 08:05（UTC+08:00）"
    assert Reader("en").day(moment.astimezone(UTC)) == "5 March 2026, 00:05 (UTC)"


def test_warnings_of_results_are_known_in_chinese() -> None:
    scale = SimpleNamespace(scale=SimpleNamespace(sigma=8.5))
    spec: Any = SimpleNamespace(overlap_output=scale, noise=True, min_cohort=20)
    (warning,) = rules._warnings(spec)
    source = (ROOT / "party_node/outcome.py").read_text("utf-8")
    texts = [warning, *re.findall(r'warning = "(.+?)"', source)]
    assert len(texts) == 3
    for text in texts:
        assert re.search("[\u4e00-\u9fff]", words.warning("zh", text)), text
    assert "20 低于 3σ = 25.5" in words.warning("zh", warning)
    shown = render(
        [samples.OVERLAP | {"privacy": samples.PRIVACY | {"warnings": ["<new>"]}}], title="t"
    )
    assert '<li lang="en">&lt;new&gt;</li>' in part(shown, "zh")


def codes_of_refusals() -> set[str]:
    """First words of every Refused(…), and second ones of admission's own function."""
    found = set()
    for folder in ("party_node", "protocol", "coordinator"):
        for file in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text("utf-8"))):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                    continue
                place = {"Refused": 0, "_refused": 1}.get(node.func.id)
                if place is not None and len(node.args) > place:
                    code = node.args[place]
                    if isinstance(code, ast.Constant) and re.fullmatch("[a-z_]+", str(code.value)):
                        found.add(code.value)
    return found


def test_every_refusal_has_a_sentence_in_chinese() -> None:
    codes = codes_of_refusals()
    assert {"budget_exhausted", "noise_required", "too_few_seeds"} <= codes
    assert codes - ERRORS.keys() == set()


@pytest.mark.parametrize("language", ["en", "zh"])
def test_an_error_is_told_in_the_readers_language_and_in_its_own(language: str) -> None:
    page = part(render([samples.REFUSED, samples.FAILED], title="t"), language)
    assert ("该公司给这一接收方和用途的隐私预算不足。" in page) is (language == "zh")
    for own in ("0.02 asked, 0.013 left", "its disk is on fire", "budget_exhausted"):
        assert own in page
    assert (' lang="en">0.02 asked' in page) is (language == "zh")


def test_the_curve_is_drawn_within_its_axes() -> None:
    curve = curves(samples.LIKE, Reader())["curve"]
    assert curve.line.split()[0] == f"{curve.left:.1f},{curve.bottom:.1f}"
    assert curve.dots[-1] == (curve.right, curve.top)  # everybody reached, every seed
    x, y = curve.dots[0]
    assert x == curve.left + round(0.2 * (curve.right - curve.left), 1)
    assert y == curve.bottom - round(0.39 * (curve.bottom - curve.top), 1)
    assert curve.note.startswith("Reaching the best-scored 20% reaches 39% of all seeds: 1.95")
    noisy = samples.LIKE | {"curve": [{"reach": 1.0, "seeds": 9.0, "share": 1.2, "lift": 1.2}]}
    (top,) = curves(noisy, Reader("zh"))["curve"].dots
    assert (0, 0) < top < (WIDTH, HEIGHT)
    assert curves(samples.LIKE | {"status": "refused"}, Reader()) == {}
