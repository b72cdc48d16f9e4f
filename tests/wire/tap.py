"""A tap inside TLS: every message and every header of a link, as it passes.

For tests, which hold all private keys: the tap shows the node the server's certificate and
the server the node's, so neither side is changed or knows.  It reads HTTP/2 itself instead of
asking gRPC, because what has to be found is what really crosses: also headers, trailers,
calls that no interceptor sees.  What it cannot read fails the test; it never skips.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from protocol.identity import TLS_NAME, Keys

UP, DOWN = "up", "down"  # from the node, to the node
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
_DATA, _HEADERS, _CONTINUATION = 0, 1, 9
_PADDED, _END_HEADERS, _PRIORITY = 0x8, 0x4, 0x20
_STATIC_ENTRIES = 61  # RFC 7541, appendix A; of them only the name `:path` matters here
_STATIC_PATHS = (4, 5)


@dataclass(frozen=True)
class Message:
    """path: of the call, e.g. /assent.v1.Coordinator/Lease.  head: headers or trailers."""

    direction: str
    path: str
    data: bytes
    head: bool = False

    @property
    def method(self) -> str:
        return self.path.rsplit("/", 1)[-1]


@dataclass
class Recording:
    """What crossed one link; name: "node-server"."""

    name: str
    messages: list[Message] = field(default_factory=list)
    faults: list[Exception] = field(default_factory=list)

    def blob(self) -> bytes:
        if self.faults:
            raise AssertionError(f"the tap of {self.name} could not read") from self.faults[0]
        # A separator that no pattern holds, so that nothing is found across two messages.
        return b"\n\xff\xfe\xff\n".join(message.data for message in self.messages)

    def methods(self) -> set[str]:
        return {message.method for message in self.messages}


class _Fields:
    """HPACK of one direction of a connection, without Huffman, which gRPC's core never uses."""

    def __init__(self) -> None:
        self._table: deque[tuple[bytes, bytes]] = deque()
        self._limit = 4096

    def read(self, block: bytes) -> list[tuple[bytes, bytes]]:
        self._block, self._at = block, 0
        found = []
        while self._at < len(block):
            first = block[self._at]
            if first & 0x80:
                found.append(self._entry(self._number(7)))
            elif first & 0xC0 == 0x40:
                found.append(self._literal(6))
                self._add(found[-1])
            elif first & 0xE0 == 0x20:
                self._limit = self._number(5)
                self._shrink()
            else:
                found.append(self._literal(4))
        return found

    def _literal(self, bits: int) -> tuple[bytes, bytes]:
        index = self._number(bits)
        name = self._entry(index)[0] if index else self._string()
        return name, self._string()

    def _entry(self, index: int) -> tuple[bytes, bytes]:
        if index > _STATIC_ENTRIES:
            return self._table[index - _STATIC_ENTRIES - 1]
        return b":path" if index in _STATIC_PATHS else b"static", b""

    def _add(self, entry: tuple[bytes, bytes]) -> None:
        self._table.appendleft(entry)
        self._shrink()

    def _shrink(self) -> None:
        while sum(len(name) + len(value) + 32 for name, value in self._table) > self._limit:
            self._table.pop()

    def _number(self, bits: int) -> int:
        mask = (1 << bits) - 1
        value, shift = self._block[self._at] & mask, 0
        self._at += 1
        if value < mask:
            return value
        while True:
            byte = self._block[self._at]
            self._at += 1
            value += (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                return value

    def _string(self) -> bytes:
        if self._block[self._at] & 0x80:
            raise ValueError("a Huffman-coded header: the tap cannot read it")
        size = self._number(7)
        self._at += size
        return self._block[self._at - size : self._at]


class _Direction:
    """Reassembles frames to headers and gRPC messages of one direction of a connection."""

    def __init__(self, direction: str, recording: Recording, paths: dict[int, str]) -> None:
        self._direction, self._recording, self._paths = direction, recording, paths
        self._buffer = bytearray()
        self._fields, self._block = _Fields(), b""
        self._partial: dict[int, bytearray] = defaultdict(bytearray)
        self._greeting = direction == UP

    def feed(self, data: bytes) -> None:
        self._buffer += data
        if self._greeting:
            if len(self._buffer) < len(_PREFACE):
                return
            if not self._buffer.startswith(_PREFACE):
                raise ValueError("not HTTP/2")
            del self._buffer[: len(_PREFACE)]
            self._greeting = False
        while len(self._buffer) >= 9:
            size = int.from_bytes(self._buffer[:3], "big")
            if len(self._buffer) < 9 + size:
                return
            kind, flags = self._buffer[3], self._buffer[4]
            stream = int.from_bytes(self._buffer[5:9], "big") & 0x7FFFFFFF
            payload = bytes(self._buffer[9 : 9 + size])
            del self._buffer[: 9 + size]
            self._frame(kind, flags, stream, payload)

    def _frame(self, kind: int, flags: int, stream: int, payload: bytes) -> None:
        if kind in (_DATA, _HEADERS) and flags & _PADDED:
            payload = payload[1 : len(payload) - payload[0]]
        if kind == _DATA:
            self._message(stream, payload)
        elif kind in (_HEADERS, _CONTINUATION):
            if kind == _HEADERS and flags & _PRIORITY:
                payload = payload[5:]
            self._block += payload
            if flags & _END_HEADERS:
                block, self._block = self._block, b""
                self._head(stream, self._fields.read(block))
        elif payload:
            # Settings, pings, goodbyes: nothing of the product, but what is not read is kept.
            self._keep(stream, payload, head=True)

    def _head(self, stream: int, fields: list[tuple[bytes, bytes]]) -> None:
        for name, value in fields:
            if name == b":path":
                self._paths[stream] = value.decode()
        self._keep(stream, b"\n".join(name + b": " + value for name, value in fields), head=True)

    def _message(self, stream: int, payload: bytes) -> None:
        partial = self._partial[stream]
        partial += payload
        while len(partial) >= 5:
            size = int.from_bytes(partial[1:5], "big")
            if partial[0]:
                raise ValueError("a compressed message: the tap cannot read it")
            if len(partial) < 5 + size:
                return
            self._keep(stream, bytes(partial[5 : 5 + size]))
            del partial[: 5 + size]

    def _keep(self, stream: int, data: bytes, *, head: bool = False) -> None:
        message = Message(self._direction, self._paths.get(stream, ""), data, head)
        self._recording.messages.append(message)


@asynccontextmanager
async def tapped(
    name: str, node: Keys, server: Keys, port: int, folder: Path
) -> AsyncIterator[tuple[Recording, int]]:
    """Yields the recording and the port to which the node has to connect instead of `port`."""
    recording = Recording(name)
    towards_node = _context(ssl.PROTOCOL_TLS_SERVER, server, node, folder / f"{name}-s.pem")
    towards_server = _context(ssl.PROTOCOL_TLS_CLIENT, node, server, folder / f"{name}-c.pem")
    open_now: set[asyncio.Task[None]] = set()

    async def pump(
        reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: _Direction
    ) -> None:
        try:
            while data := await reader.read(1 << 16):
                try:
                    direction.feed(data)
                except Exception as error:  # whatever it is, it makes the recording worthless
                    recording.faults.append(error)
                    return
                writer.write(data)
                await writer.drain()
        except (ConnectionError, ssl.SSLError):
            pass  # one side hung up, which is how a connection ends
        finally:
            writer.close()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(serve(reader, writer))
        open_now.add(task)
        task.add_done_callback(open_now.discard)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        paths: dict[int, str] = {}
        try:
            there = await asyncio.open_connection(
                "127.0.0.1", port, ssl=towards_server, server_hostname=TLS_NAME
            )
            await asyncio.gather(
                pump(reader, there[1], _Direction(UP, recording, paths)),
                pump(there[0], writer, _Direction(DOWN, recording, paths)),
            )
        except ConnectionError:
            writer.close()

    listening = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=towards_node)
    try:
        yield recording, listening.sockets[0].getsockname()[1]
    finally:
        listening.close()
        left = list(open_now)
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


def _context(purpose: int, own: Keys, peer: Keys, file: Path) -> ssl.SSLContext:
    file.write_bytes(own.tls_key.reveal() + own.card.tls_certificate.encode())
    made = ssl.SSLContext(purpose)
    made.verify_mode = ssl.CERT_REQUIRED
    # Self-signed and pinned, as the product does; Python 3.13 alone would want more of it.
    made.verify_flags &= ~ssl.VERIFY_X509_STRICT
    made.load_verify_locations(cadata=peer.card.tls_certificate)
    made.load_cert_chain(file)
    made.set_alpn_protocols(["h2"])
    return made
