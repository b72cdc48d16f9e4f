"""Any bytes to any call of the consent service: an answer or a refusal, never an error of ours.

Messages are random bytes and real ones with a piece bent; whoever calls may call.  No line of
the log has anything of what was sent.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from consent.codec import batch_to_pb
from protocol.wire import consent_pb2 as pb
from tests.consent import made, served

MARK = "mark-Zq7x"
ANSWERS = (
    grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.FAILED_PRECONDITION,
)  # fmt: skip
PARTY = ("Hello", "Append", "LogJob", "Proof", "Erase", "File", "Replicate", "Bundle")
PORTAL = ("Subject", "SubjectAppend", "SubjectErase", "File")
STREAMS = ("Replicate", "Bundle")


def real(stand: served.Stand) -> dict[str, list[Any]]:
    """Messages that are almost right."""
    batch = batch_to_pb(made.batch(["a", "b"], ["given", "withdrawn"]))
    bodies = (
        MARK.encode(), b"{}", b'{"id":1}', b'{"x":' * 3_000, f'{{"id":"{"6d" * 16}"}}'.encode(),
        f'{{"{MARK}":1,"id":"{"6d" * 16}"}}'.encode(), b"\xff" * 100, b"[" * 60_000,
    )  # fmt: skip
    own = stand.ledger.consent_log("retailer")
    subjects = (b"", b"x" * 32, MARK.encode() * 100)
    parties = ("retailer", "", MARK, "auditor", "é")
    return {
        "Append": [pb.ConsentAppendRequest(batch=batch), pb.ConsentAppendRequest()],
        "LogJob": [
            pb.ConsentJobEvent(type=type, id=b"m" * 16, body=body)
            for type in ("job.admitted", "job.closed", "consent", "log.migrated", MARK)
            for body in bodies
        ],
        "Proof": [
            pb.ConsentProofRequest(origin=origin, index=index)
            for origin in (own, stand.ledger.jobs, stand.ledger.consent_log("media"), MARK, "")
            for index in (0, 1, 2**31, 2**63, 2**64 - 1)
        ],
        "Erase": [pb.ConsentEraseRequest(subject=one) for one in subjects],
        "File": [
            pb.ConsentFileRequest(origin=origin, path=path)
            for origin in (own, MARK)
            for path in ("checkpoint", "tile/0/000", f"../{MARK}", "tile/9999999999/x999/000",
                         "tile/0/" + "x999/" * 300 + "000", MARK * 1_000, "\x00")
        ],
        "Replicate": [pb.ConsentReplicateRequest(since=n) for n in (0, 1, 2**40, 2**64 - 1)],
        "Subject": [
            pb.ConsentSubjectRequest(party=party, subject=one)
            for party in parties for one in subjects
        ],
        "SubjectErase": [pb.ConsentSubjectRequest(party="media", subject=one) for one in subjects],
        "SubjectAppend": [
            pb.ConsentSubjectAppendRequest(party=party, batch=batch) for party in parties
        ],
    }  # fmt: skip


def bent(rng: random.Random, data: bytes) -> Iterator[bytes]:
    yield data
    for _ in range(6):
        place = rng.randrange(len(data) + 1)
        yield rng.choice([
            data[:place], data[:place] + MARK.encode() + data[place:],
            data[:place] + rng.randbytes(3) + data[place + 3 :], data[:place] + data[place + 1 :],
        ])  # fmt: skip


async def asked(channel: Any, name: str, data: bytes) -> tuple[grpc.StatusCode, str]:
    path = f"/assent.v1.Consent/{name}"
    how = {"request_serializer": bytes, "response_deserializer": bytes}
    try:
        if name in STREAMS:
            async for _ in channel.unary_stream(path, **how)(data, timeout=20):
                pass
        else:
            await channel.unary_unary(path, **how)(data, timeout=20)
    except grpc.aio.AioRpcError as error:
        return error.code(), str(error.details())
    return grpc.StatusCode.OK, ""


def test_no_message_breaks_the_service_or_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    rng = random.Random(11)
    codes: set[grpc.StatusCode] = set()

    async def sent(channel: Any, name: str, data: bytes) -> None:
        code, details = await asked(channel, name, data)
        codes.add(code)
        if code is grpc.StatusCode.UNKNOWN:  # gRPC's own: these bytes are no message
            assert "DecodeError" in details, (name, data[:80], details)
            return
        assert code in ANSWERS, (name, data[:80], code, details)
        assert MARK not in details

    async def story(stand: served.Stand) -> None:
        party, portal = stand.client("retailer"), stand.portal_client()
        await party.append(made.batch(["c"]))
        messages = real(stand)
        for client, names in ((party, PARTY), (portal, PORTAL)):
            for name in names:
                for message in messages.get(name, []):
                    for data in bent(rng, message.SerializeToString()):
                        await sent(client._channel, name, data)
                for _ in range(20):
                    await sent(client._channel, name, rng.randbytes(rng.randrange(300)))
        await party.append(made.batch(["d"]))  # and it lives on
        found = stand.ledger.page(stand.ledger.consent_log("retailer"), 0)
        assert all(entry.leaf for entry in found.entries)

    asyncio.run(_standing(tmp_path, story))
    assert {grpc.StatusCode.OK, grpc.StatusCode.INVALID_ARGUMENT} <= codes
    lines = [record.getMessage() for record in caplog.records]
    assert not any(MARK in line for line in lines)
    assert not any("the consent service failed" in line for line in lines)


async def _standing(folder: Path, story: Any) -> None:
    async with served.standing(folder) as stand:
        await story(stand)
