"""A job's secrets: sealed at rest, bound to their place, gone after the wipe."""

import os

import numpy as np
import pytest

from party_node.vault import Vault
from protocol.errors import Failed
from protocol.secret import Secret


def vault(path, job="job", attempt=1, key=b"k" * 32):
    return Vault(path / job, Secret(key), job, attempt)


def test_values_and_arrays_come_back(tmp_path):
    mine = vault(tmp_path)
    mine.put("k", b"secret-bytes")
    mine.put_array("rows", np.arange(5))
    assert mine.get("k") == b"secret-bytes"
    assert mine.get_array("rows").tolist() == [0, 1, 2, 3, 4]
    stored = b"".join(p.read_bytes() for p in (tmp_path / "job").iterdir())
    assert b"secret-bytes" not in stored
    assert {p.stat().st_mode & 0o777 for p in (tmp_path / "job").iterdir()} == {0o600}


def test_a_secret_moved_to_another_place_does_not_open(tmp_path):
    vault(tmp_path).put("k", b"x")
    (tmp_path / "job" / "1-k").rename(tmp_path / "job" / "2-k")
    for other in (vault(tmp_path, attempt=2), vault(tmp_path, key=os.urandom(32))):
        with pytest.raises(Failed) as caught:
            other.get("k")
        assert caught.value.info.code == "session_lost"


def test_wipe_leaves_nothing(tmp_path):
    mine = vault(tmp_path)
    mine.put("k", b"x")
    mine.wipe()
    assert not (tmp_path / "job").exists()
    mine.wipe()
    assert not mine.has("k")
