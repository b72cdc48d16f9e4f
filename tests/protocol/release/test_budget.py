"""The ledger's state machine and its arithmetic: no history lets more leave than the caps."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from protocol.errors import AssentError, Failed, Refused
from protocol.release import budget
from protocol.release.budget import WINDOW_SECONDS, Account, Entry

NANO = 10**9
MEDIA = Account("media", "retailer", "audience_insight", NANO // 2, NANO)
OTHER = Account("media", "bank", "audience_insight", NANO // 2, NANO)
ACCOUNTS = (MEDIA, OTHER, Account("media", "retailer", "segmentation", NANO // 2, NANO))


class LedgerModel(RuleBasedStateMachine):
    """Random operations with a clock; the model keeps its own plain books."""

    def __init__(self) -> None:
        super().__init__()
        self.entries: list[Entry] = []
        self.now = 1e9
        self.model: dict[tuple[str, int], tuple[str, Account, int, float]] = {}

    @rule(seconds=st.sampled_from([0, 1, 3600, WINDOW_SECONDS // 2, WINDOW_SECONDS]))
    def wait(self, seconds: int) -> None:
        self.now += seconds

    @rule(
        account=st.sampled_from(ACCOUNTS), job=st.sampled_from("abcdef"),
        attempt=st.integers(1, 2), rho=st.integers(0, NANO * 2 // 3),
    )  # fmt: skip
    def reserve(self, account: Account, job: str, attempt: int, rho: int) -> None:
        known = self.model.get((job, attempt))
        fits = (
            self._used(lambda a: a == account) + rho <= account.limit_nano
            and self._used(lambda a: True) + rho <= account.limit_all_nano
        )
        code = ""
        try:
            entry = budget.reserve(self.entries, account, job, attempt, rho, self.now)
        except AssentError as error:
            code = error.info.code
        if known is None:
            assert code == ("" if fits else "budget_exhausted")
        else:
            same = known[:3] == ("reserved", account, rho)
            assert code == ("" if same else "ledger_conflict")
        if code:
            return
        if entry is None:
            assert known is not None
            assert known[:3] == ("reserved", account, rho)
            return
        assert known is None
        assert fits
        self.entries.append(entry)
        self.model[job, attempt] = ("reserved", account, rho, self.now)

    @rule(job=st.sampled_from("abcdef"), attempt=st.integers(1, 2))
    def spend(self, job: str, attempt: int) -> None:
        known = self.model.get((job, attempt))
        try:
            entry = budget.spend(self.entries, job, attempt, self.now)
        except Failed:
            assert known is None or known[0] == "released"
            return
        assert known is not None
        assert known[0] in ("reserved", "spent")
        assert (entry is None) == (known[0] == "spent")
        if entry is not None:
            self.entries.append(entry)
            self.model[job, attempt] = ("spent", known[1], known[2], self.now)

    @rule(job=st.sampled_from("abcdef"), attempt=st.integers(1, 2))
    def release(self, job: str, attempt: int) -> None:
        known = self.model.get((job, attempt))
        entry = budget.release(self.entries, job, attempt, self.now)
        assert (entry is not None) == (known is not None and known[0] == "reserved")
        if entry is not None and known is not None:
            self.entries.append(entry)
            self.model[job, attempt] = ("released", known[1], known[2], self.now)

    def _used(self, whose) -> int:  # type: ignore[no-untyped-def]
        return sum(
            rho
            for state, account, rho, at in self.model.values()
            if whose(account)
            and (state == "reserved" or (state == "spent" and at > self.now - WINDOW_SECONDS))
        )

    @invariant()
    def remaining_is_what_the_books_say(self) -> None:
        for account in ACCOUNTS:
            left = min(
                account.limit_nano - self._used(lambda a, mine=account: a == mine),
                account.limit_all_nano - self._used(lambda a: True),
            )
            assert budget.remaining(self.entries, account, self.now) == max(0, left)

    @invariant()
    def no_month_discloses_more_than_the_caps(self) -> None:
        # `remaining` would hide an overdraft behind its floor of zero.
        assert self._used(lambda a: True) <= NANO
        for account in ACCOUNTS:
            assert self._used(lambda a, mine=account: a == mine) <= account.limit_nano


TestLedger = LedgerModel.TestCase
TestLedger.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def test_a_refusal_shows_the_arithmetic() -> None:
    entries = [Entry("j", 1, "reserve", *MEDIA.key, 490_000_000, 0.0)]
    with pytest.raises(Refused) as caught:
        budget.check(entries, MEDIA, 20_000_000, 1.0)
    info = caught.value.info
    assert info.code == "budget_exhausted"
    assert info.party == "media"
    assert "0.49 rho used in 31 days + 0.02 rho asked > 0.5 rho allowed" in info.cause
    assert "at most 0.01 rho" in info.next_step


def test_the_owners_cap_counts_all_recipients_and_purposes() -> None:
    spent = [
        Entry(f"j{at}", 1, kind, *account.key, 400_000_000, 1.0)
        for at, account in enumerate((MEDIA, OTHER))
        for kind in ("reserve", "spend")
    ]
    third = ACCOUNTS[2]
    budget.check(spent, third, 200_000_000, 2.0)
    with pytest.raises(Refused, match=r"all recipients and purposes: 0\.8 rho used"):
        budget.check(spent, third, 200_000_001, 2.0)


def test_a_clock_that_goes_backwards_gives_nothing_back() -> None:
    entries = [
        Entry("j", 1, "reserve", *MEDIA.key, NANO // 2, 1e9),
        Entry("j", 1, "spend", *MEDIA.key, NANO // 2, 1e9),
    ]
    assert budget.remaining(entries, MEDIA, 1e9 - 10**7) == 0
    assert budget.remaining(entries, MEDIA, 1e9 + WINDOW_SECONDS - 1) == 0
    assert budget.remaining(entries, MEDIA, 1e9 + WINDOW_SECONDS) == NANO // 2


@pytest.mark.parametrize(
    "kinds", [["spend"], ["release"], ["reserve", "reserve"], ["reserve", "release", "spend"]]
)
def test_a_ledger_that_cannot_have_happened_fails_closed(kinds: list[str]) -> None:
    entries = [Entry("j", 1, kind, *MEDIA.key, 5, 0.0) for kind in kinds]
    with pytest.raises(AssentError) as caught:
        budget.remaining(entries, MEDIA, 1.0)
    assert caught.value.info.code == "ledger_corrupt"


def test_a_spending_of_another_amount_fails_closed() -> None:
    entries = [
        Entry("j", 1, "reserve", *MEDIA.key, 5, 0.0),
        Entry("j", 1, "spend", *MEDIA.key, 4, 0.0),
    ]
    with pytest.raises(Failed):
        budget.remaining(entries, MEDIA, 1.0)
