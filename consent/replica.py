"""A party's own copy of its consent log: verified, and how fresh it is.

Who runs it: every node, in its data folder.  `sync` pulls what is new; entries count only
when a checkpoint with a quorum covers them and the tree over all entries ever seen has its
root (`consent.replica_check`).  What is applied and the new head are one transaction; each
page of records carries a MAC under a key of the node, so that a file changed afterwards does
not decide.
Denials taken at the party itself (a counter, a call) wait in an overlay that acts at once,
and are logged after (consent.md, "Enforcement in the node").
Learns: the party, its own records.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa

from consent.codec import batch_from_bytes, batch_to_bytes
from consent.errors import NoteError, ProofError
from consent.log_database import blob, failing_closed, open_url, writing
from consent.merkle import CompactRange
from consent.policy import CheckedCheckpoint, check_checkpoint
from consent.port import ConsentPort, Head, ReplicaPage
from consent.records import RecordBatch
from consent.replica_check import Stretch
from consent.replica_pages import Seal, pages_table
from consent.trust import Trust, party_of
from protocol.errors import AssentError, ProtocolViolation, Refused
from protocol.secret import Secret

WINDOW_SECONDS = 300.0
MAX_WINDOW_SECONDS = 900.0
AHEAD_SECONDS = 30.0

_META = sa.MetaData()
_PAGES = pages_table(_META)
_HEAD = sa.Table(
    "head", _META,
    sa.Column("id", sa.Integer, primary_key=True),  # always 1
    sa.Column("origin", sa.Text, nullable=False),
    sa.Column("size", sa.Integer, nullable=False),
    sa.Column("tree", sa.LargeBinary, nullable=False),
    sa.Column("time", sa.Text, nullable=False),  # of the last entry; times never fall
    sa.Column("note", sa.Text, nullable=False),
    sa.Column("erasures", sa.Integer, nullable=False),
)  # fmt: skip
_ALARM = sa.Table(
    "alarm", _META,
    sa.Column("id", sa.Integer, primary_key=True),  # always 1
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("cause", sa.Text, nullable=False),
)  # fmt: skip
_EVIDENCE = sa.Table(
    "evidence", _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("code", sa.Text, nullable=False),
    sa.Column("kept", sa.Text, nullable=False),
    sa.Column("sent", sa.Text, nullable=False),
)  # fmt: skip
_OVERLAY = sa.Table(
    "overlay", _META,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("batch", sa.LargeBinary, nullable=False),
)  # fmt: skip
_KEPT_EVIDENCE = 100


class Replica:
    """Blocking except `sync`; safe from several threads."""

    def __init__(
        self, path: Path, party: str, trust: Trust, key: Secret, window: float = WINDOW_SECONDS
    ) -> None:
        """trust: whose signatures count.  key: of the MACs over what is kept on disk.

        window: seconds that a head may be old.
        """
        if not 0 < window <= MAX_WINDOW_SECONDS:
            raise ValueError(f"the freshness window is at most {MAX_WINDOW_SECONDS:.0f} s")
        self.party = party
        self.window = window
        self._trust = trust
        self._seal = Seal(party, key)
        self._engine = open_url(f"sqlite:///{path}", _META, ())
        # What else this party keeps of the erased records; called before they leave the copy,
        # and again if the process was killed in between.
        self.on_erased: Callable[[RecordBatch], None] = lambda batch: None
        self._syncing = asyncio.Lock()
        self._applying = threading.Lock()

    def close(self) -> None:
        self._engine.dispose()

    # -- pulling ---------------------------------------------------------------------------

    async def sync(self, port: ConsentPort) -> Head:
        """Pulls and verifies up to the head; then logs the overlay and pulls that as well.

        What people said goes to a log only after it has shown itself to be the one that this copy
        knows: until then it waits, and acts here.

        Raises what the port raises, and ProtocolViolation when what came is not the log that
        this copy has verified so far; from then on `require_fresh` refuses until a sync succeeds.
        """
        async with self._syncing:
            head = await self._verified(port)
            waiting = await asyncio.to_thread(self._overlaid)
            if waiting:
                for _, batch in waiting:
                    await port.append(batch)
                head = await self._verified(port)
                # In the log and pulled back: the overlay has said all it had to.
                await asyncio.to_thread(self._drop, [number for number, _ in waiting])
            return head

    async def _verified(self, port: ConsentPort) -> Head:
        try:
            return await self._pull(port)
        except ProtocolViolation as error:
            await asyncio.to_thread(self._raise_alarm, error)
            raise

    async def _pull(self, port: ConsentPort) -> Head:
        held = await asyncio.to_thread(self.head)
        head = held or await port.hello()
        if party_of(head.origin) != self.party:
            raise self._bad("consent_origin", "the consent service shows no log of this party")
        stretch = await asyncio.to_thread(self._stretch)
        checked: CheckedCheckpoint | None = None
        async for page in port.replicate(stretch.tree.size):
            checked = await asyncio.to_thread(self._take, stretch, page, head.origin)
        if checked is None or stretch.tree.size != checked.checkpoint.size:
            raise self._bad("consent_behind", "the consent service sent no checkpoint at the end")
        # Whether a quorum has seen it is `require_fresh`'s to say, at the moment of use.
        await asyncio.to_thread(self._calm)
        return Head(head.origin, checked.note)

    def _stretch(self) -> Stretch:
        """From the last verified head on; what was stored beyond it and never verified goes."""
        with writing(self._engine) as db:
            held = db.execute(sa.select(_HEAD)).one_or_none()
            size = held.size if held else 0
            db.execute(_PAGES.delete().where(_PAGES.c.first >= size))
        if held is None:
            return Stretch(self.party, CompactRange())
        return Stretch(self.party, CompactRange.load(held.size, blob(held.tree)), held.time)

    def _take(self, stretch: Stretch, page: ReplicaPage, origin: str) -> CheckedCheckpoint | None:
        with self._applying:
            found = stretch.add(page)
            checked = None
            if page.checkpoint:
                try:
                    checked = stretch.close(page.checkpoint, self._trust.policy(origin), origin)
                except ProtocolViolation as error:
                    self._keep_evidence(error, page.checkpoint)
                    raise
            erased = np.array(sorted(stretch.erased), np.int64)
            if checked is not None and len(erased):
                # Before the head moves: who is killed in between sees the same stretch again.
                self._erase(erased)
            with writing(self._engine) as db:
                if found.entries:
                    db.execute(_PAGES.insert().values(self._seal.row(found.without(erased))))
                if checked is not None:
                    self._apply(db, stretch, checked, origin)
            if checked is not None:
                stretch.missing.clear()
                stretch.erased.clear()
            return checked

    def _apply(
        self, db: sa.Connection, stretch: Stretch, checked: CheckedCheckpoint, origin: str
    ) -> None:
        held = db.execute(sa.select(_HEAD)).one_or_none()
        values = {
            "origin": origin,
            "size": stretch.tree.size,
            "tree": stretch.tree.dump(),
            "time": stretch.time,
            "note": checked.note,
            "erasures": (held.erasures if held else 0) + bool(stretch.erased),
        }
        if held:
            db.execute(_HEAD.update().values(**values))
        else:
            db.execute(_HEAD.insert().values(id=1, **values))

    def _erase(self, gone: npt.NDArray[np.int64]) -> None:
        """Records of erased people leave this copy as well, with every byte."""
        with writing(self._engine) as db:
            # The page with the smallest index may begin before it.
            start = db.execute(
                sa.select(sa.func.max(_PAGES.c.first)).where(_PAGES.c.first <= int(gone[0]))
            ).scalar()
            rows = db.execute(
                sa.select(_PAGES)
                .where(_PAGES.c.first >= (start or 0))
                .where(_PAGES.c.first <= int(gone[-1]))
            ).all()
            for row in rows:
                page = self._seal.page(row)
                kept = ~np.isin(page.indexes, gone)
                if kept.all():
                    continue
                self.on_erased(page.batch.take(np.flatnonzero(~kept)))
                left = self._seal.row(page.without(gone))
                db.execute(_PAGES.update().where(_PAGES.c.first == page.first).values(left))
        with failing_closed(), self._engine.connect() as db:
            db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    # -- alarm -----------------------------------------------------------------------------

    def _raise_alarm(self, error: ProtocolViolation) -> None:
        """Remembered over a restart, until a sync succeeds."""
        with writing(self._engine) as db:
            db.execute(_ALARM.delete())
            db.execute(_ALARM.insert().values(id=1, code=error.info.code, cause=error.info.cause))

    def _calm(self) -> None:
        with writing(self._engine) as db:
            db.execute(_ALARM.delete())

    def _keep_evidence(self, error: ProtocolViolation, sent: str) -> None:
        """Both notes, when the log itself signed what does not fit together."""
        head = self.head()
        try:
            if head is not None:
                check_checkpoint(sent, self._trust.policy(head.origin), head.origin)
        except NoteError:
            return  # not signed by the log: it proves nothing against it
        kept = head.checkpoint if head else ""
        with writing(self._engine) as db:
            there = sa.select(_EVIDENCE.c.id).where(
                _EVIDENCE.c.kept == kept, _EVIDENCE.c.sent == sent
            )
            count = db.execute(sa.select(sa.func.count()).select_from(_EVIDENCE)).scalar_one()
            if db.execute(there).first() is None and count < _KEPT_EVIDENCE:
                db.execute(_EVIDENCE.insert().values(code=error.info.code, kept=kept, sent=sent))

    def evidence(self) -> list[tuple[str, str, str]]:
        """(code, note kept, note sent) of everything that the log signed and that did not fit."""
        with failing_closed(), self._engine.connect() as db:
            rows = db.execute(sa.select(_EVIDENCE).order_by(_EVIDENCE.c.id)).all()
        return [(row.code, row.kept, row.sent) for row in rows]

    # -- the overlay -----------------------------------------------------------------------

    def overlay(self, batch: RecordBatch) -> None:
        """Denials that act from now on, whether or not the consent service can be reached."""
        with writing(self._engine) as db:
            db.execute(_OVERLAY.insert().values(batch=batch_to_bytes(batch)))

    def overlaid(self) -> list[RecordBatch]:
        return [batch for _, batch in self._overlaid()]

    def _overlaid(self) -> list[tuple[int, RecordBatch]]:
        with failing_closed(), self._engine.connect() as db:
            rows = db.execute(sa.select(_OVERLAY).order_by(_OVERLAY.c.id)).all()
        return [(row.id, batch_from_bytes(row.batch)) for row in rows]

    def _drop(self, numbers: list[int]) -> None:
        with writing(self._engine) as db:
            db.execute(_OVERLAY.delete().where(_OVERLAY.c.id.in_(numbers)))

    # -- reading ---------------------------------------------------------------------------

    def applied(self) -> int:
        """Number of verified entries."""
        head = self._held()
        return head.size if head else 0

    def erasures(self) -> int:
        """Grows whenever records left this copy: who kept something made of them starts anew."""
        head = self._held()
        return head.erasures if head else 0

    def head(self) -> Head | None:
        head = self._held()
        return Head(head.origin, head.note) if head else None

    def pages(self, since: int = 0) -> Iterator[tuple[int, RecordBatch]]:
        """Verified records from log index `since`, which begins a page: (next index, records).

        Raises Refused('consent_changed') at what is no longer as it was verified.
        """
        with failing_closed(), self._engine.connect() as db:
            held = db.execute(sa.select(_HEAD.c.size)).scalar() or 0
            found = db.execute(
                sa.select(_PAGES)
                .where(_PAGES.c.first >= since, _PAGES.c.first < held)
                .order_by(_PAGES.c.first)
            )
            for row in found:
                page = self._seal.page(row)
                if page.first != since:
                    raise self._seal.changed(since)
                since = page.first + page.entries
                yield since, page.batch
        if since < held:
            raise self._seal.changed(since)

    def batches(self, since: int = 0) -> Iterator[RecordBatch]:
        """As `pages`, the records alone."""
        for _, batch in self.pages(since):
            yield batch

    def age(self, now: float) -> float | None:
        """Seconds since a quorum saw this head; None before the first time."""
        head = self.head()
        if head is None:
            return None
        try:
            policy = self._trust.policy(head.origin)
            time = check_checkpoint(head.checkpoint, policy, head.origin).quorum_time
        except NoteError:
            return None
        return None if time is None else now - time

    def _held(self) -> sa.Row[tuple[object, ...]] | None:
        with failing_closed(), self._engine.connect() as db:
            return db.execute(sa.select(_HEAD)).one_or_none()

    # -- may it decide ---------------------------------------------------------------------

    def require_fresh(self, now: float) -> CheckedCheckpoint:
        """The head that decides; raises Refused unless this copy may.  now: POSIX seconds."""
        with failing_closed(), self._engine.connect() as db:
            held = db.execute(sa.select(_HEAD)).one_or_none()
            alarm = db.execute(sa.select(_ALARM)).one_or_none()
        # 1. Its log has not contradicted itself since the last good sync.
        if alarm is not None:
            raise self._refused("consent_inconsistent", f"{alarm.cause} ({alarm.code})")
        # 2. There is a copy.
        if held is None:
            raise self._refused("consent_stale", "no consent record was ever received")
        # 3. Its checkpoint is signed by the log, and a quorum has seen it.
        try:
            checked = check_checkpoint(held.note, self._trust.policy(held.origin), held.origin)
        except NoteError as error:
            raise self._refused("consent_checkpoint", error.info.cause) from error
        if not checked.has_quorum or checked.quorum_time is None:
            raise self._refused(
                "witness_quorum_missing", "no quorum of witnesses has seen the consent log's head"
            )
        # 4. The copy is the tree of that checkpoint.
        try:
            tree = CompactRange.load(held.size, blob(held.tree))
        except ProofError as error:
            raise self._refused("consent_behind", error.info.cause) from error
        if checked.checkpoint.size != held.size or checked.checkpoint.root != tree.root():
            raise self._refused("consent_behind", "the copy is not what its checkpoint covers")
        # 5. It is younger than the window, and not from the future.
        age = now - checked.quorum_time
        if age > self.window:
            raise self._refused(
                "consent_stale",
                f"the copy of the consent records is {age:.0f} s old, "
                f"the window is {self.window:.0f} s",
            )
        if age < -AHEAD_SECONDS:
            raise self._refused(
                "consent_clock", f"the witnesses' clock is {-age:.0f} s ahead of this node's"
            )
        return checked

    def _refused(self, code: str, cause: str) -> AssentError:
        return Refused(
            code,
            cause,
            party=self.party,
            stage="consent",
            next_step="check the clock" if code == "consent_clock" else "run `assent doctor`",
        )

    def _bad(self, code: str, cause: str) -> ProtocolViolation:
        return ProtocolViolation(code, cause, party=self.party, stage="consent")
