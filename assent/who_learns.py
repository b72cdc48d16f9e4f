"""Who learns what in one job, message by message, in words for people.

What: the rows of the table that the report shows, from the same facts as docs/DISCLOSURE.md.
Who runs it: the report, at the requester or in the sandbox.
Learns: nothing; it reads the shape of a job (parties, mode), never data.
Section: docs/DISCLOSURE.md; protocols.md sections 1 and 2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from assent.words import say


@dataclass(frozen=True)
class Disclosure:
    """One message of the job and what its reader can tell from it."""

    message: str
    author: str
    reader: str
    learns: str
    never: str


@dataclass(frozen=True)
class Teller:
    """Tells in one language of one job.  requester, others: as the sentences name them."""

    language: str
    requester: str
    providers: Sequence[str]

    def say(self, key: str, **words: object) -> str:
        return say(self.language, key, **words)

    @property
    def others(self) -> str:
        return self.say("between").join(self.providers) or self.say("the_provider")

    @property
    def everyone(self) -> str:
        return self.say("between").join((self.requester, *self.providers))

    @property
    def coordinator(self) -> str:
        return self.say("coordinator")

    def line(
        self, key: str, author: str, reader: str, *, exact: bool = False, exact_never: bool = False
    ) -> Disclosure:
        """exact, exact_never: the other sentence, where noise is off."""
        words = {"requester": self.requester, "others": self.others, "provider": self.others,
                 "coordinator": self.coordinator}  # fmt: skip
        learns = f"{key}_learns_exact" if exact else f"{key}_learns"
        never = f"{key}_never_exact" if exact_never else f"{key}_never"
        return Disclosure(
            self.say(key), author, reader, self.say(learns, **words), self.say(never, **words)
        )


def who_learns(
    requester: str,
    providers: Sequence[str],
    *,
    mode: str = "keyed",
    members: bool = False,
    noise: bool = True,
    language: str = "en",
) -> tuple[Disclosure, ...]:
    """Every message that carries something about people, in the order in which it is sent."""
    tell = Teller(language, requester, providers)
    rows = opening_rows(tell, mode=mode, members=members)
    return rows if members else (*rows, *counting(tell, noise=noise))


def opening_rows(tell: Teller, *, mode: str, members: bool) -> tuple[Disclosure, ...]:
    """What every job that matches people begins with."""
    return (*_beginning(tell), *_matching(tell, mode, members))


def _beginning(tell: Teller) -> tuple[Disclosure, ...]:
    return (
        tell.line("question", tell.requester, tell.others),
        tell.line("admission", tell.everyone, tell.coordinator),
        tell.line("records", tell.everyone, tell.say("consent_service")),
    )


def who_learns_of_sum(
    requester: str, providers: Sequence[str], *, noise: bool = True, language: str = "en"
) -> tuple[Disclosure, ...]:
    """As `who_learns`, for a job over secure sums: nobody is matched."""
    tell = Teller(language, requester, providers)
    return (
        *_beginning(tell),
        tell.line("seeds_of_masks", tell.everyone, tell.everyone),
        tell.line("round", requester, tell.everyone),
        tell.line("vectors", tell.everyone, tell.coordinator),
        tell.line("total", tell.coordinator, requester, exact=not noise),
    )


def who_learns_of_exact(
    requester: str, providers: Sequence[str], *, mode: str = "keyed", language: str = "en"
) -> tuple[Disclosure, ...]:
    """As `who_learns`, for k-means over the same people without noise (`mode: exact`)."""
    tell = Teller(language, requester, providers)
    return (
        *opening_rows(tell, mode=mode, members=True),
        tell.line("distances", tell.everyone, tell.coordinator),
        tell.line("nearest", tell.coordinator, tell.everyone),
        tell.line("centres", tell.others, requester),
    )


def who_learns_of_grid(
    requester: str,
    providers: Sequence[str],
    *,
    mode: str = "keyed",
    noise: bool = True,
    language: str = "en",
) -> tuple[Disclosure, ...]:
    """As `who_learns`, for k-means on a grid of both companies' own groups (`mode: grid`)."""
    tell = Teller(language, requester, providers)
    return (
        *who_learns(requester, providers, mode=mode, noise=noise, language=language),
        tell.line("means", tell.others, requester, exact=not noise),
        tell.line("of_groups", requester, tell.others, exact=not noise),
    )


def _matching(tell: Teller, mode: str, members: bool) -> tuple[Disclosure, ...]:
    if mode == "ecdh":
        both = tell.say("and_other_party", one=tell.coordinator)
        first = tell.line("points", tell.everyone, both)
    else:
        first = tell.line("tokens", tell.everyone, tell.coordinator)
    if not members:
        return (first,)
    return (first, tell.line("membership", tell.coordinator, tell.everyone))


def counting(tell: Teller, *, noise: bool) -> tuple[Disclosure, ...]:
    return (
        tell.line("rows", tell.requester, tell.coordinator),
        tell.line("laid_out", tell.coordinator, tell.others),
        tell.line("totals", tell.others, tell.requester, exact=not noise),
        tell.line("on_their_way", tell.others, tell.coordinator),
    )
