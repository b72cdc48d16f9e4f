"""What a cross-tab measures and how its slots lie: derived alike by both parties.

Who runs it: A and B, each from the job and the other's signed catalog; H never (it is
told counts of ciphertexts only).
Learns: nobody anything; every number here comes from declarations and padded sizes,
never from data.
Source: protocols.md sections 0 (packing), 2 and 7; docs/adr/0003-overlap-slot-mask.md.

The layout of A's row, least significant bit first; `s` slots of `w` bits:

    ciphertext 0    | overlap (w0 = w + 64 bits) | row value 0 | row value 1 | …
    ciphertext 1…k-1                             | row value s0 | …

B returns one ciphertext for the overlap and, per ciphertext position i, every (measure,
cell) block, as many blocks shifted into one output as fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from protocol.errors import BadInput, Refused
from protocol.paillier.packing import Opening, SlotLayout, capacity, slots_per_ciphertext
from protocol.release.noise import NoiseScale, noise_scale

MAX_CIPHERTEXTS_PER_ROW = 4
MAX_CELLS = 4096
MASK_BITS = 64  # statistical hiding of the overlap slot where it must not leave
MAX_WIDTH = 62  # totals and noise are int64 at both ends

OVERLAP, COUNT, SUM, OWN_COUNT = "overlap", "count", "sum", "own_count"


@dataclass(frozen=True)
class AttributeSpec:
    """A label or flag attribute: `party/attribute` and its published vocabulary."""

    name: str
    vocabulary: tuple[str | bool, ...]


@dataclass(frozen=True)
class MeasureSpec:
    """A numeric attribute of the provider; lo and hi are v·10^decimals.

    One measure whether a sum, a mean or both were asked: both come from one measured sum.
    """

    attribute: str
    lo: int
    hi: int
    decimals: int
    nullable: bool = False

    @property
    def mid(self) -> int:
        """⌊(lo+hi)/2⌋: values are encoded around it, which halves the sensitivity."""
        return (self.lo + self.hi) // 2

    @property
    def sensitivity(self) -> int:
        return max(self.hi - self.mid, self.mid - self.lo)


@dataclass(frozen=True)
class Output:
    """One measured thing: what it is, its noise, and how its slot is biased and read."""

    kind: str
    attribute: str
    scale: NoiseScale
    opening: Opening

    @property
    def key(self) -> str:
        return f"{self.kind}:{self.attribute}" if self.attribute else self.kind


@dataclass(frozen=True)
class Block:
    """Ciphertext i of a row: the overlap's slot where `head` is 1, then one per row value."""

    layout: SlotLayout
    head: int
    values: range

    @property
    def per_output(self) -> int:
        """How many blocks fit into one output."""
        return slots_per_ciphertext(self.layout.bits, self.layout.declared_bits)


@dataclass(frozen=True)
class CrosstabSpec:
    """Everything both sides must agree on.  Without rows and columns: the overlap alone.

    rho_nano: the job's budget in 1e-9; ignored when noise is off.
    handles_a, handles_b: announced padded sizes; min_cohort: the strictest of all policies.
    Raises Refused (`crosstab_too_large`, with the arithmetic) or BadInput.
    """

    rows: tuple[AttributeSpec, ...]
    columns: tuple[AttributeSpec, ...]
    measures: tuple[MeasureSpec, ...]
    noise: bool
    rho_nano: int
    key_bits: int
    handles_a: int
    handles_b: int
    min_cohort: int

    def __post_init__(self) -> None:
        self._check_declarations()
        self._check_limits()

    def _check_declarations(self) -> None:
        names = [attribute.name for attribute in self.rows + self.columns]
        if len(set(names)) != len(names):
            raise BadInput(f"an attribute is used twice in rows and columns: {', '.join(names)}")
        for attribute in self.rows + self.columns:
            words = attribute.vocabulary
            if not words or len(set(words)) != len(words):
                raise BadInput(f"{attribute.name} has an empty or repeating vocabulary")
        summed = [measure.attribute for measure in self.measures]
        if len(set(summed)) != len(summed):
            raise BadInput("a numeric attribute has one measure, whichever of sum, mean is asked")
        if self.measures and not self.has_table:
            raise BadInput("sums and means need rows or columns")
        for measure in self.measures:
            if measure.lo > measure.hi or not 0 <= measure.decimals <= 18:
                raise BadInput(f"{measure.attribute} has impossible bounds or decimals")
        if min(self.handles_a, self.handles_b, self.min_cohort) < 1:
            raise BadInput("padded sizes and min_cohort are at least 1")
        if self.key_bits < 8 or self.key_bits % 8:
            raise BadInput("a key has a whole number of bytes")
        if self.noise and self.rho_nano < 1:
            raise BadInput("a job with noise needs a positive rho")

    def _check_limits(self) -> None:
        if self.cells > MAX_CELLS:
            raise _too_large(
                f"{self.row_cells} row values × {self.column_cells} column values = "
                f"{self.cells} cells, the limit is {MAX_CELLS}"
            )
        if self.width > MAX_WIDTH:
            widest = max(self.outputs, key=lambda output: output.opening.largest)
            raise _too_large(
                f"{widest.key} over {self.people} padded people needs {self.width} bits a slot, "
                f"the limit is {MAX_WIDTH}; narrower bounds or fewer decimals need fewer"
            )
        room = capacity(self.key_bits)
        if room < self.overlap_width:
            raise _too_large(
                f"a {self.key_bits}-bit key has {room} bits for slots, "
                f"the overlap alone needs {self.overlap_width}"
            )
        if self.ciphertexts_per_row > MAX_CIPHERTEXTS_PER_ROW:
            raise _too_large(
                f"{self.row_cells} row values at {self.width} bits a slot need "
                f"{self.ciphertexts_per_row} ciphertexts per row of {room} bits, "
                f"the limit is {MAX_CIPHERTEXTS_PER_ROW}"
            )

    # -- what is measured ------------------------------------------------------------

    @property
    def has_table(self) -> bool:
        return bool(self.rows or self.columns)

    @cached_property
    def row_cells(self) -> int:
        """Joint values of A's attributes (1 when there are none)."""
        return prod(len(attribute.vocabulary) for attribute in self.rows)

    @cached_property
    def column_cells(self) -> int:
        return prod(len(attribute.vocabulary) for attribute in self.columns)

    @property
    def cells(self) -> int:
        return self.row_cells * self.column_cells

    @property
    def people(self) -> int:
        """n_pad: no more handles than this can be matched."""
        return min(self.handles_a, self.handles_b)

    @cached_property
    def measure_count(self) -> int:
        """m: overlap, count, each sum, and its own count where it can be null."""
        own = sum(1 + measure.nullable for measure in self.measures)
        return 1 + own + (1 if self.has_table else 0)

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """Overlap first, then what every cell carries, in the order of the blocks."""
        counted = self._output(OVERLAP, "", 1, 0, 1)
        if not self.has_table:
            return (counted,)
        found = [counted, self._output(COUNT, "", 1, 0, 1)]
        for measure in self.measures:
            above, below = measure.hi - measure.mid, measure.mid - measure.lo
            found.append(self._output(SUM, measure.attribute, above, below, measure.sensitivity))
            if measure.nullable:
                found.append(self._output(OWN_COUNT, measure.attribute, 1, 0, 1))
        return tuple(found)

    def _output(self, kind: str, attribute: str, above: int, below: int, delta: int) -> Output:
        rho = self.rho_nano if self.noise else 0
        scale = noise_scale(delta, rho, self.measure_count)
        opening = Opening(self.people * above, self.people * below, scale.clamp)
        return Output(kind, attribute, scale, opening)

    @property
    def overlap_output(self) -> Output:
        return self.outputs[0]

    @property
    def cell_outputs(self) -> tuple[Output, ...]:
        return self.outputs[1:]

    # -- where it lies ---------------------------------------------------------------

    @cached_property
    def width(self) -> int:
        """w: one slot width per job, the widest measure's (formula 3)."""
        return max(output.opening.width for output in self.outputs)

    @property
    def overlap_width(self) -> int:
        """w0: slot 0, wide enough for a mask where its value must not leave."""
        return self.width + MASK_BITS

    @property
    def overlap_layout(self) -> SlotLayout:
        """Of the overlap's output: w bits of slot 0, and nothing else is declared."""
        return SlotLayout(self.key_bits, (self.width,))

    @cached_property
    def blocks(self) -> tuple[Block, ...]:
        """The ciphertexts of one row."""
        found: list[Block] = []
        values = range(self.row_cells if self.has_table else 0)
        head: tuple[int, ...] = (self.overlap_width,)
        while not found or values:
            slots = slots_per_ciphertext(self.key_bits, self.width, taken=sum(head))
            here, values = values[:slots], values[slots:]
            layout = SlotLayout(self.key_bits, head + (self.width,) * len(here))
            found.append(Block(layout, len(head), here))
            head = ()
        return tuple(found)

    @property
    def ciphertexts_per_row(self) -> int:
        return len(self.blocks)

    def outputs_of(self, block: Block) -> int:
        """Ciphertexts that hold this block of every cell output."""
        return -(-len(self.cell_outputs) * self.column_cells // block.per_output)

    @cached_property
    def output_ciphertexts(self) -> int:
        """Ciphertexts that B returns: the overlap, then the blocks."""
        return 1 + sum(self.outputs_of(block) for block in self.blocks)

    @property
    def ciphertext_width(self) -> int:
        """Bytes of one ciphertext."""
        return 2 * self.key_bits // 8


def _too_large(arithmetic: str) -> Refused:
    return Refused(
        "crosstab_too_large",
        arithmetic,
        stage="admission",
        next_step="ask for fewer attributes or attributes with fewer values",
    )
