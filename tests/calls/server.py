"""A running gRPC server and almost right messages for each of its calls."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio

from protocol.identity import Keys
from protocol.transport import tls

Near = Callable[[], Awaitable[list[list[Any]]]]


@dataclass
class Call:
    """roles: who may make it.

    near: sequences of messages, of one each where no stream goes in; good, or good but for one
    thing that means something (another's step, an unknown job, a wrong stage).  It is called
    again and again, because some messages use up what they name.
    endless: sequences whose last message is repeated for ever; where streams go in.
    """

    roles: tuple[str, ...]
    near: Near
    endless: Near | None = None


@dataclass
class Server:
    """channels: role → channel.  good: a round of honest calls; raises unless the server is well.

    stranger: a channel with a certificate that nobody pinned; None where a file's mode says who
    may call.  most: bytes of a message.
    """

    channels: dict[str, grpc.aio.Channel]
    good: Callable[[], Awaitable[None]]
    calls: dict[str, Call] = field(default_factory=dict)
    stranger: grpc.aio.Channel | None = None
    most: int = tls.MAX_MESSAGE


def each(*messages: Any) -> Near:
    """The same messages every time."""
    return streams(*([message] for message in messages))


def streams(*sequences: list[Any]) -> Near:
    """The same sequences every time."""

    async def near() -> list[list[Any]]:
        return list(sequences)

    return near


def dialled(server: Keys, caller: Keys) -> grpc.aio.Channel:
    """As our own clients dial, with no limit to what is sent."""
    options = dict(tls.channel_options(server.card.address))
    credentials = grpc.ssl_channel_credentials(
        root_certificates=server.card.tls_certificate.encode(),
        private_key=caller.tls_key.reveal(),
        certificate_chain=caller.card.tls_certificate.encode(),
    )
    return grpc.aio.secure_channel(
        server.card.address,
        credentials,
        options=list((options | {"grpc.max_send_message_length": -1}).items()),
    )
