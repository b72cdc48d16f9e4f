"""What an audit asks of consent records beyond their being genuine: the state machine.

Who runs it: the auditor's verifier, over one bundle.  Pure.
Learns: what the openings in the bundle say.

Records are kept as columns, some 150 bytes each, and judged together at the end of their log.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from consent.body import batch_of
from consent.findings import Finding
from consent.leaf import CONSENT, Leaf
from consent.policy import CheckedCheckpoint
from consent.records import RecordBatch, joined
from consent.state_machine import illegal_steps
from protocol.errors import ProtocolViolation

_CHUNK = 4_096


@dataclass
class _Records:
    """Of one log: what waits to become columns, the columns, and the index of each record."""

    bodies: list[bytes] = field(default_factory=list)
    batches: list[RecordBatch] = field(default_factory=list)
    indexes: list[int] = field(default_factory=list)


class ConsentRule:
    """Every opened consent entry is a record, and may follow what the person had said."""

    def __init__(self) -> None:
        self._logs: dict[str, _Records] = {}

    def see(self, log: str, index: int, leaf: Leaf, body: bytes | None) -> Iterable[Finding]:
        if leaf.type != CONSENT or body is None:
            return ()
        kept = self._logs.setdefault(log, _Records())
        kept.bodies.append(body)
        kept.indexes.append(index)
        if len(kept.bodies) >= _CHUNK:
            return self._columns(log, kept)
        return ()

    def checkpoint(self, log: str, checked: CheckedCheckpoint) -> Iterable[Finding]:
        return ()

    def finish(self) -> Iterable[Finding]:
        for log, kept in self._logs.items():
            yield from self._columns(log, kept)
            if not kept.batches:
                continue
            for row, (before, after) in sorted(illegal_steps(joined(kept.batches)).items()):
                values: dict[str, int | str] = {
                    "index": kept.indexes[row],
                    "before": before.word,
                    "after": after.word,
                }
                yield Finding("illegal_transition", log, values)

    def _columns(self, log: str, kept: _Records) -> list[Finding]:
        """The waiting bodies as columns; those that are no records are findings."""
        waiting, kept.bodies = kept.bodies, []
        if not waiting:
            return []
        first = len(kept.indexes) - len(waiting)
        try:
            kept.batches.append(batch_of(waiting))
            return []
        except ProtocolViolation:
            pass  # which ones is found below, one by one
        found, good = [], []
        for place, body in enumerate(waiting, start=first):
            try:
                kept.batches.append(batch_of([body]))
                good.append(kept.indexes[place])
            except ProtocolViolation as error:
                values: dict[str, int | str] = {
                    "index": kept.indexes[place],
                    "cause": error.info.cause,
                }
                found.append(Finding("bad_record", log, values))
        kept.indexes[first:] = good
        return found
