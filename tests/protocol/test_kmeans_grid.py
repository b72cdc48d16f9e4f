"""k-means on a grid of local cells, the pure core: against pooled k-means, and its noise."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import datasets
from sklearn.cluster import KMeans

from protocol.crosstab.spec import CrosstabSpec
from protocol.crosstab.totals import NoisyTotals
from protocol.errors import Refused
from protocol.kmeans import grid as grid_module
from protocol.kmeans import local_cells as cells_module
from protocol.kmeans.grid import NOBODY, Question, Side, axes, segment, split_budget, with_own_noise
from protocol.kmeans.grid_points import moved
from protocol.kmeans.local_cells import UNIT, CellsPlan, local_cells
from protocol.release.noise import NoNoise, draw
from protocol.secure_sum.model import NumberScale

DECIMALS = 4


class QuickNoise:
    """Rounded seeded Gaussians: a test of accuracy needs the size of the noise, not its proof."""

    def __init__(self, seed):
        self.random = np.random.default_rng(seed)
        self.drawn = []

    def sample(self, scale, n):
        values = np.rint(self.random.normal(0, scale.sigma, n)).astype(np.int64)
        self.drawn.append((scale, values))
        return values


def standardised(x):
    return (x - x.mean(axis=0)) / x.std(axis=0)


def correlated(n, d, k, seed):
    """Groups that are stretched along directions which cross both parties' features."""
    random = np.random.default_rng(seed)
    mixed = random.normal(size=(d, d)) / d**0.5
    return (
        random.normal(0, 4, (k, d))[random.integers(0, k, n)] + random.normal(size=(n, d)) @ mixed
    )


def cloud(n, d, seed):
    """No groups at all, and every feature goes with all of the others."""
    random = np.random.default_rng(seed)
    return random.normal(size=(n, d)) @ (random.normal(size=(d, d)) / d**0.5)


def side(x, cells, rho_nano, min_cohort, noise, zscore=False):
    """One party's cells of its columns."""
    fixed = np.rint(x * 10**DECIMALS).astype(np.int64)
    scales = tuple(
        NumberScale(str(j), int(column.min()), int(column.max()), DECIMALS)
        for j, column in enumerate(fixed.T)
    )
    plan = CellsPlan(scales, cells, rho_nano, min_cohort, zscore)
    return local_cells(plan, list(fixed.T), noise)


def counted(codes, cells):
    table = np.zeros((cells, cells), dtype=np.int64)
    np.add.at(table, codes, 1)
    return table


def run(x, k, cells, rho=0.0, min_cohort=1, seed=0, zscore=False):
    """Both parties' halves over one pooled table: (the result, labels by either party)."""
    noise = QuickNoise(seed) if rho else NoNoise()
    of_table, of_cells = split_budget(int(rho * 10**9))
    half = x.shape[1] // 2
    parts = [
        side(part, cells, of_cells, min_cohort, noise, zscore)
        for part in (x[:, :half], x[:, half:])
    ]
    spec = CrosstabSpec(
        *((axis,) for axis in axes(cells)), (), noise=bool(rho), rho_nano=of_table, key_bits=2048,
        handles_a=len(x), handles_b=len(x), min_cohort=min_cohort,
    )  # fmt: skip
    table = counted((parts[0].codes, parts[1].codes), cells)
    # As the provider's aggregate draws it.
    table += draw(noise, spec.cell_outputs[0].scale, cells**2).reshape(table.shape)
    totals = NoisyTotals(len(x) + int(draw(noise, spec.overlap_output.scale, 1)[0]), table)
    totals = with_own_noise(spec, totals, noise)
    question = Question(tuple("x" * x.shape[1]), (0, 1), (k,), 100, 10, None, zscore, seed)
    sides = tuple(Side(part.centres, part.deviation, part.spread) for part in parts)
    released = segment(question, sides, spec, totals)
    labels = [of[part.codes] for of, part in zip(released.segments, parts, strict=True)]
    return released.result, labels


def inertia(x, centres):
    return ((x[:, None] - np.array(centres)[None]) ** 2).sum(axis=2).min(axis=1).sum()


def pooled(x, k):
    """scikit-learn's best of 10 starts."""
    return KMeans(k, n_init=10, random_state=0).fit(x).inertia_


SETS = {
    "iris": (lambda: standardised(datasets.load_iris().data), 3),
    "wine": (lambda: standardised(datasets.load_wine().data), 3),
    "breast_cancer": (lambda: standardised(datasets.load_breast_cancer().data), 2),
    "blobs": (lambda: datasets.make_blobs(3000, 8, centers=8, random_state=1)[0], 8),
    "moons": (lambda: datasets.make_moons(3000, noise=0.05, random_state=1)[0], 4),
    "correlated": (lambda: correlated(3000, 10, 6, 1), 6),
    "cloud": (lambda: cloud(3000, 10, 0), 6),
    "line": (lambda: cloud(3000, 1, 1) + 0.3 * cloud(3000, 2, 2), 4),
}


@pytest.mark.parametrize("name", SETS)
def test_without_noise_within_five_percent_of_pooled(name):
    made, k = SETS[name]
    x = made()
    best = pooled(x, k)
    for cells in (2 * k, 3 * k, 4 * k):
        result, _ = run(x, k, cells)
        assert inertia(x, result["centres"]) <= 1.05 * best
        assert sum(result["sizes"]) == len(x)
        # What the result says of itself needs nobody's rows: its points and the people around.
        assert result["inertia"] == pytest.approx(inertia(x, result["centres"]), rel=0.15)


def test_points_stand_where_the_people_of_two_cells_are():
    """Of a cloud: against the true mean of each pair of cells, which no company knows."""
    x = cloud(20_000, 10, 0)
    parts = [side(part, 12, 0, 1, NoNoise()) for part in (x[:, :5], x[:, 5:])]
    codes = (parts[0].codes, parts[1].codes)
    table = counted(codes, 12)
    centres = (parts[0].centres, parts[1].centres)
    gaps = moved(centres, (parts[0].deviation, parts[1].deviation),
                 (parts[0].spread, parts[1].spread), table.astype(float))  # fmt: skip
    for one, of, gap in ((0, x[:, :5], gaps[0]), (1, x[:, 5:], gaps[1])):
        truth = np.zeros((12, 12, 5))
        np.add.at(truth, codes, of - centres[one][codes[one]])
        truth /= np.maximum(1, table)[..., None]
        before = (table[..., None] * truth**2).sum()
        after = (table[..., None] * (truth - gap) ** 2).sum()
        assert after < 0.5 * before
        # Everybody of a cell together is where the cell is.
        assert np.abs((table[..., None] * gap).sum(axis=1 - one)).max() < 1e-6 * len(x)
    # In other units the same.
    scaled = np.array([1.0, 100.0, 0.01, 7.0, 1.0])
    again = moved(
        (centres[0] * scaled, centres[1]), (parts[0].deviation * scaled, parts[1].deviation),
        (parts[0].spread * scaled**2, parts[1].spread), table.astype(float),
    )  # fmt: skip
    np.testing.assert_allclose(again[0], gaps[0] * scaled, rtol=1e-6, atol=1e-9)
    np.testing.assert_allclose(again[1], gaps[1], rtol=1e-6, atol=1e-9)


def test_points_that_nothing_is_known_of_stay():
    random = np.random.default_rng(4)
    centres = (random.normal(size=(4, 2)), random.normal(size=(4, 1)))
    ones = (np.ones(2), np.ones(1))
    for table in (np.zeros((4, 4)), np.full((4, 4), 25.0)):  # nobody; what one says is no news
        for gap in moved(centres, ones, ones, table):
            assert np.abs(gap).max() < 1e-9
    # Features that are the same for everybody.
    still = (np.array([0.0, 1.0]), np.zeros(1))
    flat = (centres[0] * [0, 1], centres[1] * 0)
    for gap in moved(flat, still, still, np.eye(4)):
        assert np.isfinite(gap).all()
        assert np.abs(gap[..., 0]).max() == 0


@pytest.mark.parametrize("name", ["blobs", "correlated"])
def test_with_noise_within_fifteen_percent_at_fifty_thousand(name):
    k, n = 8, 50_000
    x = (
        datasets.make_blobs(n, 10, centers=k, cluster_std=2.0, random_state=2)[0]
        if name == "blobs"
        else correlated(n, 10, k, 2)
    )
    result, labels = run(x, k, 2 * k, rho=0.1, min_cohort=50, seed=3)
    assert inertia(x, result["centres"]) <= 1.15 * pooled(x, k)
    truth = ((x[:, None] - np.array(result["centres"])[None]) ** 2).sum(axis=2).argmin(axis=1)
    assert abs(np.bincount(truth, minlength=k) - result["sizes"]).max() < 0.01 * n
    # Each party alone knows half of the features, so its labels are a guess, and a good one.
    for found in labels:
        assert (found == truth).mean() > 0.8


def test_a_cell_of_one_person_is_no_cell():
    random = np.random.default_rng(5)
    x = np.concatenate([random.normal(0, 1, (200, 2)), [[90.0, 90.0]]])
    alone = side(x, 6, 0, 1, NoNoise())
    assert (alone.codes == alone.codes[-1]).sum() == 1
    merged = side(x, 6, 0, 20, NoNoise())
    sizes = np.bincount(merged.codes, minlength=6)
    assert set(sizes[sizes > 0] >= 20) == {True}
    used = ~np.isnan(merged.centres[:, 0])
    assert used.tolist() == (sizes > 0).tolist()
    for cell in np.flatnonzero(used):
        mean = np.round(x[merged.codes == cell], DECIMALS).mean(axis=0)
        assert merged.centres[cell] == pytest.approx(mean, abs=1e-6)


def test_of_fewer_people_than_a_cohort_nothing_is_said():
    few = side(np.random.default_rng(6).normal(0, 1, (19, 2)), 4, 0, 20, NoNoise())
    assert set(few.codes.tolist()) == {-1}
    assert np.isnan(few.centres).all()
    assert [*few.deviation, *few.spread] == [0.0] * 4
    enough = side(np.random.default_rng(6).normal(0, 1, (20, 2)), 4, 0, 20, NoNoise())
    assert set(enough.codes.tolist()) != {-1}
    nobody = CellsPlan((NumberScale("a", 0, 9, 0),), 4, 0, 1, True)
    assert np.isnan(local_cells(nobody, [np.zeros(0, dtype=np.int64)], NoNoise()).centres).all()


def test_one_row_moves_nobody_else_to_another_cell(monkeypatch):
    """The promise behind the noise of the cross-tab: who is in which cell follows from one's own
    row and from what was released.  So where noise hides a row, everybody else stays put."""
    x = datasets.make_blobs(500, 3, centers=4, random_state=3)[0]
    fixed = np.rint(x * 10**DECIMALS).astype(np.int64)
    scales = tuple(NumberScale(str(j), -200_000, 200_000, DECIMALS) for j in range(3))
    plan = CellsPlan(scales, 8, 50_000_000, 5, False)
    cell_of_last, moments = [], cells_module._Rows.moments

    def noted(rows, centres, weight):
        codes, found = moments(rows, centres, weight)
        cell_of_last.append(codes[-1])
        return codes, found

    noise = QuickNoise(1)
    with monkeypatch.context() as patch:
        patch.setattr(cells_module._Rows, "moments", noted)
        everybody = local_cells(plan, list(fixed.T), noise)
    # The last row's part of each sum, in the order in which a round draws its noise.
    own = np.rint(fixed[-1] / 200_000 * UNIT).astype(np.int64)
    parts = [np.ones(1, dtype=np.int64), own, np.rint(own.astype(float) ** 2 / UNIT)]
    drawn = [values.copy() for _, values in noise.drawn]
    for number, values in enumerate(drawn):
        part, cell = parts[number % 3], cell_of_last[number // 3]
        values[cell * len(part) : (cell + 1) * len(part)] += part.astype(np.int64)
    replayed = iter(drawn)

    class Replay:
        def sample(self, scale, n):
            return next(replayed)

    without = local_cells(plan, list(fixed[:-1].T), Replay())
    assert without.codes.tolist() == everybody.codes[:-1].tolist()
    np.testing.assert_array_equal(without.centres, everybody.centres)
    # What a row changes is what the noise was drawn for, and all rounds together cost the budget.
    counted_, summed, squared = plan.noise
    assert (counted_.sensitivity, summed.sensitivity, squared.sensitivity) == (1, UNIT, UNIT)
    assert [scale for scale, _ in noise.drawn] == list(plan.noise) * plan.rounds
    total = plan.rounds * (counted_.rho + 3 * summed.rho + 3 * squared.rho)
    assert 0.999 * plan.rho_nano <= total * 10**9 <= plan.rho_nano


def test_a_cell_that_is_hardly_larger_than_the_noise_is_not_split():
    x = np.random.default_rng(9).normal(0, 1, (2000, 2))
    plan = CellsPlan((NumberScale("a", 0, 9, 0),) * 2, 8, 100_000, 5, False)
    assert 8 * plan.noise[0].sigma > 2500
    for seed in range(5):
        found = side(x, 8, 100_000, 5, QuickNoise(seed))
        assert (~np.isnan(found.centres[:, 0])).sum() == 1


def test_the_noise_of_sums_does_not_count_as_distance_between_cells():
    """Cells at one place, so that all people differ by is within them."""
    plan = CellsPlan((NumberScale("a", 0, 9, 0),), 4, 60_000, 5, False)
    sigma = plan.noise[1].sigma / UNIT
    n, cells = 3 * sigma, 4
    people, nothing = np.full(cells, n), np.zeros((cells, 1))
    exact = cells_module._Moments(
        np.array([cells * n]), np.zeros((1, 1)), np.array([[cells * n * 0.5]])
    )
    random, found = np.random.default_rng(2), []
    for _ in range(400):
        noisy = cells_module._Moments(people, random.normal(0, sigma, (cells, 1)), nothing)
        found.append(cells_module._spread(plan, [exact], noisy)[0])
    # Uncorrected it would be less by a ninth, σ²/n².  A quarter of that comes back with the mean
    # of all cells, which is taken off.
    assert np.mean(found) == pytest.approx(0.5 + 1 / 36, abs=0.02)


def test_counts_that_the_noise_explains_are_nobody():
    side_ = Side(np.arange(12.0)[:, None], np.ones(1), np.ones(1))
    spec = CrosstabSpec(
        *((axis,) for axis in axes(12)), (), noise=True, rho_nano=10_000_000, key_bits=2048,
        handles_a=900, handles_b=900, min_cohort=10,
    )  # fmt: skip
    sigma = spec.cell_outputs[0].scale.sigma * 2**0.5
    table = np.rint(np.random.default_rng(3).normal(0, sigma, (12, 12))).astype(np.int64)
    table[2, 5] = 900
    found = grid_module._people((side_, side_), spec, NoisyTotals(880, table))
    assert found.sum() == pytest.approx(880)
    assert found[2, 5] > 600
    assert (found > 0).sum() < 12  # of 72 whose noise is above zero


def test_a_small_segment_has_neither_size_nor_centre_nor_label():
    centres = np.array([[0.0], [10.0], [100.0]])
    one = Side(centres, np.array([30.0]), np.array([1.0]))
    spec = CrosstabSpec(
        *((axis,) for axis in axes(3)), (), noise=False, rho_nano=0, key_bits=2048,
        handles_a=200, handles_b=200, min_cohort=10,
    )  # fmt: skip
    table = np.array([[40, 0, 0], [0, 50, 0], [0, 0, 3]])
    question = Question(("a", "b"), (1, 0), (3, 2), 100, 10, None, False, 1)
    found = segment(question, (one, one), spec, NoisyTotals(93, table))
    result = found.result
    assert result["sizes"] == [50, None, None]  # the second protects the third
    assert result["sizes_withheld"] == [None, "complement", "below_min_cohort"]
    assert result["centres"][2] is None
    np.testing.assert_allclose(result["centres"][:2], [[10.0, 10.0], [0.0, 0.0]], atol=1e-9)
    assert [line["k"] for line in result["by_k"]] == [3, 2]
    assert found.segments[0].tolist() == [1, 0, 0]  # the nearest that may be spoken of
    nobody = segment(question, (one, one), spec, NoisyTotals(0, np.zeros((3, 3), dtype=np.int64)))
    assert nobody.result["centres"] == [None] * 3
    assert nobody.result["inertia"] is None
    assert nobody.result["overlap"] == {"count": None, "withheld": "below_min_cohort"}
    assert set(nobody.segments[1].tolist()) == {NOBODY}


def test_a_budget_that_rounds_to_nothing_is_refused():
    with pytest.raises(Refused) as caught:
        CellsPlan((NumberScale("a", 0, 9, 0),) * 4, 16, 50, 1, False)
    assert caught.value.info.code == "budget_too_small"
