"""The coordinator's side of `lookalike`: a cross-tab with the roles turned, then perhaps a curve.

Who runs it: H.  Learns: padded sizes, the anonymous pairing with dummies in it, which types
agree, roughly how many features there are, and whether a curve was asked for; no identifier,
attribute name, key, seed or score (protocols.md section 4).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from coordinator.engine import JobContext
from coordinator.protocols.matched import Begun, Refs, attempt, begin, checked
from protocol.crosstab import codec as crosstab_codec
from protocol.crosstab.coordinator import layout as lay_out
from protocol.frames import parse_head
from protocol.lookalike import codec
from protocol.psi.join import waterfall
from protocol.transport.port import COORDINATOR, ArtifactRef
from protocol.wire.crosstab_pb2 import RowUpload

_HEAD = 1 << 16


async def run(ctx: JobContext) -> None:
    await attempt(ctx, _attempt)


async def _attempt(ctx: JobContext) -> None:
    begun = await begin(ctx)
    if begun is not None:
        (provider,) = ctx.job.params["providers"]
        await _Turned(ctx, ctx.job.requester, provider, begun).run()


@dataclass(frozen=True)
class _Turned:
    """After admission."""

    ctx: JobContext
    requester: str
    provider: str
    begun: Begun

    async def run(self) -> None:
        ctx, requester, provider = self.ctx, self.requester, self.provider
        admits, matching = self.begun.admitted, self.begun.matching
        # The provider encrypts in the order of its handles, so after its first upload.
        first = await matching.first(provider)
        theirs, ours, rows, proof = await asyncio.gather(
            matching.rest(provider, first),
            matching.upload(requester),
            ctx.party_step("features", provider, admits, recipient=COORDINATOR),
            ctx.party_step(f"prove/{provider}", provider, admits, recipient=requester),
        )
        uploads = {requester: ours, provider: theirs}
        layout = await self._features_layout(uploads, rows)
        inputs = {**admits, "proof": proof, "layout": layout}
        sums = await ctx.party_step("gather", requester, inputs, recipient=provider)
        fit = await ctx.party_step("fit", provider, {**admits, "sums": sums}, recipient=requester)
        given = {**admits, "fit": fit}
        outputs = {"outputs": await self._curve(uploads, given)} if ctx.job.params["curve"] else {}
        await ctx.party_step("report", requester, given | outputs, recipient=COORDINATOR)

    async def _features_layout(self, uploads: Refs, rows: ArtifactRef) -> ArtifactRef:
        """The provider's ciphertexts in the requester's order."""
        ctx = self.ctx

        def pair(paths: Mapping[str, Path], out: Path) -> None:
            pairing = self._pairing(paths)
            lay_out(pairing, self.begun.sizes[self.provider]).astype("<i8").tofile(out)

        index = await ctx.local_step("join/features", pair, uploads, recipient=COORDINATOR)
        # The provider looks at its consents once more, at the last moment that can undo.
        await ctx.party_step("recheck", self.provider, {"rows": rows}, recipient=COORDINATOR)
        head, size = await asyncio.to_thread(_head, ctx.path(rows))
        upload, offset = parse_head(head, codec.FEATURES)
        sizes = self.begun.sizes[self.requester], self.begun.sizes[self.provider]
        width, frame = codec.layout_frame(upload, size - offset, *sizes)
        return await ctx.virtual(
            "layout/features", rows, index, width, frame, recipient=self.requester
        )

    async def _curve(self, uploads: Refs, given: Refs) -> ArtifactRef:
        """The requester's flags in the provider's order, by the same pairing; their sums."""
        ctx = self.ctx
        rows = await ctx.party_step("flags", self.requester, given, recipient=COORDINATOR)

        def pair(paths: Mapping[str, Path], out: Path) -> None:
            pairing = self._pairing(paths)
            turned = np.full(self.begun.sizes[self.provider], -1, dtype=np.int64)
            matched = np.flatnonzero(pairing >= 0)
            turned[pairing[matched]] = matched
            lay_out(turned, self.begun.sizes[self.requester]).astype("<i8").tofile(out)

        index = await ctx.local_step("join/flags", pair, uploads, recipient=COORDINATOR)
        head, size = await asyncio.to_thread(_head, ctx.path(rows))
        upload, offset = parse_head(head, RowUpload)
        sizes = self.begun.sizes[self.requester], self.begun.sizes[self.provider]
        width, frame = crosstab_codec.layout_frame(upload, size - offset, *sizes)
        layout = await ctx.virtual(
            "layout/flags", rows, index, width, frame, recipient=self.provider
        )
        inputs = {**self.begun.admitted, "layout": layout}
        return await ctx.party_step("bands", self.provider, inputs, recipient=self.requester)

    def _pairing(self, paths: Mapping[str, Path]) -> npt.NDArray[np.int64]:
        """int64[handles of the requester]: the provider's handle that each matches, or -1."""
        types = int(self.ctx.job.params["types"])
        theirs, ours = (
            checked(paths[party], self.begun.sizes[party], types)
            for party in (self.provider, self.requester)
        )
        return waterfall(theirs.tokens, ours.tokens, types, theirs.width)


def _head(path: Path) -> tuple[bytes, int]:
    """The first bytes of an artifact, and its size."""
    with path.open("rb") as file:
        return file.read(_HEAD), path.stat().st_size
