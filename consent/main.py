"""The composition root of the consent service: `assent consent run`.

Who runs it: the operator of the consent service, one process.
Learns: see proto/consent.proto.
"""

from __future__ import annotations

import os
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from catalog.collaboration import load_collaboration
from consent.ledger import Ledger, Places
from consent.log_writer import Pace
from consent.replaced import Replaced
from consent.service import serving
from consent.trust import Trust
from consent.witnessing import WitnessLine
from protocol.identity import Keys
from protocol.transport import hub


def run(
    collaboration_file: Path, data: Path, keys_folder: Path, *, listen: str = "",
    places: Places | None = None, replaced: Sequence[str] = (), files: str = "",
    heartbeat: float = 60.0, sandbox: bool = False,
) -> None:  # fmt: skip
    """Blocks until SIGTERM or SIGINT.

    places: other databases than files in `data`.  replaced: URLs of the erasable databases of
    logs that these took the place of.  files: host:port at which the logs are
    served as static files over HTTPS, or empty.  heartbeat: seconds.  `sandbox` changes nothing
    here.
    """
    collaboration = load_collaboration(collaboration_file)
    parties = list(collaboration.parties)
    trust = Trust.of(collaboration)
    pace = Pace(heartbeat=heartbeat, fresh=2.5 * heartbeat)
    earlier = Replaced(replaced)

    @asynccontextmanager
    async def with_ledger(keys: Keys, address: str) -> AsyncIterator[int]:
        lines = {name: WitnessLine(name) for name in trust.witnesses}
        ledger = Ledger(
            places or Places.in_folder(data), keys, trust, parties, lines, time.time, os.urandom,
            pace, earlier,
        )  # fmt: skip
        try:
            async with AsyncExitStack() as stack:
                port = await stack.enter_async_context(
                    serving(ledger, lines, collaboration, keys, address)
                )
                if files:
                    await stack.enter_async_context(_files(ledger, keys, files, keys_folder, data))
                yield port
        finally:
            ledger.close()
            earlier.close()

    hub.run(
        collaboration.consent.card(), with_ledger, what="consent service", data=data,
        collaboration_file=collaboration_file, keys_folder=keys_folder, listen=listen,
    )  # fmt: skip


def _files(ledger: Ledger, keys: Keys, address: str, keys_folder: Path, data: Path) -> Any:
    """The static files' server: the service's own certificate, pinned as for everything else."""
    from consent.static_service import static_app
    from protocol.transport.http import serving_http

    certificate = data / "certificate.pem"
    certificate.write_text(keys.card.tls_certificate, encoding="utf-8")
    return serving_http(
        static_app(ledger),
        address,
        tls=(keys_folder / "tls.pem", certificate),
        what="the logs' file server",
    )
