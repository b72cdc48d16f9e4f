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
from consent.records import COLUMNS, RecordBatch
from consent.terms import NoticeRef, Scope, Terms
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
