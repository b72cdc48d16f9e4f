"""Tags to one set-based DuckDB query: one pass per event table, whatever the number of tags.

Who runs it: the node that owns the data, for every refresh.  Learns: nobody, anything.

Reads `people` (row, person, one column per attribute), one table per event and one per model's
job, as `party_node.profile_store` keeps them.  Numbers are scaled integers, so that a sum does
not depend on the order in which threads add; times are the party's own wall time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from catalog.tag_rules import Sources, kind_of
from catalog.tag_terms import (
    OF_EVENT,
    STAGED,
    Compare,
    Condition,
    Filter,
    Measure,
    Span,
    Test,
)
from catalog.tags import BANDS, RULES, Tag, TagSet
from catalog.vocabulary import OTHER, UNKNOWN
from party_node.tag_stage_sql import (
    lifecycle_columns,
    lifecycle_word,
    reviews,
    tier_part,
    tier_word,
)
from party_node.tag_test_sql import all_of, case_of, quoted, tag_test, text, value_test, within

Dated = tuple[Tag, int]  # a tag, and how many hours before the as-of moment
_DAY = 86_400_000_000  # microseconds
_TIES = 1 << 40  # events of one moment are told apart by their number, which stays below


def event_table(name: str) -> str:
    return quoted(f"event {name}")


def model_table(job: str, column: str) -> str:
    return quoted(f"model {job} {column}")


def field_column(name: str) -> str:
    return quoted(f"field {name}")


def attribute_column(name: str) -> str:
    return quoted(f"attribute {name}")


def tag_column(name: str, back: int = 0) -> str:
    """back: hours before the as-of moment."""
    return quoted(f"tag {name} {back} hours ago" if back else f"tag {name}")


def _hours(span: Span | None) -> int:
    return 0 if span is None else span.hours


def _back(measure: Measure, back: int) -> int:
    """What is not dated is as it is now, at any earlier moment too."""
    return 0 if measure.how in ("attribute", "model") else back


def refresh_query(
    tags: TagSet, names: Sequence[str], sources: Sources, as_of: datetime, *, touched: bool
) -> str:
    """row and one UTINYINT per tag of `names` (a code into its vocabulary), for every person or,
    with touched, for those of the table `touched` (person)."""
    return _Query(tags, sources, as_of, touched).text(names)


@dataclass
class _Query:
    """What the parts of the query share.

    columns: a measure, and how many hours back it is wanted → SQL of its value in `layer0`.
    """

    tags: TagSet
    sources: Sources
    as_of: datetime
    touched: bool
    parts: list[str] = field(default_factory=list)
    joins: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    columns: dict[tuple[Measure, int], str] = field(default_factory=dict)

    def text(self, names: Sequence[str]) -> str:
        wanted = self._wanted(names)
        measures = ((m, back) for tag, back in wanted for m in tag.measures)
        self._measures(dict.fromkeys((m, _back(m, back)) for m, back in measures))
        some = f"where people.{self._some()}" if self.touched else ""
        self.parts.append(
            f"layer0 as (select people.*{''.join(', ' + c for c in self.taken)} from people "  # noqa: S608
            f"{' '.join(self.joins)} {some})"
        )
        last = 0
        for last, layer in enumerate(self._layers(wanted), start=1):
            made = ", ".join(
                f"{self._value(tag, back)} as {tag_column(tag.name, back)}" for tag, back in layer
            )
            part = f"layer{last} as (select *, {made} from layer{last - 1})"  # noqa: S608
            self.parts.append(part)
        shown = ", ".join(tag_column(self.tags.now(name).name) for name in dict.fromkeys(names))
        return f"with {', '.join(self.parts)} select row, {shown} from layer{last}"  # noqa: S608

    def _some(self) -> str:
        return "person in (select person from touched)"

    def _events(self, event: str) -> str:
        """The event's table; for some people only theirs, looked up once for all measures."""
        if not self.touched:
            return event_table(event)
        name = quoted(f"touched {event}")
        fields = [field_column(field) for field in self.sources.events[event].fields]
        part = (
            f"{name} as materialized (select {', '.join(['person', 'seq', 'moment', *fields])} "  # noqa: S608
            f"from {event_table(event)} where {self._some()})"
        )
        if part not in self.parts:
            self.parts.append(part)
        return name

    def _wanted(self, names: Sequence[str]) -> list[Dated]:
        """Tags, each after those it is made from, and how many hours back they are wanted."""
        wanted = {(self.tags.now(name).name, 0) for name in names}
        for tag in reversed(self.tags.live):
            for back in [back for name, back in wanted if name == tag.name]:
                wanted |= {(used.name, more) for used, more in self._uses(tag, back)}
        return [(tag, back) for tag in self.tags.live
                for name, back in sorted(wanted) if name == tag.name]  # fmt: skip

    def _uses(self, tag: Tag, back: int) -> list[Dated]:
        return [(self.tags.now(m.of[0]), back + _hours(m.ending)) for m in tag.measures
                if m.how == "tag"]  # fmt: skip

    def _layers(self, wanted: Sequence[Dated]) -> list[list[Dated]]:
        """Tags by how deep they are made from others."""
        depth: dict[tuple[str, int], int] = {}
        layers: list[list[Dated]] = []
        for tag, back in wanted:
            below = [depth[used.name, more] for used, more in self._uses(tag, back)]
            here = depth[tag.name, back] = 1 + max(below, default=-1)
            if here == len(layers):
                layers.append([])
            layers[here].append((tag, back))
        return layers

    # -- measures --------------------------------------------------------------------------

    def _measures(self, measures: Iterable[tuple[Measure, int]]) -> None:
        of_event: dict[str, list[str]] = {}
        derived: list[str] = []
        for number, (measure, back) in enumerate(measures):
            name, key = f"m{number}", (measure, back)
            if measure.how == "attribute":
                self.columns[key] = attribute_column(measure.of[0])
            elif measure.how == "model":
                self._join_model(measure, name)
            elif measure.how == "sequence":
                sql = self._sequence(measure, name, back)
                self._join(f"{name} as ({sql})", name, [f"{name}.{name}"])
                self.columns[key] = f"coalesce({name}, 0)"
            elif measure.how == "top":
                sql = self._top(measure, name, back)
                self._join(f"{name} as ({sql})", name, [f"{name}.{name}"])
                self.columns[key] = name
            elif measure.tiers is not None:
                self._join(self._tier(measure, name, back), name, [f"{name}.{name}"])
                derived.append(f"{tier_word(name, measure)} as {name}w")
                self.columns[key] = f"{name}w"
            elif measure.how in STAGED:
                of_event.setdefault(measure.event, []).extend(self._stages(measure, name, back))
                derived.append(f"{lifecycle_word(name)} as {name}w")
                self.columns[key] = f"{name}w"
            elif measure.how != "tag":
                found = self._aggregate(measure, name, back)
                of_event.setdefault(measure.event, []).extend(found)
        for number, (event, aggregates) in enumerate(of_event.items()):
            part = (
                f"e{number} as (select person, {', '.join(aggregates)} "  # noqa: S608
                f"from {self._events(event)} where {self._seen()} group by person)"
            )
            named = [aggregate.rpartition(" as ")[2] for aggregate in aggregates]
            self._join(part, f"e{number}", [f"e{number}.{name}" for name in named])
        self.taken += derived

    def _join(self, part: str, name: str, columns: list[str]) -> None:
        self.parts.append(part)
        self.joins.append(f"left join {name} on {name}.person = people.person")
        self.taken += columns

    def _join_model(self, measure: Measure, name: str) -> None:
        table = model_table(*measure.of)
        self.joins.append(f"left join {table} as {name} on {name}.row = people.row")
        self.taken.append(f"{name}.value as {name}")
        self.columns[measure, 0] = name

    def _stages(self, measure: Measure, name: str, back: int) -> list[str]:
        assert measure.within is not None
        within, end = measure.within.hours, back + _hours(measure.ending)
        passes = self._passing(measure)

        def between(young: int, old: int | None) -> str:
            begin = "" if old is None else f" and moment >= {self._moment(old)}"
            return f"moment < {self._moment(young)}{begin}{passes}"

        return lifecycle_columns(name, within, end, between)

    def _tier(self, measure: Measure, name: str, back: int) -> str:
        assert measure.tiers is not None
        end = back + _hours(measure.ending)
        looked = reviews(measure.tiers, self.as_of, end)
        declared = self.sources.events[measure.event].fields
        decimals = declared[measure.field].decimals if measure.field else 0
        adds = field_column(measure.field) if measure.field else "1"
        begin = f"epoch_us({self._moment(end)}) - {looked.first}"
        events = (
            f"select person, epoch_us(moment) - ({begin}) as u, {adds} as d "  # noqa: S608
            f"from {self._events(measure.event)} where {self._seen()}{self._passing(measure)} "
            f"and {adds} is not null"
        )
        return tier_part(name, measure, looked, events, decimals)

    def _passing(self, measure: Measure) -> str:
        return "".join(f" and {self._passes(measure.event, item)}" for item in measure.where)

    def _aggregate(self, measure: Measure, name: str, back: int) -> list[str]:
        """SQL of one or two columns, each ending with ` as NAME`; notes the value's SQL."""
        column = field_column(measure.field)
        order = f"epoch_us(moment)::hugeint * {_TIES} + seq"
        key = (measure, back)
        self.columns[key] = name
        match measure.how:
            case "count":
                sql = "count(*)"
            case "days":
                sql = "count(distinct moment::date)"
            case "sum" | "avg":
                sql = f"sum({column})"
            case "min" | "max":
                sql = f"{measure.how}({column})"
            case how:
                end = "min" if how == "first" else "max"
                sql = f"arg_{end}({column}, {order})" if measure.field else f"{end}(moment)"
        where = self._where(measure, back)
        if measure.field and measure.how in OF_EVENT:
            where += f" and {column} is not null"
        made = [f"{sql} filter (where {where}) as {name}"]
        if measure.how in ("count", "days", "sum"):
            self.columns[key] = f"coalesce({name}, 0)"
        elif measure.how == "avg":
            made.append(f"count({column}) filter (where {where}) as {name}n")
        elif measure.how in OF_EVENT and not measure.field:
            now = f"epoch_us({self._moment(back)})"
            self.columns[key] = f"(({now} - epoch_us({name})) // {_DAY})"
        return made

    def _top(self, measure: Measure, name: str, back: int) -> str:
        column = field_column(measure.field)
        return f"""
            select person, arg_max(word, struct_pack(n := n, l := l, w := word)) as {name} from (
                select person, {column} as word, count(*) as n, max(moment) as l
                from {self._events(measure.event)}
                where {self._seen()} and {self._where(measure, back)} and {column} is not null
                group by person, word) group by person"""  # noqa: S608 - names are quoted

    def _sequence(self, measure: Measure, name: str, back: int) -> str:
        """Per step: the latest start of a chain that reaches it, among strictly earlier events."""
        where = f"{self._seen()} and {self._where(measure, back)}"
        sql = " union all ".join(
            f"select person, moment, {i} as step from {self._events(event)} where {where}"  # noqa: S608
            for i, event in enumerate(measure.of)
        )
        sql = f"select *, case when step = 0 then moment end as began from ({sql})"  # noqa: S608
        before = "range between unbounded preceding and interval 1 microsecond preceding"
        for i in range(1, len(measure.of)):
            sql = (
                f"select person, moment, step, case when step = {i} then max(began) "  # noqa: S608
                f"filter (where step = {i - 1}) over "
                f"(partition by person order by moment {before}) else began end as began "
                f"from ({sql})"
            )
        span = "" if measure.span is None else (
            f" and moment - began <= interval {measure.span.hours} hour"
        )  # fmt: skip
        return (
            f"select person, count(*) as {name} from ({sql}) "  # noqa: S608
            f"where step = {len(measure.of) - 1} and began is not null{span} group by person"
        )

    # -- which events ------------------------------------------------------------------------

    def _moment(self, hours: int) -> str:
        return f"(timestamp {text(self.as_of.isoformat(sep=' '))} - interval {hours} hour)"

    def _seen(self) -> str:
        """Events that exist yet, of somebody."""
        return f"moment < {self._moment(0)} and person is not null"

    def _where(self, measure: Measure, back: int) -> str:
        ending = back + _hours(measure.ending)
        tests = [f"moment < {self._moment(ending)}"]
        if measure.within is not None:
            tests.append(f"moment >= {self._moment(ending + measure.within.hours)}")
        tests += [self._passes(measure.event, item) for item in measure.where]
        return " and ".join(tests)

    def _passes(self, event: str, item: Filter) -> str:
        declared = self.sources.events[event].fields[item.field]
        column = field_column(item.field)
        return all_of(value_test(t, column, declared.kind, declared.decimals) for t in item.tests)

    # -- values ------------------------------------------------------------------------------

    def _value(self, tag: Tag, back: int) -> str:
        codes = {word: code for code, word in enumerate(tag.vocabulary)}
        unknown = codes.get(tag.unknown or UNKNOWN, 0)
        if tag.form == RULES:
            cases = [
                (self._holds(value.when, back), codes[value.value])
                for value in tag.values
                if value.when is not None
            ]
            last = tag.values[-1]
            return case_of(cases, codes[last.value] if last.when is None else unknown)
        assert tag.measure is not None
        known = Test("known", True)
        if tag.form == BANDS:
            cases = [
                (self._compare(tag.measure, (known, *within(band.low, band.high)), back),
                 codes[band.value])
                for band in tag.bands
            ]  # fmt: skip
            return case_of(cases, unknown)
        return self._word(tag, codes, unknown, back)

    def _word(self, tag: Tag, codes: dict[str, int], unknown: int, back: int) -> str:
        assert tag.measure is not None
        rest = OTHER
        words = {word: word for word in (value.value for value in tag.values)}
        if tag.mapping is not None:
            mapping = self.tags.mappings[tag.mapping]
            words, rest = dict(mapping.words), mapping.otherwise or OTHER
        known = self._compare(tag.measure, (Test("known", True),), back)
        cases = [(f"not ({known})", unknown)]
        cases += [
            (self._compare(tag.measure, (Test("is", word),), back), codes[ours])
            for word, ours in words.items()
        ]
        return case_of(cases, codes.get(rest, unknown))

    def _holds(self, term: Condition, back: int) -> str:
        if isinstance(term, Compare):
            return self._compare(term.measure, term.tests, back)
        parts = [f"({self._holds(part, back)})" for part in term.parts]
        if term.how == "not":
            return f"not {parts[0]}"
        return (" and " if term.how == "all" else " or ").join(parts)

    def _compare(self, measure: Measure, tests: Sequence[Test], back: int) -> str:
        if measure.how == "tag":
            tag = self.tags.now(measure.of[0])
            column = tag_column(tag.name, back + _hours(measure.ending))
            return all_of(tag_test(tag, test, column) for test in tests)
        kind = kind_of(measure, self.sources)
        column = self.columns[measure, _back(measure, back)]
        if measure.how == "avg":
            return all_of(
                value_test(t, column, "number", kind.decimals, f"{column}n") for t in tests
            )
        return all_of(value_test(t, column, kind.kind, kind.decimals) for t in tests)
