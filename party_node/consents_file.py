"""The file of consent records that a company keeps: one row per record.

Who runs it: a node, at start and whenever the file changes; the sandbox, to check it.
Learns: nobody, anything; what leaves are pseudonyms (consent.md).  contracts.md,
FEDERATION.yaml: columns are one identifier type, purpose, recipient, category, status.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from catalog.federation import Party
from catalog.vocabulary import CATEGORIES, PURPOSES, STATUSES
from catalog.yaml import nearest
from party_node.canonical import canonical_column, present
from party_node.table_file import TextTable, read_columns, read_header, trimmed
from protocol.errors import BadInput

_WORDS = {"purpose": PURPOSES, "recipient": None, "category": CATEGORIES, "status": STATUSES}


@dataclass(frozen=True)
class ConsentRows:
    """n records.  kind: identifier type.  ids: canonical, null where there is none.

    purposes, recipients, categories, statuses: words, all valid.  missing, unparsable: records
    about nobody (empty cell) and about an identifier that cannot be read; they permit nobody.
    """

    kind: str
    ids: pa.StringArray
    purposes: pa.StringArray
    recipients: pa.StringArray
    categories: pa.StringArray
    statuses: pa.StringArray
    missing: int
    unparsable: int

    def __len__(self) -> int:
        return len(self.ids)

    def __repr__(self) -> str:  # rows never reach a log by accident
        return f"ConsentRows({self.kind}, n={len(self)})"


def read_consents(party: Party, recipients: Collection[str] | None = None) -> ConsentRows:
    """The records of the party's file, which must have one (`party.consents_file`).

    recipients: the parties that can be named, None when they are not known here.
    Raises BadInput with file, row or column, and the fix.
    """
    path = party.consents_file
    if path is None:
        raise ValueError("consents: all has no file")
    kind, table = _read(party, path, recipients)
    raw = table.columns[kind]
    ids = canonical_column(kind, raw, party.default_region)
    there = present(raw)
    words = {column: trimmed(table.columns[column]) for column in _WORDS}
    return ConsentRows(
        kind,
        ids,
        purposes=words["purpose"],
        recipients=words["recipient"],
        categories=words["category"],
        statuses=words["status"],
        missing=table.rows - (pc.sum(there).as_py() or 0),
        unparsable=pc.sum(pc.and_(there, pc.is_null(ids))).as_py() or 0,
    )


def check_consents_file(party: Party, recipients: Collection[str] | None = None) -> None:
    """Raises what `read_consents` would raise; nothing to check for `consents: all`."""
    if party.consents_file is not None:
        _read(party, party.consents_file, recipients)


def _read(party: Party, path: Path, recipients: Collection[str] | None) -> tuple[str, TextTable]:
    kind = _identifier_type(party, path)
    wanted = dict.fromkeys((kind, *_WORDS), f"the consents of {party.name}")
    table = read_columns(path, wanted)
    for column, words in _WORDS.items():
        _check_words(table, column, words if column != "recipient" else recipients)
    return kind, table


def _identifier_type(party: Party, path: Path) -> str:
    header = read_header(path)
    unknown = [name for name in header if name not in _WORDS and name not in party.ids]
    if unknown:
        # Not skipped: a column `expires` that nobody reads would be a permit for ever.
        raise BadInput(
            f'{path}: column "{unknown[0]}" is not known in a file of consents',
            next_step=nearest(unknown[0], [*party.ids, *_WORDS]),
        )
    kinds = [name for name in header if name in party.ids]
    if len(kinds) != 1:
        found = " and ".join(kinds) if kinds else "no identifier type"
        raise BadInput(
            f"{path}: has {found}; a file of consents has one",
            next_step=f"keep one column of {', '.join(party.ids) or 'ids:'} besides "
            + ", ".join(_WORDS),
        )
    return kinds[0]


def _check_words(table: TextTable, column: str, known: Collection[str] | None) -> None:
    text = trimmed(table.columns[column])
    wrong = pc.is_null(text)
    if known is not None:
        wrong = pc.or_(wrong, pc.invert(pc.is_in(text, value_set=pa.array(list(known)))))
    rows = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
    if not rows.size:
        return
    row = int(rows[0])
    word = text[row].as_py()
    if word is None:
        cause, fix = f'column "{column}" is empty', "fill it in"
    else:
        # Where columns are mixed up, the word may be somebody's e-mail or number.
        shown = f'"{word}"' if re.fullmatch(r"[^\W\d][\w-]{0,40}", word) else "the word"
        cause = f'column "{column}": {shown} is not known'
        fix = nearest(word, known or ())
    raise BadInput(f"{table.where(row)}: {cause}", next_step=fix)
