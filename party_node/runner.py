"""The node's loop: lease a step, do it, commit its output, only then let a byte leave.

Who runs it: every node.  It dials out; nobody dials in.  architecture.md "The job engine",
rules 4 to 7 and 10.  What a step does is a handler, chosen by the text before the first '/'
of the step's id; the runner knows no protocol.

Learns: the party: the inputs of its own steps.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from protocol.transport.port import ArtifactRef, StepKey


@dataclass(frozen=True)
class LocalArtifact:
    """An input on this node's disk: digest and signature are verified already."""

    path: Path
    ref: ArtifactRef


@dataclass(frozen=True)
class StepTask:
    """What a handler gets.

    params: the step's public parameters.  inputs: by the name the protocol gave them.
    sealed: the requester's proposal to this party.  workdir: an empty folder that is removed
    after the step; write the output inside it.  progress(done, total): call it from any
    thread, it is cheap.  cancelled: set when the job ended; a long loop looks at it.
    """

    key: StepKey
    params: Mapping[str, Any]
    inputs: Mapping[str, LocalArtifact]
    requester: str
    parties: tuple[str, ...]
    recipient: str
    sealed: bytes
    workdir: Path
    progress: Callable[[int, int], None]
    cancelled: threading.Event

    @property
    def job(self) -> str:
        return self.key.job

    @property
    def attempt(self) -> int:
        return self.key.attempt

    @property
    def step(self) -> str:
        return self.key.step


@dataclass(frozen=True)
class StepOutput:
    """path: the output file.  commit: joins the transaction that makes the output final
    (spend a reservation, keep a record); it runs once, before a byte leaves, on the node's
    own database, and must not commit by itself."""

    path: Path
    commit: Callable[[sa.Connection], None] | None = None


class WaitForApproval(Exception):
    """Raised by a handler: the owner has to decide first.  The step is tried again later."""


Handler = Callable[[StepTask], StepOutput]
Verify = Callable[[ArtifactRef], None]
"""Raises ProtocolViolation unless the reference's signature is its author's."""
Sign = Callable[[ArtifactRef], bytes]
"""Signs an own output; the reference has everything but the signature (and `id`)."""
