"""The console beside a running node: its data, its audit, its link in a 0600 file.

Who runs it: `party_node.main`.  Learns: the owner; nothing leaves the machine.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from consent.port import ConsentPort
from consent.trust import Trust
from consent.witness import Witness
from party_node.console.app import Console, clock_offset, create
from party_node.console.desk import ConsoleDesk
from party_node.console.door import LINK_FILE, Door
from party_node.console.verifying import Verifier
from party_node.session import NodeContext
from protocol.transport.http import serving_http

ADDRESS = LINK_FILE


@asynccontextmanager
async def serving_console(
    ctx: NodeContext, port: ConsentPort, witness: Witness, trust: Trust
) -> AsyncIterator[str]:
    """Serves the pages on a loopback port; yields the address without its token."""
    signers = {name: card.signing_key for name, card in ctx.cards.items()}
    console = Console(
        ConsoleDesk(ctx.name, ctx.gate, ctx.job_log, ctx.records, witness, ctx.now),
        Verifier(port.bundle, trust, signers, ctx.folder, ctx.now),
        Door(ctx.folder, time.monotonic),
        clock_offset(),
    )
    async with serving_http(create(console), "127.0.0.1:0", what="the console") as number:
        console.door.open(number)
        try:
            yield console.door.address
        finally:
            console.door.shut()
