"""The coordinator as a process, killed with SIGKILL again and again in the middle of a job."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from pathlib import Path

from catalog.collaboration import Collaboration, Endpoint, dump_collaboration
from protocol.errors import AssentError
from protocol.transport.client import CoordinatorClient
from protocol.transport.kit import create_kit
from protocol.transport.port import JobRequest, JobStatus
from tests.coordinator.engine_world import World, run
from tests.protocol.transport.sockets import at, kit

ROOT = Path(__file__).parents[2]


def _serve(folder: Path, port: int) -> tuple[subprocess.Popen[str], int]:
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.coordinator.served", str(folder), str(port)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT,
    )  # fmt: skip
    assert child.stdout is not None
    line = child.stdout.readline()
    assert line, "the coordinator did not start"
    return child, int(line)


async def _status(client: CoordinatorClient, job: JobRequest) -> JobStatus | None:
    """None while the coordinator is away; the first answers may come before the submit."""
    try:
        return await client.submit(job)
    except AssentError as error:
        if error.info.code != "unavailable":
            raise
        return None


def test_sigkill_at_any_moment(tmp_path: Path) -> None:
    dice = random.Random(20)
    folder = tmp_path / "coordinator"
    keys = create_kit(folder / "keys", "coordinator", "coordinator", address="127.0.0.1:1")
    parties = {name: kit(name) for name in ("ann", "bob")}
    collaboration = Collaboration(
        Endpoint.of(keys.card),
        Endpoint.of(at(kit("consent", "consent"), 2).card),
        {name: Endpoint.of(party.card) for name, party in parties.items()},
    )
    (folder / "collaboration.yaml").write_text(dump_collaboration(collaboration))
    child, port = _serve(folder, 0)

    async def main() -> None:
        nonlocal child
        world = World(tmp_path / "nodes", rows=100_000)
        world.verify = lambda ref: None  # signatures are test_sockets' matter
        card = at(keys, port).card
        clients = {name: CoordinatorClient(card, party) for name, party in parties.items()}
        for name, node in world.nodes.items():
            node.start(clients[name])
        job = JobRequest("e" * 32, "echo", 1, "ann", ("ann", "bob"))
        async with asyncio.timeout(60):
            while await _status(clients["ann"], job) is None:
                await asyncio.sleep(0.05)
            for _ in range(4):
                await asyncio.sleep(dice.uniform(0.05, 0.4))
                child.send_signal(signal.SIGKILL)
                child.wait()
                child, _again = await asyncio.to_thread(_serve, folder, port)
            while (status := await _status(clients["ann"], job)) is None or not status.ended:
                await asyncio.sleep(0.05)
        assert (status.state, status.error) == ("released", None)
        made = [key for node in world.nodes.values() for key in node.made]
        assert len(made) == len(set(made)) == 4
        for node in world.nodes.values():
            await node.kill()
            node.store.close()
        for client in clients.values():
            await client.close()

    try:
        run(main)
    finally:
        child.kill()
        child.wait()
