"""What many records share: what they are about, and under which terms they were asked for.

Who runs it: whoever makes or reads records.  Learns: nobody, anything; there is no person here.
Words are closed lists of `consent.purposes` except the names of parties; notices are named by
id, version and the digest of the very text that the person saw (`consent.notices` has them).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from consent.purposes import (
    CATEGORIES,
    EVERY_RECIPIENT,
    GUARDIANS,
    LEGAL_BASES,
    METHODS,
    NOTICE_CLASSES,
    PROCESSING,
    PURPOSES,
    WITHDRAWALS,
)
from protocol.errors import ProtocolViolation

MAX_NAME = 64  # characters of a party's name
MAX_RECIPIENTS = 200  # so that the body of a record fits into a leaf's opening
MAX_VERSION = 1_000_000
_NOTICE_ID = re.compile(r"[a-z][a-z0-9_.-]{0,63}", re.ASCII)
_LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*", re.ASCII)  # BCP 47
_JURISDICTION = re.compile(r"[A-Z]{2}(-[A-Z0-9]{1,3})?", re.ASCII)  # ISO 3166
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)


@dataclass(frozen=True, order=True)
class Scope:
    """What a record speaks about: every combination of purpose, recipient and category.

    Words are checked and sorted when it is made, so that equal scopes are equal values.
    """

    purposes: tuple[str, ...]
    recipients: tuple[str, ...]
    categories: tuple[str, ...]

    def __post_init__(self) -> None:
        known_words = {"purposes": PURPOSES, "recipients": None, "categories": CATEGORIES}
        for field, known in known_words.items():
            words = tuple(sorted(set(getattr(self, field))))
            if not words:
                raise bad(f"a consent scope without {field}")
            for word in words:
                if word not in known if known is not None else not 0 < len(word) <= MAX_NAME:
                    raise bad(f"{word!r} is not one of the {field} of consent records")
            object.__setattr__(self, field, words)
        if len(self.recipients) > MAX_RECIPIENTS:
            raise bad(f"a consent scope has at most {MAX_RECIPIENTS} recipients")

    def covers(self, purpose: str, recipient: str, category: str) -> bool:
        return (
            purpose in self.purposes
            and category in self.categories
            and (recipient in self.recipients or EVERY_RECIPIENT in self.recipients)
        )

    def cells(self) -> Iterator[tuple[str, str, str]]:
        """Its (purpose, recipient, category) combinations."""
        for purpose in self.purposes:
            for recipient in self.recipients:
                for category in self.categories:
                    yield purpose, recipient, category


@dataclass(frozen=True, order=True)
class NoticeRef:
    """The text that the person saw: version of a notice, in one language.

    sha256: hex digest of the text's UTF-8 bytes.  kind: `material` or `editorial`, what this
    version changed against the one before.
    """

    id: str
    version: int
    language: str
    sha256: str
    kind: str

    def __post_init__(self) -> None:
        if not _NOTICE_ID.fullmatch(self.id):
            raise bad(f"{self.id!r} is not the id of a notice")
        if type(self.version) is not int or not 0 < self.version <= MAX_VERSION:
            raise bad("a notice's version is a number from 1")
        if not _LANGUAGE.fullmatch(self.language):
            raise bad(f"{self.language!r} is not a language tag")
        if not _SHA256.fullmatch(self.sha256):
            raise bad("a notice is named by the SHA-256 of its text in hex")
        if self.kind not in NOTICE_CLASSES:
            raise bad(f"{self.kind!r} is not a class of notice")


@dataclass(frozen=True, order=True)
class Terms:
    """How the person was asked and how they can leave again.

    notice: None where it is not known which text they saw (records of an older system).
    processing: what is done with the data.  jurisdiction: ISO 3166, "" for unknown.
    method: by what act it was said.  guardian: "" unless somebody else may speak for the person.
    default_off: whether nothing was ticked in advance; None where it is not known.
    """

    notice: NoticeRef | None = None
    processing: tuple[str, ...] = ("aggregate", "match", "pseudonymise")
    legal_basis: str = "separate_consent"
    jurisdiction: str = ""
    withdrawal: tuple[str, ...] = ("counter", "portal")
    method: str = "unknown"
    guardian: str = ""
    default_off: bool | None = None

    def __post_init__(self) -> None:
        for field, known in (("processing", PROCESSING), ("withdrawal", WITHDRAWALS)):
            words = tuple(sorted(set(getattr(self, field))))
            if not words:
                raise bad(f"consent terms without {field}")
            for word in words:
                _check_word(word, known, field)
            object.__setattr__(self, field, words)
        _check_word(self.legal_basis, LEGAL_BASES, "legal_basis")
        _check_word(self.method, METHODS, "method")
        _check_word(self.guardian, GUARDIANS, "guardian")
        if self.jurisdiction and not _JURISDICTION.fullmatch(self.jurisdiction):
            raise bad(f"{self.jurisdiction!r} is not a country or region of ISO 3166")
        if not (self.default_off is None or type(self.default_off) is bool):
            raise bad("default_off is true, false or unknown")


def bad(cause: str) -> ProtocolViolation:
    """A record that no honest software of this version makes."""
    return ProtocolViolation("bad_record", cause, stage="consent")


def _check_word(word: str, known: tuple[str, ...], field: str) -> None:
    if word not in known:
        raise bad(f"{word!r} is not a {field} of consent records")


DEFAULT_TERMS = Terms()
