"""result.json on disk, and the exit code that results have.  contracts.md.

Who runs it: `sandbox run`, `job submit --wait` and `job result`.  Learns: nothing new.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from protocol.errors import BadInput


def exit_code(results: Iterable[dict[str, Any]]) -> int:
    """4 if any failed, else 3 if any was refused, else 0."""
    codes = {"released": 0, "refused": 3}
    return max(codes.get(result["status"], 4) for result in results)


def check_target(path: Path | None) -> None:
    """A result that cannot be written is bad input before the job runs, not after."""
    if path is None:
        return
    if path.is_dir():
        raise BadInput(f"{path}: is a folder", next_step="name a file in it")
    if not os.access(path.absolute().parent, os.W_OK):
        raise BadInput(
            f"{path}: its folder does not exist or cannot be written",
            next_step="make the folder, or name another",
        )


def write_results(path: Path, results: Sequence[dict[str, Any]]) -> None:
    """One object, or a list of them when there were several jobs; all or nothing."""
    found = results[0] if len(results) == 1 else list(results)
    write_text(path, json.dumps(found, ensure_ascii=False, indent=1) + "\n")


def write_text(path: Path, text: str) -> None:
    """Never half a file, even if the process ends in the middle."""
    temporary = path.with_name(path.name + ".part")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)
