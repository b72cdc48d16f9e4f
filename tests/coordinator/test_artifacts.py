"""Artifact files and virtual artifacts (engine rules 9 and 10)."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from coordinator.artifacts import ArtifactFiles, FileReader, VirtualReader
from protocol.errors import AssentError
from tests.coordinator.engine_world import HEAD


def _virtual(folder: Path, rows: int, width: int, index: list[int], head: bytes) -> VirtualReader:
    body = np.random.default_rng(rows).integers(0, 256, (rows, width), dtype=np.uint8)
    (folder / "base").write_bytes(HEAD + body.tobytes())
    np.array(index, dtype="<i8").tofile(folder / "index")
    return VirtualReader(folder / "base", folder / "index", width, head)


@settings(
    max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(data=st.data())
def test_a_virtual_artifact_reads_as_its_copy_would(tmp_path: Path, data: st.DataObject) -> None:
    """Any range of any layout equals the same range of the copied bytes."""
    rows, width = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 17))
    index = data.draw(st.lists(st.integers(0, rows - 1), max_size=60))
    head = data.draw(st.binary(max_size=20))
    reader = _virtual(tmp_path, rows, width, index, head)
    body = np.frombuffer((tmp_path / "base").read_bytes()[len(HEAD) :], dtype=np.uint8)
    copy = head + body.reshape(rows, width)[index].tobytes()
    assert reader.size == len(copy)
    assert reader.digest() == hashlib.sha256(copy).digest()
    for _ in range(5):
        offset = data.draw(st.integers(0, len(copy) + 3))
        length = data.draw(st.integers(0, len(copy) + 3))
        assert reader.read(offset, length) == copy[offset : offset + length]


@pytest.mark.parametrize("index", [[-1], [3], [0, 1, 99]])
def test_an_index_outside_its_base_is_refused(tmp_path: Path, index: list[int]) -> None:
    with pytest.raises(AssentError, match="outside"):
        _virtual(tmp_path, 3, 4, index, b"")


def test_a_body_that_is_no_whole_rows_is_refused(tmp_path: Path) -> None:
    (tmp_path / "base").write_bytes(HEAD + b"12345")
    (tmp_path / "index").write_bytes(b"")
    with pytest.raises(AssentError, match="no rows of 4"):
        VirtualReader(tmp_path / "base", tmp_path / "index", 4, b"")


@pytest.mark.parametrize("base", [b"", b"AST1", b"XXXX\0\0\0\0", b"AST1\xff\xff\xff\xff"])
def test_a_base_without_a_frame_is_refused(tmp_path: Path, base: bytes) -> None:
    (tmp_path / "base").write_bytes(base)
    (tmp_path / "index").write_bytes(b"")
    with pytest.raises(AssentError):
        VirtualReader(tmp_path / "base", tmp_path / "index", 4, b"")


def test_an_upload_resumes_after_a_restart(tmp_path: Path) -> None:
    data = b"0123456789" * 1000
    digest = hashlib.sha256(data).digest()
    first = ArtifactFiles(tmp_path)
    first.append("job", "a", 0, data[:4000], "s")
    again = ArtifactFiles(tmp_path)
    assert again.received("job", "a") == 4000
    with pytest.raises(AssentError) as caught:
        again.append("job", "a", 3000, data[3000:], "s")
    assert caught.value.info.code == "upload_interrupted"
    again.append("job", "a", 4000, data[4000:], "s")
    again.finish("job", "a", digest, len(data), "s")
    again.finish("job", "a", digest, len(data), "s")
    assert FileReader(again.path("job", "a")).read(0, 20_000) == data


def test_an_upload_with_other_bytes_starts_over(tmp_path: Path) -> None:
    files = ArtifactFiles(tmp_path)
    files.append("job", "a", 0, b"wrong", "s")
    with pytest.raises(AssentError) as caught:
        files.finish("job", "a", hashlib.sha256(b"right").digest(), 5, "s")
    assert caught.value.info.code == "upload_interrupted"
    assert files.received("job", "a") == 0
    files.append("job", "a", 0, b"right", "s")
    files.finish("job", "a", hashlib.sha256(b"right").digest(), 5, "s")


def test_an_empty_output(tmp_path: Path) -> None:
    files = ArtifactFiles(tmp_path)
    files.finish("job", "a", hashlib.sha256(b"").digest(), 0, "s")
    assert files.path("job", "a").read_bytes() == b""


def test_a_deleted_job_leaves_its_readers_their_file(tmp_path: Path) -> None:
    files = ArtifactFiles(tmp_path)
    files.append("job", "a", 0, b"bytes", "s")
    files.finish("job", "a", hashlib.sha256(b"bytes").digest(), 5, "s")
    reader = FileReader(files.path("job", "a"))
    files.delete_job("job")
    assert files.stored_jobs() == []
    assert reader.read(0, 10) == b"bytes"
    reader.close()
