"""Whom a result is shown to: language, numbers, and what companies call their attributes.

What: titles of a result's `titles` in the reader's language, the name that jobs use otherwise.
Who runs it: the report, in each language; the terminal, in English and with names, because a
person there writes jobs.  Learns: nothing new.
Section: contracts.md, result.json.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from assent.words import CATALOGUES, say

_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August",
           "September", "October", "November", "December")  # fmt: skip


@dataclass(frozen=True)
class Reader:
    """titles: name of an attribute → its title by language and, in `values`, those of values.

    bilingual: suggested names are given in both languages.
    """

    language: str = "en"
    titles: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    bilingual: bool = False

    def say(self, key: str, **words: object) -> str:
        return say(self.language, key, **words)

    def known(self, key: str, otherwise: str) -> str:
        """The words of a closed list's value; what is newer than the list, as it is."""
        return CATALOGUES[self.language].get(key, otherwise)

    # -- names -----------------------------------------------------------------------------

    def attribute(self, name: str) -> str:
        """'shop/winback' → 'Win back (shop)'; without a title as it is."""
        title = self._title(self.titles.get(name))
        party, slash, _ = name.partition("/")
        if not title:
            return name
        return self.say("of_party", title=title, party=party) if slash else title

    def attributes(self, names: Sequence[str]) -> list[str]:
        """Several; two that have one title, by the names of jobs."""
        said = [self.attribute(name) for name in names]
        return [
            one if said.count(one) == 1 else name for one, name in zip(said, names, strict=True)
        ]

    def short(self, name: str) -> str:
        """Without the party."""
        return self._title(self.titles.get(name)) or name.split("/")[-1]

    def shortest(self, names: Sequence[str]) -> list[str]:
        """Without the party, where that leaves no two alike."""
        short = [self.short(name) for name in names]
        full = self.attributes(names)
        return [
            one if short.count(one) == 1 else long for one, long in zip(short, full, strict=True)
        ]

    def value(self, attribute: str, value: Any) -> str:
        """A value of an attribute; of a flag with its name, or it would say nothing."""
        if isinstance(value, bool):
            answer = self.say("yes" if value else "no")
            return self.short(attribute) + self.say("colon") + answer
        if value is None:
            return self.say("word_unknown")
        return self._value(self.titles.get(attribute), str(value))

    def alone(self, attribute: str, value: Any) -> str:
        """A value beside or below the attribute's own name."""
        if isinstance(value, bool):
            return self.say("yes" if value else "no")
        return self.value(attribute, value)

    def word(self, value: str) -> str:
        """A value that several attributes have, such as a stage: the title of the first."""
        for said in self.titles.values():
            if value in said.get("values", {}):
                return self._value(said, value)
        return self._value(None, value)

    def output(self, key: str) -> str:
        """An output that carries noise; the values of a label ('sum:a/b=c') are one."""
        kind, colon, rest = key.partition(":")
        if not colon:
            return self.known(f"output_{key}", self.attribute(key))
        attribute, equals, _ = rest.partition("=")
        said = self.attribute(attribute)
        if equals:
            return self.say("output_each_value", attribute=said)
        known = f"output_{kind}" in CATALOGUES[self.language]
        return self.say(f"output_{kind}", attribute=said) if known else key

    def withheld(self, reason: str) -> str:
        return self.known(f"withheld_{reason}", words(reason))

    def excluded(self, reason: str) -> str:
        return self.known(f"excluded_{reason}", words(reason))

    def listed(self, texts: Iterable[str]) -> str:
        return self.say("between").join(texts)

    def _title(self, said: Mapping[str, Any] | None) -> str:
        return str((said or {}).get(self.language) or "")

    def _value(self, said: Mapping[str, Any] | None, value: str) -> str:
        """Two values that have one title are called by the words of jobs."""
        titles = (said or {}).get("values", {})
        if title := self._title(titles.get(value)):
            alike = sum(self._title(other) == title for other in titles.values())
            return title if alike == 1 else value
        word = CATALOGUES[self.language].get(f"word_{value}")
        if word is None:
            return value
        return word.capitalize() if titles else word  # among titles it looks like one

    # -- numbers ---------------------------------------------------------------------------

    def day(self, moment: datetime) -> str:
        """A date and minute, with the offset of the clock that it was read from."""
        offset = moment.strftime("%z")
        zone = f"UTC{offset[:3]}:{offset[3:5]}" if offset and int(offset) else "UTC"
        clock = moment.strftime("%H:%M")
        if self.language == "zh":
            return f"{moment.year} 年 {moment.month} 月 {moment.day} 日 {clock}（{zone}）"
        return f"{moment.day} {_MONTHS[moment.month - 1]} {moment.year}, {clock} ({zone})"


TERMINAL = Reader(bilingual=True)


def number(value: Any) -> str:
    """1234567.5 → '1,234,568'; 49.40 → '49.4'; nothing → '–'."""
    if value is None or isinstance(value, bool) or not isinstance(value, int | float):
        return "–" if value is None else str(value)
    if isinstance(value, int) or abs(value) >= 1000:
        return f"{value:,.0f}"
    return f"{value:,.2f}".rstrip("0").rstrip(".")


def percent(share: float) -> str:
    """0.396 → '39.6%'; 0.2 → '20%'."""
    text = f"{100 * share:.1f}"
    return text.removesuffix(".0") + "%"


def size(count: Any) -> str:
    """Bytes in units of 1000."""
    amount = float(count or 0)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:,.0f} {unit}"
        amount /= 1000
    return f"{amount:,.1f} GB"


def words(code: Any) -> str:
    """'below_min_cohort' → 'below min cohort'."""
    return str(code).replace("_", " ")
