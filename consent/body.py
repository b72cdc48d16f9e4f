"""A record as the log commits to it, and back: canonical JSON, one object per record.

Who runs it: the consent service makes bodies, a party's replica reads them.  Pure.
Learns: who holds a body learns one record of a pseudonym.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence

import numpy as np

from consent.purposes import CHANNELS, STATE_OF_WORD, State
from consent.records import ID_BYTES, SUBJECT_BYTES, RecordBatch, Scope, empty_batch
from protocol.errors import ProtocolViolation


def bodies(batch: RecordBatch) -> list[bytes]:
    """The body of each record, in order."""
    made = []
    scopes = [
        {
            "categories": list(scope.categories),
            "purposes": list(scope.purposes),
            "recipients": list(scope.recipients),
        }
        for scope in batch.scopes
    ]
    for row in range(len(batch)):
        fields = scopes[batch.scope_codes[row]] | {
            "channel": CHANNELS[batch.channels[row] - 1],
            "id": batch.record_ids[row].tobytes().hex(),
            "key_version": int(batch.key_versions[row]),
            "state": State(int(batch.states[row])).word,
            "subject": base64.urlsafe_b64encode(batch.subjects[row].tobytes()).decode().rstrip("="),
            "time_ms": int(batch.times_ms[row]),
        }
        made.append(_ENCODER.encode(fields).encode())
    return made


def batch_of(found: Sequence[bytes]) -> RecordBatch:
    """The records of `found`; raises ProtocolViolation('bad_record') for anything unknown."""
    if not found:
        return empty_batch()
    scopes: dict[Scope, int] = {}
    codes, ids, subjects, versions, states, times, channels = [], [], [], [], [], [], []
    try:
        for body in found:
            fields = json.loads(body)
            scope = Scope(
                tuple(fields["purposes"]), tuple(fields["recipients"]), tuple(fields["categories"])
            )
            codes.append(scopes.setdefault(scope, len(scopes)))
            ids.append(bytes.fromhex(fields["id"]))
            subjects.append(base64.urlsafe_b64decode(fields["subject"] + "="))
            versions.append(fields["key_version"])
            states.append(int(STATE_OF_WORD[fields["state"]]))
            times.append(fields["time_ms"])
            channels.append(CHANNELS.index(fields["channel"]) + 1)
        return RecordBatch(
            tuple(scopes),
            np.frombuffer(b"".join(ids), np.uint8).reshape(-1, ID_BYTES),
            np.frombuffer(b"".join(subjects), np.uint8).reshape(-1, SUBJECT_BYTES),
            np.array(versions, np.uint16),
            np.array(codes, np.uint32),
            np.array(states, np.uint8),
            np.array(times, np.int64),
            np.array(channels, np.uint8),
        )
    except (ValueError, KeyError, TypeError, OverflowError) as error:
        raise ProtocolViolation(
            "bad_record", "a record in the log is not one that this version knows", stage="consent"
        ) from error


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), sort_keys=True)
