"""A ledger with two parties and an auditor, and a copy of one party's log."""

from __future__ import annotations

from pathlib import Path

import pytest

from consent.replica import Replica
from consent.trust import AUDITOR
from tests import ledgers
from tests.consent import made
from tests.consent.replicas import Faulty


@pytest.fixture
def clock() -> made.Clock:
    return made.Clock()


@pytest.fixture
def stand(tmp_path: Path, clock: made.Clock) -> ledgers.Stand:
    keys = {name: ledgers.new_keys(name) for name in ("retailer", "media")}
    keys[AUDITOR] = ledgers.new_keys(AUDITOR, AUDITOR)
    return ledgers.stand(tmp_path / "l", clock, keys, ledgers.new_keys("consent", "consent"))


@pytest.fixture
def port(stand: ledgers.Stand) -> Faulty:
    return Faulty(stand)


@pytest.fixture
def replica(tmp_path: Path, stand: ledgers.Stand) -> Replica:
    return Replica(tmp_path / "replica.sqlite", "retailer", stand.trust, made.SEAL)
