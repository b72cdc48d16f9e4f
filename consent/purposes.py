"""The closed words that a consent record is made of, and how strict each state is.

Purposes and categories are the catalog's (one file lists them); the others are consent's own.
Every list is closed, because free text in a record would tell the consent service about people.
A word's place in a list, from 1, is its code in columns; new words go to the end.
Source: contracts.md (statuses), consent.md ("Record"); `consent.dpv` maps the words to
ISO/IEC TS 27560:2023 and the W3C Data Privacy Vocabulary.
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from catalog.vocabulary import CATEGORIES as CATEGORIES
from catalog.vocabulary import PURPOSES as PURPOSES


class State(IntEnum):
    """What a record says.  A larger value is stricter (`catalog.vocabulary.STATUSES` is in the
    same order): of two that count alike the larger wins.

    0 is not a state: as what holds it is "no record", which does not permit either; in an
    event it says that the state stays as it is and only flags change.
    """

    GIVEN = 1
    RENEWED = 2
    UNKNOWN = 3
    DEFERRED = 4
    REQUESTED = 5
    EXPIRED = 6
    INVALIDATED = 7
    REFUSED = 8
    REVOKED = 9
    WITHDRAWN = 10

    @property
    def word(self) -> str:
        return self.name.lower()

    @property
    def permits(self) -> bool:
        return self in PERMITTING


NO_RECORD = UNCHANGED = 0
PERMITTING = (State.GIVEN, State.RENEWED)
STATE_OF_WORD = {state.word: state for state in State}
# The words under which a row that may not be used is counted, the strictest first.
REASONS = (
    "withdrawn", "revoked", "objected", "refused", "restricted", "invalidated", "expired",
    "notice_outdated", "requested", "deferred", "unknown", "no_record",
)  # fmt: skip


class Flag(IntFlag):
    """What an event changes besides the state.  A flag stays on until an event ends it: a new
    `given` alone does not end an objection, because a list may say it without the person.

    objected: the person objects to the use, whatever was permitted (GDPR art. 21, PIPL art. 44).
    restricted: the data are kept and not used while a dispute is open (GDPR art. 18).
    """

    OBJECTED = 1
    RESTRICTED = 2
    OBJECTION_ENDED = 4
    RESTRICTION_ENDED = 8

    @property
    def word(self) -> str:
        return str(self.name).lower()


FLAG_OF_WORD = {flag.word: flag for flag in Flag}
# (sets, ends) of each flag that holds.
FLAG_PAIRS = (
    (Flag.OBJECTED, Flag.OBJECTION_ENDED),
    (Flag.RESTRICTED, Flag.RESTRICTION_ENDED),
)

# How a record reached the party.  `import` and `declaration` are what party.yaml names, read at
# every start; `bulk` is a file handed over once, which no later file takes back.
CHANNELS = ("import", "declaration", "counter", "portal", "bulk")
# Who said it.  `guardian`: somebody who may speak for the person, see `Terms.guardian`.
ACTORS = ("person", "guardian", "party")

# The other words of `records.Terms`.
LEGAL_BASES = ("separate_consent", "consent", "explicit_consent")
PROCESSING = ("pseudonymise", "match", "aggregate", "profile", "score", "share")
METHODS = ("unknown", "form", "switch", "speech", "paper", "file", "interface")
WITHDRAWALS = ("portal", "counter", "post", "phone")
GUARDIANS = ("", "parent", "legal_guardian")
NOTICE_CLASSES = ("material", "editorial")

EVERY_RECIPIENT = "*"
WILDCARD_STATES = (State.WITHDRAWN, State.REFUSED, State.REVOKED)
