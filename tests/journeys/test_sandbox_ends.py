"""Nothing outlives the sandbox: by Ctrl-C, SIGTERM, SIGHUP or SIGKILL, no child and no worker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from assent.demo_consent import Person
from protocol.paillier.choose import VARIABLE
from tests.architecture.sources import ROOT
from tests.journeys import companies, shell

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks into /proc"),
]
# Enough rows that the requester encrypts for some seconds.
ROWS = 4000


def start(folder: Path, *arguments: object) -> subprocess.Popen[bytes]:
    """A sandbox whose temporary folders are made in `folder`/tmp."""
    (folder / "tmp").mkdir()
    with (folder / "said.txt").open("wb") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "assent", "sandbox", *map(str, arguments)],
            cwd=ROOT, stdin=subprocess.DEVNULL, stdout=said, stderr=subprocess.STDOUT,
            start_new_session=True,
            # The kernel that computes in processes of its own: they must not outlive their node.
            env={"PATH": os.environ["PATH"], "TMPDIR": str(folder / "tmp"), VARIABLE: "gmpy2"},
        )  # fmt: skip


def said(folder: Path) -> str:
    return (folder / "said.txt").read_text("utf-8")


@pytest.fixture
def in_the_middle(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[bytes], set[shell.Process]]]:
    """A sandbox that is encrypting, and everything that it started."""
    made = companies.write(tmp_path, seed=3, rows=ROWS)
    process = start(tmp_path, "run", made.federation, made.job, "--out", tmp_path / "result.json")
    with shell.running(process):
        shell.until(lambda: "encrypts its rows" in said(tmp_path), 180, "never got to encrypting")
        everything = shell.tree(process.pid)
        # Itself, four services, and the arithmetic's workers at both nodes.
        assert len(everything) >= 1 + 4 + 2
        yield process, everything


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda n: n.name)
def test_every_child_is_gone(
    number: signal.Signals, tmp_path: Path,
    in_the_middle: tuple[subprocess.Popen[bytes], set[shell.Process]],
) -> None:  # fmt: skip
    process, everything = in_the_middle
    os.kill(process.pid, number)
    code = process.wait(15)
    shell.until(
        lambda: not shell.alive(everything), 8, f"still there: {_names(shell.alive(everything))}"
    )
    assert not (tmp_path / "result.json").exists()
    if number is signal.SIGTERM:
        assert code == 128 + signal.SIGTERM
        assert left(tmp_path) == []
        assert "Traceback" not in said(tmp_path)


def left(folder: Path) -> list[Path]:
    """Files that the temporary folders still hold; sockets may have an empty one of the user's."""
    return [path for path in (folder / "tmp").rglob("*") if not path.is_dir()]


def _names(processes: set[shell.Process]) -> list[str]:
    return [
        f"{pid} {Path(f'/proc/{pid}/cmdline').read_bytes().replace(bytes(1), b' ').decode()}"
        for pid, _ in processes
    ]


def test_up_serves_until_ctrl_c(tmp_path: Path) -> None:
    made = companies.write(tmp_path, seed=4, job=companies.OVERLAP, rows=40)
    process = start(tmp_path, "up", made.federation)
    with shell.running(process):
        shell.until(lambda: "press Ctrl-C" in said(tmp_path), 60, "never came up")
        everything = shell.tree(process.pid)
        lines = said(tmp_path).splitlines()
        (ask,) = (line for line in lines if line.startswith("ask with: assent "))
        arguments = ask.removeprefix("ask with: assent ").replace("JOB.yaml", str(made.job))
        done = subprocess.run(
            [sys.executable, "-m", "assent", *arguments.split(), "--json"], cwd=ROOT,
            capture_output=True, text=True, timeout=60, env={"PATH": os.environ["PATH"],
            "TMPDIR": str(tmp_path / "tmp")},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["overlap"]["count"] == made.expected()[0]
        _sign_in(tmp_path)
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(15) == 0
        assert not shell.alive(everything)
    assert left(tmp_path) == []
    assert "Traceback" not in said(tmp_path)


def _sign_in(folder: Path) -> None:
    """As the terminal says: the pages, a person, and the code when a browser has asked for it."""
    pages = re.findall(r"see their pages at (http://\S+)", said(folder))[0]
    address = re.findall(r"sign in there as (\S+),", said(folder))[0]
    assert "sign-in code" not in said(folder)

    def printed() -> str:
        shell.until(lambda: "sign-in code" in said(folder), 20, "no code was printed")
        code, to = re.findall(r"sign-in code (\d{6}) for (\S+),", said(folder))[0]
        assert to == address
        # It is good in the browser that asked for it and in no other.
        stranger = Person(pages, folder)
        assert 'action="/sign-in/enter"' not in stranger.text("/sign-in/enter")
        return str(code)

    person = Person(pages, folder)
    person.sign_in(address, printed)
    assert 'action="/permissions/withdraw-all"' in person.text("/permissions")


def test_a_child_that_falls_ends_the_job_in_words(tmp_path: Path) -> None:
    """The coordinator of a sandbox is killed and nobody starts it again: exit 4, in words."""
    made = companies.write(tmp_path, seed=3, rows=ROWS)
    out = tmp_path / "result.json"
    process = start(tmp_path, "run", made.federation, made.job, "--out", out)
    with shell.running(process):
        shell.until(lambda: "encrypts its rows" in said(tmp_path), 180, "never got to encrypting")
        (coordinator,) = (
            pid for pid, _ in shell.tree(process.pid)
            if b"\0coordinator\0run\0" in Path(f"/proc/{pid}/cmdline").read_bytes()
        )  # fmt: skip
        os.kill(coordinator, signal.SIGKILL)
        started = time.monotonic()
        assert process.wait(30) == 4
        assert time.monotonic() - started < 25
    found = json.loads(out.read_text("utf-8"))
    assert found["status"] == "failed"
    assert (found["error"]["code"], found["error"]["party"]) == ("process_ended", "coordinator")
    assert found["error"]["next_step"]
    assert "cells" not in found
