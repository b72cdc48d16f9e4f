"""The owner's desk: submit, follow, decide, record consent.  What the socket and pages call.

Who runs it: every node.  A job leaves this party only as public facts for the coordinator
and one sealed proposal per party.
"""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa

from catalog.job import JobSpec
from catalog.vocabulary import CATEGORIES, PURPOSES
from consent.portal.port import MAX_TEXT, TICKET_STATES
from party_node import admission, outcome
from party_node.bulk_import import BulkImport
from party_node.control_client import UNREACHABLE
from party_node.session import NONCE, NodeContext, proposal_info
from protocol import identity, transcript
from protocol.encoding import canonical_json
from protocol.errors import AssentError, BadInput, ErrorInfo
from protocol.psi.identifiers import canonicalise
from protocol.transport.port import WAITING, CoordinatorPort, JobRequest, JobStatus
from protocol.wire import job_pb2
from protocol.wire import node_pb2 as pb

VERSIONS = {"psi": 1, "crosstab": 1, "secure_sum": 1, "rfm": 1, "ltv": 1, "kmeans": 1,
            "kmeans_grid": 1, "kmeans_exact": 1, "lookalike": 1}  # fmt: skip
_SILENCE = 2.0  # seconds without an answer until the analyst is told
_PAUSES = (0.1, 0.5, 2.0)  # seconds between tries to hand in a job


class Desk:
    """Async where the coordinator is asked, plain where the party's own store is."""

    def __init__(
        self,
        ctx: NodeContext,
        port: CoordinatorPort,
        state: Callable[[], Mapping[str, Any]],
    ) -> None:
        self._ctx = ctx
        self._port = port
        self._state = state

    # -- jobs ----------------------------------------------------------------------------

    async def submit(self, job: dict[str, Any], *, dry_run: bool) -> str:
        """Hands a job to the coordinator; its words go sealed to the parties only."""
        spec = JobSpec.from_canonical(job)
        ctx = self._ctx
        if spec.requester != ctx.name:
            raise BadInput(
                f"the job's requester is {spec.requester}, this node is {ctx.name}",
                next_step="submit it at the requester's node",
            )
        for party in spec.parties:
            if party not in ctx.cards:
                raise BadInput(
                    f"{party} is not in collaboration.yaml",
                    next_step=f"it names {', '.join(sorted(ctx.cards))}",
                )
        if spec.procedure not in VERSIONS:
            raise BadInput(f"{spec.procedure} is not in this version of the node")
        job_id = uuid.uuid4().hex
        unknown = sorted(set(spec.own_attributes(ctx.name)) - set(ctx.party.attributes))
        if unknown:
            known = ", ".join(sorted(ctx.party.attributes))
            raise BadInput(f"{ctx.name} has no attribute {unknown[0]}", next_step=f"it has {known}")
        params = {
            "purpose": spec.purpose,
            "mode": spec.match.mode,
            "reveal": spec.match.reveal,
            "types": len(spec.match.on),
            "dry_run": dry_run,
            "providers": list(spec.providers),
        }
        if spec.lookalike is not None:
            params["curve"] = bool(spec.lookalike.curve)
        if spec.vertical is not None:
            params["spread"] = spec.vertical.scale == "zscore"
        listed = f"{spec.name} (plan)" if dry_run else spec.name
        ctx.records.seen(job_id, listed, spec.requester, admission.describe(spec, ctx))
        ctx.records.put(job_id, "asked", outcome.asked(spec))
        request = JobRequest(
            job_id, spec.procedure, VERSIONS[spec.procedure], spec.requester,
            spec.parties, params, self._proposals(job_id, spec, dry_run),
        )  # fmt: skip
        await self._hand_in(request)
        return job_id

    async def _hand_in(self, request: JobRequest) -> None:
        """A lost answer may have been a yes: the same id again is the same job, once."""
        for pause in _PAUSES:
            try:
                await self._port.submit(request)
                return
            except AssentError as error:
                if not error.info.retryable:
                    raise
            await asyncio.sleep(pause)
        await self._port.submit(request)

    def _proposals(self, job_id: str, spec: JobSpec, dry_run: bool) -> dict[str, bytes]:
        canonical, nonce = spec.canonical(), self._ctx.random(NONCE)
        digest = transcript.proposal_hash(job_id, canonical, nonce=nonce, dry_run=dry_run)
        message = job_pb2.Proposal(
            job=canonical_json(canonical),
            signature=identity.sign(self._ctx.keys.signing, digest),
            dry_run=dry_run,
            nonce=nonce,
        ).SerializeToString(deterministic=True)
        sealed = {}
        for party in spec.parties:
            info = proposal_info(job_id, spec.requester, party)
            key = self._ctx.cards[party].sealing_key
            sealed[party] = identity.seal(key, message, info)
        return sealed

    async def watch(self, job: str, since: int, wait: float) -> pb.NodeJobView:
        """The job's next state; "unreachable" while the coordinator does not answer."""
        self._require_known(job)
        loop = asyncio.get_running_loop()
        until = loop.time() + min(wait, _SILENCE)
        while True:
            try:
                return self._view(await self._port.watch(job, since, wait))
            except AssentError as error:
                if not error.info.retryable:
                    raise
            if loop.time() >= until:
                return pb.NodeJobView(job_id=job, version=since, state=UNREACHABLE)
            await asyncio.sleep(0.5)

    def _view(self, status: JobStatus) -> pb.NodeJobView:
        error = ""
        if status.error is not None:
            info = outcome.open_error(self._ctx.keys, status.id, status.error)
            error = json.dumps(error_fields(info), ensure_ascii=False)
        waiting = status.progress.state == WAITING and not status.ended
        return pb.NodeJobView(
            job_id=status.id,
            version=status.version,
            state="waiting for approval" if waiting else status.state,
            stage=status.stage,
            party=status.party,
            fraction=status.progress.fraction,
            error=error,
            attempt=status.attempt,
        )

    def jobs(self) -> list[dict[str, Any]]:
        return [
            {"job_id": row["job"], "name": row["name"], "requester": row["requester"],
             "state": row["state"], "sentence": row["sentence"], "since": row["since"]}
            for row in self._ctx.records.jobs()
        ]  # fmt: skip

    def record(self, job: str) -> dict[str, Any]:
        self._require_known(job)
        return self._ctx.records.record(job)

    async def cancel(self, job: str) -> str:
        self._require_known(job)
        status = await self._port.cancel(job, f"cancelled by {self._ctx.name}")
        return f"{job} is {status.state}" + (f" ({status.error.code})" if status.error else "")

    def approve(self, job: str, approve: bool, reason: str) -> str:
        self._require_known(job)
        held = self._ctx.records.decide(job, approve, reason)
        return f"{job} is {held} by {self._ctx.name}"

    def _require_known(self, job: str) -> None:
        if not self._ctx.records.known(job):
            raise BadInput(
                f"{job}: {self._ctx.name}'s node knows no such job",
                next_step="see `assent job list`",
            )

    # -- people --------------------------------------------------------------------------

    async def consent(self, id_type: str, identifier: str, purpose: str, recipient: str,
                      category: str, state: str) -> str:  # fmt: skip
        """One person's event; `all` stands for every purpose, recipient or category."""
        ctx = self._ctx
        canonical = self._canonical(id_type, identifier)
        done = await ctx.gate.record(
            id_type,
            canonical,
            state,
            purposes=PURPOSES if purpose == "all" else (purpose,),
            recipients=None if recipient == "all" else (recipient,),
            categories=CATEGORIES if category == "all" else (category,),
        )
        logged = "recorded" if done.logged else "acts here at once; the ledger gets it later"
        return f"{state} for {done.rows} row(s) of {ctx.name}: {logged}"

    def subject(self, id_type: str, identifier: str) -> str:
        """What the party's own sign-in says to the portal of this customer."""
        pseudonyms = self._ctx.gate.lookup.pseudonyms
        ids = pa.array([self._canonical(id_type, identifier)], type=pa.string())
        return pseudonyms.text(pseudonyms.tokens(id_type, ids)[0].tobytes())

    def _canonical(self, id_type: str, identifier: str) -> str:
        party = self._ctx.party
        if id_type not in party.ids:
            raise BadInput(
                f"{party.name} has no identifiers of type {id_type}",
                next_step=f"pass --type with one of: {', '.join(party.ids)}",
            )
        canonical = canonicalise(id_type, identifier, party.default_region)
        if canonical is None:
            raise BadInput(
                f"the identifier cannot be read (type {id_type})",
                next_step="write it as it stands in the table, or name its --type",
            )
        return canonical

    def bulk_import(self) -> BulkImport:
        ctx = self._ctx
        others = sorted(set(ctx.cards) - {ctx.name})
        return BulkImport(ctx.gate, ctx.party, others, ctx.folder, ctx.now, ctx.random)

    # -- what people asked for ----------------------------------------------------------------

    def rights(self) -> list[dict[str, Any]]:
        return [request.to_dict() for request in self._ctx.rights.all()]

    def settle(self, id: str, state: str, answer: str) -> str:
        if state not in TICKET_STATES[1:]:
            raise BadInput(
                f"{state!r} is no state of a request",
                next_step="use one of " + ", ".join(TICKET_STATES[1:]),
            )
        if len(answer) > MAX_TEXT:
            raise BadInput(f"an answer has at most {MAX_TEXT} characters")
        self._ctx.rights.settle(id, state, answer)
        return f"{id}: {state}; the person sees it in the portal"

    # -- state ---------------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        ctx = self._ctx
        return {"party": ctx.name, "rows": ctx.dataset.rows, "key_bits": ctx.key_bits,
                **self._state()}  # fmt: skip


def error_fields(info: ErrorInfo) -> dict[str, Any]:
    """result.json's `error`."""
    return {
        "code": info.code,
        "party": info.party,
        "stage": info.stage,
        "cause": info.cause,
        "next_step": info.next_step,
        "retryable": info.retryable,
    }
