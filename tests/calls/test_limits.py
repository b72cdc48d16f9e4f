"""What a single request may not do to a server, nor through it to others."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from consent.errors import details_of_error, error_of_details
from consent.portal.port import END_MS, Tag
from party_node import bulk_import
from protocol.errors import BadInput, Failed, ProtocolViolation
from protocol.transport import codec
from protocol.wire import consent_pb2, coordinator_pb2, node_pb2, portal_pb2
from tests.calls.bent import MARK, METHODS
from tests.calls.consent_servers import portal
from tests.calls.coordinator_server import coordinator
from tests.calls.server import Server
from tests.consent import made, served
from tests.consent.served import until


async def asked(server: Server, name: str, request: Any) -> Any:
    """As ann; raises what the coordinator answered."""
    call = server.channels["ann"].unary_unary(
        METHODS[f"Coordinator/{name}"].path,
        request_serializer=type(request).SerializeToString,
        response_deserializer=bytes,
    )
    try:
        return await call(request, timeout=20)
    except grpc.aio.AioRpcError as error:
        raise codec.from_rpc_error(error, "it") from error


async def test_a_call_of_the_coordinator_takes_a_bounded_part_of_it(tmp_path: Path) -> None:
    pb = coordinator_pb2
    own = pb.Instance(id="ann", boot="b")
    async with coordinator(tmp_path) as server:
        # Every name costs a look into the database while all others wait.
        named = await asked(
            server, "Lease", pb.LeaseRequest(instance=own, open_jobs=[MARK] * 5_000)
        )
        assert len(pb.LeaseReply.FromString(named).ended) == 1_000
        # Beside a wait that is no number every limit is false, and the coordinator would spin.
        for name, request in (
            ("Lease", pb.LeaseRequest(instance=own, wait_seconds=float("nan"))),
            ("Watch", pb.WatchRequest(job="f" * 32, wait_seconds=float("nan"))),
            ("Hello", pb.HelloRequest(instance=pb.Instance(id=MARK * 100))),
        ):
            with pytest.raises(Failed) as refused:
                await asked(server, name, request)
            assert refused.value.info.code == "bad_message", name


async def test_a_node_that_waits_for_no_number_of_seconds_is_not_there_for_ever(
    tmp_path: Path,
) -> None:
    request = portal_pb2.PortalLeaseRequest(wait_seconds=float("nan"))
    async with portal(tmp_path) as server:
        lease = server.channels["retailer"].unary_unary(
            METHODS["Portal/Lease"].path, request_serializer=type(request).SerializeToString
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await lease(request, timeout=20)
        assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_what_a_party_hands_to_others_through_the_coordinator_is_checked(
    tmp_path: Path,
) -> None:
    pb = coordinator_pb2

    def job(params: bytes) -> pb.SubmitRequest:
        return pb.SubmitRequest(
            id="a" * 32, protocol="echo", version=1, requester="ann", parties=["ann", "bob"],
            params=params,
        )  # fmt: skip

    def fault(**fields: str) -> pb.FailRequest:
        words = {"code": "step_failed", "cause": MARK, "status": "failed"} | fields
        return pb.FailRequest(key=key, error=pb.ErrorInfo(**words))

    async with coordinator(tmp_path) as server:
        # Parameters that cannot be sent on would end every lease of bob's node with an error.
        for params in (b'{"a":1.5}', b'{"a":' * 5_000, b'{"a":NaN}', b"[]", MARK.encode()):
            with pytest.raises(Failed) as refused:
                await asked(server, "Submit", job(params))
            assert refused.value.info.code == "bad_message", params[:20]
        await asked(server, "Submit", job(b"{}"))
        key = pb.StepKey(job="a" * 32, attempt=1, step="rows/ann")
        own = pb.Instance(id="ann", boot="b")
        while not pb.LeaseReply.FromString(
            await asked(server, "Lease", pb.LeaseRequest(instance=own, wait_seconds=1.0))
        ).HasField("step"):
            pass
        # The code of an error is logged, all of it goes to the others with every view of the job.
        for error in (
            fault(code=MARK), fault(code="m" * 65), fault(status=MARK), fault(party=MARK * 100),
            fault(stage=MARK * 100),
        ):  # fmt: skip
            with pytest.raises(Failed) as refused:
                await asked(server, "Fail", error)
            assert refused.value.info.code == "bad_message"
        beat = pb.HeartbeatRequest(instance=own, key=key, progress=pb.Progress(state=MARK))
        with pytest.raises(Failed) as refused:
            await asked(server, "Heartbeat", beat)
        assert refused.value.info.code == "bad_message"
        await asked(server, "Fail", fault())
        view = pb.JobView.FromString(await asked(server, "Watch", pb.WatchRequest(job="a" * 32)))
        assert (view.state, view.error.code, view.error.party) == ("failed", "step_failed", "ann")


def test_a_witness_has_one_stream_and_answers_what_it_was_asked(tmp_path: Path) -> None:
    hello = consent_pb2.ConsentCosignature()

    async def ended(call: Any) -> str:
        """How the service ended a witness's stream."""
        try:
            assert await asyncio.wait_for(call.read(), 20) is grpc.aio.EOF
        except grpc.aio.AioRpcError as error:
            told = error_of_details(error.details() or "")
            assert told is not None
            return told.info.code
        return ""

    async def story(stand: served.Stand) -> None:
        stub, line = stand.client("media")._stub, stand.lines["media"]
        await stand.leave("media")
        first = stub.Cosign()
        await first.write(hello)
        await until(lambda: served.connected(line))
        newer = stub.Cosign()
        await newer.write(hello)
        assert await ended(first) == ""
        assert served.connected(line)
        await newer.write(consent_pb2.ConsentCosignature(number=1, lines=MARK))
        assert await ended(newer) == "bad_message"
        await until(lambda: not served.connected(line))
        await stand.attend("media")
        assert not (await stand.client("retailer").append(made.batch(["a"]))).proof_pending

    served.run(tmp_path, story)


def test_the_words_of_an_error_always_arrive() -> None:
    long = ProtocolViolation("bad_record", "\N{SNOWMAN}" * 50_000, stage=MARK * 9_000)
    details = details_of_error(long)
    assert len(details.encode()) < 4_000
    told = error_of_details(details)
    assert told is not None
    assert told.info.code == "bad_record"


def test_a_node_answers_with_moments_that_a_calendar_has() -> None:
    """One beyond was an error of ours on the pages of every customer of that node."""
    last = Tag("tier", "label", "purchases", MARK, "table", END_MS - 1)
    assert datetime.fromtimestamp(last.since_ms / 1000, UTC).year == 9999
    with pytest.raises(ProtocolViolation):
        Tag("tier", "label", "purchases", MARK, "table", END_MS)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../c.csv", "a/b.csv", "\x00.csv", "a\nb.csv", "a" * 300 + ".csv"]
)
async def test_an_import_stays_in_its_folder(tmp_path: Path, name: str) -> None:
    async def pieces() -> AsyncIterator[node_pb2.NodeConsentFile]:
        yield node_pb2.NodeConsentFile(name=name, data=b"x")

    with pytest.raises(BadInput, match="name of its file"):
        await bulk_import._received(tmp_path, pieces())
    assert list(tmp_path.iterdir()) == []
    name = "同意　名单 (2).csv"  # with the space that Chinese keyboards type
    assert (await bulk_import._received(tmp_path, pieces())).read_bytes() == b"x"
