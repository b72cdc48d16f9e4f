"""A server process from its start to its signal: keys, address, one process per data folder.

Who runs it: the composition roots of the coordinator and of the consent service.

Learns: nobody; it opens the operator's own key files.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from pathlib import Path

from protocol.errors import BadInput
from protocol.identity import Card, Keys
from protocol.transport.kit import load_kit

Serving = Callable[[Keys, str], AbstractAsyncContextManager[int]]


def run(
    card: Card,
    serving: Serving,
    *,
    what: str,
    collaboration_file: Path,
    data: Path,
    keys_folder: Path,
    listen: str,
) -> None:
    """Blocks until SIGTERM or SIGINT.

    serving: from keys and address to a running server, which yields its port.
    what: the service in words; listen: an address instead of the card's, or empty.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    keys = load_kit(keys_folder, card)
    address = listen or keys.card.address
    if not address:
        raise BadInput(
            f"{collaboration_file}: the {what}'s card has no address",
            next_step="make the kit with --address host:port, or give --listen",
        )
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    with alone(data, card.role, what):
        asyncio.run(_until_stopped(serving(keys, address), f"assent.{card.role}", address))


@contextmanager
def alone(data: Path, role: str, what: str) -> Iterator[None]:
    """Keeps every other process of a service out of its data folder."""
    try:
        file = (data / f"{role}.lock").open("w")
    except OSError as error:
        raise BadInput(
            f"{data}: cannot be written ({error.strerror})",
            next_step="check the path and the permissions",
        ) from error
    with file as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(
                f"{data}: another {what} is running with this data folder",
                next_step="stop it, or name another --data",
            ) from error
        yield


async def _until_stopped(server: AbstractAsyncContextManager[int], name: str, address: str) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with server as port:
        logging.getLogger(name).info("listening on %s (port %d)", address, port)
        await stop.wait()
