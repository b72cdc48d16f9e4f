"""What a log may say of an error in our own code: its kind and place, never its words.

Who runs it: every process.  An exception's message may hold what a caller sent or a row held
(a KeyError is the key, a database's error the statement's values); the lines of code it went
through do not.
Learns: nobody; a log's reader learns where the code broke.
"""

from __future__ import annotations

import traceback


def defect(error: BaseException) -> str:
    """Kind and place of `error`, over several lines."""
    place = "".join(traceback.format_tb(error.__traceback__))
    return f"{type(error).__name__}\n{place}".rstrip()
