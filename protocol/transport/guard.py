"""Around every call of every gRPC server: bytes that are no message, and errors of our own.

Who runs it: coordinator, consent service, portal and every node's socket.  gRPC alone answers
both with UNKNOWN and the exception's words, and writes a traceback with these words, which may
be the caller's bytes, into the log.
Learns: nobody; what cannot be read is dropped unread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
import grpc.aio

from protocol.defects import defect
from protocol.errors import ProtocolViolation

_log = logging.getLogger(__name__)
_NO_MESSAGE = "these bytes are no message of this call"


class _Unreadable:
    """Stands for a message that could not be read."""


class Guard(grpc.aio.ServerInterceptor):  # type: ignore[misc]  # grpc is untyped
    """One answer for what no service sees."""

    async def intercept_service(
        self, continuation: Callable[[Any], Awaitable[Any]], handler_call_details: Any
    ) -> Any:
        found = await continuation(handler_call_details)
        return None if found is None else _guarded(found, handler_call_details.method)


def _guarded(handler: Any, method: str) -> Any:
    """`handler` again, with the same shape of call."""
    shape = ("stream" if handler.request_streaming else "unary") + (
        "_stream" if handler.response_streaming else "_unary"
    )
    inner = getattr(handler, shape)
    took = _stream if handler.request_streaming else _single

    async def once(request: Any, context: Any) -> Any:
        try:
            return await inner(await took(request, context), context)
        except Exception as error:
            await _end(method, error, context)

    async def many(request: Any, context: Any) -> AsyncIterator[Any]:
        try:
            async with aclosing(inner(await took(request, context), context)) as answers:
                async for answer in answers:
                    yield answer
        except Exception as error:
            await _end(method, error, context)

    make = getattr(grpc, f"{shape}_rpc_method_handler")
    return make(
        many if handler.response_streaming else once,
        request_deserializer=_reading(handler.request_deserializer),
        response_serializer=handler.response_serializer,
    )


def _reading(read: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def reading(data: bytes) -> Any:
        try:
            return read(data)
        except Exception:
            # protobuf's DecodeError has no public base common to its backends; whatever it is,
            # the bytes are no message, and the call is answered so (`_single`, `_stream`).
            return _Unreadable()

    return reading


async def _single(request: Any, context: Any) -> Any:
    if isinstance(request, _Unreadable):
        await context.abort(grpc.StatusCode.INVALID_ARGUMENT, _NO_MESSAGE)
    return request


async def _stream(requests: AsyncIterator[Any], context: Any) -> AsyncIterator[Any]:
    async def messages() -> AsyncIterator[Any]:
        async for request in requests:
            if isinstance(request, _Unreadable):
                # The service ends the call with it, in its own form.
                raise ProtocolViolation("bad_message", _NO_MESSAGE)
            yield request

    return messages()


async def _end(method: str, error: Exception, context: Any) -> None:
    """What a service raised: its own abort, or an error that nobody foresaw."""
    if isinstance(error, grpc.aio.AbortError):
        raise error
    if isinstance(error, grpc.aio.InternalError):
        raise asyncio.CancelledError from error  # the caller has gone: there is nobody to tell
    _log.error("%s broke: %s", method, defect(error))
    await context.abort(grpc.StatusCode.INTERNAL, "")
