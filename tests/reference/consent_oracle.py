"""The consent gate the naive way: one loop per person.  For comparison only."""

from __future__ import annotations

from collections.abc import Sequence

STRICTEST_FIRST = (
    "withdrawn", "revoked", "refused", "invalidated", "expired", "requested", "deferred", "unknown",
)  # fmt: skip
PERMITS = ("given", "renewed")
Event = tuple[str, Sequence[str], Sequence[str], Sequence[str], str]
"""(subject, purposes, recipients, categories, state), in the order of the log"""


def last_state(events: Sequence[Event], subject: str, cell: tuple[str, str, str]) -> str:
    purpose, recipient, category = cell
    found = ""
    for who, purposes, recipients, categories, state in events:
        hit = recipient in recipients or "*" in recipients
        if who == subject and purpose in purposes and hit and category in categories:
            found = state
    return found


def row_state(events: Sequence[Event], row: Sequence[str], cell: tuple[str, str, str]) -> str:
    """The strictest of the row's subjects; "" for no record."""
    states = [last_state(events, subject, cell) for subject in row]
    for word in (*STRICTEST_FIRST, *PERMITS):
        if word in states:
            return word
    return ""


def eligible(
    events: Sequence[Event],
    rows: Sequence[Sequence[str]],
    purpose: str,
    recipients: Sequence[str],
    categories: Sequence[str],
    all_categories: Sequence[str],
) -> tuple[list[int], dict[str, int]]:
    kept: list[int] = []
    excluded: dict[str, int] = {}
    for number, row in enumerate(rows):
        against: list[str] = []
        for recipient in recipients:
            if categories:
                for category in categories:
                    state = row_state(events, row, (purpose, recipient, category))
                    if state not in PERMITS:
                        against.append(state)
            else:
                states = [row_state(events, row, (purpose, recipient, c)) for c in all_categories]
                if not any(state in PERMITS for state in states):
                    against.extend(states)
        if not against:
            kept.append(number)
            continue
        reason = next((word for word in STRICTEST_FIRST if word in against), "no_record")
        excluded[reason] = excluded.get(reason, 0) + 1
    return kept, excluded


Said = tuple[str, Sequence[str], str, str, int, bool]
"""(subject, recipients, state or "", flag or "", end in seconds or 0, under an outdated notice)"""

EFFECTS = (
    "withdrawn", "revoked", "objected", "refused", "restricted", "invalidated", "expired",
    "notice_outdated", "requested", "deferred", "unknown", "given", "renewed", "no_record",
)  # fmt: skip


def effect(events: Sequence[Said], subject: str, recipient: str, now: int) -> str:
    """What holds for one person and one recipient, of one purpose and category."""
    state, end, outdated = "no_record", 0, False
    objected = restricted = False
    for who, recipients, said, flag, until, old in events:
        if who != subject or (recipient not in recipients and "*" not in recipients):
            continue
        if said:
            state, end, outdated = said, until, old
        objected = flag == "objected" or (objected and flag != "objection_ended")
        restricted = flag == "restricted" or (restricted and flag != "restriction_ended")
    against = [state]
    if state in PERMITS and end and end <= now:
        against.append("expired")
    if state in PERMITS and outdated:
        against.append("notice_outdated")
    if objected:
        against.append("objected")
    if restricted:
        against.append("restricted")
    return min(against, key=EFFECTS.index)
