"""The consent service over real sockets: pinned certificates, own log only, words for faults."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import grpc
import pytest

from catalog.collaboration import Collaboration, Endpoint, dump_collaboration
from consent import codec
from consent import service as service_module
from consent.checkpoint import parse_checkpoint
from consent.client import ConsentClient, PortalClient
from consent.ledger import Ledger, Places
from consent.note import parse_note
from consent.records import BATCH_ROWS
from consent.replica import Replica
from consent.service import serving
from consent.trust import Trust, witness_signer
from consent.witness import Witness
from consent.witnessing import WitnessLine
from protocol.errors import Failed, Refused
from protocol.identity import Keys, create_keys
from protocol.transport.kit import create_kit
from protocol.wire import consent_pb2 as pb
from tests import ledgers
from tests.consent import made

NOW = datetime.datetime.now(datetime.UTC)


def keys(name: str, role: str = "party", **more: object) -> Keys:
    return create_keys(name, role, storage=b"s" * 32, now=NOW, **more)  # type: ignore[arg-type]


@dataclass
class Stand:
    """A running service and the keys of everybody."""

    ledger: Ledger
    trust: Trust
    parties: dict[str, Keys]
    service: Keys
    address: str

    def client(self, who: Keys, timeout: float = 10.0) -> ConsentClient:
        return ConsentClient(replace(self.service.card, address=self.address), who, timeout)


def collaboration(service: Keys, parties: dict[str, Keys]) -> Collaboration:
    return Collaboration(
        coordinator=Endpoint.of(keys("coordinator", "coordinator", address="127.0.0.1:1").card),
        consent=Endpoint.of(service.card),
        parties={name: Endpoint.of(one.card) for name, one in parties.items()},
    )


@asynccontextmanager
async def standing(folder: Path, **odd: Keys) -> AsyncIterator[Stand]:
    parties = {"retailer": keys("retailer"), "media": keys("media")} | odd
    service = keys("consent", "consent", address="127.0.0.1:1")
    everybody = collaboration(service, parties)
    trust = Trust.of(everybody)
    lines = {name: WitnessLine(name) for name in trust.witnesses}
    ledger = Ledger(
        Places.in_folder(folder), service, trust, list(parties), lines, made.Clock(), os.urandom,
        ledgers.QUICK,
    )  # fmt: skip
    witnesses = [
        Witness(
            f"sqlite:///{folder}/w-{name}.db",
            trust.logs(),
            [witness_signer(one, name)],
            made.Clock(),
        )
        for name, one in parties.items()
    ]
    async with serving(ledger, lines, everybody, service, "127.0.0.1:0") as port:
        stand = Stand(ledger, trust, parties, service, f"127.0.0.1:{port}")
        clients = [stand.client(one) for one in parties.values() if one.card.name != "late"]
        cosigning = [
            asyncio.create_task(client.witness(witness))
            for client, witness in zip(clients, witnesses, strict=False)
        ]
        await asyncio.sleep(0.1)
        yield stand
        for task in cosigning:
            task.cancel()
        await asyncio.gather(*cosigning, return_exceptions=True)
        for client in clients:
            await client.close()
    ledger.close()
    for witness in witnesses:
        witness.close()


def run(folder: Path, story: Callable[[Stand], Awaitable[None]], **odd: Keys) -> None:
    async def go() -> None:
        async with standing(folder, **odd) as stand:
            await story(stand)

    asyncio.run(go())


def test_events_in_replica_out_over_the_wire(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        retailer, media = (stand.client(stand.parties[name]) for name in ("retailer", "media"))
        whole = made.batch([str(number) for number in range(BATCH_ROWS + 100)])
        for piece in whole.pieces():
            done = await retailer.append(piece)
        assert done.indexes[-1] == len(whole) - 1
        again = await retailer.append(next(whole.pieces()))  # a repetition
        assert again.indexes == tuple(range(BATCH_ROWS))
        replica = Replica(tmp_path / "replica.sqlite", "retailer", stand.trust, made.SEAL)
        await replica.sync(retailer)
        copies = [batch.subjects.tobytes() for batch in replica.batches()]
        assert b"".join(copies) == whole.subjects.tobytes()
        # the other party has a log of its own, which is empty
        assert "/media\n0\n" in (await media.hello()).checkpoint
        pages = [page async for page in media.replicate(0)]
        assert [len(page.entries) for page in pages] == [0]
        await retailer.close()
        await media.close()

    run(tmp_path, story)


def test_a_stranger_does_not_get_in(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        stranger = stand.client(keys("retailer"), timeout=1.0)  # the right name, another key
        with pytest.raises(Failed, match="does not answer") as caught:
            await stranger.append(made.batch(["a"]))
        assert caught.value.info.code == "unavailable"
        assert "doctor" in caught.value.info.next_step
        assert size_of(stand) == 0
        await stranger.close()

    run(tmp_path, story)


def test_an_expired_certificate_does_not_get_in(tmp_path: Path) -> None:
    old = create_keys(
        "late", "party", storage=b"s" * 32, now=NOW - datetime.timedelta(days=10), days=5
    )

    async def story(stand: Stand) -> None:
        client = stand.client(old, timeout=1.0)
        with pytest.raises(Failed, match="does not answer"):
            await client.hello()
        await client.close()

    run(tmp_path, story, late=old)


def test_a_node_does_not_talk_to_another_service(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        stand.service = keys("consent", "consent")  # what the node has pinned
        client = stand.client(stand.parties["retailer"], timeout=1.0)
        with pytest.raises(Failed, match="does not answer"):
            await client.hello()
        await client.close()

    run(tmp_path, story)


def test_no_client_certificate_no_answer(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        credentials = grpc.ssl_channel_credentials(stand.service.card.tls_certificate.encode())
        options = [("grpc.ssl_target_name_override", "assent"), ("grpc.enable_http_proxy", 0)]
        async with grpc.aio.secure_channel(stand.address, credentials, options) as channel:
            call = channel.unary_unary("/assent.v1.Consent/Hello")
            with pytest.raises(grpc.aio.AioRpcError):
                await call(b"", timeout=1.0)

    run(tmp_path, story)


def test_errors_cross_in_words(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def story(stand: Stand) -> None:
        client = stand.client(stand.parties["retailer"])
        one = made.batch(["a"], "withdrawn")
        await client.append(one)
        with pytest.raises(Failed, match="other content") as caught:
            await client.append(replace(one, subjects=made.tokens(["b"])))
        assert caught.value.info.code == "record_conflict"

        broken = codec.batch_to_pb(one)
        broken.states = b"\x0b"
        with pytest.raises(Failed, match="state") as violation:
            await client._ask(client._stub.Append, pb.ConsentAppendRequest(batch=broken))
        assert violation.value.info.code == "bad_record"

        def full(*_: object) -> None:
            raise Failed("storage_failed", "the disk is full", next_step="make room")

        monkeypatch.setattr(stand.ledger, "append", full)
        with pytest.raises(Failed, match=r"the disk is full.*make room") as failed:
            await client.append(one)
        assert failed.value.info.code == "storage_failed"

        def bug(*_: object) -> None:
            raise RuntimeError("ann@x.example")

        monkeypatch.setattr(stand.ledger, "append", bug)
        with pytest.raises(Failed) as fault:
            await client.append(one)
        assert fault.value.info.code == "consent_failed"
        assert "ann" not in str(fault.value)
        await client.close()

    run(tmp_path, story)


def test_a_certificate_that_is_nobodys_is_told_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The handshake lets pinned certificates through only; this is the second line."""

    async def story(stand: Stand) -> None:
        monkeypatch.setattr(service_module.tls, "peer_fingerprint", lambda context: "00")
        client = stand.client(stand.parties["retailer"])
        for call in (client.hello(), client.append(made.batch(["a"]))):
            with pytest.raises(Failed, match="belongs to nobody"):
                await call
        await client.close()

    run(tmp_path, story)


async def keep_cosigning(client: ConsentClient, witness: Witness) -> None:
    while True:
        with contextlib.suppress(Failed):
            await client.witness(witness)
        await asyncio.sleep(0.1)


def size_of(stand: Stand, party: str = "retailer") -> int:
    note = stand.ledger.head(stand.ledger.consent_log(party)).checkpoint
    return parse_checkpoint(parse_note(note).text).size


def free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_the_process_is_killed_and_comes_back(tmp_path: Path) -> None:
    """kill -9, start again: the client goes on by itself, nothing that was answered is lost."""
    address = free_address()
    retailer = keys("retailer")
    service = create_kit(tmp_path / "consent" / "keys", "consent", "consent", address=address)
    file = tmp_path / "collaboration.yaml"
    file.write_text(dump_collaboration(collaboration(service, {"retailer": retailer})))
    start = (
        "import sys; from pathlib import Path; from consent.main import run; "
        "run(Path(sys.argv[1]), Path(sys.argv[2]), Path(sys.argv[2]) / 'keys')"
    )

    def spawn() -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [sys.executable, "-c", start, str(file), str(tmp_path / "consent")],
            stderr=subprocess.PIPE,
            cwd=Path(__file__).parents[2],
        )

    async def story() -> None:
        client = ConsentClient(service.card, retailer, 20.0)
        trust = Trust.of(collaboration(service, {"retailer": retailer}))
        replica = Replica(tmp_path / "replica.sqlite", "retailer", trust, made.SEAL)
        witness = Witness(
            f"sqlite:///{tmp_path}/w.db", trust.logs(), [witness_signer(retailer, "retailer")],
            time.time,
        )  # fmt: skip
        child = spawn()
        cosigning = asyncio.create_task(keep_cosigning(client, witness))
        denial = made.batch(["a", "b"], "withdrawn", channel="counter")  # waits for no witness
        try:
            assert (await client.append(denial)).indexes == (0, 1)
            await replica.sync(client)
            second = spawn()  # a second service on the same folder says so and ends
            _, told = await asyncio.to_thread(second.communicate)
            assert second.returncode != 0
            assert b"another consent service is running" in told
            child.send_signal(signal.SIGKILL)
            child.wait()
            impatient = ConsentClient(service.card, retailer, 0.5)
            with pytest.raises(Failed, match="does not answer"):
                await impatient.append(made.batch(["c"]))
            await impatient.close()
            child = spawn()
            later = made.batch(["c"], "withdrawn", channel="counter")
            assert (await client.append(later)).indexes == (2,)
            await replica.sync(client)
            assert replica.applied() == 3
            child.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(child.wait, 10) == 0
        finally:
            cosigning.cancel()
            await asyncio.gather(cosigning, return_exceptions=True)
            child.kill()
            child.wait()
            await client.close()
            witness.close()

    asyncio.run(story())
    assert (tmp_path / "consent" / "log.sqlite").stat().st_mode & 0o077 == 0


def test_a_taken_address_is_said_in_words(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        taken = collaboration(stand.service, stand.parties)
        with pytest.raises(Failed, match="cannot listen"):
            async with serving(stand.ledger, {}, taken, stand.service, stand.address):
                pass

    run(tmp_path, story)


def test_a_stale_copy_refuses_when_the_service_is_gone(tmp_path: Path) -> None:
    clock = made.Clock()

    async def go() -> None:
        async with standing(tmp_path) as stand:
            replica = Replica(tmp_path / "replica.sqlite", "retailer", stand.trust, made.SEAL)
            client = stand.client(stand.parties["retailer"], timeout=1.0)
            await replica.sync(client)
        replica.require_fresh(clock.now)
        with pytest.raises(Failed, match="does not answer"):
            await replica.sync(client)
        clock.now += 301
        with pytest.raises(Refused, match="consent_stale"):
            replica.require_fresh(clock.now)
        await client.close()

    asyncio.run(go())


def test_a_new_head_is_pushed_and_roles_are_kept_apart(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        retailer = stand.client(stand.parties["retailer"])
        heads = retailer.follow()
        first = await anext(heads)
        done = await retailer.append(made.batch(["a"]))
        assert "/retailer\n0\n" in first.checkpoint
        async with asyncio.timeout(10):  # cosignatures of the old head may come in between
            while "/retailer\n1\n" not in (await anext(heads)).checkpoint:
                pass
        await heads.aclose()
        proof = await retailer.proof(done.origin, 0)
        assert proof.startswith("c2sp.org/tlog-proof")
        file = await retailer.file(done.origin, "checkpoint")
        assert file is not None
        assert await retailer.file(done.origin, "nothing") is None
        lines = [line async for line in retailer.bundle()]
        assert lines[0] == b'{"assent_bundle":1}\n'
        # a party is not the portal
        address = replace(stand.service.card, address=stand.address)
        posing = PortalClient(address, stand.parties["retailer"], 5.0)
        for call in (
            posing.subject("media", made.token("a")),
            posing.append_for("media", made.batch(["a"], channel="portal")),
            posing.erase_for("media", made.token("a")),
        ):
            with pytest.raises(Failed, match="not for the role party"):
                await call
        with pytest.raises(Failed, match="32 bytes"):
            await retailer.erase(b"short")
        await posing.close()
        await retailer.close()

    run(tmp_path, story)
