"""How a checkpoint reaches a witness that only dials out, and how its answer comes back.

Who runs it: the consent service (`WitnessLine`, one per witness) and every witness
(`answer_request`).  A witness keeps one stream open; the log's writer asks through it.
Learns: witnesses learn sizes and roots of the logs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import TimeoutError as Late
from dataclasses import dataclass

from consent.errors import details_of_error, error_of_details
from consent.log_writer import Cosigner
from consent.witness import StaleSize
from protocol.errors import AssentError, Failed

_SECONDS = 10.0  # the writer itself waits less; this frees its thread


@dataclass(frozen=True)
class WitnessAnswer:
    """lines: signature lines; or conflict: the witness's size, and what proves it if it is
    above the log's own; or refusal: an error in words."""

    lines: str = ""
    conflict: int | None = None
    conflict_note: str = ""
    refusal: str = ""


def answer_request(witness: Cosigner, request: str) -> WitnessAnswer:
    """What a witness answers; blocking."""
    try:
        return WitnessAnswer(witness.add_checkpoint(request))
    except StaleSize as stale:
        return WitnessAnswer(conflict=stale.size, conflict_note=stale.note)
    except AssentError as error:
        return WitnessAnswer(refusal=details_of_error(error))


class WitnessLine:
    """`Cosigner` over whatever stream the witness holds at the moment; safe from threads."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lock = threading.Lock()
        self._send: Callable[[int, str], None] | None = None
        self._waiting: dict[int, Future[WitnessAnswer]] = {}
        self._number = 0

    def connect(self, send: Callable[[int, str], None]) -> None:
        """From now on requests go out through `send`, which must not block."""
        with self._lock:
            self._drop()
            self._send = send

    def disconnect(self, send: Callable[[int, str], None]) -> None:
        """The stream of `send` has ended; a newer one stays."""
        with self._lock:
            if self._send is send:
                self._drop()

    def answered(self, number: int, answer: WitnessAnswer) -> None:
        with self._lock:
            future = self._waiting.pop(number, None)
        if future is not None:
            future.set_result(answer)

    def add_checkpoint(self, request: str) -> str:
        with self._lock:
            send = self._send
            if send is None:
                raise self._away()
            self._number += 1
            number, future = self._number, Future[WitnessAnswer]()
            self._waiting[number] = future
        send(number, request)
        try:
            answer = future.result(_SECONDS)
        except Late:
            with self._lock:
                self._waiting.pop(number, None)
            raise Failed("unavailable", f"witness {self._name} does not answer") from None
        if answer.conflict is not None:
            raise StaleSize(answer.conflict, answer.conflict_note)
        if answer.refusal:
            raise error_of_details(answer.refusal) or Failed("witness_failed", "without words")
        return answer.lines

    def _drop(self) -> None:
        self._send = None
        waiting, self._waiting = self._waiting, {}
        for future in waiting.values():
            future.set_exception(self._away())

    def _away(self) -> Failed:
        return Failed("unavailable", f"witness {self._name} is not connected")
