"""Who may open the party's pages: a link that works once, then a session in memory.

Who runs it: every node.  Learns: nobody.

The link is in a 0600 file of the data folder, which `assent node console` prints: who can read
it is the party.  Another user of the machine can reach the port and gets nothing.  A used link
is replaced, so one that was left in a history or a screenshot opens nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from protocol.transport.kit import write_private

LINK_FILE = "console.url"
IDLE_SECONDS = 8 * 3600.0
_MAX_SESSIONS = 32


@dataclass
class Session:
    """csrf: what each form carries."""

    csrf: str
    seen: float


class Door:
    """Short calls, for the one loop that serves the pages."""

    def __init__(self, folder: Path, now: Callable[[], float]) -> None:
        """folder: the node's.  now: seconds of a clock that is not set back."""
        self._file, self._now = folder / LINK_FILE, now
        self._sessions: OrderedDict[bytes, Session] = OrderedDict()
        self._token = secrets.token_urlsafe(32)
        self.port = 0

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def link(self) -> str:
        return f"{self.address}/enter?token={self._token}"

    def open(self, port: int) -> None:
        """The pages are served on this port now; the link is in its file on return."""
        self.port = port
        self._write()

    def shut(self) -> None:
        self._file.unlink(missing_ok=True)

    def _write(self) -> None:
        part = self._file.with_suffix(".part")
        part.unlink(missing_ok=True)
        write_private(part, f"{self.link}\n".encode())
        part.replace(self._file)

    def enter(self, token: str) -> str | None:
        """The cookie of a new session; None for any token but the current one."""
        if not hmac.compare_digest(token.encode(), self._token.encode()):
            return None
        self._token = secrets.token_urlsafe(32)
        self._write()
        cookie = secrets.token_urlsafe(32)
        self._sessions[_digest(cookie)] = Session(secrets.token_urlsafe(32), self._now())
        while len(self._sessions) > _MAX_SESSIONS:
            self._sessions.popitem(last=False)
        return cookie

    def session(self, cookie: str) -> Session | None:
        key = _digest(cookie)
        found = self._sessions.get(key)
        if found is None:
            return None
        if self._now() - found.seen > IDLE_SECONDS:
            del self._sessions[key]
            return None
        found.seen = self._now()
        self._sessions.move_to_end(key)
        return found

    def leave(self, cookie: str) -> None:
        self._sessions.pop(_digest(cookie), None)


def _digest(cookie: str) -> bytes:
    # Looked up by digest: how far a guess agrees with a cookie does not show in the time.
    return hashlib.sha256(cookie.encode("utf-8", "surrogatepass")).digest()
