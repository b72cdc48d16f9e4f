"""What a party states about a job, signed: admitted, closed, refused.

Who runs it: a node makes statements, the auditor and the party's pages read them.  Pure.
Learns: who holds a body learns one party's counts, rules and times of one job; no identifier,
token, tag or measure is in it.  consent.md, "Job records and who used my data".

A statement is the body of an entry of the job log.  It is signed by itself as well, because
the log's operator could otherwise put words into a party's mouth.  Times are milliseconds
since 1970, rho is in 1e-9.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Mapping
from dataclasses import dataclass

from consent.checkpoint import decode64
from consent.errors import ProofError
from consent.leaf import JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED, read_body
from consent.port import JobEvent
from protocol import identity
from protocol.encoding import canonical_json, length_prefixed
from protocol.errors import ProtocolViolation
from protocol.secret import Secret

SCHEMA = "assent.job/1"
_CONTEXT = "assent/job-record/v1"
_COMMON = {"attempt", "id", "job", "party", "schema", "signature", "time", "type"}
FIELDS: Mapping[str, frozenset[str]] = {
    JOB_ADMITTED: frozenset({
        "budget_before", "categories", "code_version", "consent", "eligible", "eligible_set",
        "excluded", "job_hash", "noise", "parties", "policy", "protocol", "purpose", "requester",
        "rho", "rows", "thresholds",
    }),
    JOB_CLOSED: frozenset({
        "budget_after", "code", "eligible_set", "job_hash", "outcome", "output", "overlap",
        "rechecked", "recipient", "stages", "withdrawn_during_job",
    }),
    JOB_REFUSED: frozenset({"code", "purpose", "requester", "stage"}),
}  # fmt: skip


@dataclass(frozen=True)
class Statement:
    """A verified statement.  fields: those of `FIELDS` for its type."""

    type: str
    party: str
    job: str
    attempt: int
    time: int
    fields: Mapping[str, object]


def statement_id(storage: Secret, job: str, attempt: int, type: str) -> bytes:
    """16 bytes: the same statement after a crash is the same event, and nobody else's."""
    message = length_prefixed("assent/job-record-id/v1", job, str(attempt), type)
    return hmac.digest(storage.reveal(), message, "sha256")[:16]


def statement(
    type: str,
    id: bytes,
    party: str,
    job: str,
    attempt: int,
    time: int,
    fields: Mapping[str, object],
    signing: Secret,
) -> JobEvent:
    """An event for the job log.  fields: exactly those of `FIELDS[type]`."""
    if set(fields) != FIELDS[type]:
        raise ValueError(f"other fields than a {type} statement has")
    said: dict[str, object] = {
        **fields,
        "attempt": attempt,
        "id": id.hex(),
        "job": job,
        "party": party,
        "schema": SCHEMA,
        "time": time,
        "type": type,
    }
    signature = identity.sign(signing, _message(said))
    return JobEvent(
        type, id, canonical_json(said | {"signature": base64.b64encode(signature).decode()})
    )


def read_statement(type: str, body: bytes, signing_key: bytes) -> Statement:
    """The statement that `body` is; raises ProofError unless it is one, signed by the key."""
    return parse_statement(type, read_body(body), signing_key)


def parse_statement(type: str, body: Mapping[str, object], signing_key: bytes | None) -> Statement:
    """As `read_statement`, of a body's fields.  signing_key: None leaves the signature unread."""
    said = dict(body)
    if type not in FIELDS or set(said) != FIELDS[type] | _COMMON:
        raise ProofError("a statement about a job has other fields than its type")
    if said["schema"] != SCHEMA or said["type"] != type:
        raise ProofError("a statement about a job is of another type than its entry")
    signature = said.pop("signature")
    party, job, attempt, time = (said[key] for key in ("party", "job", "attempt", "time"))
    if not (
        isinstance(signature, str)
        and isinstance(party, str)
        and isinstance(job, str)
        and _number(attempt)
        and _number(time)
    ):
        raise ProofError("a field of a statement about a job is of the wrong kind")
    try:
        raw = decode64(signature)  # in its one spelling: no byte of a statement is free
        if signing_key is not None:
            identity.verify(signing_key, _message(said), raw, "a statement about a job")
    except ProtocolViolation as error:
        raise ProofError("a statement about a job is not signed by its party") from error
    assert isinstance(attempt, int)
    assert isinstance(time, int)
    fields = {key: said[key] for key in FIELDS[type]}
    return Statement(type, party, job, attempt, time, fields)


def _number(value: object) -> bool:
    return type(value) is int and value >= 0


def _message(said: Mapping[str, object]) -> bytes:
    return length_prefixed(_CONTEXT, canonical_json(dict(said)))
