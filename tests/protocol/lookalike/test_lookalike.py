"""The steps of a lookalike by themselves: exact sums, attacks, the fit, the curve's rules.

Protects protocols.md section 4 (lookalike) and docs/ATTACKS.md, "Lookalike".  Encryption is the
textbook's, row by row; what is compared with are sums in plain integers.
"""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.crosstab.coordinator import layout
from protocol.errors import Failed, ProtocolViolation, Refused
from protocol.lookalike.curve import area, bands_of, curve
from protocol.lookalike.fit import fit
from protocol.lookalike.provider import Population, consistent, encrypt_rows, open_sums
from protocol.lookalike.requester import gather
from protocol.lookalike.spec import FeatureSpec, LookalikeSpec
from protocol.release.noise import NoNoise
from tests.protocol.crosstab.federation import KERNEL, key_of
from tests.protocol.paillier.rows import numbers
from tests.reference.seeded_noise import SeededNoise

FEATURES = (
    FeatureSpec("b/age", 18, 99),
    FeatureSpec("b/spend", -7_000, 10_000_001, 2),
    FeatureSpec("b/topic", words=("x", "y", "z")),
    FeatureSpec("b/app"),
)
SPEC = LookalikeSpec(FEATURES, False, 0, 512, handles_a=12, handles_b=14)


def people(spec: LookalikeSpec, seed: int, n: int, extreme: bool = False) -> Population:
    """Random people; or all at their bounds, where slots borrow most."""
    rng = np.random.default_rng(seed)
    columns = []
    for feature in spec.features:
        if feature.words:
            columns += list(np.eye(len(feature.words), dtype=np.int64)[rng.integers(0, 3, n)].T)
        else:
            ends = (feature.lo, feature.hi) if extreme else range(feature.lo, feature.hi + 1)
            columns.append(rng.choice(np.array(ends), n) - feature.mid)
    return Population(np.column_stack(columns), rng.random(n) > 0.2)


def upload(spec: LookalikeSpec, of: Population, of_handle: npt.NDArray[np.int64]) -> np.ndarray:
    return np.concatenate(
        list(encrypt_rows(spec, KERNEL, key_of(spec.key_bits), of, of_handle))
    )  # fmt: skip


@pytest.mark.parametrize(
    ("seed", "spec", "extreme"),
    [(1, SPEC, False), (2, SPEC, True), (3, replace(SPEC, key_bits=192), True)],
)
def test_sums_are_those_of_the_matched_seeds(seed: int, spec: LookalikeSpec, extreme: bool) -> None:
    """Also where slots are negative and borrow, and where a row takes several ciphertexts."""
    rng, key = np.random.default_rng(seed), key_of(spec.key_bits)
    of = people(spec, seed, 10, extreme)
    of_handle = rng.permutation(np.append(np.arange(10), [-1] * 4))
    pairing = np.append(rng.permutation(14)[:8], [-1] * 4)  # handles of B, in A's order
    seeds = rng.random(12) > 0.4
    rows = upload(spec, of, of_handle)
    laid = rows[layout(pairing, spec.handles_b)]
    sums = gather(spec, KERNEL, key.public, laid, seeds, NoNoise(), os.urandom)
    want = [0] * (1 + of.values.shape[1])
    for handle in range(12):
        row = of_handle[pairing[handle]] if pairing[handle] >= 0 else -1
        if seeds[handle] and row >= 0 and of.complete[row]:
            want = [a + b for a, b in zip(want, [1, *of.values[row].tolist()], strict=True)]
    assert open_sums(spec, KERNEL, key, sums) == want
    assert (spec.ciphertexts_per_row > 1) == (spec.key_bits == 192)
    # H and A see fresh ciphertexts, for equal people and for nobody alike.
    assert len(np.unique(rows.reshape(-1, spec.ciphertext_width), axis=0)) == 26 * len(spec.blocks)


def test_every_slot_carries_its_own_noise() -> None:
    spec, key = replace(SPEC, noise=True, rho_nano=10**8), key_of(512)
    of_handle = np.append(np.arange(10), [-1] * 4)
    rows = upload(spec, people(spec, 4, 10), of_handle)
    laid = rows[layout(np.full(12, -1), spec.handles_b)]
    opened = []
    for run in range(12):
        sums = gather(
            spec, KERNEL, key.public, laid, np.ones(12, bool), SeededNoise(run), os.urandom
        )
        opened.append(open_sums(spec, KERNEL, key, sums))
    spread = np.array(opened, dtype=float).std(axis=0, ddof=1)
    sigmas = np.array([output.scale.sigma for output in spec.outputs])
    assert sigmas[0] == pytest.approx((5 / (2 * 0.1)) ** 0.5, rel=1e-4)  # m = 1 + 4
    assert sigmas[1] == pytest.approx(41 * sigmas[0], rel=1e-4)
    assert np.all((spread / sigmas > 0.4) & (spread / sigmas < 1.9))


@pytest.mark.parametrize("above", [0, 7, 60])
def test_what_b_packs_above_its_slots_is_lost(above: int) -> None:
    spec, key = SPEC, key_of(512)
    of_handle = np.append(np.arange(10), [-1] * 4)
    rows = upload(spec, people(spec, 5, 10), of_handle)
    laid = rows[layout(np.append(np.arange(10), [-1, -1]), spec.handles_b)].copy()
    used = spec.layout(spec.blocks[0]).declared_bits
    mark = KERNEL.insecure_encrypt_ints(key.public, [1 << used + above])
    marked = laid.copy()
    marked[:1] = KERNEL.linear(key.public, [(laid[:1], 1), (mark, 1)], [0])
    tops = []
    for layouts in (laid, marked):
        for _ in range(8):
            sums = gather(
                spec, KERNEL, key.public, layouts, np.ones(12, bool), NoNoise(), os.urandom
            )
            tops.append(numbers(KERNEL.decrypt(key, sums))[0] >> used)
    assert len(set(tops)) == len(tops)  # fresh each time, marked or not
    assert min(top.bit_length() for top in tops) > key.public.n.bit_length() - used - 20


def test_what_an_honest_party_cannot_send_ends_the_job() -> None:
    spec, key = SPEC, key_of(512)
    rows = upload(spec, people(spec, 6, 10), np.append(np.arange(10), [-1] * 4))
    laid, seeds = rows[:12], np.ones(12, dtype=bool)
    for bad in (laid[:-1], np.concatenate([laid[:11], laid[:1]])):
        with pytest.raises(ProtocolViolation):
            gather(spec, KERNEL, key.public, bad, seeds, NoNoise(), os.urandom)
    wide = KERNEL.insecure_encrypt_ints(key.public, [spec.outputs[0].opening.largest + 1])
    with pytest.raises(Failed, match="above its declared bound"):
        open_sums(spec, KERNEL, key, wide)
    with pytest.raises(Failed, match="another number"):
        open_sums(spec, KERNEL, key, np.concatenate([wide, wide]))


def test_the_words_of_a_label_add_up_to_the_seeds() -> None:
    assert consistent(SPEC, 30, [5, 7, 10, 11, 12, 4]) == [5, 7, 9, 10, 11, 4]
    exact = [5, 7, 10, 11, 9, 4]
    assert consistent(SPEC, 30, exact) == exact


def test_limits_are_refused_with_the_arithmetic() -> None:
    with pytest.raises(Refused, match="more than 4 ciphertexts per row"):
        replace(SPEC, features=tuple(FeatureSpec(f"b/{i}") for i in range(800)))
    with pytest.raises(Refused, match="b/big over 12 padded people"):
        replace(SPEC, features=(FeatureSpec("b/big", 0, 1 << 61),))


# -- the fit -----------------------------------------------------------------------------------


@pytest.mark.parametrize("wild", [0.0, 3.0])
def test_the_fit_is_the_minimum_also_of_noisy_sums(wild: float) -> None:
    """The gradient by plain sums is 0; with wild sums, which no seeds could have, as well."""
    rng = np.random.default_rng(7)
    x = rng.integers(-500, 500, (400, 3))
    x[:, 2] = 4  # does not vary
    y = (x[:, 0] + rng.normal(0, 300, 400) > 100).astype(int)
    sums = (x * y[:, None]).sum(axis=0) + (wild * 400 * np.array([500, -500, 500])).astype(int)
    found = fit(x, int(y.sum()), sums.tolist(), 0.7)
    z = (x - x.mean(axis=0)) / np.where(x.std(axis=0) == 0, 1, x.std(axis=0))
    chance = 1 / (1 + np.exp(-np.clip(found.intercept + z @ found.weights, -500, 500)))
    assert found.scores == pytest.approx(chance, abs=1e-12)
    assert chance.sum() == pytest.approx(y.sum(), rel=1e-9)
    target = (sums - y.sum() * x.mean(axis=0)) / np.where(x.std(axis=0) == 0, 1, x.std(axis=0))
    gradient = z.T @ chance - target + 0.7 * found.weights
    assert gradient[:2] == pytest.approx(0, abs=1e-6 * max(1, np.abs(target).max()))
    assert found.weights[2] == 0


def test_more_seeds_than_people_have_no_model() -> None:
    with pytest.raises(Failed, match="leave nobody"):
        fit(np.arange(30).reshape(30, 1), 30, [435], 1.0)


# -- the curve ---------------------------------------------------------------------------------


@given(st.lists(st.sampled_from([0.1, 0.2, 0.9]), min_size=1, max_size=60), st.integers(2, 20))
def test_bands_are_equal_and_ordered(scores: list[float], bands: int) -> None:
    found = bands_of(np.array(scores), bands)
    sizes = np.bincount(found, minlength=bands)
    assert sizes.max() - sizes.min() <= 1
    for better, worse in zip(range(bands), range(1, bands), strict=False):
        best = [s for s, band in zip(scores, found, strict=True) if band == worse]
        assert all(
            s >= max(best, default=0)
            for s, band in zip(scores, found, strict=True)
            if band == better
        )


@given(st.lists(st.integers(-30, 60), min_size=2, max_size=20), st.integers(2, 40))
def test_no_part_of_a_curve_and_no_rest_is_under_the_smallest_group(
    counts: list[int], k: int
) -> None:
    points = curve(counts, k)
    if not points:
        assert area(points) is None
        return
    parts = np.diff([0, *(point.seeds for point in points)])
    total = sum(counts)
    assert len(parts) >= 2
    assert parts.sum() == points[-1].seeds == total
    assert parts.min() >= k
    assert (total - parts).min() >= k
    assert points[-1].reach == 1
    assert points[-1].lift == pytest.approx(1)


def test_a_curve_by_hand() -> None:
    points = curve([30, 4, 8, 18], 10)  # 4 and 8 are put together
    assert [(p.reach, p.seeds) for p in points] == [(0.25, 30), (0.75, 42), (1, 60)]
    assert points[0].lift == 2
    assert area(points) == pytest.approx(0.25 * 0.25 + 0.5 * 0.6 + 0.25 * 0.85)
    assert curve([30, 4, 5, 0], 10) == ()  # the rest of the first band would be 9
    assert len(curve([1, 0, 0, 1], 1)) == 4  # min_cohort 1 withholds nothing
