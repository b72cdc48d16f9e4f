"""The test world over real sockets: gRPC with pinned mutual TLS, every link tapped.

Unlike `tests.world`, whose companies and jobs it uses, nothing stands in for the transport:
coordinator and consent service run through the `serving` of their composition roots, nodes
through the clients that `party_node.main` makes, with 2048-bit keys.
"""

from __future__ import annotations

import asyncio
import datetime
import os
import shutil
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import pytest

from catalog.collaboration import Collaboration, Endpoint
from consent.client import ConsentClient
from consent.ledger import Ledger, Places
from consent.service import serving as consent_serving
from consent.trust import Trust, witness_signer
from consent.witness import Witness
from consent.witnessing import WitnessLine
from coordinator.artifacts import ArtifactFiles
from coordinator.main import serving as coordinator_serving
from party_node.consent_gate import NodeGate
from party_node.dataset import Dataset
from party_node.desk import Desk
from party_node.main import import_consents
from party_node.node import Node
from party_node.vault import Vault
from protocol.identity import Card, create_keys
from protocol.psi.ecdh import Curve
from protocol.transport.client import CoordinatorClient
from tests.wire.tap import Recording, tapped
from tests.world import QUICK_PACE, World

SERVICES = ("coordinator", "consent")


class WireWorld(World):
    """links: "node-service" → what crossed.  vault: every secret that a node put away.

    snapshots: copies of both services' folders, each taken while a job's artifacts were there.
    """

    def watch(self, patch: pytest.MonkeyPatch) -> WireWorld:
        """Call before entering: what is wiped at a job's end is copied before."""
        self.links: dict[str, Recording] = {}
        self.vault: list[tuple[str, bytes]] = []
        self.snapshots: list[Path] = []
        put, delete = Vault.put, ArtifactFiles.delete_job

        def kept_put(vault: Vault, name: str, value: bytes) -> None:
            self.vault.append((name, value))
            put(vault, name, value)

        def kept_delete(files: ArtifactFiles, job: str) -> None:
            self.snapshot()
            delete(files, job)

        patch.setattr(Vault, "put", kept_put)
        patch.setattr(ArtifactFiles, "delete_job", kept_delete)
        return self

    def snapshot(self) -> None:
        copy = self.folder / f"snapshot-{len(self.snapshots)}"
        for service in SERVICES:
            shutil.copytree(self.folder / service, copy / service)
        self.snapshots.append(copy)

    async def __aenter__(self) -> WireWorld:
        start = datetime.datetime.now(datetime.UTC)
        for name in (*SERVICES, *self.companies):
            role = name if name in SERVICES else "party"
            self.keys[name] = create_keys(name, role, storage=os.urandom(32), now=start)
        self._stack = AsyncExitStack()
        self._ports: dict[str, int] = {}
        self._cosigning: list[asyncio.Task[None]] = []
        self._importing: list[asyncio.Task[None]] = []
        await self._start_services()
        for name in self.companies:
            await self.start_node(name)
        # At once: the consents of one wait for the witnesses of the others.
        await asyncio.gather(*self._importing)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for task in self._cosigning:
            task.cancel()
        await asyncio.gather(*self._cosigning, return_exceptions=True)
        for name in list(self.nodes):
            await self.stop_node(name)
        await self._stack.aclose()
        self.kernel.close()

    async def _start_services(self) -> None:
        collaboration = Collaboration(
            coordinator=Endpoint.of(self.keys["coordinator"].card),
            consent=Endpoint.of(self.keys["consent"].card),
            parties={name: Endpoint.of(self.keys[name].card) for name in self.companies},
        )
        self.trust = Trust.of(collaboration)
        lines = {name: WitnessLine(name) for name in self.trust.witnesses}
        self.ledger = Ledger(
            Places.in_folder(self._path("consent")), self.keys["consent"], self.trust,
            list(self.companies), lines, time.time, os.urandom,
        )  # fmt: skip
        self._stack.callback(self.ledger.close)
        address = "127.0.0.1:0"
        self._ports["consent"] = await self._stack.enter_async_context(
            consent_serving(self.ledger, lines, collaboration, self.keys["consent"], address)
        )
        self._ports["coordinator"] = await self._stack.enter_async_context(
            coordinator_serving(
                collaboration,
                self.keys["coordinator"],
                self._path("coordinator"),
                address,
                timing=self.timing,
            )
        )

    async def _tapped(self, node: str, service: str) -> Card:
        """The service's card as `node` has it, with the address of the tap on the way."""
        recording, port = await self._stack.enter_async_context(
            tapped(
                f"{node}-{service}",
                self.keys[node],
                self.keys[service],
                self._ports[service],
                self._path("taps"),
            )
        )
        self.links[recording.name] = recording
        return replace(self.keys[service].card, address=f"127.0.0.1:{port}")

    async def start_node(self, name: str) -> None:
        party, keys = self.party(name), self.keys[name]
        coordinator = await self._tapped(name, "coordinator")
        consent_port = ConsentClient(await self._tapped(name, "consent"), keys)
        port = CoordinatorClient(coordinator, keys)
        self._stack.push_async_callback(port.close)
        self._stack.push_async_callback(consent_port.close)
        dataset = await asyncio.to_thread(Dataset.load, party)
        gate = await NodeGate.open(
            party=name,
            parties=list(self.companies),
            kinds=list(party.ids),
            identifiers=dataset,
            port=consent_port,
            storage=keys.storage,
            folder=self._path(name),
            trust=self.trust,
            now=self.now,
            random=os.urandom,
        )
        witness = Witness(
            f"sqlite:///{self._path(name)}/witness.sqlite", self.trust.logs(),
            [witness_signer(keys, name)], time.time,
        )  # fmt: skip
        self._stack.callback(witness.close)
        cosigning = asyncio.create_task(gate.witness(lambda: consent_port.witness(witness)))
        self._cosigning.append(cosigning)
        node = Node.build(
            party=party,
            keys=keys,
            cards={p: self.keys[p].card for p in self.companies},
            coordinator=coordinator,
            dataset=dataset,
            gate=gate,
            kernel=self.kernel,
            curve=lambda: Curve(2),
            port=port,
            folder=self._path(name),
            now=self.now,
            random=os.urandom,
            pace=QUICK_PACE,
        )
        self._importing.append(asyncio.create_task(import_consents(gate, party)))
        self.nodes[name], self.gates[name] = node, gate
        self.desks[name] = Desk(node.ctx, port, dict)
        self.tasks[name] = asyncio.create_task(node.run())
