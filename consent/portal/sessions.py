"""Who is signed in: sessions in memory, found by the digest of a cookie.

Who runs it: the portal's process.  Learns: the portal holds a signed-in person's address,
tokens and tags here, until sign-out, 15 minutes without a click, or one hour; nothing is
written to a disk, and a restart forgets everybody (protocols.md section 0, row P).

An id is new at sign-in and at sign-out, so an id that an attacker planted in a browser is
never one of a signed-in person (session fixation).
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from consent.portal.codes import Challenge
from consent.portal.port import Person, Tags, Uses

IDLE_SECONDS = 900.0
WHOLE_SECONDS = 3600.0
MAX_SESSIONS = 20_000
# Tags and uses are asked for again after this; permissions are never kept.
FRESH_SECONDS = 20.0


@dataclass
class SignedIn:
    """One person.  label: what the page calls them.  people: party → who they are there.

    silent: parties whose node did not answer.  kept: answers of nodes, with their time.
    """

    label: str
    kind: str = ""
    address: str = ""
    people: dict[str, Person] = field(default_factory=dict)
    silent: set[str] = field(default_factory=set)
    kept: dict[tuple[str, str], tuple[float, Tags | Uses]] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"SignedIn(parties={len(self.people)})"


@dataclass
class Session:
    """csrf: what each form carries.  flash: (message key, words) to show once."""

    csrf: str
    born: float
    seen: float
    person: SignedIn | None = None
    challenge: Challenge | None = None
    oidc: dict[str, str] = field(default_factory=dict)
    flash: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    tasks: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"Session(signed_in={self.person is not None})"


class Sessions:
    """now: seconds, monotonic."""

    def __init__(self, now: Callable[[], float], random: Callable[[int], bytes]) -> None:
        self._now, self._random = now, random
        self._all: OrderedDict[bytes, Session] = OrderedDict()

    def __len__(self) -> int:
        return len(self._all)

    def find(self, cookie: str) -> Session | None:
        """The live session of `cookie`.  Looked up by digest: timing tells nothing of an id."""
        key = _key(cookie)
        session = self._all.get(key)
        if session is None:
            return None
        now = self._now()
        if now - session.seen > IDLE_SECONDS or now - session.born > WHOLE_SECONDS:
            del self._all[key]
            return None
        session.seen = now
        self._all.move_to_end(key)
        return session

    def create(self) -> tuple[str, Session]:
        """A new cookie and its session; the longest unused one gives way when there are many."""
        cookie, now = self._token(), self._now()
        while len(self._all) >= MAX_SESSIONS:
            self._all.popitem(last=False)
        session = self._all[_key(cookie)] = Session(self._token(), now, now)
        return cookie, session

    def rotate(self, cookie: str, person: SignedIn | None) -> tuple[str, Session]:
        """The old session ends; a new one, with new id and token, is `person`'s."""
        self._all.pop(_key(cookie), None)
        fresh, session = self.create()
        session.person = person
        return fresh, session

    def _token(self) -> str:
        return urlsafe_b64encode(self._random(32)).rstrip(b"=").decode()


def same(left: str, right: str) -> bool:
    """In constant time, whatever characters a form carried."""
    return hmac.compare_digest(left.encode(), right.encode())


def _key(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode()).digest()
