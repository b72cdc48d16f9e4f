"""The file of `assent consent import`: its rows, and which of them cannot be used and why.

Who runs it: a node.  Learns: the party, its own file; nothing of a row is in a message but its
number.  Columns: one identifier type, purpose, recipient, category, status; optionally time,
valid_until, notice, jurisdiction, method, guardian, legal_basis, default_off; every column
whose name begins with `evidence_` is kept at the party as proof (docs/CONSENT_RECORDS.md).
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.federation import Party
from catalog.yaml import nearest
from consent import column_sql
from consent.notices import Notices
from consent.purposes import (
    CATEGORIES,
    EVERY_RECIPIENT,
    GUARDIANS,
    LEGAL_BASES,
    METHODS,
    PERMITTING,
    PURPOSES,
    STATE_OF_WORD,
)
from consent.records import MAX_TIME_MS
from consent.terms import DEFAULT_TERMS, Scope, Terms
from party_node.canonical import canonical_column, present
from party_node.table_file import read_columns, read_header, trimmed
from protocol.errors import BadInput, ProtocolViolation

EVIDENCE = "evidence_"
_WORDS = ("purpose", "recipient", "category", "status")
_TIMES = ("time", "valid_until")
_TERMS = ("notice", "jurisdiction", "method", "guardian", "legal_basis", "default_off")
_TRUTH = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
_EARLY_MS = 24 * 3600 * 1000  # clocks of other systems
_OFFSET = r"(?:[Zz]|[+-]\d\d:?\d\d)$"
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class BulkFile:
    """n usable rows of `total`.  numbers: of these rows in the file, from 1.

    ids: canonical.  proofs: JSON of each row's evidence columns, or None if it has none.
    bad: number and reason of every other row, in their order.
    """

    total: int
    numbers: npt.NDArray[np.intp]
    kind: str
    ids: pa.StringArray
    scopes: tuple[Scope, ...]
    scope_codes: npt.NDArray[np.int64]
    terms: tuple[Terms, ...]
    terms_codes: npt.NDArray[np.int64]
    states: npt.NDArray[np.uint8]
    times_ms: npt.NDArray[np.int64]
    valid_until_ms: npt.NDArray[np.int64]
    proofs: list[str] | None
    bad: tuple[tuple[int, str], ...]

    def __repr__(self) -> str:  # rows never reach a log by accident
        return f"BulkFile(rows={self.total}, bad={len(self.bad)})"


class _Faults:
    """The first reason against each row."""

    def __init__(self, rows: int) -> None:
        self.reasons: list[str] = []
        self.codes = np.full(rows, -1, dtype=np.int32)

    def add(self, rows: Mask, reason: str) -> None:
        fresh = rows & (self.codes < 0)
        if fresh.any():
            self.codes[fresh] = len(self.reasons)
            self.reasons.append(reason)

    @property
    def good(self) -> Mask:
        return self.codes < 0

    def listed(self) -> tuple[tuple[int, str], ...]:
        rows = np.flatnonzero(self.codes >= 0)
        return tuple(
            (row + 1, self.reasons[code])
            for row, code in zip(rows.tolist(), self.codes[rows].tolist(), strict=True)
        )


def read_bulk(
    path: Path, party: Party, recipients: Collection[str], notices: Notices, now_ms: int
) -> BulkFile:
    """Raises BadInput for a file of which no row can be read; a bad row is left out and listed."""
    header = read_header(path)
    kind = _identifier_type(path, header, party)
    optional = [name for name in (*_TIMES, *_TERMS) if name in header]
    proofs = [name for name in header if name.startswith(EVIDENCE)]
    wanted = dict.fromkeys((kind, *_WORDS, *optional, *proofs), "an import of consents")
    table = read_columns(path, wanted)
    faults = _Faults(table.rows)
    raw = table.columns[kind]
    ids = canonical_column(kind, raw, party.default_region)
    faults.add(~_mask(present(raw)), f"{kind} is empty")
    faults.add(_mask(pc.is_null(ids)), f"{kind} cannot be read")
    text = {name: trimmed(table.columns[name]) for name in (*_WORDS, *optional)}
    codes: dict[str, npt.NDArray[np.int64]] = {}
    words: dict[str, list[str]] = {}
    known: Mapping[str, Collection[str]] = {
        "purpose": PURPOSES,
        "recipient": set(recipients) - {EVERY_RECIPIENT},
        "category": CATEGORIES,
        "status": STATE_OF_WORD,
    }
    for name in _WORDS:
        faults.add(_mask(pc.is_null(text[name])), f"{name} is empty")
        words[name], codes[name] = _encoded(text[name])
        wrong = np.array([word not in known[name] for word in words[name]] + [True])
        faults.add(wrong[codes[name]], f"{name} is not known")
    times = _times(text, "time", now_ms, faults)
    until = _times(text, "valid_until", 0, faults)
    faults.add(times > now_ms + _EARLY_MS, "time is in the future")
    said = np.array([STATE_OF_WORD.get(word, 0) for word in words["status"]] + [0], np.uint8)
    states = said[codes["status"]]
    permits = np.isin(states, [int(state) for state in PERMITTING])
    until = np.where(permits, until, 0)
    faults.add((until != 0) & (until <= times), "valid_until is not after time")
    terms, terms_codes = _terms(text, table.rows, notices, faults)
    ticked = np.array([one.default_off is False for one in terms])
    faults.add(ticked[terms_codes] & permits, "what was on by default is not a consent")
    rows = np.flatnonzero(faults.good)
    scopes, scope_codes = _scopes(words, {name: codes[name][rows] for name in _WORDS})
    return BulkFile(
        table.rows, rows + 1, kind, ids.take(pa.array(rows)), scopes, scope_codes, terms,
        terms_codes[rows], states[rows], times[rows], until[rows],
        _proofs({name: table.columns[name].take(pa.array(rows)) for name in proofs}),
        faults.listed(),
    )  # fmt: skip


def _identifier_type(path: Path, header: tuple[str, ...], party: Party) -> str:
    known = (*party.ids, *_WORDS, *_TIMES, *_TERMS)
    for name in header:
        if name not in known and not name.startswith(EVIDENCE):
            raise BadInput(
                f'{path.name}: column "{name}" is not known in an import of consents',
                next_step=nearest(name, known)
                + f"; a column that is kept as proof is named {EVIDENCE}…",
            )
    kinds = [name for name in header if name in party.ids]
    if len(kinds) != 1:
        found = " and ".join(kinds) if kinds else "no identifier type"
        raise BadInput(
            f"{path.name}: has {found}; an import of consents has one",
            next_step=f"keep one column of {', '.join(party.ids)}",
        )
    return kinds[0]


def _mask(array: pa.BooleanArray) -> Mask:
    found: Mask = array.to_numpy(zero_copy_only=False).astype(bool)
    return found


def _encoded(column: pa.StringArray) -> tuple[list[str], npt.NDArray[np.int64]]:
    """The different words and, per row, which; the last place for none."""
    encoded = column.dictionary_encode()
    words = encoded.dictionary.to_pylist()
    codes = pc.fill_null(encoded.indices, len(words)).to_numpy(zero_copy_only=False)
    return words, codes.astype(np.int64)


def _times(
    text: Mapping[str, pa.StringArray], name: str, missing: int, faults: _Faults
) -> npt.NDArray[np.int64]:
    """Milliseconds since 1970 of ISO 8601 dates and times; without an offset they are UTC."""
    if name not in text:
        return np.full(len(faults.codes), missing, dtype=np.int64)
    column = text[name]
    with column_sql.connection() as connection:
        connection.register("said", pa.table({"x": column}))
        found = connection.sql(
            "select epoch_ms(try_cast(x as timestamptz)) as zoned,"
            " epoch_ms(try_cast(x as timestamp)) as plain from said"
        ).to_arrow_table()
    # A time without an offset read as `timestamptz` would be in this machine's zone.
    offset = pc.match_substring_regex(column, _OFFSET)
    parsed = pc.if_else(offset, found["zoned"].combine_chunks(), found["plain"].combine_chunks())
    faults.add(_mask(pc.and_(pc.is_valid(column), pc.is_null(parsed))), f"{name} is no time")
    values: npt.NDArray[np.int64] = (
        pc.fill_null(parsed, missing).to_numpy(zero_copy_only=False).astype(np.int64)
    )
    faults.add((values < 0) | (values > MAX_TIME_MS), f"{name} is out of all calendars")
    return values.clip(0, MAX_TIME_MS)


def _terms(
    text: Mapping[str, pa.StringArray], rows: int, notices: Notices, faults: _Faults
) -> tuple[tuple[Terms, ...], npt.NDArray[np.int64]]:
    names = [name for name in _TERMS if name in text]
    if not names:
        return (DEFAULT_TERMS,), np.zeros(rows, dtype=np.int64)
    columns = [pc.fill_null(text[name], "") for name in names]
    joined = pc.binary_join_element_wise(*columns, "\x1f")
    words, codes = _encoded(joined)
    made: list[Terms] = []
    for code, word in enumerate(words):
        try:
            made.append(_terms_of(dict(zip(names, word.split("\x1f"), strict=True)), notices))
        except (BadInput, ProtocolViolation, ValueError) as error:
            made.append(DEFAULT_TERMS)
            cause = "has a character that does not belong there"
            if isinstance(error, BadInput | ProtocolViolation):
                cause = error.info.cause
            faults.add(codes == code, cause)
    return tuple(made), codes


def _terms_of(said: Mapping[str, str], notices: Notices) -> Terms:
    for name, known in (
        ("method", METHODS),
        ("guardian", GUARDIANS),
        ("legal_basis", LEGAL_BASES),
        ("default_off", _TRUTH),
    ):
        if said.get(name) and said[name] not in known:
            raise BadInput(f"{name} is not known")
    notice = None
    if said.get("notice"):
        id, _, rest = said["notice"].partition("/")
        number, _, language = rest.partition("/")
        found = [one for one in notices.versions.get(id, ()) if str(one.version) == number]
        if not found or language not in found[0].texts:
            raise BadInput("notice is not one of the party's (id/version/language)")
        notice = found[0].ref(language)
    return Terms(
        notice=notice,
        legal_basis=said.get("legal_basis") or DEFAULT_TERMS.legal_basis,
        jurisdiction=said.get("jurisdiction", ""),
        method=said.get("method") or "file",
        guardian=said.get("guardian", ""),
        default_off=_TRUTH.get(said.get("default_off", "")),
    )


def _scopes(
    words: Mapping[str, list[str]], codes: Mapping[str, npt.NDArray[np.int64]]
) -> tuple[tuple[Scope, ...], npt.NDArray[np.int64]]:
    p, r, c = (codes[name] for name in ("purpose", "recipient", "category"))
    many_r, many_c = len(words["recipient"]) + 1, len(words["category"]) + 1
    flat, found = np.unique((p * many_r + r) * many_c + c, return_inverse=True)
    rest, c = np.divmod(flat, many_c)
    p, r = np.divmod(rest, many_r)
    scopes = tuple(
        Scope((words["purpose"][i],), (words["recipient"][j],), (words["category"][k],))
        for i, j, k in zip(p.tolist(), r.tolist(), c.tolist(), strict=True)
    )
    return scopes, found.astype(np.int64)


def _proofs(columns: Mapping[str, pa.StringArray]) -> list[str] | None:
    if not columns:
        return None
    values = zip(*(column.to_pylist() for column in columns.values()), strict=True)
    encode = json.JSONEncoder(ensure_ascii=False, sort_keys=True).encode
    return [encode(dict(zip(columns, row, strict=True))) for row in values]
