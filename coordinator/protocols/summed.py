"""The coordinator's side of secure sums and of everything on them: rounds until the end.

Who runs it: H.  Learns: padded sizes, how many numbers are summed and in how many rounds; no
attribute, question, number or result (protocols.md section 3).
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from itertools import count
from pathlib import Path

import numpy as np

from coordinator.engine import JobContext
from coordinator.protocols.matched import Refs, admission_of, admit, offers_of, plan
from protocol.frames import M, parse_head
from protocol.secure_sum import codec
from protocol.secure_sum.coordinator import multiply
from protocol.transport.port import COORDINATOR
from protocol.wire.secure_sum_pb2 import RoundQuestion

_HEAD = 8 + (4 << 20)  # prefix and longest header of a frame


async def run(ctx: JobContext) -> None:
    """One attempt: a party that is missing ends the job, since its masks would stay."""
    job = ctx.job
    requester, parties = job.requester, list(job.parties)
    offers = await offers_of(ctx)
    if job.params["dry_run"]:
        await plan(ctx, offers)
        return
    admits = {requester: await admit(ctx, requester, offers)}
    admission = await admission_of(ctx, admits[requester])
    if admission.answered:
        return
    ctx.bind_job_hash(admission.job_hash)
    others = [party for party in parties if party != requester]
    found = await asyncio.gather(*(admit(ctx, party, offers) for party in others))
    admits |= dict(zip(others, found, strict=True))
    admitted = {f"admit/{party}": admits[party] for party in parties}
    seeds, proofs = await asyncio.gather(
        asyncio.gather(*(ctx.party_step(f"seeds/{p}", p, admitted) for p in parties[:-1])),
        asyncio.gather(
            *(ctx.party_step(f"proof/{p}", requester, admitted, recipient=p) for p in others)
        ),
    )
    given = admitted | {f"seeds/{p}": ref for p, ref in zip(parties[:-1], seeds, strict=True)}
    delivered: dict[str, Refs] = {requester: {}}
    delivered |= {p: {"proof": ref} for p, ref in zip(others, proofs, strict=True)}
    await _rounds(ctx, admitted, given, delivered)


async def _rounds(ctx: JobContext, admitted: Refs, given: Refs, proofs: Mapping[str, Refs]) -> None:
    """Asks until the requester says that it is done; the nodes do a limited number only."""
    requester, parties = ctx.job.requester, list(ctx.job.parties)
    opened: Refs = {}
    for number in count(1):
        asked = await ctx.party_step(f"ask/{number}", requester, admitted | opened)
        done = parse_head(await ctx.read(asked), RoundQuestion)[0].done
        if done:
            inputs = admitted | {"ask": asked}
            # The requester last: where a party failed, nothing counts as released.
            others = [party for party in parties if party != requester]
            await _each(ctx, f"finish/{number}", dict.fromkeys(others, inputs))
            await _each(ctx, f"finish/{number}", {requester: inputs})
            return
        uploads = await _each(
            ctx, f"sum/{number}", {p: given | proofs[p] | {"ask": asked} for p in parties}
        )
        total = await ctx.local_step(f"total/{number}", _multiply, uploads, recipient=requester)
        opened = {"total": total}


async def _each(ctx: JobContext, step: str, inputs: Mapping[str, Refs]) -> Refs:
    """The step of every party at once; its output by `step/party`."""
    found = await asyncio.gather(
        *(
            ctx.party_step(f"{step}/{party}", party, given, recipient=COORDINATOR)
            for party, given in inputs.items()
        )
    )
    return {f"{step}/{party}": ref for party, ref in zip(inputs, found, strict=True)}


def _multiply(paths: Mapping[str, Path], out: Path) -> None:
    n, bodies = codec.uploads([_framed(path, codec.UPLOAD) for path in paths.values()])
    out.write_bytes(codec.total_frame(multiply(n, bodies)))


def _framed(path: Path, kind: type[M]) -> tuple[M, codec.Bytes]:
    data = path.read_bytes()
    head, offset = parse_head(data[:_HEAD], kind)
    return head, np.frombuffer(data, dtype=np.uint8, offset=offset)
