"""Exact k-means in one process: labels of pooled Lloyd at every iteration, and what H can see."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.errors import ProtocolViolation, Refused
from protocol.kmeans.exact import party, scale
from protocol.kmeans.exact.coordinator import nearest, numbered
from protocol.kmeans.exact.party import OwnFeatures, Role
from protocol.kmeans.exact.secrets import BLOCK, Secrets, powers_of_two
from protocol.secret import Secret
from tests.reference.lloyd_oracle import lloyd

SEED = Secret(bytes(range(32)))


def secrets(rows, k, about=b"round 1 of attempt 1", seed=SEED):
    return Secrets(seed, about, rows, k)


def owners(values, parties, low, high, real=None):
    """The features of int[d, rows], dealt to the parties one after the other."""
    real = np.ones(values.shape[1], dtype=bool) if real is None else real
    shares = np.array_split(np.arange(len(values)), parties)
    return [
        OwnFeatures(
            values[mine].astype(float), real, np.ones(len(mine)), np.full(len(mine), float(low)),
            np.full(len(mine), float(high)),
        )
        for mine in shares
    ], shares  # fmt: skip


def uploads(owns, centres, secret):
    unit = scale.unit(secret.k, len(owns), sum(own.largest for own in owns))
    return [
        np.concatenate(list(party.upload(own, mine, Role(p, len(owns), unit), secret)))
        for p, (own, mine) in enumerate(zip(owns, centres, strict=True))
    ]


def rounds(owns, centres, k, iterations):
    """As the parties and H do it together; (labels, centres of all) per iteration."""
    for t in range(1, iterations + 1):
        secret = secrets(owns[0].places, k, b"round %d" % t)
        positions = nearest(uploads(owns, centres, secret))
        labels = party.labels_of(positions, secret)
        centres = [party.moved(own, labels, c) for own, c in zip(owns, centres, strict=True)]
        yield labels, np.concatenate(centres, axis=1)


# -- labels are those of the pooled table ------------------------------------------------------


@pytest.mark.parametrize("k", range(2, 9))
@pytest.mark.parametrize("parties", [2, 3])
def test_labels_are_pooled_lloyds_at_every_iteration(k, parties):
    rng = np.random.default_rng(10 * k + parties)
    values = rng.integers(0, 2000, (5, 90))
    start = values[:, rng.choice(90, k, replace=False)].T
    owns, shares = owners(values, parties, 0, 2000)
    want = lloyd(*(
        [[Fraction(int(x)) for x in row] for row in table] for table in (values.T, start)
    ), 6)  # fmt: skip
    first = [start[:, mine].astype(float) for mine in shares]
    for (labels, centres), (expected, means) in zip(rounds(owns, first, k, 6), want, strict=True):
        assert labels.tolist() == expected
        assert np.abs(centres - np.array(means, dtype=float)).max() < 1e-9


@pytest.mark.parametrize("k", range(2, 9))
def test_a_tie_goes_to_the_lowest_cluster(k):
    """People on a lattice, starts on it too: many are as near to several centres, most of them
    by distances that differ at each party and agree only in the sum."""
    rng = np.random.default_rng(k)
    values = rng.integers(0, 6, (4, 400))
    start = rng.integers(0, 6, (k, 4))
    start[-1] = start[0]  # and one centre twice
    owns, shares = owners(values, 2, 0, 5)
    ((labels, _),) = rounds(owns, [start[:, mine].astype(float) for mine in shares], k, 1)
    gaps = ((values.T[:, None] - start[None]) ** 2).sum(axis=2)
    assert labels.tolist() == gaps.argmin(axis=1).tolist()
    assert (np.diff(np.sort(gaps, axis=1)[:, :2]) == 0).sum() > 20


def test_an_empty_cluster_keeps_its_centre_and_dummies_move_none():
    values = np.array([[0, 1, 9, 10, 5, 5], [0, 1, 9, 10, 5, 5]])
    real = np.array([True, True, True, True, False, False])
    owns, _ = owners(values, 2, 0, 100, real)
    start = [np.array([[0.0], [10.0], [90.0]])] * 2
    ((labels, centres),) = rounds(owns, start, 3, 1)
    assert labels[:4].tolist() == [0, 0, 1, 1]
    assert centres.tolist() == [[0.5, 0.5], [9.5, 9.5], [90.0, 90.0]]
    assert party.sizes(owns[0], labels, 3).tolist() == [2, 2, 0]
    assert party.changed(owns[0], labels, np.array([0, 1, 1, 1, 7, 7])) == 1


@given(st.integers(1, 64), st.integers(2, 6), st.integers(0, 2**32), st.integers(1, 2 * BLOCK + 9))
@settings(max_examples=12, deadline=None)
def test_any_shape(k, parties, seed, rows):
    rng = np.random.default_rng(seed)
    values = rng.integers(-500, 500, (parties, rows))
    start = rng.integers(-500, 500, (k, parties)).astype(float)
    owns, shares = owners(values, parties, -500, 500)
    ((labels, _),) = rounds(owns, [start[:, mine] for mine in shares], k, 1)
    gaps = ((values.T[:, None] - start[None]) ** 2).sum(axis=2)
    assert (labels == gaps.argmin(axis=1)).all()


# -- numbers fit -------------------------------------------------------------------------------


@pytest.mark.parametrize("k", [1, 2, 3, 7, 8, 63, 64])
@pytest.mark.parametrize("parties", [2, 9])
@pytest.mark.parametrize("largest", [3.0, 1e-9, 7.7e31, float(2**37), float(2**37 + 1)])
def test_the_largest_distance_stays_below_its_bits(k, parties, largest):
    """Formula 6 by its extremes: every party rounds up, and the last cluster is the farthest."""
    u = scale.unit(k, parties, largest)
    assert math.frexp(u)[0] == 0.5  # a power of two
    most = Fraction(u) * Fraction(largest)
    assert most <= (1 << 40) // k - parties - 2
    assert 2 * most > (1 << 40) // k - parties - 2  # and not needlessly small
    value = k * (most + Fraction(parties, 2)) + k - 1
    assert value < 1 << 40
    r = (1 << 22) - 1  # the largest, and e below it
    assert r * value + r - 1 < 1 << 62


def test_the_farthest_people_are_told_from_the_nearest_under_the_largest_factors(monkeypatch):
    """Nothing wraps: everybody sits on one centre and as far as can be from the other."""
    monkeypatch.setattr(Secrets, "factors", lambda self, block, rows: np.full(
        rows, (1 << 22) - 1, dtype=np.uint64))  # fmt: skip
    values = np.array([[0, 10**6] * 50] * 6)
    owns, _ = owners(values, 2, 0, 10**6)
    start = [np.array([[0.0] * 3, [1e6] * 3])] * 2
    secret = secrets(100, 2)
    given_ = uploads(owns, start, secret)
    assert party.labels_of(nearest(given_), secret).tolist() == [0, 1] * 50
    apart = (sum(given_) - sum(given_)[:, :1]).view(np.int64)[:, 1]
    assert np.abs(apart).min() > 2**60
    assert np.abs(apart).max() < 2**62


def test_bounds_that_cannot_be_compared_and_centres_outside_them():
    with pytest.raises(Refused, match="too wide or too narrow"):
        scale.unit(2, 2, 1e300)
    assert scale.unit(2, 2, 0.0) == 1.0
    owns, _ = owners(np.zeros((2, 3), dtype=int), 2, 0, 1)
    with pytest.raises(ValueError, match="outside"):
        uploads(owns, [np.array([[0.0], [2.0]])] * 2, secrets(3, 2))


# -- what hides --------------------------------------------------------------------------------


def test_factors_are_powers_of_two_spread_evenly_over_the_exponent():
    draws = np.random.default_rng(1).integers(0, 2**64, 40_000, dtype=np.uint64)
    found = powers_of_two(draws)
    assert found.min() >= 2**8
    assert found.max() < 2**22
    x = np.log2(found.astype(float))
    assert np.histogram(x, bins=14, range=(8, 22))[0].min() > 2400  # 2857 each, σ 51
    # One draw, recomputed in floats: 8 + 5 + 0x123456 / 2^24.
    (one,) = powers_of_two(np.array([(5 << 24) | 0x123456], dtype=np.uint64))
    assert int(one) == math.floor(2 ** (13 + 0x123456 / 2**24))
    assert powers_of_two(np.array([2**24 - 1 + (13 << 24)], dtype=np.uint64)) == 2**22 - 1


def seen(values, centres, secret, parties=2):
    """What H computes: the differences of columns, as signed numbers."""
    owns, shares = owners(values, parties, 0, 1000)
    total = sum(uploads(owns, [centres[:, mine] for mine in shares], secret))
    return (total - total[:, :1]).view(np.int64)[:, 1:]


def test_the_coordinators_differences_have_no_common_divisor():
    rng = np.random.default_rng(3)
    values, centres = rng.integers(0, 1000, (4, 2000)), rng.integers(0, 1000, (8, 4)).astype(float)
    secret = secrets(2000, 8)
    factors = secret.factors(0, 2000)
    divisors = np.gcd.reduce(np.abs(seen(values, centres, secret)), axis=1)
    assert (divisors == factors.astype(np.int64)).sum() == 0
    assert np.median(divisors) == 1

    # Without e they are r itself, or a multiple: the test can fail.
    class Bare(Secrets):
        def noises(self, block, factors):
            return np.zeros((len(factors), self.k), dtype=np.uint64)

    bare = Bare(SEED, secret.about, 2000, 8)
    divisors = np.gcd.reduce(np.abs(seen(values, centres, bare)), axis=1)
    assert (divisors.astype(np.uint64) % factors == 0).all()


def test_equal_distances_do_not_look_equal():
    """Every person as near to every centre: the differences are noise, whose order is no cluster's
    and none of which is 0 or repeats."""
    values = np.tile(np.array([[500], [500]]), 3000)
    corners = np.array([[0, 0], [0, 1000], [1000, 0], [1000, 1000]], dtype=float)
    secret = secrets(3000, 4)
    found = seen(values, corners, secret)
    assert (found == 0).sum() == 0
    assert all(len(set(row)) == 3 for row in found.tolist())
    positions = np.append(np.zeros((3000, 1), np.int64), found, axis=1).argmin(axis=1)
    assert np.bincount(positions, minlength=4).min() > 600  # 750 each: the columns are shuffled
    labels = party.labels_of(positions.astype(np.uint8), secret)
    assert set(labels.tolist()) == {0}


def test_the_coordinator_sees_ratios_and_a_blurred_scale_and_no_more():
    """Two tables of which one is the other moved and stretched, with the same ratios of
    differences: what H sees of both is spread alike, though distances differ a thousandfold."""
    base = np.array([[3], [1]])
    centres = np.array([[0, 0], [4, 4], [0, 9]], dtype=float)
    rows = np.repeat(base, 4000, axis=1)
    small = np.log2(np.abs(seen(rows, centres, secrets(4000, 3, b"a")).astype(float)))
    large = np.log2(np.abs(seen(30 * rows, 30 * centres, secrets(4000, 3, b"b")).astype(float)))
    # 2·log2(30) ≈ 9.8 bits of scale are inside the 14 bits by which r blurs one row.
    overlap = (small.max() - large.min()) / (small.max() - small.min())
    assert overlap > 0.2
    # The ratios are there: that is what the design gives away.
    others = seen(rows, centres, secrets(4000, 3, b"a")).astype(float)
    three = np.sort(np.append(np.zeros((4000, 1)), others, axis=1), axis=1)
    ratio = (three[:, 1] - three[:, 0]) / (three[:, 2] - three[:, 0])
    assert np.ptp(ratio) < 1e-6


def test_one_partys_upload_is_uniform_and_masks_cancel():
    values = np.zeros((4, 6000), dtype=int)
    owns, shares = owners(values, 2, 0, 1000)
    secret = secrets(6000, 3)
    for one in uploads(owns, [np.zeros((3, len(mine))) for mine in shares], secret):
        for shift in (0, 32, 56):
            bins = np.bincount((one.ravel() >> np.uint64(shift)).astype(np.uint8), minlength=256)
            assert bins.min() > 20
            assert bins.max() < 140  # 70 each, σ 8.4
    for parties in (2, 5):
        total = sum(secret.mask(0, 10, p, parties) for p in range(parties))
        assert (total == 0).all()


def test_everything_is_fresh_per_iteration_attempt_and_seed():
    first = secrets(4000, 5)
    others = [
        secrets(4000, 5, b"round 2 of attempt 1"),
        secrets(4000, 5, b"round 1 of attempt 2"),
        secrets(4000, 5, seed=Secret(bytes(32))),
    ]
    for other in others:
        assert (first.order() == other.order()).mean() < 0.01
        same = (first.columns(0, 4000) == other.columns(0, 4000)).all(axis=1).mean()
        assert same < 0.03  # 1/5! by chance
        assert (first.mask(0, 4000, 0, 2) == other.mask(0, 4000, 0, 2)).sum() == 0
        assert (first.shifts(0, 4000) == other.shifts(0, 4000)).sum() == 0
        assert (first.factors(0, 4000) == other.factors(0, 4000)).mean() < 0.01
    assert sorted(first.order()) == list(range(4000))
    assert (first.columns(0, 4000) == first.columns(1, 4000)).all(axis=1).mean() < 0.03
    assert len({tuple(row) for row in first.columns(0, 4000).tolist()}) == 120
    factors = first.factors(0, 4000)
    assert (first.noises(0, factors) < factors[:, None]).all()


# -- people and places -------------------------------------------------------------------------


def test_a_dummy_looks_like_somebody():
    rows = np.array([4, -1, 7, -1, 2])
    found = party.stand_ins(rows, np.array([5, 2**64 - 1], dtype=np.uint64))
    assert found[[0, 2, 4]].tolist() == [4, 7, 2]
    assert set(found[[1, 3]].tolist()) <= {4, 7, 2}
    nobody = np.array([-1, -1])
    assert party.stand_ins(nobody, np.zeros(2, np.uint64)).tolist() == [-1, -1]


def test_numbers_are_shuffled_and_pair_the_same_handles():
    common = [np.array([0, -1, 1, 2]), np.array([2, 0, 1, -1])]
    first, second = numbered(common, bytes(32))
    assert first[1] == -1 == second[3]
    assert sorted(first[first >= 0]) == [0, 1, 2]
    assert (first[[0, 2, 3]] == second[[1, 2, 0]]).all()
    orders = {tuple(numbered(common, bytes([i]) * 32)[0]) for i in range(40)}
    assert len(orders) == 6


@pytest.mark.parametrize("positions", [[0, 1], [0, 1, 2], [0, 3, 0, 0]])
def test_columns_that_there_are_not(positions):
    with pytest.raises(ProtocolViolation, match="nearest columns"):
        party.labels_of(np.array(positions, dtype=np.uint8), secrets(4, 3))
