"""Bodies: one spelling per record, nothing unknown gets through, quick enough for millions."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings

from consent.body import SCHEMA, batch_of, bodies, parse_terms, terms_text
from consent.leaf import CONSENT, event, read_body
from consent.purposes import ACTORS, State
from consent.records import RecordBatch, empty_batch
from consent.terms import DEFAULT_TERMS, NoticeRef, Terms
from protocol.encoding import canonical_json
from protocol.errors import ProtocolViolation
from tests.consent import made
from tests.consent.test_records import batches, same

NOTICE = NoticeRef("insight", 3, "zh-CN", "ab" * 32, "editorial")


def full() -> RecordBatch:
    one = made.batch(["x"], "given", made.scope("银行"), channel="portal")
    first = made.batch(["x"])
    return replace(
        one,
        terms=(Terms(notice=NOTICE, jurisdiction="CN", default_off=True, guardian="parent"),),
        flags=np.array([6], np.uint8),
        actors=np.array([ACTORS.index("guardian") + 1], np.uint8),
        valid_until_ms=one.times_ms + 1000,
        revisions=np.array([2], np.uint32),
        previous=first.record_ids,
        evidence=np.full((1, 32), 7, np.uint8),
    )


@settings(max_examples=80, deadline=None)
@given(batches())
def test_there_and_back(batch: RecordBatch) -> None:
    texts = bodies(batch)
    assert same(batch_of(texts), batch)
    for text in texts:
        assert canonical_json(json.loads(text)) == text


def test_none_is_none() -> None:
    assert bodies(empty_batch()) == []
    assert len(batch_of([])) == 0


def test_a_body_says_what_the_columns_say() -> None:
    batch = full()
    (text,) = bodies(batch)
    said = read_body(text)
    assert said == {
        "event": {
            "actor": "guardian", "channel": "portal", "flags": ["restricted", "objection_ended"],
            "state": "given", "time": int(made.START * 1000),
        },
        "evidence": "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc",
        "id": batch.record_ids[0].tobytes().hex(),
        "key_version": 1,
        "previous": batch.previous[0].tobytes().hex(),
        "revision": 2,
        "schema": SCHEMA,
        "subject": said["subject"],
        "terms": {
            "categories": ["purchases"], "default_off": True, "guardian": "parent",
            "jurisdiction": "CN", "legal_basis": "separate_consent", "method": "unknown",
            "notice": {
                "class": "editorial", "id": "insight", "language": "zh-CN", "sha256": "ab" * 32,
                "version": 3,
            },
            "processing": ["aggregate", "match", "pseudonymise"],
            "purposes": ["audience_insight"], "recipients": ["银行"],
            "withdrawal": ["counter", "portal"],
        },
        "valid_until": int(made.START * 1000) + 1000,
    }  # fmt: skip


def test_it_is_the_body_that_the_log_makes_of_its_fields() -> None:
    batch = full()
    (text,) = bodies(batch)
    rest = {key: value for key, value in read_body(text).items() if key not in ("id", "subject")}
    subject = batch.subjects[0].tobytes()
    made_by_log = event("retailer", CONSENT, batch.record_ids[0].tobytes(), rest, subject)
    assert made_by_log.body == text


def test_every_flipped_bit_is_refused_or_says_something_else() -> None:
    (text,) = bodies(full())
    right = batch_of([text])
    for place in range(len(text)):
        for bit in range(8):
            wrong = bytearray(text)
            wrong[place] ^= 1 << bit
            read = read_or_refuse(bytes(wrong))
            if read is not None:
                assert bodies(read) == [bytes(wrong)]
                assert not same(read, right)


def read_or_refuse(text: bytes) -> RecordBatch | None:
    try:
        return batch_of([text])
    except ProtocolViolation as error:
        if error.info.code != "bad_record":
            raise
        return None


@pytest.mark.parametrize(
    "old, new, said",
    [
        (SCHEMA, "assent.consent/2", "unknown schema"),
        ("audience_insight", "world_domination", "purposes"),
        ("purchases", "gossip", "categories"),
        ('"state":"given"', '"state":"granted"', "unknown state"),
        ('"channel":"portal"', '"channel":"rumour"', "unknown state, flag, actor or channel"),
        ('["restricted","objection_ended"]', '["objection_ended","restricted"]', "unknown state"),
        ('["counter","portal"]', '["portal","counter"]', "canonical order"),
        ('["counter","portal"]', '["portal","portal"]', "canonical order"),
        ('["银行"]', '"银行"', "not a list"),
        ('["银行"]', "[7]", "not text"),
        ('["银行"]', r'["\u94f6行"]', "canonical"),
        ('"default_off":true', '"default_off":1', "true, false or unknown"),
        ('"version":3', '"version":true', "number from 1"),
        ('"version":3', '"version":3,"x":1', "unknown fields"),
        ('"method":"unknown"', '"method":"unknown","more":1', "unknown fields"),
        ('"key_version":1', '"key_version":01', "not a record"),
        ('"key_version":1', '"key_version":65536', "too large"),
        ('"revision":2', '"revision":4294967296', "too large"),
        ('"revision":2', '"revision":1', "the first and follows"),
        ("BwcHBwc\"", "BwcHBwd\"", "unusual"),
        ("BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc", "A" * 43, "spells out zeros"),
        ('"valid_until":1800000001000', '"valid_until":0', "canonical form"),
        ('"valid_until":1800000001000', '"valid_until":5', "ends before"),
        ('"time":1800000000000', '"time":-1', "canonical form"),
        ('"time":', '"time": ', "canonical form"),
    ],
)  # fmt: skip
def test_what_is_unknown_or_written_otherwise_is_refused(old: str, new: str, said: str) -> None:
    text = bodies(full())[0].decode()
    assert text.count(old) == 1
    with pytest.raises(ProtocolViolation, match=said):
        batch_of([text.replace(old, new).encode()])


@pytest.mark.parametrize(
    "body", [b"", b"{}", b"null", b"[]", b"\xff", b'{"schema":1}', b"[" * 100_000]
)
def test_other_bytes_are_no_record(body: bytes) -> None:
    with pytest.raises(ProtocolViolation, match="bad_record"):
        batch_of([*bodies(full()), body])


def test_a_name_cannot_pass_for_a_field() -> None:
    sly = '","id":"00000000000000000000000000000000","key_version":9'
    batch = made.batch(["x"], about=made.scope(sly))
    (read,) = [batch_of(bodies(batch))]
    assert same(read, batch)
    assert read.scopes[0].recipients == (sly,)


def test_terms_are_shared() -> None:
    batch = made.batch(["a", "b", "c"], ["given", "refused", "given"])
    read = batch_of(bodies(batch))
    assert (len(read.scopes), len(read.terms)) == (1, 1)
    assert read.states.tolist() == [State.GIVEN, State.REFUSED, State.GIVEN]
    text = terms_text(made.scope(), DEFAULT_TERMS)
    assert parse_terms(text) == (made.scope(), DEFAULT_TERMS)
