"""The arrays of a cross-tab as artifacts: header messages, and bodies checked against them.

Who runs it: A writes rows, H lays them out unread, B reads the layout and writes outputs,
A reads those.  Learns: what proto/crosstab.proto says of each field.
Every reader checks the header against what it derived itself; the writer's word counts for
nothing.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
import numpy.typing as npt

from protocol.crosstab.spec import MAX_CIPHERTEXTS_PER_ROW, CrosstabSpec
from protocol.frames import frame_head, require, shaped
from protocol.wire import crosstab_pb2 as pb

Bytes = npt.NDArray[np.uint8]
ROWS, LAYOUT, OUTPUTS = pb.RowUpload, pb.Layout, pb.Outputs
MAX_KEY_BITS = 8192


class RowHeader(Protocol):
    """Of an upload of encrypted rows and spare zeros, whichever party makes it."""

    rows: int
    supply: int
    ciphertexts_per_row: int
    key_bits: int


def rows_head(spec: CrosstabSpec) -> pb.RowUpload:
    """Header of A's upload."""
    return pb.RowUpload(
        rows=spec.handles_a,
        supply=spec.handles_b,
        ciphertexts_per_row=spec.ciphertexts_per_row,
        key_bits=spec.key_bits,
    )


def outputs_head(spec: CrosstabSpec) -> pb.Outputs:
    """Header of B's outputs."""
    return pb.Outputs(outputs=spec.output_ciphertexts, key_bits=spec.key_bits)


def layout_frame(
    head: pb.RowUpload, body_bytes: int, handles_a: int, handles_b: int
) -> tuple[int, bytes]:
    """At H: (bytes of a row, the layout's bytes before its body), from A's checked header.

    body_bytes: the size of A's body; handles: as the parties announced them.
    """
    row = row_bytes(head, body_bytes, rows=handles_a, supply=handles_b)
    layout = pb.Layout(
        rows=handles_b, ciphertexts_per_row=head.ciphertexts_per_row, key_bits=head.key_bits
    )
    return row, frame_head(layout)


def row_bytes(head: RowHeader, body_bytes: int, *, rows: int, supply: int) -> int:
    """At H: bytes of a row of an upload whose header and length are as announced."""
    require(
        (head.rows, head.supply) == (rows, supply)
        and 1 <= head.ciphertexts_per_row <= MAX_CIPHERTEXTS_PER_ROW
        and 0 < head.key_bits <= MAX_KEY_BITS
        and head.key_bits % 8 == 0,
        "an upload of rows has other sizes than announced",
    )
    row: int = head.ciphertexts_per_row * 2 * head.key_bits // 8
    require(body_bytes == row * (rows + supply), "an upload of rows is not as long as it says")
    return row


def layout_body(framed: tuple[pb.Layout, Bytes], spec: CrosstabSpec) -> Bytes:
    """At B: uint8[handles_b, k·width], a view of the body."""
    head, body = framed
    require(
        (head.rows, head.ciphertexts_per_row, head.key_bits)
        == (spec.handles_b, spec.ciphertexts_per_row, spec.key_bits),
        "a layout has other sizes than announced",
    )
    return shaped(body, spec.handles_b, spec.ciphertexts_per_row * spec.ciphertext_width)


def outputs_body(framed: tuple[pb.Outputs, Bytes], spec: CrosstabSpec) -> Bytes:
    """At A: uint8[outputs, width], a view of the body."""
    head, body = framed
    require(
        (head.outputs, head.key_bits) == (spec.output_ciphertexts, spec.key_bits),
        "the outputs have other sizes than derived",
    )
    return shaped(body, spec.output_ciphertexts, spec.ciphertext_width)
