"""The ledger refuses what cannot have happened, also of batches that arrive together."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from consent.ledger import Ledger
from consent.records import joined
from protocol.errors import ProtocolViolation
from tests import ledgers
from tests.consent import made


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[ledgers.Stand]:
    keys = {name: ledgers.new_keys(name) for name in ("retailer", "media")}
    made_so = ledgers.stand(tmp_path, made.Clock(), keys, ledgers.new_keys("consent", "consent"))
    yield made_so
    made_so.close()


def size(ledger: Ledger) -> int:
    return len(ledger.append("retailer", made.batch(["somebody"])).result(30).indexes) and int(
        ledger._of("retailer").log.size
    )


def test_a_renewal_of_what_was_withdrawn_is_refused_and_nothing_is_logged(
    stand: ledgers.Stand,
) -> None:
    ledger = stand.ledger
    ledger.append("retailer", made.batch(["a", "b"])).result(30)
    ledger.append("retailer", made.batch(["a"], "withdrawn", made.scope("*"))).result(30)
    before = size(ledger)
    wrong = made.batch(["b", "a"], "renewed")
    with pytest.raises(ProtocolViolation, match="record 2 of 2 new ones says renewed after with"):
        ledger.append("retailer", wrong).result(30)
    assert size(ledger) == before + 1  # `size` itself logs one
    ledger.append("retailer", made.batch(["a"], "given")).result(30)
    # the same pseudonym in another party's log has a history of its own
    ledger.append("media", made.batch(["a"], "renewed")).result(30)


def test_sent_again_it_is_where_it_was(stand: ledgers.Stand) -> None:
    ledger = stand.ledger
    first, second = made.batch(["a"], "expired"), made.batch(["a"], "withdrawn")
    indexes = [ledger.append("retailer", one).result(30).indexes for one in (first, second)]
    again = ledger.append("retailer", joined([first, second])).result(30)
    assert again.indexes == (*indexes[0], *indexes[1])


def test_what_is_on_its_way_counts(stand: ledgers.Stand) -> None:
    ledger = stand.ledger
    written = ledger.append("retailer", made.batch(["a"], "refused"))
    with pytest.raises(ProtocolViolation, match="renewed after refused"):
        ledger.append("retailer", made.batch(["a"], "renewed")).result(30)
    written.result(30)
    with pytest.raises(ProtocolViolation, match="renewed after refused"):
        ledger.append("retailer", made.batch(["a"], "renewed")).result(30)


def test_many_people_are_checked_at_once(stand: ledgers.Stand) -> None:
    ledger = stand.ledger
    people = [f"p{number}" for number in range(1300)]
    ledger.append("retailer", made.batch(people, "refused")).result(60)
    states = ["given"] * 1300
    states[1250] = "renewed"
    with pytest.raises(ProtocolViolation, match="record 1251 of 1300"):
        ledger.append("retailer", made.batch(people, states)).result(30)


def test_who_was_erased_has_no_past(stand: ledgers.Stand) -> None:
    ledger = stand.ledger
    ledger.append("retailer", made.batch(["a"], "withdrawn")).result(30)
    ledger.erase("retailer", made.token("a")).result(30)
    ledger.append("retailer", made.batch(["a"], "renewed")).result(30)
