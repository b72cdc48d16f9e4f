"""Binds step kinds to their functions, and artifacts to their signatures.

Who runs it: every node; the one place where the runner's world (files, references) meets
the sessions' world (headers, arrays).  Adding a protocol adds its step kinds here.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
from sqlalchemy.exc import OperationalError

from party_node import (
    admission,
    sequence,
    steps_crosstab,
    steps_exact,
    steps_grid,
    steps_lookalike,
    steps_match,
    steps_sums,
    steps_terms,
)
from party_node.job_log import STAGE
from party_node.runner import Handler as RunnerHandler
from party_node.runner import StepOutput, StepTask, WaitForApproval
from party_node.session import NodeContext, Session
from party_node.spare_memory import MANY_ROWS, give_back
from party_node.steps import Handler, Incoming, Outgoing
from protocol import identity, transcript
from protocol.errors import AssentError, Failed, ProtocolViolation, Refused, from_info
from protocol.frames import frame_head
from protocol.transcript import ArtifactTag
from protocol.transport.port import COORDINATOR, ArtifactRef, JobStatus

STEPS: Mapping[str, Handler] = {
    "offer": steps_terms.offer,
    "plan": steps_terms.plan,
    "admit": steps_terms.admit,
    "key": steps_terms.key,
    "tokens": steps_match.tokens,
    "points": steps_match.points,
    "reblind": steps_match.reblind,
    "members": steps_match.members,
    "encrypt": steps_crosstab.encrypt,
    "recheck": steps_crosstab.recheck,
    "aggregate": steps_crosstab.aggregate,
    "open": steps_crosstab.open_result,
    "proof": steps_sums.proof,
    "seeds": steps_sums.seeds,
    "ask": steps_sums.ask,
    "sum": steps_sums.add,
    "finish": steps_sums.finish,
    "prove": steps_lookalike.prove,
    "features": steps_lookalike.features,
    "gather": steps_lookalike.gather,
    "fit": steps_lookalike.fit,
    "flags": steps_lookalike.flags,
    "bands": steps_lookalike.bands,
    "report": steps_lookalike.report,
    "encrypt_cells": steps_grid.encrypt_cells,
    "aggregate_cells": steps_grid.aggregate_cells,
    "segments": steps_grid.segments,
    "label": steps_grid.label,
    "open_segments": steps_grid.open_segments,
    "spread": steps_exact.spread,
    "distances": steps_exact.distances,
    "closing": steps_exact.closing,
    "conclude": steps_exact.conclude,
}


MAX_ATTEMPTS = 3  # protocols.md section 2, step 4
_BEFORE_ADMISSION = ("offer/", "admit/")


def handlers(ctx: NodeContext) -> dict[str, RunnerHandler]:
    """Every step kind as the runner calls it."""
    return {kind: _bound(ctx, handler) for kind, handler in STEPS.items()}


def _bound(ctx: NodeContext, handler: Handler) -> RunnerHandler:
    def run(task: StepTask) -> StepOutput:
        try:
            return step(task)
        finally:
            if ctx.dataset.rows >= MANY_ROWS:
                give_back()

    def step(task: StepTask) -> StepOutput:
        if not 1 <= task.attempt <= MAX_ATTEMPTS:
            raise ProtocolViolation("equivocation", "the coordinator starts a job over too often")
        session = Session(ctx, task.job, task.attempt)
        incoming = Incoming(
            step=task.step,
            requester=task.requester,
            sealed=task.sealed,
            inputs={name: local.path for name, local in task.inputs.items()},
            progress=task.progress,
        )
        try:
            if incoming.step == f"offer/{ctx.name}":
                session.accept_proposal(task.sealed, task.requester)
            refs = {name: local.ref for name, local in task.inputs.items()}
            sequence.check(session.steps, task.key, refs)
            if task.step.startswith("admit/"):
                _approval(session)
                task.progress(0, 0)  # no longer waiting: from here the step's limit runs
            output = _written(handler(session, incoming), task)
            _stage_done(session, task.step)
            # Per step, so that a step that is done again after a crash is not counted twice.
            ctx.records.put(task.job, f"sent.{task.key}", output.path.stat().st_size)
            return output
        except AssentError as error:
            placed = error if error.info.party else _placed(error, ctx.name, task.step)
            # A no before the job is admitted; one after it is in the statement of its end.
            no = isinstance(error, Refused) and task.step.startswith(_BEFORE_ADMISSION)
            if no and not session.dry_run:
                ctx.job_log.refused(session, placed.info)
            raise placed from (None if placed is error else error)
        except (OSError, OperationalError) as error:
            # The vault, the records and the ledger write too; any other such error is a bug.
            if not _is_full(error):
                raise
            raise _placed(_disk_full(), ctx.name, task.step) from error

    return run


def _is_full(error: OSError | OperationalError) -> bool:
    if isinstance(error, OSError):
        return error.errno in (errno.ENOSPC, errno.EDQUOT)
    return "full" in str(error.orig)


def _disk_full() -> Failed:
    return Failed(
        "disk_full",
        "the node's disk is full",
        next_step="make room in the node's data folder; the job can then be run again",
    )


def _placed(error: AssentError, party: str, step: str) -> AssentError:
    """The same error, naming this party and the step where it did not say so itself."""
    info = replace(error.info, party=party, stage=error.info.stage or step)
    return from_info(info, error.status)


def _approval(session: Session) -> None:
    """Gate 2: the owner approves exactly this job; asking again changes nothing."""
    ctx = session.ctx
    if session.is_requester or ctx.party.approval == "auto":
        return
    decision, reason = ctx.records.decision(session.job_id)
    if decision is None:
        ctx.records.set_state(session.job_id, "waiting for approval")
        raise WaitForApproval
    ctx.records.set_state(session.job_id, "running")
    if decision == "refused":
        raise Refused(
            "approval_refused",
            f"{ctx.name} refused the job" + (f": {reason}" if reason else ""),
            party=ctx.name,
            stage="admit",
            next_step="talk to that company",
        )


def _written(made: Outgoing, task: StepTask) -> StepOutput:
    """The artifact as a file in the step's own folder: header, then the chunks as they come."""
    path = task.workdir / "output"
    with path.open("wb") as file:
        file.write(frame_head(made.header))
        for chunk in made.chunks:
            if task.cancelled.is_set():
                raise Failed("cancelled", "the job ended while this step was at work")
            file.write(np.ascontiguousarray(chunk).data)
            if made.early:
                file.flush()
                task.grew(path, file.tell())
        file.flush()
        os.fsync(file.fileno())
    return StepOutput(path, made.commit)


# -- signatures ----------------------------------------------------------------------------


def signer(ctx: NodeContext) -> Callable[[ArtifactRef], bytes]:
    """Signs this party's outputs under the job hash, or the proposal before there is one."""

    def sign(ref: ArtifactRef) -> bytes:
        tag = Session(ctx, ref.job, ref.attempt).tag(ref.step, ref.author, ref.recipient)
        return transcript.sign(tag, ref.sha256, ctx.keys.signing)

    return sign


def verifier(ctx: NodeContext, coordinator: identity.Card) -> Callable[[ArtifactRef], None]:
    """Every input is checked before a byte of it is parsed; the coordinator signs its own."""

    def verify(ref: ArtifactRef) -> None:
        session = Session(ctx, ref.job, ref.attempt)
        tag: ArtifactTag = session.tag(ref.step, ref.author, ref.recipient)
        if ref.author == COORDINATOR:
            transcript.verify(tag, ref.sha256, ref.signature, coordinator.signing_key)
            return
        transcript.verify(tag, ref.sha256, ref.signature, session.card(ref.author).signing_key)

    return verify


def _stage_done(session: Session, step: str) -> None:
    """When each stage of an attempt was done, for the statement at the job's end."""
    now = int(session.ctx.now() * 1000)
    stage = f"{STAGE}{session.attempt}.{step.partition('/')[0]}"
    session.ctx.records.put(session.job_id, stage, now)


def ended(ctx: NodeContext, status: JobStatus) -> None:
    """A job has ended: its secrets go, what it reserved and did not spend comes back, and how
    it ended is said in the job log."""
    job, state = status.id, status.state
    for attempt in range(1, MAX_ATTEMPTS + 1):
        session = Session(ctx, job, attempt)
        if session.vault.has("paillier"):
            ctx.kernel.forget(session.paillier_key.public)
    ctx.ledger.release(ctx.name, job)
    left = _budget_left(ctx, job)
    Session(ctx, job, 0).vault.wipe()
    code = status.error.code if status.error is not None else ""
    ctx.job_log.closed(job, state, code, ctx.records.record(job), left)
    ctx.records.set_state(job, state)


def _budget_left(ctx: NodeContext, job: str) -> int | None:
    """What the account that paid for a job can still pay; None where nothing is paid."""
    session = Session(ctx, job, 1)
    if not session.accepted or not admission.recipients(session):
        return None
    return ctx.ledger.remaining(admission.account(session), ctx.now())
