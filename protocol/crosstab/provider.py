"""B's half: sum the laid-out ciphertexts by B's own cells, then protect what leaves.

Who runs it: B, whose rows are summed and whose noise goes on last.
Learns: B nothing; it cannot tell a matched row's ciphertext from an Enc(0).  A gets every
declared slot under B's noise, and nothing of what A may have packed outside its layout.
Source: protocols.md section 2, steps 5 and 6; docs/adr/0003-overlap-slot-mask.md.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.crosstab.spec import Block, CrosstabSpec
from protocol.errors import Failed, ProtocolViolation
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PublicKey
from protocol.release.noise import NoiseSource, draw

Bytes = npt.NDArray[np.uint8]
Numbers = tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]
RandomBytes = Callable[[int], bytes]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class ProviderRows:
    """B's rows in the order of B's handles.

    codes: int32[handles_b], joint column value; -1 for dummies, padding, rows left out.
    numbers: per measure of the spec (values int64[handles_b], null bool[handles_b]).
    """

    codes: npt.NDArray[np.int32]
    numbers: tuple[Numbers, ...] = ()


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
            people = np.zeros(len(sums[0]), dtype=np.int32)
            total = kernel.sum_by_group(public, sums[0], people, 1)
            overlap = _protect_overlap(spec, kernel, public, total, noise, random)
        if spec.has_table:
            blocks = np.concatenate(sums)
            parts.append(_protect_blocks(spec, block, kernel, public, blocks, noise, random))
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
) -> list[Bytes]:
    """Per cell output uint8[column values, width]: the encrypted totals, no noise yet.

    For an overlap-only job: the one total of all rows.
    """
    codes, cells = rows.codes, spec.column_cells
    count = kernel.sum_by_group(public, column, codes, cells, passes.next())
    found = [count]
    for measure, (values, null) in zip(spec.measures, rows.numbers, strict=True):
        own = count
        groups = codes
        if measure.nullable:
            # Nulls are few: count minus nulls is cheaper than a second pass over the values.
            nulls = np.where(null, codes, np.int32(-1)).astype(np.int32)
            absent = kernel.sum_by_group(public, column, nulls, cells, passes.next())
            own = kernel.linear(public, [(count, 1), (absent, -1)], [0] * cells)
            groups = np.where(null, np.int32(-1), codes).astype(np.int32)
        weights = np.where(groups >= 0, values - measure.lo, 0).astype(np.uint64)
        bits = max(1, (measure.hi - measure.lo).bit_length())
        advance = passes.next()
        dot = kernel.dot_by_group(public, column, groups, cells, weights, bits, advance)
        # Σ(v - mid): exponents v - lo are not negative, own·(lo - mid) corrects them.
        terms = [(dot, 1), (own, measure.lo - measure.mid)]
        found.append(kernel.linear(public, terms, [0] * cells))
        if measure.nullable:
            found.append(own)
    return found


def _protect_overlap(
    spec: CrosstabSpec,
    kernel: Kernel,
    public: PublicKey,
    total: Bytes,
    noise: NoiseSource,
    random: RandomBytes,
) -> Bytes:
    """Slot 0 under noise; the row totals above it are lost in the fill."""
    output = spec.overlap_output
    slot = output.bias + int(draw(noise, output.scale, 1)[0])
    fill = _fill(public, spec.width, random)
    return kernel.linear(public, [(total, 1)], [slot + fill])


def _protect_blocks(
    spec: CrosstabSpec,
    block: Block,
    kernel: Kernel,
    public: PublicKey,
    blocks: Bytes,
    noise: NoiseSource,
    random: RandomBytes,
) -> Bytes:
    """Shift `per_output` blocks into each output; noise, bias and mask per slot; fill above.

    blocks: uint8[cell outputs · column values, width], output-major.
    """
    adds = _block_plaintexts(spec, block, noise, random)
    per, total = block.per_output, len(blocks)
    groups = -(-total // per)
    terms: list[tuple[Bytes, int]] = []
    for place in range(min(per, total)):
        placed = np.zeros((groups, blocks.shape[1]), dtype=np.uint8)
        placed[:, 0] = 1  # the integer 1 is Enc(0): the last output may hold fewer blocks
        mine = blocks[place::per]
        placed[: len(mine)] = mine
        terms.append((placed, 1 << (place * block.bits)))
    plain: list[int] = []
    for group in range(groups):
        here = adds[group * per : (group + 1) * per]
        slots = sum(add << (place * block.bits) for place, add in enumerate(here))
        plain.append(slots + _fill(public, len(here) * block.bits, random))
    return kernel.linear(public, terms, plain)


def _block_plaintexts(
    spec: CrosstabSpec, block: Block, noise: NoiseSource, random: RandomBytes
) -> list[int]:
    """What B adds to each block: per slot bias and noise, and the mask over slot 0."""
    found: list[int] = []
    for output in spec.cell_outputs:
        drawn = draw(noise, output.scale, spec.column_cells * block.slots)
        for cell in range(spec.column_cells):
            add = 0
            if block.head:
                # Slot 0 would be a column total, which never leaves: a uniform mask of
                # w0 bits hides its w bits to 2^-64, and cannot carry into the next slot.
                span = (1 << spec.overlap_width) - (1 << spec.width)
                add = output.lower + uniform_below(span, random)
            for slot in range(block.slots):
                value = output.bias + int(drawn[cell * block.slots + slot])
                add += value << (block.head + slot * spec.width)
            found.append(add)
    return found


def _fill(public: PublicKey, used_bits: int, random: RandomBytes) -> int:
    """Fresh random bits above the declared slots, up to n: an honest total never wraps."""
    return uniform_below(public.n >> used_bits, random) << used_bits


def uniform_below(bound: int, random: RandomBytes) -> int:
    """Uniform in [0, bound) by rejection."""
    if bound < 1:
        raise ValueError("an empty range has no uniform value")
    bits = (bound - 1).bit_length()
    size = -(-bits // 8)
    while True:
        value = int.from_bytes(random(size), "little") & ((1 << bits) - 1)
        if value < bound:
            return value
