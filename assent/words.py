"""Words of the report in the reader's language: the one place where they are looked up.

Who runs it: the report, the terminal (in English).  Learns: nobody, anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from markupsafe import Markup

from assent import learns_en, learns_zh, words_en, words_zh
from assent.errors_zh import ERRORS
from protocol.errors import BadInput

CATALOGUES: Mapping[str, Mapping[str, str]] = {
    "en": words_en.WORDS | learns_en.WORDS,
    "zh": words_zh.WORDS | learns_zh.WORDS,
}
LANGUAGES = {"en": "English", "zh": "中文"}
TAGS = {"en": "en", "zh": "zh-CN"}  # of the HTML attribute lang
DEFAULT = "en"
# A space stands between Chinese and Latin words, and what is filled in may be either.
_WIDE = "\u3000-\u303f\u4e00-\u9fff\uff00-\uff60"
_WIDE_SPACE = re.compile(f"(?<=[{_WIDE}]) (?=[{_WIDE}])")


def say(language: str, key: str, **words: object) -> str:
    """The sentence of `key`; a key that does not exist is a defect, found by a test."""
    said = CATALOGUES[language][key].format(**words)
    return _WIDE_SPACE.sub("", said) if language == "zh" else said


def say_marked(language: str, key: str, **words: object) -> Markup:
    """A sentence that has markup of its own; `words` are escaped."""
    return Markup(CATALOGUES[language][key]).format(**words)  # noqa: S704  ours, no user's


def check_language(language: str) -> str:
    """`language` if the report speaks it.  Raises BadInput for others."""
    if language not in CATALOGUES:
        raise BadInput(f"{language!r} is not a language of reports", next_step="use en or zh")
    return language


def warning(language: str, text: str) -> str:
    """A warning of a result, which is English, in `language`; '' where there are no words."""
    if language == "en":
        return text
    for key, english in CATALOGUES["en"].items():
        if key.startswith("warning_"):
            names = re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>.+?)", re.escape(english))
            if match := re.fullmatch(names, text):
                return say(language, key, **match.groupdict())
    return ""


def error(language: str, code: str) -> str:
    """What `code` of an error means, where the error's own words are in another language."""
    return ERRORS.get(code, "") if language == "zh" else ""
