"""The digest that binds a step to its input, computed by coordinator and node alike.

architecture.md engine rule 4: (job, attempt, step) ↔ one input digest ↔ one output.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from protocol.encoding import canonical_json, sha256
from protocol.transport.port import ArtifactRef, StepKey


def step_digest(
    key: StepKey,
    party: str,
    recipient: str,
    params: Mapping[str, Any],
    inputs: Iterable[ArtifactRef],
) -> bytes:
    """32 bytes over everything that decides a step's output.  Ids and signatures are left out:
    they name where bytes are kept and who vouches, not what the bytes are."""
    return sha256(
        canonical_json(
            {
                "about": "assent/step/v1",
                "job": key.job,
                "attempt": key.attempt,
                "step": key.step,
                "party": party,
                "recipient": recipient,
                "params": params,
                "inputs": [
                    [
                        ref.name,
                        ref.step,
                        ref.attempt,
                        ref.author,
                        ref.recipient,
                        ref.sha256.hex(),
                        ref.size,
                    ]
                    for ref in sorted(inputs, key=lambda ref: ref.name)
                ],
            }
        )
    )
