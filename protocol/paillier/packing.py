"""Several integers in one plaintext: slots, the bounds they carry, bias and range check.

Who runs it: A packs rows and opens outputs, B adds bias and noise; both derive the layout.
Learns: A, on opening, the declared slots and nothing above them.
Source: protocols.md section 0 (packing) and section 7, formulas 1 to 4.

Slot 0 lies at the least significant bits.  Slots are unsigned: what may be negative gets its
bias before it is read, so that no slot borrows from the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from math import ceil

import numpy as np
import numpy.typing as npt

from protocol.errors import Failed, Refused

Bytes = npt.NDArray[np.uint8]
RandomBytes = Callable[[int], bytes]

SPARE_BITS = 66  # of |n|, never declared: room for the random fill above the slots


def capacity(bits: int) -> int:
    """Bits of a plaintext that slots may use."""
    return bits - SPARE_BITS


def slots_per_ciphertext(bits: int, width: int) -> int:
    """⌊(|n|-66)/w⌋."""
    return capacity(bits) // width


def clamp_of(sigma: float) -> int:
    """t = ⌈10σ⌉+1, what noise is clamped to; no noise, no clamp.  P(|N| > t) ≤ 2^-71."""
    return ceil(10 * sigma) + 1 if sigma > 0 else 0


def slot_width(u_plus: int, u_minus: int, adders: int, t: int) -> int:
    """w = bitlen(U⁺ + U⁻ + 2·a·t) (formula 3)."""
    return (u_plus + u_minus + 2 * adders * t).bit_length()


@dataclass(frozen=True)
class PackedBound:
    """What every slot of a ciphertext is known to lie in: part of its typed header.

    low, high: inclusive; width: bits of a slot.  Operations on ciphertexts go through here
    first: what could exceed the slot is refused before it happens.
    """

    low: int
    high: int
    width: int

    def __post_init__(self) -> None:
        if self.low > self.high:
            raise ValueError("a bound's low end lies above its high end")
        needed = (self.high - self.low).bit_length()
        if needed > self.width:
            raise Refused(
                "slot_overflow",
                f"values from {self.low} to {self.high} need {needed} bits, "
                f"a slot has {self.width}",
                next_step="ask for narrower bounds, fewer decimals or fewer people",
            )

    @property
    def magnitude(self) -> int:
        """The bound on |slot|."""
        return max(abs(self.low), abs(self.high))

    def add(self, other: PackedBound) -> PackedBound:
        if other.width != self.width:
            raise ValueError("slots of two widths cannot be added")
        return PackedBound(self.low + other.low, self.high + other.high, self.width)

    def multiply(self, factor: int) -> PackedBound:
        ends = sorted((self.low * factor, self.high * factor))
        return PackedBound(ends[0], ends[1], self.width)

    def sum_of(self, rows: int) -> PackedBound:
        """Of the sum of at most `rows` such ciphertexts, none included."""
        low, high = min(0, self.low * rows), max(0, self.high * rows)
        return PackedBound(low, high, self.width)

    def dot(self, rows: int, weight_bits: int) -> PackedBound:
        """Of Σ weight·slot over at most `rows` rows, weights in [0, 2^weight_bits)."""
        return self.sum_of(rows * ((1 << weight_bits) - 1))


@dataclass(frozen=True)
class Opening:
    """Formula 4 for one measure: what its slot may hold, and what to subtract.

    u_plus, u_minus: the true total lies in [-U⁻, U⁺]; t: the clamp of one adder's noise;
    adders: how many parties added bias and noise.
    """

    u_plus: int
    u_minus: int
    t: int
    adders: int = 1

    def __post_init__(self) -> None:
        if min(self.u_plus, self.u_minus, self.t) < 0 or self.adders < 1:
            raise ValueError("bounds and clamp are not negative, and somebody adds the bias")

    @property
    def bias(self) -> int:
        """What each adder adds to the slot."""
        return self.u_minus + self.t

    @property
    def largest(self) -> int:
        """The largest honest slot: U⁺ + U⁻ + 2t with one adder."""
        return self.u_plus + self.adders * (self.bias + self.t)

    @property
    def width(self) -> int:
        return self.largest.bit_length()

    def open(self, slot: int) -> int:
        """The noisy total.  Raises Failed('out_of_range')."""
        if not 0 <= slot <= self.largest:
            raise Failed(
                "out_of_range",
                f"a slot lies outside [0, {self.largest}], its declared range",
                stage="open",
                next_step="another party did not keep the protocol; compare versions, run again",
            )
        return slot - self.adders * self.bias


@dataclass(frozen=True)
class SlotLayout:
    """Where the slots of one ciphertext lie; widths in bits, slot 0 first.

    Raises Refused('slots_do_not_fit') with the arithmetic.
    """

    bits: int
    widths: tuple[int, ...]

    def __post_init__(self) -> None:
        if any(width < 1 for width in self.widths):
            raise ValueError("a slot has at least one bit")
        if self.declared_bits > capacity(self.bits):
            raise Refused(
                "slots_do_not_fit",
                f"{len(self.widths)} slots of together {self.declared_bits} bits, a "
                f"{self.bits}-bit key has {capacity(self.bits)} bits for slots",
                next_step="ask for fewer values or narrower bounds, or use a longer key",
            )

    @classmethod
    def uniform(cls, bits: int, width: int, slots: int) -> SlotLayout:
        return cls(bits, (width,) * slots)

    @property
    def declared_bits(self) -> int:
        """D: everything from here up is filled with random bits."""
        return sum(self.widths)

    @cached_property
    def offsets(self) -> tuple[int, ...]:
        return tuple(accumulate(self.widths, initial=0))[:-1]

    @property
    def plaintext_width(self) -> int:
        return -(-self.bits // 8)

    def pack_one(self, values: Sequence[int]) -> int:
        """Σ value·2^offset.  Raises ValueError for a value that its slot does not hold."""
        total = 0
        for value, offset, width in zip(values, self.offsets, self.widths, strict=True):
            if not 0 <= value < 1 << width:
                raise ValueError("a value does not fit its slot")
            total |= value << offset
        return total

    def unpack_one(self, plain: int) -> list[int]:
        """The declared slots; what lies above them is not looked at."""
        slots = zip(self.offsets, self.widths, strict=True)
        return [plain >> offset & ((1 << width) - 1) for offset, width in slots]

    def units(self, codes: npt.NDArray[np.int32]) -> Bytes:
        """uint8[n, bits/8]: row i holds 1 in slot codes[i], nothing for -1 (one-hot rows)."""
        table = np.zeros((len(self.widths) + 1, self.plaintext_width), dtype=np.uint8)
        for slot, offset in enumerate(self.offsets):
            table[slot + 1, offset // 8] = 1 << offset % 8
        if len(codes) and not -1 <= int(codes.min()) <= int(codes.max()) < len(self.widths):
            raise ValueError("a code has no slot")
        return table[codes.astype(np.int64) + 1]

    def pack(self, values: npt.NDArray[np.int64]) -> Bytes:
        """uint8[n, bits/8] of int64[n, slots]: non-negative values below 2^width."""
        if values.ndim != 2 or values.shape[1] != len(self.widths):
            raise ValueError("one column per slot is needed")
        out = np.zeros((len(values), self.plaintext_width), dtype=np.uint8)
        for slot, (offset, width) in enumerate(zip(self.offsets, self.widths, strict=True)):
            column = values[:, slot]
            if len(column) and (int(column.min()) < 0 or int(column.max()) >> width):
                raise ValueError("a value does not fit its slot")
            shift = offset % 8
            # The value's lowest bits fill up the first byte; the rest falls on whole bytes.
            first = (column & (0xFF >> shift)) << shift
            out[:, offset // 8] |= first.astype(np.uint8)
            rest = column >> (8 - shift)
            for at in range(offset // 8 + 1, (offset + min(width, 63) - 1) // 8 + 1):
                out[:, at] |= (rest & 0xFF).astype(np.uint8)
                rest = rest >> 8
        return out

    def unpack(self, plaintexts: Bytes) -> list[list[int]]:
        """Declared slots of uint8[m, bits/8]; for outputs, which are few."""
        return [self.unpack_one(int.from_bytes(row.tobytes(), "little")) for row in plaintexts]

    def top_fill(self, n: int, random: RandomBytes) -> int:
        """R·2^D with R uniform in [0, ⌊n/2^D⌋): hides all above the slots, never wraps."""
        top = n >> self.declared_bits
        size = -(-top.bit_length() // 8)
        while True:
            drawn = int.from_bytes(random(size), "little") & ((1 << top.bit_length()) - 1)
            if drawn < top:
                return drawn << self.declared_bits
