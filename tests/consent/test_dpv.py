"""Records in the words of ISO/IEC TS 27560 and DPV: nothing of a record is lost or unmapped."""

from __future__ import annotations

import json

from consent import dpv, purposes
from consent.body import bodies
from consent.purposes import State
from tests.consent import made
from tests.consent.test_body import full


def test_every_word_of_a_record_has_a_term() -> None:
    assert set(dpv.STATES) == set(State)
    assert set(dpv.PURPOSES) == set(purposes.PURPOSES)
    assert set(dpv.CATEGORIES) == set(purposes.CATEGORIES)
    assert set(dpv.PROCESSING) == set(purposes.PROCESSING)
    assert set(dpv.LEGAL_BASES) == set(purposes.LEGAL_BASES)
    assert set(dpv.WHO_SPOKE) == set(purposes.ACTORS)
    maps = (dpv.STATES, dpv.PURPOSES, dpv.CATEGORIES, dpv.PROCESSING, dpv.LEGAL_BASES)
    for terms in maps:
        assert {term.split(":")[0] for term in terms.values()} <= set(dpv.CONTEXT)


def test_a_full_record() -> None:
    batch = full()
    record = dpv.record_of_body(bodies(batch)[0], "retailer")
    assert json.loads(json.dumps(record)) == record
    assert record["record_header"]["schema_version"] == "ISO/IEC TS 27560:2023"
    assert record["record_header"]["record_id"].replace("-", "") == batch.record_ids.tobytes().hex()
    assert record["record_header"]["assent:previous"][14] == "7"
    assert record["event"] == {
        "event_time": "2027-01-15T08:00:00.000+00:00",
        "validity_duration": {"until": "2027-01-15T08:00:01.000+00:00"},
        "entity_id": "dpv:GuardianOfDataSubject",
        "assent:guardian": "parent",
        "event_type": "dpv:ExplicitlyExpressedConsent",
        "event_state": "dpv:ConsentGiven",
        "assent:flags": ["restricted", "objection_ended"],
        "assent:channel": "portal",
    }
    (purpose,) = record["pii_processing"]["purposes"]
    assert purpose["recipient_third_parties"] == ["银行"]
    assert purpose["pii_information"][0]["pii_type"] == "pd:PurchasesAndSpendingHabit"
    assert record["pii_processing"]["privacy_notice"]["id"] == "insight/3"


def test_what_is_not_known_is_null() -> None:
    (record,) = dpv.records_of_batch(made.batch(["x"], "withdrawn", made.scope("*")), "retailer")
    assert record["pii_processing"]["privacy_notice"] is None
    assert record["event"]["validity_duration"] == {"until": None}
    assert record["event"]["event_state"] == "dpv:ConsentWithdrawn"
    assert record["record_header"]["assent:previous"] is None
