"""What of a writer's batch may be logged: the records that can follow what was said before.

Who runs it: the consent service, in the writer's thread of a party's log, just before a commit.
There nothing is on its way but the batch itself, so that two requests that arrive together
cannot pass each other.  A thousand people's clicks are checked with one look into the store.
Learns: what the service learns: which pseudonyms said what.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice

import numpy as np
import numpy.typing as npt

from consent.body import batch_of, bodies
from consent.leaf import CONSENT, Event
from consent.log import Log
from consent.log_storage import Openings
from consent.records import RecordBatch, joined
from consent.state_machine import check_batch
from protocol.errors import AssentError, ProtocolViolation


class RecordCheck:
    """Makes the events of records, request by request, or says why there are none."""

    def __init__(self, party: str, log: Log, openings: Openings) -> None:
        self._party = party
        self._log = log
        self._openings = openings

    def __call__(self, requests: Sequence[RecordBatch]) -> list[list[Event] | AssentError]:
        """Per request, in their order: its events, or what is wrong with it."""
        refused = self._refused(requests, [])
        whole = joined(list(requests))
        ids, subjects = _rows(whole.record_ids), _rows(whole.subjects)
        events = iter(
            Event(self._party, CONSENT, id, body, subject)
            for id, body, subject in zip(ids, bodies(whole), subjects, strict=True)
        )
        made = [list(islice(events, len(request))) for request in requests]
        return [error or those for error, those in zip(refused, made, strict=True)]

    def _refused(
        self, requests: Sequence[RecordBatch], before: list[RecordBatch]
    ) -> list[AssentError | None]:
        """All at once; when they cannot all be right, each half for itself.

        before: what the log is about to say, of requests ahead of these.
        """
        whole = _once(joined(list(requests)))
        try:
            check_batch(_once(joined([self._said(whole), *before])), whole)
        except ProtocolViolation as error:
            if len(requests) == 1:
                return [error]
            half = len(requests) // 2
            first = self._refused(requests[:half], before)
            right = [one for one, error in zip(requests, first, strict=False) if error is None]
            return first + self._refused(requests[half:], before + right)
        return [None] * len(requests)

    def _said(self, batch: RecordBatch) -> RecordBatch:
        """Everything that the log says about the people of `batch`."""
        people = sorted(set(_rows(batch.subjects)))
        stored = [
            found.opening.body
            for found in self._openings.of_subjects(people)
            if found.opening is not None and found.index < self._log.size
        ]
        return batch_of(stored)


def _once(batch: RecordBatch) -> RecordBatch:
    """Without what is sent again in `batch` itself: it is not said again."""
    first: dict[bytes, int] = {}
    for place, id in enumerate(_rows(batch.record_ids)):
        first.setdefault(id, place)
    return batch if len(first) == len(batch) else batch.take(np.array(list(first.values())))


def _rows(column: npt.NDArray[np.uint8]) -> list[bytes]:
    rows = np.ascontiguousarray(column)
    found: list[bytes] = rows.view(f"V{rows.shape[1]}").ravel().tolist()
    return found
