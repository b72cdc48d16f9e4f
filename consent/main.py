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
from consent.service import serving
from consent.store import ConsentStore
from protocol.identity import Keys
from protocol.transport import hub


def run(
    collaboration_file: Path, data: Path, keys_folder: Path, *, listen: str = "",
    sandbox: bool = False,
) -> None:  # fmt: skip
    """Blocks until SIGTERM or SIGINT.  `sandbox` changes nothing here."""
    collaboration = load_collaboration(collaboration_file)

    @asynccontextmanager
    async def with_store(keys: Keys, address: str) -> AsyncIterator[int]:
        store = ConsentStore(data / "consent.sqlite", time.time, os.urandom)
        try:
            async with serving(store, collaboration, keys, address) as port:
                yield port
        finally:
            store.close()

    hub.run(
        collaboration.consent.card(), with_store, what="consent service", data=data,
        collaboration_file=collaboration_file, keys_folder=keys_folder, listen=listen,
    )  # fmt: skip
