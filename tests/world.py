"""N parties, the coordinator and the consent service in one process, with faults.

Everything is the product's own code except the transport (calls in memory instead of gRPC)
and, unless a test asks otherwise, the size of the Paillier keys and the number of arithmetic
processes.  A failing test prints the seed with which its tables were made.
"""

from __future__ import annotations

import asyncio
import csv
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from catalog.federation import Party, load_party
from catalog.job import JobSpec, parse_jobs
from consent.local import LocalConsent
from coordinator.jobs import Coordinator
from coordinator.local import Faults, LocalCoordinator, no_faults
from coordinator.main import signer
from coordinator.protocols import REGISTRY
from coordinator.timing import Timing
from party_node.consent_gate import NodeGate
from party_node.dataset import Dataset
from party_node.desk import Desk
from party_node.main import import_consents
from party_node.node import Node
from party_node.profile import Profile
from party_node.runner import Pace
from party_node.session import KeyMaker, nothing_to_do
from protocol.identity import Keys, create_keys
from protocol.paillier.keys import insecure_generate
from protocol.paillier.pool import PoolKernel
from protocol.psi.ecdh import Curve
from protocol.release.noise import NoiseSource
from tests import ledgers

TEST_BITS = 768
QUICK = Timing(
    lease=2.0, heartbeat=0.2, poll=1.0, absent=5.0, approval=30.0, job=120.0, step_minimum=60.0,
    backoff=0.02, sweep=0.1, replay_settle=2.0,
)  # fmt: skip
QUICK_PACE = Pace(poll=1.0, retry=0.05, approval=0.05)


@dataclass
class Company:
    """One party's input: header and rows of its table, party.yaml's keys, consent rows."""

    columns: list[str]
    rows: list[list[str]]
    config: dict[str, Any]
    consents: list[list[str]] | str = "all"


@dataclass
class Outcome:
    """How a job ended, as the requester's analyst sees it."""

    job_id: str
    state: str
    error: dict[str, Any] | None
    result: dict[str, Any] | None
    own: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def code(self) -> str:
        return self.error["code"] if self.error else ""


class World:
    """`async with World(folder, companies) as world: outcome = await world.run(job)`."""

    def __init__(
        self,
        folder: Path,
        companies: Mapping[str, Company],
        *,
        bits: int = TEST_BITS,
        faults: Faults | None = None,
        noise: NoiseSource | None = None,
        timing: Timing = QUICK,
        now: Callable[[], float] = time.time,
    ) -> None:
        self.folder, self.companies, self.bits = folder, companies, bits
        self.faults = faults or no_faults
        self.noise, self.timing, self.now = noise, timing, now
        self.keys: dict[str, Keys] = {}
        self.nodes: dict[str, Node] = {}
        self.gates: dict[str, NodeGate] = {}
        self.desks: dict[str, Desk] = {}
        self.tasks: dict[str, asyncio.Task[None]] = {}
        self.kernel = PoolKernel.inline()
        self.coordinator: Coordinator | None = None

    async def __aenter__(self) -> World:
        import datetime

        start = datetime.datetime.now(datetime.UTC)
        for name in ("coordinator", "consent", *self.companies):
            role = "party" if name in self.companies else name
            self.keys[name] = create_keys(name, role, storage=os.urandom(32), now=start)
        companies = {name: self.keys[name] for name in self.companies}
        # A thread writes each log, so it asks for the clock at the moment of use.
        self.stand = ledgers.stand(
            self._path("consent"), lambda: self.now(), companies, self.keys["consent"]
        )
        await self.start_coordinator()
        for name in self.companies:
            await self.start_node(name)
        return self

    async def __aexit__(self, *exc: object) -> None:
        for name in list(self.nodes):
            await self.stop_node(name)
        await self.stop_coordinator()
        self.stand.close()
        self.kernel.close()

    # -- processes -----------------------------------------------------------------------

    def _path(self, name: str) -> Path:
        path = self.folder / name
        path.mkdir(parents=True, exist_ok=True)
        return path

    async def start_coordinator(self) -> None:
        self.coordinator = Coordinator(
            self._path("coordinator"), frozenset(self.companies), REGISTRY,
            signer(self.keys["coordinator"]),
            timing=self.timing, clock=self.now,
        )  # fmt: skip
        await self.coordinator.start()

    async def stop_coordinator(self) -> None:
        running, self.coordinator = self.coordinator, None
        if running is not None:
            await running.stop()

    async def start_node(self, name: str) -> None:
        party = self.party(name)
        folder = self._path(name)
        port = LocalCoordinator(lambda: self.coordinator, name, self.faults)
        dataset = await asyncio.to_thread(Dataset.load, party)
        profile = await asyncio.to_thread(Profile.open, party, dataset, folder, self.now)
        gate = await NodeGate.open(
            party=name,
            parties=list(self.companies),
            kinds=list(party.ids),
            identifiers=dataset,
            port=LocalConsent(self.stand.ledger, name),
            storage=self.keys[name].storage,
            folder=folder,
            trust=self.stand.trust,
            now=self.now,
            random=os.urandom,
        )
        node = Node.build(
            party=party,
            keys=self.keys[name],
            cards={p: self.keys[p].card for p in self.companies},
            coordinator=self.keys["coordinator"].card,
            dataset=dataset,
            gate=gate,
            kernel=self.kernel,
            curve=lambda: Curve(2),
            port=port,
            log_job=LocalConsent(self.stand.ledger, name).log_job,
            folder=folder,
            now=self.now,
            random=os.urandom,
            noise=self.noise,
            make_key=KeyMaker(insecure_generate, self.bits),
            pace=QUICK_PACE,
            freshen=nothing_to_do if profile is None else profile.refresh_models,
        )
        await import_consents(gate, party)
        self.nodes[name], self.gates[name] = node, gate
        self.desks[name] = Desk(node.ctx, port, dict)
        self.tasks[name] = asyncio.create_task(node.run())

    async def stop_node(self, name: str) -> None:
        """As a kill does: whatever it was at is left as it is."""
        task = self.tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        self.nodes.pop(name).close()
        self.gates.pop(name).close()

    def party(self, name: str) -> Party:
        """Writes the company's files and reads them as the node does."""
        company, folder = self.companies[name], self._path(name)
        with (folder / "table.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([company.columns, *company.rows])
        consents = "all"
        if not isinstance(company.consents, str):
            with (folder / "consents.csv").open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(company.consents)
            consents = "consents.csv"
        import json

        block = {"name": name, "table": "table.csv", "consents": consents, "key_bits": 2048}
        (folder / "party.yaml").write_text(json.dumps(block | company.config), encoding="utf-8")
        return load_party(folder / "party.yaml")

    # -- jobs ------------------------------------------------------------------------------

    def job(self, **fields: Any) -> JobSpec:
        import json

        return parse_jobs(json.dumps(fields), "a test's job", None)[0]

    async def submit(self, *, dry_run: bool = False, **fields: Any) -> str:
        spec = self.job(**fields)
        return await self.desks[spec.requester].submit(spec.canonical(), dry_run=dry_run)

    async def run(self, *, limit: float = 60.0, dry_run: bool = False, **fields: Any) -> Outcome:
        job_id = await self.submit(dry_run=dry_run, **fields)
        return await self.outcome(fields["requester"], job_id, limit)

    async def outcome(self, requester: str, job_id: str, limit: float = 60.0) -> Outcome:
        """Waits for the job's end; fails the test when it hangs."""
        import json

        desk, version = self.desks[requester], 0
        async with asyncio.timeout(limit):
            while True:
                view = await desk.watch(job_id, version, 1.0)
                version = view.version
                if view.state in ("released", "refused", "failed"):
                    break
        own = {}
        for name, node in self.nodes.items():
            if node.ctx.records.known(job_id):
                own[name] = node.ctx.records.record(job_id)["own"]
        record = desk.record(job_id)
        return Outcome(
            job_id,
            view.state,
            json.loads(view.error) if view.error else None,
            record.get("result") or record.get("plan"),
            own,
        )

    async def until(self, holds: Callable[[], bool | Awaitable[bool]], limit: float = 30.0) -> None:
        """Waits until `holds()`; fails the test when it does not."""
        async with asyncio.timeout(limit):
            while True:
                found = holds()
                if isinstance(found, Awaitable):
                    found = await found
                if found:
                    return
                await asyncio.sleep(0.02)
