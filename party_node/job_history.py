"""Which people's records were among the inputs of which job.

Who runs it: every node, in its own database; the portal asks it for one person.
Learns: the party, about its own jobs and people.  consent.md, "Job records and who used my
data".

Row numbers mean nothing once the table is sorted anew, so a job's set is a bitmap over numbers
that a party gives to pseudonyms (`consent.pseudonyms`) as it first sees them, and keeps.  A
pseudonym that stands in several rows has no number: it could be anybody's of them.  Of each
pseudonym eight bytes are kept, and after an erasure none.
"""

from __future__ import annotations

import hmac
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from pyroaring import BitMap

from consent.portal.port import Use
from protocol.encoding import length_prefixed

Keys = npt.NDArray[np.uint64]
_META = sa.MetaData()
_NUMBERS = sa.Table(
    "job_people", _META,
    sa.Column("first", sa.Integer, primary_key=True),  # the number of the first key
    sa.Column("keys", sa.LargeBinary, nullable=False),  # uint64 little-endian; 0: erased
)  # fmt: skip
_INPUTS = sa.Table(
    "job_inputs", _META,
    sa.Column("job", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("use", sa.Text, nullable=False),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.Column("salt", sa.LargeBinary, nullable=False),
    sa.Column("rows", sa.LargeBinary, nullable=False),  # of the table as it was
    sa.Column("people", sa.LargeBinary, nullable=False),
    sa.Column("erased", sa.Boolean, nullable=False),  # somebody of them was
)  # fmt: skip
RUNNING = "running"


@dataclass(frozen=True)
class Inputs:
    """What an attempt was admitted with.  digest: the salted hash of its rows, hex."""

    rows: BitMap
    digest: str


class JobHistory:
    """Blocking; safe from several threads."""

    def __init__(self, engine: sa.Engine, row_keys: Callable[[], Keys]) -> None:
        """engine: of the node's own database.  row_keys: uint64[kinds, rows], the first bytes
        of each row's pseudonyms, 0 for none; asked once, when first needed."""
        self._engine, self._row_keys = engine, row_keys
        self._lock = threading.Lock()
        self._of_rows: npt.NDArray[np.int64] | None = None  # [kinds, rows]: numbers or -1
        with engine.begin() as db:
            _META.create_all(db)

    def prepare(self) -> None:
        """Numbers the people of today's table now: the first job need not wait for it."""
        self._numbered()

    # -- jobs --------------------------------------------------------------------------------

    def keep(
        self, job: str, attempt: int, rows: BitMap, use: Mapping[str, object], salt: bytes
    ) -> Inputs:
        """The inputs of an attempt as they were kept first: after a crash they do not grow."""
        people = self._people(np.array(rows.to_array(), dtype=np.int64))
        where = (_INPUTS.c.job == job) & (_INPUTS.c.attempt == attempt)
        with self._engine.begin() as db:
            kept = db.execute(sa.select(_INPUTS).where(where)).one_or_none()
            if kept is None:
                db.execute(
                    _INPUTS.insert().values(
                        job=job, attempt=attempt, use=json.dumps(dict(use)), outcome=RUNNING,
                        salt=salt, rows=rows.serialize(), people=people.serialize(), erased=False,
                    )
                )  # fmt: skip
                return Inputs(rows, _digest(salt, rows))
        first = BitMap.deserialize(kept.rows)
        return Inputs(first & rows, _digest(kept.salt, first))

    def attempts(self, job: str) -> list[int]:
        with self._engine.connect() as db:
            found = sa.select(_INPUTS.c.attempt).where(_INPUTS.c.job == job)
            return sorted(db.execute(found).scalars())

    def ended(self, job: str, attempt: int, outcome: str) -> None:
        where = (_INPUTS.c.job == job) & (_INPUTS.c.attempt == attempt)
        with self._engine.begin() as db:
            db.execute(_INPUTS.update().where(where).values(outcome=outcome))
            _drop_rows(db)

    # -- people --------------------------------------------------------------------------------

    def uses(self, rows: npt.NDArray[np.int64]) -> Sequence[Use]:
        """Jobs that had any of `rows` of today's table among their inputs, newest first."""
        wanted, found = self._people(rows), dict[str, Use]()
        with self._engine.connect() as db:
            for job in db.execute(sa.select(_INPUTS).order_by(sa.text("rowid DESC"))):
                if job.job not in found and wanted & BitMap.deserialize(job.people):
                    said = json.loads(job.use)
                    said["categories"] = tuple(said["categories"])
                    found[job.job] = Use(job=job.job, outcome=job.outcome, **said)
        return list(found.values())

    def forget(self, subjects: npt.NDArray[np.uint8]) -> None:
        """Erased people leave every job's set, and no byte of their pseudonyms stays here.

        subjects: uint8[n, 32].
        """
        keys = np.ascontiguousarray(subjects[:, :8]).view("<u8").ravel()
        of_rows = self._numbered()
        with self._lock, self._engine.begin() as db:
            chunks = self._chunks(db)
            known = np.concatenate([np.zeros(0, np.uint64), *(held for _, held in chunks)])
            hit = np.isin(known, keys) & (known != 0)
            # The same person's other pseudonyms, where today's table says which they are.
            if len(known):
                rows = (hit[of_rows] & (of_rows >= 0)).any(axis=0)
                others = np.unique(of_rows[:, rows])
                hit[others[others >= 0]] = True
            for first, held in chunks:
                here = hit[first : first + len(held)]
                if here.any():
                    left = np.where(here, np.uint64(0), held).astype("<u8").tobytes()
                    db.execute(_NUMBERS.update().where(_NUMBERS.c.first == first).values(keys=left))
            gone = BitMap(np.flatnonzero(hit).tolist())
            for job in db.execute(sa.select(_INPUTS)).all():
                were = BitMap.deserialize(job.people)
                if were & gone:
                    db.execute(
                        _INPUTS.update()
                        .where(_INPUTS.c.job == job.job, _INPUTS.c.attempt == job.attempt)
                        .values(people=(were - gone).serialize(), erased=True)
                    )
            _drop_rows(db)
            if len(known):
                self._of_rows = np.where(hit[of_rows], -1, of_rows)
        if gone:
            self._wipe()

    def renamed(self, old: Keys, new: Keys) -> None:
        """Pseudonyms are made anew, as those of another log: people keep their numbers.

        old, new: uint64[n], first bytes of the same people's pseudonyms.  A second time it
        changes nothing.
        """
        if not len(old):
            return
        order = np.argsort(old, kind="stable")
        with self._lock, self._engine.begin() as db:
            for first, held in self._chunks(db):
                at = order[np.searchsorted(old, held, sorter=order).clip(max=len(old) - 1)]
                keys = np.where(old[at] == held, new[at], held).astype("<u8").tobytes()
                db.execute(_NUMBERS.update().where(_NUMBERS.c.first == first).values(keys=keys))
            self._of_rows = None

    def _wipe(self) -> None:
        """What the write-ahead log still holds of before."""
        raw: Any = self._engine.raw_connection()
        try:
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        finally:
            raw.close()

    def _people(self, rows: npt.NDArray[np.int64]) -> BitMap:
        numbers = self._numbered()
        inside = rows[rows < numbers.shape[1]]
        found = numbers[:, inside]
        # Flags instead of sorting: a million rows are usual.
        there = np.zeros(int(numbers.max(initial=-1)) + 1, dtype=np.bool_)
        there[found[found >= 0]] = True
        return BitMap(np.flatnonzero(there).astype(np.uint32))

    def _numbered(self) -> npt.NDArray[np.int64]:
        """The numbers of today's table; new pseudonyms get the next ones."""
        with self._lock:
            if self._of_rows is None:
                self._of_rows = self._number(self._row_keys())
            return self._of_rows

    def _number(self, keys: Keys) -> npt.NDArray[np.int64]:
        distinct, place, count = np.unique(keys.ravel(), return_inverse=True, return_counts=True)
        usable = (distinct != 0) & (count == 1)
        with self._engine.begin() as db:
            chunks = self._chunks(db)
            known = np.concatenate([np.zeros(0, np.uint64), *(held for _, held in chunks)])
            order = np.argsort(known, kind="stable")
            at = np.searchsorted(known, distinct, sorter=order)
            at = np.minimum(at, max(len(known) - 1, 0))
            numbers = np.full(len(distinct), -1, dtype=np.int64)
            if len(known):
                numbers = np.where(known[order[at]] == distinct, order[at], -1)
            numbers[~usable] = -1
            new = np.flatnonzero(usable & (numbers < 0))
            numbers[new] = len(known) + np.arange(len(new))
            if len(new):
                fresh = distinct[new].astype("<u8").tobytes()
                db.execute(_NUMBERS.insert().values(first=len(known), keys=fresh))
        return numbers[place].reshape(keys.shape)

    def _chunks(self, db: sa.Connection) -> list[tuple[int, Keys]]:
        rows = db.execute(sa.select(_NUMBERS).order_by(_NUMBERS.c.first)).all()
        return [(row.first, np.frombuffer(row.keys, "<u8").astype(np.uint64)) for row in rows]


def _drop_rows(db: sa.Connection) -> None:
    """Which row of an old table an erased person was is not known any more, so all of them go;
    while the job runs they say what was admitted."""
    over = _INPUTS.c.erased & (_INPUTS.c.outcome != RUNNING)
    db.execute(_INPUTS.update().where(over).values(rows=BitMap().serialize()))


def _digest(salt: bytes, rows: BitMap) -> str:
    """The salted hash of a set of rows: whoever has the salt and the set can open it."""
    message = length_prefixed("assent/eligible-set/v1", rows.serialize())
    return hmac.digest(salt, message, "sha256").hex()
