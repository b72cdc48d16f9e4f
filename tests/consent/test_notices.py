"""Notices: exact texts by version and language, and which consents they make out of date."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from consent.notices import LANGUAGES, Notices, default_notices, load_notices
from consent.purposes import PURPOSES
from consent.terms import NoticeRef
from protocol.errors import BadInput, ProtocolViolation

RIGHT = """
notices:
  insight:
    - version: 1
      class: material
      text: {en: All of it is yours to decide., zh-CN: 由您决定。}
      purposes:
        activation: {en: Show me adverts., zh-CN: 展示广告。}
    - version: 2
      class: editorial
      text: {en: All of it is for you to decide., zh-CN: 都由您决定。}
      purposes:
        activation: {en: Show me adverts., zh-CN: 展示广告。}
    - version: 4
      class: material
      text: {en: All of it is for you to decide., zh-CN: 都由您决定。}
      purposes:
        activation: {en: Show me adverts of others., zh-CN: 展示别家的广告。}
    - version: 5
      class: editorial
      text: {en: It is for you to decide., zh-CN: 都由您决定。}
      purposes:
        activation: {en: Show me adverts of others., zh-CN: 展示别家的广告。}
"""


NO_PURPOSE = "notices: {a: [{version: 1, class: material, text: {en: a}, purposes: {}}]}"


def load(tmp_path: Path, text: str) -> Notices:
    path = tmp_path / "notices.yaml"
    path.write_text(text, "utf-8")
    return load_notices(path)


def test_a_material_change_makes_what_came_before_it_out_of_date(tmp_path: Path) -> None:
    notices = load(tmp_path, RIGHT)
    versions = notices.versions["insight"]
    outdated = {notice.version: notices.is_outdated(notice.ref("en")) for notice in versions}
    assert outdated == {1: True, 2: True, 4: False, 5: False}
    assert notices.current("insight").version == 5
    assert notices.current("insight").ref("zh-CN").kind == "editorial"


def test_a_record_names_the_exact_text(tmp_path: Path) -> None:
    notice = load(tmp_path, RIGHT).versions["insight"][0]
    text = "All of it is yours to decide.\nShow me adverts.\n"
    assert notice.text("en") == text
    assert notice.ref("en").sha256 == hashlib.sha256(text.encode()).hexdigest()
    assert notice.ref("zh-CN").sha256 != notice.ref("en").sha256
    assert notice.sentence("activation", "zh-CN") == "展示广告。"
    with pytest.raises(BadInput, match="does not speak of segmentation"):
        notice.sentence("segmentation", "en")
    with pytest.raises(BadInput, match="no text in fr"):
        notice.ref("fr")


@pytest.mark.parametrize(
    "change",
    [
        {"sha256": "0" * 64},
        {"version": 3},
        {"id": "other"},
        {"language": "de"},
        {"kind": "editorial"},
    ],
)
def test_another_text_is_unknown(tmp_path: Path, change: dict[str, object]) -> None:
    notices = load(tmp_path, RIGHT)
    right = notices.versions["insight"][0].ref("en")
    wrong = NoticeRef(**{**vars(right), **change})
    with pytest.raises(ProtocolViolation, match="unknown_notice"):
        notices.is_outdated(wrong)


def test_the_built_in_notice_says_every_purpose_in_both_languages() -> None:
    notice = default_notices().current()
    assert set(notice.texts) == set(LANGUAGES)
    for language in LANGUAGES:
        sentences = [notice.sentence(purpose, language) for purpose in PURPOSES]
        assert len(set(sentences)) == len(PURPOSES)
        assert all(sentence in notice.text(language) for sentence in sentences)
        assert not default_notices().is_outdated(notice.ref(language))
    assert all(ord(max(notice.sentence(purpose, "zh-CN"))) > 0x4E00 for purpose in PURPOSES)


def test_the_texts_that_were_released_never_change() -> None:
    """If this fails, a text that people agreed to was edited: add a version instead."""
    first = default_notices().versions["consent"][0]
    assert {language: first.ref(language).sha256[:16] for language in LANGUAGES} == {
        "zh-CN": "3fabd9198b958488",
        "en": "6dfbb3e6d5f40f8b",
    }


@pytest.mark.parametrize(
    "old, new, said",
    [
        ("version: 2", "version: 1", "ascend"),
        ("version: 5", "version: 3", "ascend"),
        ("version: 1", "version: 0", "greater than or equal to 1"),
        ("class: editorial", "class: small", '"small" is not known'),
        ("activation:", "activatoin:", "activation"),
        ("version: 1", "version: 1\n      author: me", "unknown key"),
        (", zh-CN: 展示广告。}", "}", "activation is in en"),
        ("{en: Show me adverts., zh-CN: 展示广告。}", "{en: ' ', zh-CN: 展示}", "is empty"),
        ("zh-CN", "中文", "not a language tag"),
        ("  insight:", "  'Insight!':", "not the id of a notice"),
        (RIGHT, "notices: {}", "no notice"),
        (RIGHT, "notices: {a: []}", "ascend"),
        (RIGHT, "notice: {}", "unknown key"),
        (RIGHT, NO_PURPOSE, "at least one"),
    ],
)  # fmt: skip
def test_a_file_that_is_wrong_is_named_with_its_line(
    tmp_path: Path, old: str, new: str, said: str
) -> None:
    with pytest.raises(BadInput, match=said) as caught:
        load(tmp_path, RIGHT.replace(old, new))
    assert "notices.yaml" in str(caught.value)


def test_the_example_of_the_docs_loads(tmp_path: Path) -> None:
    page = Path(__file__).parents[2] / "docs" / "CONSENT_RECORDS.md"
    example = page.read_text("utf-8").split("```yaml\n")[1].split("```")[0]
    assert load(tmp_path, example).current().version == 1
