"""openmined-psi at work on two seeded sets, half of them common: seconds and bytes, as JSON.

Who runs it: `bench.openmined`, by the Python of a virtual environment of its own, because the
package wants another protobuf than ours.  So this file imports nothing of the checkout.

    PYTHON bench/openmined_peer.py ITEMS
"""

from __future__ import annotations

import json
import sys
import time
from typing import Any

import private_set_intersection.python as psi


def measure(n: int) -> dict[str, Any]:
    """Elliptic-curve matching with the whole answer: each client item that the server has too."""
    clients = [f"person{i}@example.com" for i in range(n)]
    servers = [f"person{i}@example.com" for i in range(n // 2, n + n // 2)]
    wall, processor = time.perf_counter(), time.process_time()
    server, client = psi.server.CreateWithNewKey(True), psi.client.CreateWithNewKey(True)
    # RAW: exact; the other structures answer wrongly for a few.
    setup = server.CreateSetupMessage(0.0, n, servers, psi.DataStructure.RAW)
    request = client.CreateRequest(clients)
    response = server.ProcessRequest(request)
    common = client.GetIntersection(setup, response)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    if sorted(common) != list(range(n // 2, n)):
        sys.exit("the peer found another intersection")
    return {
        "seconds": wall,
        "processor": processor,
        "server_bytes": setup.ByteSize() + response.ByteSize(),
        "client_bytes": request.ByteSize(),
    }


if __name__ == "__main__":
    print(json.dumps(measure(int(sys.argv[1]))))
