"""What people asked this party for under data protection law, and how far it is.

Who runs it: every node, in its own SQLite file; the owner reads and settles the requests over
the node's 0600 socket.  Learns: the party, its own customers' requests.

A request names its person by a keyed digest, so that it can be shown to them again after their
token was erased, and by row numbers, so that the owner finds the row.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import sqlalchemy as sa
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from consent.portal.port import FileRequest, Ticket
from protocol.errors import BadInput
from protocol.secret import Secret

# GDPR art. 12 gives a month, Chinese practice (GB/T 35273) 30 days; 15 leaves time to ask back.
DAYS_TO_ANSWER = 15
MAX_OPEN = 50  # of one person
_DAY_MS = 86_400_000
_META = sa.MetaData()
_REQUESTS = sa.Table(
    "rights_requests",
    _META,
    sa.Column("id", sa.LargeBinary, primary_key=True),
    sa.Column("person", sa.LargeBinary, nullable=False, index=True),
    sa.Column("rows", sa.Text, nullable=False),
    sa.Column("right", sa.Text, nullable=False),
    sa.Column("attribute", sa.Text, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("filed_ms", sa.Integer, nullable=False),
    sa.Column("changed_ms", sa.Integer, nullable=False),
    sa.Column("answer", sa.Text, nullable=False),
)


@dataclass(frozen=True)
class OwnersView:
    """One request as the party's people see it.  rows: numbers in the table, from 0."""

    id: str
    right: str
    attribute: str
    words: str
    state: str
    rows: list[int]
    filed_ms: int
    due_ms: int
    answer: str

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


class TooMany(Exception):
    """The person has `MAX_OPEN` requests that nobody answered yet."""


class RightsRequests:
    """Small synchronous calls, each its own transaction; safe from several threads."""

    def __init__(self, engine: sa.Engine, storage: Secret, now: Callable[[], float]) -> None:
        """engine: of the node's own database.  storage: the kit's key; one of its own use
        comes of it."""
        self._engine, self._now = engine, now
        self._key = Secret(
            HKDF(
                algorithm=hashes.SHA256(), length=32, salt=None, info=b"assent/rights-requests/v1"
            ).derive(storage.reveal())
        )
        with engine.begin() as db:
            _META.create_all(db)

    def file(self, request: FileRequest, rows: Sequence[int]) -> None:
        """Keeps a request, once however often it is sent.  Raises TooMany."""
        now = self._now_ms()
        # The first token is the address that the person signed in with.
        person = self._person(request.subjects[0])
        values = {
            "id": request.id, "person": person, "rows": json.dumps(list(rows)),
            "right": request.right, "attribute": request.attribute, "words": request.words,
            "state": "received", "filed_ms": now, "changed_ms": now, "answer": "",
        }  # fmt: skip
        with self._engine.begin() as db:
            if db.execute(sa.select(_REQUESTS.c.id).filter_by(id=request.id)).first():
                return
            still_open = db.execute(
                sa.select(sa.func.count()).where(
                    _REQUESTS.c.person == person, _REQUESTS.c.state.in_(("received", "working"))
                )
            ).scalar_one()
            if still_open >= MAX_OPEN:
                raise TooMany
            db.execute(_REQUESTS.insert().values(**values))

    def of_person(self, subjects: Sequence[bytes]) -> tuple[Ticket, ...]:
        """The newest first."""
        people = [self._person(subject) for subject in subjects]
        with self._engine.connect() as db:
            found = db.execute(
                sa.select(_REQUESTS)
                .where(_REQUESTS.c.person.in_(people))
                .order_by(_REQUESTS.c.filed_ms.desc())
                .limit(500)
            )
            return tuple(
                Ticket(row.id, row.right, row.attribute, row.state, row.filed_ms, row.changed_ms,
                       row.filed_ms + DAYS_TO_ANSWER * _DAY_MS, row.answer)
                for row in found
            )  # fmt: skip

    # -- for the owner ---------------------------------------------------------------------

    def all(self) -> list[OwnersView]:
        """Unanswered ones first, the oldest first."""
        answered = _REQUESTS.c.state.in_(("done", "refused"))
        with self._engine.connect() as db:
            found = db.execute(
                sa.select(_REQUESTS).order_by(answered, _REQUESTS.c.filed_ms).limit(1000)
            )
            return [
                OwnersView(row.id.hex(), row.right, row.attribute, row.words, row.state,
                           json.loads(row.rows), row.filed_ms,
                           row.filed_ms + DAYS_TO_ANSWER * _DAY_MS, row.answer)
                for row in found
            ]  # fmt: skip

    def settle(self, id: str, state: str, answer: str) -> None:
        """The owner says how far a request is; raises BadInput for an unknown one."""
        try:
            key = bytes.fromhex(id)
        except ValueError:
            key = b""
        values = {"state": state, "answer": answer, "changed_ms": self._now_ms()}
        with self._engine.begin() as db:
            done = db.execute(_REQUESTS.update().where(_REQUESTS.c.id == key).values(**values))
            if not done.rowcount:
                raise BadInput(
                    f"there is no request {id}", next_step="`assent node requests` lists them"
                )

    def _person(self, subject: bytes) -> bytes:
        return hmac.digest(self._key.reveal(), subject, "sha256")

    def _now_ms(self) -> int:
        return int(self._now() * 1000)
