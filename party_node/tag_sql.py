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
from decimal import Decimal

from catalog.tag_rules import Sources, kind_of
from catalog.tag_terms import (
    OF_EVENT,
    Compare,
    Condition,
    Filter,
    Measure,
    Test,
)
from catalog.tags import BANDS, RULES, Tag, TagSet
from catalog.vocabulary import OTHER, UNKNOWN

_SIGNS = {"at_least": ">=", "above": ">", "at_most": "<=", "below": "<"}
_DAY = 86_400_000_000  # microseconds
_TIES = 1 << 40  # events of one moment are told apart by their number, which stays below


def quoted(name: str) -> str:
    """An identifier."""
    return '"' + name.replace('"', '""') + '"'


def text(value: str) -> str:
    """A literal."""
    return "'" + value.replace("'", "''") + "'"


def event_table(name: str) -> str:
    return quoted(f"event {name}")


def model_table(job: str, column: str) -> str:
    return quoted(f"model {job} {column}")


def field_column(name: str) -> str:
    return quoted(f"field {name}")


def attribute_column(name: str) -> str:
    return quoted(f"attribute {name}")


def tag_column(name: str) -> str:
    return quoted(f"tag {name}")


def refresh_query(
    tags: TagSet, names: Sequence[str], sources: Sources, as_of: datetime, *, touched: bool
) -> str:
    """row and one UTINYINT per tag of `names` (a code into its vocabulary), for every person or,
    with touched, for those of the table `touched` (person)."""
    return _Query(tags, sources, as_of, touched).text(names)


@dataclass
class _Query:
    """What the parts of the query share.  columns: measure → SQL of its value in `base`."""

    tags: TagSet
    sources: Sources
    as_of: datetime
    touched: bool
    parts: list[str] = field(default_factory=list)
    joins: list[str] = field(default_factory=list)
    taken: list[str] = field(default_factory=list)
    columns: dict[Measure, str] = field(default_factory=dict)

    def text(self, names: Sequence[str]) -> str:
        wanted = {self.tags.now(name).name for name in names}
        for tag in reversed(self.tags.live):
            if tag.name in wanted:
                wanted |= {self.tags.now(used).name for used in tag.uses}
        live = [tag for tag in self.tags.live if tag.name in wanted]
        self._measures(dict.fromkeys(m for tag in live for m in tag.measures))
        some = f"where people.{self._some()}" if self.touched else ""
        self.parts.append(
            f"layer0 as (select people.*{''.join(', ' + c for c in self.taken)} from people "  # noqa: S608
            f"{' '.join(self.joins)} {some})"
        )
        last = 0
        for last, layer in enumerate(self._layers(live), start=1):
            made = ", ".join(f"{self._value(tag)} as {tag_column(tag.name)}" for tag in layer)
            part = f"layer{last} as (select *, {made} from layer{last - 1})"  # noqa: S608
            self.parts.append(part)
        shown = ", ".join(tag_column(self.tags.now(name).name) for name in dict.fromkeys(names))
        return f"with {', '.join(self.parts)} select row, {shown} from layer{last}"  # noqa: S608

    def _some(self) -> str:
        return "person in (select person from touched)"

    def _layers(self, live: Sequence[Tag]) -> list[list[Tag]]:
        """Tags by how deep they are made from others."""
        depth: dict[str, int] = {}
        layers: list[list[Tag]] = []
        for tag in live:
            depth[tag.name] = 1 + max((depth[self.tags.now(u).name] for u in tag.uses), default=-1)
            if depth[tag.name] == len(layers):
                layers.append([])
            layers[depth[tag.name]].append(tag)
        return layers

    # -- measures --------------------------------------------------------------------------

    def _measures(self, measures: Iterable[Measure]) -> None:
        of_event: dict[str, list[str]] = {}
        for number, measure in enumerate(measures):
            name = f"m{number}"
            if measure.how == "attribute":
                self.columns[measure] = attribute_column(measure.of[0])
            elif measure.how == "model":
                self._join_model(measure, name)
            elif measure.how == "sequence":
                self._join(f"{name} as ({self._sequence(measure, name)})", name, [f"{name}.{name}"])
                self.columns[measure] = f"coalesce({name}, 0)"
            elif measure.how == "top":
                self._join(f"{name} as ({self._top(measure, name)})", name, [f"{name}.{name}"])
                self.columns[measure] = name
            elif measure.how != "tag":
                of_event.setdefault(measure.event, []).extend(self._aggregate(measure, name))
        for number, (event, aggregates) in enumerate(of_event.items()):
            part = (
                f"e{number} as (select person, {', '.join(aggregates)} "  # noqa: S608
                f"from {event_table(event)} where {self._seen()} group by person)"
            )
            named = [aggregate.rpartition(" as ")[2] for aggregate in aggregates]
            self._join(part, f"e{number}", [f"e{number}.{name}" for name in named])

    def _join(self, part: str, name: str, columns: list[str]) -> None:
        self.parts.append(part)
        self.joins.append(f"left join {name} on {name}.person = people.person")
        self.taken += columns

    def _join_model(self, measure: Measure, name: str) -> None:
        table = model_table(*measure.of)
        self.joins.append(f"left join {table} as {name} on {name}.row = people.row")
        self.taken.append(f"{name}.value as {name}")
        self.columns[measure] = name

    def _aggregate(self, measure: Measure, name: str) -> list[str]:
        """SQL of one or two columns, each ending with ` as NAME`; notes the value's SQL."""
        column = field_column(measure.field)
        order = f"epoch_us(moment)::hugeint * {_TIES} + seq"
        self.columns[measure] = name
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
        where = self._where(measure)
        if measure.field and measure.how in OF_EVENT:
            where += f" and {column} is not null"
        made = [f"{sql} filter (where {where}) as {name}"]
        if measure.how in ("count", "days", "sum"):
            self.columns[measure] = f"coalesce({name}, 0)"
        elif measure.how == "avg":
            made.append(f"count({column}) filter (where {where}) as {name}n")
        elif measure.how in OF_EVENT and not measure.field:
            now = f"epoch_us({self._moment(0)})"
            self.columns[measure] = f"(({now} - epoch_us({name})) // {_DAY})"
        return made

    def _top(self, measure: Measure, name: str) -> str:
        column = field_column(measure.field)
        return f"""
            select person, arg_max(word, struct_pack(n := n, l := l, w := word)) as {name} from (
                select person, {column} as word, count(*) as n, max(moment) as l
                from {event_table(measure.event)}
                where {self._seen()} and {self._where(measure)} and {column} is not null
                group by person, word) group by person"""  # noqa: S608 - names are quoted

    def _sequence(self, measure: Measure, name: str) -> str:
        """Per step: the latest start of a chain that reaches it, among strictly earlier events."""
        where = f"{self._seen()} and {self._where(measure)}"
        sql = " union all ".join(
            f"select person, moment, {i} as step from {event_table(event)} where {where}"  # noqa: S608
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
        """Events that exist yet, of the people that are asked about."""
        seen = f"moment < {self._moment(0)} and person is not null"
        return f"{seen} and {self._some()}" if self.touched else seen

    def _where(self, measure: Measure) -> str:
        ending = 0 if measure.ending is None else measure.ending.hours
        tests = [f"moment < {self._moment(ending)}"]
        if measure.within is not None:
            tests.append(f"moment >= {self._moment(ending + measure.within.hours)}")
        tests += [self._passes(measure.event, item) for item in measure.where]
        return " and ".join(tests)

    def _passes(self, event: str, item: Filter) -> str:
        declared = self.sources.events[event].fields[item.field]
        column = field_column(item.field)
        return _all(_test(t, column, declared.kind, declared.decimals) for t in item.tests)

    # -- values ------------------------------------------------------------------------------

    def _value(self, tag: Tag) -> str:
        codes = {word: code for code, word in enumerate(tag.vocabulary)}
        unknown = codes.get(tag.unknown or UNKNOWN, 0)
        if tag.form == RULES:
            cases = [
                (self._holds(value.when), codes[value.value])
                for value in tag.values
                if value.when is not None
            ]
            last = tag.values[-1]
            return _case(cases, codes[last.value] if last.when is None else unknown)
        assert tag.measure is not None
        known = Test("known", True)
        if tag.form == BANDS:
            cases = [
                (self._compare(tag.measure, (known, *_within(band.low, band.high))),
                 codes[band.value])
                for band in tag.bands
            ]  # fmt: skip
            return _case(cases, unknown)
        return self._word(tag, codes, unknown)

    def _word(self, tag: Tag, codes: dict[str, int], unknown: int) -> str:
        assert tag.measure is not None
        rest = OTHER
        words = {word: word for word in (value.value for value in tag.values)}
        if tag.mapping is not None:
            mapping = self.tags.mappings[tag.mapping]
            words, rest = dict(mapping.words), mapping.otherwise or OTHER
        known = self._compare(tag.measure, (Test("known", True),))
        cases = [(f"not ({known})", unknown)]
        cases += [
            (self._compare(tag.measure, (Test("is", word),)), codes[ours])
            for word, ours in words.items()
        ]
        return _case(cases, codes[rest])

    def _holds(self, term: Condition) -> str:
        if isinstance(term, Compare):
            return self._compare(term.measure, term.tests)
        parts = [f"({self._holds(part)})" for part in term.parts]
        if term.how == "not":
            return f"not {parts[0]}"
        return (" and " if term.how == "all" else " or ").join(parts)

    def _compare(self, measure: Measure, tests: Sequence[Test]) -> str:
        if measure.how == "tag":
            tag = self.tags.now(measure.of[0])
            return _all(_tag_test(tag, test) for test in tests)
        kind = kind_of(measure, self.sources)
        column = self.columns[measure]
        if measure.how == "avg":
            return _all(_test(t, column, "number", kind.decimals, f"{column}n") for t in tests)
        return _all(_test(t, column, kind.kind, kind.decimals) for t in tests)


def _case(cases: Sequence[tuple[str, int]], rest: int) -> str:
    when = " ".join(f"when {holds} then {code}" for holds, code in cases)
    return f"cast(case {when} else {rest} end as utinyint)"


def _all(tests: Iterable[str]) -> str:
    return " and ".join(f"({test})" for test in tests)


def _within(low: Decimal | None, high: Decimal | None) -> tuple[Test, ...]:
    ends = (("at_least", low), ("below", high))
    return tuple(Test(op, end) for op, end in ends if end is not None)


def _tag_test(tag: Tag, test: Test) -> str:
    column = tag_column(tag.name)
    codes = {word: code for code, word in enumerate(tag.vocabulary)}
    if test.op == "known":
        unknown = codes.get(tag.unknown or UNKNOWN)
        known = "true" if unknown is None else f"{column} <> {unknown}"
        return known if test.value else f"not ({known})"
    words = test.value if isinstance(test.value, tuple) else (str(test.value),)
    return f"{column} in ({', '.join(str(codes[word]) for word in words)})"


def _test(test: Test, column: str, kind: str, decimals: int, times: str = "") -> str:
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
