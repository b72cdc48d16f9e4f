"""Errors of the verifiable log, and how an error crosses the wire: words as canonical JSON.

Who runs it: both ends.  Learns: the caller learns what went wrong, never data.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from protocol.encoding import canonical_json
from protocol.errors import AssentError, ErrorInfo, ProtocolViolation, from_info


class ProofError(ProtocolViolation):
    """An inclusion or consistency proof, or what it is about, does not hold."""

    def __init__(self, cause: str) -> None:
        super().__init__("bad_proof", cause, stage="consent log")


class NoteError(ProtocolViolation):
    """A signed note, key, checkpoint or cosignature is malformed or not signed as it must be."""

    def __init__(self, cause: str) -> None:
        super().__init__("bad_note", cause, stage="consent log")


_MAX_DETAILS = 4_000  # bytes; gRPC loses an error whose words are longer than a trailer holds


def words_of(info: ErrorInfo) -> dict[str, str]:
    """The fields of `info`, cut where somebody's own long words are in them."""
    for most in (2_000, 500):
        cut = {key: value[:most] for key, value in asdict(info).items()}
        if len(json.dumps(cut)) <= _MAX_DETAILS:
            return cut
    return {key: value[:100] for key, value in asdict(info).items()}


def details_of_error(error: AssentError) -> str:
    return canonical_json({"status": error.status, **words_of(error.info)}).decode()


def error_of_details(details: str) -> AssentError | None:
    """The error that the service meant; None when the words are gRPC's own."""
    try:
        fields = json.loads(details)
        status = fields.pop("status")
        return from_info(ErrorInfo(**{key: str(value) for key, value in fields.items()}), status)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return None
