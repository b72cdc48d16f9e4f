"""The tests notice when a promise is broken: each break is made in a copy of the checkout.

A test that cannot fail is a defect; this is where those show that guard a security-relevant
line.  The copy is thrown away, the checkout is never touched.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.mutations.breaks import BREAKS, Break

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("protocol", "catalog", "consent", "party_node", "coordinator", "assent", "tests")
FILES = ("pyproject.toml",)
SOME_TESTS_FAILED = 1  # pytest's code; a break that cannot even be imported has another one
SECONDS = 120
pytestmark = pytest.mark.slow


def copy(target: Path) -> Path:
    ignored = shutil.ignore_patterns("__pycache__", "mutations", "journeys", "*.so")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, target / folder, ignore=ignored)
    for file in FILES:
        shutil.copy(ROOT / file, target / file)
    return target


def run(folder: Path, tests: tuple[str, ...]) -> subprocess.CompletedProcess[str]:
    # Nothing of this run's own pytest, its workers or the checkout may reach into the copy.
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTEST", "PYTHON"))}
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "--tb=line",
         "-p", "no:cacheprovider", "-p", "no:xdist", *tests],
        cwd=folder, capture_output=True, text=True, timeout=SECONDS, check=False,
        env=kept | {"PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip


@pytest.mark.parametrize("broken", BREAKS, ids=lambda broken: broken.id)
def test_a_broken_promise_is_noticed(broken: Break, tmp_path: Path) -> None:
    path = copy(tmp_path / "copy") / broken.file
    source = path.read_text("utf-8")
    assert source.count(broken.old) == 1, f"{broken.file} changed: mend the entry in breaks.py"
    path.write_text(source.replace(broken.old, broken.new), "utf-8")
    done = run(tmp_path / "copy", broken.tests)
    said = done.stdout[-2000:] + done.stderr[-500:]
    assert done.returncode == SOME_TESTS_FAILED, f"nobody noticed that {broken.name}\n{said}"


def test_nothing_is_noticed_where_nothing_is_broken(tmp_path: Path) -> None:
    """So the failures above are of the breaks, not of the copy."""
    done = run(copy(tmp_path / "copy"), tuple(sorted({t for b in BREAKS for t in b.tests})))
    assert done.returncode == 0, done.stdout[-2000:]
