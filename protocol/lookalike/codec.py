"""The arrays of a lookalike as artifacts: header messages, and bodies checked against them.

Who runs it: B writes features, H lays them out unread, A reads the layout and writes sums, B
reads those.  Learns: what proto/lookalike.proto says of each field.
Every reader checks the header against what it derived itself; the writer's word counts for
nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protocol.crosstab.codec import row_bytes
from protocol.frames import frame_head, require, shaped
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
    row = row_bytes(head, body_bytes, rows=handles_b, supply=handles_a)
    layout = pb.FeatureLayout(
        rows=handles_a, ciphertexts_per_row=head.ciphertexts_per_row, key_bits=head.key_bits
    )
    return row, frame_head(layout)


def layout_body(framed: tuple[pb.FeatureLayout, Bytes], spec: LookalikeSpec) -> Bytes:
    """At A: uint8[handles_a, k·width], a view of the body."""
    head, body = framed
    require(
        (head.rows, head.ciphertexts_per_row, head.key_bits)
        == (spec.handles_a, spec.ciphertexts_per_row, spec.key_bits),
        "a layout has other sizes than announced",
    )
    return shaped(body, spec.handles_a, spec.ciphertexts_per_row * spec.ciphertext_width)


def sums_body(framed: tuple[pb.SeedSums, Bytes], spec: LookalikeSpec) -> Bytes:
    """At B: uint8[k, width], a view of the body."""
    head, body = framed
    require(
        (head.outputs, head.key_bits) == (spec.ciphertexts_per_row, spec.key_bits),
        "the seeds' sums have other sizes than derived",
    )
    return shaped(body, spec.ciphertexts_per_row, spec.ciphertext_width)
