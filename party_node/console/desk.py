"""What the party's own pages show: its logs, its job register, what left, an audit on demand.

Who runs it: every node, for its owner's browser on the same machine.
Learns: the party, its own records; nothing is sent anywhere but the question for its bundle.
consent.md, "Job records and who used my data".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from consent.checkpoint import parse_checkpoint
from consent.errors import NoteError
from consent.leaf import JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED
from consent.note import parse_note
from consent.policy import CheckedCheckpoint
from consent.trust import party_of
from consent.witness import Evidence
from protocol.errors import AssentError

Said = Mapping[str, Any]
Where = Mapping[str, Any] | None


class Gate(Protocol):
    """What the pages need of `party_node.consent_gate.NodeGate`."""

    def require_fresh(self, now: float) -> CheckedCheckpoint: ...

    def age(self) -> float | None: ...

    def log_state(self) -> dict[str, Any]: ...


class JobLog(Protocol):
    """Of `party_node.job_log.JobLog`."""

    def statements(self) -> list[tuple[dict[str, Any], dict[str, Any] | None]]: ...


class Records(Protocol):
    """Of `party_node.records.Records`."""

    def jobs(self) -> list[dict[str, Any]]: ...


class Witness(Protocol):
    """Of `consent.witness.Witness`."""

    def heads(self) -> list[str]: ...

    def evidence(self) -> list[Evidence]: ...


@dataclass(frozen=True)
class LogView:
    """A log that this node cosigns.  party: whose consents it holds, "" for the job log."""

    origin: str
    party: str
    size: int
    root: str


@dataclass(frozen=True)
class Standing:
    """Whether the copy of the consent log may decide now.

    code: why not, "" when it may.  age: seconds since a quorum saw it.  witnesses: who
    cosigned when, POSIX seconds; empty while it may not decide.
    """

    code: str
    age: float | None
    size: int | None
    witnesses: tuple[tuple[str, int], ...]


@dataclass(frozen=True)
class LogStatus:
    """contradictions: pairs of notes of a log that do not fit together, kept as evidence."""

    standing: Standing
    logs: tuple[LogView, ...]
    contradictions: tuple[Evidence, ...]
    in_copy: int  # contradictions that the consent copy itself met
    waiting: int  # statements about jobs that the ledger has not got yet


@dataclass(frozen=True)
class JobRow:
    """One job of the register.

    admitted, closed, refused: what this party stated, of the last attempt; None where it did
    not.  places: index in the job log by type of statement, None while it waits.
    """

    job: str
    name: str
    attempts: int
    admitted: Said | None
    closed: Said | None
    refused: Said | None
    places: Mapping[str, int | None]

    @property
    def last(self) -> Said:
        said = self.closed or self.refused or self.admitted
        assert said is not None
        return said

    @property
    def outcome(self) -> str:
        if self.closed is not None:
            return str(self.closed["outcome"])
        return "refused" if self.refused is not None else "running"

    @property
    def released(self) -> bool:
        return self.outcome == "released"


class ConsoleDesk:
    """Blocking; safe from several threads."""

    def __init__(
        self,
        party: str,
        gate: Gate,
        job_log: JobLog,
        records: Records,
        witness: Witness,
        now: Callable[[], float],
    ) -> None:
        self.party = party
        self._gate, self._job_log, self._records = gate, job_log, records
        self._witness, self._now = witness, now

    def logs(self) -> LogStatus:
        return LogStatus(
            self._standing(),
            tuple(sorted(self._heads(), key=lambda one: (one.party != self.party, one.party))),
            tuple(self._witness.evidence()),
            int(self._gate.log_state()["evidence"]),
            sum(where is None for _, where in self._job_log.statements()),
        )

    def _standing(self) -> Standing:
        age = self._gate.age()
        try:
            checked = self._gate.require_fresh(self._now())
        except AssentError as error:
            return Standing(error.info.code, age, None, ())
        return Standing("", age, checked.checkpoint.size, tuple(sorted(checked.times.items())))

    def _heads(self) -> list[LogView]:
        found = []
        for note in self._witness.heads():
            try:
                head = parse_checkpoint(parse_note(note).text)
            except NoteError:
                continue  # a damaged file of the witness is its own alarm
            party = party_of(head.origin)
            if party is not None:
                found.append(LogView(head.origin, party, head.size, head.root.hex()))
        return found

    def jobs(self) -> list[JobRow]:
        """Newest first, by the first thing that this party said of the job."""
        names = {row["job"]: row["name"] for row in self._records.jobs()}
        told: dict[str, list[tuple[Said, Where]]] = {}
        for said, where in self._job_log.statements():
            told.setdefault(said["job"], []).append((said, where))
        return [_row(job, names.get(job, ""), found) for job, found in reversed(told.items())]

    def releases(self) -> list[JobRow]:
        """Jobs of which an output left for its recipient."""
        return [row for row in self.jobs() if row.released]


def _row(job: str, name: str, told: list[tuple[Said, Where]]) -> JobRow:
    last: dict[str, tuple[Said, Where]] = {}
    for said, where in told:
        kept = last.get(said["type"])
        if kept is None or said["attempt"] >= kept[0]["attempt"]:
            last[said["type"]] = (said, where)
    return JobRow(
        job=job,
        name=name,
        attempts=max(said["attempt"] for said, _ in told),
        admitted=_said(last, JOB_ADMITTED),
        closed=_said(last, JOB_CLOSED),
        refused=_said(last, JOB_REFUSED),
        places={kind: where["index"] if where else None for kind, (_, where) in last.items()},
    )


def _said(last: Mapping[str, tuple[Said, Where]], kind: str) -> Said | None:
    found = last.get(kind)
    return found[0] if found else None
