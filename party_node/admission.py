"""The gates before a single row is read, as numbered steps; and the plan, which asks them.

Who runs it: every party's node, for every attempt.  Each gate raises `Refused` naming the
rule; nothing returns False.  protocols.md sections 5 (before) and 6.
Learns: nobody, anything; a refusal's code reaches the coordinator, its words only the
requester (sealed).
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc
from pyroaring import BitMap

from catalog.job import JobSpec
from catalog.vertical import EXACT
from consent.policy import CheckedCheckpoint
from party_node.exact_words import exact_sentences
from party_node.grid_terms import grid_sentences, is_grid
from party_node.lookalike_terms import asked_of, least_seeds, lookalike_sentences
from party_node.session import NodeContext, Session
from party_node.sum_words import sum_sentences
from party_node.tag_grants import check_grants, note_tags
from protocol.encoding import length_prefixed
from protocol.errors import Failed, Refused
from protocol.psi.dummies import DummyRule
from protocol.psi.padding import handles_for, padded
from protocol.release.budget import Account
from protocol.release.rules import check_exact
from protocol.rows import EligibleRows

RULES = {
    "requester_not_allowed": "this company does not answer questions of that requester",
    "purpose_not_allowed": "this company's policy does not allow the purpose",
    "noise_required": "noise: off needs the consent of every company's policy",
    "reveal_not_allowed": "reveal: members needs every company's policy and an allowing purpose",
}
# Purposes for which a party may learn who of its own people are common (protocols.md section 1).
MEMBER_PURPOSES = frozenset({"overlap_measurement", "segmentation", "activation"})


@dataclass(frozen=True)
class Eligible:
    """Rows that may take part: int64 row numbers ascending, exclusions by reason.

    head: the consent log's checkpoint by which this was decided.
    """

    rows: BitMap
    excluded: dict[str, int]
    head: CheckedCheckpoint

    @property
    def index(self) -> npt.NDArray[np.int64]:
        return np.array(self.rows.to_array(), dtype=np.int64)

    def digest(self) -> bytes:
        return hashlib.sha256(self.rows.serialize()).digest()


def own_attributes(session: Session) -> list[str]:
    """Names, without the party, of this party's attributes that the job reads; sorted."""
    return sorted(session.spec.own_attributes(session.ctx.name))


def eligible(session: Session) -> Eligible:
    """Section 6: a permit for every other party and every category of own attributes read.

    Raises Refused('consent_stale') when the replica is too old to say.
    """
    ctx = session.ctx
    head = ctx.gate.require_fresh(ctx.now())
    found = ctx.gate.eligible(session.spec.purpose, session.others, categories_read(session))
    return Eligible(found.rows, dict(found.excluded), head)


def categories_read(session: Session) -> list[str]:
    """The categories of this party's attributes that the job reads; sorted."""
    party = session.ctx.party
    return sorted({word for name in own_attributes(session) for word in party.categories(name)})


def data_version(session: Session, rows: Eligible) -> bytes:
    """Equal while table and eligible rows are; keyed, so that it says nothing else."""
    ctx = session.ctx
    parts = length_prefixed(
        "assent/data-version/v1", session.spec.requester, ctx.dataset.version, rows.digest()
    )
    return hmac.digest(ctx.keys.storage.reveal(), parts, "sha256")


def check_policy(session: Session) -> None:
    """Gate 1: this party's policy and grants, and what every party must allow."""
    spec, policy = session.spec, session.ctx.party.policy
    if not session.is_requester:
        if not policy.admits(spec.requester):
            raise _refused(session, "requester_not_allowed", f"requester {spec.requester}")
        if not policy.allows_purpose(spec.purpose):
            raise _refused(session, "purpose_not_allowed", f"purpose {spec.purpose}")
    for party, offer in sorted(session.offers.items()):
        if not spec.noise and not _members_only(spec) and offer.noise_required:
            raise _refused(session, "noise_required", f"{party} has noise: required", party)
        if spec.match.reveal == "members" and not offer.members_allowed:
            raise _refused(session, "reveal_not_allowed", f"{party} has reveal: hidden", party)
    if spec.match.reveal == "members" and spec.purpose not in MEMBER_PURPOSES:
        raise _refused(session, "reveal_not_allowed", f"purpose {spec.purpose} does not")
    check_grants(session, recipients(session))


def _members_only(spec: JobSpec) -> bool:
    """Nothing is counted or summed: the parties learn which of their own rows are common."""
    return spec.match.reveal == "members" and spec.vertical is None


def recipients(session: Session) -> list[str]:
    """Who gets what this party's rows become: of a secure sum and of k-means every other party."""
    if session.spec.lookalike is not None:
        # The seeds' sums go to the provider; the curve, if one is asked for, to the requester.
        others = session.others if session.opens_sums(session.others[0]) else []
        return sorted(others)
    if session.spec.model is not None or session.spec.vertical is not None:
        return sorted(session.others)
    return [] if session.is_requester else [session.spec.requester]


def account(session: Session) -> Account:
    """The ledger account that pays: this owner's, towards who gets it, for the purpose."""
    policy = session.ctx.party.policy
    return Account(
        owner=session.ctx.name,
        recipient=",".join(recipients(session)),
        purpose=session.spec.purpose,
        limit_nano=policy.rho_nano,
        limit_all_nano=policy.rho_all_nano,
    )


def pays(session: Session) -> int:
    """rho in 1e-9 that this party's rows cost: whoever discloses to somebody, with noise, pays."""
    spec = session.spec
    if not recipients(session) or not spec.noise or _members_only(spec):
        return 0
    return spec.rho_nano


def people(session: Session, rows: BitMap) -> npt.NDArray[np.uint64]:
    """Keys of these rows' people that survive a table sorted anew; rows without any unambiguous
    identifier can match nobody and have none, but in a sum, which matches nobody, their number."""
    ctx = session.ctx
    index = np.array(rows.to_array(), dtype=np.int64)
    found = ctx.dataset.eligible_rows(index, list(ctx.party.ids), []).identifiers
    columns = [found[kind] for kind in ctx.party.ids]
    joined = pc.binary_join_element_wise(*(pc.fill_null(column, "") for column in columns), "\x1f")
    tokens = ctx.prf(ctx.keys.storage.reveal()).tokens("exact-releases", joined)
    keys = np.ascontiguousarray(tokens[:, :8]).view("<u8").reshape(-1)
    some = np.logical_or.reduce(
        [column.is_valid().to_numpy(zero_copy_only=False) for column in columns]
    )
    if session.spec.model is not None:
        keys = np.where(some, keys, index.astype(np.uint64))
        return np.unique(keys)
    return np.unique(keys[some])


def check_exact_release(session: Session, rows: BitMap) -> None:
    """Section 5 rule 4: two exact answers must not differ by a few rows."""
    spec = session.spec
    if spec.noise or _members_only(spec):
        return
    for recipient in recipients(session):
        previous = session.ctx.records.exact_releases(recipient)
        if previous:
            own = frozenset(own_attributes(session))
            check_exact(previous, own, people(session, rows), session.min_cohort)


def check_seeds(session: Session, rows: BitMap) -> None:
    """A lookalike's requester: at least max(25, min_cohort) of `rows` are seeds."""
    if session.spec.lookalike is None or not session.is_requester:
        return
    flag = asked_of(session).seed_flag.split("/", 1)[1]
    index = np.array(rows.to_array(), dtype=np.int64)
    found = session.ctx.dataset.eligible_rows(index, [], [flag]).labels[flag]
    least = least_seeds(session.min_cohort)
    if int(found.sum()) < least:
        raise Refused(
            "too_few_seeds",
            f"fewer than {least} people with {flag} may take part",
            party=session.ctx.name,
            stage="admit",
            next_step="flag more seeds, or ask more of them for consent",
        )


def admit(session: Session) -> Eligible:
    """All gates in order; on return the budget is reserved and the eligible rows are fixed."""
    # 1. Policy: requester, purpose, noise, reveal.
    check_policy(session)
    # 2. Approval of exactly this job: `approve` blocks in the runner until the owner spoke.
    #    (The runner calls it before this function, see steps_admit.)
    # 3. and 4. Consent: a fresh replica, then the rows whose people permit it.
    rows = eligible(session)
    # 5. Budget: reserved now, spent before anything leaves.
    cost = pays(session)
    left = session.ctx.ledger.remaining(account(session), session.ctx.now()) if cost else None
    if cost:
        # Of an earlier attempt nothing left, or it is spent: it must not stand in the way.
        session.ctx.ledger.release(session.ctx.name, session.job_id, before=session.attempt)
        session.ctx.ledger.reserve(
            account(session), session.job_id, session.attempt, cost, session.ctx.now()
        )
    # 6. The log: that this job was admitted, on which consents, is said before a row is read.
    admitted, logged = session.ctx.job_log.admitted(
        session, rows.rows, rows.excluded, rows.head, categories_read(session), left
    )
    session.ctx.records.put(session.job_id, "audit", logged)
    # 7. Noise off: not a few rows away from an earlier exact answer.  This reads rows.
    check_exact_release(session, admitted)
    # 8. Lookalike: enough seeds that no one of them stands out.
    check_seeds(session, admitted)
    note_tags(session)
    return replace(rows, rows=admitted)


def admitted_rows(session: Session, index: npt.NDArray[np.int64] | None = None) -> EligibleRows:
    """The rows that passed this attempt's gates, with what the job reads of them: the one way
    from the table to tokens and ciphertexts.  index: fewer of them, ascending."""
    admitted = session.vault.get_array("eligible")
    if index is None:
        index = admitted
    elif not bool(np.isin(index, admitted).all()):
        raise ValueError("a row that was not admitted")
    rows: EligibleRows = session.ctx.dataset.eligible_rows(
        index, list(session.spec.match.on), own_attributes(session)
    )
    return rows


def described_rows(session: Session, index: npt.NDArray[np.int64]) -> EligibleRows:
    """Rows that were admitted, with this party's own labels and flags beside those of the job:
    for words about its own people, which stay here.  Only of categories that the job reads, so
    that nobody is described by what they did not permit for this purpose.
    """
    admitted = session.vault.get_array("eligible")
    if not bool(np.isin(index, admitted).all()):
        raise ValueError("a row that was not admitted")
    party, read = session.ctx.party, set(categories_read(session))
    names = [
        name
        for name, attribute in party.attributes.items()
        if attribute.kind != "number" and read.issuperset(party.categories(name))
    ]
    found: EligibleRows = session.ctx.dataset.eligible_rows(index, [], names)
    return found


def check_fresh(session: Session, looked: float, stage: str) -> None:
    """Nothing is opened when consent was last looked at longer ago than the window.

    looked: POSIX seconds.
    """
    ctx = session.ctx
    passed = ctx.now() - looked
    if passed > ctx.freshness:
        raise Failed(
            "consent_stale",
            f"{passed:.0f} s passed since consent was last checked, the window is "
            f"{ctx.freshness:.0f} s",
            party=ctx.name,
            stage=stage,
            next_step="run the job again, with fewer attributes or people",
        )


def handles(session: Session, rows: Eligible) -> int:
    """Padded size that leaves this node; independent of the drawn dummies."""
    if session.spec.model is not None:
        return padded(len(rows.rows))
    return handles_for(len(rows.rows), len(session.spec.match.on), DummyRule())


def funnel(session: Session, rows: Eligible) -> dict[str, Any]:
    """Own counts for this party's record."""
    return {
        "rows": session.ctx.dataset.rows,
        "eligible": len(rows.rows),
        "excluded": {key: value for key, value in sorted(rows.excluded.items()) if value},
    }


def describe(spec: JobSpec, ctx: NodeContext) -> str:
    """One sentence for this party's list of jobs, before the other offers are open."""
    said = sentences(spec, ctx.party.policy.min_cohort)
    return f"{spec.requester} asks for {spec.purpose}: {said[spec.requester]}"


def sentences(spec: JobSpec, min_cohort: int) -> dict[str, str]:
    """One sentence for each company: what it will learn about whom."""
    if spec.model is not None:
        return sum_sentences(spec, min_cohort)
    if spec.lookalike is not None:
        return lookalike_sentences(spec, min_cohort)
    if is_grid(spec):
        return grid_sentences(spec, min_cohort)
    if spec.vertical is not None and spec.vertical.mode == EXACT:
        return exact_sentences(spec, min_cohort)
    others = " and ".join(spec.providers)
    everyone = f"the common, consenting customers of {spec.requester} and {others}"
    noise = f"with noise (rho {spec.rho_nano / 1e9:g})" if spec.noise else "exactly, without noise"
    said = {"coordinator": "coordinator learns rounded sizes and which anonymous positions pair "
            "up, dummies included; no identifier, attribute, count or result."}  # fmt: skip
    if spec.match.reveal == "members":
        for party in spec.parties:
            said[party] = f"{party} learns which of its own customers are among {everyone}."
        return said
    if spec.rows or spec.columns:
        attributes = ", ".join((*spec.rows, *spec.columns))
        about = f"how many of {everyone} fall into each cell of {attributes}"
        if spec.summed:
            about += f", with sums of {', '.join(spec.summed)}"
    else:
        about = f"how many customers are among {everyone}"
    keyed = (
        "; with match mode keyed, the coordinator and a company together could test guesses of "
        "the other's identifiers (ecdh removes this)"
        if spec.match.mode == "keyed"
        else ""
    )
    said[spec.requester] = (
        f"{spec.requester} learns {about}, {noise}, in groups of at least {min_cohort}; "
        f"nothing about any single person{keyed}."
    )
    for party in spec.providers:
        said[party] = (
            f"{party} learns nothing about {spec.requester}'s customers, not even how many are "
            "common; it sees the question and a rounded size."
        )
    return said


def _refused(session: Session, code: str, detail: str, party: str = "") -> Refused:
    return Refused(
        code,
        f"{RULES[code]}: {detail}",
        party=party or session.ctx.name,
        stage="admit",
        next_step="change the job, or ask the company to change its policy",
    )
