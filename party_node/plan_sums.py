"""The dry run's costs of a job over secure sums: bytes and seconds of its rounds.

Who runs it: the requester's node.  Learns: what `party_node.plan` says.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any

import numpy as np

from party_node.session import Session
from party_node.sum_models import model_of
from party_node.sum_rounds import most_rounds
from protocol.secure_sum.spec import SumSpec

_SAMPLE = 4


def sum_costs(session: Session, handles: Mapping[str, int]) -> dict[str, Any]:
    """As `plan._costs`; the first round stands for all, and the most rounds are counted."""
    model, rounds = model_of(session, handles), most_rounds(session.spec)
    first = model.begin().question
    layout = SumSpec(model.outputs(first), session.spec.parties, session.key_bits)
    size = layout.ciphertexts * layout.ciphertext_width
    seconds = rounds * layout.ciphertexts * _seconds_per_ciphertext(session)
    return {
        "bytes": dict.fromkeys(session.spec.parties, rounds * size),
        "seconds": max(0.1, round(seconds, 1)),
        "ciphertexts": rounds * layout.ciphertexts * len(session.spec.parties),
        "outputs": layout.values,
        "rounds": rounds,
        "sigmas": model.sigmas(),
    }


def _seconds_per_ciphertext(session: Session) -> float:
    """A fresh r^n is nearly all of it."""
    public = session.paillier_key.public
    ones = np.zeros((_SAMPLE, public.width), dtype=np.uint8)
    ones[:, 0] = 1
    started = time.perf_counter()
    session.ctx.kernel.rerandomise(public, ones, os.urandom)
    return (time.perf_counter() - started) / _SAMPLE
