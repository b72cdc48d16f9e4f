"""Tests of the tag language as SQL that is true or false, never null.

Who runs it: `party_node.tag_sql`, at the node that owns the data.  Learns: nobody, anything.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal

from catalog.tag_terms import Test
from catalog.tags import Tag
from catalog.vocabulary import UNKNOWN

_SIGNS = {"at_least": ">=", "above": ">", "at_most": "<=", "below": "<"}


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A literal."""
    return "'" + value.replace("'", "''") + "'"


def case_of(cases: Sequence[tuple[str, int]], rest: int) -> str:
    when = " ".join(f"when {holds} then {code}" for holds, code in cases)
    return f"cast(case {when} else {rest} end as utinyint)"


def all_of(tests: Iterable[str]) -> str:
    return " and ".join(f"({test})" for test in tests)


def within(low: Decimal | None, high: Decimal | None) -> tuple[Test, ...]:
    ends = (("at_least", low), ("below", high))
    return tuple(Test(op, end) for op, end in ends if end is not None)


def tag_test(tag: Tag, test: Test, column: str) -> str:
    codes = {word: code for code, word in enumerate(tag.vocabulary)}
    if test.op == "known":
        unknown = codes.get(tag.unknown or UNKNOWN)
        known = "true" if unknown is None else f"{column} <> {unknown}"
        return known if test.value else f"not ({known})"
    words = test.value if isinstance(test.value, tuple) else (str(test.value),)
    return f"{column} in ({', '.join(str(codes[word]) for word in words)})"


def value_test(test: Test, column: str, kind: str, decimals: int, times: str = "") -> str:
    """SQL that is true or false, never null.  times: of an average, what it is divided by."""
    if test.op == "known":
        return f"{column} is {'not ' if test.value else ''}null"
    if kind == "flag":
        return f"coalesce({column} = {'true' if test.value == 'yes' else 'false'}, false)"
    if kind == "label":
        words = test.value if isinstance(test.value, tuple) else (str(test.value),)
        return f"coalesce({column} in ({', '.join(map(text, words))}), false)"
    return f"coalesce({_number(test, column, decimals, times)}, false)"


def _number(test: Test, column: str, decimals: int, times: str) -> str:
    """Both sides as whole numbers of one scale: exact, also for averages."""
    value = Decimal(str(test.value))
    places = max(0, -int(value.as_tuple().exponent))
    scale = max(places, decimals)
    right = str(int(value.scaleb(scale)))
    left = f"{column}::hugeint * {10 ** (scale - decimals)}"
    if times:
        right = f"{right}::hugeint * {times}"
    return f"{left} {_SIGNS.get(test.op, '=')} {right}"
