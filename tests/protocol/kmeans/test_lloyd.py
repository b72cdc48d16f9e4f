"""A Lloyd step in chunks beside the plainest one there is."""

from __future__ import annotations

import numpy as np
import pytest

from protocol.kmeans import lloyd
from protocol.kmeans.points import Points


@pytest.mark.parametrize("name", ["", "numpy"])
@pytest.mark.parametrize("people", [0, 1, 99, 100, 1_234])
def test_chunks_give_what_a_plain_loop_gives(
    people: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(lloyd.VARIABLE, name)
    monkeypatch.setattr(lloyd, "CHUNK", 32)
    monkeypatch.setattr(lloyd, "LEAST", 100)
    rng = np.random.default_rng(people)
    raw = rng.integers(0, 50, (people, 3))  # coarse: many ties
    unit, weight = np.array([1.0, 0.5, 0.1]), np.array([1.0, 4.0, 1.0])
    points = Points(list(raw.T), [25, 25, 25], unit, weight, 25)
    centres = rng.integers(-25, 25, (4, 3)).astype(float)
    centres[3] = centres[0]  # never chosen: a tie goes to the first
    gaps = [
        [float(sum(weight * (unit * (row - 25 - centre)) ** 2)) for centre in centres]
        for row in raw
    ]
    want = [min(range(4), key=lambda c: (round(one[c], 6), c)) for one in gaps]

    assert lloyd.labels(points, centres).tolist() == want
    made = lloyd.step(points, centres)
    assert made.counts == [want.count(c) for c in range(4)]
    sums = np.zeros((4, 3), dtype=np.int64)
    for row, c in zip(raw - 25, want, strict=True):
        sums[c] += row
    assert made.sums == sums.ravel().tolist()
    counts, found = lloyd.closest(points, centres)
    assert counts == made.counts
    assert found == pytest.approx([one[c] for one, c in zip(gaps, want, strict=True)])
