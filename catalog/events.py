"""Event tables and links between identifiers, as FEDERATION.yaml and party.yaml declare them.

Who runs it: the sandbox (all parties), a node (its own block).  An event is something a person
did at a time; a link is a record that two identifiers belong to one person.
Learns: nobody, anything; sources stay where they are, and passwords in the environment.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from catalog.vocabulary import CATEGORIES, KINDS
from catalog.yaml import Number, Strict, Text, Whole, one_of, wrong
from protocol.errors import BadInput

FILES = (".csv", ".parquet", ".pq", ".duckdb")
_URL = re.compile(r"[a-z][a-z0-9+]*://")
_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")
_EVENT = re.compile(r"[^\W\d]\w{0,63}")
_OFFSET = re.compile(r"([+-])(\d{2}):([0-5]\d)")
_MAX_SCALED = 1 << 53


def _name(value: str) -> str:
    if not _EVENT.fullmatch(value):
        raise wrong(f'"{value}" cannot name an event or field', "use letters, digits and _")
    return value


def _source(value: str) -> str:
    if not _URL.match(value) and Path(value).suffix.lower() not in FILES:
        raise wrong(
            f'"{_without_password(value)}" is no source of events',
            "name a .csv, .parquet or .duckdb file, or a database by its URL",
        )
    return value


def _offset(value: str) -> str:
    match = _OFFSET.fullmatch(value)
    if match is None or int(match[2]) > 14:
        raise wrong(f'"{value}" is no offset from UTC', 'write it as "+08:00"')
    return value


EventName = Annotated[Text, AfterValidator(_name)]
Source = Annotated[Text, AfterValidator(_source)]
Offset = Annotated[Text, AfterValidator(_offset)]


class EventField(Strict):
    """One declared column of an event.  bounds: numbers are clipped to them, if there are any."""

    kind: Annotated[Text, one_of(KINDS)]
    bounds: tuple[Number, Number] | None = None
    decimals: Annotated[Whole, Field(ge=0, le=9)] = 0
    column: Text | None = None

    @model_validator(mode="after")
    def _fits_kind(self) -> EventField:
        if self.kind != "number" and (
            self.bounds is not None or "decimals" in self.model_fields_set
        ):
            raise wrong(f"a {self.kind} has no bounds or decimals", "write kind: number")
        low, high = self.limits
        if low >= high:
            raise wrong("bounds are not in order", "write [lowest, highest]")
        for bound in self.limits:
            if bound.scaleb(self.decimals) % 1 or abs(bound.scaleb(self.decimals)) > _MAX_SCALED:
                raise wrong(f"the bound {bound} has too many digits", "round it or raise decimals")
        return self

    @property
    def limits(self) -> tuple[Decimal, Decimal]:
        """Bounds, or the largest numbers that stay exact."""
        if self.bounds is not None:
            return self.bounds
        most = Decimal(_MAX_SCALED).scaleb(-self.decimals)
        return -most, most


class EventTable(Strict):
    """One kind of event.  source: a file or a database's URL; table: where in the database."""

    source: Source
    category: Annotated[Text, one_of(CATEGORIES)]
    ids: dict[EventName, Text]
    time: Text
    table: Text | None = None
    id: Text | None = None  # a column that is unique: an event sent twice counts once
    fields: dict[EventName, EventField] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _complete(self) -> EventTable:
        if not self.ids:
            raise wrong("no identifier", "add ids: {email: COLUMN}, so that a person is known")
        if needs_table(self.source) and self.table is None:
            raise wrong("a database needs the name of a table", "add table: NAME")
        if not needs_table(self.source) and self.table is not None:
            raise wrong("a file holds one table", "delete table")
        return self

    def column(self, field: str) -> str:
        return self.fields[field].column or field


class LinkTable(Strict):
    """Records that tie identifiers of one person together, such as logins."""

    source: Source
    ids: dict[EventName, Text]
    table: Text | None = None

    @model_validator(mode="after")
    def _complete(self) -> LinkTable:
        if len(self.ids) < 2:
            raise wrong("a link needs two identifier types", "add ids: {email: …, device: …}")
        if needs_table(self.source) != (self.table is not None):
            raise wrong("table is for databases, and each needs it", "add or delete table")
        return self


class OneId(Strict):
    """How identifiers become one person.

    most: a person has at most so many identifiers of a type; a union beyond it is undone.
    weak: types that attach to one person and never join two: devices, cookies.
    """

    links: dict[EventName, LinkTable] = Field(default_factory=dict)
    most: dict[EventName, Annotated[Whole, Field(ge=1, le=1000)]] = Field(default_factory=dict)
    weak: tuple[EventName, ...] = ()


def needs_table(source: str) -> bool:
    """Whether `source` is a database, where a table must be named."""
    return bool(_URL.match(source)) or Path(source).suffix.lower() == ".duckdb"


def is_url(source: str) -> bool:
    return bool(_URL.match(source))


def located(source: str, folder: Path) -> str:
    """A file's absolute path; a URL as it is."""
    return source if is_url(source) else str((folder / Path(source).expanduser()).absolute())


def with_secrets(source: str, environment: Mapping[str, str] = os.environ) -> str:
    """`source` with ${NAME} replaced.  Raises BadInput for a variable that is not set."""

    def value(match: re.Match[str]) -> str:
        if match[1] not in environment:
            raise BadInput(
                f"the variable {match[1]} is not set (for {source})",
                next_step=f"export {match[1]} before the node starts",
            )
        return environment[match[1]]

    return _VARIABLE.sub(value, source)


def _without_password(source: str) -> str:
    return re.sub(r"://[^@/]*@", "://…@", source)


def shown(source: str) -> str:
    """`source` for people: a URL without user and password."""
    return _without_password(source)


def utc_offset(offset: str) -> timedelta:
    """East is positive."""
    match = _OFFSET.fullmatch(offset)
    assert match is not None
    size = timedelta(hours=int(match[2]), minutes=int(match[3]))
    return -size if match[1] == "-" else size
