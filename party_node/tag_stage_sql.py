"""Lifecycle stages and membership tiers as SQL: what happened per period, then one word.

Who runs it: `party_node.tag_sql`, at the node that owns the data.  Learns: nobody, anything.
docs/TAGS.md says the rules in words.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from catalog.tag_terms import Measure, Tiers
from party_node.tag_test_sql import text

MOST_REVIEWS = 400  # earlier ones no longer count; a query must not grow for ever
_MICROSECOND = timedelta(microseconds=1)
_HOUR = 3_600_000_000  # microseconds

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


@dataclass(frozen=True)
class Reviews:
    """number: how many count.  first: microseconds between the earliest of them and the moment
    that is asked about.  step: between two of them."""

    number: int
    first: int
    step: int


def reviews(tiers: Tiers, as_of: datetime, back: int) -> Reviews:
    """Those that have passed `back` hours before `as_of`."""
    passed = as_of - datetime.fromisoformat(tiers.since) - timedelta(hours=back)
    step = timedelta(hours=tiers.review.hours)
    done = max(0, passed // step + 1)
    first = max(0, done - MOST_REVIEWS)
    return Reviews(done - first, (passed - first * step) // _MICROSECOND, step // _MICROSECOND)


def tier_part(name: str, measure: Measure, looked: Reviews, events: str, decimals: int) -> str:
    """SQL: person, and `name`, the standing after the last review.

    events: SQL of person, u (microseconds since the first review) and d (what the event adds).

    An event counts at the reviews from its own on until it is too old, so a person's total changes
    twice per event and not at every review: each stretch of reviews with one total is one step of
    a fold.  A total for each of 400 reviews took half a minute for 50,000 people.
    """
    assert measure.within is not None
    within = measure.within.hours * _HOUR
    n, step = looked.number, looked.step
    return (
        f"{name} as (select person, list_reduce(list_prepend({{'v': 0::hugeint, 'm': 0::hugeint}}, "  # noqa: S608
        f"list({{'v': v::hugeint, 'm': m::hugeint}} order by k)), {_fold(measure, decimals)}).v "
        f"as {name} from (select person, k, sum(d) over (partition by person order by k) as v, "
        f"lead(k, 1, {n}) over (partition by person order by k) - k as m "
        f"from (select person, k, sum(d) as d from (select person, unnest([a, b]) as k, "
        f"unnest([d, -d]) as d from (select person, if(u < 0, 0, u // {step} + 1) as a, "
        f"(u + {within}) // {step} + 1 as b, d from ({events}) where u + {within} >= 0)) "
        f"where k < {n} group by person, k)) group by person)"
    )


def tier_word(name: str, measure: Measure) -> str:
    assert measure.tiers is not None
    words = zip(_tops(measure.tiers), measure.tiers.levels, strict=True)
    cases = " ".join(f"when {name} <= {top} then {text(at.value)}" for top, at in words)
    return f"case when {name} is null then {text(measure.tiers.levels[0].value)} {cases} end"


def _tops(tiers: Tiers) -> list[int]:
    """Of each level the standing of who just reached it.

    A standing is one number: of every review without what keeps the level it loses one, and when
    the level's grace is used up it has come to the top of the level below.
    """
    found = [0]
    for level in tiers.levels[1:]:
        found.append(found[-1] + tiers.reviews_in_grace(level) + 1)
    return found


def _fold(measure: Measure, decimals: int) -> str:
    """From the standing s.v, over x.m reviews at each of which x.v counts."""
    tiers = measure.tiers
    assert tiers is not None
    tops = _tops(tiers)
    earned = _highest(tiers, "at", decimals)
    kept = _highest(tiers, "keep", decimals)
    top = f"(case {' '.join(f'when s.v <= {t} then {t}' for t in tops)} end)"
    down = f"greatest({kept}, s.v - x.m)"
    if tiers.downgrade != "one":
        below = f"(case {' '.join(f'when s.v > {t} then {t}' for t in reversed(tops))} end)"
        down = f"case when s.v - x.m <= {below} then {kept} else s.v - x.m end"
    found = f"case when {earned} >= s.v then {earned} when s.v <= {kept} then {top} else {down} end"
    return f"lambda s, x: {{'v': ({found})::hugeint, 'm': 0::hugeint}}"


def _highest(tiers: Tiers, end: str, decimals: int) -> str:
    """SQL: the top of the highest level whose `end` the total x.v reaches."""
    cases = [
        f"when {_reaches(bound, decimals)} then {top}"
        for top, level in reversed(list(zip(_tops(tiers), tiers.levels, strict=True)))
        if (bound := getattr(level, end)) is not None
    ]
    return f"(case {' '.join(cases)} else 0 end)"


def _reaches(bound: Decimal, decimals: int) -> str:
    """SQL: x.v, in units of 10^-decimals, is at least `bound`; both as whole numbers."""
    scale = max(decimals, -int(bound.as_tuple().exponent))
    return f"x.v * {10 ** (scale - decimals)} >= {int(bound.scaleb(scale))}"
