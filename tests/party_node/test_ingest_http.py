"""Events by HTTP: the token, the formats, and that no answer holds data."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
import sqlalchemy as sa

from party_node import ingest_http
from party_node.ingest_http import TOKEN, app, bound, serve, token
from party_node.profile_desk import ProfileDesk
from party_node.records import Records
from protocol.errors import BadInput
from tests.party_node.test_tags_golden import shop


def test_events_by_http(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    desk = ProfileDesk(profile, Records(sa.create_engine("sqlite://"), lambda: 0.0))
    secret = token(tmp_path)
    assert token(tmp_path) == secret
    assert stat.S_IMODE((tmp_path / TOKEN).stat().st_mode) == 0o600
    served = httpx.ASGITransport(app(desk, secret))

    def send(path: str, given: dict[str, str], method: str = "POST") -> httpx.Response:
        async def call() -> httpx.Response:
            async with httpx.AsyncClient(transport=served, base_url="http://node") as client:
                return await client.request(method, path, content=csv, headers=given)

        return asyncio.run(call())

    csv = "email,at\nfay@example.com,2026-03-09\nnobody@example.com,2026-03-09\n"
    headers = {"authorization": f"Bearer {secret}", "content-type": "text/csv; charset=utf-8"}
    assert send("/events/cart", {}).status_code == 401
    wrong = send("/events/cart", headers | {"authorization": "Bearer x"})
    assert wrong.status_code == 401
    done = send("/events/cart", headers)
    assert done.json() == {"new": 2, "again": 0, "nobody": 1, "people": 1}
    bad = send("/events/carts", headers)
    assert bad.status_code == 422
    assert bad.json()["next_step"] == 'did you mean "cart"?'
    plain = send("/events/cart", headers | {"content-type": "text/plain"})
    assert plain.status_code == 415
    assert send("/events/cart", headers, "GET").status_code == 405


def test_a_body_that_is_too_large_or_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ingest_http, "MOST", 40)
    profile = shop(tmp_path)
    desk = ProfileDesk(profile, Records(sa.create_engine("sqlite://"), lambda: 0.0))
    said = [{"type": "http.request", "body": b"email,at\n", "more_body": True}]
    headers = [(b"authorization", b"Bearer word"), (b"content-type", b"text/csv")]

    def status(parts: list[dict[str, Any]], more: list[tuple[bytes, bytes]]) -> tuple[int, int]:
        """The answer, and how many parts were read."""
        waiting, sent = list(parts), []
        scope = {"type": "http", "method": "POST", "path": "/events/cart", "query_string": b"",
                 "headers": headers + more}  # fmt: skip

        async def receive() -> dict[str, Any]:
            return waiting.pop(0)

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        asyncio.run(app(desk, "word")(scope, receive, send))
        return sent[0]["status"], len(parts) - len(waiting)

    large = {"type": "http.request", "body": 32 * b"x", "more_body": True}
    assert status([*said, large, large], [(b"content-length", b"41")]) == (413, 0)
    assert status([*said, large, large], []) == (413, 2)
    assert status([*said, {"type": "http.disconnect"}], []) == (400, 2)


def test_a_port_that_is_taken_is_said() -> None:
    with bound(0) as free:
        free.listen()
        with pytest.raises(BadInput, match="cannot be used"):
            bound(free.getsockname()[1])


def test_it_listens_on_loopback_until_it_is_cancelled(tmp_path: Path) -> None:
    profile = shop(tmp_path)
    desk = ProfileDesk(profile, Records(sa.create_engine("sqlite://"), lambda: 0.0))
    listening = bound(0)
    host, port = listening.getsockname()
    assert host == "127.0.0.1"

    async def story() -> int:
        serving = asyncio.create_task(serve(desk, tmp_path, listening))
        async with httpx.AsyncClient(trust_env=False) as client:
            for _ in range(100):
                try:
                    answer = await client.post(f"http://127.0.0.1:{port}/events/cart")
                    break
                except httpx.ConnectError:
                    await asyncio.sleep(0.05)
            # A body that never ends does not keep the node from stopping.
            slow = await asyncio.open_connection("127.0.0.1", port)
            slow[1].write(
                b"POST /events/cart HTTP/1.1\r\nhost: x\r\ncontent-type: text/csv\r\n"
                b"authorization: Bearer " + token(tmp_path).encode() +
                b"\r\ncontent-length: 9\r\n\r\nemail"
            )  # fmt: skip
            await slow[1].drain()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return answer.status_code

    assert asyncio.run(story()) == 401
    with pytest.raises(httpx.ConnectError):
        httpx.post(f"http://127.0.0.1:{port}/events/cart", trust_env=False)
