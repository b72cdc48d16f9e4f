"""The node's consent gate: table → pseudonyms → replica → rows that may be used.

Who runs it: every node.  It is the one place where an identifier meets its pseudonym.
Learns: the party, its own people's records.  The consent service learns what
proto/consent.proto says, of records that this party appends.
(protocols.md section 6; consent.md, "Enforcement in the node".)
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from consent.gate import Eligibility, Gate
from consent.importing import Statements, changes, statements_of_everyone, statements_of_file
from consent.notices import Notices, default_notices
from consent.policy import CheckedCheckpoint
from consent.port import ConsentPort
from consent.pseudonyms import Pseudonyms
from consent.purposes import CATEGORIES, EVERY_RECIPIENT, PURPOSES, STATE_OF_WORD, WILDCARD_STATES
from consent.records import U8, RecordBatch, Scope, new_batch
from consent.replica import WINDOW_SECONDS, Replica
from consent.trust import Trust
from party_node.own_copy import REPLICA, own_key, replica_at
from party_node.person_lookup import PersonLookup
from party_node.row_subjects import Identifiers, Tokens, row_subjects, tokens_of
from protocol.defects import defect
from protocol.errors import AssentError, BadInput, Refused
from protocol.secret import Secret

POLL_SECONDS = 15.0
WITNESS_PAUSE = 1.0
QUORUM_PAUSE = 0.2
COUNTER_SECONDS = 5.0
_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ImportReport:
    """statements: what the file says.  appended: events that it took to say so."""

    statements: int
    appended: int


@dataclass(frozen=True)
class Recorded:
    """rows: how many rows of the table the event is about.  logged: False = acts, log follows."""

    rows: int
    logged: bool


class NodeGate:
    """Made by `open`; `eligible` and `require_fresh` block, the rest is async."""

    def __init__(
        self,
        port: ConsentPort,
        replica: Replica,
        pseudonyms: Pseudonyms,
        tokens: Mapping[str, Tokens],
        rows: int,
        parties: Sequence[str],
        now: Callable[[], float],
        random: Callable[[int], bytes],
        notices: Notices,
    ) -> None:
        """tokens: identifier type → rows that have one, and uint8[n, 32] of those rows."""
        self._port = port
        self._replica = replica
        self._pseudonyms = pseudonyms
        self._kinds = tuple(tokens)
        self._others = sorted(set(parties) - {pseudonyms.party})
        self._now = now
        self._random = random
        self._background: set[asyncio.Task[bool]] = set()
        self._subjects = row_subjects(tokens, rows)
        self.notices = notices
        # Of tokens: for whom no list permits anything again.
        self.were_erased: Callable[[U8], npt.NDArray[np.bool_]] | None = None
        # Told of whom something is about to be said; see `party_node.new_log`.
        self.met: Callable[[str, pa.StringArray], Coroutine[Any, Any, None]] = _nobody_is_missed
        self._gate = Gate(replica, self._subjects, notices.is_outdated)

    @classmethod
    async def open(
        cls,
        *,
        party: str,
        parties: Sequence[str],
        kinds: Sequence[str],
        identifiers: Identifiers,
        port: ConsentPort,
        storage: Secret,
        folder: Path,
        trust: Trust,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        window: float = WINDOW_SECONDS,
        notices: Notices | None = None,
    ) -> NodeGate:
        """The gate over `identifiers`, its replica in `folder`, as far as it was synced.

        parties: every party of the collaboration.  kinds: identifier types of the table.
        notices: the party's; None: the built-in ones.
        The consent service must be reachable the first time only: it names the log.
        trust: whose signatures count under that log.
        """
        replica = replica_at(folder / REPLICA, party, trust, storage, window)
        head = await asyncio.to_thread(replica.head) or await port.hello()
        # The pseudonym key is of its own use: never the matching key, never the storage key itself.
        key = own_key(storage, "consent-subjects")
        pseudonyms = Pseudonyms(key, head.origin, party)
        tokens = {
            kind: await asyncio.to_thread(tokens_of, pseudonyms, kind, identifiers)
            for kind in kinds
        }
        return cls(
            port, replica, pseudonyms, tokens, identifiers.rows, parties, now, random,
            notices or default_notices(),
        )  # fmt: skip

    def close(self) -> None:
        self._replica.close()

    def when_erased(self, forget: Callable[[U8, Sequence[bytes]], None]) -> None:
        """`forget` is told the subjects and record ids of everybody whose records are erased."""

        def erased(batch: RecordBatch) -> None:
            subjects = np.unique(batch.subjects, axis=0)
            forget(subjects, [one.tobytes() for one in batch.record_ids])

        self._replica.on_erased = erased

    @property
    def lookup(self) -> PersonLookup:
        """For the portal's questions: from an address to rows and tokens."""
        return PersonLookup(self._pseudonyms, self._subjects)

    # -- the gate --------------------------------------------------------------------------

    def require_fresh(self, now: float) -> CheckedCheckpoint:
        """The head of the consent log that decides.

        Raises Refused ('consent_stale', 'consent_inconsistent', 'consent_clock' …).
        """
        return self._gate.require_fresh(now)

    def eligible(
        self, purpose: str, recipients: Sequence[str], categories: Sequence[str]
    ) -> Eligibility:
        """The rows that may take part, and how many may not for which reason; refuses if stale."""
        return self._gate.eligible(purpose, recipients, categories, self._now())

    def log_state(self) -> dict[str, Any]:
        """For the owner's pages: name, size, age and evidence of the log, and why it refuses."""
        head, refusal = self._replica.head(), ""
        try:
            self.require_fresh(self._now())
        except AssentError as error:
            refusal = error.info.cause
        return {
            "origin": head.origin if head else "",
            "size": self._replica.applied(),
            "age": self.age(),
            "evidence": len(self._replica.evidence()),
            "refusal": refusal,
        }

    def age(self) -> float | None:
        """Seconds since the replica was whole; None before the first time."""
        return self._replica.age(self._now())

    # -- the replica -----------------------------------------------------------------------

    async def sync(self) -> None:
        await self._replica.sync(self._port)

    async def follow(self, interval: float = POLL_SECONDS) -> None:
        """Syncs whenever the log changes, for ever, and every `interval` while it is not reached.

        What goes wrong is logged; the freshness window answers for it.
        """
        while True:
            try:
                async with aclosing(self._port.follow()) as heads:
                    async for _ in heads:
                        await self.sync()
            except AssentError as error:
                _log.warning("consent replica: %s", error)
            except Exception as error:  # ours; following goes on, or staleness refuses
                _log.error("consent replica broke: %s", defect(error))
            await asyncio.sleep(interval)

    async def witness(self, cosign: Callable[[], Awaitable[None]]) -> None:
        """Keeps this party's witness on the line, for ever.  cosign: returns by an error only."""
        while True:
            try:
                await cosign()
            except AssentError as error:
                _log.warning("witness: %s", error)
            except Exception as error:  # ours; the others of the quorum go on meanwhile
                _log.error("witness broke: %s", defect(error))
            await asyncio.sleep(WITNESS_PAUSE)

    # -- what people say -------------------------------------------------------------------

    async def import_file(
        self,
        kind: str,
        ids: pa.StringArray,
        purposes: pa.StringArray,
        recipients: pa.StringArray,
        categories: pa.StringArray,
        statuses: pa.StringArray,
    ) -> ImportReport:
        """Makes the log say what a consent file says; see consent.importing.

        Equal-length columns; `ids` are canonical, null where they could not be parsed.
        """
        await self.met(kind, pc.drop_null(ids))
        stated = await asyncio.to_thread(
            statements_of_file,
            self._pseudonyms, kind, ids, purposes, recipients, categories, statuses,
        )  # fmt: skip
        return await self._import(stated)

    async def import_everyone(self) -> ImportReport:
        """`consents: all`: one record per row that has an identifier, about the first it has.

        A row without any identifier has no pseudonym, so no record, and stays out.
        """
        first = np.full(self._subjects.rows, -1, dtype=np.int32)
        for column in self._subjects.columns:
            first = np.where(first >= 0, first, column)
        people = np.unique(first[first >= 0])
        if not self._others:
            raise BadInput("there is no other party that could receive anything")
        return await self._import(
            statements_of_everyone(self._subjects.index.tokens(people), self._others)
        )

    async def _import(self, stated: Statements) -> ImportReport:
        await self.sync()  # an import is compared with the whole log
        found = await asyncio.to_thread(
            changes,
            stated, self._replica.batches(), self._pseudonyms.version, self._now_ms(), self._random,
            self.were_erased,
        )  # fmt: skip
        for piece in found.pieces():
            await self._appended(piece)
        await self.sync()
        return ImportReport(len(stated), len(found))

    async def import_records(
        self,
        make: Callable[[Pseudonyms, Iterable[RecordBatch]], RecordBatch],
        progress: Callable[[int, int], None],
    ) -> None:
        """Logs what `make` makes of the log so far; progress: records logged, of how many."""
        await self.sync()
        batch = await asyncio.to_thread(make, self._pseudonyms, self._replica.batches())
        done = 0
        progress(done, len(batch))
        for piece in batch.pieces():
            await self._appended(piece)
            done += len(piece)
            progress(done, len(batch))
        await self.sync()

    async def _appended(self, batch: RecordBatch) -> None:
        """Waits for witnesses that start later than this node; anything else is raised."""
        said = False
        while True:
            try:
                await self._port.append(batch)
                return
            except Refused as error:
                if error.info.code != "witness_quorum_missing":
                    raise
                if not said:
                    _log.warning("consents wait for witnesses: %s", error)
                    said = True
            await asyncio.sleep(QUORUM_PAUSE)

    async def record(
        self,
        kind: str,
        identifier: str,
        state: str,
        *,
        purposes: Sequence[str] = PURPOSES,
        recipients: Sequence[str] | None = None,
        categories: Sequence[str] = CATEGORIES,
    ) -> Recorded:
        """One event for one canonical identifier; recipients: None = every party.

        A no (refused, withdrawn, revoked) acts at once, also without the consent service;
        anything else once it is logged, which the log may refuse (consent.state_machine).
        """
        batch = self._event(kind, identifier, state, purposes, recipients, categories)
        rows = await asyncio.to_thread(self._rows_of, batch)
        # What could not follow what was said before must not wait where it acts already.
        if STATE_OF_WORD[state] not in WILDCARD_STATES:
            await self.met(kind, pa.array([identifier], type=pa.string()))
            await self._port.append(batch)
            await self.sync()
            return Recorded(rows, True)
        await asyncio.to_thread(self._replica.overlay, batch)
        logging_it = asyncio.create_task(self._log_overlay())
        self._background.add(logging_it)
        logging_it.add_done_callback(self._background.discard)
        # Who stands at the counter is not kept waiting for a service that does not answer.
        done, _ = await asyncio.wait({logging_it}, timeout=COUNTER_SECONDS)
        return Recorded(rows, bool(done) and logging_it.result())

    async def _log_overlay(self) -> bool:
        try:
            await self.sync()
        except AssentError as error:
            _log.warning("a withdrawal acts here and is logged later: %s", error)
            return False
        return True

    async def withdraw(self, kind: str, identifier: str) -> Recorded:
        """Everything that was ever given for this identifier ends, to everybody."""
        return await self.record(kind, identifier, "withdrawn")

    def _event(
        self,
        kind: str,
        identifier: str,
        state: str,
        purposes: Sequence[str],
        recipients: Sequence[str] | None,
        categories: Sequence[str],
    ) -> RecordBatch:
        if state not in STATE_OF_WORD:
            raise BadInput(
                f"{state!r} is not a consent state", next_step="use " + ", ".join(STATE_OF_WORD)
            )
        if kind not in self._kinds:
            raise BadInput(
                f"{kind!r} is not an identifier type of {self._pseudonyms.party}",
                next_step="use " + ", ".join(self._kinds),
            )
        for words, known in ((purposes, PURPOSES), (categories, CATEGORIES)):
            for word in words:
                if word not in known:
                    raise BadInput(f"{word!r} is unknown", next_step="use " + ", ".join(known))
        for name in recipients or ():
            if name not in self._others:
                raise BadInput(
                    f"{name!r} is not another party of the collaboration",
                    next_step="use " + ", ".join(self._others),
                )
        if recipients is None:
            # Saying no to all must not miss a party that joins later; saying yes is by name.
            wild = STATE_OF_WORD[state] in WILDCARD_STATES
            recipients = [EVERY_RECIPIENT] if wild else self._others
        scope = Scope(tuple(purposes), tuple(recipients), tuple(categories))
        return new_batch(
            self._pseudonyms.tokens(kind, pa.array([identifier], type=pa.string())),
            self._pseudonyms.version,
            (scope,),
            np.zeros(1, np.uint32),
            np.array([STATE_OF_WORD[state]], np.uint8),
            "counter",
            self._now_ms(),
            self._random,
        )

    def _rows_of(self, batch: RecordBatch) -> int:
        (code,) = self._subjects.index.find(batch.subjects)
        if code < 0:
            return 0
        hit = np.zeros(self._subjects.rows, dtype=bool)
        for column in self._subjects.columns:
            hit |= column == code
        return int(hit.sum())

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


async def _nobody_is_missed(kind: str, ids: pa.StringArray) -> None:
    """No log took the place of an earlier one."""
