"""The composition root of the people's portal: `assent portal run`.

Who runs it: the operator of the portal, one process, no ledger key.  It listens twice: for
browsers, and for the parties' nodes, which come to lease questions.
Learns: see proto/portal.proto; addresses, tokens and tags of who is signed in, in memory only.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import uvicorn

from catalog.collaboration import Collaboration, load_collaboration
from consent.client import PortalClient
from consent.notices import load_notices
from consent.portal import oidc
from consent.portal.app import create
from consent.portal.portal import Portal
from consent.portal.questions import Questions
from consent.portal.receipts import LogReceipts
from consent.portal.senders import senders
from consent.portal.service import serving
from consent.portal.settings import Settings, load_settings
from consent.trust import Trust
from protocol.errors import BadInput, Failed
from protocol.identity import Keys
from protocol.transport import hub, tls

# Somebody waits before a page; the log itself waits 5 s for its witnesses.
LEDGER_SECONDS = 8.0
_log = logging.getLogger("assent.portal")


def run(
    collaboration_file: Path, data: Path, keys_folder: Path, *, listen: str, nodes: str = "",
    outbox: Path | None = None, settings_file: Path | None = None, sandbox: bool = False,
) -> None:  # fmt: skip
    """Blocks until SIGTERM or SIGINT.

    listen: for browsers; nodes: for nodes, the card's address by default.  outbox: a folder
    that codes are written to instead of being sent.  `sandbox` changes nothing here.
    """
    collaboration = load_collaboration(collaboration_file)
    if collaboration.portal is None:
        raise BadInput(
            f"{collaboration_file}: has no card of a portal",
            next_step="make one with `assent kit create --role portal --name portal --address "
            "host:port` and join the cards again",
        )
    settings = Settings()
    if settings_file is not None:
        settings = load_settings(settings_file, collaboration.parties)
    _check_safe(listen, settings)
    if not senders(settings, outbox) and not settings.sign_in:
        raise BadInput(
            "nobody could sign in: there is no way to send a code and no sign-in of a party",
            next_step="add smtp:, sms: or sign_in: to --settings, or give --outbox to try it out",
        )

    @asynccontextmanager
    async def both(keys: Keys, address: str) -> AsyncIterator[int]:
        questions = Questions(collaboration.parties, os.urandom)
        ledger = PortalClient(collaboration.consent.card(), keys, LEDGER_SECONDS)
        try:
            async with serving(questions, collaboration, keys, address) as port:
                portal = assemble(collaboration, keys, settings, outbox, questions, ledger, listen)
                async with _web(portal, listen, settings):
                    yield port
        finally:
            await ledger.close()

    hub.run(
        collaboration.portal.card(), both, what="portal", data=data,
        collaboration_file=collaboration_file, keys_folder=keys_folder, listen=nodes,
    )  # fmt: skip


def assemble(
    collaboration: Collaboration, keys: Keys, settings: Settings, outbox: Path | None,
    questions: Questions, ledger: PortalClient, listen: str,
) -> Portal:  # fmt: skip
    public = settings.public_url or f"http://{listen}"
    return Portal(
        parties=list(collaboration.parties),
        nodes=questions,
        ledger=ledger,
        receipts=LogReceipts(Trust.of(collaboration), keys.signing, {keys.card.name: keys.card}),
        senders=senders(settings, outbox),
        openids={
            party: oidc.OpenID(party, chosen, f"{public}/sign-in/back", time.time)
            for party, chosen in settings.sign_in.items()
        },
        notices={party: load_notices(path) for party, path in settings.notices.items()},
        key=os.urandom(32),
        now=time.monotonic,
        now_ms=lambda: int(time.time() * 1000),
        random=os.urandom,
        public=settings.public_url or ("https://" + listen if settings.tls else ""),
        region=settings.region,
        clock_offset=settings.utc_offset_minutes,
    )


def _check_safe(listen: str, settings: Settings) -> None:
    """Codes and cookies never cross a network in clear."""
    if tls.is_loopback(listen) or settings.tls is not None:
        return
    if settings.public_url.startswith("https://") and settings.proxies:
        return  # a proxy in front of it speaks TLS
    raise BadInput(
        f"{listen} is reached over the network and there is no TLS",
        next_step="add tls: {certificate, key} to --settings, or public_url: https://… and "
        "proxies: for a proxy that speaks TLS",
    )


class _Quiet(uvicorn.Server):  # type: ignore[misc]  # the library has no types
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield  # the process's own handlers stay (protocol.transport.hub)


@asynccontextmanager
async def _web(portal: Portal, listen: str, settings: Settings) -> AsyncIterator[None]:
    host, _, port = listen.rpartition(":")
    config = uvicorn.Config(
        create(portal), access_log=False, log_level="warning", lifespan="off", server_header=False,
        proxy_headers=bool(settings.proxies), forwarded_allow_ips=list(settings.proxies),
        ssl_certfile=str(settings.tls.certificate) if settings.tls else None,
        ssl_keyfile=str(settings.tls.key) if settings.tls else None,
        timeout_keep_alive=15, timeout_graceful_shutdown=3, h11_max_incomplete_event_size=32 << 10,
        limit_concurrency=512,
    )  # fmt: skip
    listening = _bound(host.strip("[]"), port, listen)
    server = _Quiet(config)
    serving_it = asyncio.create_task(server.serve([listening]))
    scheme = "https" if settings.tls else "http"
    _log.info("pages at %s", settings.public_url or f"{scheme}://{listen}")
    try:
        yield
    finally:
        server.should_exit = True
        with suppress(asyncio.CancelledError):
            await serving_it
        listening.close()


def _bound(host: str, port: str, listen: str) -> socket.socket:
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.socket(family)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, int(port)))
        return listening
    except (OSError, ValueError, OverflowError) as error:
        raise Failed(
            "address_in_use",
            f"cannot listen for browsers on {listen}",
            stage="portal",
            next_step="stop what listens there, or give another --listen host:port",
        ) from error
