"""Events by HTTP: the token, the formats, and that no answer holds data."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa

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
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)
        return answer.status_code

    assert asyncio.run(story()) == 401
    with pytest.raises(httpx.ConnectError):
        httpx.post(f"http://127.0.0.1:{port}/events/cart", trust_env=False)
