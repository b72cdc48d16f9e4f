"""Every port type survives its message; what is not one is refused."""

from __future__ import annotations

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import AssentError, BadInput, ErrorInfo, Failed, ProtocolViolation, Refused
from protocol.transport import codec
from protocol.transport.digest import step_digest
from protocol.transport.port import (
    ArtifactRef,
    HelloAnswer,
    JobRequest,
    JobStatus,
    LeaseAnswer,
    Progress,
    StepKey,
    StepLease,
)
from protocol.wire import coordinator_pb2 as pb

_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
_COUNT = st.integers(0, 2**40)
_TIME = st.floats(0, 2e9)
_JSON = st.recursive(
    st.booleans() | st.integers(-(2**60), 2**60) | _TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_TEXT, inner, max_size=3),
    max_leaves=6,
)
_PARAMS = st.dictionaries(_TEXT, _JSON, max_size=4)
_PARTIES = st.lists(_TEXT, max_size=4).map(tuple)
_ERROR = st.builds(ErrorInfo, _TEXT, _TEXT, _TEXT, _TEXT, _TEXT)
_KEY = st.builds(StepKey, _TEXT, st.integers(0, 9), _TEXT)
_PROGRESS = st.builds(Progress, _TEXT, _COUNT, _COUNT)
_REF = st.builds(
    ArtifactRef, _TEXT, _TEXT, _TEXT, st.integers(0, 9), _TEXT, _TEXT, _TEXT,
    st.binary(max_size=32), _COUNT, st.binary(max_size=64),
)  # fmt: skip
_LEASE = st.builds(
    StepLease, _KEY, _TEXT, _TEXT, st.integers(0, 9), _TEXT, _PARTIES, _PARAMS,
    st.lists(_REF, max_size=3).map(tuple), _TEXT, st.binary(max_size=32), _TIME,
    st.binary(max_size=40),
)  # fmt: skip
_STATUS = st.builds(
    JobStatus, _TEXT, _TEXT, st.integers(0, 9), _TEXT, _PARTIES, _TEXT, _COUNT,
    st.integers(0, 9), _TEXT, _TEXT, _PROGRESS, st.none() | _ERROR, _TIME, _TIME,
)  # fmt: skip
_REQUEST = st.builds(
    JobRequest, _TEXT, _TEXT, st.integers(0, 9), _TEXT, _PARTIES, _PARAMS,
    st.dictionaries(_TEXT, st.binary(max_size=30), max_size=3),
)  # fmt: skip
_ANSWER = st.builds(LeaseAnswer, st.none() | _LEASE, st.lists(_STATUS, max_size=2).map(tuple))


@given(_ANSWER)
def test_lease_answers(answer: LeaseAnswer) -> None:
    data = codec.answer_out(answer).SerializeToString()
    assert codec.answer_in(pb.LeaseReply.FromString(data)) == answer


@given(_REQUEST)
def test_job_requests(request: JobRequest) -> None:
    data = codec.request_out(request).SerializeToString()
    assert codec.request_in(pb.SubmitRequest.FromString(data)) == request


@given(_STATUS)
def test_job_statuses(status: JobStatus) -> None:
    data = codec.status_out(status).SerializeToString()
    assert codec.status_in(pb.JobView.FromString(data)) == status


@given(st.builds(HelloAnswer, _TEXT, _TIME, _TEXT, _TIME, _TIME))
def test_hellos(answer: HelloAnswer) -> None:
    data = codec.hello_out(answer).SerializeToString()
    assert codec.hello_in(pb.HelloReply.FromString(data)) == answer


@pytest.mark.parametrize("params", [b"[1]", b"{", b"\xff", b"3"])
def test_parameters_that_are_no_object(params: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        codec.request_in(pb.SubmitRequest(params=params))


class _RpcError(grpc.aio.AioRpcError):
    def __init__(self, code: grpc.StatusCode, metadata: tuple[tuple[str, bytes], ...] = ()) -> None:
        super().__init__(code, grpc.aio.Metadata(), grpc.aio.Metadata(*metadata), "details")


@pytest.mark.parametrize(
    "error",
    [
        Refused("consent_stale", "too old", party="b", stage="admit", next_step="wait"),
        BadInput("no such job", code="unknown_job", next_step="look"),
        Failed("disk_full", "x" * 50_000, party="coordinator"),
    ],
)
def test_errors_cross_grpc(error: AssentError) -> None:
    code, _, metadata = codec.to_status(error)
    assert len(metadata[0][1]) < 8_000
    found = codec.from_rpc_error(_RpcError(code, metadata), "there")
    assert (found.status, found.info.code) == (error.status, error.info.code)
    assert error.info.cause.startswith(found.info.cause)
    assert found.info.next_step == error.info.next_step


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        (grpc.StatusCode.UNAVAILABLE, "unavailable"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, "unavailable"),
        (grpc.StatusCode.CANCELLED, "unavailable"),
        (grpc.StatusCode.UNAUTHENTICATED, "unknown_certificate"),
        (grpc.StatusCode.UNIMPLEMENTED, "wrong_version"),
    ],
)
def test_what_a_transport_failure_means(code: grpc.StatusCode, expected: str) -> None:
    assert codec.from_rpc_error(_RpcError(code), "there").info.code == expected


@given(_LEASE, st.data())
def test_a_step_digest_binds_everything_that_decides_the_output(
    lease: StepLease, data: st.DataObject
) -> None:
    def digest(
        key: StepKey = lease.key, party: str = lease.party, recipient: str = lease.recipient,
        params: object = lease.params, inputs: tuple[ArtifactRef, ...] = lease.inputs,
    ) -> bytes:  # fmt: skip
        return step_digest(key, party, recipient, params, inputs)  # type: ignore[arg-type]

    base = digest()
    assert digest(party=lease.party + "x") != base
    assert digest(recipient=lease.recipient + "x") != base
    assert digest(params={**lease.params, "more than twelve characters": 1}) != base
    assert digest(key=StepKey(lease.key.job, lease.key.attempt + 1, lease.key.step)) != base
    ref = data.draw(_REF)
    assert digest(inputs=(*lease.inputs, ref)) != base
