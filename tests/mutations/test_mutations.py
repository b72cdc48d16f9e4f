"""The tests notice when a promise is broken: each break is made in a copy of the checkout.

A test that cannot fail is a defect; this is where those show that guard a security-relevant
line.  The copy is thrown away, the checkout is never touched.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.mutations.breaks import BREAKS, Break

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("protocol", "catalog", "consent", "party_node", "coordinator", "assent", "tests")
FILES = ("pyproject.toml",)
SOME_TESTS_FAILED = 1  # pytest's code; a break that cannot even be imported has another one
SECONDS = 120
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One copy for all breaks, each of which is taken back.  Compiled files come along, and are
    made for the rest: to compile everything for each break took longer than its tests."""
    target = tmp_path_factory.mktemp("mutations") / "copy"
    ignored = shutil.ignore_patterns("mutations", "journeys", "*.so")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, target / folder, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, target / file)
    return target


@contextmanager
def made(broken: Break, checkout: Path) -> Iterator[None]:
    """`broken` holds in the copy until the end of the block."""
    path = checkout / broken.file
    compiled = Path(importlib.util.cache_from_source(str(path)))
    source, status = path.read_text("utf-8"), path.stat()
    assert source.count(broken.old) == 1, f"{broken.file} changed: mend the entry in breaks.py"
    try:
        # A compiled file goes by size and whole seconds of its source.
        compiled.unlink(missing_ok=True)
        path.write_text(source.replace(broken.old, broken.new), "utf-8")
        yield
    finally:
        compiled.unlink(missing_ok=True)
        path.write_text(source, "utf-8")
        os.utime(path, (status.st_atime, status.st_mtime))


def run(folder: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    # Nothing of this run's own pytest, its workers or the checkout may reach into the copy.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=line",
         "-p", "no:cacheprovider", "-p", "no:xdist", *tests],
        cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False, env=kept,
    )  # fmt: skip


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.id)
def test_a_broken_promise_is_noticed(broken: Break, checkout: Path) -> None:
    with made(broken, checkout):
        done = run(checkout, broken.tests)
    said = done.stdout[-2000:] + done.stderr[-500:]
    assert done.returncode == SOME_TESTS_FAILED, f"nobody noticed that {broken.name}\n{said}"


def test_nothing_is_noticed_where_nothing_is_broken(checkout: Path) -> None:
    """So the failures above are of the breaks, not of the copy."""
    done = run(checkout, tuple(sorted({t for b in BREAKS for t in b.tests})))
    assert done.returncode == 0, done.stdout[-2000:]
