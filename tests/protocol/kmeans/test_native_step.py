"""Lloyd's step in C beside numpy and a plain loop: equal to the bit, at every size and edge."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from assent import doctor
from protocol.errors import BadInput
from protocol.kmeans import lloyd, native_step
from protocol.kmeans.lloyd import NAMES, VARIABLE, Numpy, arithmetic
from protocol.kmeans.native_step import REACH, Native
from protocol.kmeans.points import Points, Scores
from tests.protocol import sanitized

SOURCES = Path(native_step.__file__).with_name("native")
NATIVE = [
    pytest.param(name, marks=pytest.mark.skipif(Native.load(name) is None, reason="not here"))
    for name in NAMES
    if name != "numpy"
]
BUILT = pytest.mark.skipif(Native.load() is None, reason="the extension is not built")


def plain(points: Points, scores: Scores) -> tuple[list[int], list[int]]:
    """Labels and sums, a number at a time; a Python float rounds after every operation."""
    k, d = scores.slopes.shape
    labels, sums = [], [0] * (k * (1 + d))
    columns = [feature.tolist() for feature in points.features]
    for row in zip(*columns, strict=True):
        moved = [value - middle for value, middle in zip(row, points.middle, strict=True)]
        found = []
        for start, slopes in zip(scores.starts.tolist(), scores.slopes.tolist(), strict=True):
            score = start
            for slope, value in zip(slopes, moved, strict=True):
                score += slope * float(value)
            found.append(score)
        labels.append(found.index(min(found)))
        sums[labels[-1] * (1 + d)] += 1
        for j, value in enumerate(moved):
            sums[labels[-1] * (1 + d) + 1 + j] += value
    return labels, sums


def case(seed: int, n: int, d: int, k: int, reach: int) -> tuple[Points, np.ndarray]:
    """Rows up to reach, some of them equal; centres, the last one equal to the first.

    Every fifth: centres and their mirror images, and rows that lie in the middle of them, so
    that nothing but rounding decides.
    """
    rng = np.random.default_rng(seed)
    middle = rng.integers(-1000, 1000, d)
    raw = rng.integers(-reach, reach, (d, n), endpoint=True) + middle[:, None]
    if n and seed % 3 == 0:
        raw[:] = raw[:, :1]
    centres = rng.integers(-reach, reach, (k, d), endpoint=True) / rng.integers(1, 4)
    centres[-1] = centres[0]
    scale = rng.random((2, d)) if seed % 2 else np.ones((2, d))
    if seed % 5 == 0:
        raw = rng.integers(-reach, reach, n, endpoint=True) + middle[:, None]
        centres = rng.random((k, d)) * reach
        centres[1::2] = centres[: k // 2 * 2 : 2, ::-1]
        scale[:] = rng.random()
    return Points(list(raw), middle.tolist(), *scale, reach), centres


@pytest.mark.parametrize("name", [*NATIVE, "numpy"])
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 1 << 30),
    n=st.one_of(st.integers(0, 20), st.sampled_from([255, 256, 257, 300])),
    d=st.integers(1, 9),
    k=st.integers(1, 9),
    reach=st.sampled_from([0, 1, 3, 5000, 1 << 40, REACH - 1]),
)
def test_equal_to_a_plain_loop(name: str, seed: int, n: int, d: int, k: int, reach: int) -> None:
    points, centres = case(seed, n, d, k, reach)
    scores = Scores.of(centres, points.scale)
    using = arithmetic(name)
    assert using.takes(points)
    labels, sums = plain(points, scores)
    first = n // 3  # not at the beginning of a column
    cut = Points([f[first:] for f in points.features], points.middle, points.unit, points.weight,
                 reach)  # fmt: skip
    assert using.labels(points, scores, 0, n).tolist() == labels
    assert using.labels(points, scores, first, n).tolist() == labels[first:]
    assert using.sums(points, scores, 0, n) == sums
    assert using.sums(points, scores, first, n) == plain(cut, scores)[1]
    near = np.array(labels, dtype=np.int32)
    expected = Numpy().gaps(points, centres, near, first, n)
    assert using.gaps(points, centres, near, first, n).tobytes() == expected.tobytes()
    rows = points.floats(first, n).T
    wanted = (((rows - centres[near[first:]]) * points.scale) ** 2).sum(axis=1)
    assert np.allclose(expected, wanted, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", NATIVE)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_centres_that_are_no_numbers_give_the_same_labels(name: str, bad: float) -> None:
    points, centres = case(5, 40, 3, 5, 9)
    for at in range(5):
        spoilt = centres.copy()
        spoilt[at, 1] = bad
        with np.errstate(invalid="ignore"):
            scores = Scores.of(spoilt, points.scale)
            want = Numpy().labels(points, scores, 0, 40)
        assert want.any() or at == 0
        assert arithmetic(name).labels(points, scores, 0, 40).tolist() == want.tolist()


@pytest.mark.parametrize("name", [*NATIVE, "numpy"])
@pytest.mark.parametrize("reach", [1 << 20, REACH - 1, REACH, 1 << 53])
def test_sums_of_threads_are_exact_also_beyond_64_bits(
    name: str, reach: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many parts, more than there are threads; and what C does not take goes to numpy."""
    monkeypatch.setenv(VARIABLE, name)
    monkeypatch.setattr(lloyd, "LEAST", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2})
    n = 9001
    column = np.full(n, reach)
    column[::2] -= 1
    points = Points([column, -column], [0, 0], np.ones(2), np.ones(2), reach)
    centres = np.array([[-1.0, 1.0], [1.0, -1.0]]) * reach
    made = lloyd.step(points, centres)
    total = n * reach - (n + 1) // 2
    assert (made.counts, made.sums) == ([0, n], [0, 0, total, -total])
    counts, gaps = lloyd.closest(points, centres.astype(np.int64))
    assert counts == [0, n]
    assert gaps.sum() == 2 * ((n + 1) // 2)
    assert lloyd.labels(points, centres).tolist() == [1] * n


@BUILT
def test_the_boundary_refuses_what_would_leave_the_arrays() -> None:
    raw = native_step.extension()
    assert raw is not None
    columns = (np.arange(5), np.arange(5, 10))
    good: dict[str, Any] = {
        "features": columns, "first": 1, "rows": 4, "middle": np.zeros(2, dtype=np.int64),
        "slopes": np.zeros((3, 2)), "starts": np.zeros(3), "labels": np.zeros(4, dtype=np.int32),
        "sums": np.zeros(9, dtype=np.uint64),
    }  # fmt: skip
    sealed = np.zeros(4, dtype=np.int32)
    sealed.flags.writeable = False

    def nearest(**changes: Any) -> None:
        raw.nearest("portable", *(good | changes).values())

    nearest()
    assert good["sums"].tolist() == [4, 10, 30, 0, 0, 0, 0, 0, 0]
    for wrong in (
        {"first": 2}, {"first": -1}, {"rows": 5}, {"rows": -1}, {"first": 1 << 62, "rows": 1 << 62},
        {"features": ()}, {"features": (columns[0], columns[0][:4])},
        {"features": (columns[0], columns[0].astype(np.int32))},
        {"features": (columns[0], np.zeros((5, 1), dtype=np.int64))},
        {"features": (columns[0], np.arange(10)[::2])},
        {"middle": np.zeros(1, dtype=np.int64)}, {"starts": np.zeros(2)}, {"starts": np.zeros(0)},
        {"slopes": np.zeros((3, 3))}, {"slopes": bytes(47)},
        {"labels": np.zeros(3, dtype=np.int32)}, {"sums": np.zeros(8, dtype=np.uint64)},
        {"labels": sealed},
    ):  # fmt: skip
        with pytest.raises((ValueError, BufferError, TypeError)):
            nearest(**wrong)
    with pytest.raises(ValueError, match="engine"):
        raw.nearest("abacus", *good.values())

    found = np.zeros(4)
    shape = (columns, 1, 4, good["middle"], good["slopes"], np.ones(2))
    raw.gaps(*shape, good["labels"], found)
    assert found.tolist() == [1 + 36, 4 + 49, 9 + 64, 16 + 81]
    for labels in ([0, 1, 2, 3], [0, -1, 0, 0], [0, 0, 0]):
        with pytest.raises(ValueError, match="label"):
            raw.gaps(*shape, np.array(labels, dtype=np.int32), found)
    with pytest.raises(ValueError, match="gaps"):
        raw.gaps(*shape, good["labels"], np.zeros(3))
    with pytest.raises(ValueError, match="scale"):
        raw.gaps(*shape[:-1], np.ones(3), good["labels"], found)


def test_what_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    assert arithmetic().name in NAMES
    monkeypatch.setenv(VARIABLE, "numpy")
    assert arithmetic().name == "numpy"
    assert "; k-means: numpy; " in doctor._arithmetic().found
    monkeypatch.setenv(VARIABLE, "abacus")
    with pytest.raises(BadInput, match="no arithmetic"):
        arithmetic()
    assert not doctor._arithmetic().ok
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setattr(native_step, "import_module", Mock(side_effect=ImportError))
    assert arithmetic().name == "numpy"
    with pytest.raises(BadInput, match="not built"):
        arithmetic("portable")


@pytest.mark.slow
def test_the_sanitizers_find_nothing(tmp_path: Path) -> None:
    """native_check.c and the kernel under address and undefined-behaviour sanitizers."""
    program = Path(__file__).with_name("native_check.c")
    sources = [SOURCES / "step.c"]
    engines = sanitized.output(program, sources, tmp_path, "-O1", "-ffp-contract=off").split()
    assert "portable" in engines
    native = Native.load()
    assert native is None or engines == list(native.native.engines())
