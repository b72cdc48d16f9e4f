"""The coordinator's side of vertical k-means `grid`: a cross-tab of local cells, then labels.

Who runs it: H.  Learns: what it learns of a cross-tab (`coordinator.protocols.matched`): padded
sizes, the anonymous pairing with dummies in it, how many cells a party may have at most; no
attribute, centre, segment or result.  protocols.md section 4.
"""

from __future__ import annotations

import asyncio

from coordinator.engine import JobContext
from coordinator.protocols.matched import attempt, begin, laid_out
from protocol.transport.port import COORDINATOR


async def run(ctx: JobContext) -> None:
    await attempt(ctx, _attempt)


async def _attempt(ctx: JobContext) -> None:
    begun = await begin(ctx)
    if begun is None:
        return
    requester, (provider,) = ctx.job.requester, ctx.job.params["providers"]
    admitted, matching = begun.admitted, begun.matching
    first = await matching.first(requester)
    left, right, rows = await asyncio.gather(
        matching.rest(requester, first),
        matching.upload(provider),
        ctx.party_step("encrypt_cells", requester, admitted, recipient=COORDINATOR),
    )
    uploads = {requester: left, provider: right}
    layout = await laid_out(ctx, uploads, rows, provider, begun.sizes)
    outputs = await ctx.party_step(
        f"aggregate_cells/{provider}", provider, admitted | {"layout": layout}, recipient=requester
    )
    segments = await ctx.party_step(
        "segments", requester, admitted | {"outputs": outputs}, recipient=provider
    )
    # The requester last: where the provider failed, nothing counts as released.
    labelled = await ctx.party_step(
        f"label/{provider}", provider, {"segments": segments}, recipient=COORDINATOR
    )
    await ctx.party_step("open_segments", requester, {"labelled": labelled}, recipient=COORDINATOR)
