"""A whole federation on one machine: real processes, real sockets, mTLS, one folder each.

Who runs it: whoever tries Assent, the demo and the journey tests.  It checks every file
first, writes the files that companies exchange, starts the same commands that companies
run, submits the job through the requester's node, collects what each party stored of its
own and stops everything.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from assent.lifeline import VARIABLE
from assent.progress import Progress
from catalog.collaboration import Collaboration, Endpoint, dump_collaboration
from catalog.federation import Federation, dump_party, load_federation
from catalog.job import JobSpec, load_jobs
from party_node.control_client import NodeClient
from protocol.errors import AssentError, Failed
from protocol.transport.kit import create_kit

_START_SECONDS = 60.0


def run(
    federation_path: Path,
    job_path: Path,
    *,
    out: Path | None = None,
    html: Path | None = None,
    keep: Path | None = None,
    progress: Progress | None = None,
) -> tuple[int, list[dict[str, Any]]]:
    """Runs every job of `job_path`; returns the exit code of contracts.md and the results.

    Raises BadInput before any process starts when a file is wrong.
    """
    federation, jobs = check(federation_path, job_path)
    progress = progress or Progress.quiet()
    with Sandbox(federation, keep=keep, progress=progress) as sandbox:
        results = [sandbox.result(job) for job in jobs]
    if out is not None:
        _write(out, json.dumps(results if len(results) > 1 else results[0], ensure_ascii=False,
                               indent=1) + "\n")  # fmt: skip
    if html is not None:
        from assent.report import write_report

        write_report(results, html, title=federation.name, extra=None)
    return exit_code(results), results


def check(federation_path: Path, job_path: Path) -> tuple[Federation, list[JobSpec]]:
    """Reads both files and every table they name; raises BadInput with file, key and fix."""
    federation = load_federation(federation_path)
    jobs = load_jobs(job_path, federation)
    _check_tables(federation)
    return federation, jobs


def check_federation(path: Path) -> Federation:
    """As `check`, without jobs."""
    federation = load_federation(path)
    _check_tables(federation)
    return federation


def _check_tables(federation: Federation) -> None:
    from party_node.consents_file import check_consents_file
    from party_node.dataset import check_party_files

    for party in federation.parties.values():
        check_party_files(party)
        check_consents_file(party)


def exit_code(results: Iterable[dict[str, Any]]) -> int:
    """4 if any failed, else 3 if any was refused, else 0."""
    codes = {"released": 0, "refused": 3}
    return max(codes.get(result["status"], 4) for result in results)


class Sandbox:
    """The running federation; a context manager that stops all it started."""

    def __init__(self, federation: Federation, *, keep: Path | None, progress: Progress) -> None:
        self.federation = federation
        self.progress = progress
        self._kept = keep is not None
        self.root = keep if keep is not None else Path(tempfile.mkdtemp(prefix="assent-"))
        self.root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Sandbox:
        try:
            self._start()
        except BaseException:  # also KeyboardInterrupt: leave no process behind
            self.stop()
            raise
        return self

    def __exit__(self, *exc: object) -> None:
        self.stop()

    def node(self, party: str) -> NodeClient:
        return NodeClient(self.root / party)

    def pids(self) -> dict[str, int]:
        """Process ids by name; the bench reads their memory."""
        return {name: child.pid for name, child in self._children.items()}

    def addresses(self) -> list[str]:
        """What a person may want to know of the running federation."""
        return [f"{name}\tassent job … --node {self.root / name}" for name in
                self.federation.parties]  # fmt: skip

    def result(self, job: JobSpec) -> dict[str, Any]:
        """Submits `job`, follows it to its end and returns result.json's object."""
        started = time.monotonic()
        node = self.node(job.requester)
        try:
            job_id = node.submit(job.canonical())
            view = None
            for view in node.follow(job_id):
                self.progress.show(job.name, view)
            self.progress.done()
            assert view is not None
            base = _skeleton(job)
            record = node.record(job_id)
            base |= record.get("result") or {}
            base["status"] = view.state
            if view.error:
                base["error"] = json.loads(view.error)
        except AssentError as error:
            base = _skeleton(job) | {"status": error.status, "error": _error(error)}
            job_id = ""
        finally:
            node.close()
        if base["status"] != "released":
            base.pop("cells", None)
        if job_id:
            self._collect(job, job_id, base)
        base.setdefault("cost", {})["seconds"] = round(time.monotonic() - started, 3)
        return base

    def _collect(self, job: JobSpec, job_id: str, base: dict[str, Any]) -> None:
        """Own counts are each party's own; in the sandbox all of them are shown."""
        match = base.setdefault("match", {"on": list(job.match.on), "mode": job.match.mode})
        for party in (job.requester, *job.providers):
            client = self.node(party)
            try:
                own = client.record(job_id).get("own", {})
            except AssentError:
                continue  # a node that fell is what the job's own error already says
            finally:
                client.close()
            if "consent" in own:
                base.setdefault("consent", {})[party] = own["consent"]
            for key in ("ambiguous", "unparsable"):
                if key in own:
                    match.setdefault(key, {})[party] = own[key]
            if "bytes" in own:
                base.setdefault("cost", {}).setdefault("bytes", {})[party] = own["bytes"]
            if "remaining_rho" in own and party != job.requester:
                remaining = base.setdefault("privacy", {}).setdefault("remaining_rho", {})
                remaining[party] = own["remaining_rho"]

    # -- starting and stopping ---------------------------------------------------------

    def _start(self) -> None:
        addresses = {"coordinator": _free_address(), "consent": _free_address()}
        cards = {}
        for name in ("coordinator", "consent", *self.federation.parties):
            role = name if name in addresses else "party"
            keys = create_kit(
                _fresh(self.root / name) / "keys", name, role, address=addresses.get(name, "")
            )
            cards[name] = keys.card
        collaboration = Collaboration(
            coordinator=Endpoint.of(cards.pop("coordinator")),
            consent=Endpoint.of(cards.pop("consent")),
            parties={name: Endpoint.of(card) for name, card in cards.items()},
        )
        shared = self.root / "collaboration.yaml"
        _write(shared, dump_collaboration(collaboration))
        for name in ("coordinator", "consent"):
            self._spawn(name, [name, "run", "--collaboration", str(shared), "--sandbox"])
        for name, party in self.federation.parties.items():
            file = self.root / name / "party.yaml"
            _write(file, dump_party(party, self.federation.key_bits))
            self._spawn(
                name,
                ["node", "run", "--party", str(file), "--collaboration", str(shared), "--sandbox"],
            )
        self._wait_ready()

    def _spawn(self, name: str, command: list[str]) -> None:
        folder = self.root / name
        arguments = [sys.executable, "-m", "assent", *command, "--data", str(folder)]
        with (folder / "log.txt").open("wb") as log:
            self._children[name] = subprocess.Popen(  # noqa: S603  our own command
                arguments,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {VARIABLE: "1", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C reaches the sandbox, which stops them in order
            )

    def _wait_ready(self) -> None:
        self.progress.say("starting " + ", ".join(self._children))
        deadline = time.monotonic() + _START_SECONDS
        waiting = set(self.federation.parties)
        while waiting:
            for name, child in self._children.items():
                if child.poll() is not None:
                    raise Failed(
                        "not_started",
                        f"the process of {name} ended at once: {_last_line(self.root / name)}",
                        party=name,
                        stage="start",
                        next_step=f"read {self.root / name / 'log.txt'} (with --keep)",
                    )
            for name in sorted(waiting):
                client = self.node(name)
                try:
                    if client.status(timeout=2.0).get("ready"):
                        waiting.discard(name)
                except AssentError:
                    pass  # not listening yet; the deadline below speaks for a node that never does
                finally:
                    client.close()
            if waiting and time.monotonic() > deadline + self._import_allowance():
                name = sorted(waiting)[0]
                raise Failed(
                    "not_started",
                    f"{name} was not ready after {_START_SECONDS:.0f} s: "
                    f"{_last_line(self.root / name)}",
                    party=name,
                    stage="start",
                    next_step="run `assent doctor`",
                )
            time.sleep(0.1)

    def _import_allowance(self) -> float:
        """Large tables take longer to load; a second per 20 MB over all of them."""
        return sum(p.table.stat().st_size for p in self.federation.parties.values()) / 20e6

    def stop(self) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGTERM)
        deadline = time.monotonic() + 10
        for child in self._children.values():
            try:
                child.wait(max(0.1, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
            if child.stdin is not None:
                child.stdin.close()
        self._children.clear()
        if not self._kept:
            shutil.rmtree(self.root, ignore_errors=True)


def _skeleton(job: JobSpec) -> dict[str, Any]:
    return {
        "job": job.name,
        "status": "failed",
        "requester": job.requester,
        "with": list(job.providers),
    }


def _error(error: AssentError) -> dict[str, Any]:
    info = error.info
    return {
        "code": info.code,
        "party": info.party,
        "stage": info.stage,
        "cause": info.cause,
        "next_step": info.next_step,
        "retryable": info.retryable,
    }


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _fresh(folder: Path) -> Path:
    """`folder`, without what an earlier run with the same --keep left in it."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    return folder


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def _last_line(folder: Path) -> str:
    try:
        lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1] if lines else "empty log"
