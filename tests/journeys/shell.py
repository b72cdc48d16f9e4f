"""Real commands in real processes, for journeys: an `assent` on PATH, ports, process trees."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.architecture.sources import ROOT


def command_folder(folder: Path) -> Path:
    """A folder with the command `assent` of this checkout, for PATH."""
    folder.mkdir(parents=True, exist_ok=True)
    script = folder / "assent"
    script.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -m assent "$@"\n')
    script.chmod(0o755)
    return folder


def empty_environment(commands: Path) -> dict[str, str]:
    """Nothing of the tester's own: no home, no locale, no variable that helps."""
    return {"PATH": f"{commands}:/usr/bin:/bin"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def until(true: Callable[[], object], seconds: float, what: str) -> None:
    """Waits for `true()`; fails with `what`, or what it returns if that can be called."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextlib.contextmanager
def running(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Never leaves `process` behind, however the test ends."""
    try:
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


# -- process trees -------------------------------------------------------------------------

Process = tuple[int, str]  # pid and start time: a pid alone may be used again


def tree(pid: int) -> set[Process]:
    """The process and all below it, from /proc."""
    children: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit() and (fields := _stat(int(entry))):
            children.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = set(), [pid]
    while waiting:
        one = waiting.pop()
        if fields := _stat(one):
            found.add((one, fields[19]))
        waiting += children.get(one, [])
    return found


def alive(processes: set[Process]) -> set[Process]:
    """Those that still run; zombies do not."""
    return {
        (pid, start)
        for pid, start in processes
        if (fields := _stat(pid)) and fields[19] == start and fields[0] != "Z"
    }


def _stat(pid: int) -> list[str]:
    """/proc/PID/stat from its third field on: state, parent, …, start time (index 19)."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return []
    return text.rpartition(")")[2].split()
