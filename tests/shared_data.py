"""Public data sets that lie beside the checkout, where there are some: `shared/data`."""

from __future__ import annotations

from pathlib import Path

import pytest


def shared(name: str) -> Path:
    """The file `name`, looked for upwards from here; the test is skipped where it is absent."""
    for folder in Path(__file__).resolve().parents:
        found = folder / "shared" / "data" / name
        if found.exists():
            return found
    pytest.skip(f"shared/data/{name} is not here")
