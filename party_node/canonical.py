"""A column of identifiers to their canonical form at once.

Who runs it: every node, once per table and consent file.  Learns: nobody, anything.
protocols.md section 1: the rules are `protocol.psi.identifiers`; what is plain ASCII takes a
set-based way that gives the same, the rest goes through the rules, each distinct text once.
"""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from party_node.phones import canonical_phones
from protocol.encoding import chunk_ranges
from protocol.psi.identifiers import EMAIL, PHONE, canonicalise

# ASCII white space that Python's strip and NFKC treat alike.
_SPACE = " \t\r\n\v\f"
_PLAIN = r"^[\x21-\x7e]+$"
# Labels without a hyphen in the third place: there IDNA has rules of its own (xn--).
_LABEL = r"[a-z0-9](?:[a-z0-9]|[a-z0-9][a-z0-9](?:[a-z0-9-]{0,59}[a-z0-9])?)?"
_PLAIN_EMAIL = rf"^[a-z0-9!#$%&'*+/=?^_`{{|}}~.-]+@{_LABEL}(?:\.{_LABEL})*$"
_PLAIN_EMAIL_LENGTH = 200  # longer ones are checked by the rule
_ROWS = 1 << 19


def canonical_column(kind: str, raw: pa.Array, region: str | None) -> pa.StringArray:
    """`canonicalise` of every text; null for null, empty and what cannot be parsed."""
    raw = raw.cast(pa.string())
    # In parts: some ten columns as large as the table's are made on the way.
    parts = [_canonical(kind, raw[a:b], region) for a, b in chunk_ranges(len(raw), _ROWS)]
    return pa.concat_arrays(parts or [raw])


def _canonical(kind: str, raw: pa.StringArray, region: str | None) -> pa.StringArray:
    if kind == PHONE:
        return canonical_phones(raw, region)
    trimmed = pc.ascii_trim(raw, characters=_SPACE)
    if kind == EMAIL:
        lowered = pc.ascii_lower(trimmed)
        sure = pc.and_(
            pc.match_substring_regex(lowered, _PLAIN_EMAIL),
            pc.less_equal(pc.binary_length(lowered), _PLAIN_EMAIL_LENGTH),
        )
    else:
        lowered = trimmed
        sure = pc.match_substring_regex(trimmed, _PLAIN)
    sure = pc.fill_null(sure, False)
    found = pc.if_else(sure, lowered, None)
    rest = pc.if_else(pc.and_(pc.invert(sure), present(raw)), raw, None)
    distinct = pc.unique(rest.drop_null())
    answers = pa.array([canonicalise(kind, text, region) for text in distinct.to_pylist()],
                       pa.string())  # fmt: skip
    return pc.coalesce(found, answers.take(pc.index_in(rest, value_set=distinct)))


def present(raw: pa.Array) -> pa.BooleanArray:
    """Where there is more than white space: an empty identifier is absent, not unparsable."""
    return pc.fill_null(pc.not_equal(pc.utf8_trim_whitespace(raw), ""), False)
