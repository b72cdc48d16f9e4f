"""The arrays of a secure sum as artifacts, checked against what the reader derived itself.

Who runs it: every party writes its upload, H reads them and writes the total, A reads that.
Learns: what proto/secure_sum.proto says of each field.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from protocol.frames import frame_head, require, shaped
from protocol.paillier.keys import PublicKey
from protocol.secure_sum.spec import MAX_VALUES, SumSpec
from protocol.wire import secure_sum_pb2 as pb

Bytes = npt.NDArray[np.uint8]
UPLOAD, TOTAL = pb.SumUpload, pb.SumTotal
MAX_KEY_BITS = 8192


def upload_head(spec: SumSpec, public: PublicKey) -> pb.SumUpload:
    return pb.SumUpload(
        ciphertexts=spec.ciphertexts, key_bits=spec.key_bits, paillier_n=public.to_bytes()
    )


def uploads(framed: Sequence[tuple[pb.SumUpload, Bytes]]) -> tuple[int, list[Bytes]]:
    """At H: the modulus and uint8[m, width] of every party; all say the same, to the byte."""
    first = framed[0][0]
    require(0 < first.ciphertexts <= MAX_VALUES, "an upload has an impossible size")
    require(
        0 < first.key_bits <= MAX_KEY_BITS and 8 * len(first.paillier_n) == first.key_bits,
        "an upload's key has an impossible size",
    )
    n = int.from_bytes(first.paillier_n, "little")
    require(n % 2 == 1 and n > 1, "an upload's key is no modulus")
    for head, _ in framed:
        require(head == first, "the uploads of two parties have different sizes or keys")
    width = 2 * first.key_bits // 8
    return n, [shaped(body, first.ciphertexts, width) for _, body in framed]


def total_frame(total: Bytes) -> bytes:
    """At H: the whole artifact."""
    head = pb.SumTotal(ciphertexts=len(total), key_bits=4 * total.shape[1])
    return frame_head(head) + total.tobytes()


def total_body(framed: tuple[pb.SumTotal, Bytes], spec: SumSpec) -> Bytes:
    """At A: uint8[ciphertexts, width]."""
    head, body = framed
    require(
        (head.ciphertexts, head.key_bits) == (spec.ciphertexts, spec.key_bits),
        "the total has another size than derived",
    )
    return shaped(body, spec.ciphertexts, spec.ciphertext_width)
