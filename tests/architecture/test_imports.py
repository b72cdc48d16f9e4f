"""Who may import whom, and what the command line loads before it is asked to do anything."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.architecture import sources

HEAVY = ("numpy", "pyarrow", "duckdb", "grpc", "sqlalchemy", "opendp", "sklearn", "scipy",
         "pydantic", "phonenumbers", "gmpy2")  # fmt: skip


def test_import_contracts_hold() -> None:
    pytest.importorskip("importlinter", reason="import-linter is not installed")
    run = subprocess.run(
        [sys.executable, "-c",
         "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports())"],
        cwd=sources.ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert run.returncode == 0, run.stdout + run.stderr
    assert "0 broken" in run.stdout


def test_help_loads_nothing_heavy() -> None:
    """`assent --help` answers at once because each command imports what it needs itself."""
    code = (
        f"import sys\nimport assent.main\nprint(','.join(m for m in {HEAVY!r} if m in sys.modules))"
    )
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=sources.ROOT, capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == ""
