"""Matching's artifacts: headers and bodies of proto/psi.proto, checked as they are read.

Who runs it: parties and H, at the edge of `protocol.psi`.
Learns: nothing that proto/psi.proto does not say.
Source: protocols.md section 1; frames: `protocol.frames`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation
from protocol.frames import MAX_HEADER, Message, frame_head, parse_head
from protocol.psi.ecdh import POINT
from protocol.psi.tokens import TOKEN
from protocol.wire import psi_pb2 as pb

Bytes = npt.NDArray[np.uint8]
M = TypeVar("M", bound=Message)


class Framed(Protocol):
    """A step's input artifacts, by name."""

    def framed(self, name: str, kind: type[M]) -> tuple[M, Bytes]:
        """Header and body of input `name`."""
        ...


@dataclass(frozen=True)
class Uploaded:
    """One party's upload at H.  tokens: uint8[handles, types·width], a read-only memory map."""

    tokens: Bytes
    width: int


def tokens_head(tokens: Bytes, types: int) -> pb.TokenUpload:
    """Header of uint8[handles, types·16]."""
    _check_shape(tokens, types, TOKEN)
    return pb.TokenUpload(handles=len(tokens), types=types, width=TOKEN)


def points_head(points: Bytes, types: int) -> pb.Points:
    """Header of uint8[handles, types·32]."""
    _check_shape(points, types, POINT)
    return pb.Points(handles=len(points), types=types, width=POINT)


def points_body(artifact: tuple[pb.Points, Bytes], handles: int, types: int) -> Bytes:
    """uint8[handles, types·32] of a peer's artifact.

    handles: what the peer signed at admission.  Raises ProtocolViolation('bad_artifact')
    for any other size: a longer batch would have us blind points that nobody announced.
    """
    head, body = artifact
    if (head.handles, head.types, head.width) != (handles, types, POINT):
        raise ProtocolViolation("bad_artifact", "points of another number than was announced")
    return _rows(body, handles, types * POINT)


def uploaded(path: Path, types: int) -> Uploaded:
    """A party's tokens or points as they lie in the store, mapped and not copied.

    The one place of the core that opens a file: 10 million tokens do not travel by value.
    Raises ProtocolViolation('bad_artifact') when it is not an upload of `types` types.
    """
    with path.open("rb") as file:
        start = file.read(MAX_HEADER + 8)
    head, offset = parse_head(start, pb.TokenUpload)  # Points has the same fields
    if head.types != types or head.width not in (TOKEN, POINT) or not head.handles:
        raise ProtocolViolation("bad_artifact", "an upload is not of the job's identifier types")
    row = types * head.width
    if path.stat().st_size != offset + head.handles * row:
        raise ProtocolViolation("bad_artifact", "an upload's body is not what its header says")
    tokens = np.memmap(path, np.uint8, "r", offset, (head.handles, row))
    return Uploaded(tokens, head.width)


def marks_frame(marks: npt.NDArray[np.bool_]) -> bytes:
    """The whole membership artifact of one party."""
    body = np.packbits(marks, bitorder="little").tobytes()
    return frame_head(pb.Membership(handles=len(marks))) + body


def membership_rows(task: Framed, handles: int, name: str = "marks") -> npt.NDArray[np.bool_]:
    """bool[handles] from input `name`.

    Raises ProtocolViolation('bad_artifact') for another size or set bits after the last handle.
    """
    head, body = task.framed(name, pb.Membership)
    if head.handles != handles or len(body) != -(-handles // 8):
        raise ProtocolViolation("bad_artifact", "marks for another number of handles")
    bits = np.unpackbits(body, bitorder="little").astype(np.bool_)
    if bool(bits[handles:].any()):
        raise ProtocolViolation("bad_artifact", "marks after the last handle")
    return bits[:handles]


def _check_shape(array: Bytes, types: int, width: int) -> None:
    if array.ndim != 2 or array.shape[1] != types * width:
        raise ValueError(f"{array.shape} is not [handles, {types}·{width}]")


def _rows(body: Bytes, rows: int, width: int) -> Bytes:
    if len(body) != rows * width:
        raise ProtocolViolation("bad_artifact", "an artifact's body is not what its header says")
    return body.reshape(rows, width)
