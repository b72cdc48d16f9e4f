"""Artifacts of a cross-tab: what is written is read back, and nothing else is accepted."""

from __future__ import annotations

import numpy as np
import pytest

from protocol.crosstab import codec
from protocol.errors import ProtocolViolation
from protocol.frames import frame_head, parse_head
from tests.protocol.crosstab.federation import small_spec

SPEC = small_spec(2, 3, handles=(6, 5))
ROW = SPEC.ciphertexts_per_row * SPEC.ciphertext_width


def body(rows: int, width: int) -> np.ndarray:
    return np.arange(rows * width, dtype=np.int64).astype(np.uint8)


def test_h_turns_an_upload_into_a_layout_that_b_reads() -> None:
    sent = frame_head(codec.rows_head(SPEC))
    head, _ = parse_head(sent, codec.ROWS)
    row, laid = codec.layout_frame(head, 11 * ROW, 6, 5)
    assert row == ROW
    arrived, offset = parse_head(laid, codec.LAYOUT)
    assert offset == len(laid)
    read = codec.layout_body((arrived, body(5, ROW)), SPEC)
    assert read.shape == (5, ROW)
    assert read[1, 0] == ROW % 256


def test_outputs_are_read_back_without_a_copy() -> None:
    data = body(SPEC.output_ciphertexts, SPEC.ciphertext_width)
    read = codec.outputs_body((codec.outputs_head(SPEC), data), SPEC)
    assert np.shares_memory(read, data)


@pytest.mark.parametrize(
    "field, value",
    [("rows", 5), ("supply", 6), ("ciphertexts_per_row", 0), ("ciphertexts_per_row", 5),
     ("key_bits", 0), ("key_bits", 513), ("key_bits", 1 << 20)],
)  # fmt: skip
def test_h_refuses_an_upload_of_other_sizes(field: str, value: int) -> None:
    head = codec.rows_head(SPEC)
    setattr(head, field, value)
    with pytest.raises(ProtocolViolation, match="other sizes than announced"):
        codec.layout_frame(head, 11 * ROW, 6, 5)


@pytest.mark.parametrize("off", [-1, 1, ROW])
def test_h_refuses_an_upload_of_another_length(off: int) -> None:
    with pytest.raises(ProtocolViolation, match="not as long"):
        codec.layout_frame(codec.rows_head(SPEC), 11 * ROW + off, 6, 5)


@pytest.mark.parametrize("field, value", [("rows", 6), ("ciphertexts_per_row", 2), ("key_bits", 8)])
def test_b_refuses_a_layout_of_other_sizes(field: str, value: int) -> None:
    head = codec.LAYOUT(rows=5, ciphertexts_per_row=1, key_bits=512)
    codec.layout_body((head, body(5, ROW)), SPEC)
    setattr(head, field, value)
    with pytest.raises(ProtocolViolation, match="other sizes"):
        codec.layout_body((head, body(5, ROW)), SPEC)


@pytest.mark.parametrize("field, value", [("outputs", 1), ("key_bits", 8)])
def test_a_refuses_outputs_of_other_sizes(field: str, value: int) -> None:
    head = codec.outputs_head(SPEC)
    setattr(head, field, value)
    data = body(SPEC.output_ciphertexts, SPEC.ciphertext_width)
    with pytest.raises(ProtocolViolation, match="other sizes"):
        codec.outputs_body((head, data), SPEC)


def test_a_body_cut_short_is_refused() -> None:
    with pytest.raises(ProtocolViolation, match="not as long"):
        codec.outputs_body((codec.outputs_head(SPEC), np.zeros(7, np.uint8)), SPEC)
