"""The closed words that a consent record is made of, and how strict each state is.

Purposes and categories are the catalog's (one file lists them); states and channels are
consent's own.  Source: contracts.md (statuses), consent.md (states, "Only given and renewed
permit", "Not asked and refused stay different").
"""

from __future__ import annotations

from enum import IntEnum

from catalog.vocabulary import CATEGORIES as CATEGORIES
from catalog.vocabulary import PURPOSES as PURPOSES


class State(IntEnum):
    """What a record says.  A larger value is stricter (the order of `catalog.vocabulary.STATUSES`):
    of two that count alike the larger wins.

    0 is not a state: it is "no record", which does not permit either.
    """

    GIVEN = 1
    RENEWED = 2
    REQUESTED = 3
    EXPIRED = 4
    REFUSED = 5
    WITHDRAWN = 6

    @property
    def word(self) -> str:
        return self.name.lower()

    @property
    def permits(self) -> bool:
        return self in PERMITTING


NO_RECORD = 0
PERMITTING = (State.GIVEN, State.RENEWED)
STATE_OF_WORD = {state.word: state for state in State}
# The word under which a row that may not be used is counted.
REASONS = ("withdrawn", "refused", "expired", "requested", "no_record")

# How a record reached the party; its place (from 1) is its code.  Free text would leak.
CHANNELS = ("import", "declaration", "counter")

EVERY_RECIPIENT = "*"
WILDCARD_STATES = (State.WITHDRAWN, State.REFUSED)
