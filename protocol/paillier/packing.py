"""Several integers in one plaintext: slots, the bounds they carry, bias and range check.

Who runs it: A packs rows and opens outputs, B adds bias and noise; both derive the layout.
Learns: A, on opening, the declared slots and nothing above them.
Source: protocols.md section 0 (packing) and section 7, formulas 3 and 4.

Slot 0 lies at the least significant bits.  Slots are unsigned: what may be negative gets its
bias before it is read, so that no slot borrows from the next.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

import numpy as np
import numpy.typing as npt

from protocol.errors import Failed, Refused

Bytes = npt.NDArray[np.uint8]
RandomBytes = Callable[[int], bytes]

SPARE_BITS = 66  # of |n|, never declared: room for the random fill above the slots


def capacity(bits: int) -> int:
    """Bits of a plaintext that slots may use."""
    return bits - SPARE_BITS


def slots_per_ciphertext(bits: int, width: int, taken: int = 0) -> int:
    """⌊(|n|-66)/w⌋, less what `taken` bits leave no room for."""
    return (capacity(bits) - taken) // width


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


@dataclass(frozen=True)
class PackedBound:
    """What every slot of a ciphertext is known to lie in.

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
            raise _overflow(
                f"values from {self.low} to {self.high} need {needed} bits, a slot has {self.width}"
            )

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

    def dot(self, rows: int, largest: int) -> PackedBound:
        """Of Σ weight·slot over at most `rows` rows, weights in [0, largest]."""
        return self.multiply(largest).sum_of(rows)


@dataclass(frozen=True)
class Opening:
    """Formula 4 for one measure: what its slot may hold, and what to subtract.

    u_plus, u_minus: the true total lies in [-U⁻, U⁺]; t: the clamp of one adder's noise;
    adders: how many parties add bias and noise.
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
        """w = bitlen of the largest honest slot (formula 3)."""
        return self.largest.bit_length()

    def check_fits(self, total: PackedBound) -> None:
        """Before bias and noise go onto slots that hold `total`: the reader will accept them.

        Raises Refused('slot_overflow').
        """
        bias = PackedBound(self.bias, self.bias, total.width)
        noise = PackedBound(-self.t, self.t, total.width)
        leaving = total.add(bias.multiply(self.adders)).add(noise.multiply(self.adders))
        if leaving.low < 0 or leaving.high > self.largest:
            raise _overflow(
                f"slots from {leaving.low} to {leaving.high} would leave, the reader accepts "
                f"0 to {self.largest}"
            )

    def open(self, slot: int, of: str) -> int:
        """The noisy total; `of` says in the error what it is.  Raises Failed('out_of_range')."""
        if not 0 <= slot <= self.largest:
            raise Failed(
                "out_of_range",
                f"a slot of {of} lies above its declared bound",
                stage="open",
                next_step="the provider's or the coordinator's software did not keep the protocol; "
                "run the job again, and if it repeats compare versions",
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

    def times(self, blocks: int) -> SlotLayout:
        """The layout of so many blocks side by side, each laid out like this."""
        return SlotLayout(self.bits, self.widths * blocks)

    @cached_property
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

    def unpack(self, plaintexts: Bytes) -> list[list[int]]:
        """Declared slots of uint8[m, bits/8]; for outputs, which are few."""
        return [self.unpack_one(int.from_bytes(row.tobytes(), "little")) for row in plaintexts]

    def units(self, codes: npt.NDArray[np.int32]) -> Bytes:
        """uint8[n, bits/8]: row i holds 1 in slot codes[i], nothing for -1 (one-hot rows)."""
        table = np.zeros((len(self.widths) + 1, self.plaintext_width), dtype=np.uint8)
        for slot, offset in enumerate(self.offsets):
            table[slot + 1, offset // 8] = 1 << offset % 8
        if len(codes) and not -1 <= int(codes.min()) <= int(codes.max()) < len(self.widths):
            raise ValueError("a code has no slot")
        return table[codes.astype(np.int64) + 1]

    def top_fill(self, n: int, random: RandomBytes) -> int:
        """R·2^D with R uniform in [0, ⌊n/2^D⌋): hides all above the slots, never wraps."""
        return uniform_below(n >> self.declared_bits, random) << self.declared_bits


def _overflow(cause: str) -> Refused:
    return Refused(
        "slot_overflow",
        cause,
        next_step="ask for narrower bounds, fewer decimals or fewer people",
    )
