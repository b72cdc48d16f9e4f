"""B's half: encrypt one packed row of features per person, later open what A returns.

Who runs it: B, who holds the Paillier key and receives the sums.
Learns: B how many of A's seeds it has and what their features sum to, under A's noise.  What
leaves says only how many padded rows B has, and roughly how many features.
Source: protocols.md section 4 (lookalike), section 2 steps 3 and 7 with the roles turned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from protocol.crosstab.requester import CHUNK_ROWS
from protocol.encoding import chunk_ranges
from protocol.errors import Failed
from protocol.lookalike.spec import FeatureSpec, LookalikeSpec
from protocol.paillier.kernel import Kernel
from protocol.paillier.keys import PrivateKey
from protocol.rows import EligibleRows

Integers = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]
Progress = Callable[[int, int], None]
_WORD = 64


@dataclass(frozen=True)
class Population:
    """B's people.  values: int64[rows, slots-1], each feature around its middle.

    complete: bool[rows]; who lacks a feature is not part of the population, has no score, and
    what stands in `values` for it means nothing.
    """

    values: Integers
    complete: npt.NDArray[np.bool_]

    def __repr__(self) -> str:  # rows never reach a log by accident
        return f"Population(n={len(self.complete)})"


def population(spec: LookalikeSpec, rows: EligibleRows) -> Population:
    """The features of `rows`, in the order of the slots."""
    columns: list[Integers] = []
    complete = np.ones(len(rows), dtype=np.bool_)
    for feature in spec.features:
        name = feature.attribute.split("/", 1)[1]
        if name in rows.numbers:
            number = rows.numbers[name]
            complete &= ~number.null
            columns.append(number.values - feature.mid)
        else:
            columns += _coded(feature, rows.labels[name])
    values = np.column_stack(columns).astype(np.int64, copy=False)
    return Population(values, complete)


def _coded(feature: FeatureSpec, codes: npt.NDArray[np.int32]) -> list[Integers]:
    if not feature.words:
        return [codes.astype(np.int64)]
    return [(codes == word).astype(np.int64) for word in range(len(feature.words))]


def encrypt_rows(
    spec: LookalikeSpec,
    kernel: Kernel,
    key: PrivateKey,
    people: Population,
    of_handle: Integers,
    progress: Progress | None = None,
) -> Iterator[Bytes]:
    """B's upload: one row per handle, then one row of fresh Enc(0) per handle of A.

    of_handle: int64[handles_b], the row of `people`, -1 for dummies and padding; they and people
    who lack a feature get Enc(0).  Yields uint8[chunk, k·width] in order.
    """
    if of_handle.shape != (spec.handles_b,):
        raise ValueError("an upload has exactly one row per announced handle of B")
    lowest, highest = np.array(spec.lowest[1:]), np.array(spec.highest[1:])
    known = people.values[people.complete]
    if len(known) and bool(np.any((known < lowest) | (known > highest))):
        raise Failed("out_of_bounds", "a feature was not clipped to its bounds")
    packers = [_Packer(spec, block, key.public.n) for block in spec.blocks]
    total = spec.handles_b + spec.handles_a
    kernel.prepare(key, total * len(packers))
    for start, end in chunk_ranges(total, CHUNK_ROWS):
        plain = np.zeros((end - start, len(packers), spec.key_bits // 8), dtype=np.uint8)
        row = of_handle[start:end]
        real = row >= 0
        real[real] = people.complete[row[real]]
        at = np.flatnonzero(real)
        slots = np.ones((len(at), len(spec.outputs)), dtype=np.int64)
        slots[:, 1:] = people.values[row[at]]
        for position, packer in enumerate(packers):
            plain[at, position] = packer.pack(slots)
        cipher = kernel.encrypt(key, plain.reshape(-1, plain.shape[2]))
        yield cipher.reshape(end - start, len(packers) * spec.ciphertext_width)
        if progress is not None:
            progress(end, total)


class _Packer:
    """Σ value·2^offset mod n of one ciphertext, for many rows at once; values may be negative.

    Written as U - C: U = Σ (value - lowest)·2^offset has no borrows and is put together word by
    word, C = -Σ lowest·2^offset is the same for all rows.  Below C the modulus is added.
    """

    def __init__(self, spec: LookalikeSpec, block: range, n: int) -> None:
        self._block, self._bytes = block, spec.key_bits // 8
        self._offsets = spec.layout(block).offsets
        self._lowest = np.array([spec.lowest[slot] for slot in block], dtype=np.int64)
        self._words = -(-spec.key_bits // _WORD)
        below = -sum(
            spec.lowest[slot] << offset
            for slot, offset in zip(block, self._offsets, strict=True)
        )  # fmt: skip
        wrap = 1 << _WORD * self._words
        self._middle = _split(below, self._words)
        self._when_below = _split(n - below, self._words)
        self._otherwise = _split((wrap - below) % wrap, self._words)

    def pack(self, slots: Integers) -> Bytes:
        """uint8[rows, key_bits/8] of int64[rows, all slots]."""
        raised = (slots[:, self._block.start : self._block.stop] - self._lowest).astype(np.uint64)
        words = np.zeros((len(slots), self._words), dtype=np.uint64)
        for column, offset in enumerate(self._offsets):
            word, shift = divmod(offset, _WORD)
            words[:, word] |= raised[:, column] << np.uint64(shift)
            if shift:  # what does not fit goes on in the next word
                words[:, word + 1] |= raised[:, column] >> np.uint64(_WORD - shift)
        below = self._is_below(words)
        term = np.where(below[:, None], self._when_below, self._otherwise)
        return _add(words, term).view(np.uint8)[:, : self._bytes]

    def _is_below(self, words: npt.NDArray[np.uint64]) -> npt.NDArray[np.bool_]:
        """U < C, by the highest word that differs."""
        below = np.zeros(len(words), dtype=np.bool_)
        for word in range(self._words):
            here, there = words[:, word], self._middle[word]
            below = np.where(here == there, below, here < there)
        return below


def _split(value: int, words: int) -> npt.NDArray[np.uint64]:
    return np.frombuffer(value.to_bytes(words * 8, "little"), dtype="<u8")


def _add(left: npt.NDArray[np.uint64], right: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Row by row, the lowest word first; what is carried out of the highest is dropped."""
    total = np.empty(left.shape, dtype="<u8")
    carry = np.zeros(len(left), dtype=np.uint64)
    for word in range(left.shape[1]):
        part = left[:, word] + right[:, word]
        over = part < left[:, word]
        total[:, word] = part + carry
        carry = (over | (total[:, word] < part)).astype(np.uint64)
    return total


def open_sums(spec: LookalikeSpec, kernel: Kernel, key: PrivateKey, sums: Bytes) -> list[int]:
    """Decrypt A's sums, check every slot, remove the bias: per slot its noisy total.

    sums: uint8[k, width].  Raises Failed('bad_outputs') for another shape and
    Failed('out_of_range') for a slot outside [0, U⁺+U⁻+2t].
    """
    if sums.shape != (spec.ciphertexts_per_row, spec.ciphertext_width):
        raise Failed("bad_outputs", "the requester returned another number of sums")
    kernel.check(key.public, sums)
    plain = kernel.decrypt(key, sums)
    found: list[int] = []
    for row, block in zip(plain, spec.blocks, strict=True):
        slots = spec.layout(block).unpack_one(int.from_bytes(row.tobytes(), "little"))
        for slot, value in zip(block, slots, strict=True):
            output = spec.outputs[slot]
            found.append(output.opening.open(value, output.key))
    return found


def consistent(spec: LookalikeSpec, seeds: int, totals: Sequence[int]) -> list[float]:
    """The seeds' totals per slot, where the words of a label add up to the number of seeds.

    Every seed has one word, so without noise they do.  With noise the difference is taken off
    each word alike: it would otherwise go into weights that no score depends on.
    """
    found = [float(total) for total in totals]
    at = 0
    for feature in spec.features:
        words = len(feature.words)
        if words:
            apart = (seeds - sum(found[at : at + words])) / words
            found[at : at + words] = [total + apart for total in found[at : at + words]]
        at += words or 1
    return found
