"""Keys, cards and a coordinator on a real loopback socket, for the transport tests."""

from __future__ import annotations

import datetime
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from catalog.collaboration import Collaboration, Endpoint
from coordinator.engine import ProtocolFunction
from coordinator.main import serving
from coordinator.timing import Timing
from protocol.identity import Keys, create_keys

NOW = datetime.datetime.now(datetime.UTC)


def kit(name: str, role: str = "party", *, start: datetime.datetime = NOW, days: int = 30) -> Keys:
    return create_keys(name, role, storage=secrets.token_bytes(32), now=start, days=days)


def expired(name: str) -> Keys:
    return kit(name, start=NOW - datetime.timedelta(days=400), days=365)


def at(keys: Keys, port: int) -> Keys:
    return replace(keys, card=replace(keys.card, address=f"127.0.0.1:{port}"))


@asynccontextmanager
async def coordinator(
    keys: Keys,
    parties: Mapping[str, Keys],
    folder: Path,
    registry: Mapping[tuple[str, int], ProtocolFunction],
    timing: Timing,
    port: int = 0,
) -> AsyncIterator[Keys]:
    """Yields the coordinator's keys with the address it listens on."""
    collaboration = Collaboration(
        coordinator=Endpoint.of(keys.card),
        consent=Endpoint.of(kit("consent", "consent").card),
        parties={name: Endpoint.of(party.card) for name, party in parties.items()},
    )
    async with serving(
        collaboration, keys, folder, f"127.0.0.1:{port}", timing=timing, registry=registry
    ) as bound:
        yield at(keys, bound)
