"""A child of the sandbox ends when the sandbox dies, by any signal.

The sandbox holds the write end of each child's standard input and never writes.  The
kernel closes it when the sandbox ends, SIGKILL included; the child reads end-of-file and
exits.  (A parent-death signal is Linux-only and fires when the starting *thread* ends.)
"""

from __future__ import annotations

import os
import signal
import sys
import threading

VARIABLE = "ASSENT_END_WITH_STDIN"


def hold() -> None:
    """Starts the watch if the parent asked for it in the environment."""
    if os.environ.pop(VARIABLE, None) != "1":
        return
    threading.Thread(target=_wait_for_end, daemon=True, name="lifeline").start()


def _wait_for_end() -> None:
    while os.read(sys.stdin.fileno(), 1024):
        pass
    # First the polite way, so that pools and databases close; then the sure one.
    timer = threading.Timer(5.0, os._exit, args=(1,))
    timer.daemon = True
    timer.start()
    os.kill(os.getpid(), signal.SIGTERM)
