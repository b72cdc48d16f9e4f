"""The portal towards nodes, over gRPC with pinned mutual TLS: decode, call, map errors.

Who runs it: the portal's process.  A caller is the hash of its TLS certificate, so there is
no way to lease another party's questions.
Learns: see proto/portal.proto.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

import grpc
import grpc.aio

from catalog.collaboration import Collaboration
from consent.errors import details_of_error
from consent.portal import codec
from consent.portal.questions import Questions
from protocol.errors import Failed, ProtocolViolation
from protocol.identity import Keys
from protocol.transport import tls
from protocol.transport.codec import seconds_in
from protocol.wire import portal_pb2 as pb
from protocol.wire.portal_pb2_grpc import PortalServicer, add_PortalServicer_to_server

MAX_ANSWER = 1 << 20  # bytes
_log = logging.getLogger(__name__)


class PortalService(PortalServicer):
    def __init__(self, questions: Questions, parties: Mapping[str, str]) -> None:
        """parties: TLS fingerprint → party."""
        self._questions = questions
        self._parties = parties

    async def Lease(self, request: pb.PortalLeaseRequest, context: Any) -> pb.PortalQuestion:
        party = await self._party(context)
        try:
            wait = seconds_in(request.wait_seconds)
        except ProtocolViolation as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, details_of_error(error))
        leased = await self._questions.lease(party, wait)
        return pb.PortalQuestion() if leased is None else codec.question_to_pb(*leased)

    async def Answer(self, request: pb.PortalAnswer, context: Any) -> pb.PortalAnswerReply:
        party = await self._party(context)
        try:
            if request.ByteSize() > MAX_ANSWER:
                raise ProtocolViolation("bad_portal_message", "an answer is too large")
            self._questions.answer(party, *codec.answer_from_pb(request))
        except ProtocolViolation as error:
            _log.warning("%s sent a malformed answer (%s)", party, error.info.code)
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, details_of_error(error))
        return pb.PortalAnswerReply()

    async def _party(self, context: Any) -> str:
        party = self._parties.get(tls.peer_fingerprint(context))
        if party is None:
            words = "this certificate belongs to no party of the collaboration"
            error = ProtocolViolation("unknown_party", words, stage="portal")
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, details_of_error(error))
        return str(party)


@asynccontextmanager
async def serving(
    questions: Questions, collaboration: Collaboration, keys: Keys, address: str
) -> AsyncIterator[int]:
    """Serves `questions` to the parties' nodes; yields the port."""
    parties = list(collaboration.parties.values())
    try:
        server, port = tls.server(
            keys.tls_key, keys.card.tls_certificate, [p.tls_certificate for p in parties], address
        )
    except RuntimeError as error:
        raise Failed(
            "address_in_use",
            f"cannot listen for nodes on {address}",
            stage="portal",
            next_step="stop what listens there, or give another --nodes",
        ) from error
    names = {tls.fingerprint(party.tls_certificate): party.name for party in parties}
    add_PortalServicer_to_server(PortalService(questions, names), server)  # type: ignore[no-untyped-call]  # generated
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace=1.0)
