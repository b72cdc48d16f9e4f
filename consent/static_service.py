"""The logs as static files over HTTPS: what monitors and other people's tools fetch.

Who runs it: the consent service, at an address of its own (C2SP tlog-tiles).
Learns: the reader learns checkpoints, hashes and entries, never whom or what they are about.

A log's address is the server's, then the log's name: `https://host:port/<origin>/checkpoint`.
"""

from __future__ import annotations

import asyncio

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from consent.ledger import Ledger

_FOR_EVER = "public, max-age=31536000, immutable"
_SHORT = "public, max-age=5"
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'",
    "Access-Control-Allow-Origin": "*",
}


def static_app(ledger: Ledger) -> Starlette:
    """GET of files below each log's name; everything else is 404."""

    async def file(request: Request) -> Response:
        path = str(request.path_params["path"])
        origin = next((one for one in ledger.origins if path.startswith(f"{one}/")), None)
        if origin is None:
            return PlainTextResponse("no such log\n", 404, _HEADERS)
        found = await asyncio.to_thread(ledger.file, origin, path[len(origin) + 1 :])
        if found is None:
            return PlainTextResponse("no such file\n", 404, _HEADERS)
        cache = _FOR_EVER if found.immutable else _SHORT
        return Response(
            found.body, media_type=found.content_type, headers=_HEADERS | {"Cache-Control": cache}
        )

    async def logs(request: Request) -> Response:
        return PlainTextResponse("".join(f"{one}\n" for one in ledger.origins), headers=_HEADERS)

    return Starlette(routes=[Route("/logs", logs), Route("/{path:path}", file)])
