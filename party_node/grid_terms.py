"""What both parties of a vertical k-means `grid` derive alike, and what is said about it.

Who runs it: every node.  Learns: nobody, anything; all of it follows from the job and the
parties' offers.  protocols.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np

from catalog.job import JobSpec
from catalog.vertical import GRID, Vertical
from protocol.crosstab.spec import CrosstabSpec
from protocol.errors import ProtocolViolation
from protocol.kmeans.grid import Question, axes, split_budget
from protocol.kmeans.local_cells import UNIT, CellsPlan
from protocol.secure_sum.model import NumberScale

if TYPE_CHECKING:
    from party_node.session import Session


def is_grid(spec: JobSpec) -> bool:
    return spec.vertical is not None and spec.vertical.mode == GRID


def asked_of(spec: JobSpec) -> Vertical:
    """The question of a job that `is_grid`."""
    assert spec.vertical is not None  # the steps are in the sequence of such jobs only
    return spec.vertical


def table_of(session: Session, handles: Mapping[str, int]) -> CrosstabSpec:
    """The cross-tab of local cells.  Raises Refused for what cannot be counted or paid."""
    spec = session.spec
    for party in spec.parties:
        cells_plan(session, party)
    rows, columns = axes(asked_of(spec).cells)
    (provider,) = spec.providers
    return CrosstabSpec(
        rows=(rows,),
        columns=(columns,),
        measures=(),
        noise=spec.noise,
        rho_nano=split_budget(spec.rho_nano)[0],
        key_bits=session.key_bits,
        handles_a=handles[spec.requester],
        handles_b=handles[provider],
        min_cohort=session.min_cohort,
    )


def cells_plan(session: Session, party: str) -> CellsPlan:
    """How `party` makes its cells."""
    asked = asked_of(session.spec)
    offered = {offer.name: offer for offer in session.offers[party].attributes}
    scales = []
    for name in asked.of(party):
        offer = offered.get(name)
        if offer is None:
            raise ProtocolViolation(
                "missing_offer", "an attribute of the job is not offered", party=party,
                stage="offer",
            )  # fmt: skip
        full = f"{party}/{name}"
        if offer.kind == "flag":
            scales.append(NumberScale(full, 0, 1, 0))
        else:
            scales.append(NumberScale(full, offer.lo, offer.hi, offer.decimals))
    return CellsPlan(
        tuple(scales),
        asked.cells,
        split_budget(session.spec.rho_nano)[1] if session.spec.noise else 0,
        session.min_cohort,
        asked.scale == "zscore",
    )


def question_of(session: Session, seed: int) -> Question:
    """What the requester asks of the grid."""
    spec, asked = session.spec, asked_of(session.spec)
    init = [[float(Fraction(number)) for number in centre] for centre in asked.init]
    first = asked.features[0][0]
    return Question(
        features=asked.attributes(),
        order=(0, 1) if first == spec.requester else (1, 0),
        k=asked.k,
        iterations=asked.iterations,
        restarts=asked.restarts,
        init=np.array(init) if init else None,
        zscore=asked.scale == "zscore",
        seed=seed,
    )


def sigmas(session: Session, table: CrosstabSpec) -> dict[str, float]:
    """σ of the overlap and of a point's count, which carry the noise of both; and of one cell's
    sum of each feature in one round, which carries its owner's."""
    if not session.spec.noise:
        return {}
    both = 2**0.5
    found = {
        "overlap": table.overlap_output.scale.sigma * both,
        "count": table.cell_outputs[0].scale.sigma * both,
    }
    for party in session.spec.parties:
        plan = cells_plan(session, party)
        for scale in plan.scales:
            reach = max(1, scale.sensitivity) / scale.unit
            found[f"sum:{scale.name}"] = plan.noise[1].sigma / UNIT * reach
    return found


def grid_sentences(spec: JobSpec, min_cohort: int) -> dict[str, str]:
    """As `admission.sentences`."""
    (provider,) = spec.providers
    everyone = f"the common, consenting customers of {spec.requester} and {provider}"
    noise = f"with noise (rho {spec.rho_nano / 1e9:g})" if spec.noise else "exactly, without noise"
    cells = asked_of(spec).cells
    keyed = (
        "; with match mode keyed, the coordinator and a company together could test guesses of "
        "the other's identifiers (ecdh removes this)"
        if spec.match.mode == "keyed"
        else ""
    )
    return {
        spec.requester: (
            f"{spec.requester} learns centres, sizes and spread of segments of {everyone}, and "
            f"means of {provider}'s features in at most {cells} groups of its consenting "
            f"customers, {noise}, in groups of at least {min_cohort}; nothing about any single "
            f"person{keyed}."
        ),
        provider: (
            f"{provider} learns which of at most {cells} groups of its own customers fall into "
            f"which segment, {noise}; not the centres, nor how many are common."
        ),
        "coordinator": "coordinator learns rounded sizes and which anonymous positions pair "
        "up, dummies included; no identifier, attribute, count or result.",
    }
