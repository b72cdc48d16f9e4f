"""offer → plan | admit → key: what the parties agree on before any row is read.

Who runs it: every party, the requester delivers the keys.  protocols.md sections 0 and 5.
Learns: the parties each other's terms; the coordinator the job hash and rounded sizes.
"""

from __future__ import annotations

import base64
from typing import Any

from catalog import vertical
from party_node import admission, lookalike_terms
from party_node.plan import compose
from party_node.session import Session
from party_node.steps import Incoming, Outgoing
from party_node.titles import Titles, own_titles, put_titles
from protocol.encoding import content_id, length_prefixed
from protocol.errors import AssentError, Refused
from protocol.frames import parse_head
from protocol.paillier import proof
from protocol.paillier.keys import PrivateKey
from protocol.psi.ecdh import random_scalar
from protocol.wire import job_pb2 as pb

LEAVE_FILES = frozenset({"rfm", "ltv", "kmeans", "lookalike"})


def offer(session: Session, task: Incoming) -> Outgoing:
    """This party's terms, sealed once for each other party."""
    ctx, spec = session.ctx, session.spec
    said = admission.describe(spec, ctx)
    listed = f"{spec.name} (plan)" if session.dry_run else spec.name
    ctx.records.seen(session.job_id, listed, spec.requester, said)
    check_own_part(session)
    if not session.vault.has("offer"):
        ctx.freshen()
        rows = admission.eligible(session)
        names = admission.own_attributes(session)
        titles = own_titles(ctx.party, names)
        message = pb.Offer(
            party=ctx.name,
            nonce=ctx.random(32),
            attributes=[_attribute(session, name, titles) for name in names],
            min_cohort=ctx.party.policy.min_cohort,
            noise_required=ctx.party.policy.noise == "required",
            members_allowed=ctx.party.policy.reveal == "members",
            data_version=admission.data_version(session, rows),
        )
        # A plan is reckoned at the requester, which times a key of the job's size.
        plans = session.is_requester and session.dry_run
        if spec.match.reveal != "members" and (session.opens_sums(ctx.name) or plans):
            message.paillier_n = _paillier(session).public.to_bytes()
        session.vault.put("offer", message.SerializeToString(deterministic=True))
    own = session.vault.get("offer")
    return Outgoing(
        pb.OfferBundle(sealed={p: session.seal(p, task.step, own) for p in session.others})
    )


def check_own_part(session: Session) -> None:
    """The job names this party's attributes and identifiers as its table has them."""
    ctx, spec = session.ctx, session.spec
    for name in admission.own_attributes(session):
        attribute = ctx.party.attributes.get(name)
        if attribute is None:
            raise _unfit(session, f"{ctx.name} has no attribute {name}")
        if spec.model is not None:
            continue  # which kinds fit is the model's to say, over all parties' offers
        if spec.lookalike is not None:
            if session.is_requester and attribute.kind != "flag":
                raise _unfit(session, f"{ctx.name}/{name} is a {attribute.kind}, seeds are a flag")
            continue
        if spec.vertical is not None:
            if attribute.kind not in vertical.KINDS:
                kinds = " or a ".join(vertical.KINDS)
                cause = f"{ctx.name}/{name} is a {attribute.kind}, a feature is a {kinds}"
                raise _unfit(session, cause)
            continue
        summed = f"{ctx.name}/{name}" in spec.summed
        if summed != (attribute.kind == "number"):
            want = "a number" if summed else "a label or a flag"
            raise _unfit(session, f"{ctx.name}/{name} is a {attribute.kind}, the job needs {want}")
    if spec.then is not None and spec.then.non_personal and session.is_requester:
        switch = spec.then.non_personal.partition("/")[2]
        if ctx.party.attributes[switch].kind != "flag":
            raise _unfit(session, f"{ctx.name}/{switch} is no flag, non_personal needs one")
    for kind in spec.match.on:
        if kind not in ctx.party.ids:
            raise _unfit(session, f"{ctx.name} has no identifier of type {kind}")


def _unfit(session: Session, cause: str) -> Refused:
    return Refused(
        "unknown_attribute", cause, party=session.ctx.name, stage="offer",
        next_step="ask that company which attributes and identifiers it offers",
    )  # fmt: skip


def _attribute(session: Session, name: str, titles: Titles) -> pb.AttributeOffer:
    ctx = session.ctx
    declared = ctx.party.attributes[name]
    offered = pb.AttributeOffer(name=name, kind=declared.kind, category=declared.category)
    if declared.kind == "label":
        offered.vocabulary.extend(ctx.dataset.vocabulary(name))
    if declared.kind == "number":
        lo, hi = declared.scaled_bounds
        offered.lo, offered.hi, offered.decimals = lo, hi, declared.decimals
        offered.nullable = ctx.dataset.nullable(name)
    put_titles(offered, titles)
    return offered


def _paillier(session: Session) -> PrivateKey:
    if not session.vault.has("paillier"):
        key = session.ctx.make_key(session.ctx.key_bits, session.ctx.random)
        session.vault.put("paillier", key.to_secret().reveal())
    return session.paillier_key


# -- admit ---------------------------------------------------------------------------------


def admit(session: Session, task: Incoming) -> Outgoing:
    """All gates; on success the job hash and this party's padded size."""
    session.open_offers(task.matching("offer"))
    ctx = session.ctx
    if session.is_requester and (stored := _stored_answer(session)) is not None:
        ctx.records.put(session.job_id, "result", stored)
        return Outgoing(pb.Admission(job_hash=session.job_hash, handles=1, answered=True))
    rows = admission.admit(session)
    handles = admission.handles(session, rows)
    session.vault.put_array("eligible", rows.index)
    if session.is_requester and session.spec.model is None and not session.vault.has("k"):
        # K of this attempt, drawn here: its deliveries to several providers are steps that run
        # at the same time.
        session.vault.put("k", ctx.random(32))
    if session.spec.match.mode == "ecdh" and not session.vault.has("scalar"):
        # Drawn here: own points and a peer's batch may be asked for at the same time.
        session.vault.put("scalar", random_scalar(ctx.random))
    ctx.records.put(session.job_id, "own.consent", admission.funnel(session, rows))
    if admission.recipients(session):
        left = ctx.ledger.remaining(admission.account(session), ctx.now())
        ctx.records.put(session.job_id, "own.remaining_rho", left / 1e9)
    if session.spec.model is None:
        ctx.records.put(session.job_id, "own.ambiguous", ctx.dataset.counts.ambiguous)
        unparsable = {
            kind: ctx.dataset.counts.unparsable.get(kind, 0) for kind in session.spec.match.on
        }
        ctx.records.put(session.job_id, "own.unparsable", unparsable)
    return Outgoing(pb.Admission(job_hash=session.job_hash, handles=handles))


def question(session: Session) -> tuple[str, str]:
    """Names the question and the state of all data it is asked of (section 5, rule 3)."""
    asked = dict(session.spec.canonical())
    # A job that leaves a file at each party, named after it, is the same one under its name only.
    then = session.spec.then
    leaves = session.spec.protocol in LEAVE_FILES or (then is not None and then.recommend > 0)
    forgotten = () if leaves else ("job", "seed")
    for key in forgotten:
        asked.pop(key, None)
    versions = length_prefixed(
        *(session.offers[party].data_version for party in session.spec.parties)
    )
    return content_id(asked), base64.b64encode(versions).decode()


def _stored_answer(session: Session) -> dict[str, Any] | None:
    found = session.ctx.records.answer(*question(session))
    if found is None:
        return None
    return found | {"job": session.spec.name, "answered_from_store": True}


# -- plan ----------------------------------------------------------------------------------


def plan(session: Session, task: Incoming) -> Outgoing:
    """Dry run: asks the gates without reserving; a provider's part is sealed to the requester."""
    session.open_offers(task.matching("offer"))
    part = _plan_part(session)
    if not session.is_requester:
        data = part.SerializeToString(deterministic=True)
        return Outgoing(pb.Sealed(sealed=session.seal(session.spec.requester, task.step, data)))
    parts = {session.ctx.name: part}
    for party, path in task.matching("plan").items():
        bundle, _ = parse_head(path.read_bytes(), pb.Sealed)
        parts[party] = pb.PlanPart.FromString(session.unseal(party, f"plan/{party}", bundle.sealed))
    session.ctx.records.put(session.job_id, "plan", compose(session, parts))
    return Outgoing(pb.Confirmation(what="plan"))


def _plan_part(session: Session) -> pb.PlanPart:
    part = pb.PlanPart()
    try:
        admission.check_policy(session)
        rows = admission.eligible(session)
        part.handles = admission.handles(session, rows)
        admission.check_exact_release(session, rows.rows)
        admission.check_seeds(session, rows.rows)
        ledger, who = session.ctx.ledger, admission.account(session)
        part.remaining_rho = ledger.remaining(who, session.ctx.now())
        cost = admission.pays(session)
        if cost:
            ledger.check(who, cost, session.ctx.now())
    except AssentError as error:
        part.refusal, part.cause = error.info.code, error.info.cause
    return part


# -- key -----------------------------------------------------------------------------------


def key(session: Session, task: Incoming) -> Outgoing:
    """The requester's K and the proof for its Paillier key, sealed to one provider."""
    handles = session.check_admissions(task.matching("admit"))
    provider = task.step.split("/")[1]
    message = pb.KeyDelivery(k=session.vault.get("k"))
    if session.spec.lookalike is not None:
        lookalike_terms.check_limits(session, handles)
    elif session.spec.match.reveal != "members":
        session.crosstab_spec(handles)  # refuses here what exceeds the limits, with the arithmetic
    if _proves(session):
        message.paillier_proof.extend(proof.prove(session.paillier_key, session.job_hash))
    data = message.SerializeToString(deterministic=True)
    return Outgoing(pb.Sealed(sealed=session.seal(provider, task.step, data)))


def _proves(session: Session) -> bool:
    """Whether the requester opens something that the provider encrypts under its key."""
    requester = session.spec.requester
    return session.spec.match.reveal != "members" and session.opens_sums(requester)


def accept_key(session: Session, task: Incoming) -> None:
    """A provider opens K and verifies the requester's Paillier key before it uses either."""
    step = f"key/{session.ctx.name}"
    bundle = task.head("key", pb.Sealed)
    opened = session.unseal(session.spec.requester, step, bundle.sealed)
    message = pb.KeyDelivery.FromString(opened)
    if len(message.k) != 32:
        raise Refused("bad_key", "the matching key has not 32 bytes", stage="key")
    if _proves(session):
        n = session.offers[session.spec.requester].paillier_n
        public = session.ctx.make_key.received(n)
        proof.verify(public, session.job_hash, list(message.paillier_proof))
    session.vault.put("k", message.k)
