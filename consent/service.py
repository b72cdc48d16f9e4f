"""The consent service over gRPC: decode, call the store, map errors.

Who runs it: the consent service's process.  A caller is the hash of its TLS certificate,
so there is no way to ask for another party's records.
Learns: see proto/consent.proto.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Mapping
from contextlib import asynccontextmanager
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio

from catalog.collaboration import Collaboration
from consent import codec
from consent.errors import details_of_error
from consent.local import LocalConsent
from consent.store import ConsentStore
from protocol.errors import AssentError, Failed, ProtocolViolation
from protocol.identity import Keys
from protocol.transport import tls
from protocol.wire import consent_pb2 as pb
from protocol.wire.consent_pb2_grpc import ConsentServicer, add_ConsentServicer_to_server

_log = logging.getLogger(__name__)
T = TypeVar("T")


class ConsentService(ConsentServicer):
    def __init__(self, store: ConsentStore, parties: Mapping[str, str]) -> None:
        """parties: TLS fingerprint → party."""
        self._store = store
        self._parties = parties

    async def Hello(self, request: pb.ConsentHelloRequest, context: Any) -> pb.ConsentHead:
        port = await self._port(context)
        return codec.head_to_pb(await _answered(context, port.hello()))

    async def Append(self, request: pb.ConsentAppendRequest, context: Any) -> pb.ConsentHead:
        port = await self._port(context)
        try:
            batch = codec.batch_from_pb(request.batch)
        except ProtocolViolation as error:
            await _abort(context, error)
        return codec.head_to_pb(await _answered(context, port.append(batch)))

    async def Replicate(
        self, request: pb.ConsentReplicateRequest, context: Any
    ) -> AsyncIterator[pb.ConsentReplicaPage]:
        port = await self._port(context)
        pages = port.replicate(request.since)
        while (page := await _answered(context, anext(pages, None))) is not None:
            yield codec.page_to_pb(page)

    async def _port(self, context: Any) -> LocalConsent:
        """The caller's own log; a certificate that is nobody's ends the call."""
        party = self._parties.get(tls.peer_fingerprint(context))
        if party is None:
            words = "this certificate belongs to no party of the collaboration"
            await context.abort(
                grpc.StatusCode.UNAUTHENTICATED,
                details_of_error(ProtocolViolation("unknown_party", words, stage="consent")),
            )
        return LocalConsent(self._store, str(party))


@asynccontextmanager
async def serving(
    store: ConsentStore, collaboration: Collaboration, keys: Keys, address: str
) -> AsyncIterator[int]:
    """Serves `store` to the parties of `collaboration`; yields the port."""
    parties = list(collaboration.parties.values())
    try:
        server, port = tls.server(
            keys.tls_key,
            keys.card.tls_certificate,
            [party.tls_certificate for party in parties],
            address,
        )
    except RuntimeError as error:
        raise Failed(
            "address_in_use",
            f"cannot listen on {address}",
            stage="consent",
            next_step="stop what listens there, or give another --listen",
        ) from error
    names = {tls.fingerprint(party.tls_certificate): party.name for party in parties}
    add_ConsentServicer_to_server(ConsentService(store, names), server)  # type: ignore[no-untyped-call]  # generated
    await server.start()
    try:
        yield port
    finally:
        await server.stop(grace=2.0)


async def _answered(context: Any, answer: Awaitable[T]) -> T:
    try:
        return await answer
    except AssentError as error:
        await _abort(context, error)
    except Exception:  # ours: the caller hears that much, the log has the rest
        _log.exception("the consent service failed")
        await context.abort(grpc.StatusCode.INTERNAL, "")
    raise AssertionError("abort does not return")


async def _abort(context: Any, error: AssentError) -> NoReturn:
    theirs = isinstance(error, ProtocolViolation)
    code = grpc.StatusCode.INVALID_ARGUMENT if theirs else grpc.StatusCode.FAILED_PRECONDITION
    await context.abort(code, details_of_error(error))
    raise AssertionError("abort does not return")
