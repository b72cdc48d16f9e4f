"""Statements about jobs, and what the auditor's rule finds in bent ones."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from consent.audit import audit_bundle
from consent.audit_jobs import JobRule
from consent.checkpoint import parse_checkpoint
from consent.errors import ProofError
from consent.job_record import FIELDS, read_statement, statement, statement_id
from consent.leaf import JOB_ADMITTED, JOB_CLOSED, JOB_REFUSED
from consent.note import parse_note
from consent.trust import AUDITOR
from protocol.encoding import canonical_json
from protocol.secret import Secret
from tests import ledgers
from tests.consent import made

JOB = "0123456789abcdef"
NOW = int(made.START)
Fields = dict[str, object]


def admitted(**change: object) -> Fields:
    return {
        "budget_before": 500, "categories": ["content"], "code_version": "1", "eligible": 3,
        "consent": {"origin": "x", "size": 0, "root": "", "quorum_time": NOW - 5, "witnesses": {}},
        "eligible_set": "ab", "excluded": {}, "job_hash": "cd", "noise": "off",
        "parties": ["retailer", "media"], "policy": "ef", "protocol": "crosstab",
        "purpose": "audience_insight", "requester": "retailer", "rho": 100, "rows": 4,
        "thresholds": {"min_cohort": 1, "window": 300},
    } | change  # fmt: skip


def closed(**change: object) -> Fields:
    return {
        "budget_after": 400, "code": "", "eligible_set": "ab", "job_hash": "cd",
        "outcome": "released", "output": None, "overlap": None, "rechecked": None,
        "recipient": "retailer", "stages": [["offer", NOW * 1000 - 50], ["admit", NOW * 1000 + 5]],
        "withdrawn_during_job": 0,
    } | change  # fmt: skip


def test_a_statement_is_read_back_and_no_other(tmp_path: Path) -> None:
    keys = ledgers.new_keys("retailer")
    event = statement(
        JOB_ADMITTED, b"i" * 16, "retailer", JOB, 1, NOW * 1000, admitted(), keys.signing
    )
    key = keys.card.signing_key
    said = read_statement(JOB_ADMITTED, event.body, key)
    assert (said.party, said.job, said.attempt, said.time) == ("retailer", JOB, 1, NOW * 1000)
    assert said.fields == admitted()
    for place in range(len(event.body)):  # every flipped bit of it
        bent = bytearray(event.body)
        bent[place] ^= 1
        with pytest.raises(ProofError):
            read_statement(JOB_ADMITTED, bytes(bent), key)
    for type in (JOB_CLOSED, JOB_REFUSED, "consent"):
        with pytest.raises(ProofError):
            read_statement(type, event.body, key)
    with pytest.raises(ProofError, match="not signed"):
        read_statement(JOB_ADMITTED, event.body, ledgers.new_keys("x").card.signing_key)
    more = canonical_json(json.loads(event.body) | {"name": "Zhang San"})
    with pytest.raises(ProofError, match="other fields"):
        read_statement(JOB_ADMITTED, more, key)
    with pytest.raises(ValueError, match="other fields"):
        statement(JOB_ADMITTED, b"i" * 16, "r", JOB, 1, 0, {"identifier": "x"}, keys.signing)


def test_an_id_is_the_same_again_and_nobody_elses() -> None:
    mine, other = Secret(b"k" * 32), Secret(b"o" * 32)
    ids = {
        statement_id(key, job, attempt, type)
        for key in (mine, other)
        for job in ("a", "b")
        for attempt in (1, 2)
        for type in FIELDS
    }
    assert len(ids) == 2 * 2 * 2 * 3
    assert statement_id(mine, "a", 1, JOB_CLOSED) == statement_id(mine, "a", 1, JOB_CLOSED)


class Told:
    """A job log in which parties say what a test wants."""

    def __init__(self, folder: Path) -> None:
        keys = {name: ledgers.new_keys(name) for name in ("retailer", "media")}
        keys[AUDITOR] = ledgers.new_keys(AUDITOR, AUDITOR)
        self.clock = made.Clock()
        self.stand = ledgers.stand(folder, self.clock, keys, ledgers.new_keys("consent", "consent"))
        self.count = 0

    def say(
        self, party: str, type: str, fields: Fields, *, attempt: int = 1, time: int = NOW * 1000,
        signed_by: str = "", job: str = JOB,
    ) -> None:  # fmt: skip
        self.count += 1
        event = statement(
            type, self.count.to_bytes(16, "big"), party, job, attempt, time, fields,
            self.stand.keys[signed_by or party].signing,
        )  # fmt: skip
        self.stand.ledger.log_job(party, event).result(10)

    def whole(self, first: Fields | None = None, last: Fields | None = None) -> None:
        for party in ("retailer", "media"):
            self.say(party, JOB_ADMITTED, first or admitted())
        for party in ("retailer", "media"):
            self.say(party, JOB_CLOSED, last or closed())

    def head(self, party: str) -> Fields:
        origin = self.stand.ledger.consent_log(party)
        head = parse_checkpoint(parse_note(self.stand.ledger.head(origin).checkpoint).text)
        return {
            "origin": origin, "size": head.size, "root": head.root.hex(),
            "quorum_time": NOW - 5, "witnesses": {},
        }  # fmt: skip

    def found(self, reader: str = AUDITOR) -> list[str]:
        for origin in self.stand.ledger.origins_for(reader):
            if (renewing := self.stand.ledger.renewed(origin)) is not None:
                renewing.result(10)
        signers = {name: one.card.signing_key for name, one in self.stand.keys.items()}
        policy = self.stand.trust.policy(*self.stand.ledger.origins)
        rule = JobRule(signers)
        report = audit_bundle(self.stand.ledger.bundle(reader), policy, rules=[rule])
        for one in report.findings:  # every sentence can be said in both languages
            assert one.sentence("en") != one.sentence("zh")
        return [one.code for one in report.findings]


@pytest.fixture
def told(tmp_path: Path) -> Told:
    return Told(tmp_path)


def test_a_whole_job_is_fine_for_the_auditor_and_for_one_party(told: Told) -> None:
    told.stand.ledger.append("retailer", made.batch(["a"])).result(10)
    told.whole(admitted(consent=told.head("retailer")))
    assert told.found() == []
    assert told.found("retailer") == []  # the other's statements are there, closed
    told.stand.close()


CASES: dict[str, Callable[[Told], None]] = {
    "bad_statement": lambda t: t.say("retailer", JOB_ADMITTED, admitted(), signed_by="media"),
    "statement_twice": lambda t: [  # type: ignore[dict-item,return-value]
        t.say("retailer", JOB_ADMITTED, admitted()),
        t.say("retailer", JOB_ADMITTED, admitted(eligible=4)),
    ],
    "closed_unadmitted": lambda t: t.say("retailer", JOB_CLOSED, closed(outcome="failed")),
    "job_hash_differs": lambda t: [  # type: ignore[dict-item,return-value]
        t.say("retailer", JOB_ADMITTED, admitted()),
        t.say("media", JOB_ADMITTED, admitted(job_hash="ff")),
    ],
    "eligible_set_differs": lambda t: t.whole(last=closed(eligible_set="ff")),
    "stage_before_admission": lambda t: t.whole(
        last=closed(stages=[["offer", NOW * 1000 - 9], ["tokens", NOW * 1000 - 1]])
    ),
    "terms_differ": lambda t: [  # type: ignore[dict-item,return-value]
        t.say("retailer", JOB_ADMITTED, admitted()),
        t.say("media", JOB_ADMITTED, admitted(thresholds={"min_cohort": 2, "window": 900})),
    ],
    "late_release": lambda t: t.whole(
        last=closed(rechecked=NOW * 1000 + 9, stages=[["open", (NOW + 421) * 1000]])
    ),
    "quorum_overstated": lambda t: t.whole(
        admitted(consent=t.head("retailer") | {"quorum_time": NOW + 29})
    ),
    "budget_overspent": lambda t: t.whole(admitted(budget_before=99)),
    "stale_admission": lambda t: t.whole(
        admitted(consent={"origin": "x", "size": 0, "root": "", "quorum_time": NOW - 302})
    ),
    "consent_head_differs": lambda t: t.whole(
        admitted(consent=t.head("retailer") | {"root": "00" * 32})
    ),
    "admission_missing": lambda t: [  # type: ignore[dict-item,return-value]
        t.say("retailer", JOB_ADMITTED, admitted()),
        t.say("retailer", JOB_CLOSED, closed()),
    ],
    "logged_late": lambda t: t.say("retailer", JOB_ADMITTED, admitted(
        consent={"origin": "x", "size": 0, "root": "", "quorum_time": NOW - 2005},
    ), time=(NOW - 2000) * 1000),
}  # fmt: skip


@pytest.mark.parametrize("code", CASES)
def test_each_broken_rule_is_found_and_nothing_else(told: Told, code: str) -> None:
    CASES[code](told)
    assert set(told.found()) == {code}
    told.stand.close()


def test_a_job_that_never_ends_is_incomplete(told: Told) -> None:
    told.say("retailer", JOB_ADMITTED, admitted())
    assert told.found() == []
    told.clock.now += 2 * 24 * 3600
    told.say("media", JOB_REFUSED, {
        "code": "x", "purpose": "audience_insight", "requester": "retailer", "stage": "admit",
    }, job="later", time=int(told.clock.now * 1000))  # fmt: skip
    assert told.found() == ["never_closed"]
    told.stand.close()


def test_from_the_future_is_as_bad_as_stale(told: Told) -> None:
    told.whole(admitted(consent={"origin": "x", "size": 0, "root": "", "quorum_time": NOW + 60}))
    assert set(told.found()) == {"stale_admission"}
    told.stand.close()


@pytest.mark.parametrize(
    ("rechecked", "opened", "fine"),
    [(1, 2, True), (1, 301_000, True), (5, 4, False), (-1, 2, False), (None, 2, False)],
)
def test_a_result_is_opened_soon_after_the_last_look(
    told: Told, rechecked: int | None, opened: int, fine: bool
) -> None:
    looked = None if rechecked is None else NOW * 1000 + rechecked
    told.whole(last=closed(rechecked=looked, stages=[["open", NOW * 1000 + opened]]))
    assert set(told.found()) == (set() if fine else {"late_release"})
    told.stand.close()


@pytest.mark.parametrize("term", ["noise", "parties", "protocol", "purpose", "requester", "rho"])
def test_all_parties_admit_a_job_on_the_same_terms(told: Told, term: str) -> None:
    other = {"parties": ["retailer", "media", "bank"], "rho": 99}.get(term, "other")
    told.say("retailer", JOB_ADMITTED, admitted())
    told.say("media", JOB_ADMITTED, admitted(**{term: other}))
    assert told.found() == ["terms_differ"]
    told.stand.close()
