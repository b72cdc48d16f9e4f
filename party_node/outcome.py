"""result.json's object at the requester's node, its signature, and what sealed errors say.

Who runs it: the requester's node (results), every node (errors).  contracts.md.
Learns: the coordinator of a failed step its code, party and stage; the words are sealed to
the requester, because they may name attributes, labels or counts.
"""

from __future__ import annotations

import base64
import hmac
import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from catalog.job import JobSpec
from party_node.titles import offered_titles
from protocol import identity
from protocol.crosstab.spec import CrosstabSpec
from protocol.encoding import length_prefixed
from protocol.errors import ErrorInfo, ProtocolViolation
from protocol.release import after
from protocol.release.noise import epsilon
from protocol.release.rules import ReleasedTable

if TYPE_CHECKING:
    from party_node.session import Session  # a command that asks a node needs none of it

SEALED = "sealed:"
_BEFORE = {
    "unknown_party": (
        "the requester's card is not in this company's collaboration.yaml",
        "exchange cards with that company, then run the job again",
    )
}
_UNSAID = ("its node did not accept the proposal", "the reason is in that company's own log")


def crosstab_result(session: Session, spec: CrosstabSpec, table: ReleasedTable) -> dict[str, Any]:
    """The released part of result.json."""
    found: dict[str, Any] = base(session)
    if spec.has_table:
        found["cells"] = [with_requested(cell, session) for cell in table.cells]
        found |= _after(session, table)
    found["overlap"] = table.overlap
    found["privacy"] = privacy(session, table.sigmas, table.warnings)
    found["cost"] = {
        "ciphertexts": (spec.handles_a + spec.handles_b) * spec.ciphertexts_per_row,
        "outputs": spec.output_ciphertexts,
    }
    return found


def _after(session: Session, table: ReleasedTable) -> dict[str, Any]:
    """Stages and flow that the job asks for, from the released cells."""
    then, spec = session.spec.then, session.spec
    if then is None or not then.highest:
        return {}
    now = then.now or (*spec.rows, *spec.columns)
    found: dict[str, Any] = {"stages": after.stages(table.cells, now, then.highest)}
    if then.before:
        found["flow"] = after.flow(table.cells, then.before, then.now, then.highest)
    return found


def sum_result(
    session: Session, sigmas: Mapping[str, float], released: Mapping[str, Any], rounds: int
) -> dict[str, Any]:
    """A job over secure sums: what its model released, and under which noise."""
    said = {"privacy": privacy(session, sigmas), "cost": {"rounds": rounds}}
    return base(session) | dict(released) | said


def members_result(session: Session, matched: int) -> dict[str, Any]:
    """A `members` job: the requester knows its own common rows, so the count is exact."""
    warning = "members: each party learned which of its own rows are common"
    return base(session) | {
        "overlap": known_overlap(session, matched),
        "privacy": privacy(session, warnings=[warning], noisy=False),
    }


def privacy(
    session: Session,
    sigmas: Mapping[str, float] | None = None,
    warnings: Sequence[str] = (),
    *,
    noisy: bool | None = None,
) -> dict[str, Any]:
    """result.json's `privacy`.  noisy: None: as the job asks for."""
    job = session.spec
    noisy = job.noise if noisy is None else noisy
    return {
        "noise": "discrete_gaussian" if noisy else "off",
        "rho": job.rho_nano / 1e9 if noisy else None,
        "epsilon": epsilon(job.rho_nano) if noisy else None,
        "sigmas": dict(sigmas or {}),
        "min_cohort": session.min_cohort,
        "attempts": session.attempt,
        "warnings": list(warnings),
    }


def known_overlap(session: Session, matched: int) -> dict[str, Any]:
    """How many people are in common, where each party knows that of its own rows."""
    shown = matched >= session.min_cohort or session.min_cohort == 1
    return {
        "count": matched if shown else None,
        "withheld": None if shown else "below_min_cohort",
    }


def exact_result(session: Session, released: Mapping[str, Any], rounds: int) -> dict[str, Any]:
    """An exact k-means over the same people, what the release rules let through."""
    warning = "exact: each party learned which of its own rows are common, and their segments"
    said = {
        "privacy": privacy(session, warnings=[warning], noisy=False),
        "cost": {"rounds": rounds},
    }
    return base(session) | dict(released) | said


def base(session: Session) -> dict[str, Any]:
    """The keys that every released result has."""
    found = asked(session.spec) | {
        "status": "released",
        "audit": session.ctx.records.record(session.job_id).get("audit")
        or {"log": None, "index": None, "checkpoint": None},
    }
    titles = offered_titles(session)
    return found | ({"titles": titles} if titles else {})


def asked(job: JobSpec) -> dict[str, Any]:
    """The keys that every result has, however the job ended."""
    found: dict[str, Any] = {
        "job": job.name,
        "status": "failed",
        "requester": job.requester,
        "with": list(job.providers),
    }
    if job.model is not None:
        return found  # nobody is matched
    return found | {
        "match": {"on": list(job.match.on), "mode": job.match.mode, "reveal": job.match.reveal},
    }


def with_own(result: dict[str, Any], party: str, own: Mapping[str, Any]) -> None:
    """Adds `party`'s own counts from its record; they are shown to that party only.

    The sandbox, which plays everybody, adds those of all.
    """
    if "consent" in own:
        result.setdefault("consent", {})[party] = own["consent"]
    for key in ("ambiguous", "unparsable"):
        if key in own:
            result["match"].setdefault(key, {})[party] = own[key]
    if "bytes" in own:
        result.setdefault("cost", {}).setdefault("bytes", {})[party] = own["bytes"]
    if "segment_tags" in own:
        result.setdefault("segment_tags", {})[party] = own["segment_tags"]
    for name, said in own.get("titles", {}).items():
        result.setdefault("titles", {})[f"{party}/{name}"] = said
    if "remaining_rho" in own:
        remaining = result.setdefault("privacy", {}).setdefault("remaining_rho", {})
        remaining[party] = own["remaining_rho"]


def with_requested(cell: dict[str, Any], session: Session) -> dict[str, Any]:
    """Sums and means that the job asked for, no others (both come from one measured sum)."""
    asked = {f"{m.kind}:{m.attribute}" for m in session.spec.measures if m.attribute}
    return {
        key: value
        for key, value in cell.items()
        if not key.startswith(("sum:", "mean:")) or key in asked
    }


def sign_result(session: Session, result: dict[str, Any]) -> bytes:
    """Keeps the requester's signature over what left the gate; returns a hiding commitment.

    The commitment, HMAC(r, result) with fresh r, is all that leaves: which cells passed the
    rules says something about the requester's own people.
    """
    text = json.dumps(result, ensure_ascii=False, sort_keys=True).encode()
    r = session.ctx.random(32)
    commitment = hmac.digest(r, text, "sha256")
    message = length_prefixed("assent/released/v1", session.job_hash, commitment)
    signature = identity.sign(session.ctx.keys.signing, message)
    kept = {
        "job_hash": session.job_hash.hex(),
        "r": base64.b64encode(r).decode(),
        "commitment": commitment.hex(),
        "signature": base64.b64encode(signature).decode(),
    }
    session.ctx.records.put(session.job_id, "signed", kept)
    return commitment


def seal_error(info: ErrorInfo, job: str, requester_key: bytes | None) -> ErrorInfo:
    """`info` as it may pass the coordinator: code, party and stage in clear, words sealed."""
    if requester_key is None:
        # Before a proposal is accepted there is nobody to seal to, and nothing to give away.
        cause, next_step = _BEFORE.get(info.code, _UNSAID)
        return ErrorInfo(info.code, cause, info.party, info.stage, next_step)
    words = json.dumps([info.cause, info.next_step], ensure_ascii=False).encode()
    sealed = identity.seal(requester_key, words, _error_info(job, info))
    cause = SEALED + base64.b64encode(sealed).decode()
    return ErrorInfo(info.code, cause, info.party, info.stage)


def open_error(keys: identity.Keys, job: str, info: ErrorInfo) -> ErrorInfo:
    """The words of a sealed error, at the requester; unsealed ones come back as they are."""
    if not info.cause.startswith(SEALED):
        return info
    try:
        sealed = base64.b64decode(info.cause.removeprefix(SEALED), validate=True)
        cause, next_step = json.loads(identity.unseal(keys.sealing, sealed, _error_info(job, info)))
    except (ValueError, ProtocolViolation):
        # Not ours to open: another party's failure in another party's job.
        return ErrorInfo(info.code, "the words went to the requester only", info.party, info.stage)
    return ErrorInfo(info.code, str(cause), info.party, info.stage, str(next_step))


def _error_info(job: str, info: ErrorInfo) -> bytes:
    return length_prefixed("assent/error/v1", job, info.code, info.party, info.stage)
