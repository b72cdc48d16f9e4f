"""What a plan says of exact k-means: one sentence for each company, and what it will send.

Who runs it: every node, for its list of jobs and for plans.  Learns: nobody, anything.
docs/DISCLOSURE.md; protocols.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from catalog.job import JobSpec
from catalog.vertical import Vertical


def exact_sentences(spec: JobSpec, min_cohort: int) -> dict[str, str]:
    """Keyed by party, and "coordinator"."""
    assert spec.vertical is not None
    (k,) = spec.vertical.k
    everyone = " and ".join(spec.parties)
    own = (
        f"which of its own customers are common to {everyone}, and at every step in which of "
        f"{k} segments each of these is"
    )
    said = {party: f"{party} learns {own}, exactly." for party in spec.providers}
    said[spec.requester] = (
        f"{spec.requester} learns {own}; and centres and sizes of segments of at least "
        f"{min_cohort}, exactly, without noise."
    )
    said["coordinator"] = (
        "coordinator learns rounded sizes, which anonymous positions pair up, dummies included, "
        "and for each how its distances to the unknown centres compare; no identifier, "
        "attribute, distance or result. Together with a company of the job it would learn the "
        "other's distances."
    )
    return said


def exact_costs(
    asked: Vertical, handles: Mapping[str, int], tokens: Mapping[str, int]
) -> dict[str, Any]:
    """As `plan._costs`: the most that can be; few people in common or few rounds send less."""
    (k,) = asked.k
    rounds = asked.iterations + 1
    round_ = 8 * k * min(handles.values())
    return {
        "bytes": {party: size + rounds * round_ for party, size in tokens.items()},
        "seconds": None,
        "ciphertexts": 0,
        "rounds": rounds,
        "warnings": [
            "exact and without noise: every company learns the segment of each of its own people "
            "in common at every step, the coordinator how distances compare; "
            "mode: grid gives neither away"
        ],
    }
