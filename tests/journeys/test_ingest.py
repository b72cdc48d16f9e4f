"""New events into a running node by HTTP, by command and by gRPC, and over its sudden death."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import httpx
import pytest

from assent.progress import Progress
from assent.sandbox import Sandbox, check
from party_node.ingest_http import TOKEN
from protocol.wire import node_pb2
from tests.journeys.conftest import Assent
from tests.journeys.shell import free_port
from tests.journeys.test_tags import JOB, write

pytestmark = pytest.mark.slow
FILLER = 20_000  # events of nobody: a body that takes a while


class WithIngest(Sandbox):
    """The shop's node takes events by HTTP."""

    port = 0

    def start(self, name: str) -> None:
        if name == "shop" and "--ingest" not in self._commands[name]:
            self.port = free_port()
            self._commands[name] += ["--ingest", str(self.port)]
        super().start(name)

    def post(self, body: str, token: str = "", **headers: str) -> httpx.Response:
        word = token or (self.root / "shop" / TOKEN).read_text()
        headers = {"authorization": f"Bearer {word}", "content-type": "application/x-ndjson"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        with httpx.Client(trust_env=False, timeout=60) as client:
            url = f"http://127.0.0.1:{self.port}/events/purchase"
            return client.post(url, content=body.encode(), headers=headers)

    def counts(self, body: str) -> dict[str, Any]:
        answer = self.post(body)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found


def lines(people: Sequence[int], amount: int, mark: str) -> str:
    """An event for each, of one id per person and mark."""
    return "".join(
        json.dumps({"order": f"{mark}{i}", "email": f"p{i}@example.com", "at": "2026-02-02T10:00Z",
                    "amount": amount, "brand": "A", "gift": False}) + "\n"
        for i in people
    )  # fmt: skip


def csv(people: Sequence[int], amount: int, mark: str) -> str:
    rows = (f"{mark}{i},p{i}@example.com,2026-02-02 10:00+00,{amount},A,no\n" for i in people)
    return "order,email,at,amount,brand,gift\n" + "".join(rows)


def listening_on(port: int) -> set[str]:
    """Local addresses, as the kernel writes them."""
    found = set()
    for file in ("/proc/net/tcp", "/proc/net/tcp6"):
        for line in Path(file).read_text().splitlines()[1:]:
            address, number = line.split()[1].split(":")
            if line.split()[3] == "0A" and int(number, 16) == port:
                found.add(address)
    return found


def test_events_come_in_by_every_way_and_none_is_lost_or_counted_twice(
    tmp_path: Path, assent: Assent
) -> None:
    federation = write(tmp_path / "data")
    job = tmp_path / "data" / "job.yaml"
    job.write_text(JOB.format(name="after", purpose="audience_insight"))
    loaded, (spec,) = check(federation, job)
    with WithIngest(loaded, keep=tmp_path / "kept", progress=Progress.quiet()) as sandbox:
        node, client = sandbox.root / "shop", sandbox.node("shop")
        refuses(sandbox)
        # HTTP, twice the same.
        first = lines(range(1, 10, 2), 1000, "h")
        assert sandbox.counts(first) == {"new": 5, "again": 0, "nobody": 0, "people": 5}
        assert sandbox.counts(first) == {"new": 0, "again": 5, "nobody": 0, "people": 0}
        # A command and a call, which know what came by HTTP too.
        file = tmp_path / "more.csv"
        file.write_text(csv([1, *range(11, 20, 2)], 1000, "c").replace("c1,", "h1,"))
        said = assent("node", "ingest", "purchase", file, "--node", node)
        assert said.out.startswith("purchase: 5 new events of 5 people, 1 known already"), said
        body = csv(range(21, 30, 2), 1000, "g").encode()
        message = node_pb2.NodeEvents(event="purchase", body=body, format="csv")
        said = client._stub.Ingest(message, timeout=60).message
        assert said.startswith("purchase: 5 new events of 5 people, 0 known already")
        for _ in range(2):  # 600 is not yet high, 1200 would be
            sandbox.counts(lines(range(41, 50, 2), 600, "once"))
        # Only those people's tags were computed anew: there was no run of everybody's.
        history = client.tags("history", "spender")
        assert len(history) == 1

        killed(sandbox)

        found = sandbox.result(spec)
        assert found["status"] == "released", found["error"]
        cells = {(c["media/interest"], c["shop/tier"]): c["count"] for c in found["cells"]}
        assert (cells["b", "high"], cells["b", "low"]) == (30, 0)
        assert (cells["a", "high"], cells["a", "low"]) == (20, 10)
        client.close()
    with duckdb.connect(str(node / "profile.duckdb"), read_only=True) as db:
        held = db.execute('select count(*), count(distinct key) from "event purchase"').fetchall()
    source = 9 + 30
    assert held == [(source + 20 + 2 * (5 + FILLER),) * 2]


def refuses(sandbox: WithIngest) -> None:
    """The wrong token, bodies that are too large, bad lines by their number; loopback alone."""
    assert listening_on(sandbox.port) == {"0100007F"}
    good = lines([1], 1000, "h")
    assert sandbox.post(good, token="wrong").status_code == 401
    with socket.create_connection(("127.0.0.1", sandbox.port)) as raw:
        word = (sandbox.root / "shop" / TOKEN).read_text()
        raw.sendall(
            b"POST /events/purchase HTTP/1.1\r\nhost: node\r\ncontent-type: text/csv\r\n"
            b"content-length: 300000000\r\nauthorization: Bearer " + word.encode() + b"\r\n\r\n"
        )
        assert raw.recv(100).startswith(b"HTTP/1.1 413 ")
    bad = good + "\n" + good.replace("2026-02-02T10:00Z", "some day").replace("h1", "h3")
    answer = sandbox.post(bad)
    assert answer.status_code == 422
    assert answer.json()["cause"] == (
        'events purchase: the body line 3: column "at": the value is no moment'
    )
    assert sandbox.post(good + "{oops\n").json()["cause"] == "the body line 2: is not JSON"


def killed(sandbox: WithIngest) -> None:
    """SIGKILL while a body is taken in: what was answered is there, the rest all or not at all."""
    nobody = range(10**6, 10**6 + FILLER)
    bodies = [
        lines(range(31, 40, 2), 500, f"k{part}") + lines(nobody, 1, f"f{part}") for part in (1, 2)
    ]
    many = 5 + FILLER
    assert sandbox.counts(bodies[0])["new"] == many
    ends: list[object] = []

    def send() -> None:
        try:
            ends.append(sandbox.counts(bodies[1])["new"])
        except httpx.HTTPError as error:
            ends.append(error)

    sending = threading.Thread(target=send)
    sending.start()
    sending.join(0.2)
    sandbox.kill("shop")
    sending.join()
    sandbox.start("shop")
    sandbox.wait_ready()
    again = sandbox.counts(bodies[0])
    assert (again["new"], again["again"]) == (0, many)
    rest = sandbox.counts(bodies[1])
    assert (rest["new"], rest["again"]) in ((many, 0), (0, many))
    if ends[0] == many:
        assert rest["new"] == 0
