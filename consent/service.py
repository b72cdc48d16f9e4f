"""The consent service over gRPC: decode, call the ledger, map errors.

Who runs it: the consent service's process.  A caller is the hash of its TLS certificate,
so there is no way to ask for another party's records.
Learns: see proto/consent.proto.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio

from catalog.collaboration import Collaboration
from consent import codec
from consent.errors import details_of_error
from consent.ledger import Ledger
from consent.local import LocalConsent, LocalPortal, bundle_of
from consent.trust import AUDITOR
from consent.witnessing import WitnessLine
from protocol.defects import defect
from protocol.errors import AssentError, Failed, ProtocolViolation
from protocol.identity import Card, Keys
from protocol.transport import tls
from protocol.wire import consent_pb2 as pb
from protocol.wire.consent_pb2_grpc import ConsentServicer, add_ConsentServicer_to_server

_log = logging.getLogger(__name__)
_LINES, _PART_BYTES = 512, 1 << 20
T = TypeVar("T")


class ConsentService(ConsentServicer):
    def __init__(
        self, ledger: Ledger, callers: Mapping[str, Card], lines: Mapping[str, WitnessLine]
    ) -> None:
        """callers: TLS fingerprint → card.  lines: witness name → its line."""
        self._ledger = ledger
        self._callers = callers
        self._lines = lines
        self._portal = LocalPortal(ledger)
        # What ends each stream that would never end by itself.
        self._hang_up: set[Callable[[], None]] = set()
        self._witnessing: dict[WitnessLine, Callable[[], None]] = {}

    def hang_up(self) -> None:
        """Ends the streams of followers and witnesses, before the server stops: it would abort
        them as errors."""
        for end in list(self._hang_up):
            end()

    # -- a party's own log -----------------------------------------------------------------

    async def Hello(self, request: pb.ConsentHelloRequest, context: Any) -> pb.ConsentHead:
        port = await self._party(context)
        return codec.head_to_pb(await _answered(context, port.hello))

    async def Append(self, request: pb.ConsentAppendRequest, context: Any) -> pb.ConsentRecorded:
        port = await self._party(context)
        done = await _answered(context, lambda: port.append(codec.batch_from_pb(request.batch)))
        return codec.recorded_to_pb(done)

    async def Replicate(
        self, request: pb.ConsentReplicateRequest, context: Any
    ) -> AsyncIterator[pb.ConsentReplicaPage]:
        port = await self._party(context)
        pages = port.replicate(request.since)
        while (page := await _answered(context, lambda: anext(pages, None))) is not None:
            yield codec.page_to_pb(page)

    async def Follow(
        self, request: pb.ConsentFollowRequest, context: Any
    ) -> AsyncIterator[pb.ConsentHead]:
        port = await self._party(context)
        waiting: asyncio.Queue[pb.ConsentHead | None] = asyncio.Queue()

        def end() -> None:
            waiting.put_nowait(None)

        async def listen() -> None:
            async with aclosing(port.follow()) as heads:
                async for head in heads:
                    waiting.put_nowait(codec.head_to_pb(head))

        listening = asyncio.create_task(listen())
        self._hang_up.add(end)
        try:
            while (head := await waiting.get()) is not None:
                yield head
        except asyncio.CancelledError:
            return  # the follower has hung up
        finally:
            self._hang_up.discard(end)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def LogJob(self, request: pb.ConsentJobEvent, context: Any) -> pb.ConsentRecorded:
        port = await self._party(context)
        done = await _answered(context, lambda: port.log_job(codec.job_event_from_pb(request)))
        return codec.recorded_to_pb(done)

    async def Proof(self, request: pb.ConsentProofRequest, context: Any) -> pb.ConsentProof:
        port = await self._party(context)
        proof = await _answered(context, lambda: port.proof(request.origin, request.index))
        return pb.ConsentProof(proof=proof)

    async def Erase(self, request: pb.ConsentEraseRequest, context: Any) -> pb.ConsentRecorded:
        port = await self._party(context)
        done = await _answered(context, lambda: port.erase(codec.subject_of(request.subject)))
        return codec.recorded_to_pb(done)

    # -- readers and witnesses -------------------------------------------------------------

    async def File(self, request: pb.ConsentFileRequest, context: Any) -> pb.ConsentFile:
        await self._caller(context)
        found = await _answered(
            context, lambda: asyncio.to_thread(self._ledger.file, request.origin, request.path)
        )
        return pb.ConsentFile(body=found.body, found=True) if found else pb.ConsentFile()

    async def Bundle(
        self, request: pb.ConsentBundleRequest, context: Any
    ) -> AsyncIterator[pb.ConsentBundlePart]:
        card = await self._caller(context, "party", "auditor")
        lines = bundle_of(self._ledger, AUDITOR if card.role == "auditor" else card.name)
        part, size = [], 0
        while (line := await _answered(context, lambda: anext(lines, None))) is not None:
            part.append(line)
            size += len(line)
            if len(part) >= _LINES or size >= _PART_BYTES:
                yield pb.ConsentBundlePart(lines=part)
                part, size = [], 0
        yield pb.ConsentBundlePart(lines=part)

    async def Cosign(
        self, requests: AsyncIterator[pb.ConsentCosignature], context: Any
    ) -> AsyncIterator[pb.ConsentCosignRequest]:
        card = await self._caller(context, "party", "auditor")
        line = self._lines[AUDITOR if card.role == "auditor" else card.name]
        loop = asyncio.get_running_loop()
        waiting: asyncio.Queue[pb.ConsentCosignRequest | None] = asyncio.Queue()
        asked = 0

        def send(number: int, request: str) -> None:
            nonlocal asked
            asked += 1
            message = pb.ConsentCosignRequest(number=number, request=request)
            loop.call_soon_threadsafe(waiting.put_nowait, message)

        def end() -> None:
            waiting.put_nowait(None)

        async def listen() -> None:
            said = 0
            try:
                async for answer in requests:
                    said += 1
                    if said > asked + 1:  # one to each request, after the hello
                        words = "a witness answers more than it was asked"
                        raise ProtocolViolation("bad_message", words, stage="consent")
                    line.answered(answer.number, codec.answer_from_pb(answer))
            finally:
                end()

        self._hang_up.add(end)
        # One stream to each witness: its newest.
        if (older := self._witnessing.pop(line, None)) is not None:
            older()
        self._witnessing[line] = end
        line.connect(send)
        listening = asyncio.create_task(listen())
        try:
            while (message := await waiting.get()) is not None:
                yield message
            if listening.done():
                await _answered(context, lambda: listening)  # raises what was wrong with an answer
        except asyncio.CancelledError:
            return  # the witness has hung up
        finally:
            self._hang_up.discard(end)
            if self._witnessing.get(line) is end:
                del self._witnessing[line]
            line.disconnect(send)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    # -- the portal ------------------------------------------------------------------------

    async def Subject(
        self, request: pb.ConsentSubjectRequest, context: Any
    ) -> pb.ConsentSubjectReply:
        await self._caller(context, "portal")
        party = await self._named(context, request.party)
        found = await _answered(
            context, lambda: self._portal.subject(party, codec.subject_of(request.subject))
        )
        return codec.subject_to_pb(found)

    async def SubjectAppend(
        self, request: pb.ConsentSubjectAppendRequest, context: Any
    ) -> pb.ConsentRecorded:
        await self._caller(context, "portal")
        party = await self._named(context, request.party)
        done = await _answered(
            context, lambda: self._portal.append_for(party, codec.batch_from_pb(request.batch))
        )
        return codec.recorded_to_pb(done)

    async def SubjectErase(
        self, request: pb.ConsentSubjectRequest, context: Any
    ) -> pb.ConsentRecorded:
        await self._caller(context, "portal")
        party = await self._named(context, request.party)
        done = await _answered(
            context, lambda: self._portal.erase_for(party, codec.subject_of(request.subject))
        )
        return codec.recorded_to_pb(done)

    # -- who calls -------------------------------------------------------------------------

    async def _party(self, context: Any) -> LocalConsent:
        """The caller's own log."""
        return LocalConsent(self._ledger, (await self._caller(context, "party")).name)

    async def _caller(self, context: Any, *roles: str) -> Card:
        """Who calls; a certificate that is nobody's, or of another role, ends the call."""
        card = self._callers.get(tls.peer_fingerprint(context))
        if card is None:
            words = "this certificate belongs to nobody of the collaboration"
            await _abort(
                context,
                ProtocolViolation("unknown_party", words, stage="consent"),
                grpc.StatusCode.UNAUTHENTICATED,
            )
        if roles and card.role not in roles:
            words = f"this call is not for the role {card.role}"
            await _abort(
                context,
                ProtocolViolation("not_allowed", words, stage="consent"),
                grpc.StatusCode.PERMISSION_DENIED,
            )
        return card

    async def _named(self, context: Any, party: str) -> str:
        if not any(card.role == "party" and card.name == party for card in self._callers.values()):
            await _abort(
                context,
                ProtocolViolation("unknown_party", "there is no such party", stage="consent"),
            )
        return party


@asynccontextmanager
async def serving(
    ledger: Ledger,
    lines: Mapping[str, WitnessLine],
    collaboration: Collaboration,
    keys: Keys,
    address: str,
) -> AsyncIterator[int]:
    """Serves `ledger` to the parties of `collaboration`; yields the port."""
    callers = [card for card in collaboration.all_cards() if card.role in _CALLERS]
    try:
        server, port = tls.server(
            keys.tls_key,
            keys.card.tls_certificate,
            [card.tls_certificate for card in callers],
            address,
        )
    except RuntimeError as error:
        raise Failed(
            "address_in_use",
            f"cannot listen on {address}",
            stage="consent",
            next_step="stop what listens there, or give another --listen",
        ) from error
    by_certificate = {tls.fingerprint(card.tls_certificate): card for card in callers}
    service = ConsentService(ledger, by_certificate, lines)
    add_ConsentServicer_to_server(service, server)  # type: ignore[no-untyped-call]  # generated
    await server.start()
    try:
        yield port
    finally:
        service.hang_up()
        await server.stop(grace=0.5)


_CALLERS = ("party", "auditor", "portal")


async def _answered(context: Any, ask: Callable[[], Awaitable[T]]) -> T:
    """The one place where errors become statuses; `ask` decodes and calls."""
    try:
        return await ask()
    except AssentError as error:
        await _abort(context, error)
    except Exception as error:  # ours: the caller hears that much, the log has the place
        _log.error("the consent service broke: %s", defect(error))
        await context.abort(grpc.StatusCode.INTERNAL, "")
    raise AssertionError("abort does not return")


async def _abort(context: Any, error: AssentError, code: grpc.StatusCode | None = None) -> NoReturn:
    theirs = isinstance(error, ProtocolViolation)
    usual = grpc.StatusCode.INVALID_ARGUMENT if theirs else grpc.StatusCode.FAILED_PRECONDITION
    await context.abort(code or usual, details_of_error(error))
    raise AssertionError("abort does not return")
