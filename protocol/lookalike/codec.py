"""The arrays of a lookalike as artifacts: header messages, and bodies checked against them.

Who runs it: B writes features, H lays them out unread, A reads the layout and writes sums, B
reads those.  Learns: what proto/lookalike.proto says of each field.
Every reader checks the header against what it derived itself; the writer's word counts for
nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protocol.crosstab.codec import MAX_KEY_BITS
from protocol.crosstab.spec import MAX_CIPHERTEXTS_PER_ROW
from protocol.errors import ProtocolViolation
from protocol.frames import frame_head
from protocol.lookalike.spec import LookalikeSpec
from protocol.wire import lookalike_pb2 as pb

Bytes = npt.NDArray[np.uint8]
FEATURES, LAYOUT, SUMS = pb.FeatureUpload, pb.FeatureLayout, pb.SeedSums


def features_head(spec: LookalikeSpec) -> pb.FeatureUpload:
    """Header of B's upload."""
    return pb.FeatureUpload(
        rows=spec.handles_b,
        supply=spec.handles_a,
        ciphertexts_per_row=spec.ciphertexts_per_row,
        key_bits=spec.key_bits,
    )


def sums_head(spec: LookalikeSpec) -> pb.SeedSums:
    """Header of A's sums."""
    return pb.SeedSums(outputs=spec.ciphertexts_per_row, key_bits=spec.key_bits)


def layout_frame(
    head: pb.FeatureUpload, body_bytes: int, handles_a: int, handles_b: int
) -> tuple[int, bytes]:
    """At H: (bytes of a row, the layout's bytes before its body), from B's checked header.

    body_bytes: the size of B's body; handles: as the parties announced them.
    """
    _require(
        (head.rows, head.supply) == (handles_b, handles_a)
        and 1 <= head.ciphertexts_per_row <= MAX_CIPHERTEXTS_PER_ROW
        and 0 < head.key_bits <= MAX_KEY_BITS
        and head.key_bits % 8 == 0,
        "a feature upload has other sizes than announced",
    )
    row = head.ciphertexts_per_row * 2 * head.key_bits // 8
    _require(
        body_bytes == row * (handles_a + handles_b), "a feature upload is not as long as it says"
    )
    layout = pb.FeatureLayout(
        rows=handles_a, ciphertexts_per_row=head.ciphertexts_per_row, key_bits=head.key_bits
    )
    return row, frame_head(layout)


def layout_body(framed: tuple[pb.FeatureLayout, Bytes], spec: LookalikeSpec) -> Bytes:
    """At A: uint8[handles_a, k·width], a view of the body."""
    head, body = framed
    _require(
        (head.rows, head.ciphertexts_per_row, head.key_bits)
        == (spec.handles_a, spec.ciphertexts_per_row, spec.key_bits),
        "a layout has other sizes than announced",
    )
    return _shaped(body, spec.handles_a, spec.ciphertexts_per_row * spec.ciphertext_width)


def sums_body(framed: tuple[pb.SeedSums, Bytes], spec: LookalikeSpec) -> Bytes:
    """At B: uint8[k, width], a view of the body."""
    head, body = framed
    _require(
        (head.outputs, head.key_bits) == (spec.ciphertexts_per_row, spec.key_bits),
        "the seeds' sums have other sizes than derived",
    )
    return _shaped(body, spec.ciphertexts_per_row, spec.ciphertext_width)


def _shaped(body: Bytes, rows: int, width: int) -> Bytes:
    _require(body.shape == (rows * width,), "an array of ciphertexts is not as long as it says")
    return body.reshape(rows, width)


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ProtocolViolation("bad_artifact", otherwise)
