"""What the architecture tests look at: the files of the checkout, parsed."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("protocol", "catalog", "consent", "party_node", "coordinator", "assent")
CODE = (*PRODUCT, "tests", "bench")
STUBS = ROOT / "protocol" / "wire"


def name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def python_files(folders: tuple[str, ...] = CODE) -> list[Path]:
    """Every hand-written Python file of `folders`."""
    return sorted(
        path
        for folder in folders
        for path in (ROOT / folder).rglob("*.py")
        if not (path.parent == STUBS and "_pb2" in path.name)
    )


def written_files() -> list[Path]:
    """Python, pages, styles and schemas: everything that a person writes and reads as code."""
    more = [p for f in CODE for end in ("html", "css") for p in (ROOT / f).rglob(f"*.{end}")]
    return [*python_files(), *sorted(more), *sorted((ROOT / "proto").glob("*.proto"))]


def documents() -> list[Path]:
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(module: ast.Module) -> Iterator[tuple[int, str, bool]]:
    """(line, dotted name, for type checking only) of every import, inside functions too."""
    typing_only = {
        id(inner)
        for node in ast.walk(module)
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
        for inner in ast.walk(node)
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name, id(node) in typing_only
        elif isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                yield node.lineno, f"{node.module}.{alias.name}", id(node) in typing_only


def calls(module: ast.Module) -> Iterator[tuple[ast.Call, str]]:
    """Every call and the name that is called, dotted as written."""
    for node in ast.walk(module):
        if isinstance(node, ast.Call):
            yield node, ast.unparse(node.func)


# -- schemas -----------------------------------------------------------------------------

_STATEMENT = re.compile(
    r"^(?P<kind>message|enum|service|oneof)\s+(?P<name>\w+)\s*\{"
    r"|^rpc\s+(?P<rpc>\w+)\s*\("
    r"|^(?:(?:repeated|optional)\s+)?(?:map\s*<[^>]+>|[\w.]+)\s+(?P<field>\w+)\s*=\s*\d+"
    r"|^(?P<value>[A-Z][A-Z0-9_]*)\s*=\s*\d+"
)


@dataclass(frozen=True)
class Statement:
    """A declaration of a schema; `owner` is the message, enum or service around it."""

    kind: str
    name: str
    owner: str
    line: int
    comment: str


def statements(schema: str) -> Iterator[Statement]:
    """Every declaration of a .proto text with the comment right above it."""
    comment: list[str] = []
    owners: list[str] = []
    for number, raw in enumerate(schema.splitlines(), start=1):
        line = raw.strip()
        if line.startswith("//"):
            comment.append(line.removeprefix("//").strip())
            continue
        code = re.sub(r"//.*$", "", line).strip()
        found = _STATEMENT.match(code)
        if found:
            kind = found["kind"] or next(
                word for word in ("rpc", "value", "field") if found[word] is not None
            )
            label = found["name"] or found["rpc"] or found["value"] or found["field"]
            yield Statement(kind, label, owners[-1] if owners else "", number, " ".join(comment))
            if kind == "oneof":
                label = owners[-1]  # protobuf, too, counts its fields as the message's own
            if (kind in ("message", "enum", "service", "oneof") and "}" not in code) or (
                kind == "rpc" and code.endswith("{")
            ):
                owners.append(label)
        elif code == "}":
            owners.pop()
        elif code.endswith("{"):
            owners.append(code)
        comment = []
