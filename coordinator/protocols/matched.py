"""The coordinator's side of `psi` and `crosstab`: one straight-line function over steps.

Who runs it: H.  Learns: padded sizes, the anonymous pairing with dummies in it, which types
agree, counts of ciphertexts; no identifier, attribute name, key or result.  The match count
is reported to nobody and written nowhere (protocols.md sections 1 and 2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from coordinator.engine import JobContext, LocalFunction
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
    """One attempt; a consent that changed before layout starts everything anew."""
    try:
        await _attempt(ctx)
    except AssentError as error:
        if error.info.code == CHANGED:
            # A layout is never patched: new offers, keys, tokens and ciphertexts.
            ctx.new_attempt(CHANGED)
        raise


async def _attempt(ctx: JobContext) -> None:
    job = ctx.job
    requester, providers = job.requester, list(job.params["providers"])
    offers = await _offers(ctx)
    if job.params["dry_run"]:
        await _plan(ctx, offers)
        return
    # The requester first: a stored answer spares the others every gate and every byte.
    admits = {requester: await _admit(ctx, requester, offers)}
    admission = await _admission(ctx, admits[requester])
    if admission.answered:
        return
    ctx.bind_job_hash(admission.job_hash)
    found = await asyncio.gather(*(_admit(ctx, party, offers) for party in providers))
    admits |= dict(zip(providers, found, strict=True))
    sizes = {p: int((await _admission(ctx, ref)).handles) for p, ref in admits.items()}
    admitted = {f"admit/{party}": ref for party, ref in admits.items()}
    keys = await asyncio.gather(
        *(ctx.party_step(f"key/{p}", requester, admitted, recipient=p) for p in providers)
    )
    delivered = dict(zip(providers, keys, strict=True))
    if job.params["reveal"] == "members":
        uploads = await _uploads(ctx, admitted, delivered)
        await _members(ctx, uploads, sizes)
        return
    (provider,) = providers
    # Encrypting needs the sizes only; it shares the machine with matching, not the clock.
    uploads, rows = await asyncio.gather(
        _uploads(ctx, admitted, delivered),
        ctx.party_step("encrypt", requester, admitted, recipient=COORDINATOR),
    )
    layout = await _layout(ctx, uploads, rows, requester, provider, sizes)
    outputs = await ctx.party_step(
        f"aggregate/{provider}", provider, {**admitted, "layout": layout}, recipient=requester
    )
    await ctx.party_step("open", requester, {**admitted, "outputs": outputs}, recipient=COORDINATOR)


async def _offers(ctx: JobContext) -> Refs:
    found = await asyncio.gather(
        *(ctx.party_step(f"offer/{party}", party) for party in ctx.job.parties)
    )
    return {f"offer/{p}": ref for p, ref in zip(ctx.job.parties, found, strict=True)}


async def _plan(ctx: JobContext, offers: Refs) -> None:
    requester = ctx.job.requester
    parts = {}
    for party in ctx.job.params["providers"]:
        step = f"plan/{party}"
        parts[step] = await ctx.party_step(step, party, offers, recipient=requester)
    await ctx.party_step(f"plan/{requester}", requester, {**offers, **parts}, recipient=COORDINATOR)


async def _admit(ctx: JobContext, party: str, offers: Refs) -> ArtifactRef:
    return await ctx.party_step(f"admit/{party}", party, offers, recipient=EVERYONE)


async def _admission(ctx: JobContext, ref: ArtifactRef) -> job_pb2.Admission:
    return parse_head(await ctx.read(ref), job_pb2.Admission)[0]


async def _uploads(ctx: JobContext, admitted: Refs, delivered: Refs) -> Refs:
    """Every party's comparable tokens: keyed ones, or points blinded by every party."""

    def inputs(party: str) -> Refs:
        key = {"key": delivered[party]} if party in delivered else {}
        return {**admitted, **key}

    parties = ctx.job.parties
    if ctx.job.params["mode"] == "keyed":
        found = await asyncio.gather(
            *(ctx.party_step(f"tokens/{p}", p, inputs(p), recipient=COORDINATOR) for p in parties)
        )
        return dict(zip(parties, found, strict=True))
    found = await asyncio.gather(*(_ring(ctx, p, admitted, inputs(p)) for p in parties))
    return dict(zip(parties, found, strict=True))


async def _ring(ctx: JobContext, origin: str, admitted: Refs, own: Refs) -> ArtifactRef:
    """One party's points go through every other party and come to H blinded by all."""
    parties = list(ctx.job.parties)
    at = parties.index(origin)
    others = parties[at + 1 :] + parties[:at]
    points = await ctx.party_step(f"points/{origin}", origin, own, recipient=others[0])
    for place, party in enumerate(others):
        last = place == len(others) - 1
        recipient = COORDINATOR if last else others[place + 1]
        step = f"reblind/{party}/of/{origin}"
        inputs = {**admitted, "points": points}
        points = await ctx.party_step(step, party, inputs, recipient=recipient)
    return points


async def _layout(
    ctx: JobContext, uploads: Refs, rows: ArtifactRef, requester: str, provider: str,
    sizes: Mapping[str, int],
) -> ArtifactRef:  # fmt: skip
    types = int(ctx.job.params["types"])

    def pair(paths: Mapping[str, Path], out: Path) -> None:
        left, right = (
            _checked(paths[party], sizes[party], types) for party in (requester, provider)
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
        found = [_checked(paths[party], sizes[party], types) for party in parties]
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


def _checked(path: Path, size: int, types: int) -> Uploaded:
    found = uploaded(path, types)
    if len(found.tokens) != size:
        raise Failed("bad_artifact", "an upload has another size than was admitted", stage="join")
    return found
