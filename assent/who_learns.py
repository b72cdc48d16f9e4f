"""Who learns what in one job, message by message, in words for people.

What: the rows of the table that the report shows, from the same facts as docs/DISCLOSURE.md.
Who runs it: the report, at the requester or in the sandbox.
Learns: nothing; it reads the shape of a job (parties, mode), never data.
Section: docs/DISCLOSURE.md; protocols.md sections 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Disclosure:
    """One message of the job and what its reader can tell from it."""

    message: str
    author: str
    reader: str
    learns: str
    never: str


COORDINATOR = "coordinator"
CONSENT = "consent service"


def who_learns(
    requester: str,
    providers: Sequence[str],
    *,
    mode: str = "keyed",
    members: bool = False,
    noise: bool = True,
) -> tuple[Disclosure, ...]:
    """Every message that carries something about people, in the order in which it is sent."""
    rows = opening_rows(requester, providers, mode=mode, members=members)
    if members:
        return rows
    return (*rows, *counting(requester, ", ".join(providers) or "the provider", noise))


def opening_rows(
    requester: str, providers: Sequence[str], *, mode: str, members: bool
) -> tuple[Disclosure, ...]:
    """What every job that matches people begins with."""
    others = ", ".join(providers) or "the provider"
    everyone = ", ".join((requester, *providers))
    return (
        Disclosure(
            "the question, sealed",
            requester,
            others,
            "the job: purpose, attribute names, vocabularies, bounds, policies",
            "any row",
        ),
        Disclosure(
            "admission",
            everyone,
            COORDINATOR,
            "who takes part, purpose, match mode, a rounded number of rows",
            "attribute names, labels, the question itself",
        ),
        Disclosure(
            "consent records and their copy",
            everyone,
            CONSENT,
            "per party, what a pseudonym permits, and when that changed",
            "identifiers, rows, tags, who matched",
        ),
        *_matching(requester, everyone, mode, members),
    )


def who_learns_of_sum(
    requester: str, providers: Sequence[str], *, noise: bool = True
) -> tuple[Disclosure, ...]:
    """As `who_learns`, for a job over secure sums: nobody is matched."""
    everyone = ", ".join((requester, *providers))
    total = "totals under every company's noise" if noise else "exact totals (noise is off)"
    return (
        *who_learns(requester, providers)[:3],
        Disclosure(
            "mask seeds",
            everyone,
            everyone,
            "the difference of two masks",
            "any row",
        ),
        Disclosure(
            "the round's question",
            requester,
            everyone,
            "what is summed next, computed from totals; at the end the released result",
            "totals that the release rules withhold",
        ),
        Disclosure(
            "masked vectors",
            everyone,
            COORDINATOR,
            "how many numbers are summed, and in how many rounds",
            "anything inside them, even together with the requester (of three companies or more)",
        ),
        Disclosure(
            "encrypted total of all parties",
            COORDINATOR,
            requester,
            f"{total}, of which only what passes the release rules is shown",
            "any company's own part",
        ),
    )


def who_learns_of_exact(
    requester: str, providers: Sequence[str], *, mode: str = "keyed"
) -> tuple[Disclosure, ...]:
    """As `who_learns`, for k-means over the same people without noise (`mode: exact`)."""
    everyone, others = ", ".join((requester, *providers)), ", ".join(providers)
    return (
        *who_learns(requester, providers, mode=mode, members=True),
        Disclosure(
            "masked distances",
            everyone,
            COORDINATOR,
            "for each anonymous row how its distances to the unknown centres compare, in an order "
            "of rows and centres that it does not know; which rows of two rounds may be one",
            "any distance, feature or segment. (Together with a company of the job it would learn "
            "the other's distances.)",
        ),
        Disclosure(
            "nearest columns",
            COORDINATOR,
            everyone,
            "in which segment each of its own people in common is, at every round, exactly",
            "any feature of the other company",
        ),
        Disclosure(
            "centres of segments",
            others,
            requester,
            "exact means over segments that are large enough (noise is off)",
            "any single person's features",
        ),
    )


def who_learns_of_grid(
    requester: str, providers: Sequence[str], *, mode: str = "keyed", noise: bool = True
) -> tuple[Disclosure, ...]:
    """As `who_learns`, for k-means on a grid of both companies' own groups (`mode: grid`)."""
    others = ", ".join(providers)
    under = "under its noise" if noise else "exactly (noise is off)"
    both = "under the noise of both" if noise else "exactly (noise is off)"
    return (
        *who_learns(requester, providers, mode=mode, noise=noise),
        Disclosure(
            "means of the provider's groups",
            others,
            requester,
            f"means of each feature in groups of its consenting people, {under}",
            "how many people a group has, but for the totals above; groups that are too small",
        ),
        Disclosure(
            "segments of the provider's groups",
            requester,
            others,
            f"in which segment most of each of its own groups are, {both}",
            f"features of {requester}, centres and sizes of segments, how many are common",
        ),
    )


def _matching(requester: str, everyone: str, mode: str, members: bool) -> tuple[Disclosure, ...]:
    if mode == "ecdh":
        first = Disclosure(
            "blinded curve points",
            everyone,
            f"{COORDINATOR} and the other party",
            "a padded number of points, good for this job only",
            "identifiers, even if the coordinator colludes with a party",
        )
    else:
        first = Disclosure(
            "keyed match tokens",
            everyone,
            COORDINATOR,
            "padded sizes, and which positions agree on which identifier type, "
            "with drawn dummies among them",
            "identifiers; tokens of two jobs cannot be linked. (If it colluded with a party of "
            "the job, the two could test guesses of identifiers; mode: ecdh removes that.)",
        )
    if not members:
        return (first,)
    return (
        first,
        Disclosure(
            "membership",
            COORDINATOR,
            everyone,
            "which of its own rows are in common (reveal: members)",
            "anything else about the other side's people",
        ),
    )


def counting(requester: str, others: str, noise: bool) -> tuple[Disclosure, ...]:
    table = "totals under noise" if noise else "exact totals (noise is off)"
    return (
        Disclosure(
            "encrypted rows",
            requester,
            COORDINATOR,
            "a padded number of ciphertexts",
            f"anything inside them: only {requester} can open them",
        ),
        Disclosure(
            "laid-out ciphertexts",
            COORDINATOR,
            others,
            "nothing: a matched row and an empty one look alike",
            f"which of its rows matched; any tag of {requester}",
        ),
        Disclosure(
            "encrypted totals",
            others,
            requester,
            f"{table}, of which only cells that pass the release rules are shown",
            f"any row of {others}; which people are inside a total",
        ),
        Disclosure(
            "encrypted totals, on their way",
            others,
            COORDINATOR,
            "how many ciphertexts there are",
            "results, and the number of people in common",
        ),
    )
