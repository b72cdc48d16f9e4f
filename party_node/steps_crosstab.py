"""encrypt → recheck → aggregate → open: this party's part of a cross-tab.

Who runs it: the requester encrypts, re-checks and opens; the provider aggregates.
protocols.md sections 2 and 5.  Learns: the requester the table under the provider's noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from pyroaring import BitMap

from party_node import admission, outcome, recommendations
from party_node.session import Session
from party_node.steps import Incoming, Outgoing
from party_node.steps_terms import question
from protocol.crosstab import codec
from protocol.crosstab.provider import Numbers, ProviderRows
from protocol.crosstab.provider import aggregate as aggregate_cells
from protocol.crosstab.requester import encrypt_rows, joint_codes, open_outputs
from protocol.crosstab.spec import AttributeSpec
from protocol.errors import ProtocolViolation, Refused
from protocol.release.noise import NoNoise
from protocol.release.rules import release
from protocol.rows import EligibleRows
from protocol.wire import job_pb2 as pb

Codes = npt.NDArray[np.int32]
Handles = npt.NDArray[np.int64]


def _codes(rows: EligibleRows, attributes: tuple[AttributeSpec, ...], of_handle: Handles) -> Codes:
    """int32[handles]: joint code of the row behind each handle; -1 for dummies and padding."""
    sizes = [len(attribute.vocabulary) for attribute in attributes]
    parts = [rows.labels[attribute.name.split("/", 1)[1]] for attribute in attributes]
    codes = joint_codes(parts, sizes, len(rows))
    found = np.full(len(of_handle), -1, dtype=np.int32)
    real = of_handle >= 0
    found[real] = codes[of_handle[real]]
    return found


def encrypt(session: Session, task: Incoming) -> Outgoing:
    """One packed one-hot per own handle, and one fresh Enc(0) per handle of the provider."""
    spec = session.crosstab_spec(session.check_admissions(task.matching("admit")))
    key = session.paillier_key
    of_handle = session.vault.get_array("rows_of_handles")
    codes = _codes(admission.admitted_rows(session), spec.rows, of_handle)
    rows = encrypt_rows(spec, session.ctx.kernel, key, codes, spec.handles_b, task.progress)
    return Outgoing(codec.rows_head(spec), rows, early=True)


def recheck(session: Session, task: Incoming) -> Outgoing:
    """The requester's last look at consent before layout: all its rows must still permit."""
    before = BitMap(session.vault.get_array("eligible"))
    now = admission.eligible(session).rows
    if before - now:
        raise Refused(
            "consent_changed",
            "people withdrew between admission and layout",
            party=session.ctx.name,
            stage="recheck",
            next_step="the job starts again without them",
        )
    session.vault.put("rechecked", repr(session.ctx.now()).encode())
    session.ctx.records.put(session.job_id, "log.rechecked", int(session.ctx.now() * 1000))
    return Outgoing(pb.Confirmation(what="recheck"))


def aggregate(session: Session, task: Incoming) -> Outgoing:
    """The provider's sums over its own cells, protected; budget is spent as they are stored."""
    ctx = session.ctx
    spec = session.crosstab_spec(session.check_admissions(task.matching("admit")))
    n = session.offers[session.spec.requester].paillier_n
    public = ctx.make_key.received(n)
    of_handle = session.vault.get_array("rows_of_handles")
    own = admission.admitted_rows(session)
    codes = _codes(own, spec.columns, of_handle)
    still = still_permitted(session, codes, of_handle)
    layout = codec.layout_body(task.framed("layout", codec.LAYOUT), spec)
    rows = ProviderRows(codes, tuple(_numbers(session, own, of_handle)))
    noise = ctx.noise if spec.noise else NoNoise()
    outputs = aggregate_cells(
        spec, ctx.kernel, public, layout, rows, noise, ctx.random, task.progress
    )
    return Outgoing(codec.outputs_head(spec), [outputs], payment(session, still))


def payment(session: Session, rows: BitMap) -> Callable[[sa.Connection], None]:
    """What is written with the output, or neither is: the budget spent, or the exact release."""
    ctx = session.ctx
    own = frozenset(admission.own_attributes(session))
    exact = None if session.spec.noise else admission.people(session, rows)

    def commit(db: sa.Connection) -> None:
        if exact is not None:
            for recipient in admission.recipients(session):
                ctx.records.add_exact(db, session.job_id, recipient, own, exact)
        elif admission.pays(session):
            ctx.ledger.spend(db, admission.account(session), session.job_id, session.attempt)

    return commit


def still_permitted(session: Session, codes: Codes, of_handle: Handles) -> BitMap:
    """Rows whose consent ended since admission get code -1; returns the rows that stay."""
    index = session.vault.get_array("eligible")
    admitted = BitMap(index)
    still = admitted & admission.eligible(session).rows
    gone = admitted - still
    session.ctx.records.put(session.job_id, "log.rechecked", int(session.ctx.now() * 1000))
    if gone:
        lost = np.isin(index, np.array(gone.to_array(), dtype=np.int64))
        real = of_handle >= 0
        codes[real] = np.where(lost[of_handle[real]], np.int32(-1), codes[real])
        session.ctx.records.put(session.job_id, "own.withdrawn_during_job", len(gone))
        admission.check_exact_release(session, still)  # the set that answers is another one now
    return still


def _numbers(session: Session, rows: EligibleRows, of_handle: Handles) -> Iterator[Numbers]:
    """Values and nulls of each summed attribute, in the order of the handles."""
    real = of_handle >= 0
    for name in session.spec.summed:
        number = rows.numbers[name.split("/", 1)[1]]
        values = np.full(len(of_handle), number.lo, dtype=np.int64)
        null = np.ones(len(of_handle), dtype=np.bool_)
        null[real] = number.null[of_handle[real]]
        values[real] = np.where(null[real], number.lo, number.values[of_handle[real]])
        yield values, null


def open_result(session: Session, task: Incoming) -> Outgoing:
    """Decrypt, range check, release rules; only what the rules let through is stored."""
    ctx = session.ctx
    check_rechecked(session, "open")
    spec = session.crosstab_spec(session.check_admissions(task.matching("admit")))
    outputs = codec.outputs_body(task.framed("outputs", codec.OUTPUTS), spec)
    totals = open_outputs(spec, ctx.kernel, session.paillier_key, outputs)
    table = release(spec, totals)
    result = outcome.crosstab_result(session, spec, table)
    if session.spec.then is not None and session.spec.then.recommend:
        recommendations.write(session, spec, table.cells)
    ctx.records.put(session.job_id, "result", result)
    ctx.records.keep_answer(*question(session), result)
    commitment = outcome.sign_result(session, result)
    return Outgoing(pb.Confirmation(what="open", commitment=commitment))


def check_rechecked(session: Session, stage: str) -> None:
    """Whoever encrypted looked at consent again before layout, and not too long ago."""
    if not session.vault.has("rechecked"):
        raise ProtocolViolation(
            "equivocation",
            "the coordinator left out the last look at consent",
            next_step="do not trust this coordinator until its operator explains it",
        )
    admission.check_fresh(session, float(session.vault.get("rechecked")), stage)
