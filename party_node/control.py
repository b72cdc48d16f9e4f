"""The node's own gRPC service on its 0600 Unix socket: decode, call, map errors.

Who runs it: every node, for its owner's command line and the sandbox.  Learns: whoever
opens the socket is the party itself.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import Awaitable, Callable
from functools import wraps
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import grpc
import grpc.aio

from consent.errors import words_of
from party_node.bulk_import import import_stream
from party_node.control_client import socket_path
from party_node.desk import Desk
from party_node.profile_desk import ProfileDesk
from protocol.defects import defect
from protocol.errors import AssentError, BadInput, Failed
from protocol.transport.codec import seconds_in
from protocol.transport.guard import Guard
from protocol.wire import node_pb2 as pb
from protocol.wire import node_pb2_grpc

_log = logging.getLogger(__name__)
Request = TypeVar("Request")
Reply = TypeVar("Reply")
_Method = Callable[[Any, Request, grpc.aio.ServicerContext], Awaitable[Reply]]


def _in_words(method: _Method[Request, Reply]) -> _Method[Request, Reply]:
    """An error becomes the call's status, with its fields as JSON details."""

    @wraps(method)
    async def call(self: Any, request: Request, context: grpc.aio.ServicerContext) -> Reply:
        try:
            return await method(self, request, context)
        except Exception as error:
            await _abort(context, _known(error))

    return call


def _known(error: Exception) -> AssentError:
    if isinstance(error, AssentError):
        return error
    _log.error("a call of the owner broke: %s", defect(error))
    return Failed("internal", "the node met an error in its own code; its log has the place")


async def _abort(context: Any, error: AssentError) -> NoReturn:
    details = json.dumps({"info": words_of(error.info), "status": error.status})
    await context.abort(grpc.StatusCode.FAILED_PRECONDITION, details)
    raise AssertionError("abort raises") from error


class Control(node_pb2_grpc.NodeServicer):
    """Five-line methods over the desk."""

    def __init__(self, desk: Desk, profiles: ProfileDesk) -> None:
        self._desk = desk
        self._profiles = profiles

    @_in_words
    async def SubmitJob(self, request: Any, context: Any) -> Any:
        try:
            job = json.loads(request.job)
        except (ValueError, RecursionError) as error:
            raise BadInput("the job is not JSON", next_step="use `assent job submit`") from error
        return pb.NodeJobId(job_id=await self._desk.submit(job, dry_run=request.dry_run))

    @_in_words
    async def WatchJob(self, request: Any, context: Any) -> Any:
        wait = min(max(seconds_in(request.wait_seconds), 0.0), 60.0)
        return await self._desk.watch(request.job_id, request.since_version, wait)

    @_in_words
    async def ListJobs(self, request: Any, context: Any) -> Any:
        return pb.NodeJobList(jobs=[pb.NodeJobSummary(**row) for row in self._desk.jobs()])

    @_in_words
    async def JobRecord(self, request: Any, context: Any) -> Any:
        record = json.dumps(self._desk.record(request.job_id), ensure_ascii=False)
        return pb.NodeJobRecord(record=record)

    @_in_words
    async def CancelJob(self, request: Any, context: Any) -> Any:
        return pb.NodeAck(message=await self._desk.cancel(request.job_id))

    @_in_words
    async def Approve(self, request: Any, context: Any) -> Any:
        message = self._desk.approve(request.job_id, request.approve, request.reason)
        return pb.NodeAck(message=message)

    @_in_words
    async def RecordConsent(self, request: Any, context: Any) -> Any:
        message = await self._desk.consent(
            request.id_type, request.identifier, request.purpose, request.recipient,
            request.category, request.state,
        )  # fmt: skip
        return pb.NodeAck(message=message)

    async def ImportConsents(self, request: Any, context: Any) -> Any:
        try:
            async for progress in import_stream(self._desk.bulk_import(), request):
                yield progress
        except Exception as error:
            await _abort(context, _known(error))

    @_in_words
    async def Subject(self, request: Any, context: Any) -> Any:
        return pb.NodeAck(message=self._desk.subject(request.id_type, request.identifier))

    @_in_words
    async def ListRights(self, request: Any, context: Any) -> Any:
        return pb.NodeRights(requests=json.dumps(self._desk.rights(), ensure_ascii=False))

    @_in_words
    async def SettleRight(self, request: Any, context: Any) -> Any:
        return pb.NodeAck(message=self._desk.settle(request.id, request.state, request.answer))

    @_in_words
    async def Ingest(self, request: Any, context: Any) -> Any:
        fields = (request.event, request.path, request.body, request.format)
        return pb.NodeAck(message=await asyncio.to_thread(self._profiles.ingest, *fields))

    @_in_words
    async def Identity(self, request: Any, context: Any) -> Any:
        fields = (request.id_type, request.identifier, request.decision)
        return _answer(await asyncio.to_thread(self._profiles.identity, *fields))

    @_in_words
    async def Tags(self, request: Any, context: Any) -> Any:
        fields = (request.verb, request.name, request.as_of)
        return _answer(await asyncio.to_thread(self._profiles.tags, *fields))

    @_in_words
    async def Status(self, request: Any, context: Any) -> Any:
        return pb.NodeStatus(status=json.dumps(self._desk.status(), ensure_ascii=False))


def _answer(found: Any) -> Any:
    return pb.NodeAnswer(answer=json.dumps(found, ensure_ascii=False))


async def serve(desk: Desk, profiles: ProfileDesk, folder: Path) -> grpc.aio.Server:
    """Listens on the node's socket; only this user may open it."""
    path = socket_path(folder)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    path.unlink(missing_ok=True)  # left by a crash; the data folder's lock says we are alone
    server = grpc.aio.server(
        interceptors=[Guard()], options=[("grpc.max_receive_message_length", 64 << 20)]
    )
    node_pb2_grpc.add_NodeServicer_to_server(Control(desk, profiles), server)  # type: ignore[no-untyped-call]
    mask = os.umask(0o177)
    try:
        server.add_secure_port(
            f"unix:{path}", grpc.local_server_credentials(grpc.LocalConnectionType.UDS)
        )
        await server.start()
    finally:
        os.umask(mask)
    return server
