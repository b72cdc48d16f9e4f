"""A node as one object: context, runner and what happens when a job ends.

Who runs it: `party_node.main` over sockets, `tests/world.py` in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from importlib import metadata
from pathlib import Path

from catalog.federation import Party
from consent.records import U8
from party_node.consent_gate import NodeGate
from party_node.dataset import Dataset
from party_node.evidence import EVIDENCE_FILE, EvidenceStore
from party_node.handlers import ended, handlers, signer, verifier
from party_node.job_history import JobHistory
from party_node.job_log import JobLog, Send
from party_node.keyed_tokens import duckdb_prf
from party_node.ledger import Ledger
from party_node.noise_opendp import OpenDPNoise
from party_node.outcome import seal_error
from party_node.records import Records
from party_node.rights_requests import RightsRequests
from party_node.runner import Pace, Runner
from party_node.session import KeyMaker, NodeContext, nothing_to_do
from party_node.store import NodeStore
from protocol.errors import ErrorInfo
from protocol.identity import Card, Keys
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import generate
from protocol.psi.ecdh import Curve
from protocol.release.noise import NoiseSource
from protocol.transport.port import CoordinatorPort, StepKey


@dataclass
class Node:
    """ctx: what steps use.  port: the coordinator."""

    ctx: NodeContext
    port: CoordinatorPort
    runner: Runner
    store: NodeStore

    @classmethod
    def build(
        cls,
        *,
        party: Party,
        keys: Keys,
        cards: Mapping[str, Card],
        coordinator: Card,
        dataset: Dataset,
        gate: NodeGate,
        kernel: Kernel,
        curve: Callable[[], Curve],
        port: CoordinatorPort,
        log_job: Send,
        folder: Path,
        now: Callable[[], float],
        random: Callable[[int], bytes],
        noise: NoiseSource | None = None,
        freshness: float = 300.0,
        freshen: Callable[[], object] = nothing_to_do,
        make_key: KeyMaker = KeyMaker(generate),  # noqa: B008  frozen
        pace: Pace = Pace(),  # noqa: B008  frozen
    ) -> Node:
        store = NodeStore(folder / "node.sqlite")
        history = JobHistory(store.engine, gate.lookup.subjects.keys)
        ctx = NodeContext(
            name=party.name,
            keys=keys,
            cards=cards,
            party=party,
            key_bits=party.key_bits,
            dataset=dataset,
            gate=gate,
            ledger=Ledger(store.engine, now),
            records=Records(store.engine, now),
            job_log=JobLog(store.engine, history, keys, log_job, now, random, version()),
            job_history=history,
            rights=RightsRequests(store.engine, keys.storage, now),
            kernel=kernel,
            curve=curve,
            prf=duckdb_prf,
            noise=noise or OpenDPNoise(),
            folder=folder,
            now=now,
            random=random,
            make_key=make_key,
            freshness=freshness,
            freshen=freshen,
        )
        evidence = EvidenceStore(folder / EVIDENCE_FILE)

        def forget(subjects: U8, records: Sequence[bytes]) -> None:
            people = ctx.rights.not_moved(subjects)
            if len(people):
                ctx.rights.erased(gate.lookup.with_others(people))
                history.forget(people)
            evidence.erase(records)

        gate.when_erased(forget)
        gate.were_erased = ctx.rights.were_erased
        runner = Runner(
            party=party.name,
            port=port,
            store=store,
            folder=folder,
            handlers=handlers(ctx),
            sign=signer(ctx),
            verify=verifier(ctx, coordinator),
            on_ended=lambda status: ended(ctx, status),
            pace=pace,
            outgoing_error=lambda key, error: sealed_error(ctx, key, error),
        )
        return cls(ctx, port, runner, store)

    async def run(self) -> None:
        """Until cancelled, or an error that only the owner can mend."""
        logging_them = asyncio.create_task(self.ctx.job_log.run())
        try:
            await self.runner.run()
        finally:
            logging_them.cancel()
            await asyncio.gather(logging_them, return_exceptions=True)

    def close(self) -> None:
        self.store.close()


def version() -> str:
    """Of this code, as statements about jobs name it."""
    return metadata.version("assent")


def sealed_error(ctx: NodeContext, key: StepKey, error: ErrorInfo) -> ErrorInfo:
    """A failed step's error as the coordinator may see it; this party keeps the words."""
    placed = replace(error, party=error.party or ctx.name)
    ctx.records.put(key.job, "own.error", [placed.code, placed.cause])
    requester = ctx.records.requester(key.job)
    card = ctx.cards.get(requester) if requester else None
    return seal_error(placed, key.job, card.sealing_key if card is not None else None)
