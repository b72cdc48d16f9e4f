"""Numbers of a file of tags: exact decimals, written as numbers or as text.

Who runs it: the readers of rules, bands and tiers.  Learns: nobody, anything.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import Any

from catalog.yaml import Document, Where

NUMBER = re.compile(r"-?[0-9]{1,15}(\.[0-9]{1,9})?")


def number(value: Any, place: Where, document: Document) -> Decimal:
    """An exact decimal.  Raises BadInput."""
    if isinstance(value, str) and NUMBER.fullmatch(value):
        value = Decimal(value)
    if isinstance(value, bool) or not isinstance(value, int | Decimal):
        raise document.error(place, f'"{value}" is a word, this needs a number', "write digits")
    found = Decimal(value)
    if not NUMBER.fullmatch(format(found, "f")):
        raise document.error(
            place, f"{value} has too many digits", "at most 15 before and 9 after the point"
        )
    return found
