"""Any sequence of appends, repeats, erasures and restarts against a list in memory."""

from __future__ import annotations

import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st

from consent.audit import audit_bundle
from consent.log_check import check_log
from consent.merkle import tree_root
from consent.policy import check_checkpoint
from consent.tlog_proof import verify_proof
from tests.consent import logs
from tests.consent.made import Clock

PEOPLE = st.lists(st.integers(0, 40), min_size=1, max_size=8, unique=True)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("append"), PEOPLE),
        st.tuples(st.just("erase"), PEOPLE),
        st.tuples(st.just("restart"), st.just([])),
        st.tuples(st.just("wait"), st.just([])),
    ),
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_the_log_is_a_list(steps: list[tuple[str, list[int]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        stores, clock = logs.sqlite(Path(folder) / "log"), Clock()
        log = stores.log(clock)
        model: list[int | str] = []  # the person of each leaf, or that it is an erasure
        erased: set[int] = set()
        proofs: list[tuple[str, int]] = []
        for number, (what, people) in enumerate(steps):
            if what == "append":
                model += [one for one in people if one not in model]
                done = log.append([logs.consent(str(one)) for one in people])
                assert list(done.indexes) == [model.index(one) for one in people]
                proofs += [(log.prove(index), index) for index in done.indexes]
            elif what == "erase":
                gone = [model.index(one) for one in people if one in model]
                log.erase("retailer", logs.id_of(f"erasure {number}"), gone)
                model.append(f"erasure {number}")
                erased |= set(gone)
            elif what == "restart":
                log = stores.log(clock)
            else:
                clock.now += 45
            assert log.size == len(model)
        entries = stores.storage().entries(0, 1000)
        assert check_checkpoint(log.note, logs.policy()).checkpoint.root == tree_root(entries)
        for proof, index in proofs:  # also old ones, and those of erased people
            verify_proof(proof, entries[index], logs.policy())
        assert check_log(stores.source(), logs.log_key().key).findings == ()
        report = audit_bundle(logs.lines(logs.exported(stores.source())), logs.policy())
        assert (report.exit_code, report.logs[0].erased) == (0, len(erased))
