"""What a log that is no more said about people who were not in the table when it was replaced.

Who runs it: a node whose consent service began new logs (party_node.new_log), until it has met
all of them again.  Learns: the party, its own former customers' records.

Nobody can say their new pseudonyms without their identifiers.  So their records wait here, under
the old ones, sealed as the node's copy of the log is: a withdrawal is not forgotten because its
customer was away.  Nobody who is waiting here can ask for erasure without being met first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import sqlalchemy as sa

from consent.log_database import failing_closed, open_url, writing
from consent.records import SUBJECT_BYTES, RecordBatch
from consent.replica_check import CheckedPage
from consent.replica_pages import Seal, pages_table
from consent.subjects import SubjectIndex
from consent.trust import base_of
from party_node.own_copy import own_key
from protocol.secret import Secret

PATTERN = "consent_left_behind.*.sqlite"
_META = sa.MetaData()
_PAGES = pages_table(_META)
_ABOUT = sa.Table("about", _META, sa.Column("origin", sa.Text, primary_key=True))


class LeftBehind:
    """One file for each log that was replaced; blocking."""

    def __init__(self, path: Path, party: str, storage: Secret) -> None:
        self._path = path
        self._seal = Seal(party, own_key(storage, "consent-left-behind"))
        self._engine = open_url(f"sqlite:///{path}", _META, ())
        with failing_closed(), self._engine.connect() as db:
            self.origin = db.execute(sa.select(_ABOUT.c.origin)).scalar() or ""
        tokens = [batch.subjects for batch in self.batches()]
        self.people = SubjectIndex(
            np.concatenate([np.zeros((0, SUBJECT_BYTES), np.uint8), *tokens])
        )

    @classmethod
    def keep(
        cls, folder: Path, origin: str, batches: Iterable[RecordBatch], party: str, storage: Secret
    ) -> None:
        """Makes the file, or makes it again after a crash; none when there is nobody."""
        left = cls(folder / PATTERN.replace("*", str(base_of(origin))), party, storage)
        with writing(left._engine) as db:
            db.execute(_PAGES.delete())
            db.execute(_ABOUT.delete())
            db.execute(_ABOUT.insert().values(origin=origin))
            first = 0
            for batch in batches:
                if len(batch):
                    indexes = first + np.arange(len(batch), dtype=np.int64)
                    page = CheckedPage(first, len(batch), batch, indexes, ())
                    db.execute(_PAGES.insert().values(left._seal.row(page)))
                    first += len(batch)
        left.close()
        if not first:
            left.remove()

    def batches(self) -> Iterator[RecordBatch]:
        """In the order of the log; raises Refused('consent_changed') for what was changed."""
        with failing_closed(), self._engine.connect() as db:
            for row in db.execute(sa.select(_PAGES).order_by(_PAGES.c.first)):
                yield self._seal.page(row).batch

    def forget(self, people: SubjectIndex) -> None:
        """These have been met: no byte of theirs stays here."""
        with writing(self._engine) as db:
            for row in db.execute(sa.select(_PAGES)).all():
                page = self._seal.page(row)
                met = np.flatnonzero(people.find(page.batch.subjects) >= 0)
                if len(met):
                    kept = self._seal.row(page.without(page.indexes[met]))
                    db.execute(_PAGES.update().where(_PAGES.c.first == page.first).values(kept))
        with failing_closed(), self._engine.connect() as db:
            db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        names = self.people.tokens(np.arange(len(self.people)))
        self.people = SubjectIndex(names[people.find(names) < 0])

    def close(self) -> None:
        self._engine.dispose()

    def remove(self) -> None:
        """After `close`."""
        self._path.unlink(missing_ok=True)
