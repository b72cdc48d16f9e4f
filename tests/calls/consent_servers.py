"""The consent service and the portal's end for nodes, and what could be sent to them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from catalog.collaboration import Endpoint
from consent.codec import batch_to_pb
from consent.portal.client import PortalLease
from consent.portal.codec import answer_to_pb
from consent.portal.port import Find, NotAnswered, Person, Question, Tag, Tags
from consent.portal.questions import Questions
from consent.portal.service import serving as serving_nodes
from protocol.wire import consent_pb2 as pb
from protocol.wire import portal_pb2
from tests.calls.bent import MARK
from tests.calls.server import Call, Server, dialled, each, streams
from tests.consent import made, served
from tests.protocol.transport.sockets import at, kit

NAMES = ("a", "b")


@asynccontextmanager
async def consent(folder: Path) -> AsyncIterator[Server]:
    async with served.standing(folder) as stand:
        clients = {
            "party": stand.client("retailer"), "auditor": stand.auditor_client(),
            "portal": stand.portal_client(),
        }  # fmt: skip
        here = at(stand.around.consent, int(stand.address.rpartition(":")[2]))
        callers = {"party": stand.parties["retailer"], "auditor": stand.auditor,
                   "portal": stand.portal, "stranger": kit("mallory")}  # fmt: skip
        channels = {role: dialled(here, keys) for role, keys in callers.items()}
        count = 0

        async def good() -> None:
            nonlocal count
            count += 1
            for name, line in stand.lines.items():
                if not served.connected(line):  # somebody with its certificate has taken over
                    await stand.attend(name)
            done = await clients["party"].append(made.batch([f"good {count}"]))
            assert not done.proof_pending  # the witnesses of the stand are on the line
            *_, page = [page async for page in clients["party"].replicate(done.indexes[0])]
            assert page.checkpoint
            assert (
                len(await clients["portal"].subject("retailer", made.token(f"good {count}"))) == 1
            )

        stranger = channels.pop("stranger")
        try:
            yield Server(channels, good, _consent_calls(stand), stranger)
        finally:
            for one in (stranger, *channels.values()):
                await one.close()


def _consent_calls(stand: served.Stand) -> dict[str, Call]:
    party, portal, readers = ("party",), ("portal",), ("party", "auditor")
    own, other = stand.ledger.consent_log("retailer"), stand.ledger.consent_log("media")
    origins = (own, stand.ledger.jobs, other, MARK, "")
    subjects = (made.token("a"), b"", b"x" * 32, MARK.encode() * 100)
    names = ("retailer", "", MARK, "auditor", "consent", "é")
    bodies = (
        MARK.encode(), b"{}", b'{"id":1}', b'{"x":' * 3_000, f'{{"id":"{"6d" * 16}"}}'.encode(),
        f'{{"{MARK}":1,"id":"{"6d" * 16}"}}'.encode(), b"\xff" * 100, b"[" * 60_000,
    )  # fmt: skip
    kinds = ("job.admitted", "job.closed", "job.refused", "consent", "log.migrated", MARK)
    paths = (
        "checkpoint", "tile/0/000", f"../{MARK}", "tile/9999999999/x999/000", MARK * 1_000, "\x00",
        "tile/0/" + "x999/" * 300 + "000",
    )  # fmt: skip

    async def appends() -> list[list[Any]]:
        """Fresh records every time; also such as may not follow what was said."""
        found = []
        for states in ("given", ["given", "withdrawn"], "renewed", "expired"):
            batch = batch_to_pb(made.batch(NAMES, states))
            found.append([pb.ConsentAppendRequest(batch=batch)])
        return found

    async def portal_appends() -> list[list[Any]]:
        return [
            [pb.ConsentSubjectAppendRequest(
                party=name, batch=batch_to_pb(made.batch(NAMES, "withdrawn", channel=channel)))]
            for name in names for channel in ("portal", "counter")
        ]  # fmt: skip

    said = pb.ConsentCosignature()
    never_asked = pb.ConsentCosignature(number=2**64 - 1, lines=MARK, refusal=MARK)

    async def cosignatures() -> list[list[Any]]:
        conflict = pb.ConsentCosignature(
            number=1, conflict_size_plus_one=2**64 - 1, conflict_note=MARK
        )
        return [[], [said], [said, never_asked], [said, conflict, conflict], [never_asked] * 50]

    return {
        "Consent/Hello": Call(party, each(pb.ConsentHelloRequest(version=MARK))),
        "Consent/Append": Call(party, appends),
        "Consent/Replicate": Call(
            party, each(*(pb.ConsentReplicateRequest(since=n) for n in (0, 1, 2**63, 2**64 - 1)))
        ),
        "Consent/Follow": Call(party, each(pb.ConsentFollowRequest())),
        "Consent/LogJob": Call(
            party,
            each(*(pb.ConsentJobEvent(type=kind, id=b"m" * 16, body=body)
                   for kind in kinds for body in bodies)),
        ),
        "Consent/Proof": Call(
            party,
            each(*(pb.ConsentProofRequest(origin=origin, index=index)
                   for origin in origins for index in (0, 1, 2**63, 2**64 - 1))),
        ),
        "Consent/File": Call(
            ("party", "auditor", "portal"),
            each(*(pb.ConsentFileRequest(origin=origin, path=path)
                   for origin in origins for path in paths)),
        ),
        "Consent/Bundle": Call(readers, each(pb.ConsentBundleRequest())),
        "Consent/Erase": Call(
            party, each(*(pb.ConsentEraseRequest(subject=one) for one in subjects))
        ),
        "Consent/Cosign": Call(readers, cosignatures, streams([said], [said, never_asked])),
        "Consent/Subject": Call(
            portal,
            each(*(pb.ConsentSubjectRequest(party=name, subject=one)
                   for name in names for one in subjects)),
        ),
        "Consent/SubjectAppend": Call(portal, portal_appends),
        "Consent/SubjectErase": Call(
            portal,
            each(*(pb.ConsentSubjectRequest(party=name, subject=one)
                   for name in names for one in subjects)),
        ),
    }  # fmt: skip


# -- the portal towards nodes --------------------------------------------------------------------


@asynccontextmanager
async def portal(folder: Path) -> AsyncIterator[Server]:
    parties = {name: kit(name) for name in ("retailer", "media")}
    keys = at(kit("portal", "portal"), 1)
    known = served.collaboration(at(kit("consent", "consent"), 2), parties, portal=keys)
    questions = Questions(known.parties, os.urandom)
    async with serving_nodes(questions, known, keys, "127.0.0.1:0") as port:
        here = at(keys, port)
        node = PortalLease(here.card, parties["retailer"])
        channels = {name: dialled(here, one) for name, one in parties.items()}
        stranger = dialled(here, kit("mallory"))
        desk = _Desk(questions, node)
        assert Endpoint.of(here.card).role == "portal"
        try:
            yield Server(channels, desk.good, desk.calls(), stranger)
        finally:
            await desk.end()
            for one in (node, *channels.values(), stranger):
                await one.close()


class _Desk:
    """Somebody at the portal asks; the retailer's node has leased the question."""

    def __init__(self, questions: Questions, node: PortalLease) -> None:
        self._questions, self._node = questions, node
        self._asking: list[asyncio.Task[Any]] = []

    async def end(self) -> None:
        for one in self._asking:
            one.cancel()
        await asyncio.gather(*self._asking, return_exceptions=True)

    async def leased(self, question: Question) -> bytes:
        """The id of a question that waits for its answer."""
        await self._node.lease(0.0)  # the node is there
        self._asking.append(asyncio.create_task(self._questions.ask("retailer", question)))
        while True:
            found = await self._node.lease(1.0)
            assert found is not None
            if found[1] == question and found[0] in self._questions._parties["retailer"].pending:
                return found[0]

    async def good(self) -> None:
        person = Person((b"s" * 32,))
        await self._node.answer(await self.leased(Find("email", f"{MARK}@example.com")), person)
        assert await self._asking[-1] == person

    def calls(self) -> dict[str, Call]:
        both = ("retailer", "media")

        async def answers() -> list[list[Any]]:
            found = []
            tag = Tag("tier", "label", "purchases", MARK, "table", 1)
            for id in (await self.leased(Find(subject=b"s" * 32)), b"n" * 16, b"", b"short"):
                for answer in (Tags((tag,)), NotAnswered("unknown_subject"), Person()):
                    found.append([answer_to_pb(id, answer)])
                found.append([portal_pb2.PortalAnswer(id=id)])
                found.append([portal_pb2.PortalAnswer(id=id, refused=MARK)])
            return found

        return {
            "Portal/Lease": Call(both, each(*(
                portal_pb2.PortalLeaseRequest(version=MARK, wait_seconds=s)
                for s in (0.0, 1e308, float("nan"), float("inf"), -5.0)
            ))),
            "Portal/Answer": Call(both, answers),
        }  # fmt: skip
