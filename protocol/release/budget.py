"""What an owner has left to disclose: zCDP arithmetic and the ledger's state machine.

Who runs it: every owner's node, before its rows are read (reserve) and in the transaction
that stores an output (spend).
Learns: nobody anything; a refusal tells the requester the arithmetic of its own account.
Source: protocols.md section 5, rule 3.  zCDP adds up: Bun, Steinke 2016, lemma 1.7.

Everything is an integer of 1e-9 rho.  The ledger is append-only; a reservation's state is
the fold of its entries:

    (none) -reserve→ reserved -spend→ spent
                              -release→ released      spent and released are final.

A reservation counts from the moment it is made until it is released, however old it is;
a spending counts for 31 days.  An entry from the future counts: a clock that went
backwards must not give budget back.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from protocol.errors import Failed, Refused
from protocol.release.noise import NANO

WINDOW_SECONDS = 31 * 24 * 3600

RESERVE, SPEND, RELEASE = "reserve", "spend", "release"
State = Literal["none", "reserved", "spent", "released"]
_NEXT: dict[tuple[State, str], State] = {
    ("none", RESERVE): "reserved",
    ("reserved", SPEND): "spent",
    ("reserved", RELEASE): "released",
}


@dataclass(frozen=True)
class Account:
    """Who pays towards whom for what, and the owner's two limits in 1e-9 rho per 31 days.

    recipient: several names joined by commas when one output goes to several parties; then it
    counts for each of them, once over all.
    limit_nano: for this recipient and purpose; limit_all_nano: over all of the owner's
    recipients and purposes.
    """

    owner: str
    recipient: str
    purpose: str
    limit_nano: int
    limit_all_nano: int

    @property
    def key(self) -> tuple[str, str, str]:
        return (self.owner, self.recipient, self.purpose)


@dataclass(frozen=True)
class Entry:
    """One line of the ledger.  at: seconds since 1970."""

    job: str
    attempt: int
    kind: str
    owner: str
    recipient: str
    purpose: str
    rho_nano: int
    at: float

    @property
    def reservation(self) -> tuple[str, int]:
        return (self.job, self.attempt)


@dataclass(frozen=True)
class Reservation:
    """The fold of one reservation's entries."""

    state: State
    account: tuple[str, str, str]
    rho_nano: int
    at: float


def fold(entries: Iterable[Entry]) -> dict[tuple[str, int], Reservation]:
    """Reservations by (job, attempt).  Raises Failed('ledger_corrupt') for impossible entries."""
    found: dict[tuple[str, int], Reservation] = {}
    for entry in entries:
        account = (entry.owner, entry.recipient, entry.purpose)
        before = found.get(entry.reservation)
        state = _NEXT.get((before.state if before else "none", entry.kind))
        moved = before is not None and (before.account, before.rho_nano) != (
            account,
            entry.rho_nano,
        )
        if state is None or moved or entry.rho_nano < 0:
            raise Failed(
                "ledger_corrupt",
                f"the privacy ledger has an impossible entry for job {entry.job}",
                next_step="restore the node's folder from a backup; do not delete the ledger",
            )
        found[entry.reservation] = Reservation(state, account, entry.rho_nano, entry.at)
    return found


def _charged(reservations: Iterable[Reservation], account: Account, now: float) -> tuple[int, int]:
    """What counts today: (this recipient and purpose, all of this owner's).

    Of several recipients the one who has got the most is the one who counts.
    """
    mine = dict.fromkeys(account.recipient.split(","), 0)
    everything = 0
    for reservation in reservations:
        fresh = reservation.state == "spent" and reservation.at > now - WINDOW_SECONDS
        if reservation.account[0] != account.owner or not (
            fresh or reservation.state == "reserved"
        ):
            continue
        everything += reservation.rho_nano
        _, recipients, purpose = reservation.account
        if purpose == account.purpose:
            for recipient in mine.keys() & set(recipients.split(",")):
                mine[recipient] += reservation.rho_nano
    return max(mine.values()), everything


def remaining(entries: Iterable[Entry], account: Account, now: float) -> int:
    """What the account can still pay, in 1e-9: the tighter of its two limits, never negative."""
    mine, everything = _charged(fold(entries).values(), account, now)
    return max(0, min(account.limit_nano - mine, account.limit_all_nano - everything))


def check(entries: Iterable[Entry], account: Account, rho_nano: int, now: float) -> None:
    """Raises Refused('budget_exhausted') with the arithmetic unless `rho_nano` can be paid."""
    if rho_nano < 0:
        raise ValueError("rho is not negative")
    mine, everything = _charged(fold(entries).values(), account, now)
    for used, limit, what in (
        (mine, account.limit_nano, f"{account.recipient} for {account.purpose}"),
        (everything, account.limit_all_nano, "all recipients and purposes"),
    ):
        if used + rho_nano > limit:
            raise Refused(
                "budget_exhausted",
                f"{account.owner}'s privacy budget towards {what}: {_rho(used)} used in 31 days "
                f"+ {_rho(rho_nano)} asked > {_rho(limit)} allowed",
                party=account.owner,
                stage="admit",
                next_step=f"ask for at most {_rho(max(0, limit - used))}, or wait until earlier "
                "spendings are 31 days old",
            )


def reserve(
    entries: Iterable[Entry], account: Account, job: str, attempt: int, rho_nano: int, now: float
) -> Entry | None:
    """The entry to append; None when exactly this is reserved already (an admission replayed).

    Raises Refused('budget_exhausted'), or Failed('ledger_conflict') when the same job and
    attempt was reserved otherwise or is over: an attempt is never paid for twice or reopened.
    """
    history = list(entries)
    before = fold(history).get((job, attempt))
    if before is not None:
        if before == Reservation("reserved", account.key, rho_nano, before.at):
            return None
        raise _conflict(job, attempt, f"is {before.state} for another amount or account already")
    check(history, account, rho_nano, now)
    return Entry(job, attempt, RESERVE, *account.key, rho_nano, now)


def spend(entries: Iterable[Entry], job: str, attempt: int, now: float) -> Entry | None:
    """The entry to append; None when it is spent already.

    Raises Failed('ledger_conflict') unless the budget is reserved.
    """
    return _close(entries, job, attempt, SPEND, now)


def release(entries: Iterable[Entry], job: str, attempt: int, now: float) -> Entry | None:
    """Gives an unspent reservation back; None when there is nothing to give back."""
    before = fold(entries := list(entries)).get((job, attempt))
    if before is None or before.state != "reserved":
        return None
    return _close(entries, job, attempt, RELEASE, now)


def _close(entries: Iterable[Entry], job: str, attempt: int, kind: str, now: float) -> Entry | None:
    before = fold(entries).get((job, attempt))
    if before is not None and before.state == "spent" and kind == SPEND:
        return None
    if before is None or before.state != "reserved":
        state = before.state if before else "not reserved"
        raise _conflict(job, attempt, f"is {state}, so nothing may leave on it")
    return Entry(job, attempt, kind, *before.account, before.rho_nano, now)


def _conflict(job: str, attempt: int, why: str) -> Failed:
    return Failed(
        "ledger_conflict",
        f"the privacy budget of job {job}, attempt {attempt}, {why}",
        stage="budget",
        next_step="run the job again as a new job",
    )


def _rho(nano: int) -> str:
    """rho as a decimal, exact to the last nano."""
    whole, part = divmod(nano, NANO)
    return f"{whole}.{part:09d}".rstrip("0").rstrip(".") + " rho"
