"""The two results of a lookalike: the provider's, with its model; the requester's, without.

Who runs it: each of the two nodes.  Learns: the provider the noisy number of seeds and its own
model; the requester the released curve and no score.  contracts.md, result.json.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from party_node import outcome
from party_node.lookalike_terms import asked_of, curve_spec, spec_of
from party_node.session import Session
from protocol.lookalike.curve import area, bands_of, curve, shown
from protocol.lookalike.fit import Fitted
from protocol.lookalike.spec import LookalikeSpec
from protocol.release.rules import BELOW

_BANDS = 10  # of the curve that the provider expects, if nobody asked for one


def provider_result(
    session: Session, spec: LookalikeSpec, seeds: int, fitted: Fitted
) -> dict[str, Any]:
    """The model, and the curve that it expects of itself: from scores alone, so it costs
    nothing, and it is as right as the model is."""
    asked = asked_of(session)
    bands = asked.curve or _BANDS
    held = np.bincount(bands_of(fitted.scores, bands), weights=fitted.scores, minlength=bands)
    points = curve(held.tolist(), 1)
    names = [name for feature in spec.features for name in feature.names]
    return outcome.base(session) | {
        "lookalike": _asked(session),
        "model": {
            "seeds": seeds,
            "people": len(fitted.scores),
            "intercept": fitted.intercept,
            "weights": dict(zip(names, fitted.weights.tolist(), strict=True)),
            "steps": fitted.steps,
            "expected_curve": shown(points),
            "expected_auc": area(points),
        },
        "privacy": outcome.privacy(session, spec.sigmas),
    }


def requester_result(
    session: Session, handles: Mapping[str, int], counts: Sequence[int] | None
) -> dict[str, Any]:
    """counts: seeds per band as opened, best scores first; None where no curve was asked."""
    spec = spec_of(session, handles)
    sigmas = spec.sigmas
    rows = spec.handles_a + spec.handles_b
    ciphertexts = rows * spec.ciphertexts_per_row
    found = outcome.base(session) | {"lookalike": _asked(session)}
    if counts is not None:
        points = curve(counts, session.min_cohort)
        crossed = curve_spec(session, handles)
        if session.spec.noise:
            sigmas |= {"curve": crossed.cell_outputs[0].scale.sigma}
        ciphertexts += rows * crossed.ciphertexts_per_row
        found |= {
            "curve": shown(points),
            "auc": area(points),
            "curve_withheld": None if points else BELOW,
        }
    return found | {
        "privacy": outcome.privacy(session, sigmas),
        "cost": {"ciphertexts": ciphertexts},
    }


def _asked(session: Session) -> dict[str, Any]:
    asked = asked_of(session)
    return {
        "seed_flag": asked.seed_flag,
        "features": list(asked.features),
        "l2": float(asked.l2),
        "scores": f"scores/{session.spec.name}.parquet at {session.spec.providers[0]}",
    }
