"""The composition root of a node: reads files, makes every part, runs until told to stop.

Who runs it: each company, `assent node run`.  Opens no port; dials coordinator and consent
service, listens on its own 0600 Unix socket.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import signal
import socket
import time
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

import pyarrow as pa

from catalog.collaboration import Collaboration, load_collaboration
from catalog.federation import Party, load_party
from consent.notices import load_notices
from consent.replica import WINDOW_SECONDS
from party_node.consent_gate import NodeGate
from party_node.consents_file import read_consents
from party_node.dataset import Dataset
from party_node.spare_memory import give_back
from party_node.transfer import AGAIN
from protocol.errors import BadInput, Failed
from protocol.identity import Card, Keys
from protocol.paillier.choose import VARIABLE, choose
from protocol.paillier.kernel import Kernel
from protocol.psi.ecdh import Curve
from protocol.transport.kit import load_kit
from protocol.transport.probe import explain

if TYPE_CHECKING:
    from party_node.node import Node

_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 5.0  # seconds between two knocks
_MEETING = 20.0  # seconds that somebody who was away may wait for the ledger
_log = logging.getLogger("assent.node")


def run(
    party_file: Path, collaboration_file: Path, data: Path, keys_folder: Path, *, sandbox: bool,
    ingest: int = 0, window: float = WINDOW_SECONDS, new_log: bool = False,
) -> None:  # fmt: skip
    """Blocks until SIGTERM or SIGINT.  Raises BadInput before anything is dialled.

    window: seconds that the newest consents that a quorum has seen may be old.  new_log: the
    consent service may show another log than before; see `party_node.new_log`.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    party = load_party(party_file)
    collaboration = load_collaboration(collaboration_file)
    if party.name not in collaboration.parties:
        raise BadInput(
            f"{collaboration_file}: has no card of {party.name}",
            next_step=f"it has {', '.join(collaboration.parties)}; join the cards again",
        )
    if ingest and not party.events:
        raise BadInput(
            f"{party_file}: declares no events that --ingest could take",
            next_step="add events: to it, or leave --ingest out",
        )
    keys = load_kit(keys_folder, collaboration.parties[party.name].card())
    arithmetic = choose(os.environ.get(VARIABLE, ""))
    _log.info("arithmetic: %s", arithmetic.describe())
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    lock = _lock(data)
    listening = None
    try:
        listening = _bound(ingest) if ingest else None
        # Before grpc starts its threads: a pool's processes must not inherit them.
        with arithmetic.start() as kernel:
            asyncio.run(
                _serve(
                    party,
                    collaboration,
                    keys,
                    data,
                    kernel,
                    sandbox=sandbox,
                    listening=listening,
                    window=window,
                    new_log=new_log,
                )
            )
    finally:
        if listening is not None:
            listening.close()
        lock.close()


def _bound(port: int) -> socket.socket:
    from party_node.ingest_http import bound  # late: few nodes take events so

    return bound(port)


def _lock(data: Path) -> TextIO:
    """One node per data folder: two would answer one step twice."""
    file = (data / "node.lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise BadInput(
            f"{data}: another node is running with this data folder",
            next_step="stop it, or name another --data",
        ) from error
    return file


async def _serve(
    party: Party, collaboration: Collaboration, keys: Keys, data: Path, kernel: Kernel,
    *, sandbox: bool, listening: socket.socket | None, window: float, new_log: bool,
) -> None:  # fmt: skip
    from consent.client import ConsentClient
    from consent.trust import Trust, witness_signer
    from consent.witness import Witness
    from party_node.console.serve import serving_console
    from party_node.control import serve
    from party_node.desk import Desk
    from party_node.new_log import EarlierLogs, set_aside
    from party_node.node import Node
    from party_node.profile import Profile
    from party_node.profile_desk import ProfileDesk
    from party_node.session import nothing_to_do
    from protocol.transport.client import CoordinatorClient

    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    state: dict[str, Any] = {"ready": False, "doing": "loading the table"}
    started = time.monotonic()
    notices = load_notices(party.notices) if party.notices else None
    dataset = await asyncio.to_thread(Dataset.load, party)
    give_back()
    _log.info("%d rows loaded in %.1f s", dataset.rows, time.monotonic() - started)
    state["doing"] = "computing tags"
    profile = await asyncio.to_thread(Profile.open, party, dataset, data, time.time)
    coordinator, consent = collaboration.coordinator.card(), collaboration.consent.card()
    for server in (consent, coordinator):
        await _reach(server, keys, stop)
    if stop.is_set():
        return
    consent_port = ConsentClient(consent, keys)
    trust = Trust.of(collaboration)
    port = CoordinatorClient(coordinator, keys)
    if new_log:
        await set_aside(data, party.name, trust, keys.storage, consent_port)
    gate = await NodeGate.open(
        party=party.name,
        parties=list(collaboration.parties),
        kinds=list(party.ids),
        identifiers=dataset,
        port=consent_port,
        storage=keys.storage,
        folder=data,
        trust=trust,
        now=time.time,
        random=os.urandom,
        window=window,
        notices=notices,
    )
    witness = Witness(
        f"sqlite:///{data}/witness.sqlite", trust.logs(), [witness_signer(keys, party.name)],
        time.time,
    )  # fmt: skip
    freshen = nothing_to_do if profile is None else profile.refresh_models
    node = Node.build(
        party=party, keys=keys, cards=collaboration.cards(), coordinator=coordinator,
        dataset=dataset, gate=gate, kernel=kernel, curve=lambda: Curve(os.cpu_count() or 1),
        port=port, log_job=consent_port.log_job, folder=data, now=time.time, random=os.urandom,
        freshen=freshen,
        freshness=window,
    )  # fmt: skip
    desk = Desk(node.ctx, node.port, lambda: state | {"consent_age": gate.age()})
    profiles = ProfileDesk(profile, node.ctx.records)
    server = await serve(desk, profiles, data)
    # The witness first: the others' consents wait for a quorum as this node's own do.
    cosigning = asyncio.create_task(gate.witness(lambda: consent_port.witness(witness)))
    waiter = asyncio.create_task(stop.wait())
    state["doing"] = "recording consents"

    earlier = EarlierLogs(
        gate,
        consent_port,
        data,
        trust,
        keys.storage,
        node.ctx.rights,
        node.ctx.job_history.renamed,
    )

    async def record() -> None:
        # What people have said counts before what a file says of them.
        await earlier.carry({kind: dataset.all_identifiers(kind) for kind in party.ids})
        await import_consents(gate, party)
        await asyncio.to_thread(node.ctx.job_history.prepare)

    importing = asyncio.create_task(record())
    await asyncio.wait([importing, waiter], return_when=asyncio.FIRST_COMPLETED)
    tasks, stack = [cosigning, importing], AsyncExitStack()
    if not stop.is_set():
        importing.result()  # raises what is wrong with the file or the ledger
        give_back()
        tasks = [cosigning, asyncio.create_task(gate.follow()), asyncio.create_task(node.run())]
        if collaboration.portal is not None:
            tasks.append(asyncio.create_task(answer_people(node, collaboration, keys)))
        if profile is not None:
            tasks.append(asyncio.create_task(profile.follow()))
        if listening is not None:
            from party_node import ingest_http

            serving = ingest_http.serve(profiles, data, listening)
            tasks.append(asyncio.create_task(serving))
        console = await stack.enter_async_context(
            serving_console(node.ctx, consent_port, witness, trust)
        )
        state |= {"ready": True, "doing": "waiting for steps", "console": console}
        _log.info("ready")
    done, _ = await asyncio.wait([waiter, *tasks], return_when=asyncio.FIRST_COMPLETED)
    for task in (*tasks, waiter):
        task.cancel()
    await asyncio.gather(*tasks, waiter, return_exceptions=True)
    await stack.aclose()
    await server.stop(0.5)
    await port.close()
    await consent_port.close()
    node.close()
    earlier.close()
    witness.close()
    if profile is not None:
        profile.close()
    for task in done:
        if task is not waiter:
            task.result()  # raises what ended the node


async def answer_people(node: Node, collaboration: Collaboration, keys: Keys) -> None:
    """Leases the portal's questions until cancelled."""
    from consent.portal.client import PortalLease
    from party_node.subject_requests import SubjectRequests, serve

    assert collaboration.portal is not None
    ctx, loop = node.ctx, asyncio.get_running_loop()

    def met(kind: str, address: str) -> None:
        ids = pa.array([address], type=pa.string())

        async def meeting() -> None:
            async with asyncio.timeout(_MEETING):
                await ctx.gate.met(kind, ids)

        try:
            asyncio.run_coroutine_threadsafe(meeting(), loop).result()
        except TimeoutError:
            raise Failed("unavailable", "the consent log does not answer") from None

    requests = SubjectRequests(
        party=ctx.party,
        others=[name for name in collaboration.parties if name != ctx.name],
        lookup=ctx.gate.lookup,
        table=ctx.dataset,
        requests=ctx.rights,
        history=ctx.job_history,
        loaded_ms=int(ctx.now() * 1000),
        now=time.monotonic,
        met=met,
    )
    lease = PortalLease(collaboration.portal.card(), keys)
    try:
        await serve(requests, lease)
    finally:
        await lease.close()


async def _reach(server: Card, keys: Keys, stop: asyncio.Event) -> None:
    """Until `server` answers: it may start after this node, or be down for a while.

    Raises Failed in words when it never will: a certificate, a clock.
    """
    pause, said = _FIRST_PAUSE, False
    while not stop.is_set() and (trouble := await explain(server, keys)) is not None:
        if trouble.info.code not in AGAIN:
            raise trouble
        if not said:
            _log.warning("%s; trying again", trouble.info.sentence())
            said = True
        with suppress(TimeoutError):
            async with asyncio.timeout(pause):
                await stop.wait()
        pause = min(2 * pause, _LONGEST_PAUSE)


async def import_consents(gate: NodeGate, party: Party) -> None:
    """Says to the ledger what the party's consent file says; only what changed is sent."""
    if party.consents_file is None:
        report = await gate.import_everyone()
    else:
        found = await asyncio.to_thread(read_consents, party)
        report = await gate.import_file(
            found.kind, found.ids, found.purposes, found.recipients, found.categories,
            found.statuses,
        )  # fmt: skip
    _log.info("consents: %d statements, %d new", report.statements, report.appended)
