"""The dry run's answer: rows, bytes, seconds, which rule would refuse, who learns what.

Who runs it: the requester's node, from every party's sealed part.  Sizes are padded ones;
seconds are an estimate from this machine's own measured rates (`Rates`).
Learns: the requester each party's padded size and whether it would refuse.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from catalog.vertical import EXACT
from party_node.admission import sentences
from party_node.exact_words import exact_costs
from party_node.plan_lookalike import lookalike_costs
from party_node.plan_sums import sum_costs
from party_node.session import Session
from protocol.errors import AssentError
from protocol.wire import job_pb2 as pb

TOKEN_BYTES = {"keyed": 16, "ecdh": 32}
_SAMPLE = 64


@dataclass(frozen=True)
class Rates:
    """Seconds per item on this machine, all cores."""

    encrypt: float
    add: float


def measure(session: Session, rows: int) -> Rates:
    """Times a few encryptions and sums with the job's own key, as in a job of `rows`."""
    kernel, key = session.ctx.kernel, session.paillier_key
    plain = np.zeros((_SAMPLE, key.public.plaintext_width), dtype=np.uint8)
    kernel.prepare(key, rows)  # else the sample would time the building of tables
    started = time.perf_counter()
    cipher = kernel.encrypt(key, plain)
    encrypted = time.perf_counter()
    kernel.sum_by_group(key.public, cipher, np.zeros(_SAMPLE, dtype=np.int32), 1)
    done = time.perf_counter()
    return Rates((encrypted - started) / _SAMPLE, (done - encrypted) / _SAMPLE)


def compose(session: Session, parts: Mapping[str, pb.PlanPart]) -> dict[str, Any]:
    """The plan as JSON."""
    spec = session.spec
    refusals = [
        {"party": party, "code": part.refusal, "cause": part.cause}
        for party, part in sorted(parts.items())
        if part.refusal
    ]
    found: dict[str, Any] = {
        "job": spec.name,
        "parties": list(spec.parties),
        "padded_rows": {party: part.handles for party, part in sorted(parts.items())},
        "remaining_rho": {
            party: part.remaining_rho / 1e9
            for party, part in sorted(parts.items())
            if party != spec.requester
            or spec.model is not None
            or spec.vertical is not None
            or spec.lookalike is not None
        },
        "min_cohort": session.min_cohort,
        "learns": sentences(spec, session.min_cohort),
        "refusals": refusals,
        "warnings": [],
    }
    if refusals:
        return found
    try:
        found |= _costs(session, {party: part.handles for party, part in parts.items()})
    except AssentError as error:
        refusals.append(
            {"party": session.ctx.name, "code": error.info.code, "cause": error.info.cause}
        )
    return found


def _costs(session: Session, handles: dict[str, int]) -> dict[str, Any]:
    spec = session.spec
    if spec.model is not None:
        return sum_costs(session, handles)
    tokens = TOKEN_BYTES[spec.match.mode] * len(spec.match.on)
    if spec.lookalike is not None:
        rates = measure(session, sum(handles.values()))
        return lookalike_costs(session, handles, tokens, rates.encrypt, rates.add)
    uploads = {party: size * tokens for party, size in handles.items()}
    if spec.vertical is not None and spec.vertical.mode == EXACT:
        return exact_costs(spec.vertical, handles, uploads)
    if spec.match.reveal == "members":
        return {"bytes": uploads, "seconds": None, "ciphertexts": 0}
    layout = session.crosstab_spec(handles)
    (provider,) = spec.providers
    row = layout.ciphertexts_per_row * layout.ciphertext_width
    rows = layout.handles_a + layout.handles_b
    ciphertexts = rows * layout.ciphertexts_per_row
    rates = measure(session, ciphertexts)
    sums = layout.handles_b * (1 + 2 * len(layout.measures)) * layout.ciphertexts_per_row
    seconds = ciphertexts * rates.encrypt + sums * rates.add
    uploads[spec.requester] += rows * row
    uploads[provider] += layout.output_ciphertexts * layout.ciphertext_width
    sigma = layout.overlap_output.scale.sigma
    warnings = []
    if session.min_cohort < 3 * sigma and session.min_cohort > 1:
        warnings.append(
            f"min_cohort {session.min_cohort} is under 3σ = {3 * sigma:.1f}: small cells will pass "
            "or be withheld by chance; a larger rho or min_cohort helps"
        )
    return {
        "bytes": uploads,
        "seconds": max(0.1, round(seconds, 1)),
        "ciphertexts": ciphertexts,
        "outputs": layout.output_ciphertexts,
        "sigma": sigma,
        "warnings": warnings,
    }
