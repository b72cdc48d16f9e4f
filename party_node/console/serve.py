"""The console beside a running node: its data, its audit, its address in a 0600 file.

Who runs it: `party_node.main`.  Learns: the owner; nothing leaves the machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from catalog.collaboration import Collaboration
from consent.audit_files import default_policy, verify
from consent.audit_jobs import JobRule
from consent.audit_report import Report
from consent.audit_rules import ConsentRule
from consent.port import ConsentPort
from consent.trust import Trust
from party_node.console.app import Console
from party_node.session import NodeContext
from protocol.secret import Secret
from protocol.transport.http import serving_http
from protocol.transport.kit import write_private

ADDRESS = "console.url"


@dataclass(frozen=True)
class NodeSources:
    """`Sources` of a running node."""

    ctx: NodeContext

    def log_state(self) -> Mapping[str, Any]:
        return self.ctx.gate.log_state()

    def jobs(self) -> list[Mapping[str, Any]]:
        return list(self.ctx.records.jobs())

    def statements(self) -> list[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
        return list(self.ctx.job_log.statements())


async def audit(port: ConsentPort, collaboration: Collaboration, folder: Path) -> Report:
    """Fetches this party's bundle and verifies it, against the checkpoints kept before."""
    bundle = folder / "audit.bundle"
    part = bundle.with_suffix(".part")
    with part.open("wb") as file:
        async for line in port.bundle():
            file.write(line)
    part.replace(bundle)
    signers = {name: card.signing_key for name, card in collaboration.cards().items()}

    def verified() -> Report:
        policy = default_policy(Trust.of(collaboration), bundle)
        return verify(bundle, policy, [ConsentRule(), JobRule(signers)], folder / "checkpoints")

    return await asyncio.to_thread(verified)


@asynccontextmanager
async def serving_console(
    ctx: NodeContext, port: ConsentPort, collaboration: Collaboration
) -> AsyncIterator[str]:
    """Serves the pages on a loopback port; yields the address without its token."""
    token = Secret(ctx.random(32).hex().encode())
    console = Console(
        ctx.name, token, NodeSources(ctx), lambda: audit(port, collaboration, ctx.folder), ctx.now
    )
    file = ctx.folder / ADDRESS
    async with serving_http(console.app(), "127.0.0.1:0", what="the console") as number:
        address = f"http://127.0.0.1:{number}"
        file.unlink(missing_ok=True)
        write_private(file, f"{address}/enter?token={token.reveal().decode()}\n".encode())
        try:
            yield address
        finally:
            file.unlink(missing_ok=True)
