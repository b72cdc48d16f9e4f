"""What one round sums and how its slots lie: derived alike by every party.

Who runs it: every party, from the job, everybody's signed catalog and the round's question;
H never (it is told counts of ciphertexts only).
Learns: nobody anything; bounds come from declarations and padded sizes, never from data.
Source: protocols.md sections 0 (packing), 3 and 7.

The slots of all outputs follow each other, as many per ciphertext as fit.  Unlike a cross-tab's,
they have a width per output: nothing is shifted here, so a narrow one need not be as wide as
the widest.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from protocol.errors import Refused
from protocol.paillier.packing import Opening, SlotLayout, capacity
from protocol.release.noise import NoiseScale

MAX_VALUES = 1 << 16


@dataclass(frozen=True)
class Output:
    """`length` numbers of one kind, with one noise.

    u_plus, u_minus: the true total over all parties of each lies in [-u_minus, u_plus].
    """

    name: str
    length: int
    scale: NoiseScale
    u_plus: int
    u_minus: int = 0


@dataclass(frozen=True)
class SumSpec:
    """One round.  parties: all that add, in the order of the job.

    Raises Refused('sum_too_large') with the arithmetic.
    """

    outputs: tuple[Output, ...]
    parties: tuple[str, ...]
    key_bits: int

    def __post_init__(self) -> None:
        if len(self.parties) < 2:
            raise ValueError("a sum over one party is that party's own number")
        if not 0 < self.values <= MAX_VALUES:
            raise _too_large(f"{self.values} numbers in one round, the limit is {MAX_VALUES}")
        if max(output.scale.clamp for output in self.outputs) >= 1 << 62:
            raise _too_large("the noise of a number needs more than 62 bits")
        widest = max(self.outputs, key=self.width)
        width, room = self.width(widest), capacity(self.key_bits)
        if width > room:
            raise _too_large(f"{widest.name} needs {width} bits, a slot has at most {room}")

    @property
    def values(self) -> int:
        return sum(output.length for output in self.outputs)

    def opening(self, output: Output) -> Opening:
        """Every party adds the bias, so that no slot borrows from the next at any party."""
        return Opening(output.u_plus, output.u_minus, output.scale.clamp, len(self.parties))

    def width(self, output: Output) -> int:
        """Bits of each of its slots."""
        return max(1, self.opening(output).width)

    @cached_property
    def layouts(self) -> tuple[SlotLayout, ...]:
        """Of each ciphertext, filled in the order of the outputs."""
        found: list[SlotLayout] = []
        widths: list[int] = []
        used, room = 0, capacity(self.key_bits)
        for output in self.outputs:
            width = self.width(output)
            for _ in range(output.length):
                if used + width > room:
                    found.append(SlotLayout(self.key_bits, tuple(widths)))
                    widths, used = [], 0
                widths.append(width)
                used += width
        return (*found, SlotLayout(self.key_bits, tuple(widths)))

    @property
    def ciphertexts(self) -> int:
        return len(self.layouts)

    @property
    def ciphertext_width(self) -> int:
        """Bytes of one ciphertext."""
        return 2 * self.key_bits // 8


def _too_large(arithmetic: str) -> Refused:
    return Refused(
        "sum_too_large",
        arithmetic,
        stage="admit",
        next_step="ask for fewer columns or values, or for narrower bounds",
    )
