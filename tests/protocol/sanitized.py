"""A kernel's C files in a plain program under address and undefined-behaviour sanitizers."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest


def output(program: Path, sources: Sequence[Path], build: Path, *more: str, said: str = "") -> str:
    """What `program` (a C file) prints, built into `build` with `sources` beside it.

    Headers are looked for beside the sources.  more: the compiler's other options.  said: its
    standard input.  Skips the test without a compiler that has sanitizers; a finding fails it.
    """
    names = (os.environ.get("CC", "cc"), "gcc", "clang")
    compiler = next((found for name in names if (found := shutil.which(name))), None)
    if compiler is None:
        pytest.skip("no C compiler")
    made = build / "sanitized"
    built = subprocess.run(
        [compiler, "-g1", "-std=gnu11", "-Wall", "-Wextra", "-Werror", *more,
         f"-I{sources[0].parent}", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
         "-o", made, program, *sources],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    missing = ("libasan", "libubsan", "libclang_rt")
    if built.returncode and any(library in built.stderr for library in missing):
        pytest.skip("the compiler has no sanitizer libraries")
    assert built.returncode == 0, built.stderr
    ran = subprocess.run(
        [made], input=said, capture_output=True, text=True, timeout=200, check=False
    )
    assert (ran.returncode, ran.stderr) == (0, ""), ran.stdout + ran.stderr[-4000:]
    return ran.stdout
