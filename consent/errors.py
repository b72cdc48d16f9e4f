"""How an error of the consent service crosses the wire: its words as canonical JSON.

Who runs it: both ends.  Learns: the caller learns what went wrong, never data.
"""

from __future__ import annotations

import json
from dataclasses import asdict

from protocol.encoding import canonical_json
from protocol.errors import AssentError, ErrorInfo, from_info


def details_of_error(error: AssentError) -> str:
    return canonical_json({"status": error.status, **asdict(error.info)}).decode()


def error_of_details(details: str) -> AssentError | None:
    """The error that the service meant; None when the words are gRPC's own."""
    try:
        fields = json.loads(details)
        status = fields.pop("status")
        return from_info(ErrorInfo(**{key: str(value) for key, value in fields.items()}), status)
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
