"""Noise off: the opened totals equal the plaintext join, for random tables and layouts."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from protocol.crosstab.requester import joint_codes
from protocol.crosstab.spec import CrosstabSpec, MeasureSpec
from tests.protocol.crosstab.federation import Tables, run, small_spec
from tests.protocol.crosstab.plain import plain_run
from tests.reference.crosstab_oracle import PersonPair, crosstab
from tests.reference.seeded_noise import SeededNoise


@st.composite
def measures(draw: st.DrawFn, index: int) -> MeasureSpec:
    lo = draw(st.integers(-5000, 5000))
    hi = lo + draw(st.one_of(st.just(0), st.integers(0, 9000)))
    nullable = draw(st.booleans())
    return MeasureSpec(f"b/n{index}", lo, hi, draw(st.integers(0, 3)), nullable)


@st.composite
def questions(draw: st.DrawFn, noise: bool) -> tuple[CrosstabSpec, Tables]:
    found = tuple(draw(measures(index)) for index in range(draw(st.integers(0, 3))))
    handles = (draw(st.integers(1, 10)), draw(st.integers(1, 10)))
    spec = small_spec(
        draw(st.integers(1, 16)),
        draw(st.integers(1, 5)),
        found,
        handles=handles,
        key_bits=draw(st.sampled_from([512, 768])),
        noise=noise,
        rho_nano=draw(st.sampled_from([20_000_000, 3_000_000_000])),
    )
    seed = draw(st.integers(0, 2**32 - 1))
    return spec, random_tables(spec, np.random.default_rng(seed))


def random_tables(spec: CrosstabSpec, rng: np.random.Generator) -> Tables:
    a, b = spec.handles_a, spec.handles_b
    codes_a = rng.integers(-1, spec.row_cells, a).astype(np.int32)
    codes_b = rng.integers(-1, spec.column_cells, b).astype(np.int32)
    matched = int(rng.integers(0, min(a, b) + 1))
    pairing = np.full(b, -1, dtype=np.int64)
    pairing[rng.permutation(b)[:matched]] = rng.permutation(a)[:matched]
    numbers = []
    for measure in spec.measures:
        # The extremes more often than chance would: that is where slots overflow.
        values = rng.choice(
            np.array([measure.lo, measure.hi, rng.integers(measure.lo, measure.hi + 1)]), b
        )
        null = (rng.random(b) < 0.3) & measure.nullable
        numbers.append((values.astype(np.int64), null))
    return Tables(codes_a, codes_b, pairing, tuple(numbers))


def people(tables: Tables) -> list[PersonPair]:
    found = []
    for handle, other in enumerate(tables.pairing.tolist()):
        if other < 0 or tables.codes_b[handle] < 0 or tables.codes_a[other] < 0:
            continue
        values = tuple(
            None if null[handle] else int(values[handle]) for values, null in tables.numbers
        )
        row, column = int(tables.codes_a[other]), int(tables.codes_b[handle])
        found.append(PersonPair(row, column, values))
    return found


class Recorded:
    """A noise source whose samples can be subtracted again, clamp included."""

    def __init__(self, seed: int, extreme: bool) -> None:
        self._source = SeededNoise(seed)
        self._extreme = extreme

    def sample(self, scale, n):  # type: ignore[no-untyped-def]
        if self._extreme:
            return np.full(n, scale.clamp * (1 if scale.sensitivity % 2 else -1) * 5)
        return self._source.sample(scale, n)


@settings(max_examples=150, deadline=None)
@given(questions(noise=False))
def test_the_opened_totals_are_the_plaintext_join(question: tuple[CrosstabSpec, Tables]) -> None:
    spec, tables = question
    totals = run(spec, tables)
    truth = crosstab(people(tables), len(spec.measures))
    assert totals.overlap == truth.overlap
    for r in range(spec.row_cells):
        for c in range(spec.column_cells):
            assert totals.count[r, c] == truth.count.get((r, c), 0)
            for at, measure in enumerate(spec.measures):
                own = truth.own[at].get((r, c), 0)
                centred = truth.sums[at].get((r, c), 0) - measure.mid * own
                assert totals.sums[measure.attribute][r, c] == centred
                if measure.nullable:
                    assert totals.own_counts[measure.attribute][r, c] == own


@settings(max_examples=100, deadline=None)
@given(questions(noise=True), st.booleans(), st.integers(0, 1000))
def test_noise_of_any_size_stays_inside_its_slot(
    question: tuple[CrosstabSpec, Tables], extreme: bool, seed: int
) -> None:
    spec, tables = question
    source = Recorded(seed, extreme)
    totals = run(spec, tables, source)
    truth = crosstab(people(tables), len(spec.measures))
    clamps = {output.key: output.scale.clamp for output in spec.outputs}
    assert abs(totals.overlap - truth.overlap) <= clamps["overlap"]
    for r in range(spec.row_cells):
        for c in range(spec.column_cells):
            off = totals.count[r, c] - truth.count.get((r, c), 0)
            assert abs(off) <= clamps["count"]
            for at, measure in enumerate(spec.measures):
                own = truth.own[at].get((r, c), 0)
                centred = truth.sums[at].get((r, c), 0) - measure.mid * own
                off = totals.sums[measure.attribute][r, c] - centred
                assert abs(off) <= clamps[f"sum:{measure.attribute}"]
                if extreme and measure.sensitivity:
                    assert abs(off) == clamps[f"sum:{measure.attribute}"]


def test_an_overlap_without_a_table() -> None:
    spec = small_spec(0, 0, handles=(6, 5))
    tables = Tables(
        np.array([0, 0, 0, -1, 0, -1], dtype=np.int32),
        np.array([0, 0, -1, 0, 0], dtype=np.int32),
        np.array([2, -1, 0, 3, 4]),
    )
    totals = run(spec, tables)
    assert totals.overlap == 2  # 2 and 4; handle 2 is left out by B, 3 is a dummy of A
    assert totals.count.size == 0
    assert spec.output_ciphertexts == spec.ciphertexts_per_row == spec.measure_count == 1


def test_sixty_four_by_sixty_four_labels_and_three_measures() -> None:
    rng = np.random.default_rng(7)
    found = tuple(
        MeasureSpec(f"b/n{index}", -(10**9), 10**9, 2, nullable=index == 1) for index in range(3)
    )
    spec = small_spec(64, 64, found, handles=(256, 192), key_bits=2048)
    assert spec.ciphertexts_per_row == 2
    # Packing is what is under test here, so a linear kernel without modulus stands in.
    tables = random_tables(spec, rng)
    totals = plain_run(spec, tables)
    truth = crosstab(people(tables), 3)
    assert truth.overlap > 20
    for (r, c), count in truth.count.items():
        assert totals.count[r, c] == count
        own = truth.own[1].get((r, c), 0)
        assert totals.own_counts["b/n1"][r, c] == own
        assert totals.sums["b/n1"][r, c] == truth.sums[1].get((r, c), 0)
    assert totals.count.sum() == truth.overlap == totals.overlap


def test_joint_codes_are_the_product_and_absent_wins() -> None:
    codes = joint_codes(
        [np.array([1, 0, -1], dtype=np.int32), np.array([2, 0, 1], dtype=np.int32)], [2, 3], 3
    )
    assert codes.tolist() == [5, 0, -1]
    assert joint_codes([], [], 2).tolist() == [0, 0]
