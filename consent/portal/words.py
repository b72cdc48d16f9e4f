"""Words, dates and lists in the reader's language.

Who runs it: the portal.  Learns: nobody, anything.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping

from consent.portal import words_en, words_zh

CATALOGUES: Mapping[str, Mapping[str, str]] = {"zh-CN": words_zh.WORDS, "en": words_en.WORDS}
LANGUAGES = (("zh-CN", "中文"), ("en", "English"))
DEFAULT = "zh-CN"


def say(language: str, key: str, **words: object) -> str:
    """The sentence of `key`; a key that does not exist is a defect, found by a test."""
    return CATALOGUES[language][key].format(**words)


def when(language: str, time_ms: int, offset_minutes: int = 480) -> str:
    """A date and minute; offset_minutes: of the reader's clock from UTC, China's by default."""
    moment = time.gmtime(time_ms / 1000 + offset_minutes * 60)
    if language == "zh-CN":
        return time.strftime("%Y年%-m月%-d日 %H:%M", moment)
    months = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"]
    return f"{moment.tm_mday} {months[moment.tm_mon - 1]} {time.strftime('%Y, %H:%M', moment)}"


def listed(language: str, prefix: str, keys: Iterable[str]) -> str:
    return say(language, "and").join(say(language, prefix + key) for key in keys)


def preferred(accept: str) -> str:
    """The language that an Accept-Language header wants most of those there are."""
    best, best_weight = DEFAULT, 0.0
    for part in accept[:200].split(","):
        tag, _, weight = part.strip().partition(";q=")
        try:
            value = float(weight or 1)
        except ValueError:
            continue
        short = tag.split("-")[0].lower()
        for language in CATALOGUES:
            if language.split("-")[0] == short and value > best_weight:
                best, best_weight = language, value
    return best
