"""Who learns what in a lookalike, message by message, in words for people.

What: as `assent.who_learns`, for a job whose sums go to the provider.
Who runs it: the report.  Learns: nothing; it reads the shape of a job, never data.
Section: docs/DISCLOSURE.md, "Finding similar people"; protocols.md section 4.
"""

from __future__ import annotations

from assent.who_learns import Disclosure, Teller, counting, opening_rows


def who_learns_of_lookalike(
    requester: str, provider: str, *, mode: str, noise: bool, curve: bool, language: str = "en"
) -> tuple[Disclosure, ...]:
    """Every message that carries something about people, in the order in which it is sent."""
    tell = Teller(language, requester, (provider,))
    through = tell.say("through", party=provider, one=tell.coordinator)
    found = (
        *opening_rows(tell, mode=mode, members=False),
        tell.line("features_sent", provider, tell.coordinator),
        tell.line("features_laid_out", tell.coordinator, requester),
        tell.line("sums", requester, through, exact=not noise, exact_never=not noise),
    )
    return (*found, *counting(tell, noise=noise)) if curve else found
