"""What a lookalike sums and how its slots lie: derived alike by both parties.

Who runs it: A and B, each from the job and the other's signed offer; H never (it is told counts
of ciphertexts only).
Learns: nobody anything; every number here comes from declarations and padded sizes.
Source: protocols.md sections 0 (packing), 4 (lookalike) and 7, formulas 1 to 4 and 8.

The slots of a row, in order: 1 for every person, then per feature its value around the middle of
its bounds; a label has one slot per word.  `s` slots of `w` bits fill a ciphertext, then the
next begins; A returns as many ciphertexts as a row has, laid out alike.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from protocol.crosstab.spec import MAX_CIPHERTEXTS_PER_ROW, MAX_WIDTH, Output
from protocol.errors import BadInput, Refused
from protocol.paillier.packing import Opening, SlotLayout, capacity, slots_per_ciphertext
from protocol.release.noise import noise_scale

SEEDS, SUM = "seeds", "sum"
LEAST_SEEDS = 25  # of A's eligible seeds, and of the noisy number that B opens


@dataclass(frozen=True)
class FeatureSpec:
    """An attribute of B.  lo and hi are v·10^decimals; a flag is 0 or 1; a label has words."""

    attribute: str
    lo: int = 0
    hi: int = 1
    decimals: int = 0
    words: tuple[str, ...] = ()

    @property
    def mid(self) -> int:
        """Values are encoded around it, which halves the sensitivity."""
        return (self.lo + self.hi) // 2

    @property
    def sensitivity(self) -> int:
        """Of a label's slots together as well: a person has one word, so one slot is 1."""
        return max(self.hi - self.mid, self.mid - self.lo)

    @property
    def names(self) -> tuple[str, ...]:
        """Of its slots."""
        return tuple(f"{self.attribute}={word}" for word in self.words) or (self.attribute,)


@dataclass(frozen=True)
class LookalikeSpec:
    """Everything both sides must agree on.

    rho_nano: the job's budget in 1e-9; ignored when noise is off.
    handles_a, handles_b: announced padded sizes.
    Raises Refused (`lookalike_too_large`, with the arithmetic) or BadInput.
    """

    features: tuple[FeatureSpec, ...]
    noise: bool
    rho_nano: int
    key_bits: int
    handles_a: int
    handles_b: int

    def __post_init__(self) -> None:
        names = [feature.attribute for feature in self.features]
        if not names or len(set(names)) != len(names):
            raise BadInput("a lookalike needs features, each once")
        for feature in self.features:
            if feature.lo > feature.hi or not 0 <= feature.decimals <= 18:
                raise BadInput(f"{feature.attribute} has impossible bounds or decimals")
        if min(self.handles_a, self.handles_b) < 1:
            raise BadInput("padded sizes are at least 1")
        if self.noise and self.rho_nano < 1:
            raise BadInput("a job with noise needs a positive rho")
        if self.width > MAX_WIDTH:
            widest = max(self.outputs, key=lambda output: output.opening.largest)
            raise _too_large(
                f"{widest.attribute or 'the number of seeds'} over {self.people} padded people "
                f"needs {self.width} bits a slot, the limit is {MAX_WIDTH}; narrower bounds or "
                "fewer decimals need fewer"
            )
        if self.per_ciphertext < 1 or self.ciphertexts_per_row > MAX_CIPHERTEXTS_PER_ROW:
            raise _too_large(
                f"{len(self.outputs)} numbers of {self.width} bits need more than "
                f"{MAX_CIPHERTEXTS_PER_ROW} ciphertexts per row of {capacity(self.key_bits)} bits"
            )

    @property
    def people(self) -> int:
        """n_pad: no more handles than this can be matched."""
        return min(self.handles_a, self.handles_b)

    @property
    def measure_count(self) -> int:
        """m = 1 + d: the number of seeds, and each feature (a label is one, see FeatureSpec)."""
        return 1 + len(self.features)

    @cached_property
    def outputs(self) -> tuple[Output, ...]:
        """What each slot is, in the order of the slots."""
        found = [self._output(SEEDS, "", 1, 0, 1)]
        for feature in self.features:
            above, below = feature.hi - feature.mid, feature.mid - feature.lo
            found += [
                self._output(SUM, name, above, below, feature.sensitivity) for name in feature.names
            ]
        return tuple(found)

    def _output(self, kind: str, name: str, above: int, below: int, delta: int) -> Output:
        rho = self.rho_nano if self.noise else 0
        scale = noise_scale(delta, rho, self.measure_count)
        opening = Opening(self.people * above, self.people * below, scale.clamp)
        return Output(kind, name, scale, opening)

    @cached_property
    def middles(self) -> tuple[int, ...]:
        """What is subtracted from the value of each slot."""
        return (0, *(feature.mid for feature in self.features for _ in feature.names))

    @cached_property
    def lowest(self) -> tuple[int, ...]:
        """The least that a row may hold in each slot, the middle subtracted."""
        return (0, *(f.lo - f.mid for f in self.features for _ in f.names))

    @cached_property
    def highest(self) -> tuple[int, ...]:
        return (1, *(f.hi - f.mid for f in self.features for _ in f.names))

    @cached_property
    def width(self) -> int:
        """w: one slot width per job, the widest's (formula 3)."""
        return max(output.opening.width for output in self.outputs)

    @property
    def per_ciphertext(self) -> int:
        return slots_per_ciphertext(self.key_bits, self.width)

    @cached_property
    def blocks(self) -> tuple[range, ...]:
        """The slots of each ciphertext of a row."""
        step, slots = self.per_ciphertext, len(self.outputs)
        return tuple(range(at, min(at + step, slots)) for at in range(0, slots, step))

    def layout(self, block: range) -> SlotLayout:
        return SlotLayout(self.key_bits, (self.width,) * len(block))

    @property
    def ciphertexts_per_row(self) -> int:
        return -(-len(self.outputs) // self.per_ciphertext)

    @property
    def ciphertext_width(self) -> int:
        """Bytes of one ciphertext."""
        return 2 * self.key_bits // 8

    @property
    def sigmas(self) -> dict[str, float]:
        """σ per slot, in the unit of the attribute; empty when noise is off."""
        if not self.noise:
            return {}
        units = [0, *(f.decimals for f in self.features for _ in f.names)]
        return {
            output.key: output.scale.sigma / 10**decimals
            for output, decimals in zip(self.outputs, units, strict=True)
        }


def _too_large(arithmetic: str) -> Refused:
    return Refused(
        "lookalike_too_large",
        arithmetic,
        stage="admission",
        next_step="ask for fewer features, or features with narrower bounds or fewer values",
    )
