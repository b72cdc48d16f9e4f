"""Schemas: every declaration is explained, and the checked-in stubs are what they generate."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.architecture import sources

SCHEMAS = sorted((sources.ROOT / "proto").glob("*.proto"))


@pytest.mark.parametrize("schema", SCHEMAS, ids=sources.name)
def test_every_message_field_and_call_has_a_comment(schema: Path) -> None:
    found = list(sources.statements(schema.read_text("utf-8")))
    assert found, "no declaration found: is the parser blind?"
    bare = [
        f"line {s.line}: {s.kind} {s.owner + '.' if s.owner else ''}{s.name}"
        for s in found
        if len(s.comment) < 4 and s.kind not in ("service", "oneof")
    ]
    assert bare == []


def test_the_parser_sees_what_protobuf_sees() -> None:
    """Names and fields by our reading = by protobuf's own, so that no field escapes."""
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    from google.protobuf import descriptor_pb2

    for schema in SCHEMAS:
        found = list(sources.statements(schema.read_text("utf-8")))
        ours = {(s.owner, s.name) for s in found if s.kind == "field"}
        file = descriptor_pb2.FileDescriptorProto()
        file.ParseFromString(_descriptor(schema))
        assert set(_fields(file.message_type)) == ours


def _fields(messages: Iterable[Any]) -> Iterator[tuple[str, str]]:
    for message in messages:
        if not message.options.map_entry:  # made by protobuf for each map field
            yield from ((message.name, field.name) for field in message.field)
            yield from _fields(message.nested_type)


def _descriptor(schema: Path) -> bytes:
    from google.protobuf import descriptor_pb2

    run = subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-Iproto", "--descriptor_set_out=/dev/stdout",
         schema.name],
        cwd=sources.ROOT, capture_output=True, check=True,
    )  # fmt: skip
    files = descriptor_pb2.FileDescriptorSet()
    files.ParseFromString(run.stdout)
    return files.file[0].SerializeToString()


def test_a_planted_bare_field_is_found() -> None:
    schema = """
// A thing.
message Thing {
  // Explained.
  bytes good = 1;
  repeated bytes bare = 2;
  map<string, bytes> also_bare = 3;
}
message Unexplained {}
"""
    bare = [s.name for s in sources.statements(schema) if not s.comment]
    assert bare == ["bare", "also_bare", "Unexplained"]
    assert [s.owner for s in sources.statements(schema) if s.kind == "field"] == ["Thing"] * 3


def test_stubs_are_up_to_date(tmp_path: Path) -> None:
    """`make proto` would change nothing."""
    pytest.importorskip("grpc_tools", reason="grpcio-tools is not installed")
    subprocess.run(
        [sys.executable, "-m", "grpc_tools.protoc", "-Iprotocol/wire=proto",
         f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}",
         *(f"protocol/wire/{schema.name}" for schema in SCHEMAS)],
        cwd=sources.ROOT, check=True,
    )  # fmt: skip
    made = {path.name: path.read_text("utf-8") for path in (tmp_path / "protocol/wire").iterdir()}
    made = {
        name: text
        for name, text in made.items()
        if not name.endswith("_pb2_grpc.py") or "Stub" in text  # no service: no file
    }
    there = {
        path.name: path.read_text("utf-8")
        for path in sources.STUBS.iterdir()
        if "_pb2" in path.name and path.is_file()
    }
    assert sorted(there) == sorted(made), "run `make proto`"
    stale = [name for name in made if made[name] != there[name]]
    assert stale == [], "run `make proto`"


def test_messages_are_decoded_at_the_edge() -> None:
    """Stubs are imported by codecs, the transport and the two services' own processes.

    Protocol, consent and catalog logic works on its own types, and the front door never
    touches a message.
    """
    edges = ("codec", "service", "client")
    wrong = []
    for path in sources.python_files(sources.PRODUCT):
        module = sources.module_of(path)
        folder, last = module.split(".")[0], module.rpartition(".")[2]
        if folder in ("party_node", "coordinator") or module.startswith("protocol.transport."):
            continue
        if last.endswith(edges) or path.parent == sources.STUBS:
            continue
        used = [
            name
            for _, name, typing_only in sources.imports(sources.tree(path))
            if name.startswith("protocol.wire.") and not typing_only
        ]
        wrong += [f"{module} imports {name}" for name in used]
    assert wrong == []
