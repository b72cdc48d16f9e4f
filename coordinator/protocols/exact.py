"""The coordinator's side of `kmeans, mode: exact`: rounds of masked distances.

Who runs it: H.  Learns: what `matched` says with `reveal: members`; the number of clusters and
rounds; per row and round k-2 ratios of differences of distances, in orders of rows and columns
that it does not know, and their size within a factor of 2^14; rows of two rounds can be linked
once centres hardly move.  With one party of the job it learns the other's distances.
Source: protocols.md section 4 (k-means, vertical, exact).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import numpy as np

from coordinator.engine import JobContext, LocalFunction
from coordinator.protocols.matched import Begun, Refs, attempt, begin, checked
from protocol.errors import Failed
from protocol.frames import parse_head
from protocol.kmeans.exact import codec
from protocol.kmeans.exact.coordinator import nearest, numbered
from protocol.psi.join import common_handles
from protocol.transport.port import COORDINATOR, EVERYONE, ArtifactRef
from protocol.wire.kmeans_exact_pb2 import MaskedDistances

_HEAD = 1 << 16


async def run(ctx: JobContext) -> None:
    await attempt(ctx, _attempt)


async def _attempt(ctx: JobContext) -> None:
    begun = await begin(ctx)
    if begun is None:
        return
    places = await _places(ctx, begun)
    requester, providers = ctx.job.requester, list(ctx.job.params["providers"])
    number, found = await _rounds(ctx, begun, places)
    at_end = begun.admitted | {"nearest": found}
    sealed = await asyncio.gather(
        *(ctx.party_step(f"closing/{number}/{p}", p, at_end, recipient=requester)
          for p in providers)
    )  # fmt: skip
    # The requester last: where a party failed, nothing counts as released.
    closed = {f"closing/{p}": ref for p, ref in zip(providers, sealed, strict=True)}
    step = f"conclude/{number}"
    await ctx.party_step(step, requester, at_end | closed, recipient=COORDINATOR)


async def _places(ctx: JobContext, begun: Begun) -> dict[str, Refs]:
    """Per party what its first round needs: its numbers, and with zscore everybody's spread."""
    parties, types = list(ctx.job.parties), int(ctx.job.params["types"])
    uploads = await asyncio.gather(*(begun.matching.upload(party) for party in parties))
    seed = await ctx.random("shuffle", 32)

    def join(paths: Mapping[str, Path], out: Path) -> None:
        found = [checked(paths[party], begun.sizes[party], types) for party in parties]
        common = common_handles([one.tokens for one in found], types, found[0].width)
        np.concatenate(numbered(common, seed)).tofile(out)

    by_party = dict(zip(parties, uploads, strict=True))
    joined = await ctx.local_step("join", join, by_party, recipient=COORDINATOR)
    places: dict[str, Refs] = {}
    start = 0
    for party in parties:
        size = begun.sizes[party]
        ref = await ctx.local_step(
            f"places/{party}", _part(start, start + size), {"joined": joined}, recipient=party
        )
        places[party] = {"places": ref}
        start += size
    if not ctx.job.params["spread"]:
        return places
    found = await asyncio.gather(
        *(ctx.party_step(f"spread/{p}", p, begun.admitted | places[p]) for p in parties)
    )
    spreads = {f"spread/{p}": ref for p, ref in zip(parties, found, strict=True)}
    return {party: refs | spreads for party, refs in places.items()}


def _part(start: int, end: int) -> LocalFunction:
    def write(paths: Mapping[str, Path], out: Path) -> None:
        every = np.fromfile(paths["joined"], dtype=np.int64)
        out.write_bytes(codec.places_frame(every[start:end], int(every.max(initial=-1)) + 1))

    return write


async def _rounds(
    ctx: JobContext, begun: Begun, places: Mapping[str, Refs]
) -> tuple[int, ArtifactRef]:
    """Until the parties say that it is over; the last round and what was nearest in it."""
    given = {party: begun.admitted | refs for party, refs in places.items()}
    found: ArtifactRef | None = None
    for number in count(1):
        uploads = await asyncio.gather(
            *(ctx.party_step(f"distances/{number}/{p}", p, given[p], recipient=COORDINATOR)
              for p in given)
        )  # fmt: skip
        last, done = _agreed([_head(ctx, ref) for ref in uploads])
        if done:
            if found is None:
                raise Failed("bad_artifact", "a party ended before it began", stage="distances")
            return number - 1, found
        inputs = {f"distances/{p}": ref for p, ref in zip(given, uploads, strict=True)}
        found = await ctx.local_step(f"nearest/{number}", _nearest, inputs, recipient=EVERYONE)
        if last:
            return number, found
        given = {party: {"nearest": found} for party in given}
    raise AssertionError("unreachable")  # pragma: no cover - count() has no end


def _head(ctx: JobContext, ref: ArtifactRef) -> MaskedDistances:
    with ctx.path(ref).open("rb") as file:
        return parse_head(file.read(_HEAD), MaskedDistances)[0]


def _agreed(heads: list[MaskedDistances]) -> tuple[bool, bool]:
    """(last, done), which all parties compute from the same labels."""
    if any(head != heads[0] for head in heads):
        raise Failed(
            "bad_artifact",
            "the parties disagree about the round that they are in",
            stage="distances",
            next_step="one of them runs other software, or people were paired wrongly",
        )
    return heads[0].last, heads[0].done


def _nearest(paths: Mapping[str, Path], out: Path) -> None:
    uploads = [codec.masked(path) for path in paths.values()]
    out.write_bytes(codec.nearest_frame(nearest(uploads)))
