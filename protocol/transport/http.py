"""Serves an ASGI application beside a process's own event loop, with TLS or on loopback only.

Who runs it: the consent service (static files of its logs), the portal, a node's console.
Learns: whoever listens on the network learns addresses, sizes and times.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import uvicorn

from protocol.errors import BadInput, Failed
from protocol.transport.tls import is_loopback

MAX_HEADERS = 16 << 10  # bytes of a request's head
_STOP_SECONDS = 2


class _Server(uvicorn.Server):  # type: ignore[misc]  # uvicorn is untyped here
    """The process's signals stay with the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def serving_http(
    app: Any, address: str, *, tls: tuple[Path, Path] | None = None, what: str
) -> AsyncIterator[int]:
    """Serves `app` at `address` (host:port, port 0 = any); yields the port.

    tls: PEM files of key and certificate; without them only a loopback address is served.
    what: the server in words, for errors.
    """
    if tls is None and not is_loopback(address):
        raise BadInput(
            f"{address}: {what} speaks without TLS on this machine only",
            next_step="give it a certificate, or listen on 127.0.0.1 behind a proxy that has one",
        )
    host, _, port = address.rpartition(":")
    family = socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host.strip("[]"), int(port)))
    except (OSError, OverflowError) as error:
        listening.close()
        raise Failed(
            "address_in_use",
            f"{what} cannot listen on {address}",
            next_step="stop what listens there, or give another address",
        ) from error
    config = uvicorn.Config(
        app,
        log_config=None,
        access_log=False,  # addresses and paths of people are nobody's to keep
        server_header=False,
        h11_max_incomplete_event_size=MAX_HEADERS,
        timeout_graceful_shutdown=_STOP_SECONDS,
        ssl_keyfile=str(tls[0]) if tls else None,
        ssl_certfile=str(tls[1]) if tls else None,
        lifespan="off",
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listening]))
    try:
        while not server.started and not task.done():
            await asyncio.sleep(0.01)
        if task.done():
            task.result()  # raises what kept it from starting
        yield int(listening.getsockname()[1])
    finally:
        server.should_exit = True
        await asyncio.gather(task, return_exceptions=True)
        listening.close()
