"""The coordinator's side of `psi` and `crosstab`: one straight-line function over steps.

Who runs it: H.  Learns: padded sizes, the anonymous pairing with dummies in it, which types
agree, counts of ciphertexts; no identifier, attribute name, key or result.  The match count
is reported to nobody and written nowhere (protocols.md sections 1 and 2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from coordinator.engine import JobContext, LocalFunction, ProtocolFunction
from protocol.crosstab.codec import layout_frame
from protocol.crosstab.coordinator import layout as lay_out
from protocol.errors import AssentError, Failed
from protocol.frames import parse_head
from protocol.psi.codec import Uploaded, marks_frame, uploaded
from protocol.psi.join import join_all, waterfall
from protocol.transport.port import COORDINATOR, EVERYONE, ArtifactRef
from protocol.wire import job_pb2
from protocol.wire.crosstab_pb2 import RowUpload

CHANGED = "consent_changed"
Refs = dict[str, ArtifactRef]


async def run(ctx: JobContext) -> None:
    await attempt(ctx, _attempt)


async def attempt(ctx: JobContext, function: ProtocolFunction) -> None:
    """One attempt; a consent that changed before anything left starts everything anew."""
    try:
        await function(ctx)
    except AssentError as error:
        if error.info.code == CHANGED:
            # What was sent is never patched: new offers, keys, tokens and ciphertexts.
            ctx.new_attempt(CHANGED)
        raise


@dataclass(frozen=True)
class Begun:
    """All parties have admitted the job.  sizes: handles of each."""

    admitted: Refs
    sizes: Mapping[str, int]
    matching: Matching


async def begin(ctx: JobContext) -> Begun | None:
    """Offers, admissions and keys; None where a plan or a stored answer was all."""
    job = ctx.job
    requester, providers = job.requester, list(job.params["providers"])
    offers = await offers_of(ctx)
    if job.params["dry_run"]:
        await plan(ctx, offers)
        return None
    # The requester first: a stored answer spares the others every gate and every byte.
    admits = {requester: await admit(ctx, requester, offers)}
    admission = await admission_of(ctx, admits[requester])
    if admission.answered:
        return None
    ctx.bind_job_hash(admission.job_hash)
    found = await asyncio.gather(*(admit(ctx, party, offers) for party in providers))
    admits |= dict(zip(providers, found, strict=True))
    sizes = {p: int((await admission_of(ctx, ref)).handles) for p, ref in admits.items()}
    admitted = {f"admit/{party}": ref for party, ref in admits.items()}
    keys = await asyncio.gather(
        *(ctx.party_step(f"key/{p}", requester, admitted, recipient=p) for p in providers)
    )
    matching = Matching(ctx, admitted, dict(zip(providers, keys, strict=True)))
    return Begun(admitted, sizes, matching)


async def _attempt(ctx: JobContext) -> None:
    begun = await begin(ctx)
    if begun is None:
        return
    job = ctx.job
    requester, providers = job.requester, list(job.params["providers"])
    admitted, sizes, matching = begun.admitted, begun.sizes, begun.matching
    if job.params["reveal"] == "members":
        uploads = await asyncio.gather(*(matching.upload(party) for party in job.parties))
        await _members(ctx, dict(zip(job.parties, uploads, strict=True)), sizes)
        return
    (provider,) = providers
    # The requester encrypts in the order of its handles, so after its first upload; from then
    # on encrypting shares the machine with matching.
    first = await matching.first(requester)
    left, right, rows = await asyncio.gather(
        matching.rest(requester, first),
        matching.upload(provider),
        ctx.party_step("encrypt", requester, admitted, recipient=COORDINATOR),
    )
    layout = await laid_out(ctx, {requester: left, provider: right}, rows, provider, sizes)
    outputs = await ctx.party_step(
        f"aggregate/{provider}", provider, {**admitted, "layout": layout}, recipient=requester
    )
    await ctx.party_step("open", requester, {**admitted, "outputs": outputs}, recipient=COORDINATOR)


async def offers_of(ctx: JobContext) -> Refs:
    found = await asyncio.gather(
        *(ctx.party_step(f"offer/{party}", party) for party in ctx.job.parties)
    )
    return {f"offer/{p}": ref for p, ref in zip(ctx.job.parties, found, strict=True)}


async def plan(ctx: JobContext, offers: Refs) -> None:
    requester = ctx.job.requester
    parts = {}
    for party in ctx.job.params["providers"]:
        step = f"plan/{party}"
        parts[step] = await ctx.party_step(step, party, offers, recipient=requester)
    await ctx.party_step(f"plan/{requester}", requester, {**offers, **parts}, recipient=COORDINATOR)


async def admit(ctx: JobContext, party: str, offers: Refs) -> ArtifactRef:
    return await ctx.party_step(f"admit/{party}", party, offers, recipient=EVERYONE)


async def admission_of(ctx: JobContext, ref: ArtifactRef) -> job_pb2.Admission:
    return parse_head(await ctx.read(ref), job_pb2.Admission)[0]


@dataclass(frozen=True)
class Matching:
    """Gets every party's comparable tokens: keyed ones, or points blinded by every party."""

    ctx: JobContext
    admitted: Refs
    delivered: Refs

    async def upload(self, party: str) -> ArtifactRef:
        return await self.rest(party, await self.first(party))

    async def first(self, party: str) -> ArtifactRef:
        """The party's own step: its tokens for H, or its points for the next party."""
        key = {"key": self.delivered[party]} if party in self.delivered else {}
        inputs = {**self.admitted, **key}
        if self._keyed:
            return await self.ctx.party_step(
                f"tokens/{party}", party, inputs, recipient=COORDINATOR
            )
        recipient = self._others(party)[0]
        return await self.ctx.party_step(f"points/{party}", party, inputs, recipient=recipient)

    async def rest(self, origin: str, points: ArtifactRef) -> ArtifactRef:
        """ecdh: the points go through every other party and come to H blinded by all."""
        if self._keyed:
            return points
        others = self._others(origin)
        for party, recipient in zip(others, [*others[1:], COORDINATOR], strict=True):
            step = f"reblind/{party}/of/{origin}"
            inputs = {**self.admitted, "points": points}
            points = await self.ctx.party_step(step, party, inputs, recipient=recipient)
        return points

    @property
    def _keyed(self) -> bool:
        return bool(self.ctx.job.params["mode"] == "keyed")

    def _others(self, party: str) -> list[str]:
        parties = list(self.ctx.job.parties)
        at = parties.index(party)
        return parties[at + 1 :] + parties[:at]


async def laid_out(
    ctx: JobContext, uploads: Refs, rows: ArtifactRef, provider: str, sizes: Mapping[str, int]
) -> ArtifactRef:
    types, requester = int(ctx.job.params["types"]), ctx.job.requester

    def pair(paths: Mapping[str, Path], out: Path) -> None:
        left, right = (
            checked(paths[party], sizes[party], types) for party in (requester, provider)
        )
        pairing = waterfall(left.tokens, right.tokens, types, left.width)
        lay_out(pairing, sizes[requester]).astype("<i8").tofile(out)

    index = await ctx.local_step("join", pair, uploads, recipient=COORDINATOR)
    # The requester looks at its consents once more, at the last moment that still can undo.
    await ctx.party_step("recheck", requester, {"rows": rows}, recipient=COORDINATOR)
    width, head = await asyncio.to_thread(
        _layout_frame, ctx, rows, sizes[requester], sizes[provider]
    )
    return await ctx.virtual("layout", rows, index, width, head, recipient=provider)


def _layout_frame(ctx: JobContext, rows: ArtifactRef, left: int, right: int) -> tuple[int, bytes]:
    """Row width and head of the layout, from the upload's own, checked header."""
    with ctx.path(rows).open("rb") as file:
        head, offset = parse_head(file.read(1 << 16), RowUpload)
    return layout_frame(head, rows.size - offset, left, right)


async def _members(ctx: JobContext, uploads: Refs, sizes: Mapping[str, int]) -> None:
    types, parties = int(ctx.job.params["types"]), list(ctx.job.parties)

    def join(paths: Mapping[str, Path], out: Path) -> None:
        found = [checked(paths[party], sizes[party], types) for party in parties]
        marks = join_all([upload.tokens for upload in found], types, found[0].width)
        np.concatenate(marks).tofile(out)

    joined = await ctx.local_step("join", join, uploads, recipient=COORDINATOR)
    starts = dict(zip(parties, np.cumsum([0, *(sizes[p] for p in parties)]).tolist(), strict=False))

    def write(party: str) -> LocalFunction:
        def marks(paths: Mapping[str, Path], out: Path) -> None:
            every = np.fromfile(paths["joined"], dtype=np.bool_)
            out.write_bytes(marks_frame(every[starts[party] : starts[party] + sizes[party]]))

        return marks

    for party in parties:
        ref = await ctx.local_step(
            f"marks/{party}", write(party), {"joined": joined}, recipient=party
        )
        await ctx.party_step(f"members/{party}", party, {"marks": ref}, recipient=COORDINATOR)


def checked(path: Path, size: int, types: int) -> Uploaded:
    found = uploaded(path, types)
    if len(found.tokens) != size:
        raise Failed("bad_artifact", "an upload has another size than was admitted", stage="join")
    return found
