"""Where a node listens: an address that fits, whatever its folders are called."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from party_node.control_client import socket_path


def test_an_address_fits_however_long_the_folders_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    deep = tmp_path / ("d" * 60) / ("é" * 40)
    monkeypatch.setattr(tempfile, "tempdir", "/tmp/x")
    assert socket_path(deep).parent == Path(f"/tmp/x/assent-{os.getuid()}")
    monkeypatch.setattr(tempfile, "tempdir", str(deep))
    found = socket_path(deep)
    assert found.parent == Path(f"/tmp/assent-{os.getuid()}")
    assert found != socket_path(deep / "another")
    assert len(os.fsencode(found)) < 108
