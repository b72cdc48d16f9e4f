"""encrypt_cells → (recheck) → aggregate_cells → segments → label → open_segments: k-means `grid`.

Who runs it: the requester encrypts, opens and segments; the provider aggregates and labels.
protocols.md sections 2, 4 and 5.
Learns: the requester sizes and centres of segments and the means of the provider's local cells;
the provider the segment that each of its own cells is most likely in.  All under both parties'
noise, the means under their owner's; exactly with noise off.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import numpy.typing as npt
from pyroaring import BitMap

from party_node import admission, local_files, outcome, segment_tags
from party_node.grid_terms import asked_of, cells_plan, question_of, sigmas
from party_node.session import Session
from party_node.steps import Incoming, Outgoing
from party_node.steps_crosstab import Codes, Handles, check_rechecked, payment, still_permitted
from party_node.steps_terms import question as asked_before
from party_node.sum_models import seed_of
from protocol.crosstab import codec
from protocol.crosstab.provider import ProviderRows
from protocol.crosstab.provider import aggregate as aggregate_table
from protocol.crosstab.requester import encrypt_rows, open_outputs
from protocol.errors import ProtocolViolation
from protocol.kmeans.grid import NOBODY, Side, segment, with_own_noise
from protocol.kmeans.local_cells import LocalCells, local_cells
from protocol.release.noise import NoiseSource, NoNoise
from protocol.rows import EligibleRows
from protocol.secure_sum.model import Local
from protocol.wire import grid_pb2
from protocol.wire import job_pb2 as pb


def encrypt_cells(session: Session, task: Incoming) -> Outgoing:
    """The requester's own cells, then one packed one-hot per handle, as in a cross-tab."""
    spec = session.crosstab_spec(session.check_admissions(task.matching("admit")))
    of_handle = session.vault.get_array("rows_of_handles")
    rows = admission.admitted_rows(session)
    codes, cells = _clustered(session, rows, np.ones(len(rows), dtype=np.bool_))
    _keep(session, codes, cells)
    key, kernel = session.paillier_key, session.ctx.kernel
    laid = _on_handles(codes, of_handle)
    encrypted = encrypt_rows(spec, kernel, key, laid, spec.handles_b, task.progress)
    return Outgoing(codec.rows_head(spec), encrypted, early=True)


def aggregate_cells(session: Session, task: Incoming) -> Outgoing:
    """The provider's own cells of the people who still permit it, the sums over them, and what
    the cells look like, sealed; budget is spent as all of it is stored."""
    ctx = session.ctx
    spec = session.crosstab_spec(session.check_admissions(task.matching("admit")))
    requester = session.spec.requester
    public = ctx.make_key.received(session.offers[requester].paillier_n)
    of_handle = session.vault.get_array("rows_of_handles")
    rows = admission.admitted_rows(session)
    # Who withdrew is left out before there are cells, so that they are in no mean either.
    still = still_permitted(session, np.zeros(len(of_handle), dtype=np.int32), of_handle)
    codes, cells = _clustered(session, rows, np.isin(rows.index, np.array(still.to_array())))
    _keep(session, codes, cells)
    layout = codec.layout_body(task.framed("layout", codec.LAYOUT), spec)
    laid = ProviderRows(_on_handles(codes, of_handle))
    outputs = aggregate_table(
        spec, ctx.kernel, public, layout, laid, _noise(session), ctx.random, task.progress
    )
    head = codec.outputs_head(spec)
    head.sealed = session.seal(requester, task.step, _said(cells))
    return Outgoing(head, [outputs], payment(session, still))


def segments(session: Session, task: Incoming) -> Outgoing:
    """Opens the table, adds own noise, makes the segments; the provider's labels leave, paid."""
    ctx, spec = session.ctx, session.spec
    check_rechecked(session, "segments")
    table = session.crosstab_spec(session.check_admissions(task.matching("admit")))
    (provider,) = spec.providers
    framed = task.framed("outputs", codec.OUTPUTS)
    totals = open_outputs(
        table, ctx.kernel, session.paillier_key, codec.outputs_body(framed, table)
    )
    totals = with_own_noise(table, totals, _noise(session))
    theirs = _opened(session, provider, framed[0].sealed)
    question = question_of(session, seed_of(session))
    found = segment(question, (_own_side(session), theirs), table, totals)
    session.vault.put("segments", found.segments[0].tobytes())
    released = outcome.sum_result(session, sigmas(session, table), found.result, rounds=1)
    session.vault.put("released", json.dumps(released, ensure_ascii=False).encode())
    message = grid_pb2.CellSegments(segments=found.segments[1].tobytes())
    data = message.SerializeToString(deterministic=True)
    rows = BitMap(session.vault.get_array("eligible"))
    return Outgoing(
        pb.Sealed(sealed=session.seal(provider, task.step, data)), commit=payment(session, rows)
    )


def label(session: Session, task: Incoming) -> Outgoing:
    """The provider's labels of its own people, into its own folder."""
    requester, asked = session.spec.requester, asked_of(session.spec)
    bundle = task.head("segments", pb.Sealed)
    opened = session.unseal(requester, "segments", bundle.sealed)
    found = np.frombuffer(grid_pb2.CellSegments.FromString(opened).segments, dtype=np.uint8)
    if len(found) != asked.cells or not bool(((found < asked.k[0]) | (found == NOBODY)).all()):
        raise ProtocolViolation(
            "bad_artifact", "the segments of the cells are not what was asked", party=requester
        )
    _write_labels(session, found)
    return Outgoing(pb.Confirmation(what="label"))


def open_segments(session: Session, task: Incoming) -> Outgoing:
    """The requester's labels and result, when the provider has its own."""
    _write_labels(session, np.frombuffer(session.vault.get("segments"), dtype=np.uint8))
    result: dict[str, Any] = json.loads(session.vault.get("released"))
    session.ctx.records.put(session.job_id, "result", result)
    session.ctx.records.keep_answer(*asked_before(session), result)
    commitment = outcome.sign_result(session, result)
    return Outgoing(pb.Confirmation(what="open_segments", commitment=commitment))


# -- own rows ----------------------------------------------------------------------------------


def _noise(session: Session) -> NoiseSource:
    return session.ctx.noise if session.spec.noise else NoNoise()


def _clustered(
    session: Session, rows: EligibleRows, taking_part: npt.NDArray[np.bool_]
) -> tuple[Codes, LocalCells]:
    """int32[rows]: the cell of each, -1 for those who lack a feature or take no part."""
    name = session.ctx.name
    columns, known = [], taking_part.copy()
    for attribute in asked_of(session.spec).of(name):
        number = rows.numbers.get(attribute)
        if number is None:
            columns.append(rows.labels[attribute].astype(np.int64))
            continue
        columns.append(number.values)
        known &= ~number.null
    features = [column[known] for column in columns]
    cells = local_cells(cells_plan(session, name), features, _noise(session))
    codes = np.full(len(rows), -1, dtype=np.int32)
    codes[known] = cells.codes
    return codes, cells


def _keep(session: Session, codes: Codes, cells: LocalCells) -> None:
    """For the labels, and at the requester for the segments."""
    session.vault.put_array("cells_of_rows", codes.astype(np.int64))
    session.vault.put("cells", _said(cells))


def _on_handles(codes: Codes, of_handle: Handles) -> Codes:
    """int32[handles]: -1 for dummies and padding."""
    found = np.full(len(of_handle), -1, dtype=np.int32)
    real = of_handle >= 0
    found[real] = codes[of_handle[real]]
    return found


def _write_labels(session: Session, segments_of_cells: npt.NDArray[np.uint8]) -> None:
    """Of the rows that took part and whose people still permit it; null where there is none."""
    index = session.vault.get_array("eligible")
    still = np.isin(index, np.array(admission.eligible(session).rows.to_array(), dtype=np.int64))
    codes = session.vault.get_array("cells_of_rows")[still]
    found = np.where(codes >= 0, segments_of_cells[codes], NOBODY).astype(np.int64)
    values = np.ma.array(found, mask=found == NOBODY)
    local = Local("labels", {"label": values})
    local_files.write(session.ctx.folder, session.spec.name, index[still], local)
    segment_tags.keep(session, index[still], values)


# -- what is said about cells ------------------------------------------------------------------


def _said(cells: LocalCells) -> bytes:
    message = grid_pb2.LocalCells(
        centres=cells.centres.ravel().tolist(),
        deviation=cells.deviation.tolist(),
        spread=cells.spread.tolist(),
    )
    return message.SerializeToString(deterministic=True)


def _own_side(session: Session) -> Side:
    return _side(session, session.ctx.name, session.vault.get("cells"))


def _opened(session: Session, party: str, sealed: bytes) -> Side:
    return _side(session, party, session.unseal(party, f"aggregate_cells/{party}", sealed))


def _side(session: Session, party: str, data: bytes) -> Side:
    """Raises ProtocolViolation for cells that the party's own features cannot have."""
    message = grid_pb2.LocalCells.FromString(data)
    scales = cells_plan(session, party).scales
    d, cells = len(scales), asked_of(session.spec).cells
    if (len(message.centres), len(message.deviation), len(message.spread)) != (d * cells, d, d):
        raise ProtocolViolation("bad_artifact", "local cells of another shape", party=party)
    side = Side(
        np.array(message.centres, dtype=np.float64).reshape(cells, d),
        np.array(message.deviation, dtype=np.float64),
        np.array(message.spread, dtype=np.float64),
    )
    units = np.array([scale.unit for scale in scales], dtype=np.float64)
    lo = np.array([scale.lo for scale in scales]) / units
    hi = np.array([scale.hi for scale in scales]) / units
    # Centres are computed around the middle of the bounds, which rounds.
    slack = (hi - lo) * 1e-6 + 1.0 / units
    used = side.centres[side.used]
    inside = ((used >= lo - slack) & (used <= hi + slack)).all()
    wide = np.concatenate(
        [side.deviation / (hi - lo + slack), side.spread / (hi - lo + slack) ** 2]
    )
    if not bool(inside) or not bool(((wide >= 0) & (wide <= 1)).all()):
        raise ProtocolViolation("bad_artifact", "local cells outside the bounds", party=party)
    return side
