"""A node's own socket, with a table, events, tags and a coordinator behind it."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio

from party_node import control
from party_node.control_client import NodeClient, socket_path
from party_node.profile_desk import ProfileDesk
from protocol.encoding import canonical_json
from protocol.wire import node_pb2 as pb
from tests.calls.bent import MARK
from tests.calls.server import Call, Near, Server, each, streams
from tests.party_node.test_tags_golden import shop
from tests.test_jobs import companies, crosstab_job
from tests.world import World

MOST = 64 << 20
EMAIL = "p1@example.com"


@asynccontextmanager
async def node(folder: Path) -> AsyncIterator[Server]:
    async with World(folder / "world", companies(73, 12, 12)) as world:
        home = folder / "node"
        profiles = ProfileDesk(shop(folder / "shop"), world.nodes["shop"].ctx.records)
        server = await control.serve(world.desks["shop"], profiles, home)
        client = NodeClient(home)
        channel = grpc.aio.secure_channel(
            f"unix:{socket_path(home)}",
            grpc.local_channel_credentials(grpc.LocalConnectionType.UDS),
            options=[("grpc.max_send_message_length", 2 * MOST)],
        )

        async def good() -> None:
            status = await asyncio.to_thread(client.status)
            assert status["party"] == "shop"
            said = await asyncio.to_thread(
                lambda: client.consent(
                    id_type="email", identifier=EMAIL, purpose="all", recipient="all",
                    category="all", state="withdrawn",
                )
            )  # fmt: skip
            assert said.startswith("withdrawn for")

        try:
            yield Server({"owner": channel}, good, _calls(world), most=MOST)
        finally:
            await channel.close()
            client.close()
            await server.stop(0)


def _calls(world: World) -> dict[str, Call]:
    owner = ("owner",)
    plan = world.job(**crosstab_job()).canonical()

    def submits() -> list[Any]:
        bodies = [
            canonical_json(plan), canonical_json(plan | {"requester": "media", "with": ["shop"]}),
            canonical_json(plan | {"with": [MARK]}), canonical_json(plan | {MARK: 1}),
            canonical_json(plan | {"rows": [f"shop/{MARK}"]}), b"", b"[]", b"null",
            b"[" * 100_000, MARK.encode(), b'{"v":1e999}', b"\xff", b"9" * 5_000,
        ]  # fmt: skip
        return [pb.NodeJobRequest(job=body, dry_run=True) for body in bodies]

    async def submitted() -> str:
        return await world.desks["shop"].submit(plan, dry_run=True)

    def of_a_job(kind: Any, **fields: Any) -> Near:
        async def near() -> list[list[Any]]:
            ids = (await submitted(), "f" * 32, "", MARK, MARK * 50_000)
            return [[kind(job_id=id, **fields)] for id in ids]

        return near

    def consents() -> list[Any]:
        right = {"id_type": "email", "identifier": EMAIL, "purpose": "all", "recipient": "all",
                 "category": "all", "state": "withdrawn"}  # fmt: skip
        wrong = [{name: value} for name in right for value in (MARK, "", "\x00", MARK * 5_000)]
        return [pb.NodeConsent(**(right | one)) for one in ({}, *wrong, {"state": "given"})]

    table = (
        f"email,purpose,recipient,category,status\n{EMAIL},audience_insight,media,purchases,given\n"
    )
    name, data = pb.NodeConsentFile(name="c.csv"), pb.NodeConsentFile(data=table.encode())

    async def files() -> list[list[Any]]:
        rest = [
            f"{MARK},{MARK}\n".encode(), MARK.encode() * 10_000, b"\x00" * 999,
            b'"' + MARK.encode(), b"email,purpose\n" * 2, b"\xff\xfe" + MARK.encode(),
            f"{table}{MARK},{MARK},,,\n".encode(),
        ]  # fmt: skip
        odd = (MARK, f"../{MARK}.csv", "c.parquet", "\x00.csv", "a" * 300 + ".csv", ".", "..")
        return [
            [], [name], [data], [name, data], [name, name, data], [name, pb.NodeConsentFile()],
            *([name, pb.NodeConsentFile(data=one)] for one in rest),
            *([pb.NodeConsentFile(name=one), data] for one in odd),
            [pb.NodeConsentFile(name="c.parquet"), pb.NodeConsentFile(data=b"PAR1" + b"x" * 50)],
        ]  # fmt: skip

    events = f"email,at\n{EMAIL},{MARK}\n".encode()
    return {
        "Node/SubmitJob": Call(owner, each(*submits())),
        "Node/WatchJob": Call(owner, of_a_job(pb.NodeWatchRequest, wait_seconds=0.01)),
        "Node/ListJobs": Call(owner, each(pb.NodeListRequest())),
        "Node/JobRecord": Call(owner, of_a_job(pb.NodeJobId)),
        "Node/CancelJob": Call(owner, of_a_job(pb.NodeJobId)),
        "Node/Approve": Call(owner, of_a_job(pb.NodeApproval, approve=True, reason=MARK * 100)),
        "Node/RecordConsent": Call(owner, each(*consents())),
        "Node/ImportConsents": Call(
            owner, files,
            streams([name, data], [name, pb.NodeConsentFile(data=b"")], [name]),
        ),
        "Node/ListRights": Call(owner, each(pb.NodeListRequest())),
        "Node/SettleRight": Call(owner, each(*(
            pb.NodeRightSettled(id=id, state=state, answer=answer)
            for id in (secrets.token_hex(16), "", MARK, "zz", "\x00")
            for state, answer in (("done", "no"), (MARK, ""), ("done", MARK * 5_000))
        ))),
        "Node/Ingest": Call(owner, each(*(
            pb.NodeEvents(event=event, path=path, body=body, format=kind)
            for event in ("cart", "", MARK)
            for path, body, kind in (
                ("", events, "csv"), ("", events, MARK), ("", b"", ""), ("", b'[{"a":', "json"),
                ("", b"[" * 50_000, "json"), ("", MARK.encode(), "parquet"),
                ("", b"PAR1", "parquet"), (f"/nothing/{MARK}", b"", ""), ("relative", b"", ""),
                ("/", b"", ""), ("\x00", b"", ""),
            )
        ))),
        "Node/Identity": Call(owner, each(*(
            pb.NodeIdentity(id_type=kind, identifier=one, decision=decision)
            for kind, one, decision in (
                ("email", EMAIL, ""), ("email", EMAIL, "apart"), ("email", EMAIL, "together"),
                ("email", MARK, ""), ("phone", "\x00", "apart"), ("phone", MARK * 5_000, ""),
                ("email", EMAIL, MARK), (MARK, EMAIL, ""), ("", "", ""),
            )
        ))),
        "Node/Tags": Call(owner, each(*(
            pb.NodeTagsRequest(verb=verb, name=one, as_of=moment)
            for verb, one, moment in (
                ("run", "", ""), ("run", "spender", "2026-03-10"), ("run", MARK, ""),
                ("run", "spender", MARK), ("run", "", "9999-99-99"), ("history", MARK, ""),
                ("history", "", ""), ("lineage", "spender", ""), ("lineage", MARK, ""),
                (MARK, "", ""), ("run", "spender", "0000-01-01"), ("lineage", "[" * 1_000, ""),
            )
        ))),
        "Node/Subject": Call(owner, each(*(
            pb.NodeSubject(id_type=kind, identifier=one)
            for kind in ("email", "phone", MARK, "")
            for one in (EMAIL, MARK, "", "\x00", MARK * 5_000)
        ))),
        "Node/Status": Call(owner, each(pb.NodeStatusRequest())),
    }  # fmt: skip
