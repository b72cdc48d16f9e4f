"""Port types ↔ messages of proto/coordinator.proto; errors ↔ gRPC.

Who runs it: the gRPC client and the coordinator's service.  Parsing happens here, once, into
types that cannot be half-filled; what does not parse is a ProtocolViolation.

Learns: nobody; a codec.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import grpc
import grpc.aio

from protocol.encoding import canonical_json
from protocol.errors import AssentError, ErrorInfo, Failed, ProtocolViolation, from_info
from protocol.transport.port import (
    WAITING,
    WORKING,
    ArtifactRef,
    HelloAnswer,
    Instance,
    JobRequest,
    JobStatus,
    LeaseAnswer,
    Progress,
    StepKey,
    StepLease,
    UploadState,
)
from protocol.wire import coordinator_pb2 as pb

ERROR_KEY = "assent-error-bin"
_MAX_NAME = 128  # characters of an instance, a party or a step
_STATUSES = ("refused", "bad_input", "failed")
_CODE = re.compile(r"[a-z][a-z0-9_]{0,63}")
# gRPC carries at most 8 KiB of metadata; longer words would lose the whole error.
_MAX_ERROR = 6_000
_CODES = {
    "refused": grpc.StatusCode.PERMISSION_DENIED,
    "bad_input": grpc.StatusCode.INVALID_ARGUMENT,
}


# -- small ones --------------------------------------------------------------------------


def key_out(key: StepKey) -> pb.StepKey:
    return pb.StepKey(job=key.job, attempt=key.attempt, step=key.step)


def key_in(message: pb.StepKey) -> StepKey:
    return StepKey(message.job, message.attempt, message.step)


def instance_out(instance: Instance) -> pb.Instance:
    return pb.Instance(id=instance.id, boot=instance.boot)


def instance_in(message: pb.Instance) -> Instance:
    if max(len(message.id), len(message.boot)) > _MAX_NAME:
        raise ProtocolViolation("bad_message", "the id of a node is too long")
    return Instance(message.id, message.boot)


def seconds_in(seconds: float) -> float:
    """A wait.  Of a number that is none every comparison is false: no limit would hold it."""
    if not math.isfinite(seconds):
        raise ProtocolViolation("bad_message", "a wait is a number of seconds")
    return seconds


def progress_out(progress: Progress) -> pb.Progress:
    return pb.Progress(state=progress.state, done=progress.done, total=progress.total)


def progress_in(message: pb.Progress) -> Progress:
    return Progress(message.state, message.done, message.total)


def beat_in(message: pb.Progress) -> Progress:
    """As a node reports it: the other parties see it."""
    if message.state not in (WORKING, WAITING):
        raise ProtocolViolation("bad_message", "the state of a step's progress is unknown")
    return progress_in(message)


def error_out(error: ErrorInfo, status: str) -> pb.ErrorInfo:
    return pb.ErrorInfo(
        code=error.code,
        cause=error.cause,
        party=error.party,
        stage=error.stage,
        next_step=error.next_step,
        status=status,
    )


def error_in(message: pb.ErrorInfo) -> ErrorInfo:
    return ErrorInfo(message.code, message.cause, message.party, message.stage, message.next_step)


def reported_in(message: pb.ErrorInfo) -> ErrorInfo:
    """As a party reports it: it travels to the others and into the coordinator's log."""
    named = max(len(message.party), len(message.stage)) <= _MAX_NAME
    if not (_CODE.fullmatch(message.code) and named and message.status in _STATUSES):
        raise ProtocolViolation("bad_message", "an error's code, place or status is malformed")
    return error_in(message)


def upload_out(state: UploadState) -> pb.UploadReply:
    return pb.UploadReply(received=state.received, finished=state.finished)


def upload_in(message: pb.UploadReply) -> UploadState:
    return UploadState(message.received, message.finished)


def hello_out(answer: HelloAnswer) -> pb.HelloReply:
    return pb.HelloReply(
        version=answer.version,
        time=answer.time,
        party=answer.party,
        lease_seconds=answer.lease_seconds,
        heartbeat_seconds=answer.heartbeat_seconds,
    )


def hello_in(message: pb.HelloReply) -> HelloAnswer:
    return HelloAnswer(
        message.version,
        message.time,
        message.party,
        message.lease_seconds,
        message.heartbeat_seconds,
    )


# -- artifacts, steps and jobs -------------------------------------------------------------


def ref_out(ref: ArtifactRef) -> pb.ArtifactRef:
    return pb.ArtifactRef(
        id=ref.id,
        name=ref.name,
        key=key_out(ref.key),
        author=ref.author,
        recipient=ref.recipient,
        sha256=ref.sha256,
        size=ref.size,
        signature=ref.signature,
    )


def ref_in(message: pb.ArtifactRef) -> ArtifactRef:
    key = key_in(message.key)
    return ArtifactRef(
        id=message.id,
        name=message.name,
        job=key.job,
        attempt=key.attempt,
        step=key.step,
        author=message.author,
        recipient=message.recipient,
        sha256=message.sha256,
        size=message.size,
        signature=message.signature,
    )


def lease_out(lease: StepLease) -> pb.StepLease:
    return pb.StepLease(
        key=key_out(lease.key),
        party=lease.party,
        protocol=lease.protocol,
        protocol_version=lease.protocol_version,
        requester=lease.requester,
        parties=lease.parties,
        params=canonical_json(lease.params),
        inputs=[ref_out(ref) for ref in lease.inputs],
        recipient=lease.recipient,
        input_digest=lease.input_digest,
        seconds=lease.seconds,
        sealed=lease.sealed,
    )


def lease_in(message: pb.StepLease) -> StepLease:
    return StepLease(
        key=key_in(message.key),
        party=message.party,
        protocol=message.protocol,
        protocol_version=message.protocol_version,
        requester=message.requester,
        parties=tuple(message.parties),
        params=_object(message.params),
        inputs=tuple(ref_in(ref) for ref in message.inputs),
        recipient=message.recipient,
        input_digest=message.input_digest,
        seconds=message.seconds,
        sealed=message.sealed,
    )


def answer_out(answer: LeaseAnswer) -> pb.LeaseReply:
    return pb.LeaseReply(
        step=lease_out(answer.step) if answer.step is not None else None,
        ended=[status_out(status) for status in answer.ended],
    )


def answer_in(message: pb.LeaseReply) -> LeaseAnswer:
    step = lease_in(message.step) if message.HasField("step") else None
    return LeaseAnswer(step, tuple(status_in(view) for view in message.ended))


def request_out(request: JobRequest) -> pb.SubmitRequest:
    return pb.SubmitRequest(
        id=request.id,
        protocol=request.protocol,
        version=request.version,
        requester=request.requester,
        parties=request.parties,
        params=canonical_json(request.params),
        sealed=dict(request.sealed),
    )


def request_in(message: pb.SubmitRequest) -> JobRequest:
    return JobRequest(
        id=message.id,
        protocol=message.protocol,
        version=message.version,
        requester=message.requester,
        parties=tuple(message.parties),
        params=_object(message.params),
        sealed=dict(message.sealed),
    )


def status_out(status: JobStatus) -> pb.JobView:
    return pb.JobView(
        id=status.id,
        protocol=status.protocol,
        protocol_version=status.protocol_version,
        requester=status.requester,
        parties=status.parties,
        state=status.state,
        version=status.version,
        attempt=status.attempt,
        stage=status.stage,
        party=status.party,
        progress=progress_out(status.progress),
        error=error_out(status.error, status.state) if status.error is not None else None,
        created=status.created,
        changed=status.changed,
    )


def status_in(message: pb.JobView) -> JobStatus:
    return JobStatus(
        id=message.id,
        protocol=message.protocol,
        protocol_version=message.protocol_version,
        requester=message.requester,
        parties=tuple(message.parties),
        state=message.state,
        version=message.version,
        attempt=message.attempt,
        stage=message.stage,
        party=message.party,
        progress=progress_in(message.progress),
        error=error_in(message.error) if message.HasField("error") else None,
        created=message.created,
        changed=message.changed,
    )


def _object(data: bytes) -> dict[str, Any]:
    try:
        value = json.loads(data or b"{}")
        canonical_json(value)  # as they are sent on: what cannot be would hold up the reader
    except (ValueError, TypeError, RecursionError) as error:
        raise ProtocolViolation("bad_message", "parameters are not canonical JSON") from error
    if not isinstance(value, dict):
        raise ProtocolViolation("bad_message", "parameters are not a JSON object")
    return value


# -- errors --------------------------------------------------------------------------------


def to_status(error: AssentError) -> tuple[grpc.StatusCode, str, tuple[tuple[str, bytes], ...]]:
    """What `context.abort` takes."""
    message = error_out(error.info, error.status)
    if message.ByteSize() > _MAX_ERROR:
        message.cause, message.next_step = message.cause[:1000], message.next_step[:300]
        message.party, message.stage = message.party[:_MAX_NAME], message.stage[:_MAX_NAME]
    code = _CODES.get(error.status, grpc.StatusCode.FAILED_PRECONDITION)
    return code, error.info.code, ((ERROR_KEY, message.SerializeToString()),)


def from_rpc_error(error: grpc.aio.AioRpcError, where: str) -> AssentError:
    """The error that the other side raised, or what the transport's failure means."""
    for key, value in error.trailing_metadata() or ():
        if key == ERROR_KEY:
            message = pb.ErrorInfo.FromString(bytes(value))
            return from_info(error_in(message), message.status)
    code = error.code()
    if code is grpc.StatusCode.UNAUTHENTICATED:
        return Failed(
            "unknown_certificate",
            f"{where} does not know this party's certificate",
            next_step="send the card again to its operator and compare fingerprints",
        )
    if code in (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.INVALID_ARGUMENT):
        return Failed(
            "wrong_version",
            f"{where} runs another version of assent: {error.details()}",
            next_step="use the same version everywhere",
        )
    # UNAVAILABLE, DEADLINE_EXCEEDED, CANCELLED by a stopping server, INTERNAL of a broken
    # stream, UNKNOWN: the answer did not arrive; the call may or may not have happened.
    return Failed(
        "unavailable",
        f"{where} does not answer ({code.name}: {error.details()})",
        next_step="`assent doctor` shows where the path to it is broken",
    )
