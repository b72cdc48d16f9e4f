"""Requests that are logged together are judged as one after the other would be."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from consent.body import bodies
from consent.purposes import STATE_OF_WORD
from consent.record_check import RecordCheck
from consent.records import RecordBatch, empty_batch, joined
from consent.state_machine import check_batch
from protocol.errors import AssentError, ProtocolViolation
from tests import ledgers
from tests.consent import logs, made

WORDS = sorted(STATE_OF_WORD)
PEOPLE = ("a", "b")


def one_after_the_other(requests: list[RecordBatch]) -> list[str]:
    """Each against all that was accepted before it, as if each came alone; what was wrong."""
    log, found = empty_batch(), list[str]()
    for request in requests:
        try:
            check_batch(log, request)
        except ProtocolViolation as error:
            found.append(str(error))
            continue
        known = {row.tobytes() for row in log.record_ids}
        new = [n for n, row in enumerate(request.record_ids) if row.tobytes() not in known]
        log = joined([log, request.take(np.array(new, np.intp))])
        found.append("")
    return found


@pytest.fixture(scope="module")
def check(tmp_path_factory: pytest.TempPathFactory) -> RecordCheck:
    """Over a log without entries."""
    stores = logs.sqlite(tmp_path_factory.mktemp("log"))
    return RecordCheck(logs.PARTY, stores.log(), stores.openings())


said = st.lists(st.tuples(st.sampled_from(PEOPLE), st.sampled_from(WORDS)), min_size=1, max_size=2)
# A number sends an earlier request again.
group = st.lists(st.one_of(said, st.integers(0, 9)), min_size=1, max_size=10)


@settings(max_examples=150, deadline=None)
@given(group)
def test_agrees_with_one_after_the_other(check: RecordCheck, group: list[object]) -> None:
    requests: list[RecordBatch] = []
    for one in group:
        if isinstance(one, list):
            requests.append(made.batch([who for who, _ in one], [word for _, word in one]))
        elif requests:
            requests.append(requests[int(str(one)) % len(requests)])
    answers = check(requests)
    wrong = [str(one) if isinstance(one, AssentError) else "" for one in answers]
    assert wrong == one_after_the_other(requests)
    for request, events in zip(requests, answers, strict=True):
        if not isinstance(events, AssentError):
            assert [one.body for one in events] == bodies(request)
            assert [one.id for one in events] == [row.tobytes() for row in request.record_ids]
            assert [one.subject for one in events] == [row.tobytes() for row in request.subjects]


@pytest.fixture
def stand(tmp_path: Path) -> Iterator[ledgers.Stand]:
    made_so = ledgers.simple(tmp_path, made.Clock(), "retailer")
    yield made_so
    made_so.close()


def test_a_crowd_is_answered_one_by_one(stand: ledgers.Stand) -> None:
    """Many at once, one of them wrong and one sent twice: everybody gets the own answer."""
    people = [f"p{number}" for number in range(300)]
    requests = [made.batch([who], "refused") for who in people]
    wrong = made.batch(["p7"], "renewed")
    sent = [*requests, wrong, requests[5]]
    answers = [stand.ledger.append("retailer", one) for one in sent]
    assert [answers[n].result(60).indexes for n in range(300)] == [(n,) for n in range(300)]
    with pytest.raises(ProtocolViolation, match="renewed after refused"):
        answers[300].result(60)
    assert answers[301].result(60).indexes == (5,)
    one = stand.ledger._of("retailer")
    assert one.log.size == 300
    assert len(list(one.storage.checkpoints())) < 150  # they shared their commits
