"""A column of phone numbers to E.164 at once, from the phonenumbers metadata.

Who runs it: every node, once per table and consent file.  Learns: nobody, anything.
protocols.md section 1: the rule is `protocol.psi.identifiers.canonical_phone`; this is the
same rule for a million rows in about a second.

How: a number of digits and usual separators takes one of three ways through the parser
(international, country code without plus, national), and each way is a few regular
expressions of the numbering plan's metadata, which run over the whole column.  Whatever is
not certain on these ways goes through the library, each distinct text once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache

import phonenumbers
import pyarrow as pa
import pyarrow.compute as pc
from phonenumbers import PhoneMetadata

from protocol.psi.identifiers import canonical_phone

# Digits with usual separators; at most one plus, in front.  Full-width digits, letters,
# slashes, extensions: the library's.
_USUAL = r"^\s*\+?[0-9(][0-9 ().\-]{2,60}\s*$"
_NOT_DIGITS = r"[^0-9]+"
# A country code is looked at by itself only where it is worth the passes over the column.
_WORTH_IT = 64


@dataclass(frozen=True)
class _Plan:
    """What the fast way needs of one numbering plan.

    general: the national number.  prefix: what `parse` strips in front (None: nothing).
    transforms: the prefix rewrites the number, which is left to the library.
    lengths: possible in this plan and in the plan of the country code's main region.
    """

    code: str
    general: str
    prefix: str | None
    transforms: bool
    international: str | None
    lengths: tuple[int, ...]


def canonical_phones(raw: pa.Array, region: str | None) -> pa.StringArray:
    """`canonical_phone` of every text; null for null and for what cannot be parsed."""
    raw = raw.cast(pa.string())
    found = pa.nulls(len(raw), pa.string())
    usual = pc.fill_null(pc.match_substring_regex(raw, _USUAL), False)
    text = pc.if_else(usual, raw, None)
    digits = pc.replace_substring_regex(text, _NOT_DIGITS, "")
    plus = pc.match_substring(text, "+")
    plan = _plan(region) if region is not None else None
    abroad = pc.if_else(plus, digits, None)
    if plan is not None:
        home = pc.if_else(plus, None, digits)
        if plan.international is not None:
            after = _strip(home, plan.international)
            abroad = pc.coalesce(abroad, pc.if_else(_starts(after, "[1-9]"), after, None))
            home = _where(home, pc.invert(_starts(home, plan.international)))
        found = _home(home, plan)
    found = pc.coalesce(found, _abroad(abroad))
    return _rest(raw, found, region)


def _home(digits: pa.Array, plan: _Plan) -> pa.Array:
    """Numbers without a sign of another country: national, or the own code without plus."""
    whole = _full(digits, plan.general)
    found = _national(_where(digits, whole), plan)
    rest = _where(digits, pc.invert(whole))
    coded = _starts(rest, plan.code)
    inner = pc.utf8_slice_codeunits(_where(rest, coded), len(plan.code))
    if plan.prefix is not None:
        inner = _where(inner, pc.invert(_starts(inner, plan.prefix)))
    found = pc.coalesce(found, _national(_where(inner, _full(inner, plan.general)), plan))
    return pc.coalesce(found, _national(_where(rest, pc.invert(coded)), plan))


def _national(digits: pa.Array, plan: _Plan) -> pa.Array:
    """E.164 of numbers whose country is certain; null where this way is not certain."""
    if plan.prefix is not None:
        prefixed = _starts(digits, plan.prefix)
        if plan.transforms:
            digits = _where(digits, pc.invert(prefixed))
        else:
            stripped = _strip(digits, plan.prefix)
            keep = pc.and_(_full(digits, plan.general), pc.invert(_full(stripped, plan.general)))
            digits = pc.if_else(pc.or_(keep, pc.invert(prefixed)), digits, stripped)
    possible = pc.is_in(pc.utf8_length(digits), pa.array(plan.lengths, pa.int32()))
    number = _where(digits, possible)
    return pc.binary_join_element_wise("+" + plan.code, number, "")


def _abroad(digits: pa.Array) -> pa.Array:
    """Digits that begin with a country code."""
    found = pa.nulls(len(digits), pa.string())
    code = pa.nulls(len(digits), pa.string())
    for size in (1, 2, 3):  # codes are prefix-free: at most one size fits
        head = pc.utf8_slice_codeunits(digits, 0, size)
        known = pc.and_(pc.is_in(head, _codes(size)), pc.greater(pc.utf8_length(digits), size))
        code = pc.coalesce(code, _where(head, known))
    counted = pc.value_counts(code)
    for value, count in zip(
        counted.field("values").to_pylist(), counted.field("counts").to_pylist(), strict=True
    ):
        if value is None or count < _WORTH_IT:
            continue
        plan = _plan_of_code(int(value))
        if plan is not None:
            own = pc.utf8_slice_codeunits(_where(digits, pc.equal(code, value)), len(value))
            found = pc.coalesce(found, _national(own, plan))
    return found


def _rest(raw: pa.Array, found: pa.Array, region: str | None) -> pa.StringArray:
    """What no fast way took: each distinct text through the library, once."""
    # Nothing without a digit can be a number; without a region, nothing without a plus.
    needed = pc.and_(
        pc.is_null(found), pc.fill_null(pc.match_substring_regex(raw, r"\p{Nd}"), False)
    )
    if region is None:
        needed = pc.and_(needed, pc.fill_null(pc.match_substring_regex(raw, "[+＋]"), False))
    left = pc.unique(raw.filter(needed))
    answers = pa.array([canonical_phone(text, region) for text in left.to_pylist()], pa.string())
    at = pc.index_in(_where(raw, needed), value_set=left)
    return pc.coalesce(found, answers.take(at))


# -- small words over arrays -----------------------------------------------------------------


def _where(values: pa.Array, mask: pa.Array) -> pa.Array:
    return pc.if_else(pc.fill_null(mask, False), values, None)


def _full(values: pa.Array, pattern: str) -> pa.Array:
    return pc.fill_null(pc.match_substring_regex(values, f"^(?:{pattern})$"), False)


def _starts(values: pa.Array, pattern: str) -> pa.Array:
    return pc.fill_null(pc.match_substring_regex(values, f"^(?:{pattern})"), False)


def _strip(values: pa.Array, pattern: str) -> pa.Array:
    """What follows `pattern` at the start; null where it is not there."""
    matched = _where(values, _starts(values, pattern))
    return pc.replace_substring_regex(matched, f"^(?:{pattern})", "", max_replacements=1)


# -- the metadata ----------------------------------------------------------------------------


@cache
def _codes(size: int) -> pa.Array:
    known = [str(code) for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE]
    return pa.array([code for code in known if len(code) == size], pa.string())


@cache
def _plan(region: str) -> _Plan | None:
    metadata = PhoneMetadata.metadata_for_region(region, None)
    return None if metadata is None else _plan_from(metadata)


@cache
def _plan_of_code(code: int) -> _Plan | None:
    region = phonenumbers.region_code_for_country_code(code)
    metadata = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    return None if metadata is None else _plan_from(metadata)


def _plan_from(metadata: PhoneMetadata) -> _Plan | None:
    code, general = metadata.country_code, metadata.general_desc
    if code is None or general is None or general.national_number_pattern is None:
        return None
    main = PhoneMetadata.metadata_for_region_or_calling_code(
        code, phonenumbers.region_code_for_country_code(code)
    )
    if main is None or main.general_desc is None:
        return None
    patterns = (
        general.national_number_pattern,
        metadata.national_prefix_for_parsing,
        metadata.international_prefix,
    )
    if not all(_same_in_re2(pattern) for pattern in patterns if pattern):
        return None
    lengths = _possible(general) & _possible(main.general_desc)
    return _Plan(
        code=str(code),
        general=general.national_number_pattern,
        prefix=metadata.national_prefix_for_parsing or None,
        transforms=bool(metadata.national_prefix_transform_rule),
        international=metadata.international_prefix or None,
        lengths=tuple(sorted(lengths)),
    )


def _possible(description: phonenumbers.PhoneNumberDesc) -> set[int]:
    # 3 to 17 digits: outside, `parse` has rules of its own.
    local = set(description.possible_length_local_only)
    return {n for n in description.possible_length if 3 <= n <= 17} - local


def _same_in_re2(pattern: str) -> bool:
    """Arrow's expressions are RE2's, which has no look-around and no back-references."""
    return re.search(r"\(\?[=!<]|\\[1-9]", pattern) is None
