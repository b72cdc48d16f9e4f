"""Lifecycle stages and membership tiers as SQL: what happened per period, then one word.

Who runs it: `party_node.tag_sql`, at the node that owns the data.  Learns: nobody, anything.
docs/TAGS.md says the rules in words.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal

from catalog.tag_terms import Level, Measure, Tiers
from party_node.tag_test_sql import text

MOST_REVIEWS = 400  # earlier ones no longer count; a query must not grow for ever
_TIER = 1024  # a person's state: level * _TIER + reviews in a row without what keeps it

Between = Callable[[int, int | None], str]  # SQL: events under so many hours old, and over


def lifecycle_columns(name: str, hours: int, ending: int, between: Between) -> list[str]:
    """Events of the period, of the one before, and of all time before the period."""
    here, before = between(ending, ending + hours), between(ending + hours, ending + 2 * hours)
    ever = between(ending + hours, None)
    return [
        f"count(*) filter (where {here}) as {name}",
        f"count(*) filter (where {before}) as {name}b",
        f"count(*) filter (where {ever}) as {name}e",
    ]


def lifecycle_word(name: str) -> str:
    """Null where nothing ever happened."""
    return (
        f"case when coalesce({name}, 0) + coalesce({name}e, 0) = 0 then null "
        f"when {name} = 0 and {name}b = 0 then 'lost' when {name} < {name}b then 'declining' "
        f"when {name}e = 0 then 'new' when {name} > {name}b then 'growing' else 'mature' end"
    )


def reviews(tiers: Tiers, as_of: datetime, back: int) -> list[int]:
    """Microseconds between each review and `back` hours before `as_of`, the earliest first."""
    passed = as_of - datetime.fromisoformat(tiers.since) - timedelta(hours=back)
    step = timedelta(hours=tiers.review.hours)
    done = max(0, passed // step + 1)
    first = max(0, done - MOST_REVIEWS)
    return [(passed - k * step) // timedelta(microseconds=1) for k in range(first, done)]


def tier_column(name: str, total: str, windows: list[str]) -> str:
    """The list of what counts at each review.  windows: SQL, which events of each review."""
    parts = [f"coalesce({total} filter (where {window}), 0)::bigint" for window in windows]
    return f"[{', '.join(parts)}]::bigint[] as {name}"


def tier_word(name: str, measure: Measure, decimals: int) -> str:
    """The level after the last review, as a fold over the list."""
    tiers = measure.tiers
    assert tiers is not None
    levels = tiers.levels
    level, missed = f"(s // {_TIER})", f"(s % {_TIER})"
    earned = _highest(levels, "at", decimals)
    down = f"{level} - 1" if tiers.downgrade == "one" else _highest(levels, "keep", decimals)
    kept = " ".join(
        f"when {n} then {_reaches(at.keep, decimals)}" for n, at in enumerate(levels) if at.keep
    )
    grace = " ".join(f"when {n} then {tiers.reviews_in_grace(at)}" for n, at in enumerate(levels))
    fold = (
        f"case when {earned} > {level} then {earned} * {_TIER} "
        f"when case {level} {kept} else true end then {level} * {_TIER} "
        f"when {missed} + 1 > case {level} {grace} end then ({down}) * {_TIER} "
        f"else s + 1 end"
    )
    start = f"list_prepend(0::bigint, coalesce({name}, []::bigint[]))"
    words = " ".join(f"when {n} then {text(at.value)}" for n, at in enumerate(levels))
    return f"case list_reduce({start}, lambda s, v: ({fold})::bigint) // {_TIER} {words} end"


def _highest(levels: tuple[Level, ...], end: str, decimals: int) -> str:
    """SQL: the number of the highest level whose `end` the value v reaches."""
    cases = [
        f"when {_reaches(bound, decimals)} then {n}"
        for n, level in reversed(list(enumerate(levels)))
        if (bound := getattr(level, end)) is not None
    ]
    return f"(case {' '.join(cases)} else 0 end)"


def _reaches(bound: Decimal | None, decimals: int) -> str:
    """SQL: v, in units of 10^-decimals, is at least `bound`; both as whole numbers."""
    assert bound is not None
    scale = max(decimals, -int(bound.as_tuple().exponent))
    return f"v::hugeint * {10 ** (scale - decimals)} >= {int(bound.scaleb(scale))}"
