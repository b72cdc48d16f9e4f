"""The auditor's witness: cosigns the logs of a collaboration, and keeps what does not fit.

Who runs it: an auditor, one process that only dials out.
Learns: sizes and roots of all logs, no entry.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from pathlib import Path

from catalog.collaboration import Collaboration, load_collaboration
from consent.client import AuditorClient
from consent.trust import AUDITOR, Trust, witness_signer
from consent.witness import Witness
from protocol.errors import AssentError, BadInput
from protocol.identity import Keys
from protocol.transport.kit import load_kit, load_signing

_PAUSE = 1.0
_log = logging.getLogger("assent.auditor")


def whose_keys(collaboration: Collaboration, keys_folder: Path) -> Keys:
    """The keys in `keys_folder`, of whichever party or auditor they are.  Raises BadInput."""
    public = load_signing(keys_folder)
    for card in collaboration.all_cards():
        if card.signing_key == public and card.role in ("party", "auditor"):
            return load_kit(keys_folder, card)
    raise BadInput(
        f"{keys_folder}: these keys are of no party and no auditor of the collaboration",
        next_step="name the folder that `assent kit create` made, with --keys",
    )


def auditor_keys(collaboration_file: Path, keys_folder: Path) -> Keys:
    """The auditor's own keys.  Raises BadInput when the collaboration has no auditor."""
    collaboration = load_collaboration(collaboration_file)
    if collaboration.auditor is None:
        raise BadInput(
            f"{collaboration_file}: has no card of an auditor",
            next_step="run `assent kit create --role auditor --name auditor`, join the cards again",
        )
    return load_kit(keys_folder, collaboration.auditor.card())


def run(collaboration_file: Path, data: Path, keys_folder: Path) -> None:
    """Blocks until SIGTERM or SIGINT."""
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s %(message)s", level="INFO")
    keys = auditor_keys(collaboration_file, keys_folder)
    collaboration = load_collaboration(collaboration_file)
    trust = Trust.of(collaboration)
    data.mkdir(parents=True, exist_ok=True, mode=0o700)
    witness = Witness(
        f"sqlite:///{data}/witness.sqlite", trust.logs(), [witness_signer(keys, AUDITOR)], time.time
    )
    try:
        asyncio.run(_serve(AuditorClient(collaboration.consent.card(), keys), witness))
    finally:
        witness.close()


async def _serve(client: AuditorClient, witness: Witness) -> None:
    task = asyncio.current_task()
    assert task is not None
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, task.cancel)
    try:
        while True:
            try:
                await client.witness(witness)
            except AssentError as error:
                _log.warning("%s; trying again", error)
            await asyncio.sleep(_PAUSE)
    except asyncio.CancelledError:
        pass  # asked to stop
    finally:
        await client.close()
