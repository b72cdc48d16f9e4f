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
from consent.records import COLUMNS, SUBJECT_BYTES, RecordBatch
from consent.terms import NoticeRef, Scope, Terms
from consent.witnessing import WitnessAnswer
from protocol.errors import ProtocolViolation
from protocol.wire import consent_pb2 as pb

MAX_SCOPES = 4096
_DEFAULT_OFF = (None, True, False)


def batch_to_pb(batch: RecordBatch) -> pb.ConsentBatch:
    return pb.ConsentBatch(
        scopes=[
            pb.ConsentScope(
                purposes=scope.purposes, recipients=scope.recipients, categories=scope.categories
            )
            for scope in batch.scopes
        ],
        terms=[_terms_to_pb(terms) for terms in batch.terms],
        **{
            name: getattr(batch, name).astype(np.dtype(dtype).newbyteorder("<")).tobytes()
            for name, (dtype, _) in COLUMNS.items()
        },
    )


def batch_from_pb(message: pb.ConsentBatch) -> RecordBatch:
    if len(message.scopes) > MAX_SCOPES or len(message.terms) > MAX_SCOPES:
        raise ProtocolViolation("bad_record", f"a batch has over {MAX_SCOPES} scopes or terms")
    n = len(message.states)
    return RecordBatch(
        tuple(
            Scope(tuple(scope.purposes), tuple(scope.recipients), tuple(scope.categories))
            for scope in message.scopes
        ),
        tuple(_terms_from_pb(terms) for terms in message.terms),
        *(
            _column(getattr(message, name), np.dtype(dtype), n, width)
            for name, (dtype, width) in COLUMNS.items()
        ),
    )


def _column(data: bytes, dtype: np.dtype[Any], n: int, width: int) -> npt.NDArray[Any]:
    if len(data) != n * max(width, 1) * dtype.itemsize:
        raise ProtocolViolation("bad_record", "the columns of a batch differ in length")
    column = np.frombuffer(data, dtype=dtype.newbyteorder("<")).astype(dtype, copy=False)
    return column.reshape(n, width) if width else column


def _terms_to_pb(terms: Terms) -> pb.ConsentTerms:
    notice = terms.notice
    return pb.ConsentTerms(
        notice=pb.ConsentNotice(
            id=notice.id,
            version=notice.version,
            language=notice.language,
            sha256=notice.sha256,
            kind=notice.kind,
        )
        if notice
        else None,
        processing=terms.processing,
        legal_basis=terms.legal_basis,
        jurisdiction=terms.jurisdiction,
        withdrawal=terms.withdrawal,
        method=terms.method,
        guardian=terms.guardian,
        default_off=_DEFAULT_OFF.index(terms.default_off),
    )


def _terms_from_pb(message: pb.ConsentTerms) -> Terms:
    notice = message.notice
    if message.default_off >= len(_DEFAULT_OFF):
        raise ProtocolViolation("bad_record", "default_off of some terms is unknown")
    return Terms(
        NoticeRef(notice.id, notice.version, notice.language, notice.sha256, notice.kind)
        if message.HasField("notice")
        else None,
        tuple(message.processing),
        message.legal_basis,
        message.jurisdiction,
        tuple(message.withdrawal),
        message.method,
        message.guardian,
        _DEFAULT_OFF[message.default_off],
    )


def batch_to_bytes(batch: RecordBatch) -> bytes:
    return batch_to_pb(batch).SerializeToString(deterministic=True)


def batch_from_bytes(data: bytes) -> RecordBatch:
    return batch_from_pb(pb.ConsentBatch.FromString(data))


def head_to_pb(head: Head) -> pb.ConsentHead:
    return pb.ConsentHead(
        origin=head.origin, checkpoint=head.checkpoint, time_ms=int(head.time * 1000)
    )


def head_from_pb(message: pb.ConsentHead) -> Head:
    return Head(message.origin, message.checkpoint, message.time_ms / 1000)


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
        conflict_note=answer.conflict_note,
        refusal=answer.refusal,
    )


def answer_from_pb(message: pb.ConsentCosignature) -> WitnessAnswer:
    size = message.conflict_size_plus_one
    conflict = size - 1 if size else None
    return WitnessAnswer(message.lines, conflict, message.conflict_note, message.refusal)


def _opening_to_pb(opening: Opening | None) -> pb.ConsentOpening:
    if opening is None:
        return pb.ConsentOpening()
    return pb.ConsentOpening(salt=opening.salt, body=opening.body)


def _opening_from_pb(message: pb.ConsentOpening) -> Opening | None:
    return Opening(message.salt, message.body) if message.salt or message.body else None
