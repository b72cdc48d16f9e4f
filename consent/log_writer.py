"""Feeds a log: batches what callers hand in, has it cosigned, keeps the heartbeat.

Who runs it: the consent service, one thread per log.
Learns: nothing beyond `consent.log`.

An answer comes when the event is integrated, signed and cosigned by a quorum.  Without a
quorum withdrawals are still taken, with the answer "recorded, proof pending"; what needs a
quorum (a new grant) is refused before it is logged.  No promise is ever given for later.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import Protocol

from consent.checkpoint import parse_checkpoint
from consent.errors import NoteError
from consent.leaf import Event
from consent.log import Appended, Log
from consent.note import add_signatures, parse_note, signature_lines
from consent.policy import CheckedCheckpoint, Policy, check_checkpoint
from consent.records import RecordBatch
from consent.witness import AddCheckpoint, StaleSize
from protocol.defects import defect
from protocol.errors import AssentError, Failed, ProtocolViolation, Refused

_LOG = logging.getLogger(__name__)


class Cosigner(Protocol):
    """A witness as the log reaches it.  Blocking; raises AssentError, StaleSize among them."""

    def add_checkpoint(self, request: str) -> str: ...


@dataclass(frozen=True)
class Pace:
    """Seconds and entries.  linger: how long a first event waits for others to share its batch.
    None by default: those that arrive while a batch is written and cosigned are the next one, so
    that batches grow with the load, and who comes alone waits for nobody."""

    batch: int = 500
    linger: float = 0.0
    heartbeat: float = 60.0
    cosign_timeout: float = 5.0
    grace: float = 0.05  # for the other witnesses, once a quorum has answered
    fresh: float = 150.0  # a quorum older than two heartbeats and a bit counts as out of reach


@dataclass(frozen=True)
class Recorded:
    """indexes: of the events, in their order.  proof_pending: no quorum has seen them yet."""

    indexes: tuple[int, ...]
    checkpoint: str
    proof_pending: bool


@dataclass
class _Submission:
    events: Sequence[Event]
    needs_quorum: bool
    erases: tuple[str, bytes, Sequence[int]] | None = None
    records: RecordBatch | None = None  # of which the events are made when their turn comes
    answer: Future[Recorded] = field(default_factory=Future)

    @property
    def count(self) -> int:
        return len(self.events if self.records is None else self.records)


@dataclass(frozen=True)
class _Cosigned:
    """Lines over `note` that were verified, and of whom; none of a witness that did not answer."""

    note: str
    lines: tuple[str, ...] = ()
    witnesses: frozenset[str] = frozenset()


MakeEvents = Callable[[Sequence[RecordBatch]], Sequence[Sequence[Event] | AssentError]]


def _no_records(requests: Sequence[RecordBatch]) -> Sequence[AssentError]:
    error = ProtocolViolation("bad_record", "this log takes no consent records", stage="consent")
    return [error] * len(requests)


class LogWriter:
    """Start with `start`; `submit` from any thread; `close` finishes what was handed in."""

    def __init__(
        self,
        log: Log,
        cosigners: Sequence[Cosigner],
        policy: Policy,
        clock: Callable[[], float],
        pace: Pace | None = None,
        on_published: Callable[[], None] = lambda: None,
        make_events: MakeEvents | None = None,
    ) -> None:
        """clock: POSIX seconds, to see how old the quorum is.

        on_published: called in the writer's thread after every new or renewed checkpoint.
        make_events: called there with the records of a batch; their events, or why not.
        """
        self._log = log
        self._cosigners = tuple(cosigners)
        self._policy = policy
        self._clock = clock
        self._pace = pace or Pace()
        self._on_published = on_published
        self._make_events = make_events or _no_records
        self._sizes = [0] * len(self._cosigners)  # the last tree that each cosigned
        self._asked: dict[int, Future[_Cosigned]] = {}
        self._condition = threading.Condition()
        self._queue: list[_Submission] = []
        self._waiting = 0  # entries in the queue
        self._closing = False
        self._fault: AssentError | None = None
        self._thread = threading.Thread(target=self._run, name=f"log {log.origin}", daemon=True)
        self._calls = ThreadPoolExecutor(max(1, len(self._cosigners)), thread_name_prefix="witness")
        self._checked = check_checkpoint(log.note, policy, log.origin)

    def start(self) -> None:
        self._thread.start()

    def close(self) -> None:
        with self._condition:
            self._closing = True
            self._condition.notify()
        self._thread.join()
        self._calls.shutdown(wait=False, cancel_futures=True)

    @property
    def published(self) -> CheckedCheckpoint:
        """The newest checkpoint as it is served, with its cosignatures verified."""
        return self._checked

    def submit(self, events: Sequence[Event], *, needs_quorum: bool) -> Future[Recorded]:
        """All of `events` or none.  The future raises AssentError when they are not logged.

        More than a batch at once is a bulk import and makes one batch of its own; no events at
        all renew the checkpoint's cosignatures.
        """
        return self._hand_in(_Submission(tuple(events), needs_quorum))

    def submit_records(self, records: RecordBatch, *, needs_quorum: bool) -> Future[Recorded]:
        """The same with records that are still to be checked against what was said before."""
        return self._hand_in(_Submission((), needs_quorum, records=records))

    def erase(self, party: str, id: bytes, indexes: Sequence[int]) -> Future[Recorded]:
        """As `Log.erase`; the answer has the index of the entry that says so."""
        return self._hand_in(_Submission((), False, (party, id, tuple(indexes))))

    def _hand_in(self, submission: _Submission) -> Future[Recorded]:
        # From here on it cannot be cancelled: a caller that hangs up leaves the answer unread.
        submission.answer.set_running_or_notify_cancel()
        with self._condition:
            if self._closing:
                raise Failed("unavailable", "the log is being closed", stage="consent log")
            if self._fault:
                raise self._fault
            before, self._waiting = self._waiting, self._waiting + submission.count
            self._queue.append(submission)
            # Woken for every one of a thousand, the writer would do nothing else.
            if len(self._queue) == 1 or before < self._pace.batch <= self._waiting:
                self._condition.notify()
        return submission.answer

    # -- the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            batch = self._next()
            if batch is None:
                return
            try:
                self._write(batch) if batch else self._cosign()
            except Exception as error:  # the thread answers its callers and lives on
                known = error if isinstance(error, AssentError) else None
                if known is None:
                    _LOG.error("the writer of log %s broke: %s", self._log.origin, defect(error))
                elif not batch:
                    _LOG.error("heartbeat of log %s: %s", self._log.origin, known)
                for one in batch:
                    if not one.answer.done():
                        one.answer.set_exception(
                            known or Failed("internal", "the log's writer failed; see its log")
                        )

    def _next(self) -> list[_Submission] | None:
        """The next batch; empty when the heartbeat is due; None when closed."""
        pace = self._pace
        with self._condition:
            self._condition.wait_for(lambda: self._queue or self._closing, pace.heartbeat)
            if not self._queue:
                return None if self._closing else []
            self._condition.wait_for(
                lambda: self._closing or self._waiting >= pace.batch, pace.linger
            )
            taken, count = 0, 0
            for one in self._queue:
                if taken and (one.erases or count + one.count > pace.batch):
                    break
                taken, count = taken + 1, count + one.count
                if one.erases:
                    break
            batch, self._queue = self._queue[:taken], self._queue[taken:]
            self._waiting -= count
            return batch

    def _write(self, batch: list[_Submission]) -> None:
        if self._fault:
            raise self._fault
        if any(one.needs_quorum for one in batch) and not self._quorum_in_reach():
            missing = Refused(
                "witness_quorum_missing",
                "too few witnesses answer; only withdrawals are taken now",
                stage="consent log",
                next_step="try again when the witnesses are back",
            )
            for one in batch:
                if one.needs_quorum:
                    one.answer.set_exception(missing)
            batch = [one for one in batch if not one.needs_quorum]
        done = self._append(self._made(batch))
        if not done:
            return
        self._cosign()
        pending = not self._checked.has_quorum
        for one, appended in done:
            one.answer.set_result(Recorded(appended.indexes, self._log.note, pending))

    def _made(self, batch: list[_Submission]) -> list[_Submission]:
        """Those that may be logged, with their events; the others are answered."""
        asked = [(one, one.records) for one in batch if one.records is not None]
        answers = self._make_events([records for _, records in asked]) if asked else ()
        for (one, _), events in zip(asked, answers, strict=True):
            if isinstance(events, AssentError):
                one.answer.set_exception(events)
            else:
                one.events = events
        return [one for one in batch if not one.answer.done()]

    def _append(self, batch: list[_Submission]) -> list[tuple[_Submission, Appended]]:
        """batch: with its events made."""
        if len(batch) == 1 and batch[0].erases is not None:
            return [(batch[0], self._log.erase(*batch[0].erases))]
        events = [event for one in batch for event in one.events]
        if not events:
            return [(one, Appended((), self._log.size)) for one in batch]
        try:
            whole = self._log.append(events)
        except ProtocolViolation as error:
            # One bad submission must not take the others with it.
            if len(batch) == 1:
                batch[0].answer.set_exception(error)
                return []
            # Checked again as well: the bad one may be what another was to follow.
            half = len(batch) // 2
            first = self._append(self._made(batch[:half]))
            return first + self._append(self._made(batch[half:]))
        done, place = [], 0
        for one in batch:
            indexes = whole.indexes[place : place + len(one.events)]
            done.append((one, Appended(indexes, whole.size)))
            place += len(one.events)
        return done

    # -- witnesses ----------------------------------------------------------------------------

    def _quorum_in_reach(self) -> bool:
        """Whether a quorum answers nowadays; asks once more if the last time is long ago."""
        if not self._has_fresh_quorum():
            self._cosign()
        return self._has_fresh_quorum()

    def _has_fresh_quorum(self) -> bool:
        time = self._checked.quorum_time
        old = time is not None and self._clock() - time > self._pace.fresh
        return self._checked.has_quorum and not old

    def _cosign(self) -> None:
        """Asks every witness for its cosignature with today's time; the late ones next time."""
        for number in range(len(self._cosigners)):
            late = self._asked.get(number)
            if late is None or late.done():  # one that does not answer is not asked in a queue
                self._asked[number] = self._calls.submit(self._ask, number)
        note, lines, witnesses, met = self._log.note, list[str](), set[str](), False
        pending = set(self._asked.values())
        deadline = time.monotonic() + self._pace.cosign_timeout
        while pending:
            left = max(0.0, deadline - time.monotonic())
            answered, pending = wait(pending, timeout=left, return_when=FIRST_COMPLETED)
            if not answered:
                break
            for said in (one.result() for one in answered):
                if said.note == note:  # else the late answer to a question about an older tree
                    lines += said.lines
                    witnesses |= said.witnesses
            if lines and not met and self._policy.met_by(witnesses):
                met, deadline = True, min(deadline, time.monotonic() + self._pace.grace)
        if self._fault:
            raise self._fault
        note = self._log.publish(lines) if lines else note
        self._checked = check_checkpoint(note, self._policy, self._log.origin)
        self._on_published()

    def _ask(self, number: int) -> _Cosigned:
        """What one witness says to the newest checkpoint; nothing if it is silent."""
        note, size = self._log.note, self._log.size
        try:
            answer = self._request(number, note)
            lines = self._of_witnesses(answer)
            # Only what verifies is put under the note: a wrong line would spoil all of it.
            bare = parse_note(note)
            clean = f"{bare.text}\n{bare.signatures[0].line}"
            times = check_checkpoint(add_signatures(clean, lines), self._policy).times
        except AssentError as error:
            # Away is an ordinary state, which the quorum answers for; anything else is not.
            level = logging.INFO if error.info.code == "unavailable" else logging.WARNING
            _LOG.log(level, "a witness did not cosign log %s: %s", self._log.origin, error)
            return _Cosigned(note)
        self._sizes[number] = size
        return _Cosigned(note, tuple(lines), frozenset(times)) if times else _Cosigned(note)

    def _of_witnesses(self, answer: str) -> list[str]:
        """The lines of keys that the policy names; others are ignored."""
        known = {(key.name, key.key_id) for key in self._policy.witnesses.values()}
        signatures = parse_note(f"\n\n{''.join(signature_lines(answer))}").signatures
        return [one.line for one in signatures if (one.name, one.key_id) in known]

    def _request(self, number: int, note: str) -> str:
        try:
            return self._send(number, note)
        except StaleSize as stale:
            if stale.size > parse_checkpoint(parse_note(note).text).size:
                raise self._ahead(stale) from stale
            self._sizes[number] = stale.size
            return self._send(number, note)

    def _ahead(self, stale: StaleSize) -> AssentError:
        """A witness says that it has cosigned more than this log has.

        With a note of that size under the log's own signature the log was restored from a
        backup, and stops before it signs a second story.  A bare number stops nothing: one
        lying witness would stop everybody's withdrawals.
        """
        said = f"a witness has cosigned size {stale.size}, this log has {self._log.size}"
        try:
            proven = check_checkpoint(stale.note, self._policy, self._log.origin).checkpoint.size
        except NoteError as error:
            return Failed("witness_failed", f"{said}, it says, without proof: {error.info.cause}")
        if proven <= self._log.size:
            return Failed("witness_failed", f"{said}, it says; its proof is of size {proven}")
        self._fault = Failed(
            "log_rolled_back",
            said,
            stage="consent log",
            next_step="restore under a new origin, beginning with log.migrated",
        )
        return self._fault

    def _send(self, number: int, note: str) -> str:
        size = parse_checkpoint(parse_note(note).text).size
        old = min(self._sizes[number], size)
        proof = self._log.consistency(old, size)
        return self._cosigners[number].add_checkpoint(
            AddCheckpoint(old, tuple(proof), note).to_text()
        )
