"""Every gRPC method of the schemas, and messages that no honest caller sends.

`MARK` is in most of what is sent; no line of a log may have it afterwards.
"""

from __future__ import annotations

import importlib
import pkgutil
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import FieldDescriptor

from protocol import wire

MARK = "mark-Zq7x"


@dataclass(frozen=True)
class Method:
    """path: as on the wire.  kind: of message it takes."""

    path: str
    kind: Any
    streams_in: bool
    streams_out: bool


def _methods() -> dict[str, Method]:
    """`Service/Method` → method, of everything that protoc compiled."""
    found = {}
    for module in pkgutil.iter_modules(wire.__path__):
        if not module.name.endswith("_pb2"):
            continue
        file = importlib.import_module(f"{wire.__name__}.{module.name}").DESCRIPTOR
        for service in file.services_by_name.values():
            for one in service.methods:
                found[f"{service.name}/{one.name}"] = Method(
                    f"/{service.full_name}/{one.name}",
                    message_factory.GetMessageClass(one.input_type),
                    one.client_streaming,
                    one.server_streaming,
                )
    return found


METHODS = _methods()

TEXTS = (
    "", MARK, f"é\x00{MARK}", f"../../{MARK}", MARK * 2_000, "[" * 50_000, "*", "retailer", "ann",
    "bob", f"'; DROP TABLE {MARK}; --", f"rows/{MARK}", "0" * 32, "1" * 32, "2026-13-45",
)  # fmt: skip
BYTES = (
    b"", MARK.encode(), b"\xff" * 31, b"\x00" * 32, MARK.encode() * 2_000, b"[" * 60_000,
    b'{"x":' * 3_000, f'{{"{MARK}":1.5}}'.encode(), f'["{MARK}"]'.encode(), b"{}", b"null",
    b"r" * 16, b"r" * 32, b"PAR1" + MARK.encode() + b"PAR1", f"email,at\n{MARK},{MARK}\n".encode(),
    b'{"v":1e999}', b"9" * 5_000,
)  # fmt: skip
DOUBLES = (float("nan"), float("inf"), float("-inf"), -1.0, 1e308, 5e-324)
_WHOLE = {
    FieldDescriptor.CPPTYPE_UINT32: (0, 1, 2**31, 2**32 - 1),
    FieldDescriptor.CPPTYPE_UINT64: (0, 1, 2**40, 2**63 - 1, 2**63, 2**64 - 1),
    FieldDescriptor.CPPTYPE_INT32: (0, 1, -1, 2**31 - 1, -(2**31)),
    FieldDescriptor.CPPTYPE_INT64: (0, 1, -1, 2**48 - 1, 2**63 - 1, -(2**63)),
    FieldDescriptor.CPPTYPE_BOOL: (True, False),
    FieldDescriptor.CPPTYPE_DOUBLE: DOUBLES,
}


def altered(rng: random.Random, message: Any) -> Any:
    """`message` with one to three fields, of whatever depth, changed for the worse."""
    made = type(message)()
    made.CopyFrom(message)
    for _ in range(rng.randint(1, 3)):
        _alter(rng, made)
    return made


def _alter(rng: random.Random, message: Any) -> None:
    fields = list(message.DESCRIPTOR.fields)
    if not fields:
        return
    field = rng.choice(fields)
    kind, name = field.message_type, field.name
    if rng.random() < 0.1:
        message.ClearField(name)
    elif field.is_repeated and kind is not None and kind.GetOptions().map_entry:
        getattr(message, name)[rng.choice(TEXTS)] = rng.choice(BYTES)
    elif field.is_repeated:
        items = getattr(message, name)
        if kind is None:
            items.extend([_scalar(rng, field)] * rng.choice([1, 2, 20]))
        else:
            for _ in range(rng.choice([1, 2, 3_000])):
                items.add()
        if kind is not None:
            _alter(rng, items[rng.randrange(len(items))])
    elif kind is not None:
        getattr(message, name).SetInParent()
        _alter(rng, getattr(message, name))
    else:
        setattr(message, name, _scalar(rng, field))


def _scalar(rng: random.Random, field: FieldDescriptor) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return rng.choice(TEXTS)
    if field.type == FieldDescriptor.TYPE_BYTES:
        return rng.choice((*BYTES, rng.randbytes(16)))
    return rng.choice(_WHOLE[field.cpp_type])


def bent(rng: random.Random, data: bytes) -> bytes:
    """`data` cut, with something put into it, or with bytes exchanged."""
    place = rng.randrange(len(data) + 1)
    return rng.choice([
        data[:place], data[:place] + MARK.encode() + data[place:],
        data[:place] + rng.randbytes(3) + data[place + 3 :], data[:place] + data[place + 1 :],
    ])  # fmt: skip


def noise(rng: random.Random) -> Iterator[bytes]:
    """Bytes that were never a message."""
    for size in (1, 2, 7, 40, 300):
        yield rng.randbytes(size)
    yield MARK.encode()
    yield b"\xff" * 100
    yield b"\x0a\xff\xff\xff\xff\x0f" + MARK.encode()  # a length of 4 GiB
    yield b"\x0b" * 5_000  # groups in groups
