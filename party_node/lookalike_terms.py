"""What both sides of a lookalike derive alike, and one sentence for each company about it.

Who runs it: every node, from the job and the signed offers.  Learns: nobody, anything.
docs/DISCLOSURE.md; protocols.md section 4.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from catalog.job import JobSpec
from catalog.lookalike import Lookalike
from protocol.crosstab.spec import AttributeSpec, CrosstabSpec
from protocol.lookalike.spec import LEAST_SEEDS, FeatureSpec, LookalikeSpec

if TYPE_CHECKING:
    from party_node.session import Session


def asked_of(session: Session) -> Lookalike:
    asked = session.spec.lookalike
    assert asked is not None  # these steps are in the sequence of such jobs only
    return asked


def spec_of(session: Session, handles: Mapping[str, int]) -> LookalikeSpec:
    """Of the sums of seeds, under the provider's key.  Raises Refused where they are too large."""
    job, (provider,) = session.spec, session.spec.providers
    return LookalikeSpec(
        features=tuple(_feature(session, name) for name in asked_of(session).features),
        noise=job.noise,
        rho_nano=job.rho_nano,
        key_bits=session.key_bits_of(provider),
        handles_a=handles[job.requester],
        handles_b=handles[provider],
    )


def _feature(session: Session, name: str) -> FeatureSpec:
    offered = session.offered(name)
    if offered.kind == "number":
        return FeatureSpec(name, offered.lo, offered.hi, offered.decimals)
    return FeatureSpec(name, words=tuple(offered.vocabulary))  # of a flag: none


def curve_spec(session: Session, handles: Mapping[str, int]) -> CrosstabSpec:
    """Of the reach-lift curve, under the requester's key: the seeds by the provider's bands.

    A cross-tab without rows: who is no seed is encrypted as nothing, so the one line of the
    table is that of the seeds.
    """
    job, (provider,) = session.spec, session.spec.providers
    bands = tuple(str(band + 1) for band in range(asked_of(session).curve))
    return CrosstabSpec(
        rows=(),
        columns=(AttributeSpec(f"{provider}/score", bands),),
        measures=(),
        noise=job.noise,
        rho_nano=job.rho_nano,
        key_bits=session.key_bits_of(job.requester),
        handles_a=handles[job.requester],
        handles_b=handles[provider],
        min_cohort=session.min_cohort,
    )


def check_limits(session: Session, handles: Mapping[str, int]) -> None:
    """Refuses here what exceeds the limits, with the arithmetic, before rows are encrypted."""
    spec_of(session, handles)
    if asked_of(session).curve:
        curve_spec(session, handles)


def least_seeds(min_cohort: int) -> int:
    """Eligible seeds under which the requester's node refuses."""
    return max(LEAST_SEEDS, min_cohort)


def lookalike_sentences(spec: JobSpec, min_cohort: int) -> dict[str, str]:
    """Keyed by party, and "coordinator": what each will learn about whom."""
    asked, (provider,) = spec.lookalike, spec.providers
    assert asked is not None
    features = ", ".join(asked.features)
    about = (
        f"{provider} learns how many seeds of {asked.seed_flag} are among its consenting customers "
        f"and what their {features} sum to, and scores its own customers by it"
    )
    if spec.noise:
        noise = f", with noise (rho {spec.rho_nano / 1e9:g}); not which of them are seeds."
    else:
        noise = (
            f", exactly, without noise: from exact sums {provider} can work out who of its "
            "customers the seeds are, where few people have the same features."
        )
    keyed = (
        "; with match mode keyed, the coordinator and a company together could test guesses of "
        "the other's identifiers (ecdh removes this)"
        if spec.match.mode == "keyed"
        else ""
    )
    if asked.curve:
        how = (
            f"with noise (rho {spec.rho_nano / 1e9:g})" if spec.noise else "exactly, without noise"
        )
        curve = (
            f"{spec.requester} learns how many of its seeds are in each of {asked.curve} equal "
            f"bands of {provider}'s scores, {how}, in groups of at least {min_cohort}; no score "
            f"of any person{keyed}."
        )
    else:
        curve = (
            f"{spec.requester} learns that the job is done; no score, and nothing about any "
            f"customer of {provider}{keyed}."
        )
    return {
        spec.requester: curve,
        provider: about + noise,
        "coordinator": "coordinator learns rounded sizes, which anonymous positions pair up, "
        "dummies included, and roughly how many features there are; no identifier, attribute, "
        "seed, score or result.",
    }
