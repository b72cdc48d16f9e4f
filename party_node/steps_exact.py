"""spread → distances … → closing | conclude: this party's part of exact k-means.

Who runs it: every party; providers close, the requester concludes.  protocols.md section 4
(k-means, vertical, exact) and section 5.
Learns: every party which of its own people are in common and, at every round, in which cluster
each of them is; the requester at the end centres and sizes, as the release rules let them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from pyroaring import BitMap

from party_node import admission, local_files, outcome, segment_tags
from party_node.exact_rounds import ExactRun, State
from party_node.session import Session
from party_node.steps import Incoming, Outgoing
from party_node.steps_terms import question as asked_of
from protocol.errors import ProtocolViolation, Refused
from protocol.kmeans.exact import codec, party
from protocol.kmeans.exact.party import Labels
from protocol.release.rules import REASONS, withheld_cells
from protocol.secure_sum.model import Local
from protocol.wire import job_pb2 as pb
from protocol.wire import kmeans_exact_pb2 as exact_pb

Floats = npt.NDArray[np.float64]


def spread(session: Session, task: Incoming) -> Outgoing:
    """With zscore: how far this party's standardised features reach, as a power of two."""
    session.check_admissions(task.matching("admit"))
    run = ExactRun(session)
    run.place(task)
    _recheck(session, run)
    session.vault.put("spread", str(math.frexp(run.own.largest)[1]).encode())
    data = codec.spread(int(session.vault.get("spread")))
    sealed = {p: session.seal(p, f"{task.step}/{p}", data) for p in session.others}
    return Outgoing(exact_pb.SpreadBundle(sealed=sealed))


def _reach(session: Session, task: Incoming) -> float:
    """D_max over all parties, each rounded up."""
    total = 2.0 ** int(session.vault.get("spread"))
    for other in session.others:
        step = f"spread/{other}"
        sealed = task.head(step, exact_pb.SpreadBundle).sealed.get(session.ctx.name)
        if sealed is None:
            raise ProtocolViolation("missing_offer", "a party's spread is missing", party=other,
                                    stage="spread")  # fmt: skip
        total += 2.0 ** codec.spread_of(session.unseal(other, f"{step}/{session.ctx.name}", sealed))
    return total


def distances(session: Session, task: Incoming) -> Outgoing:
    """Takes in the round before and sends masked distances, or says that it is over."""
    round_ = int(task.step.split("/")[1])
    run = ExactRun(session)
    state = State(final=False, last=False, iterations=0)
    if round_ == 1:
        session.check_admissions(task.matching("admit"))
        run.place(task)
        if run.layout.zscore:
            session.vault.put("largest", repr(_reach(session, task)).encode())
    else:
        state = run.take(task, round_ - 1)
    _recheck(session, run)
    rows, k = len(run.rows), run.layout.k
    head = codec.distances_head(rows, k, last=state.last, done=state.final)
    if state.final:
        return Outgoing(head)
    return Outgoing(head, _masked(run, round_, task))


def _masked(run: ExactRun, round_: int, task: Incoming) -> Iterator[npt.NDArray[np.uint8]]:
    done, secrets = 0, run.secrets(round_)
    for block in party.upload(run.own, run.centres(round_ - 1), run.role, secrets):
        done += len(block)
        task.progress(done, secrets.rows)
        yield codec.distances_bytes(block)


def _recheck(session: Session, run: ExactRun) -> None:
    """Everybody in common must still permit it, at every round anew."""
    ctx = session.ctx
    still = admission.eligible(session).rows
    if BitMap(run.people) - still:
        raise Refused(
            "consent_changed",
            "people withdrew while segments were made",
            party=ctx.name,
            stage="distances",
            next_step="the job starts again without them",
        )
    session.vault.put("rechecked", repr(ctx.now()).encode())
    ctx.records.put(session.job_id, "log.rechecked", int(ctx.now() * 1000))


def closing(session: Session, task: Incoming) -> Outgoing:
    """A provider's labels into its own folder, its centres to the requester."""
    session.check_admissions(task.matching("admit"))
    run, round_, state = _ended(session, task)
    _recheck(session, run)
    _write_labels(session, run, round_)
    own, labels = run.own, run.labels(round_)
    reasons = _withheld(session, run, labels)
    shown = _raw_centres(run, state) * (reasons == 0)[:, None]
    inertia = _inertia(session, run, labels, state)
    data = codec.centres(shown, inertia if inertia is not None else 0.0)
    requester = session.spec.requester
    session.ctx.records.put(session.job_id, "own.members", int(own.real.sum()))
    sealed = session.seal(requester, task.step, data)
    return Outgoing(pb.Sealed(sealed=sealed), (), _exact_release(session))


def _exact_release(session: Session) -> Callable[[sa.Connection], None]:
    """Rule 4 remembers this answer, written with it or neither is; labels speak of the
    requester's people to the provider as centres speak of the provider's to the requester."""
    ctx = session.ctx
    own = frozenset(admission.own_attributes(session))
    people = admission.people(session, BitMap(session.vault.get_array("eligible")))

    def commit(db: sa.Connection) -> None:
        for recipient in admission.recipients(session):
            ctx.records.add_exact(db, session.job_id, recipient, own, people)

    return commit


def conclude(session: Session, task: Incoming) -> Outgoing:
    """The requester's labels, and the result: what the release rules let through."""
    ctx = session.ctx
    session.check_admissions(task.matching("admit"))
    run, round_, state = _ended(session, task)
    admission.check_fresh(session, float(session.vault.get("rechecked")), "conclude")
    labels, layout = run.labels(round_), run.layout
    reasons = _withheld(session, run, labels)
    sizes = party.sizes(run.own, labels, layout.k)
    centres = np.zeros((layout.k, len(layout.features)))
    centres[:, run.mine] = _raw_centres(run, state)
    inertia = _inertia(session, run, labels, state)
    for other in session.spec.providers:
        bundle = task.head(f"closing/{other}", pb.Sealed)
        opened = session.unseal(other, f"closing/{round_}/{other}", bundle.sealed)
        places = layout.of(other)
        centres[:, places], part = codec.centres_of(opened, layout.k, len(places))
        inertia = None if inertia is None else inertia + part
    _write_labels(session, run, round_)
    found: dict[str, Any] = {
        "k": layout.k,
        "features": list(run.asked.attributes()),
        "centres": [
            centre.tolist() if reason == 0 else None
            for centre, reason in zip(centres, reasons, strict=True)
        ],
        "sizes": [
            int(size) if reason == 0 else None for size, reason in zip(sizes, reasons, strict=True)
        ],
        "sizes_withheld": [REASONS[reason] for reason in reasons],
        "inertia": inertia,
        "iterations": state.iterations,
        "overlap": outcome.known_overlap(session, len(run.people)),
    }
    ctx.records.put(session.job_id, "own.members", len(run.people))
    result = outcome.exact_result(session, found, round_)
    ctx.records.put(session.job_id, "result", result)
    ctx.records.keep_answer(*asked_of(session), result)
    commitment = outcome.sign_result(session, result)
    confirmation = pb.Confirmation(what="conclude", commitment=commitment)
    return Outgoing(confirmation, (), _exact_release(session))


# -- what the last steps share -----------------------------------------------------------------


def _ended(session: Session, task: Incoming) -> tuple[ExactRun, int, State]:
    """The round whose labels hold; the node itself knows which one that is."""
    round_, run = int(task.step.split("/")[1]), ExactRun(session)
    state = run.take(task, round_)
    if not state.final:
        raise ProtocolViolation("equivocation", "the end was asked for before the last round")
    return run, round_, state


def _withheld(session: Session, run: ExactRun, labels: Labels) -> npt.NDArray[np.int8]:
    """Per cluster the reason why it stays inside, 0 for none; all parties know the sizes."""
    sizes = party.sizes(run.own, labels, run.layout.k)
    return np.asarray(withheld_cells(sizes[None, :], session.min_cohort)[0])


def _raw_centres(run: ExactRun, state: State) -> Floats:
    """float64[k, own features] in the table's units."""
    steps = np.array([run.layout.features[j].step for j in run.mine])
    return np.asarray(run.centres(state.iterations) * steps)


def _inertia(session: Session, run: ExactRun, labels: Labels, state: State) -> float | None:
    """This party's part; None for fewer people than the smallest group."""
    if len(run.people) < session.min_cohort:
        return None
    gaps = party.gaps(run.own, labels, run.centres(state.iterations))
    return float(gaps.sum()) * run.layout.unit_of_distance


def _write_labels(session: Session, run: ExactRun, round_: int) -> None:
    near = run.labels(round_)[run.own.real]
    order = np.argsort(run.people)
    local = Local("labels", {"label": near[order]})
    local_files.write(session.ctx.folder, session.spec.name, run.people[order], local)
    segment_tags.keep(session, run.people[order], near[order])
