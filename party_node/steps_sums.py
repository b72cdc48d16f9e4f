"""proof → seeds → (ask → sum)… → finish: this party's part of a secure sum and what is on it.

Who runs it: every party; the requester also asks, and opens each total.
protocols.md sections 3 to 5.  Learns: the requester the noisy totals, of which only what the
release rules let through is kept; every party the questions and the released result.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import sqlalchemy as sa
from pyroaring import BitMap

from party_node import admission, local_files, outcome, segment_tags
from party_node.session import Session
from party_node.steps import Incoming, Outgoing
from party_node.steps_terms import question as asked_of
from party_node.sum_models import model_of
from protocol.errors import ProtocolViolation
from protocol.paillier import proof as key_proof
from protocol.paillier.keys import PublicKey
from protocol.release.noise import NoNoise
from protocol.rows import EligibleRows
from protocol.secret import Secret
from protocol.secure_sum import codec
from protocol.secure_sum.masks import SEED, masks
from protocol.secure_sum.model import Json, Turn
from protocol.secure_sum.party import protect
from protocol.secure_sum.requester import open_total
from protocol.secure_sum.spec import SumSpec
from protocol.wire import job_pb2 as pb
from protocol.wire import secure_sum_pb2 as sums_pb


def proof(session: Session, task: Incoming) -> Outgoing:
    """The proof that the requester's Paillier key is sound, sealed to one provider."""
    handles = session.check_admissions(task.matching("admit"))
    model_of(session, handles)  # refuses here what does not fit, before anybody's rows are read
    provider = task.step.split("/")[1]
    roots = key_proof.prove(session.paillier_key, session.job_hash)
    data = pb.KeyDelivery(paillier_proof=roots).SerializeToString(deterministic=True)
    return Outgoing(pb.Sealed(sealed=session.seal(provider, task.step, data)))


def seeds(session: Session, task: Incoming) -> Outgoing:
    """A mask seed for each party after this one, sealed to it."""
    session.check_admissions(task.matching("admit"))
    sealed = {}
    for party in _after(session):
        if not session.vault.has(f"seed-{party}"):
            session.vault.put(f"seed-{party}", session.ctx.random(SEED))
        sealed[party] = session.seal(party, task.step, session.vault.get(f"seed-{party}"))
    return Outgoing(sums_pb.MaskSeeds(sealed=sealed))


def _after(session: Session) -> tuple[str, ...]:
    parties = session.spec.parties
    return parties[parties.index(session.ctx.name) + 1 :]


def ask(session: Session, task: Incoming) -> Outgoing:
    """The requester opens the round before, if there was one, and asks the next."""
    round_ = int(task.step.split("/")[1])
    handles = session.check_admissions(task.matching("admit"))
    model = model_of(session, handles)
    if round_ == 1:
        turn = model.begin()
    else:
        before = _turn(session, round_ - 1)
        admission.check_fresh(session, float(session.vault.get("summed-at")), "ask")
        spec = SumSpec(model.outputs(before.question), session.spec.parties, session.key_bits)
        total = codec.total_body(task.framed("total", codec.TOTAL), spec)
        totals = open_total(spec, session.ctx.kernel, session.paillier_key, total)
        turn = model.advance(before, totals)
    session.vault.put(
        f"turn-{round_}", json.dumps([turn.state, turn.question, turn.result]).encode()
    )
    result = b""
    if turn.result is not None:
        released = outcome.sum_result(session, model.sigmas(), turn.result, round_ - 1)
        result = json.dumps(released, ensure_ascii=False).encode()
    body = sums_pb.RoundBody(question=json.dumps(turn.question).encode(), result=result)
    data = body.SerializeToString(deterministic=True)
    sealed = {
        party: session.seal(party, f"{task.step}/{party}", data) for party in session.spec.parties
    }
    return Outgoing(sums_pb.RoundQuestion(sealed=sealed, done=turn.result is not None))


def _turn(session: Session, round_: int) -> Turn:
    state, question, result = json.loads(session.vault.get(f"turn-{round_}"))
    if result is not None:
        raise ProtocolViolation("equivocation", "a round was asked for after the last one")
    return Turn(state, question)


def add(session: Session, task: Incoming) -> Outgoing:
    """This party's vector of one round, protected; budget is spent as the first is stored."""
    ctx, round_ = session.ctx, task.step.split("/")[1]
    handles = session.check_admissions(task.matching("admit"))
    public = _public_key(session, task)
    model = model_of(session, handles)
    body = _question(session, task, f"ask/{round_}")
    if body.result:
        raise ProtocolViolation("equivocation", "a sum was asked for after the last round")
    question: Json = json.loads(body.question)
    spec = SumSpec(model.outputs(question), session.spec.parties, session.key_bits)
    rows, still = _rows(session)
    if session.is_requester:
        session.vault.put("summed-at", repr(ctx.now()).encode())
    about = session.tag(f"sum/{round_}", "*", "*").info()
    noise = ctx.noise if session.spec.noise else NoNoise()
    cts = protect(
        spec,
        ctx.kernel,
        public,
        model.vector(question, ctx.name, rows),
        masks(ctx.name, session.spec.parties, _seeds(session, task), about, public.n,
              spec.ciphertexts),
        noise,
        ctx.random,
        later=(model.rounds - int(round_)) * spec.ciphertexts,
    )  # fmt: skip
    return Outgoing(
        codec.upload_head(spec, public), [cts], _payment(session, still, first=round_ == "1")
    )


def finish(session: Session, task: Incoming) -> Outgoing:
    """The result that everybody gets, and this party's own labels or scores as a file."""
    ctx = session.ctx
    round_ = task.step.split("/")[1]
    body = _question(session, task, f"ask/{round_}")
    if not body.result:
        raise ProtocolViolation("equivocation", "the end was asked for before the last round")
    result: dict[str, Any] = json.loads(body.result)
    model = model_of(session, session.check_admissions(task.matching("admit")))
    rows, _ = _rows(session)
    local = model.local(json.loads(body.question), ctx.name, rows)
    if local is not None:
        local_files.write(ctx.folder, session.spec.name, rows.index, local)
        if "label" in local.columns:
            segment_tags.keep(session, rows.index, local.columns["label"])
    ctx.records.put(session.job_id, "result", result)
    commitment = b""
    if session.is_requester:
        ctx.records.keep_answer(*asked_of(session), result)
        commitment = outcome.sign_result(session, result)
    return Outgoing(pb.Confirmation(what="finish", commitment=commitment))


# -- what the steps share ----------------------------------------------------------------------


def _question(session: Session, task: Incoming, step: str) -> sums_pb.RoundBody:
    bundle = task.head("ask", sums_pb.RoundQuestion)
    sealed = bundle.sealed.get(session.ctx.name)
    if sealed is None:
        raise ProtocolViolation("missing_offer", "the round's question for this party is missing",
                                party=session.spec.requester, stage=step)  # fmt: skip
    info_step = f"{step}/{session.ctx.name}"
    data = session.unseal(session.spec.requester, info_step, sealed)
    return sums_pb.RoundBody.FromString(data)


def _public_key(session: Session, task: Incoming) -> PublicKey:
    """The requester's, verified once; at the requester its own."""
    if session.is_requester:
        return session.paillier_key.public
    public = session.ctx.make_key.received(session.offers[session.spec.requester].paillier_n)
    if not session.vault.has("proved"):
        bundle = task.head("proof", pb.Sealed)
        step = f"proof/{session.ctx.name}"
        opened = session.unseal(session.spec.requester, step, bundle.sealed)
        roots = list(pb.KeyDelivery.FromString(opened).paillier_proof)
        key_proof.verify(public, session.job_hash, roots)
        session.vault.put("proved", b"1")
    return public


def _seeds(session: Session, task: Incoming) -> dict[str, Secret]:
    """Other party → the seed that both have."""
    later = _after(session)
    found = {party: Secret(session.vault.get(f"seed-{party}")) for party in later}
    for party in session.others:
        if party in later:
            continue
        bundle = task.head(f"seeds/{party}", sums_pb.MaskSeeds)
        sealed = bundle.sealed.get(session.ctx.name, b"")
        seed = session.unseal(party, f"seeds/{party}", sealed)
        if len(seed) != SEED:
            raise ProtocolViolation("bad_artifact", "a mask seed has another length", party=party)
        found[party] = Secret(seed)
    return found


def _rows(session: Session) -> tuple[EligibleRows, BitMap]:
    """The admitted rows whose people still permit it, at every round anew."""
    admitted = BitMap(session.vault.get_array("eligible"))
    still = admitted & admission.eligible(session).rows
    if gone := len(admitted) - len(still):
        session.ctx.records.put(session.job_id, "own.withdrawn_during_job", gone)
        admission.check_exact_release(session, still)
    index = np.array(still.to_array(), dtype=np.int64)
    return admission.admitted_rows(session, index), still


def _payment(session: Session, rows: BitMap, *, first: bool) -> Callable[[sa.Connection], None]:
    """Written with the first output that leaves, or neither is; later rounds are paid already."""
    ctx = session.ctx
    own = frozenset(admission.own_attributes(session))
    changed = len(rows) != len(session.vault.get_array("eligible"))
    exact = None
    if not session.spec.noise and (first or changed):
        exact = admission.people(session, rows)

    def commit(db: sa.Connection) -> None:
        if exact is not None:
            for other in session.others:
                ctx.records.add_exact(db, session.job_id, other, own, exact)
        elif admission.pays(session):
            ctx.ledger.spend(db, admission.account(session), session.job_id, session.attempt)

    return commit
