"""The engine once over real sockets with pinned mutual TLS, and what TLS must refuse."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import grpc.aio
import pytest

from coordinator.timing import Timing
from protocol import transcript
from protocol.errors import AssentError
from protocol.identity import Keys
from protocol.transcript import ArtifactTag
from protocol.transport import tls
from protocol.transport.client import CoordinatorClient
from protocol.transport.port import ArtifactRef, Instance, JobRequest, Progress, StepKey
from protocol.transport.probe import probe
from tests.coordinator.engine_world import QUICK, World, echo, run, verify
from tests.protocol.transport.sockets import at, coordinator, expired, kit

ECHO = {("echo", 1): echo}
PARTIES = ("ann", "bob")
T = TypeVar("T")


def test_a_whole_job_over_sockets(tmp_path: Path) -> None:
    """4 MB artifacts cross in chunks; the coordinator restarts in the middle on its old port."""

    async def main() -> None:
        keys, parties = kit("coordinator", "coordinator"), {name: kit(name) for name in PARTIES}
        world = World(tmp_path / "nodes", rows=250_000)
        folder = tmp_path / "coordinator"
        clients: list[CoordinatorClient] = []
        signing_key = keys.card.signing_key

        def check(ref: ArtifactRef) -> None:
            if ref.author != "coordinator":
                verify(ref)
                return
            tag = ArtifactTag(b"", ref.step, ref.attempt, ref.author, ref.recipient)
            transcript.verify(tag, ref.sha256, ref.signature, signing_key)

        world.verify = check

        def dial(here: Keys) -> None:
            for name, node in world.nodes.items():
                clients.append(CoordinatorClient(here.card, parties[name]))
                node.start(clients[-1])

        async with coordinator(keys, parties, folder, ECHO, QUICK) as here:
            dial(here)
            job = JobRequest("d" * 32, "echo", 1, "ann", PARTIES, {"n": [1, True, "é"]})
            assert (await clients[0].submit(job)).state == "running"
            await asyncio.sleep(0.3)
        port = int(here.card.address.rsplit(":", 1)[1])
        async with coordinator(keys, parties, folder, ECHO, QUICK, port):
            async with asyncio.timeout(30):
                while not (
                    status := await _patiently(lambda: clients[0].watch(job.id, 0, 0.1))
                ).ended:
                    pass
            assert (status.state, status.error) == ("released", None)
            known_jobs = await _patiently(lambda: clients[1].list_jobs(5))
            assert [known.id for known in known_jobs] == [job.id]
            for node in world.nodes.values():
                await node.kill()
            for client in clients:
                await client.close()
        assert len(world.nodes["ann"].results[job.id]) == 16 * 250_000
        made = [key for node in world.nodes.values() for key in node.made]
        assert len(made) == len(set(made)) == 4
        for node in world.nodes.values():
            node.store.close()

    run(main)


async def _patiently(ask: Callable[[], Awaitable[T]]) -> T:
    """While the coordinator is away, or a channel has not noticed its return, ask again."""
    while True:
        try:
            return await ask()
        except AssentError as error:
            if error.info.code != "unavailable":
                raise
        await asyncio.sleep(0.1)


def test_errors_cross_in_words(tmp_path: Path) -> None:
    async def main() -> None:
        keys, parties = kit("coordinator", "coordinator"), {name: kit(name) for name in PARTIES}
        async with coordinator(keys, parties, tmp_path, ECHO, QUICK) as here:
            client = CoordinatorClient(here.card, parties["ann"])
            await client.hello(Instance("1" * 32, "x"))
            with pytest.raises(AssentError) as caught:
                await client.hello(Instance("2" * 32, "y"))
            assert caught.value.info.code == "second_instance"
            assert caught.value.info.party == "ann"
            assert caught.value.status == "failed"
            with pytest.raises(AssentError) as caught:
                await client.submit(JobRequest("x", "echo", 1, "ann", PARTIES))
            assert caught.value.status == "bad_input"
            key = StepKey("d" * 32, 1, "rows/ann")
            with pytest.raises(AssentError) as caught:
                await client.heartbeat(Instance("1" * 32, "x"), key, Progress())
            assert caught.value.info.code == "unknown_step"
            with pytest.raises(AssentError) as caught:
                async for _ in client.download(key, "x", 0):
                    pass
            assert caught.value.info.code == "unknown_step"
            await client.close()

    run(main)


def _hello_code(tmp_path: Path, mine: Keys, pinned: Keys | None = None) -> str:
    """The code of the error that `mine` meets at a coordinator that pins ann and bob."""
    found: list[str] = []

    async def main() -> None:
        keys, parties = kit("coordinator", "coordinator"), {name: kit(name) for name in PARTIES}
        if mine.card.name in parties and pinned is None:
            parties[mine.card.name] = mine
        async with coordinator(keys, parties, tmp_path, ECHO, QUICK) as here:
            card = at(pinned, int(here.card.address.rsplit(":")[1])).card if pinned else here.card
            client = CoordinatorClient(card, mine)
            with pytest.raises(AssentError) as caught:
                await client.hello(Instance("1" * 32, "x"))
            found.append(caught.value.info.code)
            assert caught.value.info.next_step
            await client.close()

    run(main)
    return found[0]


def test_an_unknown_certificate_is_refused_in_words(tmp_path: Path) -> None:
    assert _hello_code(tmp_path, kit("eve")) == "certificate_refused"


def test_an_expired_certificate_is_refused_in_words(tmp_path: Path) -> None:
    assert _hello_code(tmp_path, expired("ann")) == "certificate_expired"


def test_a_server_with_another_certificate_is_refused_in_words(tmp_path: Path) -> None:
    other = kit("coordinator", "coordinator")
    assert _hello_code(tmp_path, kit("ann"), pinned=other) == "wrong_server"


def test_a_server_that_is_not_there() -> None:
    found = probe(at(kit("coordinator", "coordinator"), 9).card, kit("ann"))
    assert found is not None
    assert "nothing listens" in found.info.cause


def test_a_clock_that_is_wrong() -> None:
    import datetime

    keys = kit("ann")
    early = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=2)
    found = probe(at(kit("coordinator", "coordinator"), 9).card, keys, early)
    assert found is not None
    assert found.info.code == "clock_wrong"


def test_an_expired_certificate_does_not_pass_the_servers_handshake(tmp_path: Path) -> None:
    """The server itself refuses it: the client's own check is a courtesy, not the gate."""

    async def main() -> None:
        mine = expired("ann")
        keys = kit("coordinator", "coordinator")
        parties = {"ann": mine, "bob": kit("bob")}
        async with coordinator(keys, parties, tmp_path, ECHO, QUICK) as here:
            for stranger in (mine, kit("eve")):
                channel = tls.channel(
                    here.card.address, stranger.tls_key, stranger.card.tls_certificate,
                    here.card.tls_certificate,
                )  # fmt: skip
                call = channel.unary_unary("/assent.v1.Coordinator/Hello")
                with pytest.raises(grpc.aio.AioRpcError) as caught:
                    await call(b"", timeout=5)
                assert caught.value.code() is grpc.StatusCode.UNAVAILABLE
                await channel.close()

    run(main)


def test_the_consent_services_certificate_is_no_party(tmp_path: Path) -> None:
    """Pinned for TLS somewhere is not enough: a peer is looked up among the parties."""

    async def main() -> None:
        from coordinator.jobs import Coordinator
        from coordinator.service import CoordinatorService, add_to

        keys, stranger = kit("coordinator", "coordinator"), kit("consent", "consent")
        server, port = tls.server(
            keys.tls_key, keys.card.tls_certificate, [stranger.card.tls_certificate], "127.0.0.1:0"
        )
        core = Coordinator(tmp_path, frozenset(PARTIES), ECHO, lambda ref, h: b"", timing=Timing())
        add_to(server, CoordinatorService(core, {}))
        await server.start()
        client = CoordinatorClient(at(keys, port).card, stranger)
        with pytest.raises(AssentError) as caught:
            await client.hello(Instance("1" * 32, "x"))
        assert caught.value.info.code == "unknown_certificate"
        await client.close()
        await server.stop(0)
        core.store.close()

    run(main)


def test_a_proxy_variable_does_not_catch_loopback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "grpc_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    async def main() -> None:
        keys, parties = kit("coordinator", "coordinator"), {name: kit(name) for name in PARTIES}
        async with coordinator(keys, parties, tmp_path, ECHO, QUICK) as here:
            client = CoordinatorClient(here.card, parties["ann"])
            assert (await client.hello(Instance("1" * 32, "x"))).party == "ann"
            await client.close()

    run(main)


@pytest.mark.parametrize(
    ("address", "expected"),
    [("127.0.0.1:1", True), ("localhost:1", True), ("[::1]:1", True), ("10.0.0.1:1", False),
     ("h.example:1", False)],
)  # fmt: skip
def test_loopback(address: str, expected: bool) -> None:
    assert tls.is_loopback(address) is expected


def test_the_port_is_tls_only(tmp_path: Path) -> None:
    """A plain connection gets no answer; TLS below 1.2 does not exist here."""

    async def main() -> None:
        keys, parties = kit("coordinator", "coordinator"), {name: kit(name) for name in PARTIES}
        async with coordinator(keys, parties, tmp_path, ECHO, QUICK) as here:
            host, port = here.card.address.rsplit(":", 1)
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
            assert b"HTTP" not in await asyncio.wait_for(reader.read(), 5)
            writer.close()
            context = ssl.create_default_context(cadata=here.card.tls_certificate)
            context.set_alpn_protocols(["h2"])
            # Without a client certificate the server hangs up.
            with pytest.raises((ssl.SSLError, ConnectionError, asyncio.IncompleteReadError)):
                reader, writer = await asyncio.open_connection(
                    host, int(port), ssl=context, server_hostname="assent"
                )
                await asyncio.wait_for(reader.readexactly(1), 5)

    run(main)
