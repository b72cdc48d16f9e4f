"""Rules that every source file keeps; each check is shown to find a planted breach."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture import sources

LONGEST = 400


@pytest.mark.parametrize("path", sources.written_files(), ids=sources.name)
def test_a_file_fits_in_a_sitting(path: Path) -> None:
    lines = len(path.read_text("utf-8").splitlines())
    assert lines <= LONGEST, f"{sources.name(path)} has {lines} lines, at most {LONGEST}"


@pytest.mark.parametrize("path", sources.python_files(), ids=sources.name)
def test_every_module_says_what_it_is(path: Path) -> None:
    if path.name == "__init__.py" and not path.read_text("utf-8").strip():
        return  # an empty package marker has nothing to say
    assert ast.get_docstring(sources.tree(path)), f"{sources.name(path)} has no docstring"


# -- things that may not be there ------------------------------------------------------------

FORBIDDEN_IMPORTS = {
    "pickle": "a message or file that is unpickled runs code",
    "_pickle": "a message or file that is unpickled runs code",
    "cPickle": "a message or file that is unpickled runs code",
    "dill": "a message or file that is unpickled runs code",
    "cloudpickle": "a message or file that is unpickled runs code",
    "joblib": "its files are pickles",
    "marshal": "crashes on crafted input",
    "shelve": "its files are pickles",
    "yaml": "YAML 1.1 reads `on:` as true; use catalog.yaml",
}
FORBIDDEN_CALLS = {
    "eval": "runs text as code",
    "exec": "runs text as code",
    "compile": "runs text as code",
    "insecure_channel": "every network channel is pinned mutual TLS",
    "add_insecure_port": "every network port is pinned mutual TLS",
    "insecure_channel_credentials": "every network channel is pinned mutual TLS",
    "insecure_server_credentials": "every network port is pinned mutual TLS",
    "_create_unverified_context": "every certificate is checked against the pinned ones",
    "system": "os.system runs a shell",
}
FORBIDDEN_ARGUMENTS = {
    ("allow_pickle", "True"): "loads pickles",
    ("shell", "True"): "runs a shell",
    ("verify", "False"): "skips a check",
    ("verify_signature", "False"): "skips a check",
}


def breaches(module: ast.Module) -> Iterator[str]:
    """Line and reason of everything forbidden in `module`."""
    for line, imported, _ in sources.imports(module):
        for word, reason in FORBIDDEN_IMPORTS.items():
            if imported == word or imported.startswith(word + "."):
                yield f"line {line}: import of {word}: {reason}"
    for call, called in sources.calls(module):
        owner, _, last = called.rpartition(".")
        reason = FORBIDDEN_CALLS.get(last, "")
        # `re.compile` and `kernel.exec` are other things than the builtins.
        if last in ("eval", "exec", "compile") and owner not in ("", "builtins"):
            reason = ""
        if last == "system" and owner != "os":
            reason = ""
        if reason:
            yield f"line {call.lineno}: {called}(…): {reason}"
        for keyword in call.keywords:
            why = FORBIDDEN_ARGUMENTS.get((keyword.arg or "", ast.unparse(keyword.value)))
            if why:
                yield f"line {call.lineno}: {keyword.arg}={ast.unparse(keyword.value)}: {why}"
        for argument in [*call.args, *(k.value for k in call.keywords)]:
            if ast.unparse(argument) in FORBIDDEN_CALLS and "insecure" in ast.unparse(argument):
                yield f"line {call.lineno}: passes {ast.unparse(argument)}"
    for node in ast.walk(module):
        if isinstance(node, ast.ExceptHandler) and node.type is None:
            yield f"line {node.lineno}: bare except"


@pytest.mark.parametrize("path", sources.python_files(sources.PRODUCT), ids=sources.name)
def test_nothing_forbidden_is_used(path: Path) -> None:
    assert list(breaches(sources.tree(path))) == []


@pytest.mark.parametrize(
    "planted",
    [
        "import pickle",
        "from pickle import loads",
        "def f():\n    import joblib",
        "import yaml",
        "eval('1')",
        "exec('x = 1')",
        "import builtins\nbuiltins.eval('1')",
        "import grpc\ngrpc.insecure_channel('a:1')",
        "import grpc\ngrpc.aio.insecure_channel('a:1')",
        "server.add_insecure_port('[::]:1')",
        "import numpy\nnumpy.load('x', allow_pickle=True)",
        "import subprocess\nsubprocess.run('x', shell=True)",
        "try:\n    pass\nexcept:\n    pass",
    ],
)
def test_planted_breaches_are_found(planted: str) -> None:
    assert list(breaches(ast.parse(planted))) != []


@pytest.mark.parametrize(
    "innocent",
    ["import re\nre.compile('x')", "from catalog import yaml", "grpc.local_channel_credentials()"],
)
def test_lookalikes_are_left_alone(innocent: str) -> None:
    assert list(breaches(ast.parse(innocent))) == []


# -- gates that cannot be skipped ------------------------------------------------------------

# Who may import the only reader of raw rows: the gate and the composition root, which is
# party_node.main over sockets and party_node.node for both it and the in-memory world.
# The sandbox checks files before any process starts, and takes that one function only.
MAY_READ_ROWS = {
    "party_node.main": None,
    "party_node.node": None,
    "party_node.consent_gate": None,
    "party_node.gates": None,
    "assent.sandbox": {"party_node.dataset.check_party_files"},
}


def makes_eligible_rows(module: ast.Module) -> list[int]:
    """Lines that construct EligibleRows, under whatever name it was imported."""
    names = {"EligibleRows"}
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom):
            names |= {a.asname for a in node.names if a.name == "EligibleRows" and a.asname}
    return [call.lineno for call, called in sources.calls(module) if called.split(".")[-1] in names]


def reads_rows(module: ast.Module) -> set[str]:
    """What is imported from party_node.dataset, type annotations aside."""
    found = {name for _, name, typing_only in sources.imports(module) if not typing_only}
    return {x for x in found if x == "party_node.dataset" or x.startswith("party_node.dataset.")}


@pytest.mark.parametrize("path", sources.python_files(sources.PRODUCT), ids=sources.name)
def test_eligible_rows_are_made_behind_the_gate_only(path: Path) -> None:
    if sources.module_of(path).split(".")[0] != "party_node":
        assert makes_eligible_rows(sources.tree(path)) == []


@pytest.mark.parametrize("path", sources.python_files(sources.PRODUCT), ids=sources.name)
def test_raw_rows_are_read_by_the_gate_and_the_composition_root_only(path: Path) -> None:
    module = sources.module_of(path)
    if module == "party_node.dataset" or module.startswith("party_node.dataset_"):
        return
    read = reads_rows(sources.tree(path))
    if module in MAY_READ_ROWS:
        allowed = MAY_READ_ROWS[module]
        assert allowed is None or read <= allowed, f"{module} imports {read - allowed}"
    else:
        assert read == set(), f"{module} imports {read}"


@pytest.mark.parametrize("path", sources.python_files(sources.PRODUCT), ids=sources.name)
def test_the_gate_alone_takes_rows_out_of_the_table(path: Path) -> None:
    # `admission.admitted_rows` reads the rows that passed; nobody else asks the table for any.
    if sources.module_of(path) in ("party_node.admission", "party_node.dataset"):
        return
    taken = {"eligible_rows", "identifiers", "labels", "number"}
    for call, called in sources.calls(sources.tree(path)):
        owner, _, name = called.rpartition(".")
        assert not (owner.endswith("dataset") and name in taken), f"{path.name}:{call.lineno}"


def test_planted_shortcuts_around_the_gate_are_found() -> None:
    alias = "from protocol.rows import EligibleRows as Rows\nRows(index=i, identifiers={})"
    assert makes_eligible_rows(ast.parse(alias)) == [2]
    assert makes_eligible_rows(ast.parse("import protocol.rows as r\nr.EligibleRows(i, {})")) == [2]
    assert reads_rows(ast.parse("from party_node import dataset")) == {"party_node.dataset"}
    assert reads_rows(ast.parse("def f():\n    from party_node.dataset import Dataset"))
    hidden = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import party_node.dataset"
    assert reads_rows(ast.parse(hidden)) == set()
