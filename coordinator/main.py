"""The composition root of the coordinator: `assent coordinator run`.

Who runs it: the coordinator's operator.  No party key, no result: matching and ciphertexts.

Learns: the coordinator: what `proto/coordinator.proto` says.
"""

from __future__ import annotations

import importlib.metadata
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

from catalog.collaboration import Collaboration, load_collaboration
from coordinator.engine import ProtocolFunction
from coordinator.jobs import Coordinator
from coordinator.protocols import REGISTRY
from coordinator.replay import Signer
from coordinator.service import CoordinatorService, add_to
from coordinator.timing import SANDBOX, Timing
from protocol import transcript
from protocol.errors import BadInput
from protocol.identity import Keys
from protocol.transport import hub, tls
from protocol.transport.port import ArtifactRef

_GRACE = 2.0  # seconds that running calls get at the end; long polls come back anyway


def run(
    collaboration_file: Path, data: Path, keys_folder: Path, *, listen: str = "",
    sandbox: bool = False,
) -> None:  # fmt: skip
    """Blocks until SIGTERM or SIGINT.  `sandbox`: a node that is silent for 60 s is absent."""
    collaboration = load_collaboration(collaboration_file)
    timing = SANDBOX if sandbox else Timing()
    hub.run(
        collaboration.coordinator.card(),
        lambda keys, address: serving(collaboration, keys, data, address, timing=timing),
        what="coordinator",
        collaboration_file=collaboration_file,
        data=data,
        keys_folder=keys_folder,
        listen=listen,
    )


@asynccontextmanager
async def serving(
    collaboration: Collaboration,
    keys: Keys,
    data: Path,
    address: str,
    *,
    timing: Timing | None = None,
    registry: Mapping[tuple[str, int], ProtocolFunction] = REGISTRY,
) -> AsyncIterator[int]:
    """A running coordinator; yields its port.

    Raises BadInput when the address cannot be bound.
    """
    cards = collaboration.cards()
    core = Coordinator(
        data, frozenset(cards), registry, signer(keys), timing=timing or Timing(), version=version()
    )
    pinned = [card.tls_certificate for card in cards.values()]
    try:
        server, port = tls.server(keys.tls_key, keys.card.tls_certificate, pinned, address)
    except RuntimeError as error:
        core.store.close()
        raise BadInput(
            f"cannot listen on {address}", next_step="is another process there? see --listen"
        ) from error
    peers = {card.tls_fingerprint: name for name, card in cards.items()}
    add_to(server, CoordinatorService(core, peers))
    await core.start()
    await server.start()
    try:
        yield port
    finally:
        await server.stop(_GRACE)
        await core.stop()


def signer(keys: Keys) -> Signer:
    """Signs what the coordinator computes, under the job's hash once that is bound."""

    def sign(ref: ArtifactRef, job_hash: bytes) -> bytes:
        tag = transcript.ArtifactTag(job_hash, ref.step, ref.attempt, ref.author, ref.recipient)
        return transcript.sign(tag, ref.sha256, keys.signing)

    return sign


def version() -> str:
    try:
        return importlib.metadata.version("assent")
    except importlib.metadata.PackageNotFoundError:
        return "0"  # a checkout that is not installed
