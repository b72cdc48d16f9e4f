"""Record batches to and from the bytes of proto/consent.proto.

Who runs it: both ends of the consent service, and the node's replica, which keeps pages as
they came.  Everything is checked on the way in (ProtocolViolation 'bad_record').
Learns: nobody more than the batch says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from consent.leaf import Opening
from consent.port import Entry, Head, JobEvent, Recorded, ReplicaPage, SubjectEvent
from consent.records import ID_BYTES, SUBJECT_BYTES, RecordBatch, Scope
from consent.witnessing import WitnessAnswer
from protocol.errors import ProtocolViolation
from protocol.wire import consent_pb2 as pb

MAX_SCOPES = 4096


def batch_to_pb(batch: RecordBatch) -> pb.ConsentBatch:
    return pb.ConsentBatch(
        scopes=[
            pb.ConsentScope(
                purposes=scope.purposes, recipients=scope.recipients, categories=scope.categories
            )
            for scope in batch.scopes
        ],
        record_ids=batch.record_ids.tobytes(),
        subjects=batch.subjects.tobytes(),
        key_versions=batch.key_versions.astype("<u2").tobytes(),
        scope_codes=batch.scope_codes.astype("<u4").tobytes(),
        states=batch.states.tobytes(),
        times_ms=batch.times_ms.astype("<i8").tobytes(),
        channels=batch.channels.tobytes(),
    )


def batch_from_pb(message: pb.ConsentBatch) -> RecordBatch:
    if len(message.scopes) > MAX_SCOPES:
        raise ProtocolViolation("bad_record", f"a batch has over {MAX_SCOPES} scopes")
    n = len(message.states)
    return RecordBatch(
        tuple(
            Scope(tuple(scope.purposes), tuple(scope.recipients), tuple(scope.categories))
            for scope in message.scopes
        ),
        _column(message.record_ids, "u1", n * ID_BYTES).reshape(n, ID_BYTES),
        _column(message.subjects, "u1", n * SUBJECT_BYTES).reshape(n, SUBJECT_BYTES),
        _column(message.key_versions, "<u2", n).astype(np.uint16),
        _column(message.scope_codes, "<u4", n).astype(np.uint32),
        _column(message.states, "u1", n),
        _column(message.times_ms, "<i8", n).astype(np.int64),
        _column(message.channels, "u1", n),
    )


def _column(data: bytes, dtype: str, length: int) -> npt.NDArray[Any]:
    if len(data) != length * np.dtype(dtype).itemsize:
        raise ProtocolViolation("bad_record", "the columns of a batch differ in length")
    return np.frombuffer(data, dtype=dtype)


def batch_to_bytes(batch: RecordBatch) -> bytes:
    return batch_to_pb(batch).SerializeToString(deterministic=True)


def batch_from_bytes(data: bytes) -> RecordBatch:
    return batch_from_pb(pb.ConsentBatch.FromString(data))


def head_to_pb(head: Head) -> pb.ConsentHead:
    return pb.ConsentHead(origin=head.origin, checkpoint=head.checkpoint)


def head_from_pb(message: pb.ConsentHead) -> Head:
    return Head(message.origin, message.checkpoint)


def recorded_to_pb(done: Recorded) -> pb.ConsentRecorded:
    return pb.ConsentRecorded(
        origin=done.origin,
        indexes=done.indexes,
        checkpoint=done.checkpoint,
        proof_pending=done.proof_pending,
    )


def recorded_from_pb(message: pb.ConsentRecorded) -> Recorded:
    return Recorded(
        message.origin, tuple(message.indexes), message.checkpoint, message.proof_pending
    )


def page_to_pb(page: ReplicaPage) -> pb.ConsentReplicaPage:
    return pb.ConsentReplicaPage(
        first=page.first,
        leaves=[entry.leaf for entry in page.entries],
        openings=[_opening_to_pb(entry.opening) for entry in page.entries],
        checkpoint=page.checkpoint,
    )


def page_from_pb(message: pb.ConsentReplicaPage) -> ReplicaPage:
    if len(message.leaves) != len(message.openings):
        raise ProtocolViolation("bad_page", "a page has other openings than entries")
    entries = tuple(
        Entry(leaf, _opening_from_pb(opening))
        for leaf, opening in zip(message.leaves, message.openings, strict=True)
    )
    return ReplicaPage(message.first, entries, message.checkpoint)


def job_event_to_pb(event: JobEvent) -> pb.ConsentJobEvent:
    return pb.ConsentJobEvent(type=event.type, id=event.id, body=event.body)


def job_event_from_pb(message: pb.ConsentJobEvent) -> JobEvent:
    return JobEvent(message.type, message.id, message.body)


def subject_to_pb(events: tuple[SubjectEvent, ...]) -> pb.ConsentSubjectReply:
    return pb.ConsentSubjectReply(
        events=[
            pb.ConsentSubjectEvent(
                index=one.index,
                leaf=one.leaf,
                opening=_opening_to_pb(one.opening),
                proof=one.proof,
            )
            for one in events
        ]
    )


def subject_from_pb(message: pb.ConsentSubjectReply) -> tuple[SubjectEvent, ...]:
    return tuple(
        SubjectEvent(one.index, one.leaf, Opening(one.opening.salt, one.opening.body), one.proof)
        for one in message.events
    )


def subject_of(data: bytes) -> bytes:
    """A pseudonym as a request names it."""
    if len(data) != SUBJECT_BYTES:
        raise ProtocolViolation("bad_record", f"a pseudonym is {SUBJECT_BYTES} bytes")
    return data


def answer_to_pb(number: int, answer: WitnessAnswer) -> pb.ConsentCosignature:
    return pb.ConsentCosignature(
        number=number,
        lines=answer.lines,
        conflict_size_plus_one=0 if answer.conflict is None else answer.conflict + 1,
        refusal=answer.refusal,
    )


def answer_from_pb(message: pb.ConsentCosignature) -> WitnessAnswer:
    size = message.conflict_size_plus_one
    return WitnessAnswer(message.lines, size - 1 if size else None, message.refusal)


def _opening_to_pb(opening: Opening | None) -> pb.ConsentOpening:
    if opening is None:
        return pb.ConsentOpening()
    return pb.ConsentOpening(salt=opening.salt, body=opening.body)


def _opening_from_pb(message: pb.ConsentOpening) -> Opening | None:
    return Opening(message.salt, message.body) if message.salt or message.body else None
