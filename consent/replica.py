"""A party's own copy of its consent log, and how fresh it is.

Who runs it: every node, in its data folder.  `sync` pulls what is new every few seconds;
each page is applied in order, in one transaction with the head it came with.  Denials taken
at the party itself (a counter, a call) wait in an overlay that acts at once, and are logged
after (consent.md, "Enforcement in the node").
Learns: the party, its own records.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from consent.codec import batch_from_bytes, batch_to_bytes
from consent.database import open_database, writing
from consent.port import ConsentPort, Head, ReplicaPage
from consent.records import RecordBatch
from protocol.errors import AssentError, ProtocolViolation, Refused

WINDOW_SECONDS = 300.0
MAX_WINDOW_SECONDS = 900.0
AHEAD_SECONDS = 30.0

_META = sa.MetaData()
_PAGES = sa.Table(
    "pages", _META,
    sa.Column("first", sa.Integer, primary_key=True),
    sa.Column("rows", sa.Integer, nullable=False),
    sa.Column("batch", sa.LargeBinary, nullable=False),
)  # fmt: skip
_HEAD = sa.Table(
    "head", _META,
    sa.Column("id", sa.Integer, primary_key=True),  # always 1
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("time_ms", sa.BigInteger, nullable=False),
    sa.Column("applied", sa.Integer, nullable=False),
    sa.Column("alarm", sa.Text, nullable=False),
)  # fmt: skip
_OVERLAY = sa.Table(
    "overlay", _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("batch", sa.LargeBinary, nullable=False),
)  # fmt: skip


class Replica:
    """Blocking except `sync`; safe from several threads."""

    def __init__(self, path: Path, party: str, window: float = WINDOW_SECONDS) -> None:
        if not 0 < window <= MAX_WINDOW_SECONDS:
            raise ValueError(f"the freshness window is at most {MAX_WINDOW_SECONDS:.0f} s")
        self.party = party
        self.window = window
        self._engine = open_database(path, _META)
        self._syncing = asyncio.Lock()

    def close(self) -> None:
        self._engine.dispose()

    # -- pulling ---------------------------------------------------------------------------

    async def sync(self, port: ConsentPort) -> Head:
        """Logs the overlay, then pulls up to the head.

        Raises what the port raises, and ProtocolViolation when the log went back, changed its
        name or left something out; from then on `require_fresh` refuses.
        """
        async with self._syncing:
            logged: list[int] = []
            for number, batch in await asyncio.to_thread(self._overlaid):
                await port.append(batch)
                logged.append(number)
            head: Head | None = None
            async for page in port.replicate(await asyncio.to_thread(self.applied)):
                await asyncio.to_thread(self._apply, page)
                head = page.head
            if head is None:
                raise ProtocolViolation(
                    "bad_head",
                    "the consent service sent no head",
                    party=self.party,
                    stage="consent",
                )
            if logged and self.applied() >= head.size:
                # In the log and pulled back: the overlay has said all it had to.
                await asyncio.to_thread(self._drop, logged)
            return head

    def _apply(self, page: ReplicaPage) -> None:
        try:
            with writing(self._engine) as db:
                self._apply_checked(db, page)
        except ProtocolViolation as error:
            with writing(self._engine) as db:  # remembered over a restart
                db.execute(_HEAD.update().values(alarm=error.info.cause))
            raise

    def _apply_checked(self, db: sa.Connection, page: ReplicaPage) -> None:
        """The page and its head, or nothing.  Numbered as in consent.md's refusals."""
        held = db.execute(sa.select(_HEAD)).one_or_none()
        applied = held.applied if held else 0
        end = applied + len(page.batch)
        # 1. The same log as ever: another origin is another log, whose records say nothing here.
        if held and page.head.origin != held.origin:
            raise self._alarm("consent_origin", "the consent service shows another log than before")
        # 2. Never smaller than what it was: a log that went back has lost somebody's withdrawal.
        if page.head.size < (held.size if held else 0) or page.head.size < end:
            raise self._alarm("consent_rollback", "the consent log is shorter than it was")
        # 3. No gap, no repetition.
        if page.first != applied + 1:
            raise self._alarm("consent_gap", "the consent service left out or repeated records")
        if len(page.batch):
            db.execute(
                _PAGES.insert().values(
                    first=page.first, rows=len(page.batch), batch=batch_to_bytes(page.batch)
                )
            )
        values = {
            "origin": page.head.origin,
            "size": page.head.size,
            "time_ms": page.head.time_ms,
            "applied": end,
            "alarm": "",
        }
        if held:
            db.execute(_HEAD.update().values(**values))
        else:
            db.execute(_HEAD.insert().values(id=1, **values))

    def _alarm(self, code: str, cause: str) -> ProtocolViolation:
        return ProtocolViolation(
            code,
            cause,
            party=self.party,
            stage="consent",
            next_step="ask the operator of the consent service; if it was restored from a backup, "
            "start a new replica",
        )

    # -- the overlay -----------------------------------------------------------------------

    def overlay(self, batch: RecordBatch) -> None:
        """Denials that act from now on, whether or not the consent service can be reached."""
        with writing(self._engine) as db:
            db.execute(_OVERLAY.insert().values(batch=batch_to_bytes(batch)))

    def overlaid(self) -> list[RecordBatch]:
        return [batch for _, batch in self._overlaid()]

    def _overlaid(self) -> list[tuple[int, RecordBatch]]:
        with self._engine.connect() as db:
            rows = db.execute(sa.select(_OVERLAY).order_by(_OVERLAY.c.id)).all()
        return [(row.id, batch_from_bytes(row.batch)) for row in rows]

    def _drop(self, numbers: list[int]) -> None:
        with writing(self._engine) as db:
            db.execute(_OVERLAY.delete().where(_OVERLAY.c.id.in_(numbers)))

    # -- reading ---------------------------------------------------------------------------

    def applied(self) -> int:
        """Number of records held."""
        with self._engine.connect() as db:
            return db.execute(sa.select(_HEAD.c.applied)).scalar() or 0

    def head(self) -> Head | None:
        with self._engine.connect() as db:
            row = db.execute(sa.select(_HEAD)).one_or_none()
        return Head(row.origin, row.size, row.time_ms) if row else None

    def batches(self, since: int = 0) -> Iterator[RecordBatch]:
        """The records after sequence number `since`, which ends a page, in order."""
        with self._engine.connect() as db:
            found = db.execute(
                sa.select(_PAGES.c.batch).where(_PAGES.c.first > since).order_by(_PAGES.c.first)
            )
            for row in found:
                yield batch_from_bytes(row.batch)

    def age(self, now: float) -> float | None:
        """Seconds since the service said that this was everything; None before the first time."""
        head = self.head()
        return None if head is None else now - head.time_ms / 1000

    def require_fresh(self, now: float) -> None:
        """Raises Refused unless this copy may decide.  now: seconds since 1970."""
        with self._engine.connect() as db:
            held = db.execute(sa.select(_HEAD)).one_or_none()
        # 1. There is a copy.
        if held is None:
            raise self._refused("consent_stale", "no consent record was ever received")
        # 2. Its log has not contradicted itself since.
        if held.alarm:
            raise self._refused("consent_inconsistent", held.alarm)
        # 3. It is all of what the head promises.
        if held.applied < held.size:
            raise self._refused("consent_behind", "the copy of the consent records is incomplete")
        # 4. It is younger than the window, and not from the future.
        age = now - held.time_ms / 1000
        if age > self.window:
            raise self._refused(
                "consent_stale",
                f"the copy of the consent records is {age:.0f} s old, "
                f"the window is {self.window:.0f} s",
            )
        if age < -AHEAD_SECONDS:
            raise self._refused(
                "consent_clock", f"the consent service's clock is {-age:.0f} s ahead of this node's"
            )

    def _refused(self, code: str, cause: str) -> AssentError:
        return Refused(
            code,
            cause,
            party=self.party,
            stage="consent",
            next_step="check the clock" if code == "consent_clock" else "run `assent doctor`",
        )
