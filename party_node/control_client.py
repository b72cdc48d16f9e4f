"""The owner's side of a node's Unix socket: what the command line and the sandbox call.

Who runs it: the analyst's or data owner's own process, on the node's machine.  The
socket is 0600: whoever opens it is the party.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc

from party_node.outcome import with_own
from protocol.encoding import canonical_json
from protocol.errors import AssentError, BadInput, ErrorInfo, Failed, from_info
from protocol.wire import node_pb2 as pb
from protocol.wire import node_pb2_grpc

ENDED = ("released", "refused", "failed")
UNREACHABLE = "unreachable"  # the coordinator, for the node
_PIECE = 1 << 20
_LONGEST_PATH = 100  # sun_path holds 108 bytes


def socket_path(folder: Path) -> Path:
    """Where the node with data folder `folder` listens: in it, or, when that path is longer
    than a socket address may be, in a private folder of this user's."""
    direct = folder.resolve() / "node.sock"
    if len(os.fsencode(direct)) <= _LONGEST_PATH:
        return direct
    name = hashlib.sha256(os.fsencode(direct)).hexdigest()[:16]
    mine = Path(tempfile.gettempdir()) / f"assent-{os.getuid()}"
    if len(os.fsencode(mine / f"{name}.sock")) > _LONGEST_PATH:
        mine = Path("/tmp") / mine.name  # noqa: S108 - ours alone, or `_own_folder` refuses it
    return _own_folder(mine) / f"{name}.sock"


def _own_folder(folder: Path) -> Path:
    """`folder`, if there is one, is this user's alone: whoever owns it could put another
    node's socket there."""
    try:
        status = folder.lstat()
    except FileNotFoundError:
        return folder
    if status.st_uid != os.getuid() or status.st_mode & 0o077 or not stat.S_ISDIR(status.st_mode):
        raise BadInput(
            f"{folder}: is not a folder of this user alone",
            next_step="remove it, or use a data folder with a shorter path",
        )
    return folder


class NodeClient:
    """Blocking calls; every failure is an AssentError with the node's own words."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        path = socket_path(folder)
        self._channel = grpc.secure_channel(
            f"unix:{path}",
            grpc.local_channel_credentials(grpc.LocalConnectionType.UDS),
            options=[("grpc.enable_http_proxy", 0), ("grpc.max_receive_message_length", 64 << 20)],
        )
        self._stub: Any = node_pb2_grpc.NodeStub(self._channel)  # type: ignore[no-untyped-call]

    def close(self) -> None:
        self._channel.close()

    def submit(self, job: dict[str, Any], *, dry_run: bool = False) -> str:
        request = pb.NodeJobRequest(job=canonical_json(job), dry_run=dry_run)
        with self._words():
            return str(self._stub.SubmitJob(request, timeout=60).job_id)

    def watch(self, job_id: str, since: int, wait: float = 20.0) -> pb.NodeJobView:
        request = pb.NodeWatchRequest(job_id=job_id, since_version=since, wait_seconds=wait)
        with self._words():
            view: pb.NodeJobView = self._stub.WatchJob(request, timeout=wait + 30)
        return view

    def follow(
        self,
        job_id: str,
        *,
        patience: float = 3600.0,
        wait: float = 20.0,
        meanwhile: Callable[[], None] = lambda: None,
    ) -> Iterator[pb.NodeJobView]:
        """Every state of the job until its end.

        While the coordinator does not answer, state is "unreachable"; raises Failed after
        `patience` seconds of that.  meanwhile: called at least every `wait` seconds.
        """
        version, lost = 0, None
        while True:
            meanwhile()
            view = self.watch(job_id, version, wait)
            if view.state == UNREACHABLE:
                if lost is None:
                    lost = time.monotonic()
                    yield view
                elif time.monotonic() - lost > patience:
                    raise Failed(
                        "unavailable",
                        f"the coordinator has not answered for {patience:.0f} s",
                        next_step="`assent doctor` shows where the path to it is broken; the job "
                        "goes on when it is back",
                    )
            elif view.version > version or lost is not None:
                version, lost = view.version, None
                yield view
            if view.state in ENDED:
                return

    def result(self, job_id: str, view: pb.NodeJobView | None = None) -> dict[str, Any] | None:
        """result.json's object of a job that has ended, None while it has not.

        view: its last state, if it is at hand.
        """
        record = self.record(job_id)
        found: dict[str, Any] | None = record.get("result")
        if found is not None and view is None and not self._released(job_id):
            # This party's part was done; another one's is not, or failed afterwards.
            view = self.watch(job_id, 0, 0.0)
        if found is None or (view is not None and view.state != "released"):
            view = view or self.watch(job_id, 0, 0.0)
            if view.state not in ("refused", "failed") or "asked" not in record:
                return None
            ended = {"status": view.state, "error": json.loads(view.error or "null")}
            found = record["asked"] | ended
        with_own(found, str(self.status()["party"]), record["own"])
        return found

    def _released(self, job_id: str) -> bool:
        """As the node has heard it; of old jobs, which it no longer lists, only the result is."""
        states = {job.job_id: job.state for job in self.jobs()}
        return states.get(job_id, "released") == "released"

    def record(self, job_id: str) -> dict[str, Any]:
        with self._words():
            reply = self._stub.JobRecord(pb.NodeJobId(job_id=job_id), timeout=60)
        loaded: dict[str, Any] = json.loads(reply.record)
        return loaded

    def jobs(self) -> list[pb.NodeJobSummary]:
        with self._words():
            return list(self._stub.ListJobs(pb.NodeListRequest(), timeout=30).jobs)

    def cancel(self, job_id: str) -> str:
        with self._words():
            return str(self._stub.CancelJob(pb.NodeJobId(job_id=job_id), timeout=30).message)

    def approve(self, job_id: str, approve: bool, reason: str = "") -> str:
        request = pb.NodeApproval(job_id=job_id, approve=approve, reason=reason)
        with self._words():
            return str(self._stub.Approve(request, timeout=30).message)

    def consent(self, **fields: str) -> str:
        with self._words():
            return str(self._stub.RecordConsent(pb.NodeConsent(**fields), timeout=60).message)

    def import_consents(self, file: Path) -> Iterator[pb.NodeImportProgress]:
        """Sends a file of consents; every answer, the last with the report as JSON."""

        def pieces() -> Iterator[pb.NodeConsentFile]:
            yield pb.NodeConsentFile(name=file.name)
            with file.open("rb") as source:
                while data := source.read(_PIECE):
                    yield pb.NodeConsentFile(data=data)

        with self._words():
            yield from self._stub.ImportConsents(pieces())

    def subject(self, id_type: str, identifier: str) -> str:
        """The pseudonym of an identifier in today's log, `s1.…`."""
        request = pb.NodeSubject(id_type=id_type, identifier=identifier)
        with self._words():
            return str(self._stub.Subject(request, timeout=30).message)

    def rights(self) -> list[dict[str, Any]]:
        """What people asked this party for, unanswered ones first."""
        with self._words():
            reply = self._stub.ListRights(pb.NodeListRequest(), timeout=30)
        loaded: list[dict[str, Any]] = json.loads(reply.requests)
        return loaded

    def settle(self, id: str, state: str, answer: str) -> str:
        request = pb.NodeRightSettled(id=id, state=state, answer=answer)
        with self._words():
            return str(self._stub.SettleRight(request, timeout=30).message)

    def ingest(self, event: str = "", path: Path | None = None) -> str:
        where = "" if path is None else str(path.absolute())
        with self._words():
            reply = self._stub.Ingest(pb.NodeEvents(event=event, path=where), timeout=3600)
        return str(reply.message)

    def identity(self, id_type: str, identifier: str, decision: str = "") -> list[dict[str, Any]]:
        request = pb.NodeIdentity(id_type=id_type, identifier=identifier, decision=decision)
        return self._list(self._stub.Identity, request)

    def tags(self, verb: str, name: str = "", as_of: str = "") -> list[dict[str, Any]]:
        """verb: run, history or lineage."""
        return self._list(self._stub.Tags, pb.NodeTagsRequest(verb=verb, name=name, as_of=as_of))

    def _list(self, call: Any, request: Any) -> list[dict[str, Any]]:
        with self._words():
            reply = call(request, timeout=3600)
        found: list[dict[str, Any]] = json.loads(reply.answer)
        return found

    def status(self, timeout: float = 10.0) -> dict[str, Any]:
        with self._words():
            reply = self._stub.Status(pb.NodeStatusRequest(), timeout=timeout)
        loaded: dict[str, Any] = json.loads(reply.status)
        return loaded

    def ready(self, seconds: float) -> dict[str, Any]:
        """The node's status once it is ready.  Raises Failed when that takes too long."""
        deadline = time.monotonic() + seconds
        while True:
            state = "it does not run yet"
            try:
                status = self.status(timeout=max(0.1, min(10.0, seconds)))
            except BadInput:
                pass  # it opens its socket after reading the table
            else:
                if status.get("ready"):
                    return status
                state = str(status.get("doing"))
            if time.monotonic() > deadline:
                raise Failed(
                    "not_ready",
                    f"the node in {self._folder} is not ready after {seconds:g} s: {state}",
                    next_step="read the words that `assent node run` prints there",
                )
            time.sleep(0.2)

    @contextmanager
    def _words(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise _in_words(error, self._folder) from error


def _in_words(error: grpc.RpcError, folder: Path) -> AssentError:
    details = error.details() or ""
    if error.code() == grpc.StatusCode.UNAVAILABLE:
        return BadInput(
            f"{folder}: no node is running with this data folder",
            next_step="start it with `assent node run`, or name its folder with --node",
        )
    try:
        fields = json.loads(details)
        info = ErrorInfo(**fields["info"])
        return from_info(info, fields["status"])
    except (ValueError, TypeError, KeyError):
        return Failed("node_error", f"the node answered {error.code().name}: {details}")
