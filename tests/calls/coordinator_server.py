"""The coordinator with a toy protocol, and what ann and bob could send it."""

from __future__ import annotations

import asyncio
import hashlib
import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from catalog.collaboration import Collaboration, Endpoint
from coordinator.main import serving
from protocol.errors import ErrorInfo
from protocol.transport import codec
from protocol.transport.client import CoordinatorClient
from protocol.transport.port import Instance, JobRequest, Progress, StepKey
from protocol.wire import coordinator_pb2 as pb
from tests.calls.bent import MARK
from tests.calls.server import Call, Near, Server, dialled, each
from tests.coordinator.engine_world import HEAD, QUICK, ROW, echo
from tests.protocol.transport.sockets import at, kit

SHA, SOME = bytes(32), HEAD + bytes(ROW)


@asynccontextmanager
async def coordinator(folder: Path) -> AsyncIterator[Server]:
    keys, parties = kit("coordinator", "coordinator"), {name: kit(name) for name in ("ann", "bob")}
    known = Collaboration(
        Endpoint.of(at(keys, 1).card),
        Endpoint.of(at(kit("consent", "consent"), 2).card),
        {name: Endpoint.of(party.card) for name, party in parties.items()},
    )
    async with serving(
        known, keys, folder, "127.0.0.1:0", timing=replace(QUICK, poll=0.02, lease=60.0),
        registry={("echo", 1): echo},
    ) as port:  # fmt: skip
        here = at(keys, port)
        asking = _Echo({name: CoordinatorClient(here.card, one) for name, one in parties.items()})
        channels = {name: dialled(here, one) for name, one in parties.items()}
        stranger = dialled(here, kit("mallory"))
        try:
            yield Server(channels, asking.good, asking.calls(), stranger=stranger)
        finally:
            for one in (*asking.clients.values(), *channels.values(), stranger):
                await one.close()


class _Echo:
    """Honest nodes of ann and bob, as far as a message needs them."""

    def __init__(self, clients: dict[str, CoordinatorClient]) -> None:
        self.clients = clients
        self.instances = {name: Instance(name, "b") for name in clients}

    async def good(self) -> None:
        key = await self.leased()
        await self.done("ann", key)
        status = await self.clients["bob"].cancel(key.job, "that was all")
        assert (status.state, status.error and status.error.code) == ("failed", "cancelled")

    async def leased(self, party: str = "ann") -> StepKey:
        """The first step of a new job, leased by `party`; the other's is open too."""
        for name, client in self.clients.items():
            await client.hello(self.instances[name])
        job = JobRequest(secrets.token_hex(16), "echo", 1, "ann", ("ann", "bob"), {})
        await self.clients["ann"].submit(job)
        return await self.step(party, job.id, "rows")

    async def step(self, party: str, job: str, kind: str) -> StepKey:
        async with asyncio.timeout(10):
            while True:
                found = await self.clients[party].lease(self.instances[party], (), (), 0.02)
                if found.step is not None and found.step.key.job == job:
                    if found.step.kind == kind:
                        return found.step.key
                elif found.step is not None:  # of a job that an attack left open
                    await self.clients[party].cancel(found.step.key.job, "")

    async def done(self, party: str, key: StepKey) -> None:
        client, digest = self.clients[party], hashlib.sha256(SOME).digest()

        async def pieces() -> AsyncIterator[bytes]:
            yield SOME

        state = await client.upload(key, digest, len(SOME), 0, pieces())
        assert state.received == len(SOME)
        await client.complete(key, digest, len(SOME), b"s" * 64)

    def calls(self) -> dict[str, Call]:
        both = ("ann", "bob")
        own = pb.Instance(id="ann", boot="b")

        async def keys() -> list[Any]:
            """Own open step; another's; an earlier attempt's; no step; no job."""
            key = await self.leased()
            other, none = f"rows/{MARK}", "f" * 32
            return [
                pb.StepKey(job=job, attempt=attempt, step=step)
                for job, attempt, step in (
                    (key.job, 1, key.step), (key.job, 1, "rows/bob"), (key.job, 2, key.step),
                    (key.job, 1, "clock"), (key.job, 1, other), (none, 1, key.step), ("", 0, ""),
                )
            ]  # fmt: skip

        def keyed(make: Callable[[Any], list[list[Any]]]) -> Near:
            async def near() -> list[list[Any]]:
                return [messages for key in await keys() for messages in make(key)]

            return near

        async def submits() -> list[list[Any]]:
            def ask(**other: Any) -> Any:
                fields: dict[str, Any] = {
                    "id": secrets.token_hex(16), "protocol": "echo", "version": 1,
                    "requester": "ann", "parties": ["ann", "bob"], "params": b"{}",
                }  # fmt: skip
                return pb.SubmitRequest(**(fields | other))

            taken = (await self.leased()).job
            return [
                [ask()], [ask(id=taken)], [ask(id=taken, params=b'{"a":1}')],
                [ask(requester="bob")], [ask(parties=["ann", MARK])], [ask(protocol=MARK)],
                [ask(parties=["ann", "ann"])], [ask(params=b'{"a":1.5}')], [ask(version=9)],
                [ask(params=b'{"a":' * 5_000)], [ask(sealed={MARK: b"x"})], [ask(id=MARK)],
            ]  # fmt: skip

        async def downloads() -> list[list[Any]]:
            """With an artifact that may be read, and one of a step that is not the caller's."""
            found = []
            for further in (False, True):
                first = await self.leased()
                await self.done("ann", first)
                await self.done("bob", await self.step("bob", first.job, "rows"))
                party, key = "bob", await self.step("bob", first.job, "copy")
                if further:  # ann reads files, bob a layout over them
                    await self.done(party, key)
                    party, key = "ann", await self.step("ann", first.job, "last")
                reads = [(key, artifact) for artifact in await self._inputs_of(party, key)]
                found += [
                    [pb.DownloadRequest(key=codec.key_out(step), artifact=artifact, offset=offset)]
                    for step, artifact in (*reads, (key, MARK), (key, ""), (first, reads[0][1]))
                    for offset in (0, 3, 2**40, 2**64 - 1)
                ]
            return found

        def uploads(key: Any) -> list[list[Any]]:
            head = pb.UploadChunk(head=pb.UploadHead(key=key, sha256=SHA, size=4))
            other = pb.UploadChunk(head=pb.UploadHead(key=key, sha256=b"o" * 32, size=4))
            ahead = pb.UploadChunk(head=pb.UploadHead(key=key, sha256=SHA, size=4, offset=2**63))
            data, none = pb.UploadChunk(data=b"ab"), pb.UploadChunk()
            early = pb.UploadChunk(head=pb.UploadHead(key=key))
            sized = pb.UploadChunk(head=pb.UploadHead(key=key, size=2**63))
            return [
                [early, data], [early, none], [early, data, early], [sized, data],
                [head, data], [head], [data, head], [head, head], [head, none], [none], [],
                [head, data, data, data], [ahead, data], [head, pb.UploadChunk(data=b"")],
                [other, data],
            ]  # fmt: skip

        async def some_uploads() -> list[list[Any]]:
            return [messages for key in (await keys())[:2] for messages in uploads(key)]

        def wait(**fields: Any) -> list[Any]:
            return [pb.LeaseRequest(instance=own, wait_seconds=s, **fields)
                    for s in (0.0, 1e9, float("nan"), float("inf"), -1.0)]  # fmt: skip

        error = codec.error_out(ErrorInfo("step_failed", MARK), "failed")

        async def endless() -> list[list[Any]]:
            key, data = codec.key_out(await self.leased()), pb.UploadChunk(data=b"ab")
            head = pb.UploadChunk(head=pb.UploadHead(key=key, sha256=SHA, size=4))
            early, empty = pb.UploadChunk(head=pb.UploadHead(key=key)), pb.UploadChunk(data=b"")
            return [[early, empty], [head], [data], [head, empty], [head, data]]

        return {
            "Coordinator/Hello": Call(both, each(
                pb.HelloRequest(instance=own), pb.HelloRequest(),
                pb.HelloRequest(instance=pb.Instance(id=MARK, boot=MARK)),
            )),
            "Coordinator/Submit": Call(both, submits),
            "Coordinator/Lease": Call(both, each(
                *wait(), wait(open_jobs=["f" * 32, MARK] * 20_000)[0],
                wait(holding=[pb.StepKey(job=MARK)] * 20_000)[0],
                pb.LeaseRequest(instance=pb.Instance(id=MARK, boot=MARK)),
            )),
            "Coordinator/Heartbeat": Call(both, keyed(lambda key: [
                [pb.HeartbeatRequest(instance=own, key=key,
                                     progress=codec.progress_out(Progress(state, 1, 2)))]
                for state in ("working", "waiting", MARK, "")
            ])),
            "Coordinator/UploadStatus": Call(both, keyed(lambda key: [
                [pb.UploadHead(key=key, sha256=SHA, size=size)] for size in (4, 2**64 - 1)
            ])),
            "Coordinator/Upload": Call(both, some_uploads, endless),
            "Coordinator/Download": Call(both, downloads),
            "Coordinator/Complete": Call(both, keyed(lambda key: [
                [pb.CompleteRequest(key=key, sha256=SHA, size=size, signature=signature)]
                for size in (4, 2**63) for signature in (b"", MARK.encode())
            ])),
            "Coordinator/Fail": Call(both, keyed(lambda key: [
                [pb.FailRequest(key=key, error=pb.ErrorInfo(
                    code=code, cause=MARK, party=MARK, stage=MARK, status=status))]
                for code in (MARK, "m" * 100, "unavailable") for status in ("refused", MARK)
            ] + [[pb.FailRequest(key=key, error=error)]])),
            "Coordinator/Watch": Call(both, keyed(lambda key: [
                [pb.WatchRequest(job=key.job, wait_seconds=s, since_version=version)]
                for s in (0.0, float("nan"), float("inf")) for version in (0, 2**64 - 1)
            ])),
            "Coordinator/List": Call(both, each(
                pb.ListRequest(limit=5), pb.ListRequest(limit=2**32 - 1),
            )),
            "Coordinator/Cancel": Call(both, keyed(lambda key: [
                [pb.CancelRequest(job=key.job, reason=MARK * 2_000)],
            ])),
        }  # fmt: skip

    async def _inputs_of(self, party: str, key: StepKey) -> list[str]:
        """Ids of what the step reads: leased again by a node that lost its first answer."""
        while True:
            found = await self.clients[party].lease(self.instances[party], (), (), 0.02)
            if found.step is not None and found.step.key == key:
                return [ref.id for ref in found.step.inputs]
            assert found.step is not None
            await self.clients[party].cancel(found.step.key.job, "")
