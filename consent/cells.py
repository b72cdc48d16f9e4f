"""Cells of CSV files that people open in a spreadsheet: none is run as a formula.

Who runs it: the portal (a person's access file) and the auditor (an export).  What is in the
cells came from others: names, values of tags, words.
Learns: nobody.
"""

from __future__ import annotations

# What a spreadsheet takes for a formula when a cell begins with it, full-width ones included.
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def safe_cell(text: str) -> str:
    """`text` so that no spreadsheet runs it; an apostrophe in front, as they hide it."""
    return "'" + text if text.lstrip(" ").startswith(_FORMULA) else text
