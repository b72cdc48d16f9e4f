"""POST /events/NAME on loopback: other programs of the same company hand events to its node.

Who runs it: a node started with --ingest PORT.  It binds 127.0.0.1 only, asks for the token in
its data folder, and never answers with data.  Learns: nobody outside the machine, anything.
"""

from __future__ import annotations

import asyncio
import hmac
import os
import secrets
import socket
from pathlib import Path

import uvicorn
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from party_node.profile_desk import ProfileDesk
from protocol.errors import AssentError, BadInput

TOKEN = "ingest.token"  # noqa: S105 - a file's name
MOST = 256 << 20  # bytes of one body
_FAREWELL = 3  # seconds for requests that are under way when the node stops
_KINDS = {"text/csv": "csv", "application/json": "json", "application/x-ndjson": "json",
          "application/vnd.apache.parquet": "parquet"}  # fmt: skip


def token(folder: Path) -> str:
    """This node's token, made once, readable by its user alone."""
    path = folder / TOKEN
    try:
        return path.read_text("ascii").strip()
    except FileNotFoundError:
        made = secrets.token_urlsafe(32)
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(made)
        return made


def app(desk: ProfileDesk, secret: str) -> Starlette:
    # One body at a time becomes events: they wait for each other there anyway, and as columns
    # they take several times their own memory.
    turn = asyncio.Lock()

    async def events(request: Request) -> JSONResponse:
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if not hmac.compare_digest(given.encode(), secret.encode()):
            return _refused(401, "the token is missing or wrong", f"send the one in {TOKEN}")
        kind = _KINDS.get(request.headers.get("content-type", "").partition(";")[0].strip())
        if kind is None:
            return _refused(415, "the body's type is not known", f"send {', '.join(_KINDS)}")
        try:
            body = await _body(request)
        except ClientDisconnect:
            return _refused(400, "the body was cut off", "send it again")
        if body is None:
            return _refused(413, f"the body is over {MOST >> 20} MB", "send it in parts")
        try:
            async with turn:
                done = await asyncio.to_thread(desk.push, request.path_params["name"], body, kind)
        except BadInput as error:
            return _refused(422, error.info.cause, error.info.next_step)
        except AssentError as error:
            return _refused(503, error.info.cause, error.info.next_step)
        counts = {"new": done.new, "again": done.again, "nobody": done.nobody,
                  "people": done.people}  # fmt: skip
        return JSONResponse(counts | ({"trouble": done.trouble} if done.trouble else {}))

    made = Starlette(routes=[Route("/events/{name}", events, methods=["POST"])])
    made.router.redirect_slashes = False  # it would send the token's holder where Host says
    return made


async def _body(request: Request) -> bytes | None:
    """None for one that is too large; it is not read to its end."""
    said = request.headers.get("content-length", "")
    if said.isdecimal() and int(said) > MOST:
        return None
    body = bytearray()  # bytes would be copied with every part
    async for part in request.stream():
        body += part
        if len(body) > MOST:
            return None
    return bytes(body)


def _refused(status: int, cause: str, fix: str) -> JSONResponse:
    return JSONResponse({"cause": cause, "next_step": fix}, status_code=status)


def bound(port: int) -> socket.socket:
    """A socket on loopback.  Raises BadInput when the port is taken."""
    made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        made.bind(("127.0.0.1", port))
    except (OSError, OverflowError) as error:
        made.close()
        raise BadInput(
            f"port {port} of 127.0.0.1 cannot be used ({error})",
            next_step="name another --ingest port, or 0 to take no events by HTTP",
        ) from error
    return made


async def serve(desk: ProfileDesk, folder: Path, listening: socket.socket) -> None:
    """Until cancelled; what is under way then gets a moment to end."""
    config = uvicorn.Config(
        app(desk, token(folder)), log_level="warning", lifespan="off",
        timeout_graceful_shutdown=_FAREWELL,
    )  # fmt: skip
    server = uvicorn.Server(config)
    # In a thread of its own: there it leaves the node's signal handlers alone.
    running = asyncio.ensure_future(asyncio.to_thread(server.run, sockets=[listening]))
    try:
        await asyncio.shield(running)
    finally:
        server.should_exit = True
        await running  # else the events' file would be closed under a request
