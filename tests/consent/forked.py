"""Work in a process of its own that a test may kill: a hundredth of a new interpreter's cost.

It is forked from a server without threads.  A test's own process has threads of earlier tests,
and a lock that one of them holds at the fork is held in the child for ever.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from pathlib import Path

_SERVER = multiprocessing.get_context("forkserver")
_SERVER.set_forkserver_preload(["tests.consent.killed_log", "tests.consent.test_replica_kill"])


def run(work: Callable[..., None], *arguments: object, out: Path = Path(os.devnull)) -> int:
    """Exit code of `work(*arguments)`; minus the signal that killed it.  out: what it prints."""
    process = _SERVER.Process(target=_work, args=(work, arguments, out))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def _work(work: Callable[..., None], arguments: tuple[object, ...], out: Path) -> None:
    with out.open("w", buffering=1) as file:
        sys.stdout = file
        work(*arguments)
