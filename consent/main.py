"""The composition root of the consent service: `assent consent run`.

Who runs it: the operator of the consent service, one process.
Learns: see proto/consent.proto.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from catalog.collaboration import load_collaboration
from consent.ledger import Ledger, Places
from consent.service import serving
from consent.trust import Trust
from consent.witnessing import WitnessLine
from protocol.identity import Keys
from protocol.transport import hub


def run(
    collaboration_file: Path, data: Path, keys_folder: Path, *, listen: str = "",
    places: Places | None = None, sandbox: bool = False,
) -> None:  # fmt: skip
    """Blocks until SIGTERM or SIGINT.  places: other databases than files in `data`.

    `sandbox` changes nothing here.
    """
    collaboration = load_collaboration(collaboration_file)
    parties = list(collaboration.parties)
    trust = Trust.of(collaboration)

    @asynccontextmanager
    async def with_ledger(keys: Keys, address: str) -> AsyncIterator[int]:
        lines = {name: WitnessLine(name) for name in trust.witnesses}
        ledger = Ledger(
            places or Places.in_folder(data), keys, trust, parties, lines, time.time, os.urandom
        )
        try:
            async with serving(ledger, lines, collaboration, keys, address) as port:
                yield port
        finally:
            ledger.close()

    hub.run(
        collaboration.consent.card(), with_ledger, what="consent service", data=data,
        collaboration_file=collaboration_file, keys_folder=keys_folder, listen=listen,
    )  # fmt: skip

