"""Both languages say everything, and nothing that no page uses."""

from __future__ import annotations

import re
import string
from pathlib import Path

import pytest

import consent.portal
from consent.portal import words
from consent.portal.port import OUTCOMES, RIGHTS, TICKET_STATES
from consent.purposes import ACTORS, CATEGORIES, CHANNELS, PURPOSES, Flag, State

FOLDER = Path(consent.portal.__file__).parent
CHINESE, ENGLISH = words.CATALOGUES["zh-CN"], words.CATALOGUES["en"]
# Keys that pages put together of a prefix and a word of a closed list.
MADE = {
    "purpose_": PURPOSES,
    "category_": CATEGORIES,
    "state_": [s.word for s in State] + [f.word for f in Flag],
    "channel_": CHANNELS,
    "actor_": ACTORS,
    "outcome_": OUTCOMES,
    "ticket_": TICKET_STATES,
    "right_": RIGHTS,
    "tab_": ["permissions", "data", "uses", "history", "rights"],
    "value_": ["true", "false"],
    "address_": ["email", "phone", "email_phone"],
    "enter_lead_": ["email", "phone"],
    "withdrawn_": ["now", "pending"],
}


def _names(text: str) -> set[str]:
    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def _sources() -> str:
    files = [*FOLDER.glob("*.py"), *FOLDER.glob("pages/*.html")]
    return "\n".join(
        path.read_text("utf-8") for path in files if not path.name.startswith("words_")
    )


def test_both_languages_have_the_same_keys_and_names() -> None:
    assert CHINESE.keys() == ENGLISH.keys()
    for key, english in ENGLISH.items():
        assert _names(english) == _names(CHINESE[key]), key


@pytest.mark.parametrize("key", sorted(ENGLISH))
def test_each_language_is_itself(key: str) -> None:
    assert CHINESE[key].strip()
    assert not re.search("[\u3400-\u9fff]", ENGLISH[key])
    if ENGLISH[key] not in (", ",):
        assert re.search("[\u3000-\u9fff\uff00-\uffef]", CHINESE[key])


def test_every_key_that_a_page_uses_exists() -> None:
    source = _sources()
    used = set(re.findall(r"""\bt\(\s*["']([a-z_]+)["']""", source))
    used |= set(re.findall(r'\bsay\("([a-z_]+)"', source))
    used |= set(re.findall(r'Turned\(\d+, "(error_[a-z_]+)"', source))
    used |= set(re.findall(r'"(problem_[a-z_]+|error_[a-z]+|fact_[a-z]+)"', source))
    used |= {prefix + word for prefix, all_ in MADE.items() for word in all_}
    used -= {prefix.rstrip("_") for prefix in MADE} | set(MADE)
    assert used - ENGLISH.keys() == set()


def test_no_key_is_without_a_use() -> None:
    source = _sources()
    made = {prefix + word for prefix, all_ in MADE.items() for word in all_}
    unused = [
        key
        for key in ENGLISH
        if key not in made and not re.search(rf"""["']{key}["']""", source)
        and not (key.startswith("right_") and key.endswith("_what"))
    ]  # fmt: skip
    assert unused == []


def test_dates_are_in_the_readers_language() -> None:
    assert words.when("zh-CN", 0) == "1970年1月1日 08:00"
    assert words.when("en", 0) == "1 Jan 1970, 08:00"
    assert words.when("en", 0, 0) == "1 Jan 1970, 00:00"


@pytest.mark.parametrize(
    ("accept", "language"),
    [
        ("", "zh-CN"), ("en-GB,en;q=0.8", "en"), ("fr, zh;q=0.5, en;q=0.4", "zh-CN"),
        ("de", "zh-CN"), ("en;q=bad, zh-TW", "zh-CN"), ("a" * 10_000, "zh-CN"),
    ],
)  # fmt: skip
def test_the_browser_says_which_language(accept: str, language: str) -> None:
    assert words.preferred(accept) == language
