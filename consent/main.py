"""The composition root of the consent service: `assent consent run`.

Who runs it: the operator of the consent service, one process.
Learns: see proto/consent.proto.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import time
from pathlib import Path

from catalog.collaboration import Collaboration, load_collaboration
from consent.service import serving
from consent.store import ConsentStore
from protocol.errors import BadInput
from protocol.identity import Keys
from protocol.transport.kit import load_kit

_log = logging.getLogger("assent.consent")


def run(
    collaboration_file: Path, data: Path, keys_folder: Path, *, listen: str = "",
    sandbox: bool = False,
) -> None:  # fmt: skip
    """Blocks until SIGTERM or SIGINT.  `sandbox` changes nothing here."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    collaboration = load_collaboration(collaboration_file)
    keys = load_kit(keys_folder, collaboration.consent.card())
    address = listen or keys.card.address
    if not address:
        raise BadInput(
            f"{collaboration_file}: the consent service's card has no address",
            next_step="make the kit with --address host:port, or give --listen",
        )
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with (data / "consent.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                f"{data}: another consent service is running with this data folder",
                next_step="stop it, or name another --data",
            ) from error
        asyncio.run(_until_stopped(collaboration, keys, data, address))


async def _until_stopped(
    collaboration: Collaboration, keys: Keys, data: Path, address: str
) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    store = ConsentStore(data / "consent.sqlite", time.time, os.urandom)
    try:
        async with serving(store, collaboration, keys, address) as port:
            _log.info("listening on %s (port %d)", address, port)
            await stop.wait()
    finally:
        store.close()
