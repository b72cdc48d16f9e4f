"""A party's table, read once, as columns: the only reader of raw rows.

Who runs it: every party's node; the composition root makes it, the gates take from it.
Learns: nobody, anything; only the vocabulary and nullability of a declared attribute leave
the node, in an offer.  contracts.md, FEDERATION.yaml; protocols.md section 1 (canonical
identifiers, ambiguity over the whole table).
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.federation import Party
from catalog.vocabulary import UNKNOWN
from consent import column_sql
from consent.notices import load_notices
from party_node.attribute_columns import Labels, flags, labels, number
from party_node.canonical import canonical_column, present
from party_node.table_file import TextTable, read_columns
from protocol.rows import EligibleRows, Number

Index = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Counts:
    """What was left out of matching, over the whole table.

    ambiguous: identifiers that point to two or more rows, over all types.
    unparsable: type → cells that hold something which is no identifier of the type.
    """

    ambiguous_by_type: Mapping[str, int]
    unparsable: Mapping[str, int]

    @property
    def ambiguous(self) -> int:
        return sum(self.ambiguous_by_type.values())


class Dataset:
    """Columnar; `index` arguments are int64 row numbers from 0."""

    def __init__(
        self,
        rows: int,
        version: str,
        identifiers: Mapping[str, pa.StringArray],
        matchable: Mapping[str, pa.StringArray],
        counts: Counts,
        labels: Mapping[str, Labels],
        numbers: Mapping[str, Number],
        people: pa.Table | None = None,
    ) -> None:
        self.rows = rows
        self.version = version  # hex SHA-256 of the table's file
        self.counts = counts
        self._identifiers = identifiers
        self._matchable = matchable
        self._labels = dict(labels)
        self._numbers = numbers
        self._people = people
        self._file_version = version

    @classmethod
    def load(cls, party: Party) -> Dataset:
        """Reads and checks the whole table.

        Raises BadInput with file, row or column, and the fix.
        """
        table = _read(party)
        of_labels, of_numbers = _attributes(party, table)
        everyone: dict[str, pa.StringArray] = {}
        matchable: dict[str, pa.StringArray] = {}
        ambiguous: dict[str, int] = {}
        unparsable: dict[str, int] = {}
        for kind, column in party.ids.items():
            raw = table.columns[column]
            found = canonical_column(kind, raw, party.default_region)
            unparsable[kind] = pc.sum(pc.and_(present(raw), pc.is_null(found))).as_py() or 0
            matchable[kind], ambiguous[kind] = _without_ambiguous(found)
            everyone[kind] = found
        counts = Counts(ambiguous, unparsable)
        people = _people(party, table, of_labels, of_numbers) if party.profiled else None
        return cls(
            table.rows, table.version, everyone, matchable, counts, of_labels, of_numbers, people
        )

    def __repr__(self) -> str:  # rows never reach a log by accident
        return f"Dataset(rows={self.rows})"

    # -- facts that may leave, in an offer -------------------------------------------------

    def vocabulary(self, attribute: str) -> tuple[str, ...]:
        """A label's values in the order of its codes; ('false', 'true') for a flag."""
        return self._labels[attribute].vocabulary

    def nullable(self, attribute: str) -> bool:
        """Whether any row of the whole table has no value."""
        if attribute in self._numbers:
            return bool(self._numbers[attribute].null.any())
        return self._labels[attribute].has_null

    # -- this party's own tags ---------------------------------------------------------------

    def take_people(self) -> pa.Table:
        """row, and every declared attribute as it is in the table, for this node's own tags;
        once: the caller keeps it."""
        assert self._people is not None
        people, self._people = self._people, None
        return people

    def set_tags(self, tags: Mapping[str, Labels], version: str) -> None:
        """Attributes that are tags, computed anew.  version: differs when any value does."""
        self._labels = {**self._labels, **tags}
        self.version = hashlib.sha256(f"{self._file_version} {version}".encode()).hexdigest()

    # -- rows ------------------------------------------------------------------------------

    def identifiers(self, kind: str) -> pa.StringArray:
        """Canonical, of every row; null where missing, unparsable or ambiguous."""
        return self._matchable[kind]

    def all_identifiers(self, kind: str) -> pa.StringArray:
        """As `identifiers`, ambiguous ones too: a person's consent holds for each of its rows."""
        return self._identifiers[kind]

    def labels(self, attribute: str, index: Index) -> npt.NDArray[np.int32]:
        """Codes of a label (into `vocabulary`) or flag (0 or 1)."""
        return self._labels[attribute].codes[index]

    def number(self, attribute: str, index: Index) -> Number:
        whole = self._numbers[attribute]
        return Number(whole.values[index], whole.null[index], whole.lo, whole.hi, whole.decimals)

    def eligible_rows(
        self, index: Index, types: Sequence[str], attributes: Sequence[str]
    ) -> EligibleRows:
        """What a job may use of the rows `index` (ascending), which passed the gates."""
        identifiers = {kind: self._matchable[kind] for kind in types}
        if len(index) < self.rows:  # else they are all of them, and need not be copied
            at = pa.array(index, pa.int64())
            identifiers = {kind: column.take(at) for kind, column in identifiers.items()}
        return EligibleRows(
            index=index,
            identifiers=identifiers,
            labels={n: self.labels(n, index) for n in attributes if n in self._labels},
            numbers={n: self.number(n, index) for n in attributes if n in self._numbers},
        )

    def words_of_row(self, row: int) -> dict[str, str]:
        """Attribute → value of one row as text, "" for none: for the person whose row it is."""
        found = {}
        for name, label in self._labels.items():
            word = label.vocabulary[int(label.codes[row])]
            found[name] = "" if label.has_null and word == UNKNOWN else word
        for name, whole in self._numbers.items():
            value = Decimal(int(whole.values[row])).scaleb(-whole.decimals)
            found[name] = "" if whole.null[row] else f"{value:.{whole.decimals}f}"
        return found


def check_party_files(party: Party) -> None:
    """Reads what the party names, links and events too, and throws it away: raises what a node
    would raise at start."""
    if party.notices is not None:
        load_notices(party.notices)
    _attributes(party, _read(party))
    if party.profiled:
        from party_node.profile import check_sources  # late: few parties have events

        check_sources(party)


def _read(party: Party) -> TextTable:
    wanted: dict[str, str] = {}
    for kind, column in party.ids.items():
        wanted.setdefault(column, f"ids.{kind} of {party.name}")
    for name in party.plain_attributes:
        wanted.setdefault(party.column(name), f"attribute {name} of {party.name}")
    return read_columns(party.table, wanted)


def _attributes(party: Party, table: TextTable) -> tuple[dict[str, Labels], dict[str, Number]]:
    of_labels: dict[str, Labels] = {}
    of_numbers: dict[str, Number] = {}
    for name, attribute in party.plain_attributes.items():
        column = party.column(name)
        if attribute.kind == "number":
            of_numbers[name] = number(table, column, attribute)
        elif attribute.kind == "flag":
            of_labels[name] = flags(table, column)
        else:
            of_labels[name] = labels(table, column, attribute, party.policy.min_cohort)
    return of_labels, of_numbers


def _people(
    party: Party,
    table: TextTable,
    of_labels: Mapping[str, Labels],
    of_numbers: Mapping[str, Number],
) -> pa.Table:
    """Labels as text, outside their vocabulary too: that only bounds what leaves the node."""
    columns: dict[str, pa.Array] = {"row": pa.array(np.arange(table.rows))}
    for name, attribute in party.plain_attributes.items():
        if attribute.kind == "number":
            found = of_numbers[name]
            value = pa.array(found.values, pa.int64(), mask=found.null)
        elif attribute.kind == "flag":
            value = pc.equal(pa.array(of_labels[name].codes), 1)
        else:
            value = table.columns[party.column(name)]
        columns[f"attribute {name}"] = value
    return pa.table(columns)


def _without_ambiguous(found: pa.StringArray) -> tuple[pa.StringArray, int]:
    """Null where an identifier points to two rows; how many such identifiers there are."""
    # Only what shares its hash with another row is counted: a table of all texts in memory
    # would be several times as large as the column.
    hashes = column_sql.hashes(found)
    ordered = np.sort(hashes)
    shared = ordered[1:][ordered[1:] == ordered[:-1]]
    del ordered
    some = found.filter(pa.array(np.isin(hashes, shared)))
    counted = pc.value_counts(some.drop_null())
    twice = counted.field("values").filter(pc.greater(counted.field("counts"), 1))
    if not len(twice):
        return found, 0
    return pc.if_else(pc.is_in(found, value_set=twice), None, found), len(twice)
