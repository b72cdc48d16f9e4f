"""The verify button: this party's own bundle, fetched and audited as an auditor would.

Who runs it: every node, when its owner asks.  The bundle stays in the node's folder; what was
verified is kept there, so that the next audit sees a log that went back on it.
Learns: the party, what it may see anyway; the consent service that it asked.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from consent import audit_files
from consent.audit import Rule
from consent.audit_jobs import JobRule
from consent.audit_report import Report
from consent.audit_rules import ConsentRule
from consent.trust import Trust
from protocol.defects import defect
from protocol.errors import AssentError
from protocol.transport.disk import disk_errors

BUNDLE = "audit.bundle"
KEPT = "checkpoints"
_log = logging.getLogger("assent.console")


@dataclass(frozen=True)
class Verification:
    """What the button shows.  at: POSIX seconds of its start.  report: None while running, or
    when it could not be made, and then `problem` is the error's code."""

    at: float
    running: bool
    report: Report | None = None
    problem: str = ""
    bytes: int = 0


class Verifier:
    """For one loop; what takes long is in threads."""

    def __init__(
        self,
        bundle: Callable[[], AsyncIterator[bytes]],
        trust: Trust,
        signers: Mapping[str, bytes],
        folder: Path,
        now: Callable[[], float],
    ) -> None:
        """bundle: `ConsentPort.bundle`.  signers: Ed25519 keys of the parties' cards.
        folder: the node's own."""
        self._bundle, self._trust, self._signers = bundle, trust, dict(signers)
        self._folder, self._now = folder, now
        self._task: asyncio.Task[None] | None = None
        self.last: Verification | None = None

    @property
    def path(self) -> Path:
        return self._folder / BUNDLE

    def start(self) -> None:
        """Begins an audit unless one is running."""
        if self._task is None or self._task.done():
            self.last = Verification(self._now(), running=True)
            self._task = asyncio.create_task(self._run(self.last.at))

    async def _run(self, at: float) -> None:
        try:
            size = await self._fetch()
            report = await asyncio.to_thread(self._verify)
            self.last = Verification(at, running=False, report=report, bytes=size)
        except AssentError as error:
            _log.warning("the audit could not be made: %s", error)
            self.last = Verification(at, running=False, problem=error.info.code)
        except Exception as error:  # ours; the page must not say "running" for ever
            _log.error("the audit broke: %s", defect(error))
            self.last = Verification(at, running=False, problem="internal")

    async def _fetch(self) -> int:
        size = 0
        part = self.path.with_suffix(".part")
        with disk_errors("node", "make room in the node's data folder"):
            descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                async for line in self._bundle():
                    file.write(line)
                    size += len(line)
            part.replace(self.path)
        return size

    def _verify(self) -> Report:
        keep = self._folder / KEPT
        kept = audit_files.kept_notes(keep)
        policy = audit_files.default_policy(self._trust, self.path, kept)
        rules: list[Rule] = [ConsentRule(), JobRule(self._signers)]
        return audit_files.verify(self.path, policy, rules, keep, kept)
