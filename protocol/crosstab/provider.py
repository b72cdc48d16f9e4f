"""B's half: sum the laid-out ciphertexts by B's own cells, then protect what leaves.

Who runs it: B, whose rows are summed and whose noise goes on last.
Learns: B nothing; it cannot tell a matched row's ciphertext from an Enc(0).  A gets every
declared slot under B's noise, and nothing of what A may have packed outside its layout.
Source: protocols.md section 2, steps 5 and 6; docs/adr/0003-overlap-slot-mask.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import chain

import numpy as np
import numpy.typing as npt

from protocol.crosstab.spec import Block, CrosstabSpec
from protocol.encoding import chunk_ranges
from protocol.errors import Failed, ProtocolViolation
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PublicKey
from protocol.paillier.packing import PackedBound, RandomBytes, uniform_below
from protocol.release.noise import NoiseSource, draw

Bytes = npt.NDArray[np.uint8]
Numbers = tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ProviderRows:
    """B's rows in the order of B's handles.

    codes: int32[handles_b], joint column value; -1 for dummies, padding, rows left out.
    numbers: per measure of the spec (values int64[handles_b], null bool[handles_b]).
    """

    codes: npt.NDArray[np.int32]
    numbers: tuple[Numbers, ...] = ()


@dataclass(frozen=True)
class _Totals:
    """Encrypted totals of one output, and what each of their slots is known to lie in."""

    cts: Bytes
    bound: PackedBound


@dataclass
class _Passes:
    """Passes over the layout as one progress: (rows passed, rows of all passes)."""

    report: Progress | None
    rows: int
    passes: int
    begun: int = 0

    def next(self) -> Progress | None:
        if self.report is None:
            return None
        report, before = self.report, self.begun
        self.begun += 1

        def advance(done: int, total: int) -> None:
            part = self.rows * done // max(1, total)
            report(before * self.rows + part, self.passes * self.rows)

        return advance


def aggregate(
    spec: CrosstabSpec,
    kernel: Kernel,
    public: PublicKey,
    layout: Bytes,
    rows: ProviderRows,
    noise: NoiseSource,
    random: RandomBytes,
    progress: Progress | None = None,
) -> Bytes:
    """uint8[spec.output_ciphertexts, width]: the protected outputs, ready to leave.

    layout: uint8[handles_b, k·width] (may be a memory map; never copied whole).
    Raises ProtocolViolation for a layout that an honest H and A cannot have made.
    """
    _check(spec, public, layout, rows)
    width = spec.ciphertext_width
    per_position = 1 + sum(1 + measure.nullable for measure in spec.measures)
    passes = _Passes(progress, spec.handles_b, 1 + len(spec.blocks) * per_position)
    kernel.check(public, layout.reshape(-1, width), passes.next())
    overlap: Bytes | None = None
    parts: list[Bytes] = []
    for position, block in enumerate(spec.blocks):
        column = layout[:, position * width : (position + 1) * width]
        sums = _cell_sums(spec, kernel, public, column, rows, passes)
        if position == 0:
            overlap = _protect_overlap(spec, kernel, public, sums[0], noise, random)
        if spec.has_table:
            parts.append(_protect_blocks(spec, block, kernel, public, sums, noise, random))
    assert overlap is not None  # blocks are never empty
    return kernel.rerandomise(public, np.concatenate([overlap, *parts]), random)


def _check(spec: CrosstabSpec, public: PublicKey, layout: Bytes, rows: ProviderRows) -> None:
    if public.bits != spec.key_bits:
        raise ProtocolViolation("bad_key", "the requester's key has another size than declared")
    per_row = spec.ciphertexts_per_row * spec.ciphertext_width
    if layout.shape != (spec.handles_b, per_row):
        raise ProtocolViolation("bad_layout", "the layout has another size than announced")
    codes = rows.codes
    if codes.shape != (spec.handles_b,) or len(rows.numbers) != len(spec.measures):
        raise ValueError("the provider's rows do not have one entry per announced handle")
    if len(codes) and int(codes.max()) >= spec.column_cells:
        raise ValueError("a column code lies outside the vocabulary")
    for measure, (values, null) in zip(spec.measures, rows.numbers, strict=True):
        used = (codes >= 0) & ~null
        if values.shape != codes.shape or null.shape != codes.shape:
            raise ValueError(f"{measure.attribute} does not have one entry per handle")
        if not measure.nullable and bool(np.any(null & (codes >= 0))):
            raise Failed("undeclared_null", f"{measure.attribute} is null but not declared so")
        seen = values[used]
        if len(seen) and not measure.lo <= int(seen.min()) <= int(seen.max()) <= measure.hi:
            raise Failed("out_of_bounds", f"{measure.attribute} was not clipped to its bounds")


def _cell_sums(
    spec: CrosstabSpec,
    kernel: Kernel,
    public: PublicKey,
    column: Bytes,
    rows: ProviderRows,
    passes: _Passes,
) -> list[_Totals]:
    """Per cell output uint8[column values, width]: the encrypted totals, no noise yet.

    For an overlap-only job: the one total of all rows.
    """
    codes, cells = rows.codes, spec.column_cells
    row = PackedBound(0, 1, spec.width)
    # However many rows are laid out, no more than n_pad of them are a person of A.
    counted = row.sum_of(spec.people)
    count = _Totals(kernel.sum_by_group(public, column, codes, cells, passes.next()), counted)
    found = [count]
    for measure, (values, null) in zip(spec.measures, rows.numbers, strict=True):
        own = count
        groups = codes
        if measure.nullable:
            # Nulls are few: count minus nulls is cheaper than a second pass over the values.
            # They are among the counted, so what is left is still a count.
            nulls = np.where(null, codes, np.int32(-1)).astype(np.int32)
            absent = kernel.sum_by_group(public, column, nulls, cells, passes.next())
            terms = [(count.cts, 1), (absent, -1)]
            own = _Totals(kernel.linear(public, terms, [0] * cells), counted)
            groups = np.where(null, np.int32(-1), codes).astype(np.int32)
        weights = np.where(groups >= 0, values - measure.lo, 0).astype(np.uint64)
        weighted = row.dot(spec.people, measure.hi - measure.lo)
        bits = max(1, (measure.hi - measure.lo).bit_length())
        advance = passes.next()
        product = kernel.dot_by_group(public, column, groups, cells, weights, bits, advance)
        dot = _Totals(product, weighted)
        # Σ(v - mid): exponents v - lo are not negative, own·(lo - mid) corrects them.  The
        # bounds of the two terms do not simply add: both are sums over the same people, to
        # whom each of them gives v - lo and lo - mid, so v - mid.
        centred = PackedBound(measure.lo - measure.mid, measure.hi - measure.mid, spec.width)
        bound = centred.sum_of(spec.people)
        terms = [(dot.cts, 1), (own.cts, measure.lo - measure.mid)]
        found.append(_Totals(kernel.linear(public, terms, [0] * cells), bound))
        if measure.nullable:
            found.append(own)
    return found


def _protect_overlap(
    spec: CrosstabSpec,
    kernel: Kernel,
    public: PublicKey,
    count: _Totals,
    noise: NoiseSource,
    random: RandomBytes,
) -> Bytes:
    """Slot 0 of all cells together under noise; the row totals above it are lost in the fill."""
    output, layout = spec.overlap_output, spec.overlap_layout
    # A row lies in one cell at most, so the sum over the cells has the bound of one of them.
    output.opening.check_fits(count.bound)
    cells = np.zeros(len(count.cts), dtype=np.int32)
    total = kernel.sum_by_group(public, count.cts, cells, 1)
    slot = output.opening.bias + int(draw(noise, output.scale, 1)[0])
    plain = layout.pack_one([slot]) + layout.top_fill(public.n, random)
    return kernel.linear(public, [(total, 1)], [plain])


def _protect_blocks(
    spec: CrosstabSpec,
    block: Block,
    kernel: Kernel,
    public: PublicKey,
    sums: list[_Totals],
    noise: NoiseSource,
    random: RandomBytes,
) -> Bytes:
    """Shift `per_output` blocks into each output; noise, bias and mask per slot; fill above.

    sums: per cell output the totals of its column values.
    """
    for output, totals in zip(spec.cell_outputs, sums, strict=True):
        output.opening.check_fits(totals.bound)
    blocks = np.concatenate([totals.cts for totals in sums])
    adds = _block_adds(spec, block, noise, random)
    per, groups = block.per_output, spec.outputs_of(block)
    terms: list[tuple[Bytes, int]] = []
    for place in range(min(per, len(blocks))):
        placed = np.zeros((groups, blocks.shape[1]), dtype=np.uint8)
        placed[:, 0] = 1  # the integer 1 is Enc(0): the last output may hold fewer blocks
        mine = blocks[place::per]
        placed[: len(mine)] = mine
        terms.append((placed, 1 << block.layout.times(place).declared_bits))
    plain: list[int] = []
    for start, end in chunk_ranges(len(adds), per):
        layout = block.layout.times(end - start)
        slots = layout.pack_one(list(chain.from_iterable(adds[start:end])))
        plain.append(slots + layout.top_fill(public.n, random))
    return kernel.linear(public, terms, plain)


def _block_adds(
    spec: CrosstabSpec, block: Block, noise: NoiseSource, random: RandomBytes
) -> list[list[int]]:
    """What B adds to the slots of each block: bias and noise, and the mask over slot 0."""
    # Slot 0 would be a column total, which never leaves: a uniform mask of w0 bits hides
    # its w bits to 2^-64, and cannot carry into the next slot.
    span = (1 << spec.overlap_width) - (1 << spec.width)
    found: list[list[int]] = []
    for output in spec.cell_outputs:
        opening = output.opening
        drawn = draw(noise, output.scale, spec.column_cells * len(block.values))
        for cell in drawn.reshape(spec.column_cells, len(block.values)).tolist():
            masks = [opening.u_minus + uniform_below(span, random) for _ in range(block.head)]
            found.append([*masks, *(opening.bias + value for value in cell)])
    return found
