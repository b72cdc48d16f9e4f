"""Bands of a number: every number is in exactly one, or the file is refused with the fix.

Who runs it: `catalog.tag_file`.  Learns: nobody, anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from itertools import pairwise
from typing import Any

from pydantic import Field

from catalog.tag_numbers import number
from catalog.tag_terms import number_text
from catalog.tags import Band, TagValue, Title
from catalog.yaml import Document, Strict, Text, Where, build


class TitleFile(Strict):
    zh: Text
    en: Text


class _BandFile(Strict):
    value: Text
    title: TitleFile | None = None
    low: Any = Field(default=None, alias="from")
    below: Any = None


def title_of(file: TitleFile | None) -> Title | None:
    return None if file is None else Title(file.zh, file.en)


def bands_of(
    value: Any, at: Where, document: Document
) -> tuple[tuple[Band, ...], tuple[TagValue, ...]]:
    """Bands in the order of the file; exclusive and exhaustive."""
    if not isinstance(value, list) or not value:
        raise document.error(
            at, "must be a list of bands", "write - {value: NAME, from: 0, below: 9}"
        )
    bands, values = [], []
    for i, item in enumerate(value):
        file = build(_BandFile, item, document, (*at, i))
        ends = [
            None if end is None else number(end, (*at, i, key), document)
            for key, end in (("from", file.low), ("below", file.below))
        ]
        bands.append(Band(file.value, ends[0], ends[1]))
        values.append(TagValue(file.value, title_of(file.title)))
        if ends[0] is not None and ends[1] is not None and ends[0] >= ends[1]:
            raise document.error((*at, i), "the band is empty", "write from below below")
    _check_bands(bands, at, document)
    return tuple(bands), tuple(values)


def _check_bands(bands: Sequence[Band], at: Where, document: Document) -> None:
    order = sorted(range(len(bands)), key=lambda i: _low(bands[i]))
    first, last = order[0], order[-1]
    if bands[first].low is not None:
        raise document.error(
            (*at, first), f"nothing covers numbers below {_text(bands[first].low)}",
            f"in {bands[first].value}, delete from",
        )  # fmt: skip
    for here, there in pairwise(order):
        below, start = bands[here].high, bands[there].low
        a, b = bands[here].value, bands[there].value
        if below is None or start is None or start < below:
            raise document.error(
                (*at, there), f"{a} and {b} overlap from {_text(start)}",
                f"write below: {_text(start)} in {a}" if start is not None else "keep one",
            )  # fmt: skip
        if start > below:
            raise document.error(
                (*at, there), f"nothing covers {_text(below)} up to {_text(start)}",
                f"write from: {_text(below)} in {b}",
            )  # fmt: skip
    if bands[last].high is not None:
        raise document.error(
            (*at, last), f"nothing covers numbers from {_text(bands[last].high)}",
            f"delete below in {bands[last].value}",
        )  # fmt: skip


def _low(band: Band) -> tuple[bool, Decimal]:
    return (band.low is not None, band.low or Decimal(0))


def _text(value: Decimal | None) -> str:
    return "the lowest number" if value is None else number_text(value)
