"""Record batches to and from the bytes of proto/consent.proto.

Who runs it: both ends of the consent service, and the node's replica, which keeps pages as
they came.  Everything is checked on the way in (ProtocolViolation 'bad_record').
Learns: nobody more than the batch says.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from consent.port import Head, ReplicaPage
from consent.records import ID_BYTES, SUBJECT_BYTES, RecordBatch, Scope
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
    return pb.ConsentHead(origin=head.origin, size=head.size, time_ms=head.time_ms)


def head_from_pb(message: pb.ConsentHead) -> Head:
    if not message.origin:
        raise ProtocolViolation("bad_head", "the consent service named no log")
    return Head(message.origin, message.size, message.time_ms)


def page_to_pb(page: ReplicaPage) -> pb.ConsentReplicaPage:
    return pb.ConsentReplicaPage(
        first_sequence=page.first, batch=batch_to_pb(page.batch), head=head_to_pb(page.head)
    )


def page_from_pb(message: pb.ConsentReplicaPage) -> ReplicaPage:
    return ReplicaPage(
        message.first_sequence, batch_from_pb(message.batch), head_from_pb(message.head)
    )
