"""An artifact's bytes: a typed protobuf header and, after it, a raw array body.

    "AST1" | u32 little-endian header length | header (a message of proto/) | body

The body is what the header declares, to the byte, so that a reader can map it as
`uint8[rows, width]` without copying.  Every header message lives in proto/ with a
comment on what it, and its body, reveal and to whom.
"""

from __future__ import annotations

import struct
from typing import Protocol, Self, TypeVar

import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation

MAGIC = b"AST1"
MAX_HEADER = 4 << 20
_PREFIX = struct.Struct("<4sI")


class Message(Protocol):
    """The part of a generated protobuf message that a frame needs."""

    def SerializeToString(self, *, deterministic: bool = ...) -> bytes: ...

    @classmethod
    def FromString(cls, data: bytes) -> Self: ...


M = TypeVar("M", bound=Message)
Bytes = npt.NDArray[np.uint8]


def frame_head(header: Message) -> bytes:
    """The bytes before the body."""
    data = header.SerializeToString(deterministic=True)
    if len(data) > MAX_HEADER:
        raise ValueError(f"a header of {len(data)} bytes is over {MAX_HEADER}")
    return _PREFIX.pack(MAGIC, len(data)) + data


def parse_head(data: bytes | memoryview, kind: type[M]) -> tuple[M, int]:
    """Parse a frame's header; returns it and the offset at which the body starts.

    Raises ProtocolViolation when the bytes are not a frame of `kind`.
    """
    if len(data) < _PREFIX.size:
        raise ProtocolViolation("bad_artifact", "an artifact is shorter than its prefix")
    magic, length = _PREFIX.unpack_from(data)
    if magic != MAGIC or length > MAX_HEADER or len(data) < _PREFIX.size + length:
        raise ProtocolViolation("bad_artifact", "an artifact has no valid header")
    try:
        header = kind.FromString(bytes(data[_PREFIX.size : _PREFIX.size + length]))
    except Exception as error:  # protobuf's DecodeError has no common public base across backends
        raise ProtocolViolation("bad_artifact", f"an artifact is not a {kind.__name__}") from error
    return header, _PREFIX.size + length


def require(holds: bool, otherwise: str) -> None:
    """Raises ProtocolViolation('bad_artifact') with the cause `otherwise` unless `holds`."""
    if not holds:
        raise ProtocolViolation("bad_artifact", otherwise)


def shaped(body: Bytes, rows: int, width: int) -> Bytes:
    """uint8[rows, width], a view of a body that must have that many bytes."""
    require(body.shape == (rows * width,), "an array of ciphertexts is not as long as it says")
    return body.reshape(rows, width)
