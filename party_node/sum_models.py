"""Which model a job over secure sums runs, made from the offers and admitted sizes.

Who runs it: every node; adding such a protocol adds a line here.  Learns: nobody, anything.
protocols.md sections 3 and 4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping

from party_node.session import Session
from protocol.errors import ProtocolViolation
from protocol.kmeans.horizontal import Horizontal
from protocol.rfm.model import Rfm
from protocol.secure_sum.distribution import Distribution
from protocol.secure_sum.model import Column, Ground, Model
from protocol.wire import job_pb2 as pb


def _ltv(ground: Ground) -> Model:
    from protocol.ltv.model import Ltv  # late: its special functions are a tenth of a node's start

    return Ltv(ground)


MODELS: Mapping[str, Callable[[Ground], Model]] = {
    "secure_sum": Distribution,
    "rfm": Rfm,
    "ltv": _ltv,
    "kmeans": Horizontal,
}


def model_of(session: Session, handles: Mapping[str, int]) -> Model:
    """The job's model.  Raises Refused for columns that do not fit it."""
    spec, asked = session.spec, session.spec.model
    assert asked is not None  # the steps of these protocols are in the sequence of such jobs only
    ground = Ground(
        names=asked.names,
        columns={party: _columns(session, party, asked.columns[party]) for party in spec.parties},
        handles=handles,
        rho_nano=spec.rho_nano if spec.noise else 0,
        min_cohort=session.min_cohort,
        settings=asked.settings,
        seed=seed_of(session),
    )
    return MODELS[spec.protocol](ground)


def _columns(session: Session, party: str, names: tuple[str, ...]) -> tuple[Column, ...]:
    offered = {attribute.name: attribute for attribute in session.offers[party].attributes}
    try:
        return tuple(_column(offered[name]) for name in names)
    except KeyError:
        raise ProtocolViolation(
            "missing_offer", "an attribute of the job is not offered", party=party, stage="offer"
        ) from None


def _column(offer: pb.AttributeOffer) -> Column:
    words: tuple[str | bool, ...] = tuple(offer.vocabulary)
    if offer.kind == "flag":
        words = (False, True)
    return Column(offer.name, offer.kind, words, offer.lo, offer.hi, offer.decimals, offer.nullable)


def seed_of(session: Session) -> int:
    """The job's, else one that nobody chose: of the job hash, which holds everybody's nonce."""
    if session.spec.seed is not None:
        return session.spec.seed
    return int.from_bytes(hashlib.sha256(b"assent/seed/v1" + session.job_hash).digest()[:7], "big")
