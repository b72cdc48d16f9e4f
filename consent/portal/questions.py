"""Questions that wait for a party's node: the portal asks, the node leases and answers.

Who runs it: the portal's process.  A node only dials out, so the portal cannot call it: a
question waits here until the node comes for it, and its asker waits with it.
Learns: nobody, anything; nothing is stored, a question that nobody fetched in time is gone.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from consent.portal.port import FITTING, ID_BYTES, Answer, NotAnswered, Question
from protocol.errors import Failed, ProtocolViolation

ANSWER_SECONDS = 15.0
LEASE_SECONDS = 25.0
# A node that has not come for so long is not there; nobody is kept waiting for it.
GONE_SECONDS = 30.0
# More than a node answers in the time that a person waits; the next one hears so at once.
MAX_WAITING = 512


@dataclass
class _Pending:
    question: Question
    answer: asyncio.Future[Answer]


@dataclass
class _Party:
    waiting: deque[bytes] = field(default_factory=deque)
    pending: dict[bytes, _Pending] = field(default_factory=dict)
    arrived: asyncio.Condition = field(default_factory=asyncio.Condition)
    seen: float = float("-inf")


class Questions:
    """`Nodes` for the pages; `lease` and `answer` for the service.  One event loop."""

    def __init__(
        self,
        parties: Iterable[str],
        random: Callable[[int], bytes],
        seconds: float = ANSWER_SECONDS,
    ) -> None:
        """seconds: how long an asker waits for a node."""
        self._parties = {name: _Party() for name in parties}
        self._random = random
        self._seconds = seconds

    async def ask(self, party: str, question: Question) -> Answer:
        desk = self._parties[party]
        if len(desk.pending) >= MAX_WAITING:
            raise _unavailable(party, "has too many questions waiting")
        loop = asyncio.get_running_loop()
        if loop.time() - desk.seen > GONE_SECONDS:
            raise _unavailable(party, "is not connected")
        id = self._random(ID_BYTES)
        pending = desk.pending[id] = _Pending(question, loop.create_future())
        try:
            async with desk.arrived:
                desk.waiting.append(id)
                desk.arrived.notify()
            async with asyncio.timeout(self._seconds):
                return await pending.answer
        except TimeoutError as error:
            raise _unavailable(party, "does not answer") from error
        finally:
            del desk.pending[id]

    async def lease(self, party: str, wait: float) -> tuple[bytes, Question] | None:
        """The oldest question that nobody fetched; None after `wait` seconds without one."""
        desk, loop = self._parties[party], asyncio.get_running_loop()
        desk.seen = loop.time() + min(max(wait, 0.0), LEASE_SECONDS)
        try:
            async with asyncio.timeout(min(max(wait, 0.0), LEASE_SECONDS)):
                while True:
                    async with desk.arrived:
                        while desk.waiting:
                            id = desk.waiting.popleft()
                            if id in desk.pending:  # else its asker gave up
                                return id, desk.pending[id].question
                        await desk.arrived.wait()
        except TimeoutError:
            return None

    def answer(self, party: str, id: bytes, answer: Answer) -> None:
        """Hands an answer to its asker; one that came too late goes nowhere.

        Raises ProtocolViolation when it does not fit what was asked.
        """
        pending = self._parties[party].pending.get(id)
        if pending is None or pending.answer.done():
            return
        fitting = FITTING[type(pending.question)]
        if not isinstance(answer, (fitting, NotAnswered)):
            raise ProtocolViolation(
                "bad_portal_message", "an answer does not fit its question", party=party,
                stage="portal",
            )  # fmt: skip
        pending.answer.set_result(answer)


def _unavailable(party: str, cause: str) -> Failed:
    return Failed(
        "unavailable", f"the node {cause}", party=party, stage="portal",
        next_step="see that the node runs and that its collaboration.yaml names this portal",
    )  # fmt: skip
