"""A's half: encrypt one packed one-hot per row, later open what B returns.

Who runs it: A, who holds the Paillier key and receives the result.
Learns: A the table under B's noise.  What leaves says only how many padded rows A has.
Source: protocols.md section 2, steps 3 and 7; layout in `protocol.crosstab.spec`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain, islice

import numpy as np
import numpy.typing as npt

from protocol.crosstab.spec import COUNT, OWN_COUNT, SUM, CrosstabSpec
from protocol.crosstab.totals import Cells, NoisyTotals
from protocol.encoding import chunk_ranges
from protocol.errors import Failed
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PrivateKey

CHUNK_ROWS = 16384  # one call to the kernel: many chunks for every core, 8 MiB at 2048 bits
Progress = Callable[[int, int], None]


def joint_codes(
    parts: list[npt.NDArray[np.int32]], sizes: list[int], n: int
) -> npt.NDArray[np.int32]:
    """One product value per row of several attributes, the last one varying fastest.

    parts: int32[n] codes per attribute; a row with any code < 0 becomes -1.
    No attributes: every row has the joint value 0.
    """
    joint = np.zeros(n, dtype=np.int32)
    absent = np.zeros(n, dtype=np.bool_)
    for codes, size in zip(parts, sizes, strict=True):
        if codes.shape != (n,) or (n and int(codes.max()) >= size):
            raise ValueError("a code lies outside its vocabulary")
        joint = joint * np.int32(size) + codes
        absent |= codes < 0
    joint[absent] = -1
    return joint


def one_hots(spec: CrosstabSpec) -> npt.NDArray[np.uint8]:
    """uint8[row values + 1, k, key_bits/8]: the plaintexts of a row; entry 0 is all zero."""
    values = np.arange(spec.row_cells if spec.has_table else 1, dtype=np.int32)
    table = np.zeros((len(values) + 1, len(spec.blocks), spec.key_bits // 8), dtype=np.uint8)
    for position, block in enumerate(spec.blocks):
        tags = np.full(len(values), -1, dtype=np.int32)
        tags[block.values.start : block.values.stop] = block.head + np.arange(len(block.values))
        table[1:, position] = block.layout.units(tags)
    table[1:, 0] |= spec.blocks[0].layout.units(np.zeros_like(values))
    return table


def encrypt_rows(
    spec: CrosstabSpec,
    kernel: Kernel,
    key: PrivateKey,
    codes: npt.NDArray[np.int32],
    supply: int,
    progress: Progress | None = None,
) -> Iterator[npt.NDArray[np.uint8]]:
    """A's upload: one row per handle, then `supply` rows of fresh Enc(0).

    codes: int32[handles_a], the joint row value of each handle, -1 for dummies and padding
        (they get Enc(0)).  Yields uint8[chunk, k·width] in order.
    """
    if codes.shape != (spec.handles_a,) or supply != spec.handles_b:
        raise ValueError("an upload has exactly one row per announced handle of A and of B")
    if len(codes) and not -1 <= int(codes.min()) <= int(codes.max()) < max(1, spec.row_cells):
        raise ValueError("a row's joint code lies outside the vocabulary")
    table = one_hots(spec)
    positions, plain_width = table.shape[1:]
    total = len(codes) + supply
    kernel.prepare(key, total * positions)
    for start, end in chunk_ranges(total, CHUNK_ROWS):
        entries = np.zeros(end - start, dtype=np.int64)
        mine = codes[start:end]
        entries[: len(mine)] = mine.astype(np.int64) + 1
        plain = table[entries].reshape(-1, plain_width)
        cipher = kernel.encrypt(key, plain)
        yield cipher.reshape(end - start, positions * spec.ciphertext_width)
        if progress is not None:
            progress(end, total)


def open_outputs(
    spec: CrosstabSpec, kernel: Kernel, key: PrivateKey, outputs: npt.NDArray[np.uint8]
) -> NoisyTotals:
    """Decrypt B's outputs, check every declared slot, remove the bias.

    outputs: uint8[spec.output_ciphertexts, width].  Raises Failed('bad_outputs') for another
    shape and Failed('out_of_range') for a slot outside [0, U⁺+U⁻+2t].
    """
    if outputs.shape != (spec.output_ciphertexts, spec.ciphertext_width):
        raise Failed("bad_outputs", "the provider returned another number of outputs")
    kernel.check(key.public, outputs)
    plain = kernel.decrypt(key, outputs)
    ((slot,),) = spec.overlap_layout.unpack(plain[:1])
    overlap = spec.overlap_output.opening.open(slot, spec.overlap_output.kind)
    if not spec.has_table:
        return NoisyTotals(overlap, np.zeros((0, 0), dtype=np.int64))
    tables = _unpack(spec, plain[1:])
    named = dict(zip((output.key for output in spec.cell_outputs), tables, strict=True))
    return NoisyTotals(
        overlap,
        named[COUNT],
        {m.attribute: named[f"{SUM}:{m.attribute}"] for m in spec.measures},
        {m.attribute: named[f"{OWN_COUNT}:{m.attribute}"] for m in spec.measures if m.nullable},
    )


def _unpack(spec: CrosstabSpec, plain: npt.NDArray[np.uint8]) -> list[Cells]:
    """One int64[row values, column values] per cell output."""
    columns = spec.column_cells
    found = [np.zeros((spec.row_cells, columns), dtype=np.int64) for _ in spec.cell_outputs]
    for block in spec.blocks:
        mine, plain = np.split(plain, [spec.outputs_of(block)])
        # Block after block; the last output may hold fewer, and what follows is fill.
        slots = chain.from_iterable(block.layout.times(block.per_output).unpack(mine))
        for output, table in zip(spec.cell_outputs, found, strict=True):
            for column in range(columns):
                here = islice(slots, len(block.layout.widths))
                for value, slot in zip(block.values, islice(here, block.head, None), strict=True):
                    table[value, column] = output.opening.open(slot, output.kind)
    return found
