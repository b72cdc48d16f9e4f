"""Artifacts of exact k-means: headers and bodies of proto/kmeans_exact.proto, checked when read.

Who runs it: parties and H.  Learns: nothing that proto/kmeans_exact.proto does not say.
Source: protocols.md section 4; frames: `protocol.frames`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from protocol.errors import ProtocolViolation
from protocol.frames import MAX_HEADER, frame_head, parse_head
from protocol.kmeans.exact.scale import MAX_CLUSTERS
from protocol.kmeans.exact.secrets import Places, Words
from protocol.wire import kmeans_exact_pb2 as pb

Bytes = npt.NDArray[np.uint8]
_NOT_COMMON = 0xFFFFFFFF


def places_frame(numbers: Places, common: int) -> bytes:
    """The whole artifact of one party.  numbers: int64[handles], -1 where not common."""
    body = np.where(numbers < 0, _NOT_COMMON, numbers).astype("<u4").tobytes()
    return frame_head(pb.Places(handles=len(numbers), common=common)) + body


def places_body(artifact: tuple[pb.Places, Bytes], handles: int) -> tuple[Places, int]:
    """int64[handles], -1 where not common; and how many numbers there are."""
    head, body = artifact
    if head.handles != handles or len(body) != 4 * handles or head.common > handles:
        raise _bad("numbers for another number of handles")
    found = np.frombuffer(body.tobytes(), dtype="<u4").astype(np.int64)
    found[found == _NOT_COMMON] = -1
    return found, int(head.common)


def distances_head(rows: int, k: int, *, last: bool, done: bool) -> pb.MaskedDistances:
    return pb.MaskedDistances(rows=0 if done else rows, clusters=k, last=last, done=done)


def distances_bytes(block: Words) -> Bytes:
    """A block of the body."""
    return np.ascontiguousarray(block, dtype="<u8").view(np.uint8).reshape(-1)


def masked(path: Path) -> Words:
    """uint64[rows, k]: a party's upload as it lies in the coordinator's store, mapped."""
    with path.open("rb") as file:
        head, offset = parse_head(file.read(MAX_HEADER + 8), pb.MaskedDistances)
    rows, k = int(head.rows), int(head.clusters)
    if not 1 <= k <= MAX_CLUSTERS or path.stat().st_size != offset + 8 * rows * k:
        raise _bad("distances are not what their header says")
    if rows == 0:
        return np.zeros((0, k), dtype=np.uint64)
    return np.memmap(path, "<u8", "r", offset, (rows, k))


def nearest_frame(columns: Bytes) -> bytes:
    return frame_head(pb.NearestColumns(rows=len(columns))) + columns.tobytes()


def nearest_body(artifact: tuple[pb.NearestColumns, Bytes], rows: int) -> Bytes:
    """uint8[rows]."""
    head, body = artifact
    if head.rows != rows or len(body) != rows:
        raise _bad("nearest columns for another number of rows")
    return body


def spread(exponent: int) -> bytes:
    return pb.FeatureSpread(exponent=exponent).SerializeToString(deterministic=True)


def spread_of(data: bytes) -> int:
    found = int(pb.FeatureSpread.FromString(data).exponent)
    if abs(found) > 900:  # a sum of two such numbers is still a float
        raise _bad("the reach of another party's features is out of range")
    return found


def centres(values: npt.NDArray[np.float64], inertia: float) -> bytes:
    message = pb.ClusterCentres(centres=values.ravel().tolist(), inertia=inertia)
    return message.SerializeToString(deterministic=True)


def centres_of(data: bytes, k: int, d: int) -> tuple[npt.NDArray[np.float64], float]:
    """float64[k, d] and the party's part of the inertia."""
    message = pb.ClusterCentres.FromString(data)
    found = np.array(message.centres, dtype=np.float64)
    inertia = float(message.inertia)
    if len(found) != k * d or not (np.isfinite(found).all() and 0 <= inertia < np.inf):
        raise _bad("another party's centres are not those of this job")
    return found.reshape(k, d), inertia


def _bad(cause: str) -> ProtocolViolation:
    return ProtocolViolation("bad_artifact", cause, stage="distances")
