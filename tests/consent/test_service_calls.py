"""Each call of the consent service: who may make it, what it answers, what it refuses."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path
from typing import Any

import grpc
import pytest

from consent import codec
from consent.audit import audit_bundle
from consent.errors import error_of_details
from consent.leaf import check_opening, parse_leaf
from consent.policy import check_checkpoint
from consent.port import JobEvent
from consent.records import BATCH_ROWS
from consent.replica import Replica
from consent.tlog_proof import verify_proof
from protocol.encoding import canonical_json
from protocol.errors import AssentError, Failed
from protocol.transport.tls import MAX_MESSAGE
from protocol.wire import consent_pb2 as pb
from tests.consent import made
from tests.consent.served import Stand, run, until

ID = b"j" * 16
JOB = JobEvent("job.admitted", ID, canonical_json({"id": ID.hex()}))
CALLS: dict[str, tuple[Any, set[str]]] = {
    "Hello": (pb.ConsentHelloRequest(), {"party"}),
    "Append": (pb.ConsentAppendRequest(batch=codec.batch_to_pb(made.batch(["x"]))), {"party"}),
    "Replicate": (pb.ConsentReplicateRequest(), {"party"}),
    "Follow": (pb.ConsentFollowRequest(), {"party"}),
    "LogJob": (codec.job_event_to_pb(JOB), {"party"}),
    "Proof": (pb.ConsentProofRequest(origin="assent/x/jobs"), {"party"}),
    "File": (pb.ConsentFileRequest(path="checkpoint"), {"party", "auditor", "portal"}),
    "Bundle": (pb.ConsentBundleRequest(), {"party", "auditor"}),
    "Erase": (pb.ConsentEraseRequest(subject=made.token("x")), {"party"}),
    "Cosign": (pb.ConsentCosignature(), {"party", "auditor"}),
    "Subject": (pb.ConsentSubjectRequest(party="retailer", subject=made.token("x")), {"portal"}),
    "SubjectAppend": (
        pb.ConsentSubjectAppendRequest(
            party="retailer", batch=codec.batch_to_pb(made.batch(["x"], channel="portal"))
        ),
        {"portal"},
    ),
    "SubjectErase": (
        pb.ConsentSubjectRequest(party="retailer", subject=made.token("x")),
        {"portal"},
    ),
}


def test_every_call_of_the_schema_is_listed_here() -> None:
    schema = pb.DESCRIPTOR.services_by_name["Consent"]
    assert set(schema.methods_by_name) == set(CALLS)


async def outcome(stub: Any, name: str) -> str:
    """The code of the error that the first answer to a call is; empty for a good one."""
    request, _ = CALLS[name]
    method = getattr(stub, name)
    try:
        if name == "Cosign":
            call = method()
            await call.write(request)
            # A stream that was let in has nothing to say yet.
            answer = asyncio.ensure_future(call.read())
            await asyncio.wait({answer}, timeout=0.3)
            if not answer.done():
                answer.cancel()
                call.cancel()
                return ""
            await answer
            return ""
        call = method(request, timeout=20)
        if hasattr(call, "read"):
            await call.read()
            call.cancel()
        else:
            await call
    except grpc.aio.AioRpcError as error:
        told = error_of_details(error.details() or "")
        denied = error.code() == grpc.StatusCode.PERMISSION_DENIED
        assert told is not None
        assert denied == (told.info.code == "not_allowed")
        return told.info.code
    return ""


def test_each_role_makes_its_own_calls_only(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        stubs = {
            "party": stand.client("media")._stub,
            "auditor": stand.auditor_client()._stub,
            "portal": stand.portal_client()._stub,
        }
        for name, (_, allowed) in CALLS.items():
            for role in sorted(set(stubs) - allowed):
                assert (role, name, await outcome(stubs[role], name)) == (role, name, "not_allowed")
        assert stand.size() == stand.size("media") == stand.size_of(stand.ledger.jobs) == 0
        for name, (_, allowed) in CALLS.items():
            for role in sorted(allowed):
                assert await outcome(stubs[role], name) in ("", "unknown_log", "nothing_to_erase")

    run(tmp_path, story)


def test_a_party_logs_proves_exports_and_erases(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        retailer, media = stand.client("retailer"), stand.client("media")
        done = await retailer.append(made.batch(["a", "b"]))
        policy = stand.trust.policy(done.origin)
        assert check_checkpoint(done.checkpoint, policy, done.origin).has_quorum
        page = [page async for page in retailer.replicate(0)][-1]
        proof = await retailer.proof(done.origin, 1)
        verify_proof(proof, page.entries[1].leaf, policy, done.origin)

        assert (await retailer.log_job(JOB)).indexes == (0,)
        assert (await retailer.log_job(JOB)).indexes == (0,)  # sent again
        jobs = await media.proof(stand.ledger.jobs, 0)  # everybody may prove what jobs there are
        leaf = stand.ledger.page(stand.ledger.jobs, 0).entries[0].leaf
        verify_proof(jobs, leaf, stand.trust.policy(stand.ledger.jobs), stand.ledger.jobs)
        for client, origin, index, code in (
            (media, done.origin, 0, "unknown_log"),
            (retailer, "nonsense", 0, "unknown_log"),
            (retailer, done.origin, 2, "bad_proof"),
            (retailer, done.origin, 2**64 - 1, "bad_proof"),
        ):
            with pytest.raises(Failed) as caught:
                await client.proof(origin, index)
            assert caught.value.info.code == code

        replica = Replica(tmp_path / "replica.sqlite", "retailer", stand.trust, made.SEAL)
        await replica.sync(retailer)
        assert (await retailer.erase(made.token("a"))).indexes == (2,)
        await replica.sync(retailer)
        assert [row.tobytes() for b in replica.batches() for row in b.subjects] == [made.token("b")]
        with pytest.raises(Failed) as gone:
            await media.erase(made.token("b"))  # nobody erases in another's log
        assert gone.value.info.code == "nothing_to_erase"

    run(tmp_path, story)


def test_bundles_over_the_wire_hold_and_show_no_more_than_they_may(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        retailer = stand.client("retailer")
        # More lines than one part of the answer holds.
        await retailer.append(made.batch([str(number) for number in range(700)]))
        await retailer.log_job(JOB)
        clients = {
            "retailer": retailer, "media": stand.client("media"), "auditor": stand.auditor_client(),
        }  # fmt: skip
        bundles = {
            name: b"".join([line async for line in client.bundle()])
            for name, client in clients.items()
        }
        opening = stand.ledger.page(stand.ledger.consent_log("retailer"), 0).entries[0].opening
        assert opening is not None
        salt = opening.salt.hex().encode()
        assert [name for name, data in bundles.items() if salt in data] == ["retailer", "auditor"]
        for name, data in bundles.items():
            file = tmp_path / f"{name}.bundle"
            file.write_bytes(data)
            with file.open("rb") as lines:
                report = audit_bundle(lines, stand.trust.policy(*stand.ledger.origins))
            assert (report.exit_code, report.findings) == (0, ())

    run(tmp_path, story)


def test_static_files_of_every_log_are_open_to_all(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        await stand.client("retailer").append(made.batch(["a"]))
        origin = stand.ledger.consent_log("retailer")
        for client in (stand.client("media"), stand.auditor_client(), stand.portal_client()):
            note = await client.file(origin, "checkpoint")
            assert note is not None
            check_checkpoint(note.decode(), stand.trust.policy(origin), origin)
            entries = await client.file(origin, "tile/entries/000.p/1")
            assert entries is not None
            assert b'"commitment"' in entries
            assert made.token("a").hex().encode() not in entries
            for path in ("", "../log.sqlite", "tile/0/001", "tile/entries/000", "/", "x" * 5_000):
                assert await client.file(origin, path) is None
            assert await client.file("assent/0000000000000000/jobs", "checkpoint") is None

    run(tmp_path, story)


def test_the_portal_speaks_for_a_person_with_each_party(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        portal = stand.portal_client()
        await stand.client("retailer").append(made.batch(["a", "b"]))
        done = await portal.append_for("retailer", made.batch(["a"], "withdrawn", channel="portal"))
        assert done.indexes == (2,)
        found = await portal.subject("retailer", made.token("a"))
        assert [one.index for one in found] == [0, 2]
        for one in found:
            verify_proof(one.proof, one.leaf, stand.trust.policy(done.origin), done.origin)
            check_opening(parse_leaf(one.leaf), one.opening)
        assert await portal.subject("media", made.token("a")) == ()
        assert (await portal.erase_for("retailer", made.token("a"))).indexes == (3,)
        assert await portal.subject("retailer", made.token("a")) == ()

        ask: Callable[[str], Any]
        for ask in (
            lambda party: portal.subject(party, made.token("a")),
            lambda party: portal.append_for(party, made.batch(["a"], channel="portal")),
            lambda party: portal.erase_for(party, made.token("a")),
        ):
            for name in ("nobody", "", "consent", "auditor"):
                with pytest.raises(Failed) as caught:
                    await ask(name)
                assert caught.value.info.code == "unknown_party"
        with pytest.raises(Failed, match="for itself only"):
            await portal.append_for("retailer", made.batch(["a"], channel="counter"))
        assert stand.size() == 4

    run(tmp_path, story)


def test_a_follower_is_told_at_once_and_of_its_own_log_only(tmp_path: Path) -> None:
    async def story(stand: Stand) -> None:
        retailer, media = stand.client("retailer"), stand.client("media")
        origin = stand.ledger.consent_log("retailer")
        async with aclosing(retailer.follow()) as heads:
            first = await anext(heads)
            assert (first.origin, len(stand.ledger._listeners)) == (origin, 1)
            await media.append(made.batch(["b"]))
            done = await stand.portal_client().append_for(
                "retailer", made.batch(["a"], channel="portal")
            )
            head = await asyncio.wait_for(anext(heads), 20)
            while head.checkpoint != done.checkpoint:
                head = await asyncio.wait_for(anext(heads), 20)
                assert head.origin == origin
        # Who has gone is not told any more.
        await until(lambda: not stand.ledger._listeners)
        await retailer.append(made.batch(["c"]))

    run(tmp_path, story)


def test_what_is_malformed_is_refused_and_nothing_is_logged(tmp_path: Path) -> None:
    def bent(**columns: bytes) -> pb.ConsentAppendRequest:
        batch = codec.batch_to_pb(made.batch(["a", "b"]))
        for name, data in columns.items():
            setattr(batch, name, data)
        return pb.ConsentAppendRequest(batch=batch)

    many = pb.ConsentAppendRequest(
        batch=codec.batch_to_pb(made.batch([str(i) for i in range(BATCH_ROWS + 1)]))
    )
    scopes = pb.ConsentAppendRequest(
        batch=pb.ConsentBatch(scopes=[pb.ConsentScope(purposes=["x"])] * (codec.MAX_SCOPES + 1))
    )
    twice = codec.batch_to_pb(made.batch(["a"])).record_ids * 2
    cases: list[tuple[str, Any, str]] = [
        ("Append", bent(states=b"\x01"), "bad_record"),
        ("Append", bent(states=b"\x01\xff"), "bad_record"),
        ("Append", bent(subjects=b"x" * 63), "bad_record"),
        ("Append", bent(scope_codes=b"\xff" * 8), "bad_record"),
        ("Append", bent(terms_codes=b"\xff" * 8), "bad_record"),
        ("Append", bent(record_ids=twice), "record_conflict"),
        ("Append", many, "bad_record"),
        ("Append", scopes, "bad_record"),
        ("LogJob", pb.ConsentJobEvent(type="consent", id=ID, body=JOB.body), "bad_record"),
        ("LogJob", pb.ConsentJobEvent(type=JOB.type, id=b"1", body=JOB.body), "bad_record"),
        ("LogJob", pb.ConsentJobEvent(type=JOB.type, id=ID, body=b'{"id": "x"}'), "bad_proof"),
        ("LogJob", pb.ConsentJobEvent(type=JOB.type, id=ID, body=b"\xff"), "bad_proof"),
        ("LogJob", pb.ConsentJobEvent(type=JOB.type, id=ID, body=b"[" * 9_000), "bad_proof"),
        ("Erase", pb.ConsentEraseRequest(subject=b"short"), "bad_record"),
        ("Erase", pb.ConsentEraseRequest(subject=bytes(33)), "bad_record"),
    ]

    async def story(stand: Stand) -> None:
        client = stand.client("retailer")
        for name, request, code in cases:
            with pytest.raises(AssentError) as caught:
                await client._ask(getattr(client._stub, name), request)
            assert (name, caught.value.info.code) == (name, code)
        portal = stand.portal_client()
        with pytest.raises(Failed, match="32 bytes"):
            await portal.subject("retailer", b"short")
        # From beyond the end: the head, and nothing else.
        (page,) = [page async for page in client.replicate(2**64 - 1)]
        assert (page.entries, page.checkpoint != "") == ((), True)
        assert stand.size() == stand.size_of(stand.ledger.jobs) == 0
        assert (await client.append(made.batch(["a"]))).indexes == (0,)  # and it lives on

    run(tmp_path, story)


@pytest.mark.parametrize("size", [100, MAX_MESSAGE + 1])
def test_bytes_that_are_no_message_or_too_many_are_not_taken(tmp_path: Path, size: int) -> None:
    async def story(stand: Stand) -> None:
        client = stand.client("retailer")
        call = client._channel.unary_unary("/assent.v1.Consent/Append")
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await call(b"\xff" * size, timeout=20)
        large = caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert large == (size > MAX_MESSAGE)
        assert (await client.append(made.batch(["a"]))).indexes == (0,)

    run(tmp_path, story)
