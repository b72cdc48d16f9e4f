"""The portal's permissions page: requests per second of one process, over loopback.

Who runs it: `make bench`.  The server is the product's own, in a process of its own, over a
ledger and nodes in memory, so that the portal is measured and not the ledger; every request
reads the person's events, judges every permission and renders the page.  Clients keep their
connections, each signed in as somebody.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import socket
import time
from typing import Any

CLIENTS = 8


def run(seconds: float) -> list[dict[str, Any]]:
    import httpx

    context = multiprocessing.get_context("spawn")
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    ours, theirs = context.Pipe()
    server = context.Process(target=_serve, args=(listening, theirs), daemon=True)
    server.start()
    try:
        cookies = ours.recv()
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        done, bytes_ = asyncio.run(_hammer(httpx, address, cookies, seconds))
    finally:
        server.terminate()
        server.join()
        listening.close()
    shared = {"peer": None, "peer_value": None, "ratio": None}
    return [
        {"name": f"portal permissions page, {CLIENTS} people", "value": round(done / seconds, 1),
         "unit": "requests/s"} | shared,
        {"name": "portal permissions page, size", "value": round(bytes_ / done / 1000, 1),
         "unit": "kB"} | shared,
    ]  # fmt: skip


async def _hammer(httpx: Any, address: str, cookies: list[str], seconds: float) -> tuple[int, int]:
    async def one(cookie: str, until: float) -> tuple[int, int]:
        done = size = 0
        limits = httpx.Limits(max_connections=1)
        async with httpx.AsyncClient(
            base_url=address, cookies={"session": cookie}, limits=limits, trust_env=False
        ) as client:
            while time.perf_counter() < until:
                answer = await client.get("/permissions")
                answer.raise_for_status()
                assert 'role="switch"' in answer.text
                done, size = done + 1, size + len(answer.content)
        return done, size

    until = time.perf_counter() + seconds
    counts = await asyncio.gather(*(one(cookie, until) for cookie in cookies))
    return sum(done for done, _ in counts), sum(size for _, size in counts)


def _serve(listening: socket.socket, tell: Any) -> None:
    import uvicorn

    from consent.portal import web
    from consent.portal.limits import Rule
    from consent.portal.sessions import SignedIn
    from tests.consent.portal.fakes import ANNA, make

    web.VISITS_PER_CLIENT = Rule(10**9, 1.0)  # all clients are one address here
    made = make()

    async def serve() -> None:
        from consent.portal.port import Find

        cookies = []
        for _ in range(CLIENTS):
            person = SignedIn(ANNA, "email", ANNA)
            for party in made.portal.parties:
                await made.portal.find(person, party, Find("email", ANNA))
            cookies.append(made.portal.sessions.rotate("", person)[0])
        author = made.portal.author("retailer")
        who = person.people["retailer"]
        for purpose in who.purposes:
            said = await made.portal.said("retailer", who)
            batch = author.give(who, said, purpose, "media", "en")
            await made.portal.ledger.append_for("retailer", batch)
        listening.listen(128)
        tell.send(cookies)
        config = uvicorn.Config(made.app, log_level="error", access_log=False, lifespan="off")
        await uvicorn.Server(config).serve([listening])

    asyncio.run(serve())
