"""A stream of the consent service and the end of who reads it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from consent.client import ConsentClient


class Call:
    """A stream whose next message comes when the test says so."""

    def __init__(self) -> None:
        self.coming: list[asyncio.Future[str]] = []
        self.cancelled = False

    def read(self) -> asyncio.Future[str]:
        self.coming.append(asyncio.get_running_loop().create_future())
        return self.coming[-1]

    def cancel(self) -> None:
        self.cancelled = True


async def test_a_message_that_comes_with_the_end_does_not_undo_the_end() -> None:
    """It did: the node that was to stop read on, and whoever waited for it waited for ever."""
    call, seen = Call(), []

    async def follow() -> None:
        client: Any = object.__new__(ConsentClient)
        async for message in client._stream(call, 60.0):
            seen.append(message)

    reader = asyncio.create_task(follow())
    while not call.coming:
        await asyncio.sleep(0)
    # The message has come and nobody has looked yet when the reader is told to stop.
    call.coming[0].set_result("a head")
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(2):
            await reader
    assert (seen, call.cancelled) == ([], True)
