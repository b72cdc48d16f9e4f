"""Oversized and malformed requests to every HTTP server: refused, and nothing of them is logged.

Portal, a node's console, the logs' files, events by HTTP.  Every request carries a mark, in its
path, query, headers, cookies or body; afterwards no line of any log has it.  Forms and sessions
of the portal are fuzzed in tests/consent/portal/test_refusals.py.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from consent.static_service import static_app
from party_node import ingest_http
from party_node.console.app import create as console_app
from party_node.profile_desk import ProfileDesk
from party_node.records import Records
from protocol.transport.http import serving_http
from tests import ledgers
from tests.consent import made
from tests.consent.portal import fakes
from tests.party_node.test_console import HOME, console_of
from tests.party_node.test_tags_golden import shop
from tests.test_jobs import companies
from tests.world import World

MARK = "mark-Zq7x"
_CLIENT = ("httpx", "httpcore", "asyncio", "hypothesis", "faker")
FORM = "application/x-www-form-urlencoded"


@dataclass
class Server:
    """app: ASGI.  paths: its addresses.  headers: of somebody who may come in."""

    app: Any
    paths: tuple[str, ...]
    headers: dict[str, str]
    home: str = "http://127.0.0.1"
    clean: Callable[[], None] = lambda: None  # what counts requests


@asynccontextmanager
async def portal(folder: Path) -> AsyncIterator[Server]:
    it = fakes.make()
    yield Server(
        it.app,
        ("/", "/sign-in", "/sign-in/code", "/sign-in/enter", "/sign-in/with/retailer",
         "/sign-in/back", "/sign-out", "/permissions", "/permissions/set",
         "/permissions/withdraw-all", "/data", "/uses", "/history", "/history/receipt/retailer/0",
         "/verify", "/rights", "/rights/file", "/rights/erase", "/rights/access.json",
         "/rights/access.csv", "/language/en", "/style.css"),
        {}, clean=it.portal.limits._seen.clear,
    )  # fmt: skip


@asynccontextmanager
async def console(folder: Path) -> AsyncIterator[Server]:
    async with World(folder, companies(71)) as world:
        pages = console_of(world)
        async with httpx.AsyncClient(
            transport=httpx.ASGITransport(console_app(pages)), base_url=HOME
        ) as browser:
            entered = await browser.get(pages.door.link)
            cookie = entered.headers["set-cookie"].partition(";")[0]
        yield Server(
            console_app(pages),
            ("/", "/jobs", "/releases", "/verify", "/audit.bundle", "/enter", "/leave",
             "/language/en", "/style.css"),
            {"cookie": cookie}, HOME,
        )  # fmt: skip


@asynccontextmanager
async def files(folder: Path) -> AsyncIterator[Server]:
    stand = ledgers.simple(folder, made.Clock(), "retailer")
    await stand.port("retailer").append(made.batch(["a"]))
    log = f"/{stand.ledger.consent_log('retailer')}"
    names = ("checkpoint", "tile/0/000.p/1", "tile/entries/000.p/1", "tile/0/x001/000", "openings")
    yield Server(static_app(stand.ledger), ("/logs", *(f"{log}/{name}" for name in names)), {})
    await asyncio.to_thread(stand.close)


@asynccontextmanager
async def events(folder: Path) -> AsyncIterator[Server]:
    desk = ProfileDesk(shop(folder), Records(sa.create_engine("sqlite://"), lambda: 0.0))
    secret = ingest_http.token(folder)
    headers = {"authorization": f"Bearer {secret}", "content-type": "text/csv"}
    yield Server(ingest_http.app(desk, secret), ("/events/cart", "/events/nothing"), headers)


SERVERS = {"portal": portal, "console": console, "files": files, "events": events}


def client_of(server: Server) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(server.app), base_url=server.home, follow_redirects=False
    )


def silent(caplog: pytest.LogCaptureFixture) -> None:
    lines = [r.getMessage() for r in caplog.records if not r.name.startswith(_CLIENT)]
    assert not any(MARK.lower() in line.lower() for line in lines)


def request(rng: random.Random, server: Server) -> dict[str, Any]:
    """One that no browser sends."""
    nasty = [
        MARK, f"../../{MARK}", f"<script>{MARK}</script>", f"%00{MARK}", f"{MARK}%ff%fe",
        "é" + MARK, f"{MARK}\N{SNOWMAN}", MARK * 500, f"'; DROP TABLE {MARK}; --", "",
    ]  # fmt: skip
    path = rng.choice(server.paths)
    if rng.random() < 0.4:
        path = rng.choice([path + "/", path + "/..", "//", "/"]) + rng.choice(nasty)
    if rng.random() < 0.4:
        name = rng.choice(["to", "page", "token", "code", "state", MARK])
        path += f"?{name}={rng.choice(nasty)}"
    headers = dict(server.headers) if rng.random() < 0.7 else {}
    for name in rng.sample(["cookie", "authorization", "content-type", "origin", "accept-language",
                            "sec-fetch-site", "x-forwarded-for", "range", "host"], 2):  # fmt: skip
        if rng.random() < 0.5:
            headers[name] = rng.choice(nasty).replace("\N{SNOWMAN}", "").replace("é", "")
    if rng.random() < 0.4:
        headers["content-type"] = rng.choice(
            [FORM, "text/csv", "application/json", "application/vnd.apache.parquet",
             "multipart/form-data; boundary=x"]
        )  # fmt: skip
    body = rng.choice([
        b"", f"csrf={MARK}&code={MARK}".encode(), rng.randbytes(200) + MARK.encode(),
        f"email,at\n{MARK}@x,{MARK}\n".encode(), f'[{{"email": "{MARK}"}}]'.encode(),
        f'{{"{MARK}": '.encode() * 3_000, b"PAR1" + MARK.encode() + b"PAR1", MARK.encode() * 20_000,
    ])  # fmt: skip
    method = rng.choice(
        ["GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "BREW"]
    )
    return {"method": method, "url": path, "headers": headers, "content": body}


@pytest.mark.parametrize("name", SERVERS)
async def test_no_request_breaks_a_server_or_is_logged(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rng = random.Random(name)
    seen: set[int] = set()
    async with SERVERS[name](tmp_path) as server, client_of(server) as client:
        for _ in range(250):
            server.clean()
            asked = request(rng, server)
            try:
                built = client.build_request(**asked)
            except (httpx.InvalidURL, UnicodeEncodeError):
                continue  # nobody can send it this way; raw bytes are below
            answer = await client.send(built)
            assert answer.status_code < 500, asked
            assert f"<script>{MARK}" not in answer.text
            assert MARK not in answer.headers.get("location", "")  # nobody is led astray
            seen.add(answer.status_code)
    assert len(seen) > 2
    silent(caplog)


async def test_too_much_for_events_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(ingest_http, "MOST", 1_000)
    async with events(tmp_path) as server, client_of(server) as client:
        body = f"email,at\n{MARK},{MARK}\n".encode() * 100
        answer = await client.post("/events/cart", content=body, headers=server.headers)
    assert answer.status_code == 413
    assert MARK not in answer.text
    silent(caplog)


RAW = {
    "no HTTP": f"\x16\x03\x01{MARK}\r\n\r\n".encode("latin-1"),
    "a line without end": b"GET /" + MARK.encode() * 40_000,
    "a head too large": b"GET / HTTP/1.1\r\nHost: x\r\nA: " + MARK.encode() * 40_000 + b"\r\n\r\n",
    "too many headers": b"GET / HTTP/1.1\r\nHost: x\r\n"
    + b"".join(b"A%d: %s\r\n" % (n, MARK.encode()) for n in range(20_000)) + b"\r\n",
    "a bad header": f"GET / HTTP/1.1\r\nHost: x\r\n{MARK}\r\n\r\n".encode(),
    "two lengths": f"POST /{MARK} HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n"
    f"Content-Length: 2\r\n\r\n{MARK}".encode(),
    "no length": f"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: {MARK}\r\n\r\n".encode(),
    "a bad chunk": f"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    f"{MARK}\r\n".encode(),
    "another version": f"GET /{MARK} HTTP/9.9\r\nHost: x\r\n\r\n".encode(),
    "bytes of no alphabet": b"GET /\xff\xfe" + MARK.encode() + b" HTTP/1.1\r\nHost: \xff\r\n\r\n",
}  # fmt: skip


async def said(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(data)
        await writer.drain()
        writer.write_eof()
        return await asyncio.wait_for(reader.read(4_096), 10)
    except ConnectionError:
        return b""  # it hung up on us
    finally:
        writer.close()


@pytest.mark.parametrize("name", SERVERS)
async def test_bytes_that_are_no_request_are_refused(
    name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with (
        SERVERS[name](tmp_path) as server,
        serving_http(server.app, "127.0.0.1:0", what="a server under test") as port,
    ):
        for what, data in RAW.items():
            server.clean()
            answer = await said(port, data)
            assert not answer or answer.split(b" ")[1][:1] == b"4", (what, answer[:80])
        answer = await said(port, b"GET /no HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 4")  # and it lives on
    silent(caplog)
