"""A whole federation on one machine: real processes, real sockets, mTLS, one folder each.

Who runs it: whoever tries Assent, the demo and the journey tests.  It checks every file
first, writes the files that companies exchange, starts the same commands that companies
run, submits the job through the requester's node, collects what each party stored of its
own and stops everything.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, TextIO

from assent.lifeline import VARIABLE
from assent.progress import Progress
from assent.report_command import check_language, write
from assent.results import check_target, exit_code, write_results, write_text
from catalog.collaboration import Collaboration, Endpoint, dump_collaboration
from catalog.federation import Federation, dump_party, load_federation
from catalog.job import JobSpec, load_jobs
from party_node.control_client import NodeClient
from party_node.desk import error_fields
from party_node.outcome import asked, with_own
from protocol.errors import AssentError, BadInput, Failed, Refused
from protocol.transport.kit import create_kit

_START_SECONDS = 60.0
_PATIENCE = 60.0  # with a coordinator that does not answer
_LOOK = 2.0  # how often a running job looks whether a process fell
_MARK = ".assent-sandbox"


def run(
    federation_path: Path,
    job_path: Path,
    *,
    out: Path | None = None,
    html: Path | None = None,
    lang: str = "en",
    keep: Path | None = None,
    progress: Progress | None = None,
) -> tuple[int, list[dict[str, Any]]]:
    """Runs every job of `job_path`; returns the exit code of contracts.md and the results.

    Raises BadInput before any process starts when a file is wrong.
    """
    for path in (out, html):
        check_target(path)
    check_language(lang)
    federation, jobs = check(federation_path, job_path)
    progress = progress or Progress.quiet()
    try:
        with Sandbox(federation, keep=keep, progress=progress) as sandbox:
            results = [sandbox.result(job) for job in jobs]
    except Failed as error:  # it did not start; a job's own errors are in its result
        results = [asked(job) | {"error": error_fields(error.info)} for job in jobs]
    if out is not None:
        write_results(out, results)
    if html is not None:
        write(results, html, lang, federation.name)
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


class Sandbox:
    """The running federation; a context manager that stops all it started."""

    def __init__(
        self,
        federation: Federation,
        *,
        keep: Path | None,
        progress: Progress,
        portal: bool = False,
        start_seconds: float = _START_SECONDS,
    ) -> None:
        """keep: a new or empty folder, or that of an earlier run.  Raises BadInput for others.

        portal: the people's pages as well; their codes go into the folder `outbox`.
        start_seconds: how long the nodes may take, beside what their tables' sizes allow.
        """
        self._patience = start_seconds
        self.federation = federation
        self.progress = progress
        self.pages = f"http://{_free_address()}" if portal else ""
        self._kept = keep is not None
        self.root = (keep or Path(tempfile.mkdtemp(prefix="assent-"))).absolute()
        self._claimed = _claim(self.root)
        self._commands: dict[str, list[str]] = {}
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

    def _console(self, party: str) -> str:
        try:
            return (self.root / party / "console.url").read_text("utf-8").strip()
        except OSError:
            return "not served"

    @property
    def outbox(self) -> Path:
        """Where the portal puts its messages instead of sending them."""
        return self.root / "portal" / "outbox"

    def pids(self) -> dict[str, int]:
        """Process ids by name; the bench reads their memory."""
        return {name: child.pid for name, child in self._children.items()}

    def addresses(self) -> list[str]:
        """What a person may want to know of the running federation."""
        servers = [f"{name:12} listens on {address}" for name, address in self._addresses.items()]
        nodes = [
            f"{name:12} has its node in {self.root / name}; its pages: {self._console(name)}"
            for name in self.federation.parties
        ]
        asker = next(iter(self.federation.parties))
        people = [f"people       see their pages at {self.pages}"] if self.pages else []
        return [
            *servers,
            *nodes,
            *people,
            f"ask with: assent job submit JOB.yaml --wait --node {self.root / asker}",
        ]

    def result(self, job: JobSpec) -> dict[str, Any]:
        """Submits `job`, follows it to its end and returns result.json's object."""
        started = time.monotonic()
        node = self.node(job.requester)
        base, job_id = asked(job), ""
        try:
            job_id = node.submit(job.canonical())
            view = None
            for view in node.follow(
                job_id, patience=_PATIENCE, wait=_LOOK, meanwhile=self.check_processes
            ):
                self.progress.show(job.name, view)
            base |= node.result(job_id, view) or {}
        except AssentError as error:
            found = self._fallen() or error  # a process that fell is the better reason
            status = "refused" if isinstance(found, Refused) else "failed"
            base |= {"status": status, "error": error_fields(found.info)}
        finally:
            self.progress.done()
            node.close()
        if job_id:
            self._collect(job, job_id, base)
        base.setdefault("cost", {})["seconds"] = round(time.monotonic() - started, 3)
        return base

    def _collect(self, job: JobSpec, job_id: str, base: dict[str, Any]) -> None:
        """Own counts are each party's own; in the sandbox all of them are shown."""
        for party in job.parties:
            client = self.node(party)
            try:
                with_own(base, party, client.record(job_id)["own"])
            except AssentError:
                continue  # a node that fell is what the job's own error already says
            finally:
                client.close()

    # -- starting and stopping ---------------------------------------------------------

    def _start(self) -> None:
        addresses = {"coordinator": _free_address(), "consent": _free_address()}
        if self.pages:
            addresses["portal"] = _free_address()
        cards = {}
        for name in (*addresses, "auditor", *self.federation.parties):
            folder = _fresh(self.root / name)
            role = "party" if name in self.federation.parties else name
            keys = create_kit(folder / "keys", name, role, address=addresses.get(name, ""))
            cards[name] = keys.card
        collaboration = Collaboration(
            coordinator=Endpoint.of(cards.pop("coordinator")),
            consent=Endpoint.of(cards.pop("consent")),
            auditor=Endpoint.of(cards.pop("auditor")),
            portal=Endpoint.of(cards.pop("portal")) if self.pages else None,
            parties={name: Endpoint.of(card) for name, card in cards.items()},
        )
        shared = self.root / "collaboration.yaml"
        write_text(shared, dump_collaboration(collaboration))
        for name in addresses:
            self._commands[name] = [name, "run", "--collaboration", str(shared), "--sandbox"]
        if self.pages:
            self._commands["portal"] = [
                "portal", "run", "--collaboration", str(shared),
                "--listen", self.pages.removeprefix("http://"), "--outbox", str(self.outbox),
            ]  # fmt: skip
        self._commands["auditor"] = ["audit", "witness", "--collaboration", str(shared)]
        for name, party in self.federation.parties.items():
            file = self.root / name / "party.yaml"
            write_text(file, dump_party(party, self.federation.key_bits))
            self._commands[name] = [
                "node", "run", "--party", str(file), "--collaboration", str(shared), "--sandbox",
            ]  # fmt: skip
        self._addresses = addresses
        self.progress.say("starting " + ", ".join(self._commands))
        for name in self._commands:
            self.start(name)
        self.wait_ready()

    def start(self, name: str) -> None:
        """One process, in its folder; journeys start one again that they killed."""
        folder = self.root / name
        arguments = [
            sys.executable, "-m", "assent", *self._commands[name], "--data", str(folder),
        ]  # fmt: skip
        with (folder / "log.txt").open("ab") as log:
            self._children[name] = subprocess.Popen(  # noqa: S603  our own command
                arguments,
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | {VARIABLE: "1", "PYTHONUNBUFFERED": "1"},
                start_new_session=True,  # Ctrl-C reaches the sandbox, which stops them in order
            )

    def kill(self, name: str) -> None:
        """As a power failure would; `start` starts it again with what is on its disk."""
        child = self._children[name]
        child.kill()
        child.wait()
        if child.stdin is not None:
            child.stdin.close()

    def wait_ready(self) -> None:
        """Until every node says so.  Raises Failed when a process ended or took too long."""
        started, allowed = time.monotonic(), self._patience + self._import_allowance()
        waiting = set(self.federation.parties)
        while waiting:
            self.check_processes()
            for name in sorted(waiting):
                client = self.node(name)
                try:
                    if client.status(timeout=2.0).get("ready"):
                        waiting.discard(name)
                except AssentError:
                    pass  # not listening yet; the limit below speaks for a node that never does
                finally:
                    client.close()
            if waiting and time.monotonic() > started + allowed:
                name = sorted(waiting)[0]
                raise Failed(
                    "not_started",
                    f"{name} was not ready after {allowed:.0f} s: {_last_line(self.root / name)}",
                    party=name,
                    stage="start",
                    next_step="run `assent doctor`",
                )
            time.sleep(0.1)

    def check_processes(self) -> None:
        """Raises Failed when a process ended by itself."""
        if (error := self._fallen()) is not None:
            raise error

    def _fallen(self) -> Failed | None:
        for name, child in self._children.items():
            if child.poll() is not None:
                log = self.root / name / "log.txt"
                fix = f"read {log}" if self._kept else "run it again with --keep and read log.txt"
                return Failed(
                    "process_ended",
                    f"the process of {name} ended: {_last_line(self.root / name)}",
                    party=name,
                    stage="sandbox",
                    next_step=fix,
                )
        return None

    def _import_allowance(self) -> float:
        """Large tables take longer to load, packed ones (Parquet) most; a second per 2 MB."""
        return sum(p.table.stat().st_size for p in self.federation.parties.values()) / 2e6

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
        self._claimed.close()


def _free_address() -> str:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def _claim(folder: Path) -> TextIO:
    """The kept folder, ours until the file that comes back is closed.

    Raises BadInput for a folder that no sandbox made: --keep never deletes a person's files.
    """
    mark = folder / _MARK
    if folder.exists() and not mark.exists():
        if not folder.is_dir():
            raise BadInput(f"{folder}: is not a folder", next_step="name another with --keep")
        if any(folder.iterdir()):
            raise BadInput(
                f"{folder}: holds files that are not of an earlier run",
                next_step="name a new or an empty folder with --keep",
            )
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        held = mark.open("w")
    except OSError as error:
        raise BadInput(
            f"{folder}: cannot be written ({error.strerror})",
            next_step="name another folder with --keep",
        ) from error
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        held.close()
        raise BadInput(
            f"{folder}: another sandbox is running there",
            next_step="stop it, or name another folder with --keep",
        ) from error
    return held


def _fresh(folder: Path) -> Path:
    """`folder`, without what an earlier run with the same --keep left in it."""
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(mode=0o700)
    return folder


def _last_line(folder: Path) -> str:
    try:
        lines = (folder / "log.txt").read_text(errors="replace").strip().splitlines()
    except OSError:
        return "no log"
    return lines[-1] if lines else "empty log"
