"""Keys, proofs and ciphertext arrays as messages; whatever arrives is checked here.

Who runs it: the sender encodes, the receiver decodes.
Learns: what proto/paillier.proto says of each field.
Source: protocols.md section 0.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation, Refused
from protocol.frames import MAX_HEADER, frame_head, parse_head
from protocol.paillier import proof
from protocol.paillier.keys import PrivateKey, PublicKey
from protocol.paillier.packing import PackedBound
from protocol.wire import paillier_pb2 as pb

Bytes = npt.NDArray[np.uint8]
MAX_PER_ROW = 4
_MAX_BOUND_BYTES = 1024


def announce(key: PrivateKey, context: bytes) -> pb.PaillierKeyAnnouncement:
    """The key's public half with its proof for the job `context`."""
    public = key.public
    return pb.PaillierKeyAnnouncement(
        key=pb.PaillierPublicKey(bits=public.bits, n=public.to_bytes()),
        proof=pb.PaillierKeyProof(sigmas=proof.prove(key, context)),
    )


def accept(message: pb.PaillierKeyAnnouncement, context: bytes, bits: int) -> PublicKey:
    """The announced key after every check.  bits: as the job declares.

    Raises ProtocolViolation('bad_key').
    """
    if message.key.bits != bits:
        raise ProtocolViolation(
            "bad_key", f"a key of {message.key.bits} bits was announced, the job declares {bits}"
        )
    public = PublicKey.from_bytes(message.key.n, bits)
    proof.verify(public, context, list(message.proof.sigmas))
    return public


def array_head(
    public: PublicKey, rows: int, per_row: int, bound: PackedBound | None = None
) -> bytes:
    """The bytes of an artifact before its body of `rows` · `per_row` ciphertexts."""
    header = pb.CiphertextArray(bits=public.bits, rows=rows, per_row=per_row)
    if bound is not None:
        header.bound.width = bound.width
        header.bound.low, header.bound.high = _signed(bound.low), _signed(bound.high)
    return frame_head(header)


def open_array(public: PublicKey, artifact: Bytes) -> tuple[Bytes, PackedBound | None]:
    """uint8[rows, per_row·width], a view into `artifact` (uint8[bytes], maybe a memory map).

    Raises ProtocolViolation('bad_artifact') unless header and body agree with each other and
    with the key; the ciphertexts themselves are for `Kernel.check`.
    """
    # The header is small; its length field says how much of the map has to be read.
    length = int.from_bytes(artifact[4:8].tobytes(), "little") if len(artifact) >= 8 else 0
    head = artifact[: 8 + min(length, MAX_HEADER)].tobytes()
    header, start = parse_head(head, pb.CiphertextArray)
    if header.bits != public.bits or not 1 <= header.per_row <= MAX_PER_ROW:
        raise ProtocolViolation("bad_artifact", "an array of ciphertexts is for another key")
    row = header.per_row * public.width
    if len(artifact) - start != header.rows * row:
        raise ProtocolViolation(
            "bad_artifact", "an array of ciphertexts is not as long as it declares"
        )
    bound = _bound(header.bound) if header.HasField("bound") else None
    return artifact[start:].reshape(header.rows, row), bound


def _signed(value: int) -> bytes:
    return value.to_bytes(value.bit_length() // 8 + 1, "little", signed=True)


def _bound(message: pb.SlotBound) -> PackedBound:
    if max(len(message.low), len(message.high)) > _MAX_BOUND_BYTES:
        raise ProtocolViolation("bad_artifact", "a slot's bound is longer than any plaintext")
    low = int.from_bytes(message.low, "little", signed=True)
    high = int.from_bytes(message.high, "little", signed=True)
    try:
        return PackedBound(low, high, message.width)
    except (ValueError, Refused) as error:
        raise ProtocolViolation("bad_artifact", "a slot's bound contradicts itself") from error
