"""H's join: shapes, cheats' tokens, parts, and the order of uploads."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ProtocolViolation
from protocol.psi import join
from protocol.psi.join import join_all, refuse_duplicates, waterfall
from tests.protocol.psi.parties import random_tokens

Sides = tuple[list[list[int]], int]


@st.composite
def few_values(draw: st.DrawFn) -> Sides:
    """Token numbers per side, unique within a side and type, out of few."""
    types = draw(st.integers(1, 3))
    sides = []
    for _ in range(draw(st.integers(2, 4))):
        n = draw(st.integers(0, 9))
        columns = [draw(st.permutations(range(12)))[:n] for _ in range(types)]
        sides.append([list(row) for row in zip(*columns, strict=True)])
    return sides, types  # type: ignore[return-value]


def spread(number: int) -> bytes:
    return (number * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big") + number.to_bytes(8, "big")


def one_prefix(number: int) -> bytes:
    """A cheat's tokens: the words that decide the order are all equal."""
    return b"\x5a" * 8 + number.to_bytes(8, "big")


def three_prefixes(number: int) -> bytes:
    return bytes([number % 3]) * 8 + number.to_bytes(8, "big")


def tokens(rows: list[list[int]], types: int, make: Callable[[int], bytes]) -> np.ndarray:
    data = b"".join(make(v) for row in rows for v in row)
    return np.frombuffer(data, np.uint8).reshape(len(rows), types * 16)


def plain_pairs(left: list[list[int]], right: list[list[int]], types: int) -> list[int]:
    out, taken = [-1] * len(right), set()
    for t in range(types):
        for j, row in enumerate(right):
            for i, other in enumerate(left):
                if other[t] == row[t] and out[j] < 0 and i not in taken:
                    out[j] = i
                    taken.add(i)
    return out


MAKERS = [spread, one_prefix, three_prefixes]


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=80, deadline=None)
@given(few_values(), st.sampled_from([1 << 24, 4, 1]))
def test_pairs_equal_the_nested_loop(make: Callable[[int], bytes], sides: Sides, part: int) -> None:
    """Whatever the tokens' prefixes, and however the keys are parted."""
    (left, right, *_), types = sides
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "_PART", part)
        patch.setattr(join, "_BLOCK", 3)
        found = waterfall(tokens(left, types, make), tokens(right, types, make), types, 16)
    assert found.tolist() == plain_pairs(left, right, types)


@pytest.mark.parametrize("make", MAKERS)
@settings(max_examples=60, deadline=None)
@given(few_values(), st.sampled_from([1 << 24, 4]))
def test_all_parties_equal_the_sets(make: Callable[[int], bytes], sides: Sides, part: int) -> None:
    rows, types = sides
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(join, "_PART", part)
        masks = join_all([tokens(r, types, make) for r in rows], types, 16)
    matched: list[set[int]] = [set() for _ in rows]
    for t in range(types):
        for value in range(12):
            at = [[i for i, row in enumerate(r) if row[t] == value] for r in rows]
            if all(len(a) == 1 and a[0] not in m for a, m in zip(at, matched, strict=True)):
                for a, m in zip(at, matched, strict=True):
                    m.add(a[0])
    assert [set(np.flatnonzero(m).tolist()) for m in masks] == matched


def test_two_parties_joined_either_way_agree() -> None:
    left, right = random_tokens(500, 2), random_tokens(700, 2)
    right[:200, :16] = left[100:300, :16]
    right[150:350, 16:] = left[200:400, 16:]
    pairing = waterfall(left, right, 2, 16)
    masks = join_all([left, right], 2, 16)
    assert (masks[1] == (pairing >= 0)).all()
    assert np.flatnonzero(masks[0]).tolist() == sorted(pairing[pairing >= 0].tolist())


@pytest.mark.parametrize("side", [0, 1])
@pytest.mark.parametrize("third", [False, True])
@pytest.mark.parametrize("position", [0, 1])
def test_a_token_twice_in_one_upload_is_refused(side: int, third: bool, position: int) -> None:
    uploads = [random_tokens(50, 2), random_tokens(60, 2)]
    column = slice(16 * position, 16 * position + 16)
    uploads[side][7, column] = uploads[side][33, column]
    if third:  # the other side holds it too: the run is three long
        uploads[1 - side][20, column] = uploads[side][7, column]
    with pytest.raises(ProtocolViolation) as caught:
        waterfall(uploads[0], uploads[1], 2, 16)
    assert caught.value.info.code == "duplicate_token"
    assert f"upload {side + 1} of 2" in caught.value.info.cause
    with pytest.raises(ProtocolViolation):
        join_all([random_tokens(9, 2), *uploads], 2, 16)


def test_a_duplicate_behind_equal_prefixes_is_found() -> None:
    rows = tokens([[i] for i in range(40)], 1, one_prefix).copy()
    rows[3] = rows[30]
    with pytest.raises(ProtocolViolation, match="twice"):
        waterfall(rows, random_tokens(5, 1), 1, 16)


def test_the_same_token_under_two_types_is_no_duplicate() -> None:
    left = random_tokens(5, 2)
    left[0, 16:] = left[1, :16]
    assert (waterfall(left, random_tokens(5, 2), 2, 16) == -1).all()


def test_points_join_by_all_their_bytes() -> None:
    left, right = random_tokens(30, 1, 32), random_tokens(30, 1, 32)
    right[4] = left[9]
    right[5] = left[10]
    right[5, 31] ^= 1  # equal but for the last byte
    assert waterfall(left, right, 1, 32).tolist() == [-1] * 4 + [9] + [-1] * 25


def test_uploads_of_another_shape_are_refused() -> None:
    with pytest.raises(ProtocolViolation, match="another width"):
        waterfall(random_tokens(4, 2), random_tokens(4, 1), 2, 16)
    with pytest.raises(ValueError, match="two uploads"):
        join_all([random_tokens(4, 1)], 1, 16)


def test_duplicates_across_types_of_a_batch() -> None:
    batch = random_tokens(20, 2, 32)
    refuse_duplicates(batch, 2, 32, "duplicate_point")
    batch[3, 32:] = batch[17, :32]
    with pytest.raises(ProtocolViolation) as caught:
        refuse_duplicates(batch, 2, 32, "duplicate_point")
    assert caught.value.info.code == "duplicate_point"


def test_uploads_may_be_read_only_maps(tmp_path) -> None:  # type: ignore[no-untyped-def]
    left, right = random_tokens(1000, 2), random_tokens(900, 2)
    right[:300] = left[500:800]
    maps = []
    for name, array in (("l", left), ("r", right)):
        array.tofile(tmp_path / name)
        maps.append(np.memmap(tmp_path / name, np.uint8, "r", shape=array.shape))
    found = waterfall(maps[0], maps[1], 2, 16)
    assert found[:300].tolist() == list(range(500, 800))
    assert (found[300:] == -1).all()


@pytest.mark.slow
def test_memory_grows_by_under_200_bytes_per_handle() -> None:
    """Ten million tokens per party in under 4 GB, as a slope: mapped files are counted too."""
    peak = {}
    for n in (200_000, 2_000_000):
        done = subprocess.run(
            [sys.executable, "-m", "bench.psi_bench", "--part", "join", str(n)],
            cwd=Path(join.__file__).parents[2],
            stdout=subprocess.PIPE,
            check=True,
        )
        (peak[n],) = [r["value"] for r in json.loads(done.stdout) if r["unit"] == "MB"]
    assert peak[2_000_000] > peak[200_000]
    assert (peak[2_000_000] - peak[200_000]) * 2**20 / (2 * 1_800_000) < 200
