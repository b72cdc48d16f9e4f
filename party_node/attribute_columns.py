"""Columns of text to codes and fixed-point integers, each by its declaration.

Who runs it: `party_node.dataset`, once per table.  Learns: nobody, anything.
contracts.md, Kinds; protocols.md section 0, Packing (numbers are clipped here, inside the
owner's node).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from catalog.federation import Attribute
from catalog.vocabulary import MAX_LABELS, OTHER, UNKNOWN
from party_node.table_file import TextTable, trimmed
from protocol.errors import BadInput
from protocol.rows import Number

FLAG_VALUES = ("false", "true")
_FLAGS = {"1": 1, "1.0": 1, "true": 1, "yes": 1, "0": 0, "0.0": 0, "false": 0, "no": 0}

# The way for a million numbers: at most 15 digits before and 18 after the point.
_USUAL = r"^[+-]?[0-9]{1,15}(?:\.[0-9]{0,18})?$"
_FRACTION = 18
_NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]{1,4})?")

Codes = npt.NDArray[np.int32]


@dataclass(frozen=True)
class Labels:
    """codes: int32[n] into vocabulary.  has_null: some row has no value."""

    codes: Codes
    vocabulary: tuple[str, ...]
    has_null: bool


# -- labels --------------------------------------------------------------------------------


def labels(table: TextTable, column: str, attribute: Attribute, min_cohort: int) -> Labels:
    """A label's codes and vocabulary.

    Vocabulary: the declared values, else the values of at least `min_cohort` rows in the order
    of their code points (the order of their counts would tell something); then `other` and
    `unknown` if the whole table needs them.
    """
    text = table.columns[column]
    values = attribute.values
    if values is None:
        values = _frequent(table, column, min_cohort)
    codes = pc.index_in(text, value_set=pa.array(values, pa.string()))
    has_null = bool(text.null_count)
    is_null = pc.is_null(text)
    outside = pc.and_(pc.is_null(codes), pc.invert(is_null))
    vocabulary = list(values)
    for word, rows in ((OTHER, outside), (UNKNOWN, is_null)):
        if not pc.any(rows).as_py():
            continue
        if word not in vocabulary:  # a table may use the word itself; then it is the same
            vocabulary.append(word)
        codes = pc.if_else(rows, pa.scalar(vocabulary.index(word), pa.int32()), codes)
    return Labels(_integers(codes), tuple(vocabulary), has_null)


def _frequent(table: TextTable, column: str, min_cohort: int) -> tuple[str, ...]:
    counted = pc.value_counts(table.columns[column].drop_null())
    often = pc.greater_equal(counted.field("counts"), min_cohort)
    values = sorted(counted.field("values").filter(often).to_pylist())
    if len(values) > MAX_LABELS:
        raise BadInput(
            f'{table.path}: column "{column}" has {len(values)} values of at least {min_cohort} '
            f"rows, a label has at most {MAX_LABELS}",
            next_step="list the ones that matter under values: (the others become other)",
        )
    return tuple(values)


def _integers(codes: pa.Array) -> Codes:
    out: Codes = codes.to_numpy(zero_copy_only=False).astype(np.int32)
    return out


# -- flags ---------------------------------------------------------------------------------


def flags(table: TextTable, column: str) -> Labels:
    """1/0, true/false, yes/no in any case; null is 0."""
    text = table.columns[column]
    has_null = bool(text.null_count)
    text = pc.utf8_lower(trimmed(text))
    known = pc.index_in(text, value_set=pa.array(list(_FLAGS), pa.string()))
    _refuse(
        table, column, pc.and_(pc.is_null(known), pc.is_valid(text)),
        "is no flag", "write 1 or 0, true or false, yes or no, or nothing for 0",
    )  # fmt: skip
    codes = pa.array(list(_FLAGS.values()), pa.int32()).take(known)
    return Labels(_integers(pc.fill_null(codes, 0)), FLAG_VALUES, has_null)


# -- numbers -------------------------------------------------------------------------------


def number(table: TextTable, column: str, attribute: Attribute) -> Number:
    """Fixed-point integers, rounded half to even from the exact decimals, clipped to bounds."""
    lo, hi = attribute.scaled_bounds
    text = trimmed(table.columns[column])
    null = pc.is_null(text)
    usual = pc.fill_null(pc.match_substring_regex(text, _USUAL), False)
    values = _usual(pc.if_else(usual, text, "0"), lo, hi, attribute.decimals)
    rest = pc.and_(pc.invert(usual), pc.invert(null))
    if pc.any(rest).as_py():
        odd = text.filter(rest)
        distinct = pc.unique(odd)
        parsed = [_exact(word, lo, hi, attribute.decimals) for word in distinct.to_pylist()]
        scaled = pa.array(parsed, pa.int64()).take(pc.index_in(odd, value_set=distinct))
        where = rest.to_numpy(zero_copy_only=False)
        if scaled.null_count:
            wrong = np.zeros(len(text), np.bool_)
            wrong[where] = scaled.is_null().to_numpy(zero_copy_only=False)
            _refuse(
                table, column, pa.array(wrong), "is no finite number",
                "write digits with a point for decimals, or nothing if it is unknown",
            )  # fmt: skip
        values[where] = scaled.to_numpy()
    is_null: npt.NDArray[np.bool_] = null.to_numpy(zero_copy_only=False)
    values[is_null] = 0
    return Number(values, is_null, lo, hi, attribute.decimals)


def _usual(text: pa.StringArray, lo: int, hi: int, decimals: int) -> npt.NDArray[np.int64]:
    """int64[n]: exact arithmetic on the digits before and after the point."""
    negative = pc.starts_with(text, "-").to_numpy(zero_copy_only=False)
    digits = pc.replace_substring_regex(text, "^[+-]", "")
    whole = pc.replace_substring_regex(digits, r"\..*$", "").cast(pa.int64()).to_numpy()
    after = pc.replace_substring_regex(digits, r"^[0-9]+\.?", "")
    fraction = pc.utf8_rpad(after, _FRACTION, "0").cast(pa.int64()).to_numpy()
    # Beyond both bounds all values are alike; capped before the product could overflow.
    whole = np.minimum(whole, max(abs(lo), abs(hi)) // 10**decimals + 1)
    unit = 10 ** (_FRACTION - decimals)
    kept, dropped = np.divmod(fraction, np.int64(unit))
    scaled = whole * np.int64(10**decimals) + kept
    half = unit // 2
    scaled += (dropped > half) | ((dropped == half) & (scaled % 2 == 1))
    signed: npt.NDArray[np.int64] = np.where(negative, -scaled, scaled)
    return np.clip(signed, lo, hi)


def _exact(text: str, lo: int, hi: int, decimals: int) -> int | None:
    """As `_usual` for one number of any length or with an exponent; None if it is none."""
    if len(text) > 400 or not _NUMBER.fullmatch(text):
        return None
    value = Decimal(text)
    if value >= Decimal(hi).scaleb(-decimals):
        return hi
    if value <= Decimal(lo).scaleb(-decimals):
        return lo
    digits = value.as_tuple()
    exponent = int(digits.exponent) + decimals
    whole = int("".join(map(str, digits.digits)))
    if exponent >= 0:
        scaled = whole * int(10**exponent)
    elif -exponent > len(digits.digits) + 1:
        scaled = 0  # below a tenth of the last place, and 10**-exponent may be huge
    else:
        scaled = _half_even(whole, int(10**-exponent))
    return -scaled if digits.sign else scaled


def _half_even(value: int, unit: int) -> int:
    # By integers: a Decimal context would round to 28 digits first.
    kept, dropped = divmod(value, unit)
    up = 2 * dropped > unit or (2 * dropped == unit and kept % 2 == 1)
    return kept + up


# -- shared --------------------------------------------------------------------------------


def _refuse(table: TextTable, column: str, wrong: pa.Array, cause: str, fix: str) -> None:
    """Raises for the first row of `wrong`; its value stays out of the message, which may be
    logged or cross to another process."""
    rows = np.flatnonzero(wrong.to_numpy(zero_copy_only=False))
    if rows.size:
        more = f", and {rows.size - 1} more rows" if rows.size > 1 else ""
        raise BadInput(
            f'{table.where(int(rows[0]))}: column "{column}": the value {cause}{more}',
            next_step=fix,
        )
