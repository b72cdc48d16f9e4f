"""Who is here: one live node instance per party, and a bell that wakes its waiting call.

Who runs it: the coordinator.  Engine rules 6 and 7.
Learns: the coordinator: which party calls when, and a random id of its data folder.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from coordinator.store import Store
from protocol.errors import Failed
from protocol.transport.port import Instance


class Bell:
    """Wakes everybody who waits now; a ring before the wait is not remembered, so look first."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def ring(self) -> None:
        self._event.set()
        self._event = asyncio.Event()

    async def wait(self, seconds: float) -> None:
        event = self._event
        try:
            async with asyncio.timeout(max(0.0, seconds)):
                await event.wait()
        except TimeoutError:
            pass  # the caller looks again either way


@dataclass
class _Seen:
    instance: Instance
    at: float


class Parties:
    """Presence of each party.  `live` seconds after its last call an instance may be replaced."""

    def __init__(self, store: Store, live: float, clock: Callable[[], float]) -> None:
        self._store, self._live, self._clock = store, live, clock
        self._started = clock()
        self._seen = {
            name: _Seen(Instance(instance, boot), at)
            for name, (instance, boot, at) in store.parties().items()
        }
        self._bells: dict[str, Bell] = {}

    def hello(self, party: str, instance: Instance) -> bool:
        """A process starts.  True when it follows another process of the same data folder.

        Raises Failed('second_instance') while another data folder is live under this name.
        """
        known = self._seen.get(party)
        if known is not None and known.instance.id != instance.id:
            self._refuse_second(party, known)
        self._seen[party] = _Seen(instance, self._clock())
        self._store.save_party(party, instance.id, instance.boot, self._clock())
        return known is not None and known.instance.id == instance.id

    def check(self, party: str, instance: Instance) -> None:
        """Every later call: this process is the one that said hello last."""
        known = self._seen.get(party)
        if known is None or known.instance.id != instance.id:
            if known is not None:
                self._refuse_second(party, known)
            self.hello(party, instance)
        elif known.instance.boot != instance.boot:
            raise _second(party, "a copy of it was started later and took over")
        self.seen(party)

    def seen(self, party: str) -> None:
        """Any sign of life."""
        if party in self._seen:
            self._seen[party].at = self._clock()

    def last_seen(self, party: str) -> float:
        """Not before this coordinator's start: its own absence is nobody's fault."""
        known = self._seen.get(party)
        return max(self._started, known.at if known is not None else 0.0)

    def save(self) -> None:
        """Keeps the times for the next start."""
        for name, known in self._seen.items():
            self._store.save_party(name, known.instance.id, known.instance.boot, known.at)

    def bell(self, party: str) -> Bell:
        return self._bells.setdefault(party, Bell())

    def _refuse_second(self, party: str, known: _Seen) -> None:
        if self._clock() - known.at < self._live:
            raise _second(party, "another node with its own data folder is running")


def _second(party: str, why: str) -> Failed:
    return Failed(
        "second_instance",
        f"the name {party} is taken: {why}",
        party=party,
        next_step="stop the other node first; a job stays with the node that holds its keys",
    )
