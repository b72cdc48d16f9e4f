"""tokens | points → reblind → members: this party's part of matching.

Who runs it: every party.  protocols.md section 1.
Learns: in `hidden` mode nobody at a party learns anything here; in `members` mode each
party learns which of its own rows are common to all.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from party_node import admission
from party_node.exact_rows import matchable
from party_node.outcome import members_result
from party_node.session import Session
from party_node.steps import Incoming, Outgoing
from party_node.steps_terms import accept_key
from protocol.encoding import chunk_ranges
from protocol.errors import Failed, ProtocolViolation
from protocol.psi.codec import membership_rows, points_body, points_head, tokens_head
from protocol.psi.members import matched_rows
from protocol.psi.tokens import HandleTable, assemble
from protocol.wire import job_pb2 as pb
from protocol.wire.psi_pb2 import Points

_CHUNK = 1 << 16


def _prepare(session: Session, task: Incoming) -> tuple[dict[str, int], bytes]:
    handles = session.check_admissions(task.matching("admit"))
    if not session.is_requester:
        accept_key(session, task)
    return handles, session.vault.get("k")


def _keep(session: Session, table: HandleTable) -> None:
    session.vault.put_array("rows_of_handles", table.row_of_handle)


def tokens(session: Session, task: Incoming) -> Outgoing:
    """Keyed mode: one 16-byte token per handle and type, shuffled, dummies and padding inside."""
    handles, k = _prepare(session, task)
    types = list(session.spec.match.on)
    rows = matchable(session.spec, admission.admitted_rows(session))
    prf = session.ctx.prf(k)
    found = (prf.tokens(kind, rows.identifiers[kind]) for kind in types)
    table = assemble(rows, types, found, k, handles[session.ctx.name], session.ctx.random)
    _keep(session, table)
    return Outgoing(tokens_head(table.tokens, len(types)), _chunks(table.tokens))


def points(session: Session, task: Incoming) -> Outgoing:
    """ecdh mode: one blinded point per handle and type, under a scalar of this party and job."""
    handles, k = _prepare(session, task)
    types = list(session.spec.match.on)
    rows = matchable(session.spec, admission.admitted_rows(session))
    curve = session.ctx.curve()
    table = curve.assemble(
        rows, types, k, handles[session.ctx.name], session.vault.get("scalar"), session.ctx.random
    )
    _keep(session, table)
    return Outgoing(points_head(table.tokens, len(types)), _chunks(table.tokens))


def reblind(session: Session, task: Incoming) -> Outgoing:
    """Blinds another party's points once, in the same order; one batch per peer and job."""
    handles = session.check_admissions(task.matching("admit"))
    origin = task.step.split("/")[3]
    types = len(session.spec.match.on)
    batch = points_body(task.framed("points", Points), handles[origin], types)
    once = f"reblinded-{origin}"
    if session.vault.has(once) and session.vault.get(once) != task.step.encode():
        raise ProtocolViolation("equivocation", "a second batch of the same party's points")
    session.vault.put(once, task.step.encode())
    curve = session.ctx.curve()
    blinded = curve.reblind(session.vault.get("scalar"), batch)
    return Outgoing(points_head(blinded, types), _chunks(blinded))


def members(session: Session, task: Incoming) -> Outgoing:
    """Which of this party's own rows are common to all: written to its folder, dummies stripped."""
    of_handle = session.vault.get_array("rows_of_handles")
    rows = matched_rows(membership_rows(task, len(of_handle)), of_handle)
    index = session.vault.get_array("eligible")
    matched = np.sort(index[rows])
    _write_members(session, matched)
    ctx = session.ctx
    ctx.records.put(session.job_id, "own.members", len(matched))
    if session.is_requester:
        ctx.records.put(session.job_id, "result", members_result(session, len(matched)))
    return Outgoing(pb.Confirmation(what="members"))


def _write_members(session: Session, matched: npt.NDArray[np.int64]) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder = session.ctx.folder / "members"
    folder.mkdir(mode=0o700, exist_ok=True)
    path = folder / f"{session.spec.name}.parquet"
    part = path.with_suffix(".part")
    try:
        pq.write_table(pa.table({"row": matched}), part)
        part.replace(path)
    except OSError as error:
        raise Failed("disk_full", f"{path} cannot be written: {error.strerror}") from error


def _chunks(array: npt.NDArray[np.uint8]) -> list[npt.NDArray[np.uint8]]:
    return [array[a:b] for a, b in chunk_ranges(len(array), _CHUNK)]
