"""A's half: encrypt one packed one-hot per row, later open what B returns.

Who runs it: A, who holds the Paillier key and receives the result.
Learns: A the table under B's noise.  What leaves says only how many padded rows A has.
Source: protocols.md section 2, steps 3 and 7; layout in `protocol.crosstab.spec`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from protocol.crosstab.spec import COUNT, OWN_COUNT, SUM, CrosstabSpec, Output
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
    blocks = spec.blocks
    values = spec.row_cells if spec.has_table else 1
    width = spec.key_bits // 8
    table = np.zeros((values + 1, len(blocks), width), dtype=np.uint8)
    for position, block in enumerate(blocks):
        overlap = 1 if position == 0 else 0
        tagged = range(block.first, block.first + block.slots)
        for value in range(values):
            plain = overlap
            if value in tagged:
                plain += 1 << (block.head + (value - block.first) * spec.width)
            table[value + 1, position] = np.frombuffer(plain.to_bytes(width, "little"), np.uint8)
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
    plain = [int.from_bytes(row.tobytes(), "little") for row in kernel.decrypt(key, outputs)]
    overlap = _opened(spec, spec.overlap_output, plain[0] & ((1 << spec.width) - 1))
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


def _unpack(spec: CrosstabSpec, plain: list[int]) -> list[Cells]:
    """One int64[row values, column values] per cell output."""
    columns = spec.column_cells
    found = [np.zeros((spec.row_cells, columns), dtype=np.int64) for _ in spec.cell_outputs]
    slot_mask = (1 << spec.width) - 1
    at = 0
    for block in spec.blocks:
        for index in range(len(spec.cell_outputs) * columns):
            measure, column = divmod(index, columns)
            group, place = divmod(index, block.per_output)
            value = plain[at + group] >> (place * block.bits + block.head)
            for slot in range(block.slots):
                raw = (value >> (slot * spec.width)) & slot_mask
                opened = _opened(spec, spec.cell_outputs[measure], raw)
                found[measure][block.first + slot, column] = opened
        at += -(-len(spec.cell_outputs) * columns // block.per_output)
    return found


def _opened(spec: CrosstabSpec, output: Output, raw: int) -> int:
    if raw > output.largest:
        raise Failed(
            "out_of_range",
            f"a slot of {output.kind} lies above its declared bound",
            stage="open",
            next_step="the provider's or the coordinator's software did not keep the protocol; "
            "run the job again, and if it repeats compare versions",
        )
    return raw - output.bias
