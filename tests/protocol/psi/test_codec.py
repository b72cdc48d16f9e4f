"""Matching's artifacts: round trips, and every lie about a size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ProtocolViolation
from protocol.frames import frame_head, parse_head
from protocol.psi import codec
from protocol.psi.members import matched_rows
from protocol.wire import psi_pb2 as pb
from tests.protocol.psi.parties import random_tokens


@dataclass
class Task:
    """Stands for a step's inputs."""

    data: bytes

    def framed(self, name: str, kind: Any) -> tuple[Any, np.ndarray]:
        assert name == "marks"
        head, offset = parse_head(self.data, kind)
        return head, np.frombuffer(self.data[offset:], np.uint8)


@given(st.lists(st.booleans(), min_size=1, max_size=70))
def test_marks_round_trip(marks: list[bool]) -> None:
    found = codec.membership_rows(Task(codec.marks_frame(np.array(marks))), len(marks))
    assert found.tolist() == marks


@pytest.mark.parametrize(
    "handles, body", [(9, b"\1\0"), (10, b"\1"), (10, b"\1\0\0"), (10, b"\1\4"), (10, b"")]
)
def test_bad_marks_are_refused(handles: int, body: bytes) -> None:
    frame = frame_head(pb.Membership(handles=handles)) + body
    with pytest.raises(ProtocolViolation) as caught:
        codec.membership_rows(Task(frame), 10)
    assert caught.value.info.code == "bad_artifact"


def written(path: Path, head: Any, body: bytes) -> Path:
    path.write_bytes(frame_head(head) + body)
    return path


def test_uploads_round_trip_as_maps(tmp_path: Path) -> None:
    tokens, points = random_tokens(64, 2), random_tokens(64, 2, 32)
    one = codec.uploaded(written(tmp_path / "t", codec.tokens_head(tokens, 2), tokens.tobytes()), 2)
    two = codec.uploaded(written(tmp_path / "p", codec.points_head(points, 2), points.tobytes()), 2)
    assert isinstance(one.tokens, np.memmap)
    assert not one.tokens.flags.writeable
    assert (one.width, two.width) == (16, 32)
    assert (one.tokens == tokens).all()
    assert (two.tokens == points).all()


@pytest.mark.parametrize(
    "head, size",
    [
        (pb.TokenUpload(handles=64, types=1, width=16), 64 * 32),
        (pb.TokenUpload(handles=64, types=2, width=8), 64 * 16),
        (pb.TokenUpload(handles=64, types=2, width=16), 64 * 32 - 1),
        (pb.TokenUpload(handles=64, types=2, width=16), 64 * 32 + 1),
        (pb.TokenUpload(handles=0, types=2, width=16), 0),
        (pb.TokenUpload(handles=2**63, types=2, width=16), 64),
    ],
)
def test_bad_uploads_are_refused(tmp_path: Path, head: Any, size: int) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        codec.uploaded(written(tmp_path / "bad", head, bytes(size)), 2)
    assert caught.value.info.code == "bad_artifact"


def test_a_peers_batch_has_the_size_it_signed() -> None:
    batch = random_tokens(64, 2, 32)
    head = codec.points_head(batch, 2)
    assert (codec.points_body((head, batch.reshape(-1)), 64, 2) == batch).all()
    for handles, types, body in [
        (128, 2, batch), (64, 1, batch), (64, 2, batch[:-1]),
    ]:  # fmt: skip
        with pytest.raises(ProtocolViolation):
            codec.points_body((head, body.reshape(-1)), handles, types)


@pytest.mark.parametrize("handles, types, width", [(128, 1, 32), (64, 4, 16), (32, 4, 32)])
def test_a_batch_of_the_right_bytes_under_another_header_is_refused(
    handles: int, types: int, width: int
) -> None:
    batch = random_tokens(64, 2, 32)
    with pytest.raises(ProtocolViolation, match="announced"):
        codec.points_body(
            (pb.Points(handles=handles, types=types, width=width), batch.reshape(-1)), 64, 2
        )


def test_headers_refuse_arrays_of_another_shape() -> None:
    with pytest.raises(ValueError, match="is not"):
        codec.tokens_head(random_tokens(4, 1, 32), 1)
    with pytest.raises(ValueError, match="is not"):
        codec.points_head(random_tokens(4, 1), 1)


ROWS = np.array([3, -1, 0, -2, 1, -1, 2])


def test_dummies_are_stripped_from_the_members() -> None:
    marks = np.array([True, True, False, False, True, True, False])
    assert matched_rows(marks, ROWS).tolist() == [1, 3]


@pytest.mark.parametrize(
    "marks",
    [
        [True, False, False, False, True, True, False],  # a dummy that all share is not marked
        [True, True, False, True, True, True, False],  # padding that nobody shares is marked
        [True, True, False],
    ],
)
def test_marks_that_no_honest_join_gives_are_refused(marks: list[bool]) -> None:
    with pytest.raises(ProtocolViolation) as caught:
        matched_rows(np.array(marks), ROWS)
    assert caught.value.info.code == "bad_membership"
