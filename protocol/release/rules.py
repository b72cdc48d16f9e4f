"""What A's node lets out of a cross-tab: the release rules, numbered.

Who runs it: the recipient's node, between decryption and anything that stores or shows.
Learns: the analyst the released cells; a withheld cell is reported as withheld with the
reason, never as zero.  Fail closed: a number leaves only if every rule lets it.
Source: protocols.md section 5; docs/adr/0004-tgi-from-released-cells.md.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Any

import numpy as np
import numpy.typing as npt

from protocol.crosstab.spec import SUM, CrosstabSpec, MeasureSpec
from protocol.crosstab.totals import Cells, NoisyTotals
from protocol.errors import Refused
from protocol.release.noise import epsilon

BELOW, COMPLEMENT = "below_min_cohort", "complement"
Mask = npt.NDArray[np.bool_]
People = npt.NDArray[np.uint64]


@dataclass(frozen=True)
class ReleasedTable:
    """What may be stored and shown; the keys are those of result.json (contracts.md).

    cells: one dict per combination of the vocabularies, empty ones too, row attributes first.
    overlap: count and withheld.  sigmas: per output, in the unit of the reported number.
    epsilon: at δ = 1e-6; None when noise is off.
    """

    cells: tuple[dict[str, Any], ...]
    overlap: dict[str, Any]
    sigmas: dict[str, float]
    epsilon: float | None
    warnings: tuple[str, ...]


def release(spec: CrosstabSpec, totals: NoisyTotals) -> ReleasedTable:
    """Apply the rules; k = spec.min_cohort, the strictest of all parties."""
    reasons = withheld(spec, totals.count) if spec.has_table else totals.count.astype(np.int8)
    released = totals.overlap >= spec.min_cohort or spec.min_cohort == 1
    overlap = {
        "count": totals.overlap if released else None,
        "withheld": None if released else BELOW,
    }
    return ReleasedTable(
        cells=tuple(_cells(spec, totals, reasons)) if spec.has_table else (),
        overlap=overlap,
        sigmas=_sigmas(spec),
        epsilon=epsilon(spec.rho_nano) if spec.noise else None,
        warnings=_warnings(spec),
    )


REASONS = (None, BELOW, COMPLEMENT)


def withheld(spec: CrosstabSpec, count: Cells) -> npt.NDArray[np.int8]:
    """Per cell 0 (leaves), 1 (below_min_cohort) or 2 (complement), from noisy counts only."""
    return withheld_cells(count, spec.min_cohort)


def withheld_cells(count: Cells, k: int) -> npt.NDArray[np.int8]:
    """As `withheld`, for int64[groups, cells] of any protocol: a group is who is compared."""
    reasons = np.zeros(count.shape, dtype=np.int8)
    if k == 1:  # withholds nothing: the owners chose that
        return reasons
    # 1. The cell: its noisy count reaches k.
    reasons[count < k] = 1
    # 2. The rest: of the people with the same A-value, at least k are in other cells; else the
    #    cell says of (nearly) everyone with that value what they have at B.  With one column
    #    value there is no rest and nothing to infer.
    if count.shape[1] > 1:
        rest = count.sum(axis=1, keepdims=True) - count
        reasons[rest < k] = 1
    # 3. The complement: the overlap minus the released cells must not tell fewer than k apart.
    _complement(reasons, count, k)
    # 4. Row and column totals never leave: nothing below this line computes one over
    #    withheld cells.
    return reasons


def _complement(reasons: npt.NDArray[np.int8], count: Cells, k: int) -> None:
    """While the withheld cells sum to under k, the smallest released one is withheld too."""
    flat, values = reasons.reshape(-1), count.reshape(-1)
    if not flat.any():
        return
    hidden = int(values[flat > 0].sum())
    for cell in np.argsort(values, kind="stable"):
        if hidden >= k:
            return
        if flat[cell] == 0:
            flat[cell] = 2
            hidden += int(values[cell])


def _cells(
    spec: CrosstabSpec, totals: NoisyTotals, reasons: npt.NDArray[np.int8]
) -> Iterable[dict[str, Any]]:
    names = [attribute.name for attribute in spec.rows + spec.columns]
    index = tgi(totals.count, reasons == 0)
    rows = list(product(*(attribute.vocabulary for attribute in spec.rows)))
    columns = list(product(*(attribute.vocabulary for attribute in spec.columns)))
    for r, row in enumerate(rows):
        for c, column in enumerate(columns):
            reason = REASONS[reasons[r, c]]
            cell: dict[str, Any] = dict(zip(names, row + column, strict=True))
            cell["count"] = int(totals.count[r, c]) if reason is None else None
            kept: dict[str, str] = {}
            for measure in spec.measures:
                total, mean = None, None
                if reason is None:
                    people = _people(totals, measure, r, c)
                    # 5. Sums and means follow their count: where nulls have a count of their
                    #    own, that count must reach k as well (one value is a person's value).
                    if people < spec.min_cohort and spec.min_cohort > 1:
                        kept[measure.attribute] = BELOW
                    else:
                        total, mean = _sum_and_mean(
                            measure, int(totals.sums[measure.attribute][r, c]), people
                        )
                cell[f"sum:{measure.attribute}"] = total
                cell[f"mean:{measure.attribute}"] = mean
            cell["tgi"] = index[r][c]
            cell["withheld"] = reason
            if kept:
                cell["withheld_measures"] = kept
            yield cell


def _people(totals: NoisyTotals, measure: MeasureSpec, r: int, c: int) -> int:
    table = totals.own_counts.get(measure.attribute, totals.count)
    return int(table[r, c])


def _sum_and_mean(measure: MeasureSpec, centred: int, people: int) -> tuple[float, float | None]:
    """Formula 2: sum = S' + mid·count; mean = clamp(mid + S'/count, lo, hi); raw units."""
    unit = 10**measure.decimals
    total = float(Fraction(centred + measure.mid * people, unit))
    if people < 1:
        return total, None
    mean = measure.mid + Fraction(centred, people)
    mean = min(max(mean, Fraction(measure.lo)), Fraction(measure.hi))
    return total, float(mean / unit)


def tgi(count: Cells, leaves: Mask) -> list[list[float | None]]:
    """100 · (cell ÷ row) ÷ (column ÷ all) inside the complete part of the table (ADR 0004).

    None outside that part, and where a share is not positive.
    """
    inside = complete_part(leaves)
    kept = np.where(inside, count, 0)
    rows, columns, everyone = kept.sum(axis=1), kept.sum(axis=0), int(kept.sum())
    found: list[list[float | None]] = []
    for r in range(count.shape[0]):
        line: list[float | None] = []
        for c in range(count.shape[1]):
            share = int(rows[r]) * int(columns[c])
            usable = inside[r, c] and rows[r] > 0 and columns[c] > 0 and everyone > 0
            line.append(100 * int(kept[r, c]) * everyone / share if usable else None)
        found.append(line)
    return found


def complete_part(leaves: Mask) -> Mask:
    """The released cells among which shares mean something: no withheld cell between them.

    1. A row or column that is withheld altogether does not count.  2. Of the rest, the columns
    without a withheld cell; 3. if there are none, the rows without one.  A function of what
    leaves, so it says nothing more.
    """
    inside = leaves.any(axis=1, keepdims=True) & leaves.any(axis=0, keepdims=True)
    gaps = inside & ~leaves
    columns: Mask = np.asarray(inside & ~gaps.any(axis=0, keepdims=True))
    rows: Mask = np.asarray(inside & ~gaps.any(axis=1, keepdims=True))
    return columns if columns.any() else rows


def _sigmas(spec: CrosstabSpec) -> dict[str, float]:
    """σ per output, in the unit of the reported number; empty when noise is off."""
    if not spec.noise:
        return {}
    units = {measure.attribute: 10**measure.decimals for measure in spec.measures}
    return {
        output.key: output.scale.sigma / (units[output.attribute] if output.kind == SUM else 1)
        for output in spec.outputs
    }


def _warnings(spec: CrosstabSpec) -> tuple[str, ...]:
    sigma = spec.overlap_output.scale.sigma
    if not spec.noise or spec.min_cohort >= 3 * sigma:
        return ()
    return (
        f"min_cohort {spec.min_cohort} is under 3σ = {3 * sigma:.1f}: "
        "the noise alone can lift an empty cell over it",
    )


def check_exact(
    previous: Iterable[tuple[frozenset[str], People]],
    attributes: frozenset[str],
    people: People,
    min_cohort: int,
) -> None:
    """Rule (4) before a run without noise: not a few rows away from an earlier exact answer.

    previous: (own attributes read, own eligible people) of every exact release to this
    recipient; attributes and people: of the run that asks.  People are uint64[n] keys that
    stay the same when the table is sorted anew, each once.  Raises
    Refused('exact_difference') if the two sets differ by 1…k-1.

    Every job releases the overlap, so two jobs always share a question: runs without a common
    attribute are compared too (their overlaps differ by exactly the people in between).
    """
    for earlier, theirs in previous:
        apart = len(np.setxor1d(theirs, people, assume_unique=True))
        if 1 <= apart < min_cohort:
            shared = ", ".join(sorted(earlier & attributes)) or "the overlap"
            raise Refused(
                "exact_difference",
                f"without noise, this answer and an earlier one on {shared} would differ by "
                f"fewer than {min_cohort} of this company's people",
                stage="admit",
                next_step="run it with noise on, or when more of the table has changed",
            )
