"""A job whose requester reaches the coordinator over a slow line, as companies do.

Who runs it: `make bench`.  The line is a relay on loopback that passes so many bytes a second
in each direction; TLS runs through it untouched.
"""

from __future__ import annotations

import socket
import threading
import time
from typing import Any

from assent.sandbox import Sandbox
from bench import service

MEGABIT = 1e6 / 8
_PIECE = 64 << 10


class Line:
    """Relays connections to `target`; both directions of all of them share a rate each."""

    def __init__(self, target: str, rate: float) -> None:
        """rate: bytes per second."""
        host, _, port = target.rpartition(":")
        self._target, self._rate = (host, int(port)), rate
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._turns = {"up": threading.Lock(), "down": threading.Lock()}
        self._free = {"up": 0.0, "down": 0.0}  # when the line can take the next piece
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return  # closed
            far = socket.create_connection(self._target)
            for way, source, sink in (("up", near, far), ("down", far, near)):
                threading.Thread(target=self._pass, args=(way, source, sink), daemon=True).start()

    def _pass(self, way: str, source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_PIECE):
                with self._turns[way]:
                    start = max(time.monotonic(), self._free[way])
                    self._free[way] = start + len(data) / self._rate
                    time.sleep(max(0.0, self._free[way] - time.monotonic()))
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            source.close()
            sink.close()


class _Sandbox(Sandbox):
    """One party's way to the coordinator is `rate` bytes a second."""

    far, rate = "left", 100 * MEGABIT
    line: Line | None = None

    def start(self, name: str) -> None:
        if name == self.far and self.line is None:
            shared = self.root / "collaboration.yaml"
            address = self._addresses["coordinator"]
            self.line = Line(address, self.rate)
            slow = self.root / "slow.yaml"
            slow.write_text(shared.read_text("utf-8").replace(address, self.line.address), "utf-8")
            self._commands[name] = [
                str(slow) if word == str(shared) else word for word in self._commands[name]
            ]
        super().start(name)

    def stop(self) -> None:
        super().stop()
        if self.line is not None:
            self.line.close()


def run(n: int) -> list[dict[str, Any]]:
    """A cross-tab whose encrypted rows go up at 100 Mbit/s."""
    found = service.run_job(n, service.CROSSTAB, sandbox=_Sandbox)
    if found.status != "released":
        raise SystemExit(f"the job over a slow line ended {found.status}: {found.error}")
    wanted = ("seconds", "stage encrypt", "sent by left")
    name = f"crosstab service {n} x {n} 2048 bits, requester at 100 Mbit/s"
    return [row for row in service.rows(name, found) if row["name"].endswith(wanted)]
