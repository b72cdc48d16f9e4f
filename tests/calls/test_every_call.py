"""Oversized and malformed requests to every gRPC method: a clean answer, and nothing logged.

What is attacked is read from the compiled schemas: a method without an entry here fails.
Servers are the real ones over real sockets, with mutual TLS where they have it.  Each method
gets bytes that are no message, messages that are almost right, these with fields and with bytes
changed, one that is too large, streams that end early and streams that do not end, and callers
of another role or without a pinned certificate.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Iterable
from itertools import chain, repeat
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from consent.portal import questions
from party_node import bulk_import
from tests.calls.bent import MARK, METHODS, Method, altered, bent, noise
from tests.calls.consent_servers import consent, portal
from tests.calls.coordinator_server import coordinator
from tests.calls.node_server import node
from tests.calls.server import Call, Server

SERVERS = {"Coordinator": coordinator, "Consent": consent, "Portal": portal, "Node": node}
CLEAN = (
    grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION,
    grpc.StatusCode.PERMISSION_DENIED,
)  # fmt: skip
DENIED = (grpc.StatusCode.PERMISSION_DENIED, grpc.StatusCode.UNAUTHENTICATED)
# What gRPC's client says instead of the status when the server ended a stream while the client
# was writing to it.
CUT = "Internal error from Core"
ANSWERS = 3  # that are read of a stream before it is hung up
ENOUGH = 20_000  # messages after which a stream counts as endless
SECONDS = 20.0


def caller(channel: grpc.aio.Channel, method: Method) -> Any:
    ends = ["stream" if streams else "unary" for streams in (method.streams_in, method.streams_out)]
    make = getattr(channel, "_".join(ends))
    return make(method.path, request_serializer=bytes, response_deserializer=bytes)


async def said(
    channel: grpc.aio.Channel, method: Method, messages: Iterable[bytes], hang_up: bool = False
) -> tuple[grpc.StatusCode, str]:
    """The status of a call; a stream that goes on after some answers is OK and hung up."""

    async def stream() -> AsyncIterator[bytes]:
        for message in messages:
            yield message

    sent: Any = stream() if method.streams_in else next(iter(messages), b"")
    call = caller(channel, method)(sent, timeout=SECONDS)
    try:
        if hang_up:
            await asyncio.sleep(0.01)
            call.cancel()
            return grpc.StatusCode.OK, ""
        if method.streams_out:
            for _ in range(ANSWERS):
                if await call.read() is grpc.aio.EOF:
                    break
                if method.path.endswith("/Follow"):  # says the rest when the log changes
                    break
            else:
                call.cancel()
                return grpc.StatusCode.OK, ""
        else:
            await call
    except grpc.aio.AioRpcError as error:
        if method.streams_in and error.details() == CUT:
            return grpc.StatusCode.INVALID_ARGUMENT, CUT
        return error.code(), str(error.details())
    finally:
        call.cancel()
    return grpc.StatusCode.OK, ""


async def attacked(server: Server, name: str, call: Call, rng: random.Random) -> set[Any]:
    """Every attack on one method; the codes that came back."""
    method, codes = METHODS[name], set()

    async def attack(channel: grpc.aio.Channel, messages: list[bytes], hang_up: bool) -> None:
        code, details = await said(channel, method, messages, hang_up)
        shown = [message[:60] for message in messages[:3]]
        assert code in CLEAN, (name, code, details[:300], shown)
        assert '"internal"' not in details, (name, details[:300], shown)
        assert details != "internal", (name, shown)
        if not hang_up:
            codes.add(code)

    for role in call.roles:
        channel, first = server.channels[role], role == call.roles[0]
        streams = [[data] for data in noise(rng)]
        for messages in await call.near():
            streams.append([message.SerializeToString() for message in messages])
            if messages and first:
                place = rng.randrange(len(messages))
                for one in (altered(rng, messages[place]) for _ in range(2)):
                    data = [message.SerializeToString() for message in messages]
                    data[place] = one.SerializeToString()
                    streams.append(data)
                streams.append([bent(rng, data) for data in streams[-1]])
        rng.shuffle(streams)
        for start in range(0, len(streams), 16):
            await asyncio.gather(*(
                attack(channel, messages, hang_up=rng.random() < 0.05)
                for messages in streams[start : start + 16]
            ))  # fmt: skip
    return codes


async def refused(server: Server, name: str, call: Call) -> None:
    """Other roles, too large a message, streams without end."""
    method = METHODS[name]
    sample = next(chain.from_iterable(await call.near()), None)
    data = sample.SerializeToString() if sample is not None else b""
    for role in sorted(set(server.channels) - set(call.roles)):
        code, _ = await said(server.channels[role], method, [data])
        assert code in DENIED, (name, role, code)
    channel = server.channels[call.roles[0]]
    code, _ = await said(channel, method, [b"\x0a" + MARK.encode() * (server.most // 9 + 1)])
    assert code is grpc.StatusCode.RESOURCE_EXHAUSTED, (name, code)
    assert (call.endless is not None) == method.streams_in, name
    for messages in await call.endless() if call.endless is not None else ():
        data = [message.SerializeToString() for message in messages]
        count = 0

        def forever(data: list[bytes] = data) -> Iterable[bytes]:
            nonlocal count
            for message in chain(data[:-1], repeat(data[-1])):
                count += 1
                assert count < ENOUGH, f"{name} takes for ever"
                yield message

        code, details = await said(channel, method, forever())
        assert code in CLEAN[1:], (name, code, details)


@pytest.mark.parametrize("service", SERVERS)
async def test_no_request_breaks_a_server_or_is_logged(
    service: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    caplog.set_level(logging.DEBUG)
    monkeypatch.setattr(questions, "LEASE_SECONDS", 0.02)
    monkeypatch.setattr(bulk_import, "MAX_BYTES", 100_000)
    rng = random.Random(service)
    async with SERVERS[service](tmp_path) as server:
        assert set(server.calls) == {name for name in METHODS if name.startswith(f"{service}/")}
        await server.good()
        for name, call in server.calls.items():
            codes = await attacked(server, name, call, rng)
            assert len(codes) > 1, name  # not everything is taken, and not everything refused
            await refused(server, name, call)
            await server.good()
        method = METHODS[next(iter(server.calls))]
        if server.stranger is not None:
            assert (await said(server.stranger, method, [b""]))[0] is grpc.StatusCode.UNAVAILABLE
        unknown = Method(f"{method.path}{MARK}", None, False, False)
        code, _ = await said(next(iter(server.channels.values())), unknown, [b""])
        assert code is grpc.StatusCode.UNIMPLEMENTED
        await server.good()
    records = [one for one in caplog.records if one.name != "grpc.aio._call"]  # the client is ours
    lines = [logging.Formatter().format(record) for record in records]
    out, err = capfd.readouterr()
    for line in (*lines, out, err):
        assert MARK not in line, line[:2_000]
        assert "Traceback" not in line, line[:2_000]
        assert "broke" not in line, line[:2_000]


def test_every_service_of_the_schemas_has_a_server_here() -> None:
    assert {name.partition("/")[0] for name in METHODS} == set(SERVERS)
