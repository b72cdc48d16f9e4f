"""What an audit asks of the job log: signatures, order, freshness, one story for all parties.

Who runs it: the auditor's verifier, over one bundle.  Pure.
Learns: what the openings in the bundle say.

In the order of the code, for every statement: it is signed by its party; it is said once;
`admitted` was decided on a consent log that the bundle knows, young enough, with budget left,
and came into the log soon; `closed` follows an `admitted`, about the same rows, with no stage
before it, and with a look at consents shortly before a result was opened.  At the end, over the
parties of a job: one job hash and terms, everybody's admission, an end.
"""

from __future__ import annotations

import calendar
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from consent.errors import ProofError
from consent.findings import Finding
from consent.job_record import Statement, parse_statement
from consent.leaf import JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED, Leaf, read_body
from consent.policy import CheckedCheckpoint

JOB_SECONDS = 24 * 3600  # a job ends within a day (architecture.md, the job engine)
AHEAD_SECONDS = 30
LATE_SECONDS = 900 + 120  # the largest freshness window, and the minute to which leaves round
OPENING_SECONDS = 120  # a stage's time is that of its end; opening a large table takes a while
_BEFORE_ADMISSION = ("offer", "plan")
_OPENED = "open"
_TERMS = ("noise", "parties", "protocol", "purpose", "requester", "rho")
_STATEMENTS = (JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED)
Key = tuple[str, str, int]  # party, job, attempt


@dataclass(frozen=True)
class _Seen:
    log: str
    index: int
    said: Statement


class JobRule:
    """signers: party → Ed25519 key of its card; empty leaves signatures unchecked."""

    def __init__(self, signers: Mapping[str, bytes]) -> None:
        self._signers = signers
        self._seen: dict[tuple[str, Key], _Seen] = {}
        self._heads: dict[tuple[str, int], CheckedCheckpoint] = {}
        self._sizes: dict[str, int] = {}
        self._closed: set[str] = set()  # parties of which some statement is not opened
        self._newest = 0

    def see(self, log: str, index: int, leaf: Leaf, body: bytes | None) -> Iterable[Finding]:
        if leaf.type not in _STATEMENTS:
            return
        self._newest = max(self._newest, _seconds(leaf.time))
        if body is None:
            self._closed.add(leaf.party)
            return
        try:
            said = self._read(leaf, body)
        except ProofError as error:
            yield Finding("bad_statement", log, {"index": index, "cause": error.info.cause})
            return
        key = (leaf.type, (said.party, said.job, said.attempt))
        one = _Seen(log, index, said)
        if key in self._seen:
            yield _finding("statement_twice", one)
            return
        self._seen[key] = one
        if leaf.type == JOB_ADMITTED:
            late = _seconds(leaf.time) - said.time // 1000
            if late > LATE_SECONDS:
                yield _finding("logged_late", one, late=late)

    def _read(self, leaf: Leaf, body: bytes) -> Statement:
        signer = self._signers.get(leaf.party)
        if self._signers and signer is None:
            raise ProofError("its party has no card in the collaboration")
        said = parse_statement(leaf.type, read_body(body), signer)
        if said.party != leaf.party:
            raise ProofError("it speaks for another party than its entry")
        return said

    def checkpoint(self, log: str, checked: CheckedCheckpoint) -> Iterable[Finding]:
        head = checked.checkpoint
        self._heads[log, head.size] = checked
        self._sizes[log] = max(head.size, self._sizes.get(log, 0))
        return ()

    def finish(self) -> Iterable[Finding]:
        for (type, key), one in self._seen.items():
            if type == JOB_ADMITTED:
                yield from self._admitted(one)
                if (JOB_CLOSED, key) not in self._seen and (
                    self._newest - one.said.time // 1000 > JOB_SECONDS + LATE_SECONDS
                ):
                    yield _finding("never_closed", one)
            elif type == JOB_CLOSED:
                yield from self._ended(one, self._seen.get((JOB_ADMITTED, key)))
        yield from self._parties()

    def _admitted(self, one: _Seen) -> Iterator[Finding]:
        fields = one.said.fields
        consent, thresholds = _object(fields["consent"]), _object(fields["thresholds"])
        window, quorum = thresholds.get("window"), consent.get("quorum_time")
        if type(window) is not int or type(quorum) is not int:
            cause = "it does not say by which consents it was decided"
            yield Finding("bad_statement", one.log, {"index": one.index, "cause": cause})
            return
        age = one.said.time // 1000 - quorum
        if not -AHEAD_SECONDS <= age <= window + 1:
            yield _finding("stale_admission", one, age=age, window=window)
        origin, size, root = (consent.get(key) for key in ("origin", "size", "root"))
        if isinstance(origin, str) and type(size) is int and origin in self._sizes:
            known = self._heads.get((origin, size))
            root_of = known.checkpoint.root.hex() if known else None
            if size <= self._sizes[origin] and root_of != root:
                yield _finding("consent_head_differs", one, size=size)
            elif known and known.quorum_time is not None and quorum > known.quorum_time:
                # Its own words against the cosignatures; those in the bundle are the newest.
                yield _finding("quorum_overstated", one, ahead=quorum - known.quorum_time)
        before, rho = fields["budget_before"], fields["rho"]
        if type(before) is int and type(rho) is int and before < rho:
            yield _finding("budget_overspent", one)

    def _ended(self, one: _Seen, admitted: _Seen | None) -> Iterator[Finding]:
        if admitted is None:
            yield _finding("closed_unadmitted", one)
            return
        if one.said.fields["eligible_set"] != admitted.said.fields["eligible_set"]:
            yield _finding("eligible_set_differs", one)
        stages = one.said.fields["stages"]
        for stage, at in stages if isinstance(stages, list) else []:
            if stage not in _BEFORE_ADMISSION and at < admitted.said.time:
                yield _finding("stage_before_admission", one, stage=str(stage))
            if stage == _OPENED and one.said.fields["outcome"] == "released":
                yield from self._looked(one, admitted, at)

    def _looked(self, one: _Seen, admitted: _Seen, opened: int) -> Iterator[Finding]:
        """A result is opened soon after the last look at consents, or not at all."""
        window = _object(admitted.said.fields["thresholds"]).get("window")
        looked = one.said.fields["rechecked"]
        if type(window) is int and not (
            type(looked) is int
            and admitted.said.time <= looked <= opened
            and opened - looked <= (window + OPENING_SECONDS) * 1000
        ):
            yield _finding("late_release", one, window=window)

    def _parties(self) -> Iterator[Finding]:
        """One job for all who admitted it; all of a released one's parties have."""
        jobs: dict[tuple[str, int], list[_Seen]] = {}
        for (type, (_, job, attempt)), one in self._seen.items():
            if type == JOB_ADMITTED:
                jobs.setdefault((job, attempt), []).append(one)
        for (job, attempt), found in jobs.items():
            first, names = found[0], {one.said.party for one in found}
            for one in found[1:]:
                if one.said.fields["job_hash"] != first.said.fields["job_hash"]:
                    yield _finding("job_hash_differs", one, other=first.said.party)
                for term in _terms_that_differ(one.said, first.said):
                    yield _finding("terms_differ", one, other=first.said.party, term=term)
            ends = [self._seen.get((JOB_CLOSED, (name, job, attempt))) for name in names]
            if not any(end and end.said.fields["outcome"] == "released" for end in ends):
                continue
            parties = first.said.fields["parties"]
            for party in parties if isinstance(parties, list) else []:
                if party not in names and party not in self._closed:
                    values: dict[str, int | str] = {"party": str(party), "job": job}
                    yield Finding("admission_missing", first.log, values)


def _finding(code: str, one: _Seen, **values: int | str) -> Finding:
    said: dict[str, int | str] = {
        "index": one.index, "party": one.said.party, "job": one.said.job,
    }  # fmt: skip
    return Finding(code, one.log, said | values)


def _terms_that_differ(one: Statement, other: Statement) -> Iterator[str]:
    for term in _TERMS:
        if one.fields[term] != other.fields[term]:
            yield term
    cohorts = [_object(said.fields["thresholds"]).get("min_cohort") for said in (one, other)]
    if cohorts[0] != cohorts[1]:
        yield "min_cohort"


def _object(value: object) -> Mapping[str, object]:
    return value if isinstance(value, dict) else {}


def _seconds(minute: str) -> int:
    return calendar.timegm(time.strptime(minute, "%Y-%m-%dT%H:%M:%SZ"))
