"""Secrets, canonical bytes, frames, identities and the signed artifact tuple."""

import datetime
import json
import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol import identity, transcript
from protocol.encoding import canonical_json, content_id, length_prefixed
from protocol.errors import BadInput, ErrorInfo, Failed, ProtocolViolation, Refused, from_info
from protocol.frames import frame_head, parse_head
from protocol.secret import Secret
from protocol.transcript import ArtifactTag
from protocol.transport.kit import create_kit, load_kit
from protocol.wire import job_pb2 as pb

NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def keys(name="ann", role="party"):
    return identity.create_keys(name, role, storage=os.urandom(32), now=NOW)


def test_a_secret_never_shows_itself():
    secret = Secret(b"hunter2")
    assert "hunter2" not in f"{secret} {secret!r} {[secret]}"
    assert secret == Secret(b"hunter2")
    assert secret != Secret(b"hunter3")
    with pytest.raises(TypeError, match="not serialised"):
        pickle.dumps(secret)
    with pytest.raises(TypeError):
        hash(secret)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON)
def test_canonical_json_is_json_and_ignores_key_order(value):
    data = canonical_json(value)
    assert json.loads(data) == value
    if isinstance(value, dict):
        assert canonical_json(dict(reversed(value.items()))) == data


def test_canonical_json_sorts_by_utf16_units_as_rfc_8785_does():
    # U+1F600 has a surrogate lead (D83D) that sorts before U+FB33, though its code point is larger.
    assert canonical_json({"\ufb33": 1, "\U0001f600": 2}).startswith('{"\U0001f600"'.encode())


@pytest.mark.parametrize("value", [1.5, {1: 2}, {"a": {2}}, b"x"])
def test_canonical_json_refuses_what_two_sides_could_print_differently(value):
    with pytest.raises(TypeError):
        canonical_json(value)


@given(st.lists(st.binary(max_size=5), max_size=5), st.lists(st.binary(max_size=5), max_size=5))
def test_length_prefix_separates_lists(left, right):
    assert (length_prefixed(*left) == length_prefixed(*right)) == (left == right)


def test_content_id_is_a_sha256():
    assert content_id({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


def test_frames_round_trip_and_refuse_other_bytes():
    head = frame_head(pb.Admission(job_hash=b"h" * 32, handles=192))
    message, offset = parse_head(head + b"body", pb.Admission)
    assert (message.handles, offset) == (192, len(head))
    for bad in (b"", head[:5], b"XXXX" + head[4:], b"AST1\xff\xff\xff\xff", head[:-1]):
        with pytest.raises(ProtocolViolation) as caught:
            parse_head(bad, pb.Admission)
        assert caught.value.info.code == "bad_artifact"


def test_seal_opens_for_the_recipient_and_the_same_info_only():
    ann, bob = keys("ann"), keys("bob")
    sealed = identity.seal(bob.card.sealing_key, b"K", b"job 1")
    assert identity.unseal(bob.sealing, sealed, b"job 1") == b"K"
    for key, data, info in (
        (ann.sealing, sealed, b"job 1"),
        (bob.sealing, sealed, b"job 2"),
        (bob.sealing, sealed[:-1] + bytes([sealed[-1] ^ 1]), b"job 1"),
        (bob.sealing, b"", b"job 1"),
    ):
        with pytest.raises(ProtocolViolation) as caught:
            identity.unseal(key, data, info)
        assert caught.value.info.code == "bad_seal"


def test_the_artifact_tuple_binds_every_field():
    ann = keys()
    tag = ArtifactTag(b"h" * 32, "encrypt", 1, "ann", "bob")
    signature = transcript.sign(tag, b"d" * 32, ann.signing)
    transcript.verify(tag, b"d" * 32, signature, ann.card.signing_key)
    for other in (
        ArtifactTag(b"x" * 32, "encrypt", 1, "ann", "bob"),
        ArtifactTag(b"h" * 32, "encrypT", 1, "ann", "bob"),
        ArtifactTag(b"h" * 32, "encrypt", 2, "ann", "bob"),
        ArtifactTag(b"h" * 32, "encrypt", 1, "bob", "bob"),
        ArtifactTag(b"h" * 32, "encrypt", 1, "ann", "eve"),
    ):
        with pytest.raises(ProtocolViolation, match="is not what"):
            transcript.verify(other, b"d" * 32, signature, ann.card.signing_key)
    with pytest.raises(ProtocolViolation):
        transcript.verify(tag, b"e" * 32, signature, ann.card.signing_key)


def test_job_hash_depends_on_every_offer_and_the_job():
    base = transcript.job_hash("id", {"a": 1}, {"x": b"1", "y": b"2"})
    assert base == transcript.job_hash("id", {"a": 1}, {"y": b"2", "x": b"1"})
    others = [
        transcript.job_hash("di", {"a": 1}, {"x": b"1", "y": b"2"}),
        transcript.job_hash("id", {"a": 2}, {"x": b"1", "y": b"2"}),
        transcript.job_hash("id", {"a": 1}, {"x": b"1", "y": b"3"}),
        transcript.job_hash("id", {"a": 1}, {"x": b"1"}),
        transcript.job_hash("id", {"a": 1}, {"x": b"2", "y": b"1"}),
    ]
    assert base not in others


def test_card_fingerprint_covers_every_public_key():
    from dataclasses import replace

    ann, bob = keys("ann").card, keys("ann").card
    prints = {ann.fingerprint}
    for field in ("tls_certificate", "signing_key", "sealing_key"):
        prints.add(replace(ann, **{field: getattr(bob, field)}).fingerprint)
    prints |= {replace(ann, name="eve").fingerprint, replace(ann, role="consent").fingerprint}
    assert len(prints) == 6


def test_kit_files_are_private_and_checked(tmp_path):
    folder = tmp_path / "keys"
    made = create_kit(folder, "ann", "party")
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o600}
    assert load_kit(folder, made.card).signing == made.signing
    with pytest.raises(BadInput, match="exist already"):
        create_kit(folder, "ann", "party")
    with pytest.raises(BadInput, match="do not belong to the card"):
        load_kit(folder, keys().card)
    (folder / "signing.key").chmod(0o644)
    with pytest.raises(BadInput, match="chmod 600"):
        load_kit(folder, made.card)
    (folder / "signing.key").unlink()
    with pytest.raises(BadInput, match="kit create"):
        load_kit(folder, made.card)


def test_errors_keep_their_words_and_exit_codes_across_processes():
    error = Refused("noise_required", "needs noise", party="media", stage="admit", next_step="ask")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is Refused
    assert again.info == error.info
    assert str(error) == "media at admit: needs noise (noise_required) — ask"
    assert (BadInput("x").exit_code, error.exit_code, Failed("a", "b").exit_code) == (2, 3, 4)
    assert isinstance(from_info(ErrorInfo("c", "x"), "anything else"), Failed)
    assert ErrorInfo("unavailable", "x").retryable
    assert not error.info.retryable
