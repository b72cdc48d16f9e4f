"""Who learns what in a lookalike, message by message, in words for people.

What: as `assent.who_learns`, for a job whose sums go to the provider.
Who runs it: the report.  Learns: nothing; it reads the shape of a job, never data.
Section: docs/DISCLOSURE.md, "Finding similar people"; protocols.md section 4.
"""

from __future__ import annotations

from assent.who_learns import COORDINATOR, Disclosure, counting, opening_rows


def who_learns_of_lookalike(
    requester: str, provider: str, *, mode: str, noise: bool, curve: bool
) -> tuple[Disclosure, ...]:
    """Every message that carries something about people, in the order in which it is sent."""
    sums = "under noise" if noise else "exactly (noise is off): enough to work out who they are"
    found = (
        *opening_rows(requester, [provider], mode=mode, members=False),
        Disclosure(
            "encrypted features",
            provider,
            COORDINATOR,
            "a padded number of ciphertexts, and so roughly how many features there are",
            f"anything inside them: only {provider} can open them",
        ),
        Disclosure(
            "laid-out features",
            COORDINATOR,
            requester,
            "nothing: a matched row and an empty one look alike",
            f"which of its rows matched; any feature of {provider}'s people",
        ),
        Disclosure(
            "encrypted sums of seeds",
            requester,
            f"{provider}, through the {COORDINATOR}",
            f"{provider}: how many seeds it has and what their features sum to, {sums}. "
            f"{COORDINATOR}: how many ciphertexts there are",
            "which people are seeds" if noise else "seeds that it does not have",
        ),
    )
    if not curve:
        return found
    return (*found, *counting(requester, provider, noise))
