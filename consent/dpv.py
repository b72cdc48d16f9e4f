"""Consent records in the words of ISO/IEC TS 27560:2023 and the W3C Data Privacy Vocabulary.

Who runs it: whoever hands a record to somebody who is not Assent: the portal's access file, an
auditor's export.  Pure.  Learns: nobody more than the record says.

This is the one place where our words meet theirs: DPV version 2 (dpv:, pd:), and the section
names of 27560's clause 6.3.  A word without an exact term gets the next broader one and
keeps its own name beside it.  The output is JSON-LD and for reading; what is signed and
committed to is the body.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from consent.body import SCHEMA, batch_of
from consent.leaf import subject_text
from consent.purposes import ACTORS, CHANNELS, Flag, State
from consent.records import RecordBatch
from consent.terms import NoticeRef

CONTEXT = {
    "dpv": "https://w3id.org/dpv#",
    "pd": "https://w3id.org/dpv/pd#",
    "assent": "urn:assent:",
}
# `schema_version` of clause 6.3.3: which document the section names are from.
SCHEMA_VERSION = "ISO/IEC TS 27560:2023"

STATES: Mapping[State, str] = {
    State.REQUESTED: "dpv:ConsentRequested",
    State.DEFERRED: "dpv:ConsentRequestDeferred",
    State.UNKNOWN: "dpv:ConsentUnknown",
    State.GIVEN: "dpv:ConsentGiven",
    State.RENEWED: "dpv:RenewedConsentGiven",
    State.REFUSED: "dpv:ConsentRefused",
    # Theirs differ in who ends it: the person withdraws, anybody else revokes.
    State.WITHDRAWN: "dpv:ConsentWithdrawn",
    State.REVOKED: "dpv:ConsentRevoked",
    State.EXPIRED: "dpv:ConsentExpired",
    State.INVALIDATED: "dpv:ConsentInvalidated",
}
PURPOSES: Mapping[str, str] = {
    "overlap_measurement": "dpv:OptimisationForController",
    "audience_insight": "dpv:CommercialResearch",
    "segmentation": "dpv:Marketing",
    "lookalike_modelling": "dpv:TargetedAdvertising",
    "activation": "dpv:PersonalisedAdvertising",
    "personalisation": "dpv:ServicePersonalisation",
}
CATEGORIES: Mapping[str, str] = {
    "demographics": "pd:Demographic",
    "location": "pd:Location",
    "purchases": "pd:PurchasesAndSpendingHabit",
    "behaviour": "pd:Behavioral",
    "content": "pd:ServiceConsumptionBehavior",
    "finance": "pd:Financial",
    "device": "pd:DeviceBased",
}
PROCESSING: Mapping[str, str] = {
    "pseudonymise": "dpv:Pseudonymise",
    "match": "dpv:Match",
    "aggregate": "dpv:Aggregate",
    "profile": "dpv:Profiling",
    "score": "dpv:Assess",
    "share": "dpv:Share",
}
LEGAL_BASES: Mapping[str, str] = {
    # PIPL art. 23 and 29: one act of consent of its own for each recipient or sensitive use.
    "separate_consent": "dpv:ExplicitlyExpressedConsent",
    "explicit_consent": "dpv:ExplicitlyExpressedConsent",
    "consent": "dpv:ExpressedConsent",
}
WHO_SPOKE: Mapping[str, str] = {
    "person": "dpv:DataSubject",
    "guardian": "dpv:GuardianOfDataSubject",
    "party": "dpv:DataController",
}


def record_of_body(body: bytes, party: str) -> dict[str, Any]:
    """The record that `body` is, under 27560's section names, as JSON-LD.

    party: the controller's name, which a body leaves to its leaf.
    Raises ProtocolViolation('bad_record').
    """
    return records_of_batch(batch_of([body]), party)[0]


def records_of_batch(batch: RecordBatch, party: str) -> list[dict[str, Any]]:
    """One record per event; for a person's or an auditor's file, not for millions."""
    return [_record(batch, row, party) for row in range(len(batch))]


def _record(batch: RecordBatch, row: int, party: str) -> dict[str, Any]:
    scope = batch.scopes[batch.scope_codes[row]]
    terms = batch.terms[batch.terms_codes[row]]
    previous = batch.previous[row].tobytes()
    # 6.3.3: header
    header = {
        "schema_version": SCHEMA_VERSION,
        "record_id": _uuid(batch.record_ids[row].tobytes()),
        "pii_principal_id": f"s1.{batch.key_versions[row]}."
        + subject_text(batch.subjects[row].tobytes()),
        "assent:schema": SCHEMA,
        "assent:revision": int(batch.revisions[row]),
        "assent:previous": _uuid(previous) if any(previous) else None,
    }
    # 6.3.4 and 6.3.5: processing, one entry per purpose with the categories that it may use
    purposes = [
        {
            "purpose": PURPOSES[purpose],
            "assent:purpose": purpose,
            "lawful_basis": LEGAL_BASES[terms.legal_basis],
            "assent:lawful_basis": terms.legal_basis,
            "pii_information": [
                {"pii_type": CATEGORIES[word], "assent:category": word} for word in scope.categories
            ],
            "pii_controllers": [party],
            "recipient_third_parties": list(scope.recipients),
            "processing_method": [PROCESSING[word] for word in terms.processing],
            "collection_method": terms.method,
            "jurisdiction": terms.jurisdiction or None,
            "withdrawal_method": list(terms.withdrawal),
            "privacy_rights": ["dpv:DataSubjectRight"],
        }
        for purpose in scope.purposes
    ]
    state = int(batch.states[row])
    # 6.3.7: event
    event = {
        "event_time": _instant(int(batch.times_ms[row])),
        "validity_duration": {"until": _instant(int(batch.valid_until_ms[row]))},
        "entity_id": WHO_SPOKE[ACTORS[batch.actors[row] - 1]],
        "assent:guardian": terms.guardian or None,
        "event_type": LEGAL_BASES[terms.legal_basis],
        "event_state": STATES[State(state)] if state else None,
        "assent:flags": [flag.word for flag in Flag if batch.flags[row] & flag],
        "assent:channel": CHANNELS[batch.channels[row] - 1],
    }
    proof = batch.evidence[row].tobytes()
    return {
        "@context": CONTEXT,
        "@type": "dpv:ConsentRecord",
        "record_header": header,
        "pii_processing": {
            "privacy_notice": _notice(terms.notice),
            "purposes": purposes,
            "assent:nothing_ticked_in_advance": terms.default_off,
            "assent:evidence_sha256": proof.hex() if any(proof) else None,
        },
        # 6.3.6: who is who
        "party_identification": [{"party_id": party, "party_type": "dpv:DataController"}]
        + [{"party_id": name, "party_type": "dpv:Recipient"} for name in scope.recipients],
        "event": event,
    }


def _notice(notice: NoticeRef | None) -> dict[str, Any] | None:
    if notice is None:
        return None
    return {
        "@type": "dpv:ConsentNotice",
        "id": f"{notice.id}/{notice.version}",
        "language": notice.language,
        "sha256": notice.sha256,
        "assent:class": notice.kind,
    }


def _instant(ms: int) -> str | None:
    if not ms:
        return None
    return datetime.fromtimestamp(ms / 1000, UTC).isoformat(timespec="milliseconds")


def _uuid(data: bytes) -> str:
    text = data.hex()
    return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:]))
