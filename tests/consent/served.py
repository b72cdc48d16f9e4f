"""The consent service over real sockets, with everybody around it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TypeVar

from catalog.collaboration import Collaboration, Endpoint
from consent.checkpoint import parse_checkpoint
from consent.client import AuditorClient, ConsentClient, PortalClient
from consent.ledger import Ledger
from consent.log_writer import Cosigner
from consent.note import parse_note
from consent.service import serving
from consent.trust import AUDITOR, Trust
from consent.witness import Witness
from consent.witnessing import WitnessLine
from protocol.errors import AssentError
from protocol.identity import Card, Keys
from tests import ledgers
from tests.consent import made

PARTIES = ("retailer", "media")
C = TypeVar("C", ConsentClient, AuditorClient, PortalClient)


def collaboration(
    service: Keys, parties: Mapping[str, Keys], auditor: Keys | None = None,
    portal: Keys | None = None,
) -> Collaboration:  # fmt: skip
    coordinator = ledgers.new_keys("coordinator", "coordinator", "127.0.0.1:1")
    return Collaboration(
        coordinator=Endpoint.of(coordinator.card),
        consent=Endpoint.of(service.card),
        parties={name: Endpoint.of(one.card) for name, one in parties.items()},
        auditor=Endpoint.of(auditor.card) if auditor else None,
        portal=Endpoint.of(portal.card) if portal else None,
    )


@dataclass
class Stand:
    """A running service and the keys of everybody."""

    around: ledgers.Stand
    parties: dict[str, Keys]
    auditor: Keys
    portal: Keys
    lines: dict[str, WitnessLine]
    address: str
    _clients: list[ConsentClient | AuditorClient | PortalClient] = field(default_factory=list)
    _tasks: dict[str, asyncio.Task[None]] = field(default_factory=dict)

    @property
    def ledger(self) -> Ledger:
        return self.around.ledger

    @property
    def trust(self) -> Trust:
        return self.around.trust

    @property
    def card(self) -> Card:
        return replace(self.around.consent.card, address=self.address)

    def client(self, who: str | Keys, timeout: float = 10.0) -> ConsentClient:
        keys = self.parties[who] if isinstance(who, str) else who
        return self._kept(ConsentClient(self.card, keys, timeout))

    def auditor_client(self) -> AuditorClient:
        return self._kept(AuditorClient(self.card, self.auditor, 10.0))

    def portal_client(self) -> PortalClient:
        return self._kept(PortalClient(self.card, self.portal, 10.0))

    def _kept(self, client: C) -> C:
        self._clients.append(client)
        return client

    def size(self, party: str = "retailer") -> int:
        return self.size_of(self.ledger.consent_log(party))

    def size_of(self, origin: str) -> int:
        return parse_checkpoint(parse_note(self.ledger.head(origin).checkpoint).text).size

    # -- witnesses -------------------------------------------------------------------------

    def witness(self, name: str) -> Witness:
        return self.around.witnesses[name]

    async def attend(self, name: str, witness: Cosigner | None = None) -> None:
        """The witness of `name` keeps its stream; returns when the service knows it."""
        keys = self.auditor if name == AUDITOR else self.parties[name]
        client = self._kept(AuditorClient(self.card, keys, 10.0))

        async def serve() -> None:
            with suppress(AssentError):  # the service has ended, or a newer stream has come
                await client.witness(witness or self.witness(name))

        self._tasks[name] = asyncio.create_task(serve())
        await until(lambda: connected(self.lines[name]))

    async def leave(self, name: str) -> None:
        task = self._tasks.pop(name)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        await until(lambda: not connected(self.lines[name]))

    async def end(self) -> None:
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)
        for client in self._clients:
            await client.close()


def connected(line: WitnessLine) -> bool:
    return line._send is not None


async def until(true: Callable[[], bool]) -> None:
    """Waits for what another task or thread brings about."""
    async with asyncio.timeout(20):
        while not true():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def standing(
    folder: Path, clock: made.Clock | None = None, odd: Mapping[str, Keys] | None = None,
    witnesses: bool = True, before: Stand | None = None,
) -> AsyncIterator[Stand]:  # fmt: skip
    """odd: more parties.  before: the stand of which this is a restart, on the same folder."""
    if before is None:
        parties = {name: ledgers.new_keys(name) for name in PARTIES} | dict(odd or {})
        auditor = ledgers.new_keys(AUDITOR, AUDITOR)
        portal = ledgers.new_keys("portal", "portal", "127.0.0.1:1")
        service = ledgers.new_keys("consent", "consent", "127.0.0.1:1")
    else:
        parties, auditor, portal = before.parties, before.auditor, before.portal
        service = before.around.consent
    everybody = parties | {AUDITOR: auditor}
    lines = {name: WitnessLine(name) for name in everybody}
    around = ledgers.stand(
        folder / "ledger", clock or made.Clock(), everybody, service, cosigners=lines
    )
    known = collaboration(service, parties, auditor, portal)
    try:
        async with serving(around.ledger, lines, known, service, "127.0.0.1:0") as port:
            stand = Stand(around, parties, auditor, portal, lines, f"127.0.0.1:{port}")
            try:
                if witnesses:
                    await asyncio.gather(*(stand.attend(name) for name in everybody))
                yield stand
            finally:
                await stand.end()
    finally:
        await asyncio.to_thread(around.close)


def run(folder: Path, story: Callable[[Stand], Awaitable[None]], **how: object) -> None:
    async def go() -> None:
        async with standing(folder, **how) as stand:  # type: ignore[arg-type]
            await story(stand)

    asyncio.run(go())
