"""Which steps a party does in a job, and whose outputs each may be given.

Who runs it: every node, before a handler sees an input.  A signature says that an author
made an artifact for a step; it does not say that this step may read it.  Without this list a
coordinator could sign a matching key itself, ask for keyed tokens in an `ecdh` job, bring in
what an earlier attempt left, or have a step done twice under two names.
Learns: nobody anything.  protocols.md sections 0 to 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from catalog.job import JobSpec
from catalog.vertical import EXACT
from party_node.grid_terms import is_grid
from party_node.sum_rounds import most_rounds
from protocol.errors import ProtocolViolation
from protocol.transport.port import COORDINATOR, EVERYONE, ArtifactRef, StepKey


@dataclass(frozen=True)
class Source:
    """The one artifact that an input may be: step, author and recipient of its signed tag."""

    step: str
    author: str
    recipient: str = EVERYONE


Inputs = dict[str, Source]


def steps_of(party: str, spec: JobSpec, *, dry_run: bool) -> dict[str, Inputs]:
    """Every step of one attempt that is `party`'s, by its whole id, with its inputs by name."""
    if party not in spec.parties:
        return {}
    me, requester, others = party, spec.requester, [p for p in spec.parties if p != party]
    offers = {f"offer/{p}": Source(f"offer/{p}", p) for p in spec.parties}
    steps: dict[str, Inputs] = {f"offer/{me}": {}}
    if dry_run:
        plans = {f"plan/{p}": Source(f"plan/{p}", p, requester) for p in spec.providers}
        return steps | {f"plan/{me}": offers | (plans if me == requester else {})}
    admits = {f"admit/{p}": Source(f"admit/{p}", p) for p in spec.parties}
    steps[f"admit/{me}"] = offers
    if spec.model is not None:
        return steps | _sum_steps(me, spec, admits)
    key: Inputs = {}
    if me == requester:
        steps |= {f"key/{p}": admits for p in spec.providers}
    else:
        key = {"key": Source(f"key/{me}", requester, me)}
    if spec.match.mode == "keyed":
        steps[f"tokens/{me}"] = admits | key
    else:
        steps[f"points/{me}"] = admits | key
        for origin in others:
            points = {"points": _before(spec.parties, origin, me)}
            steps[f"reblind/{me}/of/{origin}"] = admits | points
    if is_grid(spec):
        return steps | _grid_steps(me, spec, admits)
    if spec.vertical is not None and spec.vertical.mode == EXACT:
        return steps | _exact_steps(me, spec, admits)
    if spec.match.reveal == "members":
        return steps | {f"members/{me}": {"marks": Source(f"marks/{me}", COORDINATOR, me)}}
    if spec.lookalike is not None:
        return steps | _lookalike_steps(me, spec, admits)
    if me != requester:
        layout = {"layout": Source("layout", COORDINATOR, me)}
        return steps | {f"aggregate/{me}": admits | layout}
    (provider,) = spec.providers
    outputs = {"outputs": Source(f"aggregate/{provider}", provider, me)}
    rows = {"rows": Source("encrypt", me, COORDINATOR)}
    return steps | {"encrypt": admits, "recheck": rows, "open": admits | outputs}


def _lookalike_steps(me: str, spec: JobSpec, admits: Inputs) -> dict[str, Inputs]:
    """After matching: the provider encrypts and fits, the requester sums; then the curve."""
    requester, (provider,) = spec.requester, spec.providers
    curve = spec.lookalike is not None and bool(spec.lookalike.curve)
    if me == provider:
        rows = {"rows": Source("features", me, COORDINATOR)}
        sums = {"sums": Source("gather", requester, me)}
        steps = {f"prove/{me}": admits, "features": admits, "recheck": rows, "fit": admits | sums}
        if curve:
            steps["bands"] = admits | {"layout": Source("layout/flags", COORDINATOR, me)}
        return steps
    proof = {"proof": Source(f"prove/{provider}", provider, me)}
    layout = {"layout": Source("layout/features", COORDINATOR, me)}
    fitted = {"fit": Source("fit", provider, me)}
    found = {"gather": admits | proof | layout, "report": admits | fitted}
    if curve:
        found["flags"] = admits | fitted
        found["report"] |= {"outputs": Source("bands", provider, me)}
    return found


def _grid_steps(me: str, spec: JobSpec, admits: Inputs) -> dict[str, Inputs]:
    """A cross-tab of local cells; then the provider's labels, and last the result."""
    requester, (provider,) = spec.requester, spec.providers
    segments = {"segments": Source("segments", requester, provider)}
    if me == provider:
        layout = {"layout": Source("layout", COORDINATOR, me)}
        return {f"aggregate_cells/{me}": admits | layout, f"label/{me}": segments}
    rows = {"rows": Source("encrypt_cells", me, COORDINATOR)}
    outputs = {"outputs": Source(f"aggregate_cells/{provider}", provider, me)}
    labelled = {"labelled": Source(f"label/{provider}", provider, COORDINATOR)}
    return {
        "encrypt_cells": admits,
        "recheck": rows,
        "segments": admits | outputs,
        "open_segments": labelled,
    }


def _sum_steps(me: str, spec: JobSpec, admits: Inputs) -> dict[str, Inputs]:
    """Rounds of a secure sum: asked by the requester, added by all, opened by the requester."""
    requester, parties = spec.requester, spec.parties
    steps: dict[str, Inputs] = {f"seeds/{me}": admits} if me != parties[-1] else {}
    seeds = {f"seeds/{p}": Source(f"seeds/{p}", p) for p in parties[:-1]}
    proof: Inputs = {}
    if me == requester:
        steps |= {f"proof/{p}": admits for p in spec.providers}
    else:
        proof = {"proof": Source(f"proof/{me}", requester, me)}
    last = most_rounds(spec) + 1
    for r in range(1, last + 1):
        asked = {"ask": Source(f"ask/{r}", requester)}
        if me == requester:
            opened = {"total": Source(f"total/{r - 1}", COORDINATOR, me)} if r > 1 else {}
            steps[f"ask/{r}"] = admits | opened
        if r < last:
            steps[f"sum/{r}/{me}"] = admits | seeds | proof | asked
        if r > 1:
            steps[f"finish/{r}/{me}"] = admits | asked
    return steps


def _exact_steps(me: str, spec: JobSpec, admits: Inputs) -> dict[str, Inputs]:
    """Rounds of exact k-means; one after the last move of the centres, or one that ends it."""
    assert spec.vertical is not None
    requester = spec.requester
    begin = admits | {"places": Source(f"places/{me}", COORDINATOR, me)}
    steps: dict[str, Inputs] = {}
    if spec.vertical.scale == "zscore":
        steps[f"spread/{me}"] = begin
        begin = begin | {f"spread/{p}": Source(f"spread/{p}", p) for p in spec.parties}
    for t in range(1, spec.vertical.iterations + 2):
        before: Inputs = {"nearest": Source(f"nearest/{t - 1}", COORDINATOR)}
        steps[f"distances/{t}/{me}"] = begin if t == 1 else before
        ended = admits | {"nearest": Source(f"nearest/{t}", COORDINATOR)}
        if me != requester:
            steps[f"closing/{t}/{me}"] = ended
            continue
        closed = {f"closing/{p}": Source(f"closing/{t}/{p}", p, me) for p in spec.providers}
        steps[f"conclude/{t}"] = ended | closed
    return steps


def _before(parties: tuple[str, ...], origin: str, me: str) -> Source:
    """In the ring that starts at `origin`: what the party before `me` sends to it."""
    at = parties.index(origin)
    ring = parties[at:] + parties[:at]
    author = ring[ring.index(me) - 1]
    step = f"points/{origin}" if author == origin else f"reblind/{author}/of/{origin}"
    return Source(step, author, me)


def check(steps: Mapping[str, Inputs], key: StepKey, given: Mapping[str, ArtifactRef]) -> None:
    """Raises ProtocolViolation('equivocation') for a step or an input that is not in the list."""
    if key.step not in steps:
        raise _violation(key, f"{key.step} is no step of this party in this job")
    wanted = steps[key.step]
    if set(wanted) != set(given):
        raise _violation(key, f"{key.step} was given other inputs than it takes")
    for name, source in wanted.items():
        ref = given[name]
        if (ref.job, ref.attempt) != (key.job, key.attempt):
            raise _violation(key, f"an input of {key.step} is of another job or attempt")
        if Source(ref.step, ref.author, ref.recipient) != source:
            raise _violation(
                key, f"{key.step} takes {source.step} of {source.author}, "
                f"it was given {ref.step} of {ref.author}"
            )  # fmt: skip


def _violation(key: StepKey, cause: str) -> ProtocolViolation:
    return ProtocolViolation(
        "equivocation",
        cause,
        stage=key.step,
        next_step="do not trust this coordinator until its operator explains it",
    )
