"""One person behind many identifiers: connected components with limits that fail apart.

Who runs it: every node, over its own records.  Learns: nobody, anything.

Every record (a row of the table, a link) is a node, joined to the identifiers it holds.
Strong identifiers merge; weak ones (devices) attach to one person and, when two people use
them, to none.  A person with more identifiers of a type than allowed is taken apart: first
without links, then row by row.  The result is a function of the records and the owner's
decisions alone, so a merge is undone by taking its record or identifier out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

MOST = 10  # identifiers of one type a person has at most, where nothing else is said
NOBODY = -1

MERGED, SHARED, OVER_MOST, APART, NO_ROW = "merged", "shared", "over_most", "apart", "no_row"

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Records:
    """columns: identifier type → canonical text or null, one entry per record."""

    source: str
    columns: Mapping[str, pa.StringArray]

    @property
    def count(self) -> int:
        return max((len(column) for column in self.columns.values()), default=0)


@dataclass(frozen=True)
class Identity:
    """Who is who.

    person: int64[rows], the lowest row number of the person.  identifiers: columns type, value,
    person (-1: of nobody), reason and source (of the first record that holds it).
    """

    person: Ints
    identifiers: pa.Table


@dataclass(frozen=True)
class _Graph:
    """record[i] holds identifier[i].  kind: type's number by identifier."""

    record: Ints
    identifier: Ints
    kind: Ints
    records: int
    rows: int


def resolve(
    rows: Records,
    links: Sequence[Records],
    *,
    weak: frozenset[str] = frozenset(),
    most: Mapping[str, int] | None = None,
    apart: Sequence[tuple[str, str]] = (),
) -> Identity:
    """rows: the table, whose records are numbered from 0.  apart: identifiers that must not
    merge, as (type, canonical text)."""
    types = list(dict.fromkeys(kind for part in (rows, *links) for kind in part.columns))
    graph, words, sources = _graph(rows, links, types)
    is_weak = np.isin(graph.kind, [i for i, kind in enumerate(types) if kind in weak])
    is_apart = _marked(words, types, graph.kind, apart)
    limits = np.array([(most or {}).get(kind, MOST) for kind in types], np.int64)
    strong = ~(is_weak | is_apart)
    part, undone = _components(graph, strong, limits)
    person = _lowest_row(part, graph.rows)
    owner, several = _owners(graph, person[part[: graph.records]])
    reason = np.full(len(owner), MERGED, dtype=object)
    reason[owner == NOBODY] = NO_ROW
    reason[several] = SHARED
    reason[undone & (several | (owner == NOBODY))] = OVER_MOST
    reason[is_apart & several] = APART
    owner[several] = NOBODY
    kinds = pa.array(types, pa.string()).take(pa.array(graph.kind))
    names = pa.array([rows.source, *(link.source for link in links)], pa.string())
    table = pa.table(
        {"type": kinds, "value": words, "person": owner, "reason": pa.array(reason, pa.string()),
         "source": names.take(pa.array(sources))}
    )  # fmt: skip
    return Identity(person[part[: graph.rows]], table)


def _graph(
    rows: Records, links: Sequence[Records], types: Sequence[str]
) -> tuple[_Graph, pa.StringArray, Ints]:
    """The graph, each identifier's text, and the number of the first part that holds it."""
    parts = (rows, *links)
    starts = np.cumsum([0, *(part.count for part in parts)])
    records, identifiers, kinds, words, firsts = [], [], [], [], []
    known = 0
    for number, kind in enumerate(types):
        columns = [(i, part.columns[kind]) for i, part in enumerate(parts) if kind in part.columns]
        whole = pa.chunked_array([column for _, column in columns], pa.string()).combine_chunks()
        at = np.concatenate([starts[i] + np.arange(len(column)) for i, column in columns])
        source = np.concatenate([np.full(len(column), i) for i, column in columns])
        encoded = whole.dictionary_encode()
        encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
        held = whole.is_valid().to_numpy(zero_copy_only=False)
        codes = pc.fill_null(encoded.indices, 0).to_numpy(zero_copy_only=False)[held]
        first = np.full(len(encoded.dictionary), len(parts), np.int64)
        np.minimum.at(first, codes, source[held])
        records.append(at[held])
        identifiers.append(codes.astype(np.int64) + known)
        kinds.append(np.full(len(encoded.dictionary), number, np.int64))
        words.append(encoded.dictionary)
        firsts.append(first)
        known += len(encoded.dictionary)
    graph = _Graph(
        np.concatenate(records), np.concatenate(identifiers), np.concatenate(kinds),
        int(starts[-1]), rows.count,
    )  # fmt: skip
    return graph, pa.concat_arrays(words), np.concatenate(firsts)


def _marked(
    words: pa.StringArray, types: Sequence[str], kind: Ints, apart: Sequence[tuple[str, str]]
) -> npt.NDArray[np.bool_]:
    marked = np.zeros(len(words), np.bool_)
    for type_, value in apart:  # the owner's decisions: a few
        if type_ in types:
            same = pc.equal(words, value).to_numpy(zero_copy_only=False)
            marked |= same & (kind == types.index(type_))
    return marked


def _components(
    graph: _Graph, strong: npt.NDArray[np.bool_], limits: Ints
) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Component of every record and then identifier; identifiers whose person was taken apart."""
    undone = np.zeros(len(strong), np.bool_)
    kept = strong[graph.identifier]
    for stage in ("with links", "rows only", "row by row"):
        part = _label(graph, kept)
        over = _over(graph, part, kept, limits)
        if not over.any():
            break
        bad = over[part[: graph.records]]
        undone |= over[part[graph.records :]]
        kept &= ~(bad[graph.record] & ((graph.record >= graph.rows) | (stage != "with links")))
    return part, undone


def _label(graph: _Graph, kept: npt.NDArray[np.bool_]) -> Ints:
    # Late: a tenth of a node's start, and few parties have events.
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    size = graph.records + len(graph.kind)
    ends = (graph.record[kept], graph.records + graph.identifier[kept])
    edges = coo_matrix((np.ones(kept.sum(), np.int8), ends), shape=(size, size))
    part: Ints = connected_components(edges, directed=False)[1].astype(np.int64)
    return part


def _over(
    graph: _Graph, part: Ints, kept: npt.NDArray[np.bool_], limits: Ints
) -> npt.NDArray[np.bool_]:
    """By component: whether it has too many identifiers of some type."""
    held = np.unique(graph.identifier[kept])
    components = int(part.max()) + 1 if len(part) else 0
    key = part[graph.records + held] * len(limits) + graph.kind[held]
    counts = np.bincount(key, minlength=components * len(limits)).reshape(-1, len(limits))
    over: npt.NDArray[np.bool_] = np.any(counts > limits, axis=1)
    return over


def _lowest_row(part: Ints, rows: int) -> Ints:
    """By component: its lowest row, or NOBODY."""
    lowest = np.full(int(part.max()) + 1 if len(part) else 0, rows, np.int64)
    np.minimum.at(lowest, part[:rows], np.arange(rows))
    return np.where(lowest == rows, NOBODY, lowest)


def _owners(graph: _Graph, person: Ints) -> tuple[Ints, npt.NDArray[np.bool_]]:
    """Each identifier's person, and whether its records are of several.  person: by record."""
    low = np.full(len(graph.kind), np.iinfo(np.int64).max)
    high = np.full(len(graph.kind), NOBODY, np.int64)
    of = person[graph.record]
    some = of != NOBODY
    np.minimum.at(low, graph.identifier[some], of[some])
    np.maximum.at(high, graph.identifier[some], of[some])
    return high, low < high
