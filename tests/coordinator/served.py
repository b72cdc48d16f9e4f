"""A coordinator process with the echo protocol, for tests that kill it: `python -m … FOLDER PORT`.

FOLDER holds `keys/` and `collaboration.yaml`; prints the port it listens on.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from catalog.collaboration import load_collaboration
from coordinator.main import serving
from protocol.transport.kit import load_kit
from tests.coordinator.engine_world import QUICK, echo


async def main(folder: Path, port: int) -> None:
    collaboration = load_collaboration(folder / "collaboration.yaml")
    keys = load_kit(folder / "keys", collaboration.coordinator.card())
    async with serving(
        collaboration, keys, folder / "data", f"127.0.0.1:{port}", timing=QUICK,
        registry={("echo", 1): echo},
    ) as bound:  # fmt: skip
        print(bound, flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
