"""The dry run's costs of a lookalike: bytes and seconds of its encryptions and sums.

Who runs it: the requester's node.  Learns: what `party_node.plan` says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from party_node.lookalike_terms import asked_of, curve_spec, least_seeds, spec_of
from party_node.session import Session


def lookalike_costs(
    session: Session, handles: Mapping[str, int], token_bytes: int, encrypt: float, add: float
) -> dict[str, Any]:
    """As `plan._costs`.  token_bytes: of one handle; encrypt, add: seconds per ciphertext."""
    job, (provider,) = session.spec, session.spec.providers
    spec = spec_of(session, handles)
    rows = spec.handles_a + spec.handles_b
    sent = {party: size * token_bytes for party, size in handles.items()}
    ciphertexts = rows * spec.ciphertexts_per_row
    outputs = spec.ciphertexts_per_row
    sums = spec.handles_a * spec.ciphertexts_per_row
    sent[provider] += ciphertexts * spec.ciphertext_width
    sent[job.requester] += outputs * spec.ciphertext_width
    if asked_of(session).curve:
        crossed = curve_spec(session, handles)
        more = rows * crossed.ciphertexts_per_row
        sent[job.requester] += more * crossed.ciphertext_width
        sent[provider] += crossed.output_ciphertexts * crossed.ciphertext_width
        ciphertexts += more
        outputs += crossed.output_ciphertexts
        sums += crossed.handles_b
    sigma = spec.outputs[0].scale.sigma
    least = least_seeds(session.min_cohort)
    warnings = []
    if not job.noise:
        warnings.append(f"without noise {provider} can compute who the seeds are from exact sums")
    elif least < 3 * sigma:
        warnings.append(
            f"the noise of the number of seeds is σ = {sigma:.1f}: with few seeds the model is "
            "mostly noise; a larger rho or fewer features help"
        )
    return {
        "bytes": sent,
        "seconds": max(0.1, round(ciphertexts * encrypt + sums * add, 1)),
        "ciphertexts": ciphertexts,
        "outputs": outputs,
        "sigma": sigma,
        "sigmas": spec.sigmas,
        "warnings": warnings,
    }
