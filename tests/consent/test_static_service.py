"""The logs as files over HTTPS: the pinned certificate only, what is signed, and nothing else."""

from __future__ import annotations

import asyncio
import http.client
import socket
import ssl
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from consent.ledger import Ledger
from consent.main import _files
from consent.policy import check_checkpoint
from consent.static_service import static_app
from protocol.errors import BadInput, Failed
from protocol.identity import TLS_NAME
from protocol.transport.http import serving_http
from protocol.transport.kit import write_private
from tests import ledgers
from tests.consent import made
from tests.reference.merkle_oracle import mth

PEOPLE = [str(number) for number in range(300)]  # more than a tile holds


@dataclass
class Site:
    """The files' server of a service, and a reader who has pinned one certificate."""

    around: ledgers.Stand
    port: int
    pinned: str

    @property
    def ledger(self) -> Ledger:
        return self.around.ledger

    async def ask(self, path: str, method: str = "GET") -> tuple[http.client.HTTPResponse, bytes]:
        return await asyncio.to_thread(self._ask, path, method)

    async def get(self, path: str) -> bytes:
        answer, body = await self.ask(path)
        assert answer.status == 200, path
        return body

    def _ask(self, path: str, method: str) -> tuple[http.client.HTTPResponse, bytes]:
        with self._connected() as connection:
            connection.request(method, path)  # the path as it is: nothing tidies it up
            answer = connection.getresponse()
            return answer, answer.read()

    @contextmanager
    def _connected(self) -> Iterator[http.client.HTTPConnection]:
        """By the name that every certificate carries, whatever the address."""
        context = ssl.create_default_context(cadata=self.pinned)
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        plain = socket.create_connection(("127.0.0.1", self.port), timeout=20)
        try:
            connection.sock = context.wrap_socket(plain, server_hostname=TLS_NAME)
            yield connection
        finally:
            connection.close()
            plain.close()


def run(folder: Path, story: Callable[[Site], Awaitable[None]]) -> None:
    """Serves as `assent consent run --files` does, with two parties' logs behind it."""

    async def go() -> None:
        around = ledgers.simple(folder / "ledger", made.Clock(), "retailer", "media")
        keys = folder / "keys"
        keys.mkdir()
        write_private(keys / "tls.pem", around.consent.tls_key.reveal())
        try:
            async with _files(
                around.ledger, around.consent, "127.0.0.1:0", keys, folder
            ) as port:  # fmt: skip
                await story(Site(around, port, around.consent.card.tls_certificate))
        finally:
            await asyncio.to_thread(around.close)

    asyncio.run(go())


def entries_of(bundle: bytes) -> list[bytes]:
    """Entries of an entry bundle: each behind its length in two bytes (tlog-tiles)."""
    entries = []
    while bundle:
        length = int.from_bytes(bundle[:2])
        entries.append(bundle[2 : 2 + length])
        bundle = bundle[2 + length :]
    return entries


def test_a_log_is_checked_from_its_files_alone(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.around.port("retailer").append(made.batch(PEOPLE))
        origin = site.ledger.consent_log("retailer")
        assert (await site.get("/logs")).decode().splitlines() == list(site.ledger.origins)

        note = (await site.get(f"/{origin}/checkpoint")).decode()
        checked = check_checkpoint(note, site.around.trust.policy(origin), origin)
        assert checked.has_quorum
        parts = [
            await site.get(f"/{origin}/tile/entries/{part}") for part in ("000", "001.p/44")
        ]  # fmt: skip
        entries = [entry for part in parts for entry in entries_of(part)]
        assert len(entries) == checked.checkpoint.size == len(PEOPLE)
        assert mth(entries) == checked.checkpoint.root

        served = b"".join(parts)
        page = site.ledger.page(origin, 0)
        for name, entry in zip(PEOPLE, page.entries, strict=False):
            assert entry.opening is not None
            for secret in (made.token(name), entry.opening.salt, entry.opening.body):
                assert secret not in served
                assert secret.hex().encode() not in served

    run(tmp_path, story)


def test_files_are_cached_as_long_as_they_stay_true(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        port, origin = site.around.port("retailer"), site.ledger.consent_log("retailer")
        await port.append(made.batch(["a"]))
        head, before = await site.ask(f"/{origin}/checkpoint")
        tile, body = await site.ask(f"/{origin}/tile/0/000.p/1")
        await port.append(made.batch(["b"]))
        assert await site.get(f"/{origin}/checkpoint") != before
        assert await site.get(f"/{origin}/tile/0/000.p/1") == body
        assert "immutable" not in head.headers["Cache-Control"]
        assert "immutable" in tile.headers["Cache-Control"]
        for answer in (head, tile):
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert "Server" not in answer.headers

    run(tmp_path, story)


def test_nothing_but_the_logs_is_served(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        await site.around.port("retailer").append(made.batch(["a"]))
        origin = site.ledger.consent_log("retailer")
        for path in (
            "/", f"/{origin}", f"/{origin}/", f"/{origin}x/checkpoint", f"/{origin}xcheckpoint",
            f"/{origin}/tile/0/001", f"/{origin}/tile/entries/000",
            f"/{origin}/tile/entries/000.p/2",
            f"/{origin}/../../keys/tls.pem", f"/{origin}/%2e%2e/%2e%2e/keys/tls.pem",
            "/keys/tls.pem", "/certificate.pem", f"/{origin}/openings", f"/{origin}/%00",
            "/assent/0000000000000000/jobs/checkpoint", f"/{origin}/" + "x" * 5_000,
        ):  # fmt: skip
            answer, body = await site.ask(path)
            assert (answer.status, body.startswith(b"no such")) == (404, True), path
        for method in ("POST", "PUT", "DELETE"):
            answer, _ = await site.ask(f"/{origin}/checkpoint", method)
            assert answer.status == 405
        assert await site.get(f"/{origin}/checkpoint")  # and it lives on

    run(tmp_path, story)


def test_a_reader_who_has_pinned_another_certificate_gets_nothing(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        assert await site.get("/logs")
        pinned, other = site.pinned, ledgers.new_keys("consent", "consent")
        site.pinned = other.card.tls_certificate  # the right name, another key
        with pytest.raises(ssl.SSLCertVerificationError):
            await site.ask("/logs")
        site.pinned = pinned
        assert await site.get("/logs")

    run(tmp_path, story)


def test_without_tls_there_is_no_answer(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        def plain() -> bytes:
            with socket.create_connection(("127.0.0.1", site.port), timeout=20) as connection:
                connection.sendall(b"GET /logs HTTP/1.1\r\nHost: assent\r\n\r\n")
                return connection.recv(4096)

        try:
            told = await asyncio.to_thread(plain)
        except ConnectionError:
            told = b""
        assert b"assent/" not in told
        assert b"HTTP/1.1 200" not in told

        with pytest.raises(BadInput, match="without TLS"):
            async with serving_http(static_app(site.ledger), "0.0.0.0:0", what="the files"):
                pass

    run(tmp_path, story)


def test_a_taken_address_is_said_in_words(tmp_path: Path) -> None:
    async def story(site: Site) -> None:
        with pytest.raises(Failed, match="file server cannot listen") as caught:
            async with _files(
                site.ledger, site.around.consent, f"127.0.0.1:{site.port}", tmp_path / "keys",
                tmp_path,
            ):  # fmt: skip
                pass
        assert caught.value.info.code == "address_in_use"
        assert await site.get("/logs")

    run(tmp_path, story)
