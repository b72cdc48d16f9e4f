"""openmined-psi beside our matching, where `make bench-peers` has installed it.

Who runs it: `python -m bench --only psi-service`.  The peer computes both sides in one process
and sends nothing; ours is the whole service, with gates, padding and TLS.  Its protocol is
elliptic-curve Diffie-Hellman as our `ecdh`, on P-256 and on one core; it has nothing like `keyed`.
"""

from __future__ import annotations

import json
import os
import subprocess
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from typing import Any

Row = dict[str, Any]
NAME, VARIABLE = "openmined-psi", "ASSENT_BENCH_PEERS"
CHECKOUT = Path(__file__).resolve().parents[1]


def environment() -> Path:
    """The virtual environment that has the peer: the one that the variable names, or ours."""
    return Path(os.environ.get(VARIABLE) or CHECKOUT / ".venv-peers")


def version() -> str | None:
    """Of the peer; None where it is not installed."""
    places = [str(place) for place in environment().glob("lib/python*/site-packages")]
    return next((one.version for one in distributions(name=NAME, path=places)), None)


@cache
def peer(n: int) -> dict[str, Any]:
    """What `bench/openmined_peer.py` says about n × n."""
    script = Path(__file__).with_name("openmined_peer.py")
    done = subprocess.run(
        [environment() / "bin" / "python", script, str(n)], stdout=subprocess.PIPE, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def beside(ours: list[Row], mode: str, n: int) -> list[Row]:
    """Our rows, with the peer beside those that it has too."""
    if version() is None:
        return ours
    theirs = peer(n)
    values = {"seconds": theirs["seconds"], "processor seconds, all processes": theirs["processor"]}
    if mode == "ecdh":
        values |= {"sent by left": theirs["client_bytes"] / 1e6,
                   "sent by right": theirs["server_bytes"] / 1e6}  # fmt: skip
    start, found = f"PSI service {mode} {n} x {n} ", []
    for row in ours:
        value = values.get(row["name"].removeprefix(start))
        more = {} if value is None else {
            "peer": f"{NAME} (ecdh on P-256, one core, no network)",
            "peer_value": round(value, 2), "ratio": round(value / row["value"], 2),
        }  # fmt: skip
        found.append(row | more)
    return found
