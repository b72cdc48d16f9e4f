"""Messages: honest ones come back, dishonest ones are refused."""

from __future__ import annotations

import os

import numpy as np
import pytest

from protocol.errors import ProtocolViolation
from protocol.frames import frame_head
from protocol.paillier import codec
from protocol.paillier.keys import PrivateKey, generate
from protocol.paillier.packing import PackedBound
from protocol.wire import paillier_pb2 as pb
from tests.protocol.paillier.rows import small_key

JOB = b"job"


@pytest.fixture(scope="module")
def key() -> PrivateKey:
    return generate(2048, os.urandom)


def test_an_announced_key_is_accepted(key: PrivateKey) -> None:
    sent = codec.announce(key, JOB).SerializeToString()
    message = pb.PaillierKeyAnnouncement.FromString(sent)
    assert codec.accept(message, JOB, 2048) == key.public
    for factor in (key.p, key.q):
        assert factor.to_bytes(128, "little") not in sent
        assert factor.to_bytes(128, "big") not in sent


def test_bad_announcements_are_refused(key: PrivateKey) -> None:
    good = codec.announce(key, JOB)
    unproved = pb.PaillierKeyAnnouncement(key=good.key)
    other = codec.announce(generate(2048, os.urandom), JOB)
    mixed = pb.PaillierKeyAnnouncement(key=good.key, proof=other.proof)
    small = codec.announce(small_key(1024), JOB)
    for message, context, bits in (
        (good, b"another job", 2048),
        (good, JOB, 3072),
        (unproved, JOB, 2048),
        (mixed, JOB, 2048),
        (small, JOB, 1024),
        (pb.PaillierKeyAnnouncement(), JOB, 2048),
    ):
        with pytest.raises(ProtocolViolation) as caught:
            codec.accept(message, context, bits)
        assert caught.value.info.code == "bad_key"


@pytest.mark.parametrize("bound", [None, PackedBound(0, 131072, 20), PackedBound(-128, 127, 8)])
def test_an_array_and_its_bound_come_back(bound: PackedBound | None) -> None:
    public = small_key().public
    body = np.arange(3 * 2 * public.width, dtype=np.uint8)
    head = codec.array_head(public, 3, 2, bound)
    artifact = np.frombuffer(head + body.tobytes(), dtype=np.uint8)
    rows, found = codec.open_array(public, artifact)
    assert rows.shape == (3, 2 * public.width)
    assert np.array_equal(rows.reshape(-1), body)
    assert np.shares_memory(rows, artifact)
    assert found == bound


def test_bad_arrays_are_refused() -> None:
    public = small_key().public
    body = bytes(2 * public.width)
    good = codec.array_head(public, 2, 1)
    contradicting = pb.CiphertextArray(bits=public.bits, rows=2, per_row=1)
    contradicting.bound.low, contradicting.bound.high = b"\x05", b"\x01"
    too_wide = pb.CiphertextArray(bits=public.bits, rows=2, per_row=1)
    too_wide.bound.high, too_wide.bound.width = b"\x00\x01", 8
    endless = pb.CiphertextArray(bits=public.bits, rows=2, per_row=1)
    endless.bound.low = bytes(5000)
    for data in (
        b"",
        b"AST1",
        b"AST1\xff\xff\xff\xff" + bytes(50),
        good + body[:-1],
        good + body + b"\0",
        codec.array_head(small_key(512).public, 2, 1) + body,
        codec.array_head(public, 0, 0) + body,
        codec.array_head(public, 1, 9) + body,
        frame_head(contradicting) + body,
        frame_head(too_wide) + body,
        frame_head(endless) + body,
    ):
        with pytest.raises(ProtocolViolation) as caught:
            codec.open_array(public, np.frombuffer(data, dtype=np.uint8))
        assert caught.value.info.code == "bad_artifact"
