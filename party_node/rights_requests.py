"""What people asked this party for under data protection law, and how far it is.

Who runs it: every node, in its own SQLite file; the owner reads and settles the requests over
the node's 0600 socket.  Learns: the party, its own customers' requests.

A request names its person by a keyed digest, so that it can be shown to them again after their
token was erased, and by row numbers, so that the owner finds the row.  So is kept of whom the
records were erased: the log says nothing of them any more, and a list would permit anew.

Digests are of pseudonyms, which are others in a log that took the place of an old one: whoever
is met again (party_node.new_log) gets theirs made anew.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from consent import column_sql
from consent.portal.port import FileRequest, Ticket
from consent.records import SUBJECT_BYTES, U8
from party_node.own_copy import own_key
from protocol.errors import BadInput
from protocol.secret import Secret

# GDPR art. 12 gives a month, Chinese practice (GB/T 35273) 30 days; 15 leaves time to ask back.
DAYS_TO_ANSWER = 15
MAX_OPEN = 50  # of one person
_DAY_MS = 86_400_000
_WORD = "S32"
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
_ERASED = sa.Table(
    "erased_people",
    _META,
    sa.Column("person", sa.LargeBinary, primary_key=True),
)
# Digests of pseudonyms of a log that is no more, until their people are met again.
_EARLIER = sa.Table(
    "people_of_earlier_logs",
    _META,
    sa.Column("origin", sa.Text, primary_key=True),
    sa.Column("person", sa.LargeBinary, primary_key=True),
)

# Digests of pseudonyms under which nobody is spoken of any more: what was said under them in a
# new log was said again under those of now, and they were erased there.
_MOVED = sa.Table(
    "moved_people",
    _META,
    sa.Column("person", sa.LargeBinary, primary_key=True),
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
        self._key = own_key(storage, "rights-requests")
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
            if request.right == "erase":
                # Also where the ledger's word of it comes late or never.
                _keep(db, _ERASED, [self._person(subject) for subject in request.subjects])

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

    # -- who was erased --------------------------------------------------------------------

    def erased(self, subjects: U8) -> None:
        """Keeps whose records were erased; a second time changes nothing.  uint8[n, 32]."""
        with self._engine.begin() as db:
            _keep(db, _ERASED, list(map(bytes, self._people(subjects))))

    def were_erased(self, subjects: U8) -> npt.NDArray[np.bool_]:
        """bool[n]: of whom no list may permit anything again."""
        return self._among(_ERASED, subjects)

    def _among(self, table: sa.Table, subjects: U8) -> npt.NDArray[np.bool_]:
        with self._engine.connect() as db:
            kept = db.execute(sa.select(table.c.person)).scalars().all()
        if not kept:
            return np.zeros(len(subjects), np.bool_)
        found: npt.NDArray[np.bool_] = np.isin(
            _words(self._people(subjects)), np.array(kept, _WORD)
        )
        return found

    # -- new logs --------------------------------------------------------------------------

    def moving(self, subjects: U8) -> None:
        """Before these pseudonyms are erased because their people have others now, uint8[n, 32]:
        a crash between the two must not count the people as erased."""
        with self._engine.begin() as db:
            _keep(db, _MOVED, list(map(bytes, self._people(subjects))))

    def not_moved(self, subjects: U8) -> U8:
        """Of erased pseudonyms, those whose people asked for it."""
        return subjects[~self._among(_MOVED, subjects)]

    def of_earlier_log(self, origin: str) -> None:
        """Everybody of whom something is kept is known by a pseudonym of the log `origin`, which
        is no more, or of one before it.  A second time changes nothing."""
        with self._engine.begin() as db:
            earlier = db.execute(sa.select(_EARLIER)).all()
            if origin in {row.origin for row in earlier}:
                return
            there = {row.person for row in earlier}
            people = sa.union(sa.select(_REQUESTS.c.person), sa.select(_ERASED.c.person))
            new = [
                {"origin": origin, "person": person}
                for person in db.execute(people).scalars()
                if person not in there
            ]
            if new:
                db.execute(_EARLIER.insert(), new)

    def earlier_logs(self) -> list[str]:
        """The logs of which people were not met again."""
        with self._engine.connect() as db:
            return list(db.execute(sa.select(_EARLIER.c.origin).distinct()).scalars())

    def renamed(self, origin: str, old: U8, new: U8) -> None:
        """The same people's pseudonyms in the log `origin` and in the one of now, uint8[n, 32]."""
        with self._engine.connect() as db:
            known = db.execute(sa.select(_EARLIER.c.person).filter_by(origin=origin))
            waiting = np.array(list(known.scalars()), _WORD)
        if not len(waiting):
            return
        before = self._people(old)
        (met,) = np.nonzero(np.isin(_words(before), waiting))
        pairs = zip(map(bytes, before[met]), map(bytes, self._people(new[met])), strict=True)
        with self._engine.begin() as db:
            for was, is_now in dict(pairs).items():
                db.execute(
                    _REQUESTS.update().where(_REQUESTS.c.person == was).values(person=is_now)
                )
                if db.execute(_ERASED.delete().where(_ERASED.c.person == was)).rowcount:
                    _keep(db, _ERASED, [is_now])
                db.execute(_EARLIER.delete().where(_EARLIER.c.person == was))

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
        row = np.frombuffer(subject, np.uint8).reshape(1, SUBJECT_BYTES)
        return bytes(self._people(row)[0])

    def _people(self, subjects: U8) -> U8:
        return column_sql.macs(self._key.reveal(), subjects)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


def _keep(db: sa.Connection, table: sa.Table, people: Sequence[bytes]) -> None:
    new = [{"person": person} for person in people]
    if new:
        db.execute(table.insert().prefix_with("OR IGNORE"), new)


def _words(digests: U8) -> npt.NDArray[np.bytes_]:
    """Each digest as one value.  All are of one length, so padding hides nothing."""
    found: npt.NDArray[np.bytes_] = np.ascontiguousarray(digests).view(_WORD).ravel()
    return found
